"""What waits in the vault between two steps: each state is used once, and holds only what later steps need.

A state is written to the vault, in place of the one before, in the transaction that stores its message, before
anything is sent; after a crash `load` gives it back, and `message` (or `sent`, all of them) the same bytes to send
again. r is in no state: it is drawn, used and dropped within `presign`.

State by state, beyond round and own number (n parties, s signers, k texts, sizes in bytes):

    Committed   y (32·k), rho (32)                                                        R1 is out
    Opened      y, own rho, the commitments of all (64·s)                                 R2 is out
    Presigned   y, Y of all (32·k·s), rho of all (32·s), d (32·k), own R3                 R3 is out
    Ready       y, Y, rho, d, R3 of all (96·k·n + 32·k·(s - n))         all checked: a person may sign, or not
    Signed      y, Y, rho, own mask of R4 (32·k), R3 of all                               R4 is out
    Deposited   y, Y, rho, R3 of all, the masks of all (32·k·s)                           R5 is out

Up to Signed, all that one party's state holds could have been made up by anyone, y and d included
(`forging.forge_ready`): one seized vault is no evidence that its owner, or anyone, has taken part, or has
signed. Two of them are what an opened R4 is: evidence for "all of these but one, at least". With the states of
all, anybody can complete the release.

An older copy of a state does no harm to the key: each `presign` draws a fresh r. A party that signs twice from
copies has signed the same text.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Final, Self

from pourparler_crypto.encoding import lp
from pourparler_crypto.errors import Malformed, UsageError
from pourparler_crypto.jr2 import wire
from pourparler_crypto.jr2.case import Bundle, Case, masks_of, rows, seal_bundle, seal_nothing
from pourparler_crypto.jr2.errors import AlreadyUsed
from pourparler_crypto.jr2.group import POINT_LENGTH, SCALAR_LENGTH
from pourparler_crypto.jr2.round import MAX_PARTIES, Reader, Round, pieces
from pourparler_crypto.jr2.wire import PRESIGNATURE_LENGTH, RHO_LENGTH, Kind, rho_hash, write

MAX_STATE: Final = 1024 * 1024  # bytes; 32 parties and 32 texts of 384 KiB have about 590,000
_FORM: Final = "jr2/state/v1"


@dataclass(repr=False, eq=False)
class _State:
    round: Round
    party: int
    y: bytes

    NUMBER: ClassVar[int]
    FIELDS: ClassVar[tuple[str, ...]] = ("y",)

    _used: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        n, k, s = len(self.round.keys), len(self.round.texts), self.signers
        if not n <= s <= MAX_PARTIES or not 0 <= self.party <= s or (not self.party and self.NUMBER > 1):
            raise UsageError("no party of this round has this number")
        own = POINT_LENGTH if self.party > n else PRESIGNATURE_LENGTH
        sizes = {
            "y": SCALAR_LENGTH * k,
            "rho": RHO_LENGTH,
            "commitments": wire.COMMITMENT_LENGTH * s,
            "locks": POINT_LENGTH * k * s,
            "rhos": RHO_LENGTH * s,
            "d": SCALAR_LENGTH * k,
            "presignature": own * k,
            "presignatures": PRESIGNATURE_LENGTH * k * n + POINT_LENGTH * k * (s - n),
            "mask": SCALAR_LENGTH * k,
            "masks": SCALAR_LENGTH * k * s,
        }
        for name in self.FIELDS:
            if len(getattr(self, name)) != sizes[name]:
                raise UsageError(f"the field {name} of a state has the wrong size")

    @property
    def signers(self) -> int:
        """How many sign, as far as it is known: the parties, then their further signers."""
        return len(self.round.keys)

    @property
    def _first(self) -> int:
        """The number in this signer's R1."""
        return self.party if self.party in self.round.parties else 0

    def check_usable(self) -> None:
        """Raises AlreadyUsed."""
        if self._used:
            raise AlreadyUsed("this state has led to another one already, or was erased")

    def erase(self) -> None:
        """Use the state up: its secrets are dropped. (CPython cannot wipe memory.) Erase the vault's copy as
        well.
        """
        self._used = True
        for name in self.FIELDS:
            setattr(self, name, b"")
        for name in ("bundle", "case"):
            self.__dict__.pop(name, None)

    def encode(self) -> bytes:
        """For the vault, sealed there like everything: at most MAX_STATE bytes. Raises AlreadyUsed."""
        self.check_usable()
        head = (_FORM, bytes((self.NUMBER, self.party)), self.round.encode())
        return lp(*head, *(getattr(self, name) for name in self.FIELDS))

    @classmethod
    def _of(cls, about: Round, party: int, fields: list[bytes]) -> Self:
        return cls(about, party, **dict(zip(cls.FIELDS, fields, strict=True)))

    def _write(self, kind: Kind, bound_to: bytes, body: bytes) -> bytes:
        self.check_usable()
        return write(kind, self._first if kind is Kind.COMMITMENT else self.party, bound_to, body)


