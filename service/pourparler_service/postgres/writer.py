"""Runs acts against the shared database, in batches: what `writer.Writer` is for SQLite, with the same rules.

A batch is a run of appends, whose channels are locked together, or one other act by itself. It runs on a thread with a
connection of its own; what it decided is shown on the event loop once the commit has returned. A batch that another
process was in the way of, or whose connection broke, even while it was committing, is done again: every act knows its
own repetition.

Some batches of appends are under way at a time, in different channels, so that one need not wait for the disk behind
another; what comes for a channel meanwhile waits for it. Other acts go one after the other, beside them: what keeps all
of these apart is what keeps processes apart, the rows' locks.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from pourparler_policies.wire import Problem

from ..append import Append
from ..breakage import Breakage
from ..problems import Refusal
from ..writer import MAX_BATCH, Batch, refuse
from .batch import SharedBatch
from .engine import Links, driver, retried
from .partitions import Bodies
from .registry import SharedRegistry

T = TypeVar("T")

LANES: Final = 2  # batches of appends under way at a time ...
FEW: Final = 8  # ... while there are fewer appends in them: with more, one large batch costs less than two

_Appending = tuple[Append, "asyncio.Future[Any]"]
_Job = tuple[Callable[[Batch], Any], "asyncio.Future[Any]"]
_log: Final = logging.getLogger("pourparler.service")


class SharedWriter:
    """One for each process. `submit` may be called from the event loop only."""

    def __init__(
        self,
        links: Links,
        outside: Any,
        registry: SharedRegistry,
        clock: Callable[[], float],
        tell: Callable[[list[int]], None],
    ) -> None:
        """`tell` is told the keys of channels that changed, so that other processes look."""
        self._links, self._outside, self._registry = links, outside, registry
        self._clock, self._tell = clock, tell
        self._known: set[int] = set()  # partitions
        self._appends: deque[_Appending] = deque()
        self._others: deque[_Job] = deque()
        # Of each lane in which nothing is under way: numbers for bodies.
        self._free: list[list[int]] = [[] for _ in range(LANES)]
        self._free_for_others: list[list[int]] = [[]]
        self._talking: set[int] = set()  # keys of channels that a batch under way appends to
        self._appending = 0  # appends in these batches
        self._due = False  # `_next` will be called
        self._closed = False
        self.breakage = Breakage()
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._idle.set()
        self._threads = ThreadPoolExecutor(max_workers=LANES + 1, thread_name_prefix="commit")
        self.changed = False  # since somebody last asked

    def submit(self, act: Callable[[Batch], T], *, after_scrub: bool = False) -> "asyncio.Future[T]":
        """Run `act` soon. The future is done when its effect is durable, or refused. `after_scrub` changes nothing."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self._closed:
            future.set_exception(Refusal(Problem.UNAVAILABLE))
            return future
        if isinstance(act, Append):
            self._appends.append((act, future))
        else:
            self._others.append((act, future))
        self._idle.clear()
        if not self._due:
            self._due = True
            self._loop.call_soon(self._next)
        return future

    async def close(self) -> None:
        """Finish what was submitted, then stop."""
        self._closed = True
        await self._idle.wait()
        self._threads.shutdown()

    def partitions(self, left: set[int]) -> None:
        """These partitions are there; others may have been dropped. On the event loop."""
        self._known &= left

    def _next(self) -> None:
        self._due = False
        if self._others and self._free_for_others:
            self._begin([self._others.popleft()], self._free_for_others, set())
        while self._free and self._appending < FEW and (jobs := self._gather()):
            self._appending += len(jobs)
            self._begin(jobs, self._free, {act.foreseen()[0] for act, _ in jobs})
        if len(self._free) + len(self._free_for_others) == LANES + 1:
            self._idle.set()

    def _gather(self) -> list[_Appending]:
        """Appends to channels in which none is under way. The others stay, in their order."""
        jobs: list[_Appending] = []
        waiting: list[_Appending] = []
        while self._appends and len(jobs) < MAX_BATCH:
            job = self._appends.popleft()
            (waiting if job[0].foreseen()[0] in self._talking else jobs).append(job)
        self._appends.extendleft(reversed(waiting))
        return jobs

    def _begin(self, jobs: Sequence[_Job], lane: list[list[int]], channels: set[int]) -> None:
        numbers = lane.pop()
        self._talking |= channels

        def ended(done: "asyncio.Future[tuple[SharedBatch, list[Any]]]") -> None:
            lane.append(numbers)
            self._talking -= channels
            self._appending -= len(jobs) if channels else 0
            self._performed(jobs, done)

        acts = [act for act, _ in jobs]
        self._loop.run_in_executor(self._threads, self._perform, acts, numbers).add_done_callback(ended)

    def _performed(self, jobs: Sequence[_Job], done: "asyncio.Future[tuple[SharedBatch, list[Any]]]") -> None:
        error = done.exception()
        if error is None:
            batch, results = done.result()
            if batch.dirty:
                self.changed = True
                try:
                    batch.publish()
                except Exception as found:
                    self._give_up(found)
                    results = [Refusal(Problem.UNAVAILABLE)] * len(jobs)
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

    def _give_up(self, error: Exception) -> None:
        self._closed = True
        refuse(future for _, future in (*self._appends, *self._others))
        self._appends.clear()
        self._others.clear()
        self.breakage.found(error)

    # --- on the thread ----------------------------------------------------------------------------------------

    def _perform(self, acts: list[Callable[[Batch], Any]], numbers: list[int]) -> tuple[SharedBatch, list[Any]]:
        return retried(self._links, lambda: self._once(acts, numbers))

    def _once(self, acts: list[Callable[[Batch], Any]], numbers: list[int]) -> tuple[SharedBatch, list[Any]]:
        connection = self._links.get()
        bodies = Bodies(self._links, driver(connection), self._known, numbers)
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
