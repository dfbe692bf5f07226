"""What can go wrong in a joint release, in the two families of `pourparler_crypto.errors`.

    UsageError            the caller misused us
    ├── AlreadyUsed           a state is used once
    └── Incomplete            called before every party's message was there; `missing` names them
    ProtocolError         the other side misbehaved
    ├── Malformed             no honest client sends these bytes
    ├── WrongRound            a message of another round or case: ignore it
    ├── OutOfTurn             a message of another step: keep it, or drop it if that step is past
    ├── OwnAltered            a message in one's own name that this side has not sent
    ├── CaseMismatch          what the desk holds is not what its handle says
    └── PartyFault            a message in the name of `party` (1..n in the order of the keys) fails a check
        ├── Contradiction         two different messages of one step
        ├── Copied                the same value as `other`'s: one of the two has copied
        ├── BadOpening            Y and rho are not what was committed to
        ├── BadPresignature       the pre-signature does not fit
        ├── BadMask               d does not belong to D
        └── BadShare              y does not belong to Y, or rho is another

None of these proves anything about a party, to anyone: no message of R1 to R5 is signed by a release key, and each
could have been altered by whoever carried it (the channel's log shows who appended it, to its members only). After
R1, R2 or R3 has failed, the round is over: begin a new one with a fresh nonce. After R4 or R5 has failed, ask the
desk again; the right value may still come. Whichever is raised, the state is as it was.
"""

from typing import ClassVar

from pourparler_crypto.errors import ProtocolError, UsageError


class AlreadyUsed(UsageError):
    """The state has led to another one already, and holds nothing any more."""


class Incomplete(UsageError):
    """Not every party's message is there yet; ``missing`` are the numbers of the others."""

    def __init__(self, missing: tuple[int, ...]) -> None:
        super().__init__(f"messages are missing of party {', '.join(map(str, missing))}")
        self.missing = missing


class WrongRound(ProtocolError):
    """A message of another round or case. Ignore it."""


class OutOfTurn(ProtocolError):
    """A message of another step of this round."""


class OwnAltered(ProtocolError):
    """A message in this party's own name that it has not sent.

    Another device of the party takes part, or who carries the messages has altered one. Proves neither.
    """


class CaseMismatch(ProtocolError):
    """A case, bundle or handle that do not belong together."""


class PartyFault(ProtocolError):
    """A message in the name of ``party`` fails a check; says nothing about who made it so."""

    LIMIT: ClassVar[str] = "who carried the message may have altered it"

    def __init__(self, party: int, what: str) -> None:
        super().__init__(f"party {party}: {what}. This does not prove that party {party} did it: {self.LIMIT}")
        self.party = party


class Contradiction(PartyFault):
    """Two different messages of one step."""

    LIMIT = "anyone on the way can add a second message"


class Copied(PartyFault):
    """The same value as that of party ``other``; which of the two copied is not shown."""

    LIMIT = "which of the two copied is not shown, and anyone on the way can copy"

    def __init__(self, party: int, other: int, what: str) -> None:
        super().__init__(party, f"the same {what} as party {other}")
        self.other = other


class BadOpening(PartyFault):
    """The opening is not of what was committed to."""

    LIMIT = "its commitment or its opening may have been exchanged on the way"


class BadPresignature(PartyFault):
    """The pre-signature does not hold, under the values that this side was shown."""

    LIMIT = "it may have been shown other values than this side was"


class BadMask(PartyFault):
    """d does not belong to D."""

    LIMIT = "the desk, or whoever passed the value on, may have exchanged it"


class BadShare(PartyFault):
    """y does not belong to Y, or rho is another than was opened."""

    LIMIT = "the desk, or whoever passed the value on, may have exchanged it"
