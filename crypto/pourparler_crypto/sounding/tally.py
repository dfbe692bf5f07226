"""What is asked of the service, and what it answers: sums of what came, and of one package at most.

1. A tally's handle is the hash of all that was agreed: form, slots, targets, both times, and `agreed`, a hash of what
   only the parties know. Another list, target or time is another tally.
2. Every slot holds uniform bytes from the opening on; what comes replaces them. So what is held looks the same
   whether somebody came, accepted, declined or stayed away.
3. One package is shown: one whose total fits, drawn at random among those that do; if none fits, any. Whoever does not
   know that the target fits sees 32 uniform bytes.

The points A_i are not in it: who had them and the values could tell who declined. DESIGN 4.5.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pourparler_crypto.encoding import lp, unlp
from pourparler_crypto.errors import Malformed, ProtocolError, UsageError
from pourparler_crypto.jr2.group import ED25519, SCALAR_LENGTH, WIDE_LENGTH, check_point, check_scalar, reduced

from . import formulas
from .errors import NotTheSum

VALUE_LENGTH: Final = 32  # bytes: a scalar below L, or a share
TOKEN_LENGTH: Final = 32  # bytes: who shows it may fill its slot
HASH_LENGTH: Final = 32
HANDLE_LENGTH: Final = 32
MIN_PARTIES: Final = 2
MAX_PARTIES: Final = 32  # as many as may sign
MAX_PACKAGES: Final = 8  # a screen's list: with more, who accepts many learns by elimination
MAX_TALLY: Final = 4096  # bytes: 32 slots and 8 targets take 1,600
_TIME_LENGTH: Final = 8  # bytes, big endian, Unix seconds
_LATEST: Final = 2**53 - 1

Random = Callable[[int], bytes]


class Form(StrEnum):
    """How values are added, and what a target is."""

    SUM = "sum"  # scalars mod L; a target is the sum's point
    XOR = "xor"  # 32 bytes each; a target is the hash of all shares together


@dataclass(frozen=True, slots=True)
class Tally:
    """What all have agreed on and the service needs to know. `opens` and `closes` are Unix seconds.

    `slots` are SHA-256 of the slots' tokens (32 bytes each), `targets` one for each package (32 bytes each). Raises
    Malformed.
    """

    form: Form
    slots: tuple[bytes, ...]
    targets: tuple[bytes, ...]
    opens: int
    closes: int
    agreed: bytes

    def __post_init__(self) -> None:
        if not MIN_PARTIES <= len(self.slots) <= MAX_PARTIES or not 1 <= len(self.targets) <= MAX_PACKAGES:
            raise Malformed(
                f"a sounding has {MIN_PARTIES} to {MAX_PARTIES} sides and 1 to {MAX_PACKAGES} packages"
            )
        if any(len(one) != HASH_LENGTH for one in (*self.slots, *self.targets, self.agreed)):
            raise Malformed("each hash and target of a tally has 32 bytes")
        if len(set(self.slots)) != len(self.slots) or len(set(self.targets)) != len(self.targets):
            raise Malformed("two slots or two packages are the same")  # one result would give away the other
        if not 0 <= self.opens < self.closes <= _LATEST:
            raise Malformed("a tally closes after it opens")
        if self.form is Form.SUM:
            for one in self.targets:
                check_point(one)

    @property
    def handle(self) -> bytes:
        """Its name at the service, 32 bytes."""
        return hashlib.sha256(b"pourparler/sounding/tally/v1" + self.encode()).digest()

    def encode(self) -> bytes:
        """At most MAX_TALLY bytes."""
        times = self.opens.to_bytes(_TIME_LENGTH, "big") + self.closes.to_bytes(_TIME_LENGTH, "big")
        return lp(self.form, b"".join(self.slots), b"".join(self.targets), times, self.agreed)

    @classmethod
    def decode(cls, data: bytes) -> "Tally":
        """Raises Malformed for what `encode` does not write."""
        if len(data) > MAX_TALLY:
            raise Malformed("this is larger than any tally")
        form, slots, targets, times, agreed = unlp(data, 5)
        if form not in (b"sum", b"xor") or len(slots) % HASH_LENGTH or len(targets) % HASH_LENGTH:
            raise Malformed("this is no tally")
        if len(times) != 2 * _TIME_LENGTH:
            raise Malformed("a tally has two times")
        return cls(
            Form(form.decode()),
            _pieces(slots, HASH_LENGTH),
            _pieces(targets, HASH_LENGTH),
            int.from_bytes(times[:_TIME_LENGTH], "big"),
            int.from_bytes(times[_TIME_LENGTH:], "big"),
            agreed,
        )

    def slot_of(self, token: bytes) -> int:
        """The place of a token's slot, from 0. Raises Malformed when it has none."""
        name = token_hash(token)
        if len(token) != TOKEN_LENGTH or name not in self.slots:
            raise Malformed("this is no token of this tally")
        return self.slots.index(name)

    def check_values(self, values: bytes) -> bytes:
        """What may be handed in: one value for each package. Raises Malformed."""
        if len(values) != VALUE_LENGTH * len(self.targets):
            raise Malformed("one value of 32 bytes for each package")
        if self.form is Form.SUM:
            for one in _pieces(values, VALUE_LENGTH):
                check_scalar(one)
        return values

    def filling(self, random: Random = os.urandom) -> bytes:
        """What stands in a slot before anybody came, and what who declines hands in: uniform."""
        return b"".join(_uniform(self.form, random) for _ in self.targets)

    def fits(self, package: int, value: bytes) -> bool:
        """Whether a total says that all accept the package (counted from 0). An equation, not a check."""
        registered = self.targets[package]
        if self.form is Form.XOR:
            return xor_target(value) == registered
        try:
            return formulas.all_accept(ED25519, value, registered)
        except ProtocolError:  # zero has no point
            return False

    def totals(self, rows: Sequence[bytes]) -> tuple[bytes, ...]:
        """The total of each package, from what is in every slot."""
        if len(rows) != len(self.slots):
            raise UsageError("what is in every slot")
        columns = zip(*(_pieces(row, VALUE_LENGTH) for row in rows), strict=True)
        return tuple(_total(self.form, column) for column in columns)

    def counted(self, rows: Sequence[bytes], random: Random = os.urandom) -> "Counted":
        """What the service shows when the time has come, and all that it shows.

        The order in which packages are tried is drawn here and forgotten: that one is shown says nothing about any
        other. Draws 8 bytes for each package.
        """
        totals = self.totals(rows)
        order = sorted(range(len(totals)), key=lambda _: random(8))
        shown = next((one for one in order if self.fits(one, totals[one])), order[0])
        return Counted(shown, totals[shown])

    def check(self, answer: "Counted") -> "Counted":
        """That the service's answer can be one of this tally. Raises NotTheSum."""
        if not 0 <= answer.package < len(self.targets) or len(answer.value) != VALUE_LENGTH:
            raise NotTheSum("the service answered about something that was not sounded")
        if self.form is Form.SUM:
            try:
                check_scalar(answer.value)
            except Malformed:
                raise NotTheSum("the service answered with something that is no sum") from None
        return answer

    def common(self, answer: "Counted") -> int | None:
        """The package that all accept, from 0, by the service's answer; None: not all accept. Raises NotTheSum."""
        self.check(answer)
        return answer.package if self.fits(answer.package, answer.value) else None


