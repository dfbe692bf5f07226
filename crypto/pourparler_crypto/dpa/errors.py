"""What can go wrong in an attestation, in the two families of `pourparler_crypto.errors`.

    UsageError            the caller misused us
    └── AlreadyUsed           a state is used once
    ProtocolError         the other side misbehaved, or took too long
    ├── Malformed             no honest device sends these bytes
    ├── WrongRun              a message of another pair, channel, attempt or run
    ├── OutOfTurn             not the next message: too early, or here already
    ├── Lapsed                the run is older than its life: erase it
    └── NotAttested           (also NotAuthentic) the run is at its end and the device has not shown its card's key

Whichever is raised, the state is as it was. None of them proves anything about a card or a person: NotAttested
says that this seat did not answer, not that the owner of the card did anything.
"""

from pourparler_crypto.errors import NotAuthentic, ProtocolError, UsageError


class AlreadyUsed(UsageError):
    """The state has led to another one already, and holds nothing any more."""


class WrongRun(ProtocolError):
    """A message of another pair, channel, attempt or run. Ignore it."""


class OutOfTurn(ProtocolError):
    """Not the next message of this run. One that came too early is good again when its turn comes."""


class Lapsed(ProtocolError):
    """The run has outlived its 72 hours. Erase the state; a new run takes the next attempt number."""


class NotAttested(NotAuthentic):
    """The opening does not attest the peer: warn the person, erase the state, count the run."""
