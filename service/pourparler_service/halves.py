"""The service's halves of the keys under which devices store what they read: kept, handed out, destroyed on time.

A half is 32 random bytes for one device and one *end*, a round instant (`limits.SHORT_STEP`; DESIGN 4.4, #1). The
rules:

1. A half comes into being when its device first asks, and is the same at each asking. It is durable before it is
   answered.
2. It is destroyed at its end, or with its device's token: overwritten where it lies. Nothing brings it back.
3. An end at or before the highest time at which a half was made or destroyed is over, whatever the clock says now.
4. The index's log, which shows who asked when, is emptied after `WAL_LIFE`.
5. All of it lies outside backups. Who restores a backup restores no half; a store that was lost is another store,
   and the service says so with a new incarnation.

A half's bytes are in one place of the disk only, a slot of the file `halves`: they pass through no log, no journal
and no page that a database may copy. The index beside it, in SQLite, holds whose slot it is and when it ends. The
slot is written first, then the index, both when a half is made and when it is destroyed. So a crash leaves a slot
of no use, or the row of a destroyed half, which is over or whose owner is gone: the next start takes it away.
"""

import hashlib
import os
import secrets
import sqlite3
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from pourparler_policies.limits import HALF_BYTES, LONG_STEP
from pourparler_policies.wire import Problem

from . import database
from .database import DataError, connect, raw, sync_folder
from .lane import Lane
from .problems import Refusal

FOLDER: Final = "halves"  # in `database.OUTSIDE_BACKUPS`
SLOTS: Final = "halves"
INDEX: Final = "index.sqlite3"
VERSION: Final = 1  # of both files
_MAGIC: Final = b"pourparler half\x01"  # 16 bytes
HEADER: Final = 32  # bytes: magic, and the store's id
_GONE: Final = bytes(HALF_BYTES)

_TABLES: Final = (
    "CREATE TABLE store (id BLOB NOT NULL, mark INTEGER NOT NULL, slots INTEGER NOT NULL)",
    # Rows never move and keep their size, so that an owner is overwritten where it lies (`places` says why).
    "CREATE TABLE device (key INTEGER PRIMARY KEY, owner BLOB NOT NULL)",
    "CREATE TABLE half (device INTEGER NOT NULL, end INTEGER NOT NULL, slot INTEGER NOT NULL,"
    " PRIMARY KEY (device, end)) WITHOUT ROWID",
    "CREATE INDEX half_end ON half (end)",
    "CREATE TABLE vacant (slot INTEGER PRIMARY KEY)",
    f"PRAGMA user_version={VERSION}",
)


def owner(channel: bytes, token_hash: bytes) -> bytes:
    """Whose halves: 32 bytes of a channel's id (16) and the hash of a device's token (32).

    The channel belongs to it: else a member who knows the hash of another's token could seat it in a channel of
    their own, end it there, and with it the other's halves.
    """
    return hashlib.sha256(b"pourparler half owner v1" + channel + token_hash).digest()


