"""Channels, devices and entries by the thousand, written into a service's database while no process serves from it.

What is written has the shape of the real thing: rows of the same columns, bodies of the size that a sealed KiB has
there, ends spread over a month. Only what nobody reads in a benchmark is made up: bodies and digests are random bytes.
A channel is founded by its real request first; the others, and the further devices, are copies of its row with their
own tokens.
"""

import itertools
import os
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import psycopg

from pourparler_policies.limits import DAY
from pourparler_service.database import FILE
from pourparler_service.postgres.engine import Links, engine
from pourparler_service.postgres.partitions import BITS, make, partition_of
from pourparler_service.postgres.testing import SERVER
from pourparler_service.testing import b64

SEALED = 1024 + 16  # bytes, as they lie in the database: an AEAD's tag is with them
MONTH = 30


@dataclass(frozen=True)
class Seat:
    """A device as the load plays it."""

    channel: bytes  # 16 bytes
    token: bytes  # 32 bytes
    count: int = 0
    handshake_head: int = 0
    after: int = 0

    def plan(self) -> dict[str, Any]:
        """For `load.py`."""
        return {
            "channel": b64(self.channel),
            "token": b64(self.token),
            "count": self.count,
            "handshake_head": self.handshake_head,
            "after": self.after,
        }


class Store(Protocol):
    """One of the two databases, open for writing rows."""

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query without parameters."""

    def write(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Many rows."""

    def places(self, number: int, until: int) -> Iterator[int]:
        """Keys for so many new bodies that end then."""

    def finish(self) -> None:
        """All is written: as a database looks that has grown slowly."""


class Embedded:
    """SQLite, as the service keeps it."""

    def __init__(self, data: Path) -> None:
        self._database = sqlite3.connect(data / FILE)
        self._database.execute("PRAGMA synchronous = OFF")

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        return self._database.execute(query).fetchall()

    def write(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        marks = ", ".join("?" * len(columns))
        self._database.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)

    def places(self, number: int, until: int) -> Iterator[int]:
        (first,) = self.ask("SELECT coalesce(max(key), 0) + 1 FROM body")[0]
        return iter(range(first, first + number))

    def finish(self) -> None:
        self._database.commit()
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        self._database.close()


class Shared:
    """PostgreSQL."""

    def __init__(self, name: str) -> None:
        self._raw = psycopg.connect(f"{SERVER}/{name}")
        self._links = Links(engine(f"{SERVER}/{name}"))

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        return self._raw.execute(query).fetchall()

    def write(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        with self._raw.cursor().copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    def places(self, number: int, until: int) -> Iterator[int]:
        partition = partition_of(until, MONTH * DAY)
        make(self._links, partition)
        blocks = (self.ask("SELECT nextval('place')")[0][0] for _ in range(number // 1000 + 1))
        return (partition << BITS | at for first in blocks for at in range(first, first + 1000))

    def finish(self) -> None:
        self._raw.commit()
        self._raw.autocommit = True
        self._raw.execute("ANALYZE")

    def close(self) -> None:
        self._raw.close()
        self._links.close()


def fill(
    data: Path, name: str | None, founder: Seat, channels: int, devices: int, stored: int
) -> list[list[Seat]]:
    """Make of one channel of one device so many of so many, with `stored` entries in all. `name` is PostgreSQL's
    database, None SQLite. Returns the seats of each channel, the founder's first.
    """
    store: Embedded | Shared = Shared(name) if name else Embedded(data)
    with closing(store):
        return _fill(store, founder, channels, devices, stored)


def _fill(store: Store, founder: Seat, channels: int, devices: int, stored: int) -> list[list[Seat]]:
    columns = ("channel", "absence_limit", "head", "handshake_head", "received_at", "stored")
    ((_, *row),) = store.ask(f"SELECT key, {', '.join(columns)} FROM channel")
    head = row[2]
    ids = [founder.channel, *(secrets.token_bytes(16) for _ in range(channels - 1))]
    store.write("channel", columns, ((one, *row[1:]) for one in ids[1:]))
    keys = {bytes(one): number for number, one in store.ask("SELECT key, channel FROM channel")}
    today = int(time.time()) // DAY
    seats, rows = [], []
    for one in ids:
        tokens = [secrets.token_bytes(32) for _ in range(devices)]
        if one == founder.channel:
            tokens[0] = founder.token
        seats.append([Seat(one, token, 0, founder.handshake_head) for token in tokens])
        rows += [
            (keys[one], secrets.token_bytes(16), sha256(token).digest(), head + 1, 0, today)
            for token in tokens
            if token != founder.token
        ]
    seats[0][0] = founder
    store.write("device", ("channel_key", "device", "token_hash", "first_seq", "accepted", "last_day"), rows)
    _entries(store, [keys[one] for one in ids], head, stored)
    store.finish()
    after = head + stored // channels
    return [[replace(one, after=after) for one in seated] for seated in seats]


def _entries(store: Store, keys: list[int], head: int, stored: int) -> None:
    """Entries of every channel, day after day."""
    if not stored:
        return
    now, each = int(time.time()), stored // len(keys)
    columns = (
        "key",
        "channel_key",
        "seq",
        "entry",
        "handshake",
        "received_at",
        "expires_at",
        "delete_hash",
        "digest",
    )
    total = each * len(keys)
    # In the order in which they would have come: every channel's next one in turn.
    order = ((channel, head + 1 + number) for number in range(each) for channel in keys)
    for day in range(MONTH):
        part = total // MONTH + (1 if day < total % MONTH else 0)
        until = now + (day + 1) * DAY
        places = list(itertools.islice(store.places(part, until), part))
        store.write("body", ("key", "bytes"), ((place, os.urandom(SEALED)) for place in places))
        rows = (
            (place, channel, seq, os.urandom(16), False, now, until, os.urandom(32), os.urandom(32))
            for place, (channel, seq) in zip(places, order, strict=False)
        )
        store.write("entry", columns, rows)
    for key in keys:
        store.ask(
            f"UPDATE channel SET head = head + {each}, stored = stored + {each * 1024} WHERE key = {key} RETURNING key"
        )
