"""Runs acts against the shared database, in batches: what `writer.Writer` is for SQLite, with the same rules.

A batch is a run of appends, whose channels are locked together, or one other act by itself. All of it runs on a thread
of its own; what it decided is shown on the event loop once the commit has returned. A batch that another process was in
the way of, or whose connection broke, even while it was committing, is done again: every act knows its own repetition.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from pourparler_policies.wire import Problem

from ..append import Append
from ..problems import Refusal
from ..state import Registry
from ..writer import MAX_BATCH, Batch
from .batch import SharedBatch
from .engine import Links, driver, retried
from .partitions import Bodies

T = TypeVar("T")

_Job = tuple[Callable[[Batch], Any], "asyncio.Future[Any]"]
_log: Final = logging.getLogger("pourparler.service")


class SharedWriter:
    """One for each process. `submit` may be called from the event loop only."""

    def __init__(
        self,
        links: Links,
        outside: Any,
        registry: Registry,
        clock: Callable[[], float],
        tell: Callable[[list[int]], None],
    ) -> None:
        """`tell` is told the keys of channels that changed, so that other processes look."""
        self._links, self._outside, self._registry = links, outside, registry
        self._clock, self._tell = clock, tell
        self._known: set[int] = set()  # partitions
        self._numbers: list[int] = []
        self._queue: deque[_Job] = deque()
        self._busy = False
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._idle.set()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="commit")
        self.changed = False  # since somebody last asked

    def submit(self, act: Callable[[Batch], T], *, after_scrub: bool = False) -> "asyncio.Future[T]":
        """Run `act` soon. The future is done when its effect is durable, or refused. `after_scrub` changes nothing."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self._closed:
            future.set_exception(Refusal(Problem.UNAVAILABLE))
            return future
        self._queue.append((act, future))
        if not self._busy:
            self._busy = True
            self._idle.clear()
            self._loop.call_soon(self._next)
        return future

    async def close(self) -> None:
        """Finish what was submitted, then stop."""
        self._closed = True
        await self._idle.wait()
        self._thread.shutdown()

    def partitions(self, left: set[int]) -> None:
        """These partitions are there; others may have been dropped. On the event loop."""
        self._known &= left

    def _next(self) -> None:
        jobs: list[_Job] = []
        while self._queue and len(jobs) < MAX_BATCH:
            if jobs and not (isinstance(self._queue[0][0], Append) and isinstance(jobs[-1][0], Append)):
                break
            jobs.append(self._queue.popleft())
        if not jobs:
            self._busy = False
            self._idle.set()
            return
        running = self._loop.run_in_executor(self._thread, self._perform, [act for act, _ in jobs])
        running.add_done_callback(lambda done: self._performed(jobs, done))

    def _performed(self, jobs: list[_Job], done: "asyncio.Future[tuple[SharedBatch, list[Any]]]") -> None:
        error = done.exception()
        if error is None:
            batch, results = done.result()
            if batch.dirty:
                self.changed = True
                batch.publish()
                self._tell(sorted({*(c.state.key for c in batch.channels.values() if c.frames), *batch.turned}))
        else:
            _log.error("a batch was not stored: %s", type(error).__name__)
            results = [Refusal(Problem.UNAVAILABLE)] * len(jobs)
        for (_, future), result in zip(jobs, results, strict=True):
            if future.done():  # the client went away
                continue
            if isinstance(result, Refusal):
                future.set_exception(result)
            else:
                future.set_result(result)
        self._next()

    # --- on the thread ----------------------------------------------------------------------------------------

    def _perform(self, acts: list[Callable[[Batch], Any]]) -> tuple[SharedBatch, list[Any]]:
        return retried(self._links, lambda: self._once(acts))

    def _once(self, acts: list[Callable[[Batch], Any]]) -> tuple[SharedBatch, list[Any]]:
        connection = self._links.get()
        bodies = Bodies(self._links, driver(connection), self._known, self._numbers)
        batch = SharedBatch(connection, bodies, self._outside, self._registry, self._clock())
        try:
            batch.begin([act.foreseen() for act in acts if isinstance(act, Append)])
            results = [_result(act, batch) for act in acts]
            batch.seal()
        except BaseException as error:
            self._known.clear()  # a partition may have been dropped
            self._links.recover(error)
            raise
        return batch, results


def _result(act: Callable[[Batch], Any], batch: Batch) -> Any:
    try:
        return act(batch)
    except Refusal as refusal:
        return refusal
