"""What a round is about: the exact texts, who signs, and until when. `sid` binds all of it.

One round may hold several texts that are completed together (each side's own copy of a parallel text). Each
text has locks and masks of its own in every party: two pre-signatures of one party under one lock *and* mask,
or under one Y once the masks are open, would prove that its key was used.
"""

import hashlib
from dataclasses import InitVar, dataclass
from enum import Enum
from functools import cached_property
from typing import Final

from pourparler_crypto.encoding import lp
from pourparler_crypto.errors import Malformed, UsageError
from pourparler_crypto.jr2.group import POINT_LENGTH, check_point

MIN_PARTIES: Final = 2
MAX_PARTIES: Final = 32  # twice what a C2SP verifier has to accept; one byte on the wire
MAX_TEXTS: Final = 32  # one copy for each party
MAX_TEXT_BYTES: Final = 384 * 1024  # of all texts together: they fit the largest bundle
NONCE_LENGTH: Final = 32  # bytes
SID_LENGTH: Final = 64  # bytes, SHA-512
_MAX_TIME: Final = 2**40  # Unix seconds
_TERMS_LENGTH: Final = 3 * 8 + 1 + 4  # bytes
_FORM: Final = "jr2/round/v1"
_PRIVATE: Final = "jr2/round/private/v1"


class Stage(Enum):
    """Where a case stands by the desk's clock alone."""

    SIGNING = "signing"  # masks are taken; without all of them it lapses at sign_by
    DEPOSIT = "deposit"  # shares are taken; without all of them it lapses at deposit_by
    WAITING = "waiting"  # complete or lapsed; nothing is taken any more
    DUE = "due"  # not_before is reached: a complete case is published


@dataclass(frozen=True, slots=True)
class Terms:
    """Deadlines and stop rule of a round, in Unix seconds: sign_by < deposit_by <= not_before (DESIGN 6.2).

    stop_before   seconds before not_before until which any party may stop a complete case; None: nobody can
    """

    sign_by: int
    deposit_by: int
    not_before: int
    stop_before: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.sign_by < self.deposit_by <= self.not_before < _MAX_TIME:
            raise UsageError("the deadlines are: sign, then deposit, then at the earliest the publication")
        if self.stop_before is not None and not 0 <= self.stop_before < 2**32:
            raise UsageError("the stop rule names a number of seconds before the publication")

    def stage(self, now: int) -> Stage:
        """The stage at `now`; a deadline's own second is past it."""
        if now < self.sign_by:
            return Stage.SIGNING
        if now < self.deposit_by:
            return Stage.DEPOSIT
        return Stage.WAITING if now < self.not_before else Stage.DUE

    def may_stop(self, now: int) -> bool:
        """Whether any party may stop the case at `now`. Before sign_by a party may in any case withdraw."""
        return self.stop_before is not None and now < self.not_before - self.stop_before

    def encode(self) -> bytes:
        """29 bytes: three times (8 each), whether there is a stop rule (1), its seconds (4)."""
        times = b"".join(time.to_bytes(8) for time in (self.sign_by, self.deposit_by, self.not_before))
        return times + (self.stop_before is not None).to_bytes(1) + (self.stop_before or 0).to_bytes(4)

    @classmethod
    def decode(cls, data: bytes) -> "Terms":
        """What `encode` wrote. Raises Malformed."""
        if len(data) != _TERMS_LENGTH:
            raise Malformed("terms have 29 bytes")
        numbers = [int.from_bytes(data[i : i + 8]) for i in (0, 8, 16)]
        stop = int.from_bytes(data[25:]) if data[24] else None
        try:
            terms = cls(numbers[0], numbers[1], numbers[2], stop)
        except UsageError as error:
            raise Malformed(str(error)) from None
        if terms.encode() != data:
            raise Malformed("terms have one encoding only")
        return terms


