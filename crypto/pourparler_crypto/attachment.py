"""Attachments: a file sealed in chunks, in constant memory, so that a size class is all that the service sees.

libsodium's secretstream (XChaCha20-Poly1305) seals one message a chunk, in order; only the last carries the tag
FINAL. So a chunk that is altered, left out, moved or repeated does not open, a stream that is cut short never
ends, and nothing can follow its end. Every chunk is bound to the attachment's id and size too.

The key (32 random bytes, for this attachment alone) travels in the message. What is sealed is
`head ‖ file ‖ zeros`: the head has 512 bytes and holds the file's name, type and length; the zeros fill the size
class. A chunk of `n` bytes holds `n - 17` of that, the first `n - 41`.

A stream cannot be sealed twice alike: its header is random. Who wants to resume an upload after a restart keeps
the sealed chunks; sealing other bytes under one header would give both away.

A device that keeps sealed chunks, to send or to open them, seals each once more (`Keeper`): else its disk would hold
the very bytes that the service has, and show without any key which attachment it had to do with.

Sizes and chunks are the caller's (`pourparler_policies.limits`).
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_secretstream_xchacha20poly1305_ABYTES,
    crypto_secretstream_xchacha20poly1305_HEADERBYTES,
    crypto_secretstream_xchacha20poly1305_init_pull,
    crypto_secretstream_xchacha20poly1305_init_push,
    crypto_secretstream_xchacha20poly1305_KEYBYTES,
    crypto_secretstream_xchacha20poly1305_pull,
    crypto_secretstream_xchacha20poly1305_push,
    crypto_secretstream_xchacha20poly1305_state,
    crypto_secretstream_xchacha20poly1305_TAG_FINAL,
    crypto_secretstream_xchacha20poly1305_TAG_MESSAGE,
)
from nacl.exceptions import CryptoError as SodiumError

from pourparler_crypto.encoding import lp, pad, unlp, unpad
from pourparler_crypto.errors import Malformed, NotAuthentic, ProtocolError, UsageError

KEY_LENGTH: Final = crypto_secretstream_xchacha20poly1305_KEYBYTES  # 32 bytes
HEADER_LENGTH: Final = (
    crypto_secretstream_xchacha20poly1305_HEADERBYTES  # 24 bytes, before the first chunk's message
)
TAG_LENGTH: Final = crypto_secretstream_xchacha20poly1305_ABYTES  # 17 bytes a chunk: the tag's byte and the MAC
KEPT_LENGTH: Final = 24 + 16  # bytes that keeping adds to a chunk: nonce and tag
HEAD_LENGTH: Final = 512  # bytes: the longest name and type, their lengths, and room
MAX_NAME: Final = 255  # bytes of UTF-8: what file systems take
MAX_TYPE: Final = 127 + 1 + 127  # bytes: RFC 6838, 4.2

_MESSAGE: Final = crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
_FINAL: Final = crypto_secretstream_xchacha20poly1305_TAG_FINAL
_LABEL: Final = "pourparler attachment v1"
_KEPT: Final = "pourparler kept chunk v1"
_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")


@dataclass(frozen=True, slots=True)
class FileHead:
    """What a file is, sealed with it.

    `name` is one component of a path, 1 to 255 bytes; it is a stranger's word, and may still be a bad name on some
    system. `type` is a media type (RFC 6838); empty when unknown. `length` is the file's, in bytes.
    """

    name: str
    type: str
    length: int

    def encode(self) -> bytes:
        """512 bytes. Raises UsageError when a field is not of its form."""
        fault = self._fault()
        if fault:
            raise UsageError(fault)
        return pad(lp(self.name, self.type, self.length.to_bytes(8, "big")), HEAD_LENGTH)

    @classmethod
    def decode(cls, data: bytes) -> "FileHead":
        """Raises Malformed."""
        name, kind, length = unlp(unpad(data), 3)
        if len(length) != 8:
            raise Malformed("a file's length has 8 bytes")
        try:
            found = cls(name.decode(), kind.decode(), int.from_bytes(length, "big"))
        except UnicodeDecodeError:
            raise Malformed("a file's name and type are UTF-8") from None
        fault = found._fault()
        if fault:
            raise Malformed(fault)
        return found

    def _fault(self) -> str:
        try:
            size = len(self.name.encode())
        except UnicodeEncodeError:
            return "a file's name is UTF-8"
        if not 0 < size <= MAX_NAME:
            return "a file's name has 1 to 255 bytes"
        # Whoever saves under this name must not leave the folder that was chosen.
        if self.name in (".", "..") or any(one in "/\\" or ord(one) < 32 or ord(one) == 127 for one in self.name):
            return "a file's name is one component of a path, without control characters"
        if self.type and (len(self.type) > MAX_TYPE or not _TYPE.fullmatch(self.type)):
            return "a file's type is a media type"
        if not 0 <= self.length < 2**63:
            return "a file's length is a number of bytes"
        return ""


def capacity(size: int, chunk: int) -> int:
    """How long a file an attachment of `size` bytes in chunks of `chunk` bytes holds. Raises UsageError."""
    if chunk <= HEADER_LENGTH + TAG_LENGTH + HEAD_LENGTH or size <= 0 or size % chunk:
        raise UsageError("an attachment is a whole number of chunks, and each has room for the head")
    return size - size // chunk * TAG_LENGTH - HEADER_LENGTH - HEAD_LENGTH


def _bound(attachment: bytes, size: int, chunk: int) -> bytes:
    return lp(_LABEL, attachment, size.to_bytes(8, "big"), chunk.to_bytes(4, "big"))


class Sealer:
    """Seals one file: ask for `wants` bytes of it, `seal` them, until `done`. Holds no chunk."""

    def __init__(self, key: bytes, attachment: bytes, head: FileHead, size: int, chunk: int) -> None:
        """`key`: 32 bytes, fresh. `size`: a multiple of `chunk`. Raises UsageError when it is too small."""
        if len(key) != KEY_LENGTH:
            raise UsageError("an attachment's key has 32 bytes")
        if head.length > capacity(size, chunk):
            raise UsageError(f"{head.length} bytes do not fit an attachment of {size}")
        self._head, self._left = head.encode(), head.length
        self._chunk, self._chunks = chunk, size // chunk
        self._bound = _bound(attachment, size, chunk)
        self._state = crypto_secretstream_xchacha20poly1305_state()
        self._header = crypto_secretstream_xchacha20poly1305_init_push(self._state, key)

    @property
    def done(self) -> bool:
        """Whether the last chunk was sealed."""
        return self._chunks == 0

    @property
    def _room(self) -> int:
        return self._chunk - TAG_LENGTH - len(self._header) - len(self._head)

    @property
    def wants(self) -> int:
        """How many bytes of the file the next chunk takes; 0 when it is padding only."""
        return min(self._left, self._room) if not self.done else 0

    def seal(self, data: bytes) -> bytes:
        """The next chunk, of the chunk's size, from exactly `wants` bytes of the file. Raises UsageError."""
        if self.done:
            raise UsageError("the attachment is whole")
        if len(data) != self.wants:
            raise UsageError(f"the next chunk takes {self.wants} bytes of the file, not {len(data)}")
        header, text = self._header, self._head + data + bytes(self._room - len(data))
        self._left -= len(data)
        self._chunks -= 1
        self._header = self._head = b""
        return header + crypto_secretstream_xchacha20poly1305_push(
            self._state, text, self._bound, _FINAL if self.done else _MESSAGE
        )


