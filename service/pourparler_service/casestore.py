"""What the desk holds between the first deposit and the end, on disk: outside backups, and destroyed on time.

1. A living case is one row of ciphertext under a key of its own, which is in another file. From its opening to its
   end the row has the same size and every change writes all of it anew: no row, count or length says what came.
2. An end is one transaction: the row goes, the answer stands. Then the key is overwritten where it lies, so that
   no copy that a disk may have kept opens; only then is the answer told.
3. A row that does not open is lost, and a lost case has lapsed.

A crash between the transaction and the key's end leaves a key of no row, which the next start overwrites. Who takes
both files of a running desk has what the desk has: that is what it is trusted with (DESIGN 6.3). For one thread at
a time.
"""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from nacl.exceptions import CryptoError as SodiumError
from nacl.secret import Aead

from pourparler_crypto.encoding import lp

from .database import OUTSIDE_BACKUPS, Database, DataError, connect, raw
from .lane import FAULTS

FOLDER: Final = "desk"  # in `database.OUTSIDE_BACKUPS`
FILE: Final = "cases.sqlite3"
KEYS: Final = "keys"
VERSION: Final = 1
KEY_BYTES: Final = Aead.KEY_SIZE  # 32
_GONE: Final = bytes(KEY_BYTES)

_TABLES: Final = (
    "CREATE TABLE living (name BLOB PRIMARY KEY, slot INTEGER NOT NULL UNIQUE, forget_at INTEGER NOT NULL,"
    " fixed BLOB NOT NULL, state BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE ended (name BLOB PRIMARY KEY, forget_at INTEGER NOT NULL, reply BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE posted (name BLOB NOT NULL, part INTEGER NOT NULL, published_at INTEGER NOT NULL,"
    " note BLOB NOT NULL, PRIMARY KEY (name, part))",
    f"PRAGMA user_version={VERSION}",
)


def name_of(handle: bytes) -> bytes:
    """32 bytes by which a case is found on the disk. Who reads them cannot ask the desk for the case."""
    return hashlib.sha256(b"pourparler case v1" + handle).digest()


class Living(NamedTuple):
    """A row that opened: both parts as they were given."""

    name: bytes
    forget_at: int
    fixed: bytes
    state: bytes


