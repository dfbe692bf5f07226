"""For tests and benchmarks: databases of their own on a real PostgreSQL, and services that share them."""

import contextlib
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg

from ..settings import Settings
from ..testing import CONFIG

SERVER: Final = os.environ.get("POURPARLER_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432")
BUS: Final = os.environ.get("POURPARLER_TEST_NATS", "nats://127.0.0.1:4222")
_TABLES: Final = (
    "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
)


def reachable() -> bool:
    """Whether there is a PostgreSQL to test with."""
    try:
        administer("SELECT 1")
    except psycopg.Error:
        return False
    return True


def bus_reachable() -> bool:
    """Whether there is a NATS to test with."""
    address = urlsplit(BUS)
    try:
        socket.create_connection((address.hostname or "", address.port or 4222), 5).close()
    except OSError:
        return False
    return True


def administer(statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
    """Run one statement, as who may do everything. Returns its rows."""
    with psycopg.connect(f"{SERVER}/{database}", autocommit=True, connect_timeout=5) as connection:
        told = connection.execute(statement)
        return told.fetchall() if told.description else []


def rows(settings: Settings) -> bytes:
    """Every row of both databases, in PostgreSQL's binary form: bytes stand in it as they are."""
    found = []
    for url in (settings.database_url, settings.outside_url):
        with psycopg.connect(url or "", autocommit=True) as connection:
            for (table,) in connection.execute(_TABLES).fetchall():
                everything = f"COPY (SELECT * FROM {table}) TO STDOUT (FORMAT binary)"  # noqa: S608 - our own tables
                with connection.cursor().copy(everything) as copied:
                    found += [bytes(chunk) for chunk in copied]
    return b"".join(found)


@contextlib.contextmanager
def databases(folder: Path, *, bus: bool = False) -> Iterator[str]:
    """A pair of databases, named in a configuration in `folder`, and gone afterwards. Yields the first one's name."""
    name = "pourparler_" + secrets.token_hex(6)
    folder.mkdir(parents=True, exist_ok=True)
    for one in (name, name + "_apart"):
        administer(f"CREATE DATABASE {one}")
    config = f'database-url = "{SERVER}/{name}"\noutside-backups-url = "{SERVER}/{name}_apart"\n'
    (folder / CONFIG).write_text(config + (f'bus-url = "{BUS}"\n' if bus else ""))
    try:
        yield name
    finally:
        for one in (name, name + "_apart"):
            administer(f"DROP DATABASE IF EXISTS {one} WITH (FORCE)")
