"""What a process remembers of channels that other processes change too: to be asked whether it still holds.

A wake-up says that a channel changed. It may get lost: whoever has streams open looks every second as well, and whoever
answers a request looks before it answers.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple, TypeVar

from pourparler_policies.wire import Problem

from ..problems import Refusal
from ..settings import Settings
from ..state import ChannelState, DeviceState, Frame, Registry, was_closed
from .batch import Seated, seated
from .engine import FAULTS, Links, driver, retried
from .pages import SharedPages

T = TypeVar("T")

POLL: Final = 1.0  # seconds between looks for changes whose wake-up got lost
CATCH_UP: Final = 64  # entries of one channel that are read ahead for all its streams
_ROW: Final = (
    "SELECT key, channel, absence_limit, head, handshake_head, received_at, version FROM channel"
    " WHERE channel = %s"
)
_LAST_DAY: Final = "SELECT last_day FROM device WHERE key = %s"
_HEADS: Final = "SELECT key, head, handshake_head, received_at, version FROM channel WHERE key = ANY(%s)"
_log: Final = logging.getLogger("pourparler.service")


class Row(NamedTuple):
    """A channel as the database has it."""

    key: int
    channel: bytes
    absence_limit: int
    head: int
    handshake_head: int
    received_at: int
    version: int


class News(NamedTuple):
    """What became of a channel since this process looked."""

    key: int
    head: int
    handshake_head: int
    received_at: int
    version: int
    devices: list[Seated] | None  # where they changed
    frames: list[Frame] | None  # all that live after the head that was known; None where that is too much


class SharedRegistry(Registry):
    """The channels in memory."""

    def __init__(self, links: Links, settings: Settings) -> None:
        super().__init__(None)
        self._links, self._caps, self._clock = links, settings.caps, settings.clock
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="channels")

    def get(self, channel: bytes) -> ChannelState | None:
        """The channel, if it is in memory."""
        return self._channels.get(channel)

    async def find(self, channel: bytes) -> ChannelState | None:
        """The channel as this process knows it, or as the database has it."""
        return self._channels.get(channel) or await self.fresh(channel)

    async def fresh(self, channel: bytes) -> ChannelState | None:
        """The channel as the database has it. Raises Refusal when that does not answer."""
        known = self._channels.get(channel)
        version = None if known is None else known.version
        row, devices = await self._ask(lambda: self._look(channel, version))
        state = self._channels.get(channel)
        if row is None:
            if state is not None and state is known:  # else it was made after this look
                self.forget(state)
            return None
        first = state is None
        if state is None:
            if devices is None:  # it was evicted meanwhile
                return await self.fresh(channel)
            self._evict()
            state = ChannelState(
                key=row.key,
                channel=row.channel,
                absence_limit=row.absence_limit,
                head=row.head,
                handshake_head=row.handshake_head,
                received_at=row.received_at,
                tail_after=row.head,
            )
            self._channels[channel], self._by_key[row.key] = state, state
        else:
            self._channels.move_to_end(channel)
        if devices is not None:
            self.mirror(state, devices, row.version, first=first)
        if row.head > state.head:
            state.head, state.handshake_head, state.received_at = row.head, row.handshake_head, row.received_at
            state.skip(row.head)
            state.wake()
        return state

    def mirror(self, state: ChannelState, devices: Iterable[Seated], version: int, *, first: bool = False) -> None:
        """Make what this process remembers of a channel's devices what the database has, and forget what was deleted.

        A look may come back after a later one: what it found is no news. Unless it is the `first` at this channel,
        whoever is new in it is a newcomer, and brings no burst of handshakes (`append`).
        """
        if version < state.version:
            return
        there = {one.key: one for one in devices}
        for device in list(state.by_id.values()):
            if device.key not in there:
                state.end_device(device)
        known = {device.key for device in state.by_id.values()}
        spent = 0.0 if first else self._caps.spent_by_newcomers
        for key, one in there.items():
            if key not in known:
                state.add_device(one.state(spent, self._clock()))
        if version != state.version:
            state.skip(state.head)
        state.version = version

    async def last_day(self, device: DeviceState) -> int:
        """The day of a device's last use, at any process. Raises Refusal when nothing answers."""
        found = await self._ask(lambda: driver(self._links.get()).execute(_LAST_DAY, (device.key,)).fetchone())
        return device.last_day if found is None else int(found[0])

    async def is_closed(self, channel: bytes) -> bool:
        """Whether there was a channel of this id (16 bytes) not long ago. Raises Refusal when nothing answers."""

        return await self._ask(lambda: was_closed(self._links.get(), channel))

    async def _ask(self, look: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, retried, self._links, look)
        except FAULTS as error:
            _log.error("a channel could not be read: %s", type(error).__name__)
            raise Refusal(Problem.UNAVAILABLE) from None

    def _look(self, channel: bytes, version: int | None) -> tuple[Row | None, list[Seated] | None]:
        connection = self._links.get()
        found = driver(connection).execute(_ROW, (channel,)).fetchone()
        if found is None:
            return None, None
        row = Row(*found)
        # Read after the version: what is newer than it is found again.
        return row, None if row.version == version else seated(connection, [row.key])[row.key]

    def watched(self) -> list[ChannelState]:
        """Channels that somebody waits for."""
        return [state for state in self if state.pins]

    def close(self) -> None:
        """Let the readers finish."""
        self._pool.shutdown()


