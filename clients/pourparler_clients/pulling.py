"""What comes from the service into the log: pages of entries, whether they are the whole truth, and the end of it all.

Every method runs under the channel's turn. A contradiction halts or alarms (`log.py`); nothing is erased on the
service's word.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from pourparler_policies import wire

from .api import Api
from .errors import Refused, Unreachable
from .fetching import CONTRADICTION, Fetcher
from .happenings import Happening
from .log import Log
from .store import State
from .troubles import OLD_COPY, RESTORED, SET_BACK

_GOODBYE: Final = 5.0  # seconds that a device waits for the service when a channel has ended


class Pulling:
    """Folds one channel's log as the service has it."""

    def __init__(self, log: Log, api: Api, halves: Fetcher, tell: Callable[[list[Happening]], None]) -> None:
        self._log = log
        self._api = api
        self._halves = halves
        self._tell = tell
        self._checked = False
        self.ended = False  # and the vault has forgotten the channel
        self.gone: list[bytes] = []  # devices that the log has removed, and the service may not know yet

    async def fold(self, entries: list[wire.Entry]) -> None:
        """Folds these entries, and tells what is new."""
        self._tell(await self._halves.with_halves(lambda: self._log.fold(entries)))

    async def pull(self) -> None:
        """Folds the log to its head."""
        changed = 0
        if not self._checked and self.reads:
            await self._check_service()
        while self.reads:
            row = self._log.row  # a failed step would have read it anew
            page = await self._api.entries(self._log.row.id, row.cursor)
            if page.incarnation != row.incarnation:
                changed += 1
                if changed > 1:
                    raise Refused(CONTRADICTION)
                await self._check_service()
            elif page.head < row.cursor:
                self.stop(SET_BACK)
            else:
                before = row.cursor
                await self.fold(page.entries)
                if page.entries and self._log.row.cursor == before and self.reads:
                    raise Refused(CONTRADICTION)
                if not page.entries:
                    # Entries at the end may have ended before this device saw them.
                    self._log.skip_to(page.head)
                    break
        await self.finish_if_ended()

    @property
    def reads(self) -> bool:
        """Whether this device still folds what the service shows."""
        return self._log.row.state in (State.OPEN, State.ALARM)

    async def _check_service(self) -> None:
        """Once a connection: is this vault the newest copy, and has the service kept what it accepted?"""
        seen = await self._api.channel(self._log.row.id)
        row = self._log.row
        used = {row.count - 1, row.count} if self._log.store.outbox.outgoing() else {row.count}
        if seen.count not in used:
            return self.stop(OLD_COPY if seen.count > row.count else SET_BACK)
        if seen.head < row.cursor:
            return self.stop(SET_BACK)
        if seen.incarnation != row.incarnation:
            await self._halves.again()
            with self._log.step():
                self._log.row.incarnation = seen.incarnation
            self.alarm(RESTORED)
        self._checked = True
        return None

    def stop(self, why: str) -> None:
        """Halts the channel on this device, and says why."""
        with self._log.step():
            happened = self._log.halt(why)
        self._tell(happened)

    def alarm(self, why: str) -> None:
        """Stops sending, and says why."""
        with self._log.step():
            happened = self._log.alarm(why)
        self._tell(happened)

    async def finish_if_ended(self) -> None:
        """After an ending, this device's or another's: the vault forgets the channel, then the service its token."""
        while self.gone and self.reads:
            with suppress(Refused):  # it has ended its token itself, or the voices of the others were enough
                await self._api.ask_revocation(self._log.row.id, self.gone[-1])
            self.gone.pop()
        # A halt is no ending: nothing is erased on the service's word.
        if self._log.row.state not in (State.REMOVED, State.CLOSED) or self.ended:
            return
        # Erased first, announced second: whoever takes the device now finds nothing, whatever the line does. Of a
        # channel that all have ended no more than its place is left here by now; while the line is there the service is
        # told before that goes too, so that a crash between leaves nothing at the service for weeks.
        self.ended = True
        if self._log.row.state is State.CLOSED:
            with suppress(Refused, Unreachable, TimeoutError):
                async with asyncio.timeout(_GOODBYE):
                    await self._api.end_device(self._log.row.id)
        with self._log.vault.transaction():
            self._log.store.delete()
        self._log.vault.empty_journal()
        if self._log.row.state is State.CLOSED:
            return
        with suppress(Refused, Unreachable):  # else the token ends when it has idled, or by the others' voices
            await self._api.end_device(self._log.row.id)
