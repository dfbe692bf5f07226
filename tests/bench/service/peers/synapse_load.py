"""Load for a Matrix homeserver's rooms: every device sends over one connection and asks for news over another.

Usage: synapse_load.py PLAN.json, as for load.py; of each device the plan tells {"token", "room", "filter", "after"}.
HTTP is written and read by hand (client-server API v3: PUT …/send, GET …/sync as long polls, the next question as
soon as the answer has come). The event's id in the answer is the receipt.
"""

import asyncio
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

sys.path.insert(0, str(Path(__file__).parents[4]))  # run as a file, it finds its package

from tests.bench.service.load import Load, clock
from tests.bench.service.peers.client import MARK, PATIENCE, drawn, main, marks

POLL = 20_000  # milliseconds for which an answer without news is held back
NEXT = re.compile(rb'"next_batch":"([^"]+)"')


def body(data: bytes) -> bytes | None:
    """The body of the one answer in `data`, once all of it is there."""
    end = data.find(b"\r\n\r\n") + 4
    if end < 4:
        return None
    head = data[:end].lower()
    if b"\r\ntransfer-encoding: chunked" not in head:
        at = head.index(b"\r\ncontent-length:") + 17
        length = int(head[at:].split(b"\r\n", 1)[0])
        return data[end:] if len(data) >= end + length else None
    if not data.endswith(b"\r\n0\r\n\r\n"):
        return None  # a chunk may end so too: then the loop comes to the end of the data
    chunks: list[bytes] = []
    while (line := data.find(b"\r\n", end)) >= 0:
        length = int(data[end:line], 16)
        if not length:
            return b"".join(chunks)
        chunks.append(data[line + 2 : line + 2 + length])
        end = line + 2 + length + 2
    return None


class Connection(asyncio.Protocol):
    """One question at a time, over a connection that is kept."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.waiting: asyncio.Future[tuple[bytes, bytes, float]] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    async def ask(self, question: bytes) -> tuple[bytes, float]:
        """The body of the answer, and when its last byte came."""
        self.waiting = asyncio.get_running_loop().create_future()
        self.transport.write(question)
        async with asyncio.timeout(PATIENCE):
            status, answer, now = await self.waiting
        if not status.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"refused: {status!r} {answer[:400]!r}")
        return answer, now

    def data_received(self, data: bytes) -> None:
        now = clock()
        self.pieces.append(data)
        whole = b"".join(self.pieces)
        answer = body(whole)
        if answer is not None and self.waiting is not None and not self.waiting.done():
            self.pieces.clear()
            self.waiting.set_result((whole[:64].split(b"\r\n", 1)[0], answer, now))

    def connection_lost(self, error: Exception | None) -> None:
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(ConnectionError("the server closed the connection"))


class Device:
    """An account's one device, in one room."""

    def __init__(self, load: Load, plan: dict[str, Any], url: str) -> None:
        self.load, self.count = load, 0
        self.after, self.filter = plan["after"], plan["filter"]
        where = urlsplit(url)
        self.host, self.port = str(where.hostname), where.port or 80
        self.heads = f"Host: {where.netloc}\r\nAuthorization: Bearer {plan['token']}\r\n".encode()
        self.place = f"/_matrix/client/v3/rooms/{quote(plan['room'])}/send/m.room.message/".encode()

    async def connect(self) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(Connection, self.host, self.port)
        return connection

    async def listen(self) -> None:
        news = await self.connect()
        await self._news(news, 0)
        self.listening = asyncio.ensure_future(self._listen(news))

    async def _listen(self, news: Connection) -> None:
        while True:
            await self._news(news, POLL)

    async def _news(self, news: Connection, hold: int) -> None:
        place = f"/_matrix/client/v3/sync?filter={self.filter}&timeout={hold}&since={quote(self.after)}"
        answer, now = await news.ask(b"GET %b HTTP/1.1\r\n%b\r\n" % (place.encode(), self.heads))
        found = NEXT.search(answer)
        if found is None or b'"limited":true' in answer:
            raise RuntimeError(f"a gap: {answer[:400]!r}")
        self.after = found[1].decode()
        for entry, _ in marks(answer):
            self.load.arrived(entry, now)

    async def append(self, connection: Connection) -> None:
        self.count += 1
        entry = drawn()
        said = b'{"msgtype":"m.text","body":"%b%b%b"}' % (self.load.sealed(), MARK, entry)
        self.load.sent(entry)
        await connection.ask(
            b"PUT %b%b HTTP/1.1\r\n%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (self.place, entry, self.heads, len(said), said)
        )
        self.load.accepted += 1

    def state(self) -> dict[str, Any]:
        if self.listening.done():
            self.listening.result()  # raises what ended it
        return {"after": self.after}


if __name__ == "__main__":
    main(Device)
