"""Where sealed bytes lie on the disk, so that they can be taken away again: every one in a place of its own.

SQLite's `secure_delete` overwrites what it frees, but when it balances its tree it copies neighbouring rows and
may leave the old copy in a page's gap (seen in a few of a thousand deletions). So rows of `body` never move: they
are only appended, never deleted, and never change their size. To erase one is to overwrite it where it lies; its
place, of one bucket's size, is then vacant for a later entry. `tests/service/test_expiry.py` searches the files
for what should be gone.
"""

import sqlite3
from collections import deque
from collections.abc import Iterable
from typing import Final

_INSERT: Final = "INSERT INTO body (key, bytes) VALUES (?, ?)"
_REUSE: Final = "UPDATE body SET bytes = ? WHERE key = ?"
_ERASE: Final = "UPDATE body SET bytes = zeroblob(length(bytes)) WHERE key = ?"
_TAKE: Final = "DELETE FROM vacancy WHERE key = ?"
_SIZE: Final = "SELECT size FROM vacancy WHERE key = ?"
_LEAVE: Final = "INSERT INTO vacancy (key, size) SELECT key, length(bytes) FROM body WHERE key = ?"


class Places:
    """The places. One object a process; every change belongs to the batch under way."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._vacant: dict[int, deque[int]] = {}
        for key, size in connection.execute("SELECT key, size FROM vacancy ORDER BY key"):
            self._vacant.setdefault(size, deque()).append(key)
        self._next: int = connection.execute("SELECT coalesce(max(key), 0) + 1 FROM body").fetchone()[0]
        self._begin()

    def _begin(self) -> None:
        self._first_new = self._next
        self._taken: list[tuple[int, int]] = []  # (size, key)
        self._left: list[tuple[int, int]] = []  # (size, key)
        self._new: list[tuple[int, bytes]] = []
        self._reused: list[tuple[bytes, int]] = []

    def place(self, sealed: bytes, _until: int, _life: int) -> int:
        """A place for `sealed`, one of few sizes. Returns its key; the bytes are written by `flush`."""
        vacant = self._vacant.get(len(sealed))
        if vacant:
            key = vacant.popleft()
            self._taken.append((len(sealed), key))
            self._reused.append((sealed, key))
        else:
            key, self._next = self._next, self._next + 1
            self._new.append((key, sealed))
        return key

    def flush(self) -> None:
        """Write what was placed so far."""
        if self._new:
            self._connection.executemany(_INSERT, self._new)
            self._new = []
        if self._reused:
            self._connection.executemany(_REUSE, self._reused)
            self._connection.executemany(_TAKE, [(key,) for _, key in self._reused])
            self._reused = []

    def erase(self, keys: Iterable[int], *, over: bool) -> None:
        """Overwrite these where they lie, and leave their places vacant."""
        self.flush()
        rows = [(key,) for key in keys]
        self._connection.executemany(_ERASE, rows)
        self._connection.executemany(_LEAVE, rows)
        for row in rows:
            (size,) = self._connection.execute(_SIZE, row).fetchone()
            self._left.append((size, row[0]))

    def committed(self) -> None:
        """The batch is durable: its vacant places may be used."""
        for size, key in self._left:  # nothing is read here: a checkpoint may have the connection for seconds
            self._vacant.setdefault(size, deque()).append(key)
        self._begin()

    def rolled_back(self) -> None:
        """Nothing of the batch happened."""
        for size, key in reversed(self._taken):
            self._vacant[size].appendleft(key)
        self._next = self._first_new
        self._begin()