class Follower:
    """Brings what other processes stored into the tails of channels that have streams here."""

    def __init__(
        self, registry: SharedRegistry, pages: SharedPages, links: Links, clock: Callable[[], float]
    ) -> None:
        self._registry, self._pages, self._links, self._clock = registry, pages, links, clock
        self._told: set[int] = set()
        self._news = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="follow")

    def tell(self, keys: Iterable[int]) -> None:
        """These channels changed, somebody says."""
        self._told.update(keys)
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time() + POLL
        while True:
            if loop.time() < due:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(due):
                        await self._news.wait()
            if loop.time() < due:
                self._news.clear()
                told, self._told = self._told, set()
                states = [state for key in told if (state := self._registry.peek(key)) is not None and state.pins]
            else:
                due = loop.time() + POLL
                states = self._registry.watched()
            if states:
                await self._follow(states)

    async def _follow(self, states: list[ChannelState]) -> None:
        known = {state.key: (state, state.head, state.version) for state in states}
        try:
            news = await asyncio.get_running_loop().run_in_executor(self._thread, self._look, known)
        except FAULTS as error:  # the next poll looks again
            _log.error("changes could not be read: %s", type(error).__name__)
            return
        there = {one.key for one in news}
        for key, (state, _, _) in known.items():
            if key not in there:
                self._registry.forget(state)
        for one in news:
            state = known[one.key][0]
            if one.devices is None and one.head <= state.head:
                continue
            if one.devices is not None:
                self._registry.mirror(state, one.devices, one.version)
            if one.head > state.head:
                if one.frames is None or state.tail_after > state.head:
                    state.skip(one.head)
                else:
                    for frame in one.frames:
                        if frame.seq > state.head:
                            state.push(frame)
                state.head, state.handshake_head, state.received_at = one.head, one.handshake_head, one.received_at
            state.wake()

    def _look(self, known: dict[int, Any]) -> list[News]:
        def work() -> list[News]:
            with self._links.transaction("ISOLATION LEVEL REPEATABLE READ READ ONLY") as connection:
                rows = driver(connection).execute(_HEADS, (list(known),)).fetchall()
                turned = seated(connection, [row[0] for row in rows if row[4] != known[row[0]][2]])
                news = []
                for row in rows:
                    state, head, _ = known[row[0]]
                    frames: list[Frame] | None = []
                    if row[1] > head:
                        frames = self._pages.between(connection, state, head, self._clock(), CATCH_UP)
                    news.append(News(row[0], row[1], row[2], row[3], row[4], turned.get(row[0]), frames))
                return news

        return retried(self._links, work)

    def close(self) -> None:
        """Let the reader finish."""
        self._thread.shutdown()
