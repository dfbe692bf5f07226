"""The messages of R1 to R5: kind (1 byte) ‖ party (1) ‖ tag (16) ‖ body.

The tag is the beginning of the sid in R1 to R3, and of the case's handle in R4 and R5. It is no secret and proves
nothing: it lets a message of another round be ignored. Sizes in bytes, for k texts:

    commitment     18 + 64             u
    opening        18 + 32·k + 32      Y of each text, rho
    presignature   18 + 96·k           R, D, ŝ of each text; of a further signer 18 + 32·k: D alone
    mask           18 + 32·k           d of each text
    share          18 + 32·k + 32      y of each text, rho

A further signer's R1 says 0 for the party: its number follows from the order of all R1.
"""

import hashlib
from collections.abc import Iterable
from enum import IntEnum
from typing import Final, NamedTuple

from pourparler_crypto.encoding import lp
from pourparler_crypto.errors import Malformed
from pourparler_crypto.jr2.errors import Contradiction, Incomplete, OutOfTurn, OwnAltered, WrongRound
from pourparler_crypto.jr2.group import ED25519, POINT_LENGTH, SCALAR_LENGTH
from pourparler_crypto.jr2.round import MAX_PARTIES, MAX_TEXTS, pieces

RHO_LENGTH: Final = 32  # bytes: hides Y until R2, and from the desk until R5
COMMITMENT_LENGTH: Final = 64  # bytes, SHA-512
PRESIGNATURE_LENGTH: Final = 2 * POINT_LENGTH + SCALAR_LENGTH  # bytes for each text
TAG_LENGTH: Final = 16  # bytes: only accidents count
HEADER: Final = 2 + TAG_LENGTH  # bytes


class Kind(IntEnum):
    """In the order of the steps: the value is the R number."""

    COMMITMENT = 1
    OPENING = 2
    PRESIGNATURE = 3
    MASK = 4
    SHARE = 5


def size(kind: Kind, texts: int = 1, *, further: bool = False) -> int:
    """Bytes of a message of this kind in a round of so many texts; `further`: of a signer without a key."""
    if further and kind is Kind.PRESIGNATURE:
        return HEADER + POINT_LENGTH * texts
    return (
        HEADER
        + {
            Kind.COMMITMENT: COMMITMENT_LENGTH,
            Kind.OPENING: POINT_LENGTH * texts + RHO_LENGTH,
            Kind.PRESIGNATURE: PRESIGNATURE_LENGTH * texts,
            Kind.MASK: SCALAR_LENGTH * texts,
            Kind.SHARE: SCALAR_LENGTH * texts + RHO_LENGTH,
        }[kind]
    )


class Message(NamedTuple):
    """A message taken apart; nothing in it has been checked yet."""

    kind: Kind
    party: int
    tag: bytes
    body: bytes


def write(kind: Kind, party: int, bound_to: bytes, body: bytes) -> bytes:
    """A message bound to a sid (R1 to R3) or a handle (R4, R5)."""
    return bytes((kind, party)) + bound_to[:TAG_LENGTH] + body


def peek(message: bytes) -> Message:
    """Kind, party, tag and body, to find the round that it may belong to. Raises Malformed."""
    if not HEADER < len(message) <= size(Kind.PRESIGNATURE, MAX_TEXTS):
        raise Malformed("no message of a joint release has this size")
    try:
        kind = Kind(message[0])
    except ValueError:
        raise Malformed("no message of a joint release begins like this") from None
    if not (kind is not Kind.COMMITMENT) <= message[1] <= MAX_PARTIES:
        raise Malformed("parties are numbered from 1")
    return Message(kind, message[1], message[2:HEADER], message[HEADER:])


def read(
    kind: Kind, bound_to: bytes, signers: int, texts: int, message: bytes, keys: int | None = None
) -> Message:
    """A message of this kind in this round or case, in which the first `keys` signers have keys (all, if None).

    Raises Malformed, WrongRound, OutOfTurn.
    """
    found = peek(message)
    if found.tag != bound_to[:TAG_LENGTH]:
        raise WrongRound("a message of another joint release, or of an earlier round")
    if found.kind != kind:
        raise OutOfTurn(f"a {found.kind.name.lower()}, where the {kind.name.lower()} is awaited")
    further = keys is not None and found.party > keys
    if len(message) != size(kind, texts, further=further):
        raise Malformed("a message of a joint release has another size than its kind")
    if not 1 <= found.party <= signers:
        raise Malformed("no party of this release has this number")
    return found


def collect(
    kind: Kind,
    bound_to: bytes,
    signers: int,
    texts: int,
    messages: Iterable[bytes],
    own: bytes,
    keys: int | None = None,
) -> list[bytes]:
    """The bodies of all signers in their order: those of the others, and one's own. `keys` as for `read`.

    One's own message may be among the others' (as a log gives it back); repetitions are harmless. Raises
    Malformed, WrongRound, OutOfTurn, OwnAltered, Contradiction; Incomplete when a party's message is not there.
    """
    mine = read(kind, bound_to, signers, texts, own, keys)
    bodies = {mine.party: mine.body}
    for data in messages:
        message = read(kind, bound_to, signers, texts, data, keys)
        if bodies.setdefault(message.party, message.body) != message.body:
            if message.party == mine.party:
                raise OwnAltered(
                    "a message in this party's own name which this device has not sent: another device of the "
                    "party takes part, or it was altered on the way. Neither is proved by it"
                )
            raise Contradiction(message.party, "two different messages of one step")
    missing = tuple(party for party in range(1, signers + 1) if party not in bodies)
    if missing:
        raise Incomplete(missing)
    return [bodies[party] for party in range(1, signers + 1)]


def numbered(message: bytes, number: int) -> bytes:
    """A further signer's R1 with the number that it has in the order of all R1."""
    found = peek(message)
    if found.kind is not Kind.COMMITMENT or found.party:
        raise Malformed("this is no R1 of a further signer")
    return message[:1] + bytes((number,)) + message[2:]


def commitment(sid: bytes, party: int, points: Iterable[bytes], rho: bytes) -> bytes:
    """u, 64 bytes: `SHA512(lp("jr2/ycommit/v1", sid, i, Y…, rho))`. Hides Y: rho has 32 random bytes.

    `party` is 0 for a further signer, who does not know its number yet.
    """
    return hashlib.sha512(lp("jr2/ycommit/v1", sid, party.to_bytes(1), *points, rho)).digest()


def rho_hash(rho: bytes) -> bytes:
    """SHA-512, 64 bytes: how the desk recognises a rho that it must not know before R5."""
    return hashlib.sha512(rho).digest()


def points_of(scalars: bytes) -> tuple[bytes, ...]:
    """scalar·G of each of the concatenated scalars (32 bytes each)."""
    return tuple(ED25519.base(scalar) for scalar in pieces(scalars, SCALAR_LENGTH))