@dataclass(frozen=True, slots=True)
class Counted:
    """The service's answer: one package (from 0), and its total of 32 bytes."""

    package: int
    value: bytes


def token_hash(token: bytes) -> bytes:
    """A slot: SHA-256 of its token, 32 bytes."""
    return hashlib.sha256(b"pourparler/sounding/slot/v1" + token).digest()


def xor_target(total: bytes) -> bytes:
    """The target of dealt shares: a hash of all of them together, 32 bytes. The same total has the same target."""
    return hashlib.sha256(lp("pourparler/sounding/target/v1", total)).digest()


def xor(left: bytes, right: bytes) -> bytes:
    """Of two strings of one length."""
    return bytes(one ^ other for one, other in zip(left, right, strict=True))


def draw(random: Random, count: int) -> bytes:
    """`count` bytes. Raises UsageError when the source gives another number."""
    drawn = random(count)
    if len(drawn) != count:
        raise UsageError("the random source returned another number of bytes than was asked for")
    return drawn


def _total(form: Form, column: Sequence[bytes]) -> bytes:
    if form is Form.SUM:
        return formulas.total(ED25519, column)
    found = bytes(VALUE_LENGTH)
    for one in column:
        found = xor(found, one)
    return found


def _uniform(form: Form, random: Random) -> bytes:
    return reduced(draw(random, WIDE_LENGTH)) if form is Form.SUM else draw(random, VALUE_LENGTH)


def _pieces(joined: bytes, size: int) -> tuple[bytes, ...]:
    return tuple(joined[start : start + size] for start in range(0, len(joined), size))


def pieces(values: bytes) -> tuple[bytes, ...]:
    """The values of the packages, 32 bytes each."""
    return _pieces(values, VALUE_LENGTH)


__all__ = [
    "HANDLE_LENGTH",
    "MAX_PACKAGES",
    "MAX_PARTIES",
    "MAX_TALLY",
    "MIN_PARTIES",
    "SCALAR_LENGTH",
    "TOKEN_LENGTH",
    "VALUE_LENGTH",
    "Counted",
    "Form",
    "Tally",
    "draw",
    "pieces",
    "token_hash",
    "xor",
    "xor_target",
]
