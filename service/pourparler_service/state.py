"""What the process knows of a channel while somebody uses it: a copy of committed rows, and the newest entries.

The copy changes only after the commit that it mirrors (`writer` calls `publish`), so nobody ever reads what a
crash could take back. It may be thrown away at any time between two commits.
"""

import asyncio
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from sqlalchemy import Connection, select

from pourparler_policies.limits import DAY

from .tables import CHANNEL, CLOSED, DEVICE, closed_name

TAIL_ENTRIES: Final = 256  # newest entries kept encoded: more than a page of what a live reader can be behind
TAIL_BYTES: Final = 1024 * 1024  # bytes of them a channel
# Pages of a channel that are read from the database at a time: who asks for many waits, not the others.
READS: Final = 2
CHANNELS_KEPT: Final = 20_000  # channels in memory; each costs a few kilobytes


class Receipt(NamedTuple):
    """What an append is answered."""

    seq: int
    received_at: int
    expires_at: int


class Frame(NamedTuple):
    """One entry, encoded once for all its readers."""

    seq: int
    expires_at: int
    json: bytes


@dataclass(slots=True, eq=False)
class DeviceState:
    """A living token."""

    key: int
    device: bytes
    token_hash: bytes
    first_seq: int
    count: int
    last_day: int
    last_mark: bytes | None
    last_receipt: bytes | None  # masked, see append
    ended: bool = False
    handshakes: float = 0.0  # spent of the burst, refills with time
    handshakes_at: float = 0.0  # the process's clock, seconds
    requests: float = 0.0  # spent of the burst
    requests_at: float = 0.0
    end_stream: Callable[[], None] | None = None

    def idle_since_too_long(self, now: float, absence_limit: int) -> bool:
        """Only the day of the last use is known, so a token lives up to a day longer than the limit."""
        return (self.last_day + 1) * DAY + absence_limit < now


@dataclass(slots=True, eq=False)
class ChannelState:
    """A channel's committed head and living devices, its tail, and who waits for more."""

    key: int
    channel: bytes
    absence_limit: int
    head: int
    handshake_head: int
    received_at: int
    by_token: dict[bytes, DeviceState] = field(default_factory=dict)
    by_id: dict[bytes, DeviceState] = field(default_factory=dict)
    erased: bool = False
    version: int = 0  # of its devices and its past, where other processes may change them
    pins: int = 0  # streams and acts under way: while there are any, this object is the channel
    tail: deque[Frame] = field(default_factory=deque)
    tail_after: int = 0  # every living entry with a greater seq is in the tail
    tail_bytes: int = 0
    reading: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(READS))
    _news: asyncio.Future[None] | None = None

    def add_device(self, device: DeviceState) -> None:
        """Mirror a stored row, unless it is mirrored already: a stream may hang on what is there."""
        if device.token_hash in self.by_token:
            return
        self.by_token[device.token_hash] = device
        self.by_id[device.device] = device

    def end_device(self, device: DeviceState) -> None:
        """Mirror a deleted row, and end its stream."""
        device.ended = True
        self.by_token.pop(device.token_hash, None)
        self.by_id.pop(device.device, None)
        if device.end_stream:
            device.end_stream()

    def push(self, frame: Frame) -> None:
        """Add the newest entry to the tail."""
        self.tail.append(frame)
        self.tail_bytes += len(frame.json)
        while len(self.tail) > TAIL_ENTRIES or (self.tail_bytes > TAIL_BYTES and len(self.tail) > 1):
            dropped = self.tail.popleft()
            self.tail_bytes -= len(dropped.json)
            self.tail_after = dropped.seq

    def skip(self, head: int) -> None:
        """Forget the tail: what came up to `head` is read from the database."""
        self.keep(())
        self.tail_after = max(self.tail_after, head)

    def drop_expired(self, now: float) -> None:
        """Forget what expired; what is gone needs no reader."""
        if any(frame.expires_at <= now for frame in self.tail):
            self.keep(frame for frame in self.tail if frame.expires_at > now)

    def drop(self, seq: int) -> None:
        """Forget one deleted entry."""
        self.keep(frame for frame in self.tail if frame.seq != seq)

    def keep(self, frames: Iterable[Frame]) -> None:
        """Make `frames` the tail."""
        self.tail = deque(frames)
        self.tail_bytes = sum(len(frame.json) for frame in self.tail)

    def after(self, seq: int, now: float, limit: int) -> list[Frame] | None:
        """Living entries after `seq`, at most `limit`, or None when the tail does not reach back that far."""
        if seq < self.tail_after:
            return None
        tail = self.tail
        if not tail or tail[-1].seq <= seq:
            return []
        if tail[-1].seq == seq + 1:  # a reader that is up to date: by far the most frequent
            return [tail[-1]] if tail[-1].expires_at > now else []
        start = bisect_right(tail, seq, key=_seq)
        # Filtered before it is cut: an empty answer says that nothing lives between `seq` and the head.
        living = (frame for frame in islice(tail, start, None) if frame.expires_at > now)
        return list(islice(living, limit))

    def news(self) -> asyncio.Future[None]:
        """Done at the next change: one wake-up for every reader that waits."""
        if self._news is None:
            self._news = asyncio.get_running_loop().create_future()
        return self._news

    def wake(self) -> None:
        """Tell all readers."""
        if self._news is not None:
            if not self._news.done():
                self._news.set_result(None)
            self._news = None


