"""Several delegates of one party, each with a mask: the party can sign only when all of them agree.

D of the party is the sum of the points of its release device and its delegates. Inside the party only:

    masks 1   each draws a mask and sends a commitment; all distinct
    masks 2   each opens D_h, after all commitments are here: nobody can choose its point so as to cancel another's
    join      all openings check; the release device goes on with R3, whose D is the sum
    agree     a delegate that finds the sum in the party's R3, and the handle in its own view of the case,
    sends d_h

The release device adds up and deposits one mask: nobody outside sees how many agreed. There is no proof of
possession here either: it would make the party's pre-signature evidence.

What it does not give: who holds the release key can begin *another* round without masks. It keeps a hasty or
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
from pourparler_crypto.jr2.states import MAX_DELEGATES
from pourparler_crypto.jr2.wire import COMMITMENT_LENGTH, TAG_LENGTH, points_of

SALT_LENGTH: Final = 32  # bytes
_FORM: Final = "jr2/mask/v1"


@dataclass(repr=False, eq=False)
class HeldMask:
    """One holder's mask, from drawing until the party has signed or the case has ended. For the vault: `encode`.

    round    the party's round
    party    its number
    holder   1..m among the party's holders; 1 is the release device
    holders  m, 2 to 16
    d        32·k bytes; salt 32 bytes
    """

    round: Round
    party: int
    holder: int
    holders: int
    d: bytes
    salt: bytes
    _used: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if not 2 <= self.holders <= MAX_DELEGATES or not 1 <= self.holder <= self.holders:
            raise UsageError(f"2 to {MAX_DELEGATES} holders share a mask")
        if self.party not in self.round.parties:
            raise UsageError("no party of this round has this number")
        if len(self.d) != SCALAR_LENGTH * len(self.round.texts) or len(self.salt) != SALT_LENGTH:
            raise UsageError("a held mask has the wrong size")

    @property
    def commitment(self) -> bytes:
        """Masks 1, 82 bytes."""
        return self._write(_commitment(self, self.holder, points_of(self.d), self.salt))

    def opening(self, commitments: Iterable[bytes]) -> bytes:
        """Masks 2, 18 + 32·k + 32 bytes, once all commitments are here.

        Raises Incomplete, WrongRound, Malformed, Contradiction, Copied (with numbers of holders).
        """
        _commitments(self, commitments)
        return self._write(b"".join(points_of(self.d)) + self.salt)

    def agreement(self) -> bytes:
        """Its d for the release device, 18 + 32·k bytes. Call `Joint.check_case` first, and ask the person."""
        return self._write(self.d)

    def erase(self) -> None:
        """Drop the secrets: withdrawn, lapsed or done."""
        self._used, self.d, self.salt = True, b"", b""

    def encode(self) -> bytes:
        """For the vault."""
        self._check_usable()
        numbers = bytes((self.party, self.holder, self.holders))
        return lp(_FORM, self.round.encode(), numbers, self.d, self.salt)

    @classmethod
    def load(cls, data: bytes) -> "HeldMask":
        """What `encode` wrote. Raises UsageError."""
        try:
            form, about, numbers, d, salt = unlp(data, 5)
            if form != _FORM.encode() or len(numbers) != 3:
                raise UsageError("this is not a held mask")
            return cls(Round.decode(about), numbers[0], numbers[1], numbers[2], d, salt)
        except Malformed:
            raise UsageError("this is not a held mask") from None

    def _check_usable(self) -> None:
        if self._used:
            raise AlreadyUsed("this mask was erased")

    def _write(self, body: bytes) -> bytes:
        self._check_usable()
        return bytes((self.party, self.holder)) + _tag(self) + body


@dataclass(frozen=True, slots=True, repr=False)
class Joint:
    """All holders' points, checked: [holder - 1][text]. `sums` is D of the party, by text."""

    round: Round
    party: int
    points: tuple[tuple[bytes, ...], ...]

    @property
    def sums(self) -> tuple[bytes, ...]:
        """D of each text."""
        return tuple(reduce(ED25519.plus, column) for column in zip(*self.points, strict=True))

    def check_case(self, case: Case) -> None:
        """A delegate's check before it agrees: this case is of this round and waits for this very sum.

        Raises WrongRound, or BadMask when the party's R3 was made without this delegate's mask.
        """
        if case.sid != self.round.sid or case.terms != self.round.terms:
            raise WrongRound("a case of another round")
        if case.masks[self.party - 1] != self.sums:
            raise BadMask(self.party, "its pre-signature was made without the delegates' masks")


