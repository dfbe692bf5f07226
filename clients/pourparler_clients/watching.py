"""Watching a channel: a stream that is opened again when it breaks, and what the device owes as time goes by."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from pourparler_policies.wire import Problem

from .errors import PourparlerError, Refused, Unreachable
from .happenings import Happening
from .store import State

if TYPE_CHECKING:
    from .channel import Channel
    from .dues import Dues
    from .pulling import Pulling

# Refusals that pass by themselves: a watching device comes back.
_PASSING: Final = (Problem.BUDGET, Problem.UNAVAILABLE)
RECONNECT: Final = (0.2, 30.0)  # seconds: first and longest pause before a broken stream is opened again
TEND: Final = 5.0  # seconds between looks at what a watching device owes: votes and lapsed runs come due by time
JITTER: Final = 0.3  # seconds within which one of several watching devices is first to do what all of them owe


class Watching:
    """Watches one channel; takes its turn for each entry."""

    def __init__(self, channel: Channel, pulling: Pulling, dues: Dues, news: asyncio.Queue[Happening]) -> None:
        self._channel = channel
        self._log = channel.log
        self._pulling = pulling
        self._dues = dues
        self._news = news
        self._owes = asyncio.Event()
        self.running = False
        self.at_head = False  # a stream is open and keeps this device there: no page is asked for

    async def happenings(self) -> AsyncIterator[Happening]:
        """What happens, as it happens; reconnects by itself. Ends when the channel does."""
        pause = RECONNECT[0]
        self.running = True
        pump = asyncio.create_task(self._pump())
        attending = asyncio.create_task(self._channel.ideas.attend(TEND))
        try:
            while True:
                get = asyncio.create_task(self._news.get())
                done, _ = await asyncio.wait({get, pump}, return_when=asyncio.FIRST_COMPLETED)
                if get in done:
                    pause = RECONNECT[0]
                    yield get.result()
                else:
                    get.cancel()
                    while not self._news.empty():
                        yield self._news.get_nowait()
                    error = pump.exception()
                    passing = isinstance(error, Refused) and error.problem in _PASSING
                    if error is not None and not isinstance(error, Unreachable) and not passing:
                        raise error
                    if not self._pulling.reads:
                        return
                    await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 -- jitter, not a secret
                    pause = min(pause * 2, RECONNECT[1])
                    pump = asyncio.create_task(self._pump())
        finally:
            self.running = False
            for task in (attending, pump):
                task.cancel()
                with suppress(asyncio.CancelledError, Unreachable, Refused):
                    await task

    async def _pump(self) -> None:
        async with self._channel.turn:
            await self._channel.catch_up()
        if not self._pulling.reads:
            return
        tending = asyncio.create_task(self._tend())
        try:
            async for entry in self._channel.api.stream(self._log.row.id, self._log.row.cursor):
                if entry is None:
                    self.at_head = True
                    self._owes.set()
                    continue
                async with self._channel.turn:
                    await self._pulling.fold([entry])
                    await self._pulling.finish_if_ended()
                    if self._log.row.state is State.HALTED:
                        await self._dues.complain()
                    if not self._pulling.reads:
                        return
                self._owes.set()
        finally:
            self.at_head = False
            tending.cancel()
            with suppress(asyncio.CancelledError, PourparlerError):
                await tending

    async def _tend(self) -> None:
        """While the stream is open: what the device owes, soon after each entry, and from time to time."""
        while self._pulling.reads:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._channel.ideas.pause(TEND)):
                    await self._owes.wait()
                await asyncio.sleep(random.uniform(0, JITTER))  # noqa: S311 -- jitter, not a secret
            self._owes.clear()
            if self.at_head:
                async with self._channel.turn:
                    with suppress(Unreachable, Refused):  # the stream will break too, or the budget fills again
                        await self._channel.catch_up()
