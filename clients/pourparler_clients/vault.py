"""A vault: one SQLCipher file and its header, in a directory that only one process may open.

1. Nothing readable touches the disk through us: pages, journal and temporary data are encrypted or in memory.
2. The header holds two key slots of fixed size, always both: passphrase -> Argon2id -> slot key -> file key. A
   slot that nobody uses is random and looks like one that somebody uses.
3. The file's size, once it is closed, is one of few: it tells nobody how many channels there are.
4. What is deleted is overwritten in the file (secure_delete). After every purge the file is written anew, for
   SQLite leaves pieces of moved rows in its pages, and the journal is emptied; at close too, if something went.
5. A new passphrase comes with a new file key: the old passphrase, and copies of the old header, open nothing any more.
6. To clear a vault is to destroy the key slots first: from that instant on nothing in it can be opened.

Header: magic (4 bytes), Argon2id passes (4, big endian), memory in KiB (4, big endian), two slots. Slot:
salt (16), nonce (24), XChaCha20-Poly1305 of the file key (48). DESIGN 4.6.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import nacl.bindings as sodium
import nacl.exceptions
import nacl.pwhash.argon2id
from sqlcipher3 import dbapi2

from .errors import UserError
from .schema import MIGRATIONS
from .spool import PART_FILES, wipe

_MAGIC: Final = b"PPV1"
_SALT, _NONCE, _KEY, _TAG = 16, 24, 32, 16  # bytes
_SLOT: Final = _SALT + _NONCE + _KEY + _TAG
_HEADER: Final = len(_MAGIC) + 8 + 2 * _SLOT
HEADER_NAME: Final = "vault.keys"
DATABASE_NAME: Final = "vault.db"
_BUILDING: Final = HEADER_NAME + ".new"
# In the order in which they are cleared: without the slots, nothing else can be opened.
_FILES: Final = (
    HEADER_NAME,
    _BUILDING,
    *(DATABASE_NAME + ending for ending in ("", "-wal", "-shm", "-journal")),
)
_NOTICED: Final = 4.0  # seconds in which an open program notices that its vault was cleared, and ends
_BLOCK: Final = 1024 * 1024  # bytes overwritten at a time
_DAMAGED: Final = "the vault's file is missing or damaged: restore the whole directory of the vault from a copy"
_PAGE: Final = 4096  # bytes
_IN_PAGE: Final = _PAGE - 80 - 4  # bytes of a row in one page of its own: without SQLCipher's reserve and a link
# Sizes that the file may have when it was emptied or closed: 1 MiB, which holds a few channels, and each its double.
_CLASSES: Final = tuple(2**power // _PAGE for power in range(20, 41))  # pages
MIN_PASSPHRASE: Final = 8  # characters; Argon2id makes each guess dear, not a bad passphrase good


@dataclass(frozen=True, slots=True)
class Cost:
    """Argon2id: passes and memory (KiB). The header carries it, so that it can rise."""

    passes: int = 3
    memory: int = 256 * 1024  # libsodium's "moderate": about a second on a laptop

    def __post_init__(self) -> None:
        # A tampered header must not make us allocate without bound, nor weaken the next passphrase silently.
        if not (1 <= self.passes <= 64 and 8 * 1024 <= self.memory <= 4 * 1024 * 1024):
            raise UserError("the vault's header is damaged: restore it from a copy of the vault's directory")


class Vault:
    """An opened vault. Use `create` or `open`; close it when done."""

    def __init__(self, directory: Path, lock: int, file_key: bytes) -> None:
        self.directory = directory
        self._lock = lock
        self._key = file_key
        # Rows changed since the file was last written anew; a journal means that the last process was cut short.
        journal = directory / (DATABASE_NAME + "-wal")
        self._changed = journal.exists() and journal.stat().st_size > 0
        self._db = dbapi2.connect(str(directory / DATABASE_NAME), isolation_level=None)
        self._in_transaction = False
        self.spooling: set[str] = set()  # files of sealed chunks that have no row yet
        try:
            self._db.execute("PRAGMA cipher_log_level = NONE")  # it would write on the person's screen
            self._db.execute(f"PRAGMA key = \"x'{file_key.hex()}'\"")
            self._prepare()
        except dbapi2.OperationalError:  # a full disk, not a damaged file
            self._db.close()
            raise
        except dbapi2.DatabaseError:
            self._db.close()
            raise UserError(_DAMAGED) from None
        except BaseException:
            self._db.close()
            raise

    @classmethod
    def create(cls, directory: Path, passphrase: str, cost: Cost | None = None) -> "Vault":
        """Makes a new vault. Raises UserError when there is one already or the passphrase is too short."""
        cost = cost or Cost()
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise UserError(f"{directory} is not empty: choose another place for the new vault")
        _check_passphrase(passphrase)
        file_key = os.urandom(_KEY)
        header = _header(passphrase, cost, file_key)
        # Built aside and renamed: a crash leaves a whole vault or none.
        building = directory.with_name(directory.name + ".new")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(mode=0o700, parents=True)
        _write_private(building / HEADER_NAME, header)
        cls(building, _lock(building), file_key).close()
        if directory.exists():
            directory.rmdir()
        building.rename(directory)
        _sync_directory(directory.parent)
        return cls(directory, _lock(directory), file_key)

    @classmethod
    def open(cls, directory: Path, passphrase: str) -> "Vault":
        """Opens a vault. Raises UserError: no vault here, wrong passphrase, or in use by another process."""
        if not (directory / HEADER_NAME).is_file():
            raise UserError(f"there is no vault in {directory}: make one with `pourparler card new`")
        if not (directory / DATABASE_NAME).is_file():
            raise UserError(_DAMAGED)
        lock = _lock(directory)
        try:
            cost, keys = unlock(directory / HEADER_NAME, passphrase)
            vault = cls._open_with(directory, lock, keys)
        except BaseException:
            os.close(lock)
            raise
        if len(keys) == 2:  # the power went while the passphrase was being changed: that comes to its end now
            if vault._key != keys[0]:
                vault._rekey(keys[0])
            vault._replace_header(_header(passphrase, cost, keys[0]))
        # A change that never began: its header holds the file's key under a passphrase that is not in force.
        wipe(directory / _BUILDING)
        return vault

    @classmethod
    def _open_with(cls, directory: Path, lock: int, keys: list[bytes]) -> "Vault":
        for key in keys[:-1]:
            with suppress(UserError):
                return cls(directory, lock, key)
        return cls(directory, lock, keys[-1])

    def change_passphrase(self, passphrase: str, cost: Cost | None = None) -> None:
        """A new passphrase and a new file key; the old passphrase opens nothing from then on, wherever a copy of the
        header may be. A power cut leaves the old passphrase, or the new one. Raises UserError when it is too short.
        """
        if self._in_transaction:
            raise RuntimeError("a passphrase is not changed within a transaction")
        _check_passphrase(passphrase)
        cost = cost or Cost()
        key = os.urandom(_KEY)
        self._replace_header(_header(passphrase, cost, key, self._key))  # either may be the file's, for a moment
        self._rekey(key)
        self._replace_header(_header(passphrase, cost, key))

    def _rekey(self, key: bytes) -> None:
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.execute(f"PRAGMA rekey = \"x'{key.hex()}'\"")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._key = key

    def _replace_header(self, header: bytes) -> None:
        """Another header in place of the old one, whose bytes are overwritten; the lock goes over to the new one."""
        place = self.directory / HEADER_NAME
        building = self.directory / _BUILDING
        wipe(building)
        _write_private(building, header)
        lock = os.open(building, os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        building.rename(place)
        _sync_directory(self.directory)
        _overwrite(self._lock)
        os.close(self._lock)
        self._lock = lock

    @classmethod
    def unlocked(cls, directory: Path, file_key: bytes) -> "Vault":
        """Opens a vault whose file key (32 bytes) one has. Raises UserError: damaged, or in use."""
        lock = _lock(directory)
        try:
            return cls(directory, lock, file_key)
        except BaseException:
            os.close(lock)
            raise

    def close(self) -> None:
        """Writes the file anew if something was erased, empties the journal and lets another process in."""
        try:
            if self.cleared:  # there is nothing to be tidied
                return
            with suppress(dbapi2.OperationalError):  # a full disk: the next process begins with the journal
                self.empty_journal()
        finally:
            self._db.close()
            os.close(self._lock)

    @property
    def cleared(self) -> bool:
        """Whether the vault has been cleared while it is open here: nothing of it can be read or written any more."""
        return os.fstat(self._lock).st_nlink == 0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, durable when it returns."""
        if self._in_transaction:
            raise RuntimeError("transactions do not nest")
        self._db.execute("BEGIN IMMEDIATE")
        self._in_transaction = True
        try:
            yield
            self._commit()
        except BaseException:
            if self._db.in_transaction:  # a full disk may have ended it already
                self._db.execute("ROLLBACK")
            raise
        finally:
            self._in_transaction = False

    def _commit(self) -> None:
        self._db.execute("COMMIT")

    def execute(self, sql: str, *values: Any) -> int:
        """Runs one statement inside a transaction; returns the number of rows changed."""
        if not self._in_transaction:
            raise RuntimeError("a change needs a transaction")
        count: int = self._db.execute(sql, values).rowcount
        self._changed |= count > 0 and not sql.startswith("INSERT INTO")
        return count

    def many(self, sql: str, rows: list[tuple[Any, ...]]) -> None:
        """Runs one statement for many rows inside a transaction."""
        if not self._in_transaction:
            raise RuntimeError("a change needs a transaction")
        self._db.executemany(sql, rows)

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        found: list[tuple[Any, ...]] = self._db.execute(sql, values).fetchall()
        return found

    def row(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        """The first row of a query, if any."""
        found: tuple[Any, ...] | None = self._db.execute(sql, values).fetchone()
        return found

    def empty_journal(self) -> None:
        """After a purge: what was deleted must not stay in the journal, nor pieces of it in the file's pages."""
        self.sweep()
        # First in place: a page that the new file does not need is overwritten before it is given back.
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if self._changed:
            self._db.execute("VACUUM")
            self._changed = False
        if self._pages() not in _CLASSES:
            self._fill()
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def sweep(self) -> None:
        """Overwrites and removes files of sealed chunks that no row names any more (spool.py)."""
        known = {file for (file,) in self.rows("SELECT file FROM spool")} | self.spooling
        for path in sorted(self.directory.glob(PART_FILES)):
            if path.name not in known:
                wipe(path)

    def _pages(self) -> int:
        return int(self._db.execute("PRAGMA page_count").fetchone()[0])

    def _fill(self) -> None:
        """Free pages up to the next class of sizes: the file's size does not tell how many channels are in it."""
        wanted = next(pages for pages in _CLASSES if pages > self._pages())
        with self.transaction():
            self._db.execute("CREATE TABLE filler (zeros BLOB)")
            while (missing := wanted - self._pages()) > 0:
                # A row of this size has `missing` pages of its own, or a few less: the next round adds those.
                self._db.execute("INSERT INTO filler VALUES (zeroblob(?))", (max(1, missing - 4) * _IN_PAGE - 64,))
            self._db.execute("DROP TABLE filler")

    def _prepare(self) -> None:
        for pragma in (
            "locking_mode = EXCLUSIVE",  # the index of the journal stays in memory
            "journal_mode = WAL",
            "synchronous = FULL",
            "secure_delete = ON",
            "temp_store = MEMORY",
            "foreign_keys = ON",
        ):
            self._db.execute(f"PRAGMA {pragma}")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise UserError("this vault was used with a newer Pourparler: update this one")
        for number in range(version, len(MIGRATIONS)):
            with self.transaction():
                for statement in MIGRATIONS[number]:
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {number + 1}")


def clear(directory: Path) -> bool:
    """Ends a vault for good: key slots first, then everything else. Needs no passphrase and no network.

    Again after a power cut, it goes on. Returns whether another program still has the vault open after a few seconds:
    that one shows what it has in memory. Raises UserError when there is nothing to clear.
    """
    building = directory.with_name(directory.name + ".new")
    files = [place / name for place in (directory, building) for name in _FILES if (place / name).exists()]
    files += sorted(directory.glob(PART_FILES))
    if not files:
        raise UserError(f"there is no vault in {directory}: nothing was there to be cleared")
    busy = -1
    for path in files:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if path.name == HEADER_NAME:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    busy = os.dup(descriptor)
            _overwrite(descriptor)
        finally:
            os.close(descriptor)
        path.unlink()
        _sync_directory(path.parent)
    for place in (directory, building):
        with suppress(OSError):  # something that is not ours lies there too
            place.rmdir()
    return busy >= 0 and not _released(busy)


def _released(descriptor: int) -> bool:
    """Whether who had a vault open ends, having seen that it was cleared; closes the descriptor."""
    end = time.monotonic() + _NOTICED
    try:
        while time.monotonic() < end:
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            time.sleep(0.05)
        return False
    finally:
        os.close(descriptor)


def _check_passphrase(passphrase: str) -> None:
    if len(passphrase) < MIN_PASSPHRASE:
        raise UserError(f"a passphrase has at least {MIN_PASSPHRASE} characters; several words are best")


def _header(passphrase: str, cost: Cost, *keys: bytes) -> bytes:
    """A header with one or two slots in use, all under one passphrase; an unused slot is random."""
    slots = [_fill_slot(passphrase, cost, key) for key in keys]
    slots += [os.urandom(_SLOT)] * (2 - len(slots))
    return _MAGIC + cost.passes.to_bytes(4, "big") + cost.memory.to_bytes(4, "big") + b"".join(slots)


def _fill_slot(passphrase: str, cost: Cost, file_key: bytes) -> bytes:
    salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
    key = _slot_key(passphrase, salt, cost)
    sealed: bytes = sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(file_key, _MAGIC, nonce, key)
    return salt + nonce + sealed


def _slot_key(passphrase: str, salt: bytes, cost: Cost) -> bytes:
    return nacl.pwhash.argon2id.kdf(
        _KEY, passphrase.encode(), salt, opslimit=cost.passes, memlimit=cost.memory * 1024
    )


def unlock(header: Path, passphrase: str) -> tuple[Cost, list[bytes]]:
    """Cost and file keys (32 bytes) behind a header's slots: one, or two while a passphrase is being changed.

    Raises UserError when the passphrase opens neither.
    """
    data = header.read_bytes()
    if len(data) != _HEADER or not data.startswith(_MAGIC):
        raise UserError("the vault's header is damaged: restore it from a copy of the vault's directory")
    cost = Cost(int.from_bytes(data[4:8], "big"), int.from_bytes(data[8:12], "big"))
    found: list[bytes] = []
    for start in (12, 12 + _SLOT):  # always both: how long it takes does not tell which slot opened
        slot = data[start : start + _SLOT]
        salt, nonce, sealed = slot[:_SALT], slot[_SALT : _SALT + _NONCE], slot[_SALT + _NONCE :]
        key = _slot_key(passphrase, salt, cost)
        with suppress(nacl.exceptions.CryptoError):
            found.append(sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, _MAGIC, nonce, key))
    if not found:
        raise UserError("this passphrase does not open the vault")
    return cost, found


def _overwrite(descriptor: int) -> None:
    """Random bytes in place of a file's, on the disk when this returns (as far as a file system lets one)."""
    size, done = os.fstat(descriptor).st_size, 0
    while done < size:
        done += os.pwrite(descriptor, os.urandom(min(_BLOCK, size - done)), done)
    os.fsync(descriptor)


def _write_private(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode=0o600)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(directory: Path) -> int:
    descriptor = os.open(directory / HEADER_NAME, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise UserError("another process has this vault open: close it first") from None
    return descriptor