class Opener:
    """Opens one attachment: `open` each chunk in order, then `finish`.

    What it returns is authentic piece by piece. The file is whole only when `finish` returned: until then nothing
    of it should be kept as if it were.
    """

    def __init__(self, key: bytes, attachment: bytes, size: int, chunk: int) -> None:
        if len(key) != KEY_LENGTH:
            raise UsageError("an attachment's key has 32 bytes")
        self._capacity = capacity(size, chunk)
        self._key: bytes | None = key
        self._chunk, self._chunks = chunk, size // chunk
        self._bound = _bound(attachment, size, chunk)
        self._state = crypto_secretstream_xchacha20poly1305_state()
        self._left = 0
        self._broken = False
        self.head: FileHead | None = None  # known from the first chunk on

    def open(self, sealed: bytes) -> bytes:
        """The bytes of the file in the next chunk, none when it is padding only.

        Raises NotAuthentic for a chunk that is altered or not the next one, Malformed for one that no honest
        sealer makes. After either, this opener refuses everything.
        """
        if self._broken:
            raise UsageError("this attachment was found broken")
        if self._chunks == 0:
            raise Malformed("a chunk follows the last one")
        try:
            found = self._open(sealed)
        except ProtocolError:
            self._broken = True
            raise
        self._chunks -= 1
        return found

    def _open(self, sealed: bytes) -> bytes:
        if len(sealed) != self._chunk:
            raise Malformed(f"each chunk of this attachment has {self._chunk} bytes")
        if self._key is not None:
            header, sealed = sealed[:HEADER_LENGTH], sealed[HEADER_LENGTH:]
            crypto_secretstream_xchacha20poly1305_init_pull(self._state, header, self._key)
            self._key = None
        try:
            text, tag = crypto_secretstream_xchacha20poly1305_pull(self._state, sealed, self._bound)
        except SodiumError:
            raise NotAuthentic("the chunk does not open here") from None
        if tag != (_FINAL if self._chunks == 1 else _MESSAGE):
            raise Malformed("the stream ends in another place than its size says")
        if self.head is None:
            head, text = FileHead.decode(text[:HEAD_LENGTH]), text[HEAD_LENGTH:]
            if head.length > self._capacity:
                raise Malformed("the file is longer than its attachment")
            self.head, self._left = head, head.length
        data, rest = text[: self._left], text[self._left :]
        if rest.count(0) != len(rest):
            raise Malformed("the padding is not zero")
        self._left -= len(data)
        return data

    def finish(self) -> None:
        """Raises Malformed unless every chunk was opened: the file was cut short."""
        if self._broken or self._chunks:
            raise Malformed("the attachment is not whole")


