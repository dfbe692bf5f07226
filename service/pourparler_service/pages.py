"""Reading stored entries: pages after a cursor, in one snapshot, and nothing past its time."""

import asyncio
import hashlib
import hmac
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from pourparler_policies import limits, wire
from pourparler_policies.wire import Problem

from .database import connect, raw
from .problems import Refusal, unauthorized
from .state import ChannelState, Frame
from .storagekeys import StorageKeys

_HEAD: Final = "SELECT head FROM channel WHERE key = ?"
_PAGE: Final = (
    "SELECT seq, entry, handshake, received_at, expires_at, bytes, key_end"
    " FROM entry JOIN body ON body.key = entry.key"
    " WHERE channel_key = ? AND seq > ? AND expires_at > ? ORDER BY seq"
)
_SLOT: Final = (
    "SELECT box.token_hash, box.expires_at, body.bytes"
    " FROM box LEFT JOIN slot ON slot.box_key = box.key AND slot.slot = ?"
    " LEFT JOIN body ON body.key = slot.body_key"
    " WHERE box.box = ? AND box.expires_at > ?"
)


_ROUND: Final = (
    "SELECT round.token_hash, round.closes_at, round.expires_at, body.bytes, round.key_end, packet.digest"
    " FROM round LEFT JOIN packet ON packet.round_key = round.key LEFT JOIN body ON body.key = packet.body_key"
    " WHERE round.round = ? AND round.expires_at > ? ORDER BY packet.digest"
)


class Pages:
    """Serves from the channel's tail where that reaches, else from the database on a thread of its own."""

    def __init__(self, path: Path, keys: StorageKeys) -> None:
        self._connection: Connection = connect(path, read_only=True)
        self._keys = keys
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pages")

    async def read(self, channel: ChannelState, after: int, now: float, limit: int) -> tuple[list[Frame], int]:
        """Living entries with a greater seq than `after`, and the head up to which nothing else is missing."""
        found = channel.after(after, now, limit)
        if found is not None:
            return found, channel.head
        loop = asyncio.get_running_loop()
        async with channel.reading:
            return await loop.run_in_executor(self._thread, self._read, channel, after, now, limit)

    def _read(self, channel: ChannelState, after: int, now: float, limit: int) -> tuple[list[Frame], int]:
        connection = raw(self._connection)
        connection.execute("BEGIN")
        rows = connection.cursor()
        try:
            row = connection.execute(_HEAD, (channel.key,)).fetchone()
            frames: list[Frame] = []
            size = 0
            rows.execute(_PAGE, (channel.key, after, now))
            for seq, entry, handshake, received_at, expires_at, stored, end in rows:
                sealed = self._keys.open(end, channel.channel + entry, stored)
                if sealed is None:  # its key is gone, and so is it
                    continue
                size += len(sealed)
                if frames and (size > limits.MAX_PAGE_BYTES or len(frames) == limit):
                    break
                encoded = wire.Entry(
                    seq=seq,
                    entry=entry,
                    handshake=bool(handshake),
                    sealed=sealed,
                    received_at=received_at,
                    expires_at=expires_at,
                )
                frames.append(Frame(seq, expires_at, encoded.model_dump_json().encode()))
            return frames, row[0] if row else after
        finally:
            rows.close()  # there may be more of them, and their snapshot would keep the log from being emptied
            connection.execute("COMMIT")

    async def slot(self, box: bytes, token: bytes, slot: int, now: float) -> tuple[bytes, int]:
        """What lies in a slot, and when its box expires. Raises Refusal."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._slot, box, token, slot, now)

    def _slot(self, box: bytes, token: bytes, slot: int, now: float) -> tuple[bytes, int]:
        row = raw(self._connection).execute(_SLOT, (slot, box, now)).fetchone()
        if row is None or not hmac.compare_digest(row[0], hashlib.sha256(token).digest()):
            raise unauthorized()
        if row[2] is None:
            raise Refusal(Problem.NOT_FOUND, "Nothing lies in this slot yet.")
        return row[2], row[1]

    async def round(self, round_: bytes, token: bytes, now: float) -> tuple[list[bytes], int]:
        """A round's packets, once its window is over, by the order of their hashes; when it expires. Raises Refusal."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._round, round_, token, now)

    def _round(self, round_: bytes, token: bytes, now: float) -> tuple[list[bytes], int]:
        rows = raw(self._connection).execute(_ROUND, (round_, now)).fetchall()
        if not rows or not hmac.compare_digest(rows[0][0], hashlib.sha256(token).digest()):
            raise unauthorized()
        if now < rows[0][1]:
            raise Refusal(Problem.NOT_FOUND, "Nothing is shown before this round's window is over.")
        found = [self._keys.open(row[4], round_ + row[5], row[3]) for row in rows if row[3] is not None]
        return [packet for packet in found if packet is not None], rows[0][2]

    def close(self) -> None:
        """Let the reader finish, and close its connection."""
        self._thread.shutdown()
        self._connection.close()
