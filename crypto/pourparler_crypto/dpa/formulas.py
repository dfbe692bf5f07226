"""Steps 2 and 4 as pure functions. Whoever knows both N computes everything here: no private key enters.

That is what makes a transcript worthless as evidence, and why a commitment must come before the N.
"""

import hashlib
import hmac

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pourparler_crypto.dpa.errors import NotAttested
from pourparler_crypto.dpa.pair import Pair
from pourparler_crypto.dpa.wire import MAC_LENGTH, SALT_LENGTH
from pourparler_crypto.encoding import lp
from pourparler_crypto.errors import UsageError

_KEY_LENGTH = 32  # bytes: the output of the hash that HMAC uses


def mac_key(pair: Pair, own_n: bytes, peer_n: bytes, own_challenge: bytes, peer_challenge: bytes) -> bytes:
    """`K`, 32 bytes, the same on both sides: HKDF-SHA512 over both N (32 bytes each), salted with both challenges.

    Of the N which this side made, `N_me→p`, and the peer's, the low side's comes first.
    """
    salt = hashlib.sha512(lp(pair.ctx, *pair.low_high(own_challenge, peer_challenge))).digest()
    kdf = HKDF(algorithm=SHA512(), length=_KEY_LENGTH, salt=salt, info=b"dpa/mac")
    return kdf.derive(b"".join(pair.low_high(own_n, peer_n)))


def mac(key: bytes, pair: Pair) -> bytes:
    """`tag`, 32 bytes: what the near side of `pair` says to the far side."""
    return hmac.digest(key, lp("attest", pair.ctx, *pair.parties), "sha256")


def commitment(salt: bytes, tag: bytes) -> bytes:
    """64 bytes. Salt and tag have fixed sizes, so the two cannot be cut in another place."""
    if len(salt) != SALT_LENGTH or len(tag) != MAC_LENGTH:
        raise UsageError("a salt has 32 bytes and a tag 32")
    return hashlib.sha512(salt + tag).digest()


def verify_opening(committed: bytes, expected_tag: bytes, opening: bytes) -> None:
    """Raises NotAttested unless the opening (64 bytes) is the committed one and holds the expected tag.

    Both are compared, each in constant time, before anything is said.
    """
    salt, tag = opening[:-MAC_LENGTH], opening[-MAC_LENGTH:]
    same = hmac.compare_digest(commitment(salt, tag), committed)
    authentic = hmac.compare_digest(tag, expected_tag)
    if not (same and authentic):
        raise NotAttested("the device has not shown that it holds the key of the card it claims")
