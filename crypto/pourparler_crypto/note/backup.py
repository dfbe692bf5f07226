"""A release key on paper or in a drawer, sealed under a passphrase: Argon2id, then XChaCha20-Poly1305 (libsodium).

    pourparler-release-backup-1:<base64url of passes (4) ‖ memory in KiB (4) ‖ salt (16) ‖ nonce (24) ‖ sealed
    (164)>

Passes and memory are bound as associated data. All backups have the same length: the name is padded.
"""

import base64
import binascii
import os
from collections.abc import Callable
from typing import Final

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError as SodiumError
from nacl.pwhash import argon2id

from pourparler_crypto.encoding import lp, pad, unlp, unpad
from pourparler_crypto.errors import Malformed, NotAuthentic, UsageError
from pourparler_crypto.note.presskey import PressKey
from pourparler_crypto.releasekey import ReleaseKey

PASSES: Final = 4
MEMORY_KIB: Final = 256 * 1024  # KiB: about a second; a thief has all the time
MAX_PASSES: Final = 64  # what a reader is willing to spend on a backup that somebody else may have written
MAX_MEMORY_KIB: Final = 1024 * 1024  # KiB
_PREFIX: Final = "pourparler-release-backup-1:"
_SALT, _NONCE, _TAG = argon2id.SALTBYTES, 24, 16  # bytes
_INNER: Final = 148  # bytes: length (4), name with its length (104), seed with its length (36), and 4 to spare
_LENGTH: Final = 8 + _SALT + _NONCE + _INNER + _TAG


def seal_backup(
    key: ReleaseKey,
    name: str,
    passphrase: str,
    *,
    passes: int = PASSES,
    memory_kib: int = MEMORY_KIB,
    random: Callable[[int], bytes] = os.urandom,
) -> str:
    """One line of text. `name` is the press key's. Raises UsageError on an empty passphrase or a bad name."""
    if not passphrase:
        raise UsageError("a backup needs a passphrase")
    PressKey(name, key.public)
    head = passes.to_bytes(4) + memory_kib.to_bytes(4)
    salt, nonce = random(_SALT), random(_NONCE)
    inner = pad(lp(name, key.seed), _INNER)
    secret = _derive(passphrase, salt, passes, memory_kib)
    sealed = crypto_aead_xchacha20poly1305_ietf_encrypt(inner, _PREFIX.encode() + head, nonce, secret)
    return _PREFIX + base64.urlsafe_b64encode(head + salt + nonce + sealed).decode()


def open_backup(text: str, passphrase: str) -> tuple[ReleaseKey, PressKey]:
    """The key and its press key. Raises Malformed, or NotAuthentic when the passphrase is wrong or bytes were
    altered.
    """
    text = "".join(text.split()) if len(text) < 2048 else text
    encoded = text.removeprefix(_PREFIX)
    try:
        data = base64.b64decode(encoded, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if encoded == text or len(data) != _LENGTH:
        raise Malformed("this is not a backup of a release key, or a part is missing")
    passes, memory_kib = int.from_bytes(data[:4]), int.from_bytes(data[4:8])
    if not 1 <= passes <= MAX_PASSES or not 8 <= memory_kib <= MAX_MEMORY_KIB:
        raise Malformed("this backup asks for more work than is allowed")
    salt, nonce, sealed = data[8 : 8 + _SALT], data[8 + _SALT :][:_NONCE], data[8 + _SALT + _NONCE :]
    secret = _derive(passphrase, salt, passes, memory_kib)
    try:
        inner = crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, _PREFIX.encode() + data[:8], nonce, secret)
    except SodiumError:
        raise NotAuthentic("the passphrase is wrong, or the backup was altered") from None
    name, seed = unlp(unpad(inner), 2)
    key = ReleaseKey(seed)
    return key, PressKey(name.decode(), key.public)


def _derive(passphrase: str, salt: bytes, passes: int, memory_kib: int) -> bytes:
    return argon2id.kdf(32, passphrase.encode(), salt, opslimit=passes, memlimit=memory_kib * 1024)