class CaseStore:
    """The two files."""

    def __init__(self, folder: Path) -> None:
        """Open, or make. Raises DataError, OSError, sqlite3.Error."""
        folder.mkdir(mode=0o700, exist_ok=True)
        self._keys = os.open(folder / KEYS, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self._connection = connect(folder / FILE)
        self._sql = raw(self._connection)
        version = self._sql.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, VERSION):
            raise DataError(f"The desk's files in {folder} belong to another version of the service.")
        if not version:
            with self._transaction():
                for statement in _TABLES:
                    self._sql.execute(statement)
        used = {slot for (slot,) in self._sql.execute("SELECT slot FROM living")}
        self._destroy(slot for slot in range(os.fstat(self._keys).st_size // KEY_BYTES) if slot not in used)
        self._scrub()

    # --- living cases -----------------------------------------------------------------------------------------

    def load(self) -> tuple[list[Living], list[tuple[bytes, int]]]:
        """The living cases; and name and forget_at of those that are lost."""
        found, lost = [], []
        for name, slot, forget_at, fixed, state in self._sql.execute("SELECT * FROM living").fetchall():
            key = self._key(slot)
            try:
                opened = (_open(key, name, b"fixed", fixed), _open(key, name, b"state", state))
            except SodiumError:
                lost.append((name, forget_at))
                continue
            found.append(Living(name, forget_at, *opened))
        return found, lost

    def add(self, case: Living) -> None:
        """A new case; durable when this returns."""
        used = {slot for (slot,) in self._sql.execute("SELECT slot FROM living")}
        slot = next(slot for slot in range(len(used) + 1) if slot not in used)
        key = self._new_key(slot)
        with self._transaction():
            self._sql.execute(
                "INSERT INTO living VALUES (?, ?, ?, ?, ?)",
                (
                    case.name,
                    slot,
                    case.forget_at,
                    _seal(key, case.name, b"fixed", case.fixed),
                    _seal(key, case.name, b"state", case.state),
                ),
            )
        self._scrub()

    def rewrite(self, name: bytes, state: bytes) -> None:
        """Another state, of the same length."""
        key = self._key(self._slot(name))
        with self._transaction():
            self._sql.execute(
                "UPDATE living SET state = ? WHERE name = ?", (_seal(key, name, b"state", state), name)
            )
        self._scrub()

    def replace(self, name: bytes, fixed: bytes, state: bytes) -> None:
        """Both parts under a new key: what was there opens no more. A crash on the way loses the case."""
        key = self._new_key(self._slot(name))
        with self._transaction():
            self._sql.execute(
                "UPDATE living SET fixed = ?, state = ? WHERE name = ?",
                (_seal(key, name, b"fixed", fixed), _seal(key, name, b"state", state), name),
            )
        self._scrub()

    def fixed(self, name: bytes) -> bytes:
        """The part of a living case that does not change. Raises OSError when it is lost."""
        row = self._sql.execute("SELECT slot, fixed FROM living WHERE name = ?", (name,)).fetchone()
        try:
            return _open(self._key(row[0]), name, b"fixed", row[1])
        except SodiumError:
            raise OSError("a case does not open") from None

    # --- ended cases ------------------------------------------------------------------------------------------

    def end(
        self,
        name: bytes,
        forget_at: int,
        reply: bytes,
        notes: Iterable[bytes] = (),
        published_at: int = 0,
    ) -> None:
        """Delete a case, living or lost, and keep its answer; when this returns nothing else is left of it.

        Notes, which are public, are kept as long as the answer: the board may be restored from a backup.
        """
        row = self._sql.execute("SELECT slot FROM living WHERE name = ?", (name,)).fetchone()
        with self._transaction():
            self._sql.execute("DELETE FROM living WHERE name = ?", (name,))
            self._sql.execute("INSERT OR IGNORE INTO ended VALUES (?, ?, ?)", (name, forget_at, reply))
            self._sql.executemany(
                "INSERT OR IGNORE INTO posted VALUES (?, ?, ?, ?)",
                [(name, part, published_at, note) for part, note in enumerate(notes)],
            )
        if row is not None:
            self._destroy([row[0]])
        self._scrub()

    def reply(self, name: bytes) -> bytes | None:
        """The answer of an ended case."""
        row = self._sql.execute("SELECT reply FROM ended WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    def names(self) -> list[tuple[bytes, int]]:
        """Name and forget_at of every case, living or ended."""
        return self._sql.execute(
            "SELECT name, forget_at FROM living UNION SELECT name, forget_at FROM ended"
        ).fetchall()

    def posted(self) -> list[tuple[int, list[bytes]]]:
        """When, and which notes, of each release that is still remembered, in the order of publication."""
        found: dict[bytes, tuple[int, list[bytes]]] = {}
        for name, at, note in self._sql.execute("SELECT name, published_at, note FROM posted ORDER BY rowid"):
            found.setdefault(name, (at, []))[1].append(note)
        return sorted(found.values(), key=lambda one: one[0])

    def forget(self, now: int) -> None:
        """Delete answers whose time is over."""
        due = self._sql.execute("SELECT name FROM ended WHERE forget_at <= ?", (now,)).fetchall()
        if due:
            with self._transaction():
                self._sql.executemany("DELETE FROM ended WHERE name = ?", due)
                self._sql.executemany("DELETE FROM posted WHERE name = ?", due)
            self._scrub()

    # --- the files --------------------------------------------------------------------------------------------

    def _slot(self, name: bytes) -> int:
        row = self._sql.execute("SELECT slot FROM living WHERE name = ?", (name,)).fetchone()
        return int(row[0])

    def _key(self, slot: int) -> bytes:
        return os.pread(self._keys, KEY_BYTES, slot * KEY_BYTES).ljust(KEY_BYTES, b"\0")

    def _new_key(self, slot: int) -> bytes:
        key = secrets.token_bytes(KEY_BYTES)
        self._write(slot, key)
        os.fdatasync(self._keys)
        return key

    def _destroy(self, slots: Iterable[int]) -> None:
        for slot in slots:
            self._write(slot, _GONE)
        os.fdatasync(self._keys)

    def _write(self, slot: int, key: bytes) -> None:
        if os.pwrite(self._keys, key, slot * KEY_BYTES) != len(key):
            raise OSError("a key was written in part")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._sql.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._sql.execute("COMMIT")
        except BaseException:
            if self._sql.in_transaction:
                self._sql.execute("ROLLBACK")
            raise

    def _scrub(self) -> None:
        self._sql.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Let go of both files."""
        self._scrub()
        self._connection.close()
        os.close(self._keys)


def open_cases(database: Database) -> CaseStore:
    """The store that goes with a database. Raises DataError."""
    folder = database.path.parent / OUTSIDE_BACKUPS / FOLDER
    try:
        return CaseStore(folder)
    except FAULTS as error:
        raise DataError(f"The desk's files in {folder} cannot be used: {type(error).__name__}.") from error


def _seal(key: bytes, name: bytes, part: bytes, plain: bytes) -> bytes:
    return bytes(Aead(key).encrypt(plain, aad=lp("pourparler/desk/v1", part, name)))


def _open(key: bytes, name: bytes, part: bytes, sealed: bytes) -> bytes:
    return Aead(key).decrypt(sealed, aad=lp("pourparler/desk/v1", part, name))
