"""What a handshake says besides its proposals, readable by members only.

A commit's `authenticated_data` travels in clear (RFC 9420, 6.3.1); sealed under a key exported from the epoch in
which the commit is sent, it tells the service nothing, and every member of that epoch can check it.
"""

import os
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pourparler_crypto.errors import Malformed, NotAuthentic

EXPORT_LABEL = "pourparler stamp v1"
KEY_LENGTH = 32  # bytes
OVERHEAD = 12 + 16  # bytes: nonce and tag


def seal_stamp(key: bytes, text: bytes, random: Callable[[int], bytes] = os.urandom) -> bytes:
    """len(text) + 28 bytes. The nonce is random: an epoch sees few commits, each under a fresh key by epoch."""
    nonce = random(12)
    return nonce + AESGCM(key).encrypt(nonce, text, EXPORT_LABEL.encode())


def open_stamp(key: bytes, sealed: bytes) -> bytes:
    """Raises Malformed when too short, NotAuthentic when it is not of this epoch."""
    if len(sealed) < OVERHEAD:
        raise Malformed("a stamp holds at least nonce and tag")
    try:
        return AESGCM(key).decrypt(sealed[:12], sealed[12:], EXPORT_LABEL.encode())
    except InvalidTag:
        raise NotAuthentic("the stamp does not open in this epoch") from None
