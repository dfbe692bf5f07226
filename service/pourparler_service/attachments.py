"""Attachments: sealed chunks in files of their own, resumable, and overwritten when their time is over.

A file holds the attachment's chunks, each in its place and under a storage key, and behind them for each chunk the
SHA-256 of what was received, or zeros. A chunk's bytes are durable before its hash is written, and its hash before it
is acknowledged: so a crash leaves a chunk that was received, or one to send again. The bytes pass through no database
and no log of one, so that overwriting the file leaves no copy of ours; then it is unlinked.

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
from .storagekeys import OVERHEAD, StorageKeys

FOLDER: Final = "attachments"  # in the data directory
_WIPE: Final = 1024 * 1024  # bytes overwritten at a time
_ROW: Final = (
    "SELECT token_hash, size, expires_at, key_end FROM attachment WHERE attachment = ? AND expires_at > ?"
)
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


class _Plan(NamedTuple):
    """How an attachment lies in its file."""

    size: int  # bytes, as its device sees it
    expires_at: int
    key_end: int | None

    @property
    def chunks(self) -> int:
        return self.size // chunk_of(self.size)

    @property
    def stored(self) -> int:
        """Bytes of a chunk on the disk."""
        return chunk_of(self.size) + (0 if self.key_end is None else OVERHEAD)

    def hash_at(self, number: int) -> int:
        """Where a chunk's hash lies."""
        return self.chunks * self.stored + number * HASH_BYTES


def _place(attachment: bytes, number: int) -> bytes:
    return attachment + number.to_bytes(4, "big")


class AttachmentFiles:
    """The files. For one thread at a time."""

    def __init__(self, data: Path, database: Path, keys: StorageKeys) -> None:
        """Raises DataError."""
        self._folder = data / FOLDER
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            sync_folder(data)
            self._directory = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise DataError(f"The attachments in {self._folder} cannot be used: {error.strerror}.") from None
        self._connection = connect(database, read_only=True)
        self._keys = keys

    def state(self, asked: Asked) -> Held:
        """What was received. Raises Refusal."""
        plan = self._find(asked)
        chunks = plan.chunks
        try:
            file = os.open(asked.attachment.hex(), os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._directory)
        except FileNotFoundError:
            return Held(plan.size, list(range(chunks)), plan.expires_at)
        try:
            hashes = os.pread(file, chunks * HASH_BYTES, plan.hash_at(0)).ljust(chunks * HASH_BYTES, b"\0")
        finally:
            os.close(file)
        missing = [n for n in range(chunks) if hashes[n * HASH_BYTES :][:HASH_BYTES] == _NOTHING]
        return Held(plan.size, missing, plan.expires_at)

    def write(self, asked: Asked, number: int, chunk: bytes) -> None:
        """Keep a chunk, durably. The same bytes again are harmless. Raises Refusal."""
        plan = self._find(asked, number)
        if len(chunk) != chunk_of(plan.size):
            raise Refusal(Problem.MALFORMED, f"Each chunk of this attachment has {chunk_of(plan.size)} bytes.")
        hashed, stored = hashlib.sha256(chunk).digest(), chunk
        if plan.key_end is not None:
            stored = self._keys.seal(plan.key_end, _place(asked.attachment, number), chunk)
        name = asked.attachment.hex()
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=self._directory)
        try:
            known = os.pread(file, HASH_BYTES, plan.hash_at(number)).ljust(HASH_BYTES, b"\0")
            if known not in (_NOTHING, hashed):
                raise Refusal(Problem.ID_REUSED, "The chunk was written.")
            if known == _NOTHING:
                _write(file, stored, number * plan.stored)
                os.fdatasync(file)
                _write(file, hashed, plan.hash_at(number))
                os.fdatasync(file)
                os.fsync(self._directory)
        finally:
            os.close(file)

    def read(self, asked: Asked, number: int) -> bytes:
        """A chunk. Raises Refusal."""
        plan = self._find(asked, number)
        nothing = Refusal(Problem.NOT_FOUND, "This chunk has not been received.")
        try:
            file = os.open(asked.attachment.hex(), os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._directory)
        except FileNotFoundError:
            raise nothing from None
        try:
            if os.pread(file, HASH_BYTES, plan.hash_at(number)) in (b"", _NOTHING):
                raise nothing
            stored = os.pread(file, plan.stored, number * plan.stored)
        finally:
            os.close(file)
        chunk = self._keys.open(plan.key_end, _place(asked.attachment, number), stored)
        if chunk is None:
            raise OSError("a chunk does not open")
        return chunk

    def _find(self, asked: Asked, number: int = 0) -> _Plan:
        row = raw(self._connection).execute(_ROW, (asked.attachment, asked.now)).fetchone()
        if row is None or not hmac.compare_digest(row[0], hashlib.sha256(asked.token).digest()):
            raise unauthorized()
        plan = _Plan(*row[1:])
        if plan.key_end is not None and plan.key_end not in self._keys:  # its key is gone, and so is it
            raise unauthorized()
        if number >= plan.chunks:
            raise Refusal(Problem.NOT_FOUND, "The attachment has no such chunk.")
        return plan

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
