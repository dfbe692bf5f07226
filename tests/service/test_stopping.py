"""A service that is asked to stop stops, whatever runs in it at that moment."""

import asyncio
import contextlib
import time

from pourparler_service.app import end
from pourparler_service.postgres.engine import Links, engine
from pourparler_service.postgres.registry import Follower, SharedRegistry


async def test_who_follows_the_database_ends_when_it_is_told_together_with_news() -> None:
    links = Links(engine("postgresql://nobody@localhost/nothing"))  # never asked
    registry = SharedRegistry(links)
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