def _seq(frame: Frame) -> int:
    return frame.seq


def was_closed(connection: Connection, channel: bytes) -> bool:
    """Whether the id (16 bytes) is that of a channel that was closed not long ago."""
    found = select(CLOSED.c.name).where(CLOSED.c.name == closed_name(channel))
    return connection.execute(found).first() is not None


class Registry:
    """The channels in memory. Loading is synchronous, so no commit can fall between reading and installing."""

    def __init__(self, reader: Connection | None) -> None:
        self._reader = reader
        self._channels: OrderedDict[bytes, ChannelState] = OrderedDict()
        self._by_key: dict[int, ChannelState] = {}

    def __iter__(self) -> Iterator[ChannelState]:
        return iter(list(self._channels.values()))

    def get(self, channel: bytes) -> ChannelState | None:
        """The channel, from memory or from the database; None when there is none."""
        found = self._channels.get(channel)
        if found is not None:
            self._channels.move_to_end(channel)
            return found
        return self._load(channel)

    async def is_closed(self, channel: bytes) -> bool:
        """Whether there was a channel of this id (16 bytes) not long ago."""
        return self._reader is not None and was_closed(self._reader, channel)

    async def find(self, channel: bytes) -> ChannelState | None:
        """The channel as this process knows it."""
        return self.get(channel)

    async def fresh(self, channel: bytes) -> ChannelState | None:
        """The channel as it is now: here this process knows everything."""
        return self.get(channel)

    async def last_day(self, device: DeviceState) -> int:
        """The day of a device's last use, wherever: here this process knows everything."""
        return device.last_day

    def peek(self, key: int) -> ChannelState | None:
        """The channel if it is in memory."""
        return self._by_key.get(key)

    def forget(self, state: ChannelState) -> None:
        """An erased channel."""
        state.erased = True
        for device in list(state.by_id.values()):
            state.end_device(device)
        self._channels.pop(state.channel, None)
        self._by_key.pop(state.key, None)
        state.wake()

    def _load(self, channel: bytes) -> ChannelState | None:
        if self._reader is None:
            return None
        self._reader.exec_driver_sql("BEGIN")  # both reads see one snapshot
        try:
            return self._read(self._reader, channel)
        finally:
            self._reader.exec_driver_sql("COMMIT")

    def _read(self, reader: Connection, channel: bytes) -> ChannelState | None:
        row = reader.execute(select(CHANNEL).where(CHANNEL.c.channel == channel)).one_or_none()
        if row is None:
            return None
        state = ChannelState(
            key=row.key,
            channel=row.channel,
            absence_limit=row.absence_limit,
            head=row.head,
            handshake_head=row.handshake_head,
            received_at=row.received_at,
            tail_after=row.head,
        )
        for one in reader.execute(select(DEVICE).where(DEVICE.c.channel_key == row.key)):
            state.add_device(
                DeviceState(
                    key=one.key,
                    device=one.device,
                    token_hash=one.token_hash,
                    first_seq=one.first_seq,
                    count=one.accepted,
                    last_day=one.last_day,
                    last_mark=one.last_mark,
                    last_receipt=one.last_receipt,
                )
            )
        self._evict()
        self._channels[channel] = state
        self._by_key[state.key] = state
        return state

    def _evict(self) -> None:
        while len(self._channels) >= CHANNELS_KEPT:
            old = next((state for state in self._channels.values() if state.pins == 0), None)
            if old is None:
                return
            del self._channels[old.channel]
            del self._by_key[old.key]
