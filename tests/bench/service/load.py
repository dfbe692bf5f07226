"""Load for a channel log: many devices that append and listen, in one process, over bare connections.

Usage: load.py PLAN.json, which holds {"urls", "channels": [[{channel, token, count, handshake_head, after}, …]],
"rate": entries a second in all or null for as many as go, "seconds", "listening"}; it prints its figures as JSON.
Devices are spread over the URLs. Where nobody is listening, a few connections serve all devices in turn, and an entry
has arrived when its receipt has.

HTTP is written and read by hand: the load must not cost more than what it measures. Bytes that the relay's floor
and the service send alike are all it understands.
"""

import asyncio
import base64
import itertools
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import uvloop

POSTERS = 48  # connections, where nobody is listening
ENTRY = b'"entry":"'
LIFE = 24 * 3600
clock = time.perf_counter


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


class Stream(asyncio.Protocol):
    """One device's event stream: notes when each entry came."""

    def __init__(self, device: "Device") -> None:
        self.device, self.buffer = device, b""
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.device.head(b"GET", b"stream?after=%d" % self.device.after) + b"\r\n")

    def data_received(self, data: bytes) -> None:
        now = clock()
        data = self.buffer + data
        at = 0
        while (found := data.find(ENTRY, at)) >= 0 and len(data) >= found + 33:
            self.device.load.arrived(data[found + 9 : found + 33], now)
            at = found + 33
        self.buffer = data[max(at, len(data) - 40) :]
        if not self.ready.done() and b"event: head" in data:
            self.ready.set_result(None)


class Poster(asyncio.Protocol):
    """One device's connection for appends, kept alive."""

    def __init__(self) -> None:
        self.buffer = b""
        self.waiting: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        at = head.index(b"content-length:") + 15
        length = int(head[at:].split(b"\r\n", 1)[0])
        if len(self.buffer) < end + 4 + length:
            return
        answer, self.buffer = self.buffer[: end + 4 + length], b""
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(answer)

    def connection_lost(self, error: Exception | None) -> None:
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(ConnectionError("the server closed the connection"))


class Device:
    def __init__(self, load: "Load", plan: dict[str, Any], url: str) -> None:
        self.load, self.after = load, plan["after"]
        self.channel, self.token = plan["channel"].encode(), plan["token"].encode()
        self.count, self.handshake_head = plan["count"], plan["handshake_head"]
        where = urlsplit(url)
        self.name, self.port, self.host = str(where.hostname), where.port or 80, where.netloc.encode()
        self.prefix = self.head(b"POST", b"entries") + b"Content-Type: application/json\r\nContent-Length: "

    def head(self, method: bytes, place: bytes) -> bytes:
        return b"%b /v1/channels/%b/%b HTTP/1.1\r\nHost: %b\r\nAuthorization: Bearer %b\r\n" % (
            method, self.channel, place, self.host, self.token,
        )  # fmt: skip

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        _, stream = await loop.create_connection(lambda: Stream(self), self.name, self.port)
        await asyncio.wait_for(stream.ready, 30)

    async def connect(self) -> Poster:
        _, poster = await asyncio.get_running_loop().create_connection(Poster, self.name, self.port)
        return poster

    async def append(self, poster: Poster) -> None:
        if poster.transport.is_closing():  # as a server does to who says nothing for a while
            await asyncio.get_running_loop().create_connection(lambda: poster, self.name, self.port)
        self.count += 1
        entry = b64(os.urandom(16)).encode()
        body = (
            b'{"entry":"%b","handshake":false,"sealed":"%b","life":%d,"delete_hash":"%b","handshake_head":%d,"count":%d}'
            % (entry, self.load.sealed(), LIFE, self.load.hash, self.handshake_head, self.count)
        )
        poster.waiting = asyncio.get_running_loop().create_future()
        self.load.sent(entry)
        poster.transport.write(b"%b%d\r\n\r\n%b" % (self.prefix, len(body), body))
        answer = await poster.waiting
        if not answer.startswith(b"HTTP/1.1 201"):
            raise RuntimeError(f"refused: {answer[:400]!r}")
        self.load.accepted += 1
        if not self.load.listening:
            self.load.arrived(entry, clock())