def latest_end(now: float, longest_life: int) -> int:
    """The end of what is stored now and lives as long as the operator allows."""
    return -(-(int(now) + longest_life) // LONG_STEP) * LONG_STEP


class HalfStore:
    """The two files. For one thread at a time."""

    def __init__(self, folder: Path) -> None:
        """Open, or make where there is none. Raises DataError.

        Files that do not belong together, or are cut short, are left as they are: some halves may yet be saved,
        and whether to begin anew is the operator's decision.
        """
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            self._file = os.open(folder / SLOTS, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DataError(f"The key halves in {folder} cannot be used: {error.strerror}.") from None
        self._index = connect(folder / INDEX)
        self._sql = raw(self._index)
        self._scrubbed = float("-inf")  # when its log was emptied, by `time.monotonic`
        self._dirty = True  # something was written since
        try:
            row = self._recognise()
        except BaseException:
            self._index.close()
            os.close(self._file)
            raise
        self.id: bytes = row[0]  # 16 random bytes
        self._mark: int = row[1]
        self._slots: int = row[2]
        devices = self._sql.execute("SELECT owner, key FROM device").fetchall()
        self._keys: dict[bytes, int] = {owner: key for owner, key in devices if owner != _GONE}
        self._unused: list[int] = [key for owner, key in devices if owner == _GONE]

    def _recognise(self) -> tuple[bytes, int, int]:
        self._sql.execute("PRAGMA wal_autocheckpoint=1000")  # pages; this is the only connection
        version = self._sql.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, VERSION):
            raise DataError(f"The key halves in {self._folder} belong to another version of the service.")
        row: tuple[bytes, int, int] | None = None
        if version:
            row = self._sql.execute("SELECT id, mark, slots FROM store").fetchone()
        elif os.fstat(self._file).st_size <= HEADER:  # new, or a crash came before the first half
            row = self._begin()
        if row is None or not self._belongs(*row):
            raise DataError(
                f"The key halves in {self._folder} are damaged. Without that folder the service begins anew,"
                " and what locked devices have stored is lost."
            )
        return row

    def _belongs(self, store: bytes, _mark: int, slots: int) -> bool:
        whole = os.fstat(self._file).st_size >= HEADER + slots * HALF_BYTES
        return whole and os.pread(self._file, HEADER, 0) == _MAGIC + store

    def _begin(self) -> tuple[bytes, int, int]:
        os.ftruncate(self._file, 0)
        row = (secrets.token_bytes(16), 0, 0)
        os.pwrite(self._file, _MAGIC + row[0], 0)
        os.fsync(self._file)
        self._sql.execute("BEGIN IMMEDIATE")
        for statement in _TABLES:
            self._sql.execute(statement)
        self._sql.execute("INSERT INTO store VALUES (?, ?, ?)", row)
        self._sql.execute("COMMIT")
        for folder in (self._folder, self._folder.parent):
            sync_folder(folder)
        return row

    @property
    def mark(self) -> int:
        """The highest time at which a half was made or destroyed, Unix seconds: ends up to it are over."""
        return self._mark

    def all_of(self, owner: bytes) -> dict[int, bytes]:
        """An owner's halves by their ends, without those that are over."""
        found = "SELECT end, slot FROM half WHERE device = ? AND end > ?"
        slots = self._sql.execute(found, (self._keys.get(owner), self._mark)).fetchall()
        return {end: half for end, slot in slots if (half := self._read(slot)) != _GONE}

    def ask(self, owner: bytes, ends: Sequence[int], now: float, most: int) -> list[bytes]:
        """The halves of those of `ends` (rising) that are not over: the last ones. Missing ones are made.

        Raises Refusal, and makes none, when the owner would then have more than `most`.
        """
        living = [end for end in ends if end > max(now, self._mark)]
        if not living:
            return []
        key = self._keys.get(owner)
        found = "SELECT end, slot FROM half WHERE device = ? AND end BETWEEN ? AND ?"
        slots = dict(self._sql.execute(found, (key, living[0], living[-1])))
        missing = [end for end in living if end not in slots]
        if missing:
            count = self._sql.execute("SELECT count(*) FROM half WHERE device = ?", (key,)).fetchone()[0]
            if count + len(missing) > most:
                raise Refusal(Problem.OVER_CAP, f"A device has at most {most} key halves at a time here.")
            slots |= self._make(owner, missing, now)
        halves = [self._read(slots[end]) for end in living]
        if _GONE in halves:
            raise OSError("an index row of a destroyed half")
        return halves

    def _make(self, owner: bytes, ends: list[int], now: float) -> dict[int, int]:
        self._sql.execute("BEGIN IMMEDIATE")
        try:
            vacant = self._sql.execute("SELECT slot FROM vacant ORDER BY slot LIMIT ?", (len(ends),))
            slots = [slot for (slot,) in vacant]
            self._sql.executemany("DELETE FROM vacant WHERE slot = ?", [(slot,) for slot in slots])
            grown = self._slots + len(ends) - len(slots)
            slots += range(self._slots, grown)
            for slot in slots:
                self._write(slot, secrets.token_bytes(HALF_BYTES))
            os.fdatasync(self._file)
            key = self._keys.get(owner) or self._seat(owner)
            rows = list(zip([key] * len(ends), ends, slots, strict=True))
            self._sql.executemany("INSERT INTO half VALUES (?, ?, ?)", rows)
            self._sql.execute("UPDATE store SET slots = ?, mark = max(mark, ?)", (grown, int(now)))
            self._sql.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        self._slots, self._mark, self._dirty = grown, max(self._mark, int(now)), True
        if owner not in self._keys:
            self._keys[owner] = key
            self._unused = [one for one in self._unused if one != key]
        return dict(zip(ends, slots, strict=True))

    def _seat(self, owner: bytes) -> int:
        if self._unused:
            self._sql.execute("UPDATE device SET owner = ? WHERE key = ?", (owner, self._unused[-1]))
            return int(self._unused[-1])
        made = self._sql.execute("INSERT INTO device (owner) VALUES (?)", (owner,)).lastrowid
        if not made:
            raise sqlite3.Error("the insert returned no key")
        return int(made)

    def destroy_ended(self, now: float) -> None:
        """Destroy every half whose end has come."""
        self._mark = max(self._mark, int(now))  # this process never goes back, whatever it destroys
        self._destroy("end <= ?", self._mark)
        if self._dirty and time.monotonic() - self._scrubbed > database.WAL_LIFE:
            self._scrub()

    def destroy_of(self, owners: Iterable[bytes]) -> None:
        """Destroy all halves of these owners, and that there were any."""
        for owner in owners:
            if owner in self._keys:
                self._destroy("device = ?", self._keys[owner], owner)
                self._unused.append(self._keys.pop(owner))

    def destroy_strangers(self, owners: Iterable[bytes]) -> None:
        """Destroy all halves of everybody else."""
        self.destroy_of(set(self._keys) - set(owners))

    def _destroy(self, which: str, value: int, owner: bytes | None = None) -> None:
        found = self._sql.execute(f"SELECT slot FROM half WHERE {which}", (value,))  # noqa: S608 - two constants
        slots = found.fetchall()
        if not slots and owner is None:
            return
        for (slot,) in slots:
            self._write(slot, _GONE)
        os.fdatasync(self._file)
        self._sql.execute("BEGIN IMMEDIATE")
        try:
            self._sql.execute(f"DELETE FROM half WHERE {which}", (value,))  # noqa: S608 - as above
            if owner is not None:
                self._sql.execute("UPDATE device SET owner = ? WHERE key = ?", (_GONE, value))
            self._sql.executemany("INSERT INTO vacant VALUES (?)", slots)
            self._sql.execute("UPDATE store SET mark = max(mark, ?)", (self._mark,))
            self._sql.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        self._scrub()

    def _read(self, slot: int) -> bytes:
        return os.pread(self._file, HALF_BYTES, HEADER + slot * HALF_BYTES)

    def _write(self, slot: int, half: bytes) -> None:
        if os.pwrite(self._file, half, HEADER + slot * HALF_BYTES) != len(half):
            raise OSError("a slot was written in part")

    def _roll_back(self) -> None:
        if self._sql.in_transaction:
            self._sql.execute("ROLLBACK")

    def _scrub(self) -> None:
        self._sql.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._scrubbed, self._dirty = time.monotonic(), False

    def close(self) -> None:
        """Let go of both files."""
        self._scrub()
        self._index.close()
        os.close(self._file)


class Halves:
    """The store on a thread of its own. `ask` and `forget` are called from the event loop."""

    def __init__(self, store: HalfStore) -> None:
        self._store = store
        self._lane = Lane("key halves")
        self._forgotten: set[bytes] = set()  # owners whose halves are still to be destroyed
        self.settled = self._lane.settled

    async def ask(self, owner: bytes, ends: Sequence[int], now: float, most: int) -> list[bytes]:
        """As `HalfStore.ask`. Raises Refusal."""
        return await self._lane.submit(self._store.ask, owner, ends, now, most)

    def forget(self, owners: Iterable[bytes]) -> None:
        """The tokens of these owners have ended: destroy, after all that was asked before."""
        self._forgotten |= set(owners)
        self._lane.later(self._destroy_forgotten)

    def _destroy_forgotten(self) -> None:
        for owner in list(self._forgotten):
            self._store.destroy_of([owner])
            self._forgotten.discard(owner)

    async def purge(self, now: float) -> None:
        """Destroy what has ended, and what could not be destroyed when it should have been. Raises Refusal."""
        await self._lane.submit(self._store.destroy_ended, now)
        if self._forgotten:
            await self._lane.submit(self._destroy_forgotten)

    def close(self) -> None:
        """Finish, and close the store."""
        self._lane.close()
        self._store.close()