@dataclass(repr=False, eq=False)
class Committed(_State):
    """R1 is out: the commitments of the others are awaited."""

    NUMBER = 1
    FIELDS = ("y", "rho")
    rho: bytes

    @property
    def message(self) -> bytes:
        """R1, 82 bytes."""
        points = wire.points_of(self.y)
        return self._write(
            Kind.COMMITMENT, self.round.sid, wire.commitment(self.round.sid, self._first, points, self.rho)
        )

    @property
    def sent(self) -> tuple[bytes, ...]:
        """All messages of this party so far."""
        return (self.message,)


@dataclass(repr=False, eq=False)
class Opened(_State):
    """R2 is out: the openings of the others are awaited."""

    NUMBER = 2
    FIELDS = ("y", "rho", "commitments")
    rho: bytes
    commitments: bytes

    @property
    def signers(self) -> int:
        """How many sign."""
        return len(self.commitments) // wire.COMMITMENT_LENGTH

    @property
    def message(self) -> bytes:
        """R2, 50 + 32·k bytes."""
        return self._write(Kind.OPENING, self.round.sid, b"".join(wire.points_of(self.y)) + self.rho)

    @property
    def sent(self) -> tuple[bytes, ...]:
        """All messages of this party so far."""
        body = pieces(self.commitments, wire.COMMITMENT_LENGTH)[self.party - 1]
        return self._write(Kind.COMMITMENT, self.round.sid, body), self.message


@dataclass(repr=False, eq=False)
class _Unlocked(_State):
    """From R3 on: Y and rho of all are known."""

    locks: bytes
    rhos: bytes

    @property
    def signers(self) -> int:
        """How many sign."""
        return len(self.rhos) // RHO_LENGTH

    @property
    def rho(self) -> bytes:
        """This party's own."""
        return pieces(self.rhos, RHO_LENGTH)[self.party - 1]

    def _early(self, presignature: bytes) -> tuple[bytes, ...]:
        sid, rho, points = self.round.sid, self.rho, wire.points_of(self.y)
        return (
            self._write(Kind.COMMITMENT, sid, wire.commitment(sid, self._first, points, rho)),
            self._write(Kind.OPENING, sid, b"".join(points) + rho),
            self._write(Kind.PRESIGNATURE, sid, presignature),
        )


@dataclass(repr=False, eq=False)
class Presigned(_Unlocked):
    """R3 is out: the pre-signatures of the others are awaited."""

    NUMBER = 3
    FIELDS = ("y", "locks", "rhos", "d", "presignature")
    d: bytes
    presignature: bytes

    @property
    def message(self) -> bytes:
        """R3, 18 + 96·k bytes; of a further signer 18 + 32·k."""
        return self._write(Kind.PRESIGNATURE, self.round.sid, self.presignature)

    @property
    def sent(self) -> tuple[bytes, ...]:
        """All messages of this party so far."""
        return self._early(self.presignature)


