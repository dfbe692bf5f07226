"""The four messages of a run: exact sizes, one reading.

Whether a message fits is judged by public values alone (size, kind, attempt, tag), so that a refusal tells nobody
what this device could decrypt.

    kind (1) ‖ attempt (1) ‖ tag (16) ‖ body

The tag names pair and direction; from the commitment on also the run, by both challenges. So a message of another
run, or one's own sent back, is none of this one.
"""

import hashlib
from enum import IntEnum
from typing import Final

from pourparler_crypto.dpa.errors import OutOfTurn, WrongRun
from pourparler_crypto.dpa.pair import TAG_LENGTH, Pair
from pourparler_crypto.encoding import lp
from pourparler_crypto.errors import Malformed
from pourparler_crypto.hpke import MLKEM768_X25519

N_LENGTH: Final = 32  # bytes
SALT_LENGTH: Final = 32  # bytes: hides a tag that could be guessed
MAC_LENGTH: Final = 32  # bytes, HMAC-SHA256
COMMITMENT_LENGTH: Final = 64  # bytes, SHA-512
OPENING_LENGTH: Final = SALT_LENGTH + MAC_LENGTH
CHALLENGE_LENGTH: Final = MLKEM768_X25519.enc_length + N_LENGTH + 16  # 1,168 bytes: encapsulation, N, AEAD tag


class Kind(IntEnum):
    """In the order of the run."""

    CHALLENGE = 1
    COMMITMENT = 2
    REVEAL = 3
    OPENING = 4


_BODY: Final = {
    Kind.CHALLENGE: CHALLENGE_LENGTH,
    Kind.COMMITMENT: COMMITMENT_LENGTH,
    Kind.REVEAL: N_LENGTH,
    Kind.OPENING: OPENING_LENGTH,
}
HEADER: Final = 2 + TAG_LENGTH  # bytes
SIZES: Final = {kind: HEADER + body for kind, body in _BODY.items()}  # 1,186, 82, 50 and 82 bytes


def run_of(pair: Pair, own_challenge: bytes, peer_challenge: bytes) -> bytes:
    """32 bytes that both sides compute alike from the two challenges (bodies of 1,168 bytes)."""
    return hashlib.sha256(lp("dpa/v1", "run", *pair.low_high(own_challenge, peer_challenge))).digest()


def write(kind: Kind, pair: Pair, run: bytes, body: bytes) -> bytes:
    """A message from this side of the pair; `run` is empty in a challenge."""
    return bytes((kind, pair.attempt)) + pair.tag(run) + body


def peek(message: bytes) -> tuple[Kind, int]:
    """Kind and attempt of a message, to find the run that it may belong to. Raises Malformed."""
    if not HEADER < len(message) <= max(SIZES.values()):
        raise Malformed("no message of an attestation has this size")
    try:
        kind = Kind(message[0])
    except ValueError:
        raise Malformed("no message of an attestation begins like this") from None
    if len(message) != SIZES[kind]:
        raise Malformed("a message of an attestation has another size than its kind")
    if message[1] == 0:
        raise Malformed("attempts are numbered from 1")
    return kind, message[1]


def read(kind: Kind, pair: Pair, run: bytes, message: bytes) -> bytes:
    """The body of the message of this kind that the peer sent to this side.

    Raises Malformed, WrongRun, OutOfTurn.
    """
    found, attempt = peek(message)
    if attempt != pair.attempt:
        raise WrongRun("a message of another attempt")
    if found != kind:
        raise OutOfTurn(f"a {found.name.lower()}, where the {kind.name.lower()} is awaited")
    if message[2:HEADER] != pair.mirrored.tag(run):
        raise WrongRun("a message of another pair, channel or run")
    return message[HEADER:]
