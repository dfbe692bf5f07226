"""A sounding without a dealer, in a channel that all parties share (DESIGN 4.5; research/review-protocol.md, 7).

1. **Commit first.** Nobody sees an A before all have committed to theirs: else the last could choose A_n = t·G - ΣA_i
   and know the sum without anybody's consent (the rogue key).
2. What is handed in is masked by each pair, so that who holds all of it sees a sum and nothing else, even together with
   some of the parties. Only all the other parties together undo a party's mask.
3. Nothing here is signed or proves a possession: anybody can make up the whole of it.
4. The secrets end with the registration: what is left is `Answer`, from which nobody reads a word.

Steps are functions; randomness is their argument and is drawn in the order that they say.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from nacl.bindings import crypto_scalarmult
from nacl.exceptions import RuntimeError as SodiumError

from pourparler_crypto import sodium
from pourparler_crypto.encoding import lp, unlp
from pourparler_crypto.errors import Malformed, UsageError
from pourparler_crypto.jr2.group import ED25519, POINT_LENGTH, SCALAR_LENGTH, WIDE_LENGTH, check_point, reduced

from . import formulas
from .answering import Answer
from .errors import Unregistered
from .tally import (
    HASH_LENGTH,
    MAX_PACKAGES,
    MAX_PARTIES,
    MIN_PARTIES,
    TOKEN_LENGTH,
    Form,
    Random,
    Tally,
    draw,
    token_hash,
)

COMMITMENT_LENGTH: Final = 64  # bytes, SHA-512
RHO_LENGTH: Final = 32
_EXCHANGE_LENGTH: Final = 32  # bytes, X25519
_ZERO: Final = bytes(SCALAR_LENGTH)


@dataclass(frozen=True, slots=True)
class About:
    """What is sounded: `agreed` is a hash (32 bytes) of texts, parties and times; parties are numbered from 1."""

    agreed: bytes
    parties: int
    packages: int

    def __post_init__(self) -> None:
        if len(self.agreed) != HASH_LENGTH:
            raise UsageError("what is agreed has a hash of 32 bytes")
        if not MIN_PARTIES <= self.parties <= MAX_PARTIES or not 1 <= self.packages <= MAX_PACKAGES:
            raise UsageError("a sounding of too few or too many parties or packages")


@dataclass(frozen=True, slots=True, repr=False)
class Begun:
    """A party's secrets until the registration: a for each package, an exchange key, rho and the slot's token."""

    party: int
    secrets: bytes  # 32 bytes for each package
    exchange: bytes  # 32 bytes
    rho: bytes  # 32 bytes
    token: bytes  # 32 bytes

    def opening(self) -> bytes:
        """What is opened once all have committed: 96 + 32·packages bytes."""
        points = b"".join(map(ED25519.base, _split(self.secrets)))
        return points + sodium.x25519_public(self.exchange) + token_hash(self.token) + self.rho

    def commitment(self, about: About) -> bytes:
        """64 bytes."""
        return _commitment(about, self.party, self.opening())

    def encode(self) -> bytes:
        """For the vault."""
        return lp(self.party.to_bytes(1), self.secrets, self.exchange, self.rho, self.token)

    @classmethod
    def decode(cls, data: bytes) -> "Begun":
        """Raises Malformed."""
        party, secrets, exchange, rho, token = unlp(data, 5)
        sizes = (len(party), len(exchange), len(rho), len(token))
        if sizes != (1, _EXCHANGE_LENGTH, RHO_LENGTH, TOKEN_LENGTH) or len(secrets) % SCALAR_LENGTH:
            raise Malformed("these are no secrets of a sounding")
        return cls(party[0], secrets, exchange, rho, token)


def begin(about: About, party: int, random: Random = os.urandom) -> Begun:
    """A party's fresh secrets. Draws 64 bytes for each package, then 32 for the exchange, rho and the token each."""
    if not 1 <= party <= about.parties:
        raise UsageError("there is no such party")
    secrets = b"".join(reduced(draw(random, WIDE_LENGTH)) for _ in range(about.packages))
    exchange, rho, token = (draw(random, count) for count in (_EXCHANGE_LENGTH, RHO_LENGTH, TOKEN_LENGTH))
    return Begun(party, secrets, exchange, rho, token)


