"""What waits in the vault between two steps: each state is used once, and holds only what later steps need.

A state lives 72 hours from the run's beginning, whatever step it has reached. It is written to the vault together
with the entry that carries its message, before anything is sent; after a crash `load` gives it back, and `message`
is the same bytes to send again.

**A vault must never go back to an older copy of a state.** Once N is revealed, whoever knows it can make a
commitment that the older copy would take for an early one. That is why an old vault halts (DESIGN 4.1, #11).

State by state, beyond pair, beginning and message (sizes in bytes):

    Challenged   own N (32)
    Committed    run (32), own N (32), peer's N (32), salt (32), own and expected tag (32 each); K is gone
    Revealed     run, peer's N, salt, both tags, the peer's commitment (64)
    Opened       run, expected tag, the peer's commitment, whether something was wrong (1)

Nothing in Challenged, Committed or Revealed says whether the peer's challenge could be decrypted: who seizes the
vault learns no more than who holds the card's key.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Self

from pourparler_crypto.dpa.errors import AlreadyUsed, Lapsed
from pourparler_crypto.dpa.pair import Pair
from pourparler_crypto.dpa.wire import (
    COMMITMENT_LENGTH,
    HEADER,
    MAC_LENGTH,
    N_LENGTH,
    SALT_LENGTH,
    SIZES,
    Kind,
)
from pourparler_crypto.encoding import lp, unlp
from pourparler_crypto.errors import Malformed, UsageError

LIFE = 72 * 3600  # seconds: long enough for two people who are online on different days, short in a seized vault
MAX_STATE = 4096  # bytes of an encoded state; the largest has about 2,100
_FORM = "dpa/state/v1"
_RUN_LENGTH = 32  # bytes


@dataclass(slots=True, repr=False, eq=False)
class _State:
    pair: Pair
    began: int  # Unix seconds
    message: bytes  # this side's last message, to send again after a crash

    SENT: ClassVar[Kind]  # what that message is
    KEPT: ClassVar[dict[str, int]]  # further fields and their sizes in bytes

    _used: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if not 0 <= self.began < 2**63:
            raise UsageError("a run begins at a time in Unix seconds")
        if len(self.message) != SIZES[self.SENT]:
            raise UsageError(f"a {self.SENT.name.lower()} has {SIZES[self.SENT]} bytes")
        if any(len(getattr(self, name)) != size for name, size in self.KEPT.items()):
            raise UsageError("a state's field has the wrong size")

    def check_usable(self, now: int) -> None:
        """Raises AlreadyUsed, Lapsed, or UsageError when `now` (Unix seconds) lies before the beginning."""
        if self._used:
            raise AlreadyUsed("this state has led to another one already")
        if now < self.began:
            raise UsageError("clocks only move forward in a vault")
        if now > self.began + LIFE:
            raise Lapsed("this attestation has waited for more than 72 hours")

    def erase(self) -> None:
        """Use the state up: its secrets and its message are dropped. (CPython cannot wipe memory.)"""
        self._used = True
        self.message = b""
        for name in self.KEPT:
            setattr(self, name, b"")

    def encode(self) -> bytes:
        """For the vault, sealed there like everything: at most MAX_STATE bytes. Raises AlreadyUsed."""
        if self._used:
            raise AlreadyUsed("this state has led to another one already")
        kept = (getattr(self, name) for name in self.KEPT)
        head = (_FORM, bytes((self.SENT,)), self.pair.encode(), self.began.to_bytes(8), self.message)
        return lp(*head, *kept)

    @classmethod
    def _of(cls, pair: Pair, began: int, message: bytes, kept: list[bytes]) -> Self:
        return cls(pair, began, message, **dict(zip(cls.KEPT, kept, strict=True)))


@dataclass(slots=True, repr=False, eq=False)
class Challenged(_State):
    """The challenge is out; the peer's challenge is awaited."""

    SENT = Kind.CHALLENGE
    KEPT: ClassVar = {"own_n": N_LENGTH}
    own_n: bytes

    @property
    def challenge(self) -> bytes:
        """The body of the own challenge, 1,168 bytes."""
        return self.message[HEADER:]


@dataclass(slots=True, repr=False, eq=False)
class Committed(_State):
    """The commitment is out; the peer's commitment is awaited. K is gone."""

    SENT = Kind.COMMITMENT
    KEPT: ClassVar = {
        "run": _RUN_LENGTH,
        "own_n": N_LENGTH,
        "peer_n": N_LENGTH,
        "salt": SALT_LENGTH,
        "tag": MAC_LENGTH,
        "expected": MAC_LENGTH,
    }
    run: bytes
    own_n: bytes
    peer_n: bytes
    salt: bytes
    tag: bytes
    expected: bytes


@dataclass(slots=True, repr=False, eq=False)
class Revealed(_State):
    """The own N is out; the peer's N is awaited."""

    SENT = Kind.REVEAL
    KEPT: ClassVar = {
        "run": _RUN_LENGTH,
        "peer_n": N_LENGTH,
        "salt": SALT_LENGTH,
        "tag": MAC_LENGTH,
        "expected": MAC_LENGTH,
        "commitment": COMMITMENT_LENGTH,
    }
    run: bytes
    peer_n: bytes
    salt: bytes
    tag: bytes
    expected: bytes
    commitment: bytes


@dataclass(slots=True, repr=False, eq=False)
class Opened(_State):
    """The opening, or what looks like one, is out; the peer's opening is awaited."""

    SENT = Kind.OPENING
    KEPT: ClassVar = {"run": _RUN_LENGTH, "expected": MAC_LENGTH, "commitment": COMMITMENT_LENGTH, "flag": 1}
    run: bytes
    expected: bytes
    commitment: bytes
    flag: bytes

    @property
    def suspect(self) -> bool:
        """The peer's N is not what its challenge held: warn the person. What was sent opens nothing."""
        return self.flag != b"\x00"


State = Challenged | Committed | Revealed | Opened
_STATES: dict[int, type[Challenged | Committed | Revealed | Opened]] = {
    cls.SENT: cls for cls in (Challenged, Committed, Revealed, Opened)
}


def load(data: bytes) -> State:
    """A state from the vault. Raises UsageError when these are not bytes that `encode` wrote."""
    if len(data) > MAX_STATE:
        raise UsageError("no state of an attestation is as large as this")
    try:
        form, kind, rest = _split(data)
        cls = _STATES[kind]
        pair, began, message, *kept = unlp(rest, 3 + len(cls.KEPT))
        if form != _FORM.encode() or len(began) != 8:
            raise UsageError("this is not a state of an attestation")
        return cls._of(Pair.decode(pair), int.from_bytes(began), message, kept)
    except (Malformed, KeyError):
        raise UsageError("this is not a state of an attestation") from None


def _split(data: bytes) -> tuple[bytes, int, bytes]:
    """Form, kind, and the parts whose number depends on the kind."""
    head = 4 + len(_FORM) + 4 + 1
    form, kind = unlp(data[:head], 2)
    if len(kind) != 1:
        raise Malformed("a state's kind is one byte")
    return form, kind[0], data[head:]