def draw(
    about: Round, party: int, holder: int, holders: int, random: Callable[[int], bytes] = os.urandom
) -> HeldMask:
    """A fresh mask, uniform for each text (64 random bytes each), and a salt."""
    d = b"".join(reduced(random(WIDE_LENGTH)) for _ in about.texts)
    return HeldMask(about, party, holder, holders, d, random(SALT_LENGTH))


def join(held: HeldMask, commitments: Iterable[bytes], openings: Iterable[bytes]) -> Joint:
    """Check all openings against the commitments. Raises as `opening` does, and BadOpening."""
    committed = _commitments(held, commitments)
    size = SCALAR_LENGTH * len(held.round.texts)
    bodies = _collect(held, openings, size + SALT_LENGTH, held.opening(commitments_of(held, committed)))
    points = []
    for holder, body in enumerate(bodies, 1):
        row, salt = pieces(body[:size], SCALAR_LENGTH), body[size:]
        if _commitment(held, holder, row, salt) != committed[holder - 1]:
            raise BadOpening(holder, "the mask's point is not the one that was committed to")
        for point in row:
            try:
                check_point(point)
            except Malformed as error:
                raise BadOpening(holder, str(error)) from None
        points.append(row)
    joint = Joint(held.round, held.party, tuple(points))
    for point in joint.sums:
        check_point(point)
    return joint


def commitments_of(held: HeldMask, bodies: Sequence[bytes]) -> list[bytes]:
    """The messages of masks 1, from their bodies."""
    return [bytes((held.party, holder)) + _tag(held) + body for holder, body in enumerate(bodies, 1)]


def read_agreement(joint: Joint, holders: int, message: bytes) -> tuple[int, bytes]:
    """Holder and d (32·k bytes) of an agreement, checked against its points. Raises Malformed, WrongRound,
    BadMask.
    """
    size = SCALAR_LENGTH * len(joint.round.texts)
    if len(message) != 2 + TAG_LENGTH + size or not 1 <= message[1] <= holders:
        raise Malformed("this is no agreement of a delegate")
    tag = _tag_of(joint.round, joint.party, holders)
    if message[0] != joint.party or message[2 : 2 + TAG_LENGTH] != tag:
        raise WrongRound("an agreement for another round or party")
    body = message[2 + TAG_LENGTH :]
    try:
        found = points_of(b"".join(map(check_scalar, pieces(body, SCALAR_LENGTH))))
    except Malformed:
        found = ()
    if found != joint.points[message[1] - 1]:
        raise BadMask(message[1], "the delegate's mask does not belong to its point")
    return message[1], body


def _commitments(held: HeldMask, messages: Iterable[bytes]) -> list[bytes]:
    bodies = _collect(held, messages, COMMITMENT_LENGTH, held.commitment)
    for holder, body in enumerate(bodies):
        if body in bodies[:holder]:
            raise Copied(holder + 1, bodies.index(body) + 1, "commitment")
    return bodies


def _collect(held: HeldMask, messages: Iterable[bytes], size: int, own: bytes) -> list[bytes]:
    bodies: dict[int, bytes] = {}
    for message in (own, *messages):
        if len(message) != 2 + TAG_LENGTH + size or not 1 <= message[1] <= held.holders:
            raise Malformed("no message of a party's masks looks like this")
        if message[0] != held.party or message[2 : 2 + TAG_LENGTH] != _tag(held):
            raise WrongRound("a mask of another round or party")
        if bodies.setdefault(message[1], message[2 + TAG_LENGTH :]) != message[2 + TAG_LENGTH :]:
            raise Contradiction(message[1], "two different messages of one holder")
    missing = tuple(holder for holder in range(1, held.holders + 1) if holder not in bodies)
    if missing:
        raise Incomplete(missing)
    return [bodies[holder] for holder in range(1, held.holders + 1)]


def _tag(held: HeldMask) -> bytes:
    return _tag_of(held.round, held.party, held.holders)


def _tag_of(about: Round, party: int, holders: int) -> bytes:
    return hashlib.sha512(lp(_FORM, "tag", about.sid, bytes((party, holders)))).digest()[:TAG_LENGTH]


def _commitment(held: HeldMask, holder: int, points: Sequence[bytes], salt: bytes) -> bytes:
    numbers = bytes((held.party, holder, held.holders))
    return hashlib.sha512(lp(_FORM, "commit", held.round.sid, numbers, *points, salt)).digest()
