"""Ed25519 and X25519 public keys by libsodium: one verifier for every client, with no fallback.

OpenSSL and libsodium differ on odd Ed25519 keys, and a difference would split a group. The bindings check no
lengths, so every length is checked here before libsodium sees a pointer. PyNaCl below 1.6.2 is refused.
"""

import nacl
from nacl.bindings import (
    crypto_scalarmult_base,
    crypto_sign,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import BadSignatureError

from pourparler_crypto.errors import Malformed, NotAuthentic, UsageError

OLDEST_PYNACL = (1, 6, 2)


def refuse_old_pynacl(version: str) -> None:
    """Raise ImportError below PyNaCl 1.6.2, whose libsodium accepts invalid points (CVE-2025-69277)."""
    parts = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    if parts < OLDEST_PYNACL:
        raise ImportError(
            f"PyNaCl {version} carries a libsodium that accepts points outside the prime-order group "
            "(CVE-2025-69277); Pourparler needs PyNaCl 1.6.2 or newer"
        )


refuse_old_pynacl(nacl.__version__)

# bytes, RFC 8032 and RFC 7748
SEED_LENGTH = 32
PUBLIC_KEY_LENGTH = 32
SIGNATURE_LENGTH = 64


def ed25519_keypair(seed: bytes) -> bytes:
    """Return seed ‖ public key (64 bytes), the form in which libsodium signs, from a 32-byte seed."""
    if len(seed) != SEED_LENGTH:
        raise UsageError("an Ed25519 seed has 32 bytes")
    return crypto_sign_seed_keypair(seed)[1]


def ed25519_sign(keypair: bytes, message: bytes) -> bytes:
    """Sign with seed ‖ public key (64 bytes); returns 64 bytes."""
    if len(keypair) != SEED_LENGTH + PUBLIC_KEY_LENGTH:
        raise UsageError("an Ed25519 key pair has 64 bytes: seed, then public key")
    return crypto_sign(message, keypair)[:SIGNATURE_LENGTH]


def ed25519_verify(public: bytes, message: bytes, signature: bytes) -> None:
    """Check a signature; raises NotAuthentic, or Malformed when the key does not have 32 bytes."""
    if len(public) != PUBLIC_KEY_LENGTH:
        raise Malformed("an Ed25519 public key has 32 bytes")
    if len(signature) != SIGNATURE_LENGTH:
        raise NotAuthentic("an Ed25519 signature has 64 bytes")
    try:
        crypto_sign_open(signature + message, public)
    except BadSignatureError:
        raise NotAuthentic("the signature does not verify") from None


def x25519_public(private: bytes) -> bytes:
    """Return the X25519 public key (32 bytes) of a 32-byte scalar."""
    if len(private) != 32:
        raise UsageError("an X25519 private key has 32 bytes")
    return crypto_scalarmult_base(private)