@dataclass(frozen=True)
class Round:
    """Everything that the parties agree on before R1. Raises UsageError when it cannot be a round.

    nonce   32 random bytes, fresh for each appointment; drawn by whoever proposes it
    texts   the exact note texts, 1 to 32, at most 384 KiB together (see `pourparler_crypto.note`)
    keys    the release keys of parties 1..n, 32 bytes each, all distinct
    terms   deadlines and stop rule
    private whether the desk must never be able to read the texts: they are not for the board

    `vetted` leaves out the check of the keys' points, for a round that comes from one's own vault.
    """

    nonce: bytes
    texts: tuple[bytes, ...]
    keys: tuple[bytes, ...]
    terms: Terms
    private: bool = False
    vetted: InitVar[bool] = False

    def __post_init__(self, vetted: bool) -> None:
        if len(self.nonce) != NONCE_LENGTH:
            raise UsageError("a round's nonce has 32 bytes")
        if not 1 <= len(self.texts) <= MAX_TEXTS or not all(self.texts):
            raise UsageError(f"a round is about 1 to {MAX_TEXTS} texts, none of them empty")
        if len(set(self.texts)) != len(self.texts):
            raise UsageError("the texts of a round differ")
        if sum(map(len, self.texts)) > MAX_TEXT_BYTES:
            raise UsageError(f"the texts of a round have at most {MAX_TEXT_BYTES} bytes together")
        if not MIN_PARTIES <= len(self.keys) <= MAX_PARTIES:
            raise UsageError(f"a joint release has {MIN_PARTIES} to {MAX_PARTIES} parties")
        if len(set(self.keys)) != len(self.keys):
            raise UsageError("two parties have the same release key")
        for number, key in enumerate(() if vetted else self.keys, 1):
            try:
                check_point(key)
            except Malformed:
                raise UsageError(f"the release key of party {number} is not a valid Ed25519 key") from None

    @property
    def parties(self) -> range:
        """The numbers of the parties, 1..n."""
        return range(1, len(self.keys) + 1)

    @cached_property
    def sid(self) -> bytes:
        """64 bytes. Whoever was shown another text, key or deadline has another sid, and R1 shows it."""
        return hashlib.sha512(
            lp(
                "jr2/sid/private/v1" if self.private else "jr2/sid/v1",
                self.nonce,
                lp(*self.texts),
                self.terms.encode(),
                *self.keys,
            )
        ).digest()

    def number_of(self, public: bytes) -> int:
        """The number of the party with this release key. Raises UsageError when it does not sign."""
        if public not in self.keys:
            raise UsageError("this release key is not among the text's signatories")
        return self.keys.index(public) + 1

    def encode(self) -> bytes:
        """For bundle and vault: counts and lengths in front of everything."""
        return lp(
            _PRIVATE if self.private else _FORM,
            self.nonce,
            _counted(self.texts),
            self.terms.encode(),
            b"".join(self.keys),
        )

    @classmethod
    def decode(cls, data: bytes, *, vetted: bool = False) -> "Round":
        """What `encode` wrote. Raises Malformed."""
        reader = Reader(data)
        form = reader.part()
        if form not in (_FORM.encode(), _PRIVATE.encode()):
            raise Malformed("this is not a round")
        nonce, texts, terms, keys = (reader.part() for _ in range(4))
        reader.end()
        inner = Reader(texts)
        count = inner.take(1)[0]
        found = tuple(inner.part() for _ in range(count))
        inner.end()
        try:
            private = form == _PRIVATE.encode()
            return cls(nonce, found, pieces(keys, POINT_LENGTH), Terms.decode(terms), private, vetted)
        except UsageError as error:
            raise Malformed(str(error)) from None


def _counted(texts: tuple[bytes, ...]) -> bytes:
    return len(texts).to_bytes(1) + lp(*texts)


def pieces(data: bytes, size: int) -> tuple[bytes, ...]:
    """`data` cut into pieces of `size` bytes. Raises Malformed when it does not come out even."""
    if len(data) % size:
        raise Malformed("a list of values is cut short")
    return tuple(data[i : i + size] for i in range(0, len(data), size))


class Reader:
    """Takes bytes from the front; whatever is short raises Malformed."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        taken = self._data[self._at : self._at + count]
        if len(taken) != count:
            raise Malformed("the bytes end too early")
        self._at += count
        return taken

    def part(self) -> bytes:
        """One part as `lp` writes it."""
        return self.take(int.from_bytes(self.take(4)))

    def end(self) -> None:
        """Raises Malformed when bytes follow."""
        if self._at != len(self._data):
            raise Malformed("bytes follow the last part")