def check_commitments(commitments: Sequence[bytes]) -> None:
    """That nobody copied another's. Raises Unregistered with the later of two parties."""
    for party, one in enumerate(commitments, 1):
        if len(one) != COMMITMENT_LENGTH:
            raise Unregistered(party, "this is no commitment")
        if one in commitments[: party - 1]:
            raise Unregistered(party, "the same commitment as another party's")


def registered(
    about: About, commitments: Sequence[bytes], openings: Sequence[bytes], opens: int, closes: int
) -> Tally:
    """The tally, from everybody's commitment and opening, in the order of the parties; `opens`, `closes` as agreed.

    Raises Unregistered with the party whose opening is not what it committed to, is no valid point, or repeats another
    party's value; Malformed when the points cancel out.
    """
    if not len(commitments) == len(openings) == about.parties:
        raise UsageError("a commitment and an opening of each party")
    check_commitments(commitments)
    seen: dict[bytes, int] = {}
    rows, slots = [], []
    for party, (commitment, opening) in enumerate(zip(commitments, openings, strict=True), 1):
        if _commitment(about, party, opening) != commitment:
            raise Unregistered(party, "this opens another commitment")
        points, exchange, slot = _parts(about, party, opening)
        for value in (*points, exchange, slot):
            if value in seen:
                raise Unregistered(party, "the same value as another's, or twice")
            seen[value] = party
        rows.append(points)
        slots.append(slot)
    targets = tuple(formulas.target(ED25519, column) for column in zip(*rows, strict=True))
    agreed = hashlib.sha256(lp("pourparler/sounding/agreed/v1", about.agreed, *openings)).digest()
    return Tally(Form.SUM, tuple(slots), targets, opens, closes, agreed)


def prepare(
    about: About, begun: Begun, tally: Tally, openings: Sequence[bytes], random: Random = os.urandom
) -> Answer:
    """What this party's device keeps from here on. `Begun` must be erased with it. Draws a filling.

    Raises Unregistered when another party's exchange key is of small order.
    """
    masks: list[bytes] = [_ZERO] * about.packages
    own = sodium.x25519_public(begun.exchange)
    shared: list[Mapping[int, bytes]] = [{} for _ in range(about.packages)]
    for other, opening in enumerate(openings, 1):
        if other == begun.party:
            continue
        _, exchange, _ = _parts(about, other, opening)
        try:
            secret = crypto_scalarmult(begun.exchange, exchange)
        except SodiumError:
            raise Unregistered(other, "its exchange key is of small order") from None
        keys = (own, exchange) if begun.party < other else (exchange, own)
        for package in range(about.packages):
            wide = hashlib.sha512(
                lp("pourparler/sounding/mask/v1", about.agreed, package.to_bytes(1), *keys, secret)
            ).digest()
            shared[package] = {**shared[package], other: reduced(wide)}
    masks = [formulas.mask(ED25519, begun.party, shared[package], _ZERO) for package in range(about.packages)]
    yes = b"".join(
        formulas.acceptance(ED25519, secret, one) for secret, one in zip(_split(begun.secrets), masks, strict=True)
    )
    return Answer(begun.token, tally.filling(random), yes)


def _commitment(about: About, party: int, opening: bytes) -> bytes:
    number = party.to_bytes(1)
    return hashlib.sha512(lp("pourparler/sounding/commit/v1", about.agreed, number, opening)).digest()


def _parts(about: About, party: int, opening: bytes) -> tuple[tuple[bytes, ...], bytes, bytes]:
    """Points, exchange key, slot. Raises Unregistered."""
    size = POINT_LENGTH * about.packages
    if len(opening) != size + _EXCHANGE_LENGTH + HASH_LENGTH + RHO_LENGTH:
        raise Unregistered(party, "this is no opening of this sounding")
    points = tuple(opening[at : at + POINT_LENGTH] for at in range(0, size, POINT_LENGTH))
    try:
        for point in points:
            check_point(point)
    except Malformed:
        raise Unregistered(party, "this is no point of the prime-order group") from None
    return points, opening[size : size + 32], opening[size + 32 : size + 64]


def _split(scalars: bytes) -> tuple[bytes, ...]:
    return tuple(scalars[at : at + SCALAR_LENGTH] for at in range(0, len(scalars), SCALAR_LENGTH))
