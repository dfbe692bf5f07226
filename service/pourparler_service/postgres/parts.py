"""The parts of the service over PostgreSQL, put together as `app` asks for them."""

import asyncio
import contextlib
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from sqlalchemy import Connection, select

from pourparler_policies.limits import HOUR

from .. import acts
from ..board import Board
from ..database import DataError
from ..lane import Lane
from ..problems import Refusal
from ..settings import Settings
from ..tables import CHANNEL, DEVICE
from .attachments import SharedAttachments
from .bus import Nats, Notices
from .cases import SharedCases, SharedDesk
from .engine import FAULTS, Links, Shared, told
from .halves import Apart, SharedHalves, SharedKeys, owners
from .pages import SharedPages
from .partitions import drop_over
from .registry import Follower, SharedRegistry
from .tallies import SharedTallies
from .writer import SharedWriter

TICK: Final = 1.0  # seconds between looks at whether the database is still the one that it was
PATIENCE: Final = 10.0  # seconds without an answer after which a proxy should choose another process
DROP: Final = 30  # of them until partitions that are over are looked for
# Seconds between looks for halves whose token ended while the process that ended it could not destroy them.
SWEEP: Final = HOUR
_log: Final = logging.getLogger("pourparler.service")


class SharedOutside:
    """Key halves, storage keys and attachments."""

    def __init__(self, apart: Apart, links: Links, settings: Settings) -> None:
        self._apart, self._settings = apart, settings
        self.halves = SharedHalves(apart)
        self.keys = SharedKeys(apart, self.halves)
        self.attachments = SharedAttachments(links, self.halves, self.keys)

    async def settled(self) -> None:
        """What was to be destroyed is."""
        await self.halves.settled()

    async def heed(self) -> None:
        """Compare clocks before anything is destroyed by this one. Raises DataError."""
        if self._settings.skew is not None:
            with contextlib.suppress(Refusal):  # a database that does not answer says nothing
                await self.halves.run(self._apart.compare, self._settings.clock, self._settings.skew)

    async def purge(self, now: float) -> None:
        """Destroy what is due. Raises Refusal."""
        try:
            await self.halves.purge(now)
        finally:
            await self.keys.purge(now)

    def close(self) -> None:
        """Finish."""
        self.halves.close()


class SharedBoard(Board):
    """Reads the board."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self._lane = Lane("the board", FAULTS)

    @property
    def _reader(self) -> Connection:
        return self._links.get()

    def close(self) -> None:
        """Let the reader finish."""
        self._lane.close()


class SharedParts:
    """Everything, over one shared database."""

    def __init__(self, settings: Settings) -> None:
        """Connect, and find out whether the database went back in time. Raises DataError."""
        if settings.database_url is None or settings.outside_url is None:
            raise DataError("PostgreSQL needs two databases: one of them outside backups.")
        self.settings = settings
        self.database = Shared(settings.database_url, restored=settings.restored)
        try:
            self.apart = Apart(settings.outside_url)
            self._begin()
        except FAULTS as error:
            self.database.close()
            raise DataError(told(error)) from None
        except BaseException:
            self.database.close()
            raise
        links = self.database.links
        self.incarnation, self.restored = self.database.incarnation, self.database.restored
        self.outside = SharedOutside(self.apart, links, settings)
        self.registry = SharedRegistry(links, settings)
        self.pages = SharedPages(links, self.outside.keys, self.registry.fresh)
        self.writer = SharedWriter(links, self.outside, self.registry, settings.clock, self._changed)
        self.follower = Follower(self.registry, self.pages, links, settings.clock)
        self.bus: Nats | Notices
        if settings.bus_url:
            self.bus = Nats(settings.bus_url, self.apart.id, self.follower.tell)
        else:
            self.bus = Notices(self.database.engine, self.follower.tell)
        self.desk = SharedDesk(settings, SharedCases(self.apart.links), self.writer)
        self.board = SharedBoard(links)
        self.tallies = SharedTallies(settings, SharedCases(self.apart.links, "tallying", "tallied"))
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="partitions")
        self._answered = time.monotonic()
        self._telling: set[asyncio.Future[None]] = set()
        self._swept = settings.clock()  # when halves of ended tokens were last looked for

    def _begin(self) -> None:
        if self.settings.skew is not None:
            self.apart.compare(self.settings.clock, self.settings.skew)
        self.apart.note(self.database.begin(self.apart.id, self.apart.seen()))
        self.apart.destroy_strangers(self._owners)
        self.database.began()

    def _owners(self) -> list[bytes]:
        living = select(CHANNEL.c.channel, DEVICE.c.token_hash)
        living = living.join(DEVICE, DEVICE.c.channel_key == CHANNEL.c.key)
        return owners(self.database.links.get().execute(living))

    def _changed(self, keys: list[int]) -> None:
        if keys:
            telling = asyncio.ensure_future(self.bus.tell(keys))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)

    @property
    def connection(self) -> Connection:
        """Of this thread."""
        return self.database.links.get()

    def answers(self) -> bool:
        """Whether both databases answered lately."""
        return time.monotonic() - self._answered < PATIENCE

    def background(self) -> list[Any]:
        """What runs beside the service."""
        return [self.follower.run(), self.bus.run(), self._watch()]

    async def _watch(self) -> None:
        """Count changes here and outside backups, and drop partitions that are over. Raises DataError: see `check`."""
        loop, turn = asyncio.get_running_loop(), 0
        while True:
            try:
                changed, self.writer.changed = self.writer.changed, False
                await loop.run_in_executor(self._thread, self._count, changed)
                if turn % DROP == 0:
                    now = self.settings.clock()
                    left = await loop.run_in_executor(self._thread, drop_over, self.database.links, now)
                    self.writer.partitions(left)
            except FAULTS as error:
                self.writer.changed = True
                _log.error("the database does not answer: %s", type(error).__name__)
            turn += 1
            await asyncio.sleep(TICK)

    def _count(self, changed: bool) -> None:
        self.database.check(self.apart.seen())
        self._answered = time.monotonic()
        if changed:
            self.apart.note(self.database.count())
        now = self.settings.clock()
        if abs(now - self._swept) >= SWEEP:
            self.apart.destroy_strangers(self._owners)
            self._swept = now

    async def erase_lost(self) -> None:
        """Delete what a restore brought back and nobody can open."""
        while self.restored and await self.writer.submit(acts.erase_lost()):
            pass

    async def close(self) -> None:
        """Finish, and let go."""
        await self.writer.close()
        await asyncio.gather(*self._telling, return_exceptions=True)
        await self.bus.close()
        self.desk.close()
        self.tallies.close()
        self.board.close()
        self.follower.close()
        self.registry.close()
        self.pages.close()
        self.outside.close()
        self._thread.shutdown()
        self.apart.close()
        self.database.close()
