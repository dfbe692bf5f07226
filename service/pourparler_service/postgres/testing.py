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

from ..testing import CONFIG

SERVER: Final = os.environ.get("POURPARLER_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432")
BUS: Final = os.environ.get("POURPARLER_TEST_NATS", "nats://127.0.0.1:4222")


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
