"""What the desk and the tallies do when time has come, with or without anybody asking."""

import asyncio
import logging
from typing import Final

from pourparler_policies import limits

from .problems import Refusal
from .settings import Settings

TICK: Final = 1.0  # seconds between looks at the deadlines
_log = logging.getLogger("pourparler.service")


class Deadlines:
    """Cases that end by time. `_things` is a word for people, in the plural."""

    _settings: Settings
    _things: str
    _forgot = 0  # when old answers were last looked for

    async def _due(self, now: int) -> list[bytes]:
        """Names of those that may be due."""
        raise NotImplementedError

    async def _settle(self, name: bytes, now: int) -> None:
        """Do to one what the time demands. Raises Refusal."""
        raise NotImplementedError

    async def _forget(self, now: int) -> None:
        """Forget old answers. Raises Refusal."""
        raise NotImplementedError

    def _now(self) -> int:
        return int(self._settings.clock())

    async def run(self) -> None:
        """Until cancelled: end what is due."""
        while True:
            await asyncio.sleep(TICK - self._settings.clock() % TICK)
            try:
                await self.once()
            except Refusal:
                _log.error("%s that are due could not be ended; it is tried again", self._things)
            except Exception as error:
                _log.error("an unexpected fault at the %s: %s", self._things, type(error).__name__)

    async def once(self) -> None:
        """End all that is due, and forget old answers. Raises Refusal when the disk or the database refuses."""
        now, failed = self._now(), None
        for name in await self._due(now):
            try:
                await self._settle(name, now)
            except Exception as error:  # the others are due as well
                failed = error
        if failed is not None:
            raise failed
        if abs(now - self._forgot) >= limits.HOUR:
            await self._forget(now)
            self._forgot = now