class Talking(Protocol):
    """A device as the load sees it: it tells the load what was sent, accepted and has arrived."""

    count: int

    async def listen(self) -> None: ...
    async def connect(self) -> Any: ...
    async def append(self, poster: Any) -> None: ...


class Load:
    def __init__(
        self, plan: dict[str, Any], device: "Callable[[Load, dict[str, Any], str], Talking]" = Device
    ) -> None:
        self.rate, self.seconds, self.listening = plan["rate"], plan["seconds"], plan["listening"]
        self.members = len(plan["channels"][0]) if self.listening else 1
        plans = [one for channel in plan["channels"] for one in channel]
        self.devices = [device(self, one, url) for one, url in zip(plans, itertools.cycle(plan["urls"]))]
        self.accepted = self.delivered = 0
        self.pending: dict[bytes, list[Any]] = {}
        self.latencies: list[float] = []
        self.hash = b64(os.urandom(32)).encode()
        # Random bytes, drawn ahead: drawing and encoding them is not what is measured.
        self._sealed = deque(b64(os.urandom(1024)).encode() for _ in range(512))

    def sealed(self) -> bytes:
        self._sealed.rotate(1)
        return self._sealed[0]

    def sent(self, entry: bytes) -> None:
        self.pending[entry] = [clock(), self.members]

    def arrived(self, entry: bytes, now: float) -> None:
        known = self.pending.get(entry)
        if known is None:
            return  # from before
        self.delivered += 1
        known[1] -= 1
        if not known[1]:
            self.latencies.append(now - known[0])
            del self.pending[entry]

    async def connected(self) -> deque[tuple[Any, deque[Talking]]]:
        """Everybody who shall listen listens; who posts next, and over which connection."""
        free: deque[tuple[Any, deque[Talking]]] = deque()
        if self.listening:
            for device in self.devices:
                await device.listen()
                free.append((await device.connect(), deque([device])))
        else:
            number = min(POSTERS, len(self.devices))
            for place in range(number):
                share = deque(self.devices[place::number])
                free.append((await share[0].connect(), share))
        return free

    async def run(self) -> dict[str, Any]:
        free = await self.connected()
        started, cpu = clock(), time.process_time()
        until = started + self.seconds
        if self.rate is None:
            await asyncio.gather(*(self._as_fast_as_it_goes(*one, until) for one in free))
        else:
            await self._at_rate(free, started, until)
        ended = clock()
        waited = ended + 20
        while self.pending and clock() < waited:
            await asyncio.sleep(0.01)
        return {
            "accepted": self.accepted,
            "delivered": self.delivered,
            "missing": sum(left for _, left in self.pending.values()),
            "seconds": ended - started,
            "load_cpu": time.process_time() - cpu,
            "latencies": self.latencies,
            "counts": [device.count for device in self.devices],
        }

    async def _as_fast_as_it_goes(self, poster: Any, devices: deque[Talking], until: float) -> None:
        while clock() < until:
            devices.rotate(1)
            await devices[0].append(poster)

    async def _at_rate(self, free: deque[tuple[Any, deque[Talking]]], started: float, until: float) -> None:
        tasks, number = set(), 0
        while (due := started + number / self.rate) < until:
            await asyncio.sleep(max(0.0, due - clock()))
            poster, devices = one = free.popleft()
            devices.rotate(1)

            def back(task: asyncio.Task[None], one: tuple[Any, deque[Talking]] = one) -> None:
                tasks.discard(task)
                free.append(one)

            task = asyncio.ensure_future(devices[0].append(poster))
            tasks.add(task)
            task.add_done_callback(back)
            number += 1
        await asyncio.gather(*tasks)


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(Load(plan).run())))


if __name__ == "__main__":
    main()
