"""One HTTP connection: uvicorn's, with a limit on heads, no address, and a way to drop who is stuck.

The application never sees a client's address. A request's head has at most `MAX_HEAD` bytes; what is not HTTP gets
a problem document too. `scope["extensions"]["pourparler.abort"]["now"]()` drops the connection and all that waits
in it; `["lasts"](True)` says that a stream begins there, `["lasts"](False)` that it ended.

A client has `HEAD_PATIENCE` to begin a request and finish its head, then `BODY_PATIENCE` to finish its body. Who
takes longer is dropped, so that nobody holds a connection by sending a byte now and then. Between two requests
uvicorn's own limit holds; an answer, and so a stream, may last.

What is left of an answer that its client does not take would lie in memory for as long as the client likes: who
takes nothing of it for `ANSWER_PATIENCE` is dropped. (Streams have a limit of their own: `caps.slow_reader`.) So is who
sends a request before the last one was answered: neither our clients nor proxies do that.

When there are as many connections as the system lets this process have, but for `SPARE` that its files and databases
need, a new one takes the place of those that have waited longest without asking for anything.
"""

import asyncio
import contextlib
import math
import resource
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pourparler_policies.wire import PROBLEM_URN, Problem, ProblemDocument

from .problems import MEDIA_TYPE

ABORT: Final = "pourparler.abort"
MAX_HEAD: Final = 16 * 1024  # bytes: a request of the protocol needs less than 500
HEAD_PATIENCE: Final = 30.0  # seconds
BODY_PATIENCE: Final = 120.0  # seconds: the largest request over a line of 12 KB/s
ANSWER_PATIENCE: Final = 60.0  # seconds in which some of an answer must be taken: a page has up to 5.6 MB
SPARE: Final = 128  # descriptors
MOST_DESCRIPTORS: Final = 65536  # of one process: far more than it can serve

_NOT_HTTP: Final = ProblemDocument(
    type=PROBLEM_URN + Problem.MALFORMED.value,
    title="This is no HTTP request that the service understands",
    status=400,
    detail="Nothing was done.",
)


def raise_descriptors() -> None:
    """Ask the system for as many as it gives. Many give 1024 to whoever does not ask."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):  # then it is as few as it was
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def most_connections() -> int:
    """How many there may be at a time."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else min(soft, MOST_DESCRIPTORS)
    return max(limit - SPARE, limit // 2)


class Connection(HttpToolsProtocol):
    """A client's connection."""

    _in_head = True
    _seen = 0  # heads and requests that became whole
    _head_bytes = 0  # of the one under way
    _whole = 0  # requests that became whole
    _deadline: asyncio.TimerHandle | None = None  # of the head or body under way
    _taking: asyncio.TimerHandle | None = None  # when the client must have taken more of an answer
    _since = 0.0  # when it began, or its last request became whole: the loop's time
    _lasting = False  # the answer under way is a stream, which looks itself whether it is taken

    def connection_made(self, transport: Any) -> None:
        """Begin, and forget who it is."""
        super().connection_made(transport)
        self.client = None
        self._since = self.loop.time()
        self._expect(HEAD_PATIENCE)
        if len(self.connections) > most_connections():
            self._make_room()

    def _make_room(self) -> None:
        """Drop some that ask for nothing, or have not said all of it: first who never did, and who waits longest."""
        idle = [one for one in self.connections if isinstance(one, Connection) and one is not self and one._idle]
        idle.sort(key=lambda one: (one._whole > 0, one._since))
        for one in idle[: max(1, len(idle) // 16)] or [self]:  # not one by one: looking for them takes a while
            self.connections.discard(one)
            one.transport.abort()

    @property
    def _idle(self) -> bool:
        return self._deadline is not None or self.cycle is None or self.cycle.response_complete

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._expect(None)
        self.resume_writing()
        super().connection_lost(exc)

    def _expect(self, patience: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if patience is None else self.loop.call_later(patience, self.transport.abort)

    def pause_writing(self) -> None:
        """More is to be sent than the client takes at once."""
        super().pause_writing()
        self._watch(math.inf)

    def resume_writing(self) -> None:
        """It took nearly all."""
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None
        super().resume_writing()

    def _lasts(self, lasting: bool) -> None:
        self._lasting = lasting

    def _watch(self, before: float) -> None:
        """Look in a while whether less is left to send than `before` (bytes)."""
        left = self.transport.get_write_buffer_size()
        if left < before or self._lasting:
            self._taking = self.loop.call_later(ANSWER_PATIENCE, self._watch, left)
        else:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        seen, whole = self._seen, self._whole
        super().data_received(data)
        if self._in_head and self._seen == seen:  # else some of it was something else
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD:
                self.transport.abort()
        if self._deadline is None and self._whole == whole and not self.transport.is_closing():
            self._expect(HEAD_PATIENCE)  # bytes between two requests that begin none

    def on_message_begin(self) -> None:
        """A new request. None may come while another is answered: the one under way could not be told of an end."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()
        self._in_head = True
        if self._deadline is None:
            self._expect(HEAD_PATIENCE)
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"now": self.transport.abort, "lasts": self._lasts}}

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line of the head. After a body there may be none: such lines would be kept, as many as come."""
        if not self._in_head:
            raise ValueError("a trailer")  # so the parser stops, and it is no HTTP for us
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head, self._head_bytes, self._seen = False, 0, self._seen + 1
        self._expect(BODY_PATIENCE)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole; what follows is the next one's head."""
        super().on_message_complete()
        self._expect(None)
        self._since = self.loop.time()
        self._in_head, self._seen, self._whole = True, self._seen + 1, self._whole + 1

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        body = _NOT_HTTP.model_dump_json(exclude_none=True).encode()
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (MEDIA_TYPE.encode(), len(body), body)
        )
        self.transport.close()
