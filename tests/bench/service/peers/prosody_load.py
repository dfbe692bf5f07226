"""Load for an XMPP server's rooms: every device a connection of its own, in one room, to all that is said there.

Usage: prosody_load.py PLAN.json, as for load.py; of each device the plan tells {"user", "password", "domain", "room"}.
XMPP is written by hand (RFC 6120, 6121; XEP-0045). The server reflects an entry to its author as to everybody; as the
room archives before it reflects, that is the receipt.
"""

import asyncio
import base64
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[4]))  # run as a file, it finds its package

from tests.bench.service.load import Load, clock
from tests.bench.service.peers.client import ID, MARK, PATIENCE, drawn, main, marks


class Stream(asyncio.Protocol):
    """One device's XML stream: first questions and answers, then whatever is said in the room."""

    def __init__(self, device: "Device") -> None:
        self.device, self.buffer, self.awaited = device, b"", b""
        self.error: Exception | None = None
        self.waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    async def ask(self, question: bytes, awaited: bytes) -> None:
        """Send, and wait until these bytes have come."""
        self.buffer, self.awaited = b"", awaited
        self.waiting = asyncio.get_running_loop().create_future()
        self.transport.write(question)
        try:
            await asyncio.wait_for(self.waiting, PATIENCE)
        except TimeoutError as error:
            raise RuntimeError(f"no {awaited!r}: {self.buffer[-400:]!r}") from error
        self.buffer = self.awaited = b""

    def data_received(self, data: bytes) -> None:
        now = clock()
        data = self.buffer + data
        if self.awaited:
            self.buffer = data
            if self.awaited in data and not self.waiting.done():
                self.waiting.set_result(None)
            return
        if b"type='error'" in data or b"<stream:error" in data:
            self.error = RuntimeError(f"refused: {data[-400:]!r}")
            self.transport.abort()
            return
        end = 0
        for entry, end in marks(data):  # noqa: B007 - what is behind the last is kept
            self.device.load.arrived(entry, now)
            if entry == self.device.saying and not self.waiting.done():
                self.waiting.set_result(None)
        self.buffer = data[max(end, len(data) - len(MARK) - ID) :]

    def connection_lost(self, error: Exception | None) -> None:
        self.error = self.error or ConnectionError("the server closed the connection")
        if not self.waiting.done():
            self.waiting.set_exception(self.error)


class Device:
    """An account, in a room under its own name."""

    def __init__(self, load: Load, plan: dict[str, Any], url: str) -> None:
        self.load, self.count, self.saying = load, 0, b""
        self.user, self.password, self.domain, self.room = (
            plan[one].encode() for one in ("user", "password", "domain", "room")
        )
        where = urlsplit(url)
        self.host, self.port = str(where.hostname), where.port or 5222

    async def listen(self) -> None:
        _, self.stream = await asyncio.get_running_loop().create_connection(
            lambda: Stream(self), self.host, self.port
        )
        head = (
            b"<?xml version='1.0'?><stream:stream to='%b' version='1.0' xmlns='jabber:client'"
            b" xmlns:stream='http://etherx.jabber.org/streams'>" % self.domain
        )
        plain = base64.b64encode(b"\0%b\0%b" % (self.user, self.password))
        sasl, bind = b"urn:ietf:params:xml:ns:xmpp-sasl", b"urn:ietf:params:xml:ns:xmpp-bind"
        await self.stream.ask(head, b"</stream:features>")
        await self.stream.ask(b"<auth xmlns='%b' mechanism='PLAIN'>%b</auth>" % (sasl, plain), b"<success")
        await self.stream.ask(head, b"</stream:features>")
        await self.stream.ask(b"<iq type='set' id='bind'><bind xmlns='%b'/></iq>" % bind, b"</iq>")
        await self.stream.ask(
            b"<presence to='%b/%b'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>"
            % (self.room, self.user),
            b"<subject",  # the last that a room sends to who enters (XEP-0045, 7.1)
        )

    async def connect(self) -> Stream:
        return self.stream

    async def append(self, stream: Stream) -> None:
        self.count += 1
        entry = self.saying = drawn()
        stream.waiting = asyncio.get_running_loop().create_future()
        self.load.sent(entry)
        stream.transport.write(
            b"<message type='groupchat' to='%b' id='%b'><body>%b%b%b</body></message>"
            % (self.room, entry, self.load.sealed(), MARK, entry)
        )
        async with asyncio.timeout(PATIENCE):
            await stream.waiting
        self.load.accepted += 1

    def state(self) -> dict[str, Any]:
        if self.stream.error is not None:
            raise self.stream.error
        return {}


if __name__ == "__main__":
    main(Device)
