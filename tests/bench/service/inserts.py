"""The other floor: bare inserts of a KiB in batches, each durable before the next, with no service around them."""

import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from pourparler_service.postgres.testing import SERVER, databases

from .filling import SEALED
from .processes import find, tree_cpu

TABLE = "CREATE TABLE bare (channel INTEGER, seq INTEGER, entry {blob}, bytes {blob}, PRIMARY KEY (channel, seq))"
Row = tuple[int, int, bytes, bytes]


@dataclass(frozen=True)
class Inserts:
    """Figures of one engine and one size of batch."""

    engine: str
    batch: int  # rows
    rate: float  # rows a second
    cpu: float  # seconds of this process per 1,000 rows
    engines: float  # and of PostgreSQL


def bare(engine: str, batch: int, seconds: float, place: Path | None = None) -> Inserts:
    """So many rows to a transaction, for so long, over 8 channels."""
    run = {"sqlite": _sqlite, "postgresql": _postgresql}[engine]
    with tempfile.TemporaryDirectory(dir=place) as folder:
        return run(Path(folder), batch, seconds)


def _sqlite(folder: Path, batch: int, seconds: float) -> Inserts:
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute(TABLE.format(blob="BLOB"))

        def insert(rows: list[Row]) -> None:
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT INTO bare VALUES (?, ?, ?, ?)", rows)
            database.execute("COMMIT")

        return _timed("sqlite", batch, seconds, insert, [])


def _postgresql(folder: Path, batch: int, seconds: float) -> Inserts:
    with databases(folder) as name, psycopg.connect(f"{SERVER}/{name}", autocommit=True) as connection:
        connection.execute(TABLE.format(blob="BYTEA"))
        statement = "INSERT INTO bare SELECT * FROM unnest(%b::int[], %b::int[], %b::bytea[], %b::bytea[])"

        def insert(rows: list[Row]) -> None:
            columns: list[Any] = [list(column) for column in zip(*rows, strict=True)]
            with connection.transaction():
                connection.execute(statement, columns)

        return _timed("postgresql", batch, seconds, insert, find("postgres"))


def _timed(
    engine: str, batch: int, seconds: float, insert: Callable[[list[Row]], None], engines: list[int]
) -> Inserts:
    sealed = [os.urandom(SEALED) for _ in range(256)]  # drawn ahead: drawing is not what is measured
    done = 0
    before = sum(map(tree_cpu, engines))
    started, cpu = time.perf_counter(), time.process_time()
    while (taken := time.perf_counter() - started) < seconds:
        insert([(at % 8, at, at.to_bytes(16), sealed[at % 256]) for at in range(done, done + batch)])
        done += batch
    used, other = time.process_time() - cpu, sum(map(tree_cpu, engines)) - before
    return Inserts(engine, batch, done / taken, used / done * 1000, other / done * 1000)
