"""A device's stream of server-sent events: every entry once, in order, from its cursor on.

A stream holds no queue. It has a cursor, and reads on from the channel's tail, or from the database when it fell
behind: a slow reader costs a page, which is counted (`answers`). Who takes nothing for `caps.slow_reader` seconds is
cut off, and comes back with its cursor.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pourparler_policies.limits import MAX_PAGE_ENTRIES

from .answers import PIECE, Answers
from .connection import ABORT
from .pages import Pages
from .problems import Refusal
from .settings import Settings
from .state import ChannelState, DeviceState, Frame

HEARTBEAT: Final = b":\n\n"
_START: Final = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),  # a stream's connection is for this stream alone
        (b"x-accel-buffering", b"no"),  # tells a reverse proxy to pass events on at once
    ],
}


def event(frame: Frame) -> bytes:
    """One entry as an event."""
    return b"event: entry\nid: %d\ndata: %b\n\n" % (frame.seq, frame.json)


def pieces(frames: list[Frame]) -> Iterator[bytes]:
    """Events of many small entries together, and of each large one alone."""
    gathered: list[bytes] = []
    size = 0
    for frame in frames:
        if gathered and size + len(frame.json) > PIECE:
            yield b"".join(gathered)
            gathered, size = [], 0
        gathered.append(event(frame))
        size += len(frame.json)
    yield b"".join(gathered)


@dataclass(slots=True, eq=False)
class Hub:
    """What all streams share."""

    settings: Settings
    pages: Pages
    incarnation: str
    streams: "set[Stream]" = field(default_factory=set)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def end_all(self) -> None:
        """The service stops."""
        for stream in list(self.streams):
            stream.end()

    def beat(self) -> None:
        """Called every heartbeat: comfort the silent, cut off the stuck."""
        now = asyncio.get_running_loop().time()
        for stream in list(self.streams):
            stream.beat(now)


class Stream(Response):
    """One open stream; an ASGI response."""

    def __init__(
        self, hub: Hub, channel: ChannelState, device: DeviceState, after: int, used: Callable[[], None]
    ) -> None:
        self.background = None
        self._hub, self._channel, self._device = hub, channel, device
        self._cursor = max(after, device.first_seq - 1)
        self._used = used
        self._task: asyncio.Task[None] | None = None
        self._ended = False
        self._abort: Callable[[], None] | None = None
        self._sending_since: float | None = None
        self._heartbeat_due = False

    def end(self) -> None:
        """Stop: the token ended, a newer stream of the device began, or the service stops."""
        self._ended = True
        if self._task is not None:
            self._task.cancel()

    def beat(self, now: float) -> None:
        """Wake a silent stream for its heartbeat; end one that has been stuck for too long."""
        if self._sending_since is not None:
            if now - self._sending_since > self._hub.settings.caps.slow_reader:
                self.end()
                if self._abort is not None:
                    self._abort()
            return
        self._heartbeat_due = True
        self._used()
        self._channel.wake()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run until one side ends it."""
        channel, device, hub = self._channel, self._device, self._hub
        line = scope.get("extensions", {}).get(ABORT, {})
        self._abort, lasts = line.get("now"), line.get("lasts", lambda _lasting: None)
        lasts(True)
        if device.end_stream:
            device.end_stream()
        device.end_stream = self.end
        channel.pins += 1
        hub.streams.add(self)
        await send(_START)  # not in the task, which may be ended before it begins
        # This task writes; a task beside it waits for the client to go away.
        self._task = asyncio.ensure_future(self._run(scope, send))
        watch = asyncio.ensure_future(self._watch(receive))
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        finally:
            self._task.cancel()
            watch.cancel()
            hub.streams.discard(self)
            channel.pins -= 1
            if device.end_stream == self.end:
                device.end_stream = None
            lasts(False)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(1):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.end()

    async def _run(self, scope: Scope, send: Send) -> None:
        hub, channel = self._hub, self._channel
        answers: Answers = scope["app"].answers
        clock = hub.settings.clock
        announced = False
        while not (self._ended or self._device.ended or channel.erased):
            news = channel.news()
            frames = channel.after(self._cursor, clock(), MAX_PAGE_ENTRIES)
            if frames is None:
                try:
                    frames, head = await hub.pages.read(channel, self._cursor, clock(), MAX_PAGE_ENTRIES)
                except Refusal:  # the client comes back with its cursor
                    return
                if self._device.ended:
                    return
                if not frames:
                    self._cursor = max(self._cursor, head)
                    continue
            if frames:
                size = sum([len(frame.json) for frame in frames])
                try:
                    with answers.held(scope, size) if size > PIECE else contextlib.nullcontext():
                        for chunk in pieces(frames):
                            await self._send(send, chunk)
                except Refusal:  # as above
                    return
                self._cursor = frames[-1].seq
                continue
            if not announced:
                announced = True
                chunk = b'event: head\ndata: {"head":%d,"incarnation":"%b"}\n\n' % (
                    channel.head,
                    hub.incarnation.encode(),
                )
            elif self._heartbeat_due:
                chunk = HEARTBEAT
            else:
                await asyncio.shield(news)
                continue
            await self._send(send, chunk)

    async def _send(self, send: Send, chunk: bytes) -> None:
        self._heartbeat_due = False
        self._sending_since = asyncio.get_running_loop().time()
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        self._sending_since = None
