"""What somebody finds who has files of the service, or of a backup of it, and whatever keys lie about.

It reads files only, asks no clock and obeys no date. As a program (`python -m pourparler_service.examine DATA KEYS`) it
prints the SHA-256, in hex, of every entry as it was sent that the database in DATA and the slots of keys in KEYS give;
both are data directories, which may be copies from different times.
"""

import hashlib
import sqlite3
import sys
import tempfile
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from shutil import copyfile
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pourparler_policies.limits import HALF_BYTES, chunk_of

from .attachments import FOLDER
from .database import FILE, OUTSIDE_BACKUPS
from .halves import FOLDER as HALVES
from .halves import HEADER, SLOTS
from .storagekeys import NONCE, OVERHEAD

_BODIES: Final = (
    "SELECT channel, entry, handshake, bytes FROM entry JOIN body ON body.key = entry.key"
    " JOIN channel ON channel.key = entry.channel_key"
)
PIECE: Final = 16  # bytes
PIECES: Final = 8  # of one body
TRIES: Final = 10  # to copy a database that is written meanwhile


class Kept(NamedTuple):
    """An entry's bytes as the database stores them."""

    channel: bytes
    entry: bytes
    handshake: bool
    stored: bytes

    def pieces(self) -> list[bytes]:
        """By which its bytes would be recognised: some from all over it, first and last."""
        gap = (len(self.stored) - PIECE) // (PIECES - 1)
        return [self.stored[start * gap :][:PIECE] for start in range(PIECES)]


def kept_entries(data: Path) -> list[Kept]:
    """Every entry that the database in a data directory has, expired or not. A running service may write it."""
    for left in reversed(range(TRIES)):
        try:
            return _kept_entries(data)
        except sqlite3.DatabaseError:  # it was written while it was copied
            if not left:
                raise
    raise AssertionError


def _kept_entries(data: Path) -> list[Kept]:
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                copyfile(data / (FILE + suffix), Path(folder) / (FILE + suffix))
        with closing(sqlite3.connect(Path(folder) / FILE)) as connection:
            return [
                Kept(channel, entry, bool(flag), it) for channel, entry, flag, it in connection.execute(_BODIES)
            ]


def kept_keys(data: Path) -> set[bytes]:
    """Every half and storage key (32 bytes) that a slot in a data directory holds, whether it is over or not."""
    slots = (data / OUTSIDE_BACKUPS / HALVES / SLOTS).read_bytes()[HEADER:]
    return {slots[start:][:HALF_BYTES] for start in range(0, len(slots), HALF_BYTES)} - {bytes(HALF_BYTES)}


def open_kept(entries: Iterable[Kept], keys: Iterable[bytes]) -> list[bytes]:
    """What opens when every key (32 bytes) is tried on every entry; handshakes need none."""
    ciphers = [AESGCM(key) for key in keys]
    opened = []
    for one in entries:
        if one.handshake:
            opened.append(one.stored)
            continue
        for cipher in ciphers:
            with suppress(InvalidTag):
                place = one.channel + one.entry
                opened.append(cipher.decrypt(one.stored[:NONCE], one.stored[NONCE:], place))
    return opened


def open_files(data: Path, keys: Iterable[bytes]) -> list[bytes]:
    """Attachments' files as their devices sent them: those that open when every key (32 bytes) is tried on each."""
    ciphers = [AESGCM(key) for key in keys]
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                copyfile(data / (FILE + suffix), Path(folder) / (FILE + suffix))
        with closing(sqlite3.connect(Path(folder) / FILE)) as connection:
            rows = connection.execute("SELECT attachment, size, key_end FROM attachment").fetchall()
    opened = []
    for attachment, size, end in rows:
        path = data / FOLDER / attachment.hex()
        if not path.exists():
            continue
        stored = path.read_bytes()
        if end is None:
            opened.append(stored[:size])
            continue
        stride = chunk_of(size) + OVERHEAD
        chunks = [stored[number * stride :][:stride] for number in range(size // chunk_of(size))]
        for cipher in ciphers:
            with suppress(InvalidTag):
                opened.append(
                    b"".join(
                        cipher.decrypt(one[:NONCE], one[NONCE:], attachment + number.to_bytes(4, "big"))
                        for number, one in enumerate(chunks)
                    )
                )
    return opened


def main(data: Path, keys: Path) -> None:
    """Print the SHA-256 of every entry that opens, one a line."""
    for entry in sorted(
        {hashlib.sha256(one).hexdigest() for one in open_kept(kept_entries(data), kept_keys(keys))}
    ):
        sys.stdout.write(f"{entry}\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
