"""Two families of errors, because two different parties can be at fault.

    CryptoError
    ├── UsageError            the caller misused us: a bug or a bad argument on this side
    │   └── RemovedFromGroup      this device is no member any more: there is no next state to apply
    └── ProtocolError         the other side misbehaved: a peer, the service, or whoever altered the bytes
        ├── Malformed             bytes that no honest encoder produces
        ├── NotAuthentic          a signature, tag or MAC does not verify; says nothing about who sent it
        ├── WrongGroup            meant for another group
        ├── WrongEpoch            meant for an earlier or a later epoch
        ├── OwnMessage            of this very leaf, and not sent from this state: another copy has gone on
        ├── KeyUsed               its key was used up or is past the window: a replay, or too late
        ├── TooFarAhead           it would skip more keys than the cap allows
        └── NotAcceptable         authentic, and still against the rules: costs its ratchet key and nothing else
            ├── Unsupported           allowed by the RFC, left out here (docs/protocol.md lists what)
            └── UnprocessablePath     a commit's path is wrong for this device's subtree; others may not see it

A failed check raises; nothing here returns False. No message of an error holds a secret.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pourparler_crypto.mls.commits import NextEpoch
    from pourparler_crypto.mls.results import StagedCommit


class CryptoError(Exception):
    """Anything this package raises on purpose."""


class UsageError(CryptoError, ValueError):
    """The caller misused us: a wrong size, an unknown number, a call out of order."""


class RemovedFromGroup(UsageError):
    """This device was removed by the commit: there is no next state. Erase the group."""


class ProtocolError(CryptoError):
    """The other side misbehaved. No state has changed unless the subclass carries changes."""


class Malformed(ProtocolError):
    """Bytes that no honest encoder produces."""


class NotAuthentic(ProtocolError):
    """A signature, AEAD tag or MAC does not verify. Proves nothing about any member."""


class WrongGroup(ProtocolError):
    """A message for another group."""


class WrongEpoch(ProtocolError):
    """A message for an epoch other than the current one; ``epoch`` is the one it names, unauthenticated."""

    def __init__(self, message: str, epoch: int) -> None:
        super().__init__(message)
        self.epoch = epoch


class OwnMessage(ProtocolError):
    """Authentic, from this very leaf, and beyond what this state has sent.

    Another copy of the state has gone on; or an insider has sealed anew what this leaf signed earlier in the epoch,
    under its next key, which every member can derive (RFC 9750, "No Protection Against Replay by Insiders"). Who
    signs the number of the key with the content can tell: ``data`` is what was signed (the application data, or a
    handshake's authenticated data), ``generation`` the key under which it came, None for a PublicMessage.
    """

    def __init__(
        self, message: str, data: bytes = b"", generation: int | None = None, *, handshake: bool = False
    ) -> None:
        super().__init__(message)
        self.data = data
        self.generation = generation
        self.handshake = handshake


class KeyUsed(ProtocolError):
    """The message key was used up, or lies behind the window of kept keys (RFC 9420, 9.2)."""


class TooFarAhead(ProtocolError):
    """The generation is further ahead than the cap on skipped keys allows.

    Whether it is depends on what a member has read. A caller whose members must agree takes no generation past the cap.
    """


class NotAcceptable(ProtocolError):
    """Authentic but not acceptable (RFC 9420, 12.2, 12.4.2).

    ``changes`` are the record changes to save: the message's ratchet key is gone, epoch and tree stay.
    Empty when the message was not encrypted.
    """

    def __init__(self, message: str, changes: Mapping[str, bytes | None] | None = None) -> None:
        super().__init__(message)
        self.changes: dict[str, bytes | None] = dict(changes or {})


class Unsupported(NotAcceptable):
    """A part of RFC 9420 that is left out on purpose; docs/protocol.md lists them."""


class UnprocessablePath(NotAcceptable):
    """A commit's path is wrong for this device's subtree only.

    Every check that all members share has passed; the ciphertext meant for this device is not what the
    public keys promise (RFC 9420, 16.12). Other members may have accepted the commit. ``commit`` is what all can
    judge of it; it cannot be applied here. None where no commit is concerned.
    """

    commit: "StagedCommit | None" = None
    seen: "NextEpoch | None" = None  # what ``commit`` is made from
