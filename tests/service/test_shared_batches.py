"""The transactions of the service over PostgreSQL: whole or not at all, and in few turns."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import Connection

from pourparler_policies.limits import DAY
from pourparler_service.postgres.batch import SharedBatch
from pourparler_service.postgres.engine import Links, Shared, driver
from pourparler_service.postgres.pages import SharedPages
from pourparler_service.postgres.partitions import Bodies, partition_of
from pourparler_service.postgres.registry import SharedRegistry
from pourparler_service.postgres.testing import SERVER, databases
from pourparler_service.settings import Settings
from pourparler_service.state import ChannelState
from pourparler_service.testing import found_channel, running

UNTIL = 1_800_000_000


@pytest.fixture
def links(postgres: None, tmp_path: Path) -> Iterator[Links]:
    with databases(tmp_path) as name, closing(Shared(f"{SERVER}/{name}", restored=False)) as shared:
        shared.began()
        yield shared.links


def test_what_is_taken_back_leaves_no_bytes_though_it_made_their_partition(links: Links) -> None:
    known: set[int] = set()
    with pytest.raises(ZeroDivisionError), links.transaction() as connection:
        bodies = Bodies(links, driver(connection), known, [])
        bodies.place(b"said", UNTIL, DAY)
        bodies.flush()
        raise ZeroDivisionError
    raw = driver(links.get())
    assert raw.execute("SELECT count(*) FROM body").fetchone() == (0,)
    assert raw.execute("SELECT to_regclass(%s)", (f"body_{partition_of(UNTIL, DAY)}",)).fetchone() != (None,)


def test_a_batch_waits_for_the_database_twice(links: Links, tmp_path: Path) -> None:
    connection = links.get()
    raw = driver(connection)
    with (tmp_path / "trace").open("wb") as file:
        raw.pgconn.trace(file.fileno())
        batch = SharedBatch(
            connection, Bodies(links, raw, set(), []), None, SharedRegistry(links, Settings()), UNTIL
        )
        batch.begin([(1, 1, bytes(16)), (2, 2, bytes(16))])
        batch.seal()
        raw.pgconn.untrace()
    turns = (tmp_path / "trace").read_text().count("ReadyForQuery")
    assert turns == 2


async def test_streams_that_miss_the_same_entries_read_them_once(
    links: Links, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fresh(_channel: bytes) -> None: ...

    began: list[int] = []

    def transaction(mode: str = "") -> AbstractContextManager[Connection]:
        began.append(1)
        return Links.transaction(links, mode)

    monkeypatch.setattr(links, "transaction", transaction)
    keys: Any = SimpleNamespace(fetch=lambda ends: None)  # of no entry
    pages = SharedPages(links, keys, fresh)
    channel = ChannelState(1, bytes(16), 0, 0, 0, 0, tail_after=9)
    same = [pages.read(channel, 3, UNTIL, 10) for _ in range(30)]
    other = pages.read(channel, 4, UNTIL, 10)
    gone = asyncio.ensure_future(pages.read(channel, 5, UNTIL, 10))
    await asyncio.sleep(0)
    gone.cancel()  # who goes away takes the reading from nobody
    found = await asyncio.gather(*same, other, pages.read(channel, 5, UNTIL, 10))
    assert found == [([], 3)] * 30 + [([], 4), ([], 5)]
    assert len(began) == 3
    await pages.read(channel, 3, UNTIL, 10)
    assert len(began) == 4
    pages.close()


def test_who_waits_for_one_channel_holds_up_no_other_and_what_waits_keeps_its_order(
    postgres: None, tmp_path: Path
) -> None:
    with (
        databases(tmp_path) as name,
        running(tmp_path) as server,
        httpx.Client(base_url=server.url, timeout=30) as client,
        psycopg.connect(f"{SERVER}/{name}") as other,
        ThreadPoolExecutor(2) as pool,
    ):
        (held,), (free,) = found_channel(client, tmp_path), found_channel(client, tmp_path)
        for device in (held, free):  # the storage key and the partition are there
            device.send(client).raise_for_status()
        other.execute("SELECT FROM channel WHERE channel = %s FOR UPDATE", (held.channel,))
        asked = [held.append(count=held.count + further) for further in (1, 2)]
        waiting = []
        for one in asked:
            waiting.append(pool.submit(held.send, client, one))
            time.sleep(0.3)  # so that the second comes after the first
        for _ in range(3):
            free.send(client).raise_for_status()
        assert not any(one.done() for one in waiting)
        other.rollback()
        seqs = [one.result().raise_for_status().json()["seq"] for one in waiting]
        assert seqs == [2, 3]
