"""Texts at rest under hourly keys of two halves: what expired opens nowhere, even on a device that was off.

One half lies in the vault; the other is kept by the service for one device and one *end*, a round instant, and
destroyed at that instant (DESIGN 4.4, #1). Neither half alone says anything about the key. So a copy of the vault
opens nothing whose end has passed, whatever its clock says, and the service never opens anything. Which end a text
gets is a question of policy: `pourparler_policies.hours`.
"""

import os
from collections.abc import Callable

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError as SodiumError

from pourparler_crypto.encoding import lp
from pourparler_crypto.errors import Malformed, NotAuthentic, UsageError

HALF_LENGTH = 32  # bytes
KEY_LENGTH = 32  # bytes
NONCE_LENGTH = 24  # bytes: random, and long enough that no two of a key's texts ever share one
OVERHEAD = NONCE_LENGTH + 16  # bytes that sealing adds: nonce and tag
_LABEL = "pourparler hour v1"
_TEXT = "pourparler stored text v1"


def _number(value: int, what: str) -> bytes:
    if not 0 <= value < 2**63:
        raise UsageError(f"{what} is a number from 0 to 2^63 - 1")
    return value.to_bytes(8, "big")


def hour_key(vault_half: bytes, service_half: bytes, channel: bytes, end: int) -> bytes:
    """The key of all texts of a channel (its id) that end at `end` (Unix seconds): 32 bytes from halves of 32.

    HKDF-SHA256 (RFC 5869) extracts with the service's half as salt and the vault's as input, so the key is random
    to whoever lacks either of them: HMAC is a PRF in its key, and here in its message too.
    """
    if len(vault_half) != HALF_LENGTH or len(service_half) != HALF_LENGTH:
        raise UsageError("each half of a key has 32 bytes")
    info = lp(_LABEL, channel, _number(end, "an end"))
    return HKDF(algorithm=SHA256(), length=KEY_LENGTH, salt=service_half, info=info).derive(vault_half)


def seal_text(
    key: bytes,
    text: bytes,
    channel: bytes,
    seq: int,
    end: int,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """len(text) + 40 bytes: nonce, then XChaCha20-Poly1305, bound to the text's channel, seq and end."""
    nonce = random(NONCE_LENGTH)
    return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(
        text, _place(channel, seq, end), nonce, _checked(key)
    )


def open_text(key: bytes, sealed: bytes, channel: bytes, seq: int, end: int) -> bytes:
    """What `seal_text` took. Raises Malformed when too short, NotAuthentic with another key, place or end."""
    if len(sealed) < OVERHEAD:
        raise Malformed("a stored text holds at least nonce and tag")
    nonce, rest = sealed[:NONCE_LENGTH], sealed[NONCE_LENGTH:]
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(rest, _place(channel, seq, end), nonce, _checked(key))
    except SodiumError:
        raise NotAuthentic("the stored text does not open under this key") from None


def _place(channel: bytes, seq: int, end: int) -> bytes:
    return lp(_TEXT, channel, _number(seq, "a seq"), _number(end, "an end"))


def _checked(key: bytes) -> bytes:
    if len(key) != KEY_LENGTH:
        raise UsageError("an hour's key has 32 bytes")
    return key