@dataclass(repr=False, eq=False)
class _Checked(_Unlocked):
    """From here on all pre-signatures are checked, so the case is settled."""

    presignatures: bytes

    @property
    def bodies(self) -> tuple[bytes, ...]:
        """R3 of the parties, [party - 1]."""
        self.check_usable()
        size = PRESIGNATURE_LENGTH * len(self.round.texts)
        return pieces(self.presignatures[: size * len(self.round.keys)], size)

    @property
    def further(self) -> tuple[bytes, ...]:
        """R3 of the further signers: D of each text."""
        self.check_usable()
        texts = len(self.round.texts)
        return pieces(
            self.presignatures[PRESIGNATURE_LENGTH * texts * len(self.round.keys) :], POINT_LENGTH * texts
        )

    @property
    def _own_third(self) -> bytes:
        return (*self.bodies, *self.further)[self.party - 1]

    @cached_property
    def bundle(self) -> bytes:
        """The sealed bundle (of a private round: nothing): the same bytes for every client. One of BUNDLE_SIZES."""
        seal = seal_nothing if self.round.private else seal_bundle
        return seal(Bundle(self.round, self.bodies), pieces(self.rhos, RHO_LENGTH))

    @cached_property
    def case(self) -> Case:
        """The case, whose handle names it at the desk."""
        texts = len(self.round.texts)
        return Case(
            self.round.sid,
            rows(self.locks, texts),
            masks_of(self.bodies) + tuple(pieces(body, POINT_LENGTH) for body in self.further),
            tuple(map(rho_hash, pieces(self.rhos, RHO_LENGTH))),
            wire.rho_hash(self.bundle),
            self.round.terms,
            vetted=True,
        )


@dataclass(repr=False, eq=False)
class Ready(_Checked):
    """Every pre-signature holds. Nothing binds anybody yet; the next step is a person's."""

    NUMBER = 4
    FIELDS = ("y", "locks", "rhos", "d", "presignatures")
    d: bytes

    @property
    def sent(self) -> tuple[bytes, ...]:
        """All messages of this party so far."""
        return self._early(self._own_third)


@dataclass(repr=False, eq=False)
class Signed(_Checked):
    """R4 is out: the desk's answer is awaited."""

    NUMBER = 5
    FIELDS = ("y", "locks", "rhos", "presignatures", "mask")
    mask: bytes

    @property
    def message(self) -> bytes:
        """R4 for the desk, 18 + 32·k bytes. The same bytes withdraw, as long as not all have signed."""
        return self._write(Kind.MASK, self.case.handle, self.mask)

    @property
    def sent(self) -> tuple[bytes, ...]:
        """All messages of this party so far."""
        return *self._early(self._own_third), self.message


@dataclass(repr=False, eq=False)
class Deposited(_Checked):
    """R5 is out: publication is awaited. `masks` holds d of all: what whoever saw "complete" posts to the
    others.
    """

    NUMBER = 6
    FIELDS = ("y", "locks", "rhos", "presignatures", "masks")
    masks: bytes

    @property
    def message(self) -> bytes:
        """R5 for the desk, 50 + 32·k bytes; past not-before also for the other signers, if the desk stays
        silent.
        """
        return self._write(Kind.SHARE, self.case.handle, self.y + self.rho)

    @property
    def mask_messages(self) -> tuple[bytes, ...]:
        """R4 of every signer, to be posted to the other signers once the desk has shown them."""
        each = pieces(self.masks, SCALAR_LENGTH * len(self.round.texts))
        return tuple(write(Kind.MASK, party, self.case.handle, body) for party, body in enumerate(each, 1))

    @property
    def sent(self) -> tuple[bytes, ...]:
        """All messages of this party so far."""
        early = self._early(self._own_third)
        return *early, self.mask_messages[self.party - 1], self.message


State = Committed | Opened | Presigned | Ready | Signed | Deposited
_STATES: Final[dict[int, type[State]]] = {
    cls.NUMBER: cls for cls in (Committed, Opened, Presigned, Ready, Signed, Deposited)
}


def load(data: bytes) -> State:
    """A state from the vault. Raises UsageError when these are not bytes that `encode` wrote."""
    if len(data) > MAX_STATE:
        raise UsageError("no state of a joint release is as large as this")
    try:
        reader = Reader(data)
        form, head, about = reader.part(), reader.part(), reader.part()
        if form != _FORM.encode() or len(head) != 2:
            raise UsageError("this is not a state of a joint release")
        cls = _STATES[head[0]]
        fields = [reader.part() for _ in cls.FIELDS]
        reader.end()
        return cls._of(Round.decode(about, vetted=True), head[1], fields)
    except (Malformed, KeyError):
        raise UsageError("this is not a state of a joint release") from None
