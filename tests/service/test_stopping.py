"""A service that is asked to stop stops, whatever runs in it at that moment."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pourparler_service.app import end
from pourparler_service.database import Database
from pourparler_service.outside import Outside
from pourparler_service.postgres.engine import Links, Shared, engine
from pourparler_service.postgres.registry import Follower, SharedRegistry
from pourparler_service.postgres.testing import SERVER, databases
from pourparler_service.postgres.writer import SharedWriter
from pourparler_service.problems import Refusal
from pourparler_service.settings import Settings
from pourparler_service.writer import Batch, Writer


async def test_who_follows_the_database_ends_when_it_is_told_together_with_news() -> None:
    links = Links(engine("postgresql://nobody@localhost/nothing"))  # never asked
    registry = SharedRegistry(links, Settings())
    follower = Follower(registry, None, links, time.time)  # type: ignore[arg-type]  # no page is read
    for _ in range(20):
        task = asyncio.create_task(follower.run())
        await asyncio.sleep(0.01)
        follower.tell([1])
        await asyncio.sleep(0)  # the news has come, and the task has not gone on
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=1)
        assert done, "the cancellation was forgotten"
    follower.close()
    registry.close()


async def test_a_task_that_forgets_that_it_was_cancelled_is_cancelled_again() -> None:
    async def forgetful() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    tasks = [asyncio.create_task(forgetful()) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.wait_for(end(tasks), 10)
    assert all(task.cancelled() for task in tasks)


@contextlib.contextmanager
def embedded(data: Path) -> Iterator[Callable[[], Any]]:
    with Database(data) as database, contextlib.closing(Outside(database)) as outside:
        yield lambda: Writer(database, outside, time.time)


@contextlib.contextmanager
def shared(data: Path) -> Iterator[Callable[[], Any]]:
    with databases(data) as name, contextlib.closing(Shared(f"{SERVER}/{name}", restored=False)) as database:
        database.began()
        registry = SharedRegistry(database.links, Settings())
        yield lambda: SharedWriter(database.links, None, registry, time.time, lambda _keys: None)
        registry.close()


@pytest.mark.parametrize("opened", [embedded, shared])
async def test_a_process_that_cannot_show_what_it_stored_answers_everybody_and_ends(
    postgres: None, opened: Callable[[Path], Any], tmp_path: Path
) -> None:
    def act(batch: Batch) -> None:
        batch.changed()
        batch.effects.append(lambda: 1 // 0)

    async def refused(answer: Awaitable[object]) -> None:
        with pytest.raises(Refusal):
            await asyncio.wait_for(answer, 10)

    with opened(tmp_path) as made:
        writer = made()
        watching = asyncio.create_task(writer.breakage.watch())
        answers = [writer.submit(act), writer.submit(lambda _batch: None)]
        await refused(answers[0])
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(watching, 10)
        await asyncio.gather(*answers, return_exceptions=True)
        await refused(writer.submit(act))
        await asyncio.wait_for(writer.close(), 10)
