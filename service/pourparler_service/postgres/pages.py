"""Reading stored entries from the shared database: pages after a cursor, in one snapshot, and nothing past its time."""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import psycopg
from sqlalchemy import Connection

from pourparler_policies import limits, wire
from pourparler_policies.wire import Problem

from ..problems import Refusal, unauthorized
from ..state import ChannelState, Frame
from .engine import FAULTS, Links, driver, retried
from .halves import SharedKeys

T = TypeVar("T")

READERS: Final = 4  # threads, each with a connection
STEP: Final = 64  # entries read at a time: a page of the largest ones has eight
_PAGE: Final = (
    "SELECT key, seq, entry, handshake, received_at, expires_at, key_end FROM entry"
    " WHERE channel_key = %s AND seq > %s AND expires_at > %s ORDER BY seq LIMIT %s"
)
_BODIES: Final = "SELECT key, bytes FROM body WHERE key = ANY(%s)"
_SLOT: Final = (
    "SELECT box.token_hash, box.expires_at, slot.body_key FROM box"
    " LEFT JOIN slot ON slot.box_key = box.key AND slot.slot = %s WHERE box.box = %s AND box.expires_at > %s"
)
_ROUND: Final = (
    "SELECT round.token_hash, round.closes_at, round.expires_at, packet.body_key, round.key_end, packet.digest"
    " FROM round LEFT JOIN packet ON packet.round_key = round.key"
    " WHERE round.round = %s AND round.expires_at > %s ORDER BY packet.digest"
)
_Read = tuple[list[Frame], int, int | None]  # entries; head and version of the channel, None where it is gone
_log: Final = logging.getLogger("pourparler.service")


class SharedPages:
    """What `pages.Pages` is for SQLite."""

    def __init__(self, links: Links, keys: SharedKeys, fresh: Callable[[bytes], Awaitable[object]]) -> None:
        """`fresh` brings what this process knows of a channel up to date."""
        self._links, self._keys, self._fresh = links, keys, fresh
        self._pool = ThreadPoolExecutor(max_workers=READERS, thread_name_prefix="pages")
        self._under_way: dict[tuple[int, int, int], asyncio.Future[_Read]] = {}

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, retried, self._links, work)
        except FAULTS as error:
            _log.error("entries could not be read: %s", type(error).__name__)
            raise Refusal(Problem.UNAVAILABLE) from None

    async def read(self, channel: ChannelState, after: int, now: float, limit: int) -> tuple[list[Frame], int]:
        """Living entries with a greater seq than `after`, and the head up to which nothing else is missing."""
        found = channel.after(after, now, limit)
        if found is not None:
            return found, channel.head

        # A channel's streams, which are at the same place, miss the same entries together: one reads for all.
        asked = (channel.key, after, limit)
        reading = self._under_way.get(asked)
        if reading is None:
            reading = self._under_way[asked] = asyncio.ensure_future(self._read(channel, after, now, limit))
            reading.add_done_callback(lambda done: self._ended(asked, done))
        frames, head, version = await asyncio.shield(reading)
        if version != channel.version:  # who reads may have lost its token before something of this was said
            await self._fresh(channel.channel)
        return frames, head

    def _ended(self, asked: tuple[int, int, int], reading: "asyncio.Future[_Read]") -> None:
        del self._under_way[asked]
        if not reading.cancelled():
            reading.exception()  # nobody may have stayed to see it

    async def _read(self, channel: ChannelState, after: int, now: float, limit: int) -> _Read:
        def work() -> _Read:
            with self._links.transaction("ISOLATION LEVEL REPEATABLE READ READ ONLY") as connection:
                raw = driver(connection)
                row = raw.execute("SELECT head, version FROM channel WHERE key = %s", (channel.key,)).fetchone()
                head, version = row or (after, None)
                return self._frames(raw, channel, after, now, limit)[0], head, version

        async with channel.reading:
            return await self._run(work)

    def between(
        self, connection: Connection, channel: ChannelState, after: int, now: float, limit: int
    ) -> list[Frame] | None:
        """All living entries after `after`; None when they are more than `limit`, or large. On any thread."""
        frames, whole = self._frames(driver(connection), channel, after, now, limit)
        return frames if whole else None

    def _frames(
        self, raw: psycopg.Connection[Any], channel: ChannelState, after: int, now: float, limit: int
    ) -> tuple[list[Frame], bool]:
        frames: list[Frame] = []
        size = 0
        while True:
            rows = raw.execute(_PAGE, (channel.key, after, int(now), STEP)).fetchall()
            bodies = dict(raw.execute(_BODIES, ([row[0] for row in rows],)).fetchall()) if rows else {}
            self._keys.fetch({row[6] for row in rows if row[6] is not None})
            for key, seq, entry, handshake, received_at, expires_at, end in rows:
                after = seq
                stored = bodies.get(key)
                sealed = None if stored is None else self._keys.open(end, channel.channel + entry, stored)
                if sealed is None:  # its key or its partition is gone, and so is it
                    continue
                size += len(sealed)
                if frames and (size > limits.MAX_PAGE_BYTES or len(frames) == limit):
                    return frames, False
                encoded = wire.Entry(
                    seq=seq,
                    entry=entry,
                    handshake=handshake,
                    sealed=sealed,
                    received_at=received_at,
                    expires_at=expires_at,
                )
                frames.append(Frame(seq, expires_at, encoded.model_dump_json().encode()))
            if len(rows) < STEP:
                return frames, True

    async def slot(self, box: bytes, token: bytes, slot: int, now: float) -> tuple[bytes, int]:
        """What lies in a slot, and when its box expires. Raises Refusal."""

        def work() -> tuple[bytes, int]:
            raw = driver(self._links.get())
            row = raw.execute(_SLOT, (slot, box, int(now))).fetchone()
            if row is None or not hmac.compare_digest(row[0], hashlib.sha256(token).digest()):
                raise unauthorized()
            found = raw.execute(_BODIES, ([row[2]],)).fetchone() if row[2] is not None else None
            if found is None:
                raise Refusal(Problem.NOT_FOUND, "Nothing lies in this slot yet.")
            return found[1], row[1]

        return await self._run(work)

    async def round(self, round_: bytes, token: bytes, now: float) -> tuple[list[bytes], int]:
        """As `pages.Pages.round`. Raises Refusal."""

        def work() -> tuple[list[bytes], int]:
            raw = driver(self._links.get())
            rows = raw.execute(_ROUND, (round_, int(now))).fetchall()
            if not rows or not hmac.compare_digest(rows[0][0], hashlib.sha256(token).digest()):
                raise unauthorized()
            if rows[0][1] > now:
                raise Refusal(Problem.NOT_FOUND, "Nothing is shown before this round's window is over.")
            keys = [row[3] for row in rows if row[3] is not None]
            bodies = dict(raw.execute(_BODIES, (keys,)).fetchall()) if keys else {}
            if rows[0][4] is not None:
                self._keys.fetch([rows[0][4]])
            found = [self._keys.open(row[4], round_ + row[5], bodies[row[3]]) for row in rows if row[3] in bodies]
            return [packet for packet in found if packet is not None], rows[0][2]

        return await self._run(work)

    def close(self) -> None:
        """Let the readers finish."""
        self._pool.shutdown()
