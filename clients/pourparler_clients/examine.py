"""What somebody finds who has the files and the keys: every page of a vault, free ones and the journal too.

It reads files only. SQLCipher 4 has pages of 4,096 bytes, of which the last 80 are IV (16) and HMAC (64);
AES-256-CBC under the file key; the first 16 bytes of page 1 are a salt. A journal (WAL) has a header of 32 bytes,
then frames of a 24-byte header and one page.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from .vault import DATABASE_NAME, HEADER_NAME, unlock

_PAGE: Final = 4096  # bytes
_RESERVE: Final = 80
_SALT: Final = 16
_WAL_HEADER, _FRAME_HEADER = 32, 24
ENCODINGS: Final = ("utf-8", "utf-16-le", "utf-16-be")


def vault_pages(directory: Path, passphrase: str) -> Iterator[bytes]:
    """Every page of a vault, decrypted: those in use, free ones, and those that the journal still holds."""
    _, (key, *_) = unlock(directory / HEADER_NAME, passphrase)
    data = (directory / DATABASE_NAME).read_bytes()
    for start in range(0, len(data) - _PAGE + 1, _PAGE):
        yield _decrypt(key, data[start : start + _PAGE], _SALT if start == 0 else 0)
    journal = directory / (DATABASE_NAME + "-wal")
    data = journal.read_bytes() if journal.exists() else b""
    for start in range(_WAL_HEADER, len(data) - _PAGE - _FRAME_HEADER + 1, _PAGE + _FRAME_HEADER):
        first = data[start : start + 4] == b"\x00\x00\x00\x01"
        page = data[start + _FRAME_HEADER : start + _FRAME_HEADER + _PAGE]
        yield _decrypt(key, page, _SALT if first else 0)


def _decrypt(key: bytes, page: bytes, skip: int) -> bytes:
    end = _PAGE - _RESERVE
    decryptor = Cipher(AES(key), CBC(page[end : end + 16])).decryptor()
    return decryptor.update(page[skip:end])


def files_below(directory: Path) -> Iterator[bytes]:
    """The raw bytes of every file below a directory."""
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            yield path.read_bytes()


def found(needles: Iterable[bytes], haystacks: Iterable[bytes]) -> set[bytes]:
    """Which needles occur in any of the haystacks."""
    wanted = set(needles)
    seen: set[bytes] = set()
    for haystack in haystacks:
        seen |= {needle for needle in wanted - seen if needle in haystack}
    return seen


def traces(text: str) -> list[bytes]:
    """Pieces by which a text would be recognised: its beginning, middle and end, in common encodings."""
    pieces = []
    for encoding in ENCODINGS:
        data = text.encode(encoding)
        size = min(len(data), 24)
        pieces += [data[:size], data[(len(data) - size) // 2 :][:size], data[len(data) - size :]]
    return pieces