class Keeper:
    """Seals chunks of one attachment for a device's own disk, under a key that follows from the attachment's."""

    def __init__(self, key: bytes, attachment: bytes) -> None:
        if len(key) != KEY_LENGTH:
            raise UsageError("an attachment's key has 32 bytes")
        # HKDF-SHA256 (RFC 5869): the stream's own key is used for nothing but the stream.
        self._key = HKDF(algorithm=SHA256(), length=32, salt=None, info=lp(_KEPT, attachment)).derive(key)

    def keep(self, chunk: bytes, number: int, random: Callable[[int], bytes] = os.urandom) -> bytes:
        """len(chunk) + 40 bytes: nonce, then XChaCha20-Poly1305, bound to the chunk's number."""
        nonce = random(24)
        return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(chunk, _numbered(number), nonce, self._key)

    def take(self, kept: bytes, number: int) -> bytes:
        """What `keep` took. Raises Malformed when too short, NotAuthentic when it is torn or another chunk."""
        if len(kept) < KEPT_LENGTH:
            raise Malformed("a kept chunk holds at least nonce and tag")
        try:
            return crypto_aead_xchacha20poly1305_ietf_decrypt(kept[24:], _numbered(number), kept[:24], self._key)
        except SodiumError:
            raise NotAuthentic("the kept chunk does not open here") from None


def _numbered(number: int) -> bytes:
    return lp(_KEPT, number.to_bytes(4, "big"))
