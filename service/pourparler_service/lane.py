"""A thread of its own for one kind of file: what is asked of it is done one after the other, as it was asked.

So no two touch a file at once, and what is destroyed after a reader asked is destroyed after that reader.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

from pourparler_policies.wire import Problem

from .problems import Refusal

P = ParamSpec("P")
T = TypeVar("T")

FAULTS: Final[tuple[type[Exception], ...]] = (OSError, sqlite3.Error)
MAX_WAITING: Final = 500  # requests that wait for the disk: the next is told to come again
_log = logging.getLogger("pourparler.service")


class Lane:
    """The thread."""

    def __init__(self, name: str, faults: tuple[type[Exception], ...] = FAULTS) -> None:
        self._name, self._faults = name, faults
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._waiting = 0

    def submit(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "asyncio.Future[T]":
        """Queue a job now; the future has its result. A fault of the disk is logged by its kind, and refused."""

        def work() -> T:
            try:
                return job(*args, **kwargs)
            except self._faults as error:
                _log.error("%s failed: %s", self._name, type(error).__name__)
                raise Refusal(Problem.UNAVAILABLE) from None

        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `submit`, for a request: refused when MAX_WAITING of them wait already."""
        if self._waiting >= MAX_WAITING:
            raise Refusal(Problem.UNAVAILABLE)
        self._waiting += 1
        try:
            return await self.submit(job, *args, **kwargs)
        finally:
            self._waiting -= 1

    def later(self, job: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Queue a job whose fault need not be told to anybody: whoever gave it tries again."""
        self.submit(job, *args, **kwargs).add_done_callback(lambda done: done.exception())

    async def settled(self) -> None:
        """All that was queued before has been done."""
        await self.submit(lambda: None)

    def close(self) -> None:
        """Finish what was queued."""
        self._thread.shutdown()
