"""Several delegates of one party, each with a mask: the party can sign only when all of them agree.

D of the party is its release device's d·G and the sum of its delegates' points. Inside the party only:

    masks 1   each delegate draws a mask and sends a commitment; all distinct
    masks 2   each opens D_h, after all commitments are here: nobody can choose its point so as to cancel another's
    join      all openings check, at every delegate and at the release device, which goes on with R3
    disclose  the release device shows its delegates its own d, beside its R3
    agree     a delegate that finds D == d·G + ΣD_h in the case, and its own round, sends d_h

The release device adds up and deposits one value: nobody outside sees how many agreed. There is no proof of
possession here either: it would make the party's pre-signature evidence. The device's own d is drawn in R3, as
for a party without delegates, and not committed to before: two pre-signatures from copies of one state must
not have the same D, which would prove that the key was used. That it does not cancel the delegates' points
shows when it is disclosed.

What all this does not give: who holds the release key can begin *another* round without masks. It keeps a hasty or
stolen decision from completing *this* one.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Final

from pourparler_crypto.encoding import lp, unlp
from pourparler_crypto.errors import Malformed, UsageError
from pourparler_crypto.jr2.case import Case
from pourparler_crypto.jr2.errors import (
    AlreadyUsed,
    BadMask,
    BadOpening,
    Contradiction,
    Copied,
    Incomplete,
    WrongRound,
)
from pourparler_crypto.jr2.group import ED25519, SCALAR_LENGTH, WIDE_LENGTH, check_point, check_scalar, reduced
from pourparler_crypto.jr2.round import Round, pieces
from pourparler_crypto.jr2.wire import COMMITMENT_LENGTH, TAG_LENGTH, points_of

MAX_DELEGATES: Final = 16  # of one party, with masks of their own
SALT_LENGTH: Final = 32  # bytes
_HEADER: Final = 2 + TAG_LENGTH  # bytes: party, delegate (0: the release device), tag
_FORM: Final = "jr2/mask/v1"


@dataclass(frozen=True, slots=True)
class Circle:
    """Which delegates of which party, in which round: 1..delegates, at most 16."""

    round: Round
    party: int
    delegates: int

    def __post_init__(self) -> None:
        if not 1 <= self.delegates <= MAX_DELEGATES:
            raise UsageError(f"a party has 1 to {MAX_DELEGATES} delegates with masks of their own")
        if self.party not in self.round.parties:
            raise UsageError("no party of this round has this number")

    @property
    def mask_length(self) -> int:
        """Bytes of one delegate's scalars, or points, for all texts."""
        return SCALAR_LENGTH * len(self.round.texts)

    @property
    def tag(self) -> bytes:
        """16 bytes that name the circle; no secret."""
        numbers = bytes((self.party, self.delegates))
        return hashlib.sha512(lp(_FORM, "tag", self.round.sid, numbers)).digest()[:TAG_LENGTH]

    def commitment(self, delegate: int, points: Sequence[bytes], salt: bytes) -> bytes:
        """64 bytes."""
        numbers = bytes((self.party, delegate, self.delegates))
        return hashlib.sha512(lp(_FORM, "commit", self.round.sid, numbers, *points, salt)).digest()

    def write(self, sender: int, body: bytes) -> bytes:
        """A message inside the party."""
        return bytes((self.party, sender)) + self.tag + body

    def read(self, message: bytes, size: int, senders: range) -> tuple[int, bytes]:
        """Sender and body. Raises Malformed, WrongRound."""
        if len(message) != _HEADER + size or message[1] not in senders:
            raise Malformed("no message of a party's masks looks like this")
        if message[0] != self.party or message[2:_HEADER] != self.tag:
            raise WrongRound("a mask of another round or party")
        return message[1], message[_HEADER:]

    def collect(self, messages: Iterable[bytes], size: int) -> list[bytes]:
        """The bodies of all delegates. Raises Malformed, WrongRound, Contradiction, Incomplete."""
        bodies: dict[int, bytes] = {}
        delegates = range(1, self.delegates + 1)
        for message in messages:
            sender, body = self.read(message, size, delegates)
            if bodies.setdefault(sender, body) != body:
                raise Contradiction(sender, "two different messages of one delegate")
        missing = tuple(delegate for delegate in delegates if delegate not in bodies)
        if missing:
            raise Incomplete(missing)
        return [bodies[delegate] for delegate in delegates]

    def commitments(self, messages: Iterable[bytes]) -> list[bytes]:
        """Masks 1 of all delegates, all distinct. Raises as `collect` does, and Copied (with delegates'
        numbers).
        """
        bodies = self.collect(messages, COMMITMENT_LENGTH)
        for place, body in enumerate(bodies):
            if body in bodies[:place]:
                raise Copied(place + 1, bodies.index(body) + 1, "commitment")
        return bodies


