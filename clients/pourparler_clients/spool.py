"""Sealed chunks of one attachment in a file of the vault's directory, until all of them were sent, or opened.

1. Each chunk is sealed once more under a key that follows from the attachment's (`crypto.attachment.Keeper`): without
   it the file is noise, and not the noise that the service has. That key lies only in the row of the draft or message,
   under both halves (`hours.py`); so when their time is over, so is the file's.
2. A chunk that is torn, or another's, is one that is not there.
3. The file has the length of its size class from the beginning.
4. A file that no row names is overwritten and unlinked (`Vault.sweep`): whatever erases a row ends its file.

No network and no SQL here.
"""

import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pourparler_crypto.attachment import KEPT_LENGTH, Keeper
from pourparler_crypto.errors import ProtocolError
from pourparler_policies.limits import chunk_of
from pourparler_policies.payload import Attached

PART_FILES: Final = "vault.*.part"
_BLOCK: Final = 1024 * 1024  # bytes overwritten at a time


def new_part() -> str:
    """The name of one more such file: random, so that it tells nothing."""
    return f"vault.{os.urandom(8).hex()}.part"


class Spool:
    """The kept chunks of an attachment. Close it when done; it is a context manager."""

    def __init__(self, path: Path, attached: Attached) -> None:
        """Opens the file, or makes it. Raises OSError."""
        chunk = chunk_of(attached.size)
        self.chunks = attached.size // chunk
        self._keeper = Keeper(attached.key, attached.attachment)
        self._place = chunk + KEPT_LENGTH
        self._directory = path.parent
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        os.ftruncate(self._file, self.chunks * self._place)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def put(self, number: int, chunk: bytes) -> None:
        """Keeps a sealed chunk. Raises OSError."""
        kept = self._keeper.keep(chunk, number)
        done = 0
        while done < len(kept):
            done += os.pwrite(self._file, kept[done:], number * self._place + done)

    def get(self, number: int) -> bytes | None:
        """A sealed chunk, if it is there and whole."""
        try:
            return self._keeper.take(os.pread(self._file, self._place, number * self._place), number)
        except ProtocolError:
            return None

    def sync(self) -> None:
        """What was kept survives a power cut once this returns. Raises OSError."""
        os.fsync(self._file)
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def wipe(path: Path) -> None:
    """Overwrites a file and unlinks it, as far as a file system lets one. Parts never written stay holes."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        start = 0
        while block := os.pread(file, _BLOCK, start):
            if block.count(0) != len(block):
                os.pwrite(file, os.urandom(len(block)), start)
            start += len(block)
        os.fsync(file)
    finally:
        os.close(file)
        path.unlink(missing_ok=True)
