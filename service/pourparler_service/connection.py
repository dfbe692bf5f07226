"""One HTTP connection: uvicorn's, with a limit on heads, no address, and a way to drop who is stuck.

The application never sees a client's address. A request's head has at most `MAX_HEAD` bytes; what is not HTTP gets
a problem document too. `scope["extensions"]["pourparler.abort"]["now"]()` drops the connection and all that waits
in it.
"""

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pourparler_policies.wire import PROBLEM_URN, Problem, ProblemDocument

from .problems import MEDIA_TYPE

ABORT: Final = "pourparler.abort"
MAX_HEAD: Final = 16 * 1024  # bytes: a request of the protocol needs less than 500

_NOT_HTTP: Final = ProblemDocument(
    type=PROBLEM_URN + Problem.MALFORMED.value,
    title="This is no HTTP request that the service understands",
    status=400,
    detail="Nothing was done.",
)


class Connection(HttpToolsProtocol):
    """A client's connection."""

    _in_head = True
    _seen = 0  # heads and requests that became whole
    _head_bytes = 0  # of the one under way

    def connection_made(self, transport: Any) -> None:
        """Begin, and forget who it is."""
        super().connection_made(transport)
        self.client = None

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        seen = self._seen
        super().data_received(data)
        if self._in_head and self._seen == seen:  # else some of it was something else
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """A new request."""
        self._in_head = True
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"now": self.transport.abort}}

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head, self._head_bytes, self._seen = False, 0, self._seen + 1
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole; what follows is the next one's head."""
        super().on_message_complete()
        self._in_head, self._seen = True, self._seen + 1

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        body = _NOT_HTTP.model_dump_json(exclude_none=True).encode()
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (MEDIA_TYPE.encode(), len(body), body)
        )
        self.transport.close()
