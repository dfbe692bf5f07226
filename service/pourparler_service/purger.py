"""Deletes what expired, on time: it looks every second, so it is at most a second late.

What expired is never served even when this is late: every reader checks the time itself. After deleting, the
write-ahead log is emptied, so that the bytes are in no file. Key halves go first: with them, everything that was
stored under them ends on all devices.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from pourparler_policies.limits import HOUR

from . import acts
from .outside import Outside
from .problems import Refusal
from .settings import Settings
from .state import Registry
from .writer import Writer

TICK: Final = 1.0  # seconds: the grain of an entry's expiry, and how late a deletion may be
SWEEP: Final = HOUR  # seconds between looks for idle tokens: their limit has a grain of a day

_log = logging.getLogger("pourparler.service")


class Purger:
    """A task beside the service."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        writer: Writer,
        outside: Outside,
        done: Callable[[], None] = lambda: None,
    ) -> None:
        self._done = done  # told after each time that everything which had expired is gone
        self._clock, self._registry, self._writer, self._outside = settings.clock, registry, writer, outside
        self._swept = float("-inf")

    async def once(self) -> None:
        """Delete what is due now; attachments' files are wiped soon after. Raises Refusal if the disk refuses, and
        DataError if the clock cannot be right.
        """
        await self._outside.heed()
        now = self._clock()
        try:
            await self._outside.purge(now)
        finally:
            await self._purge_database(now)
        self._done()

    async def _purge_database(self, now: float) -> None:
        if abs(now - self._swept) >= SWEEP:
            await self._writer.submit(acts.sweep(self._registry), after_scrub=True)
            self._swept = now
        for channel in self._registry:
            channel.drop_expired(now)
        while await self._writer.submit(acts.purge(), after_scrub=True):
            pass

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.once()
            except Refusal:
                _log.error("purging failed; it is tried again")
            await asyncio.sleep(TICK - self._clock() % TICK)
