"""Attachments: sealed chunks in files of their own, resumable, and overwritten when their time is over.

A file holds the attachment's chunks, each in its place, and behind them for each chunk the SHA-256 of what was
received, or zeros. A chunk's bytes are durable before its hash is written, and its hash before it is acknowledged:
so a crash leaves a chunk that was received, or one to send again. The bytes pass through no database and no log of
one, so that overwriting the file leaves no copy of ours; then it is unlinked.

Every job looks the attachment up in the database first, on the thread that also erases: what is erased cannot come
back by a chunk that was under way.
"""

import hashlib
import hmac
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from pourparler_policies.limits import HASH_BYTES, ID_BYTES, chunk_of
from pourparler_policies.wire import Problem

from .database import DataError, connect, raw, sync_folder
from .lane import Lane
from .problems import Refusal, unauthorized

FOLDER: Final = "attachments"  # in the data directory
_WIPE: Final = 1024 * 1024  # bytes overwritten at a time
_ROW: Final = "SELECT token_hash, size, expires_at FROM attachment WHERE attachment = ? AND expires_at > ?"
_NAME: Final = re.compile(f"[0-9a-f]{{{2 * ID_BYTES}}}")
_NOTHING: Final = bytes(HASH_BYTES)


class Held(NamedTuple):
    """What is there of an attachment."""

    size: int
    missing: list[int]
    expires_at: int


class Asked(NamedTuple):
    """Who asks for which attachment, and when."""

    attachment: bytes
    token: bytes
    now: float


class AttachmentFiles:
    """The files. For one thread at a time."""

    def __init__(self, data: Path, database: Path) -> None:
        """Raises DataError."""
        self._folder = data / FOLDER
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            sync_folder(data)
            self._directory = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise DataError(f"The attachments in {self._folder} cannot be used: {error.strerror}.") from None
        self._connection = connect(database, read_only=True)

    def state(self, asked: Asked) -> Held:
        """What was received. Raises Refusal."""
        size, expires_at = self._find(asked)
        chunks = size // chunk_of(size)
        try:
            file = os.open(asked.attachment.hex(), os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._directory)
        except FileNotFoundError:
            return Held(size, list(range(chunks)), expires_at)
        try:
            hashes = os.pread(file, chunks * HASH_BYTES, size).ljust(chunks * HASH_BYTES, b"\0")
        finally:
            os.close(file)
        missing = [n for n in range(chunks) if hashes[n * HASH_BYTES :][:HASH_BYTES] == _NOTHING]
        return Held(size, missing, expires_at)

    def write(self, asked: Asked, number: int, chunk: bytes) -> None:
        """Keep a chunk, durably. The same bytes again are harmless. Raises Refusal."""
        size, _ = self._find(asked)
        self._check(size, number)
        if len(chunk) != chunk_of(size):
            raise Refusal(Problem.MALFORMED, f"Each chunk of this attachment has {chunk_of(size)} bytes.")
        hashed = hashlib.sha256(chunk).digest()
        name = asked.attachment.hex()
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=self._directory)
        try:
            known = os.pread(file, HASH_BYTES, size + number * HASH_BYTES).ljust(HASH_BYTES, b"\0")
            if known not in (_NOTHING, hashed):
                raise Refusal(Problem.ID_REUSED, "The chunk was written.")
            if known == _NOTHING:
                _write(file, chunk, number * len(chunk))
                os.fdatasync(file)
                _write(file, hashed, size + number * HASH_BYTES)
                os.fdatasync(file)
                os.fsync(self._directory)
        finally:
            os.close(file)

    def read(self, asked: Asked, number: int) -> bytes:
        """A chunk. Raises Refusal."""
        size, _ = self._find(asked)
        self._check(size, number)
        nothing = Refusal(Problem.NOT_FOUND, "This chunk has not been received.")
        try:
            file = os.open(asked.attachment.hex(), os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._directory)
        except FileNotFoundError:
            raise nothing from None
        try:
            if os.pread(file, HASH_BYTES, size + number * HASH_BYTES) in (b"", _NOTHING):
                raise nothing
            return os.pread(file, chunk_of(size), number * chunk_of(size))
        finally:
            os.close(file)

    def _find(self, asked: Asked) -> tuple[int, int]:
        row = raw(self._connection).execute(_ROW, (asked.attachment, asked.now)).fetchone()
        if row is None or not hmac.compare_digest(row[0], hashlib.sha256(asked.token).digest()):
            raise unauthorized()
        return row[1], row[2]

    def _check(self, size: int, number: int) -> None:
        if number >= size // chunk_of(size):
            raise Refusal(Problem.NOT_FOUND, "The attachment has no such chunk.")

    def wipe(self, attachment: bytes) -> None:
        """Overwrite a file and unlink it, if it is there. Parts that were never written stay holes."""
        name = attachment.hex()
        try:
            file = os.open(name, os.O_RDWR | os.O_CLOEXEC, dir_fd=self._directory)
        except FileNotFoundError:
            return
        try:
            start = 0
            while block := os.pread(file, _WIPE, start):
                if block.count(0) != len(block):
                    _write(file, bytes(len(block)), start)
                start += len(block)
            os.fdatasync(file)
        finally:
            os.close(file)
        os.unlink(name, dir_fd=self._directory)
        os.fsync(self._directory)

    def wipe_strangers(self) -> None:
        """Wipe every file that the database does not know: a crash or a restored backup left it."""
        rows = raw(self._connection).execute("SELECT attachment FROM attachment")
        known = {attachment.hex() for (attachment,) in rows}
        for path in self._folder.iterdir():
            if _NAME.fullmatch(path.name) and path.name not in known:
                self.wipe(bytes.fromhex(path.name))

    def close(self) -> None:
        """Let go."""
        self._connection.close()
        os.close(self._directory)


def _write(file: int, data: bytes, place: int) -> None:
    if os.pwrite(file, data, place) != len(data):
        raise OSError("a file was written in part")


class Attachments:
    """The files on a thread of their own. All but `close` are called from the event loop."""

    def __init__(self, files: AttachmentFiles) -> None:
        self._files = files
        self._lane = Lane("attachments")
        self._failed: list[bytes] = []  # still to be wiped
        self.settled = self._lane.settled

    async def state(self, asked: Asked) -> Held:
        """As `AttachmentFiles.state`."""
        return await self._lane.submit(self._files.state, asked)

    async def write(self, asked: Asked, number: int, chunk: bytes) -> None:
        """As `AttachmentFiles.write`."""
        await self._lane.submit(self._files.write, asked, number, chunk)

    async def read(self, asked: Asked, number: int) -> bytes:
        """As `AttachmentFiles.read`."""
        return await self._lane.submit(self._files.read, asked, number)

    def wipe(self, attachments: Iterable[bytes]) -> None:
        """These are gone from the database: wipe their files."""
        for attachment in attachments:
            self._lane.later(self._wipe, attachment)

    def _wipe(self, attachment: bytes) -> None:
        try:
            self._files.wipe(attachment)
        except OSError:
            self._failed.append(attachment)
            raise

    def try_again(self) -> None:
        """Wipe what could not be wiped when it should have been."""
        failed, self._failed = self._failed, []
        self.wipe(failed)

    def close(self) -> None:
        """Finish, and close."""
        self._lane.close()
        self._files.close()