@dataclass(repr=False, eq=False)
class HeldMask:
    """One delegate's mask, from drawing until the party has signed or the case has ended. For the vault: `encode`.

    d has 32·k bytes, salt 32.
    """

    circle: Circle
    delegate: int
    d: bytes
    salt: bytes
    _used: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if not 1 <= self.delegate <= self.circle.delegates:
            raise UsageError("no delegate of this party has this number")
        if len(self.d) != self.circle.mask_length or len(self.salt) != SALT_LENGTH:
            raise UsageError("a held mask has the wrong size")

    @property
    def commitment(self) -> bytes:
        """Masks 1, 82 bytes."""
        self._check_usable()
        return self.circle.write(
            self.delegate, self.circle.commitment(self.delegate, points_of(self.d), self.salt)
        )

    def opening(self, commitments: Iterable[bytes]) -> bytes:
        """Masks 2, 18 + 32·k + 32 bytes, once all commitments are here.

        Raises Incomplete, WrongRound, Malformed, Contradiction, Copied (with numbers of delegates); AlreadyUsed.
        """
        self.circle.commitments([self.commitment, *commitments])
        return self.circle.write(self.delegate, b"".join(points_of(self.d)) + self.salt)

    def agreement(self) -> bytes:
        """Its d for the release device, 18 + 32·k bytes. Call `Joint.check_case` first, and ask the person."""
        self._check_usable()
        return self.circle.write(self.delegate, self.d)

    def erase(self) -> None:
        """Drop the secrets: withdrawn, lapsed or done."""
        self._used, self.d, self.salt = True, b"", b""

    def encode(self) -> bytes:
        """For the vault."""
        self._check_usable()
        numbers = bytes((self.circle.party, self.circle.delegates, self.delegate))
        return lp(_FORM, self.circle.round.encode(), numbers, self.d, self.salt)

    @classmethod
    def load(cls, data: bytes) -> "HeldMask":
        """What `encode` wrote. Raises UsageError."""
        try:
            form, about, numbers, d, salt = unlp(data, 5)
            if form != _FORM.encode() or len(numbers) != 3:
                raise UsageError("this is not a held mask")
            circle = Circle(Round.decode(about, vetted=True), numbers[0], numbers[1])
            return cls(circle, numbers[2], d, salt)
        except Malformed:
            raise UsageError("this is not a held mask") from None

    def _check_usable(self) -> None:
        if self._used:
            raise AlreadyUsed("this mask was erased")


@dataclass(frozen=True, slots=True, repr=False)
class Joint:
    """All delegates' points, checked: [delegate - 1][text]."""

    circle: Circle
    points: tuple[tuple[bytes, ...], ...]

    @property
    def sums(self) -> tuple[bytes, ...]:
        """ΣD_h of each text."""
        return tuple(reduce(ED25519.plus, column) for column in zip(*self.points, strict=True))

    @property
    def flat(self) -> bytes:
        """All points, one behind the other."""
        return b"".join(point for row in self.points for point in row)

    def disclosure(self, d: bytes) -> bytes:
        """The release device's own d for its delegates, beside its R3 (18 + 32·k bytes)."""
        return self.circle.write(0, d)

    def check_case(self, case: Case, disclosure: bytes) -> None:
        """A delegate's check before it agrees: this case is of its round, and D is d·G and the delegates' points.

        Raises WrongRound, Malformed, or BadMask when the party's R3 was made without the delegates' masks.
        """
        if case.sid != self.circle.round.sid or case.terms != self.circle.round.terms:
            raise WrongRound("a case of another round")
        _, d = self.circle.read(disclosure, self.circle.mask_length, range(1))
        own = points_of(b"".join(map(check_scalar, pieces(d, SCALAR_LENGTH))))
        if case.masks[self.circle.party - 1] != tuple(map(ED25519.plus, own, self.sums)):
            raise BadMask(self.circle.party, "its pre-signature was made without the delegates' masks")

    def read_agreement(self, message: bytes) -> tuple[int, bytes]:
        """Delegate and d_h (32·k bytes), checked against its points. Raises Malformed, WrongRound, BadMask."""
        delegate, body = self.circle.read(message, self.circle.mask_length, range(1, self.circle.delegates + 1))
        try:
            found = points_of(b"".join(map(check_scalar, pieces(body, SCALAR_LENGTH))))
        except Malformed:
            found = ()
        if found != self.points[delegate - 1]:
            raise BadMask(delegate, "the delegate's mask does not belong to its point")
        return delegate, body


def draw(circle: Circle, delegate: int, random: Callable[[int], bytes] = os.urandom) -> HeldMask:
    """A fresh mask, uniform for each text (64 random bytes each), and a salt."""
    d = b"".join(reduced(random(WIDE_LENGTH)) for _ in circle.round.texts)
    return HeldMask(circle, delegate, d, random(SALT_LENGTH))


def join(circle: Circle, commitments: Iterable[bytes], openings: Iterable[bytes]) -> Joint:
    """All openings checked against all commitments, one's own among them.

    Raises Incomplete, WrongRound, Malformed, Contradiction, Copied, BadOpening (with numbers of delegates).
    """
    committed = circle.commitments(commitments)
    points = []
    for delegate, body in enumerate(circle.collect(openings, circle.mask_length + SALT_LENGTH), 1):
        row, salt = pieces(body[: circle.mask_length], SCALAR_LENGTH), body[circle.mask_length :]
        if circle.commitment(delegate, row, salt) != committed[delegate - 1]:
            raise BadOpening(delegate, "the mask's point is not the one that was committed to")
        for point in row:
            try:
                check_point(point)
            except Malformed:
                raise BadOpening(delegate, "the mask's point is no point of the prime-order group") from None
        points.append(row)
    return Joint(circle, tuple(points))
