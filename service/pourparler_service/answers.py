"""How much of large answers waits in memory until it is taken: bounded for each token, each place and all together.

A page has up to 5.6 MB, and a device may ask for many at once and take none. So large answers go out in pieces, the
next one when the last was nearly taken; what is under way is counted, and who would hold too much is refused. Who
asks for one after the other, as our clients do, never meets these limits.
"""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Final

from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Scope, Send

from pourparler_policies.limits import ID_BYTES, MAX_PAGE_BYTES
from pourparler_policies.wire import Problem

from .access import bearer, unpad
from .problems import Refusal, respond

PIECE: Final = 64 * 1024  # bytes: what uvicorn's own buffer holds; smaller answers are not counted
A_TOKEN: Final = 4 * MAX_PAGE_BYTES  # bytes: two pages beside one whose line broke unnoticed
A_PLACE: Final = 64 * 1024**2  # bytes of one channel, attachment, box or round, or of all who show no token
ALL: Final = 256 * 1024**2  # bytes of one process: four tenants that hold what they can

_NOBODY: Final = b""


class Answers:
    """What is under way, in one process."""

    def __init__(self) -> None:
        self._all = 0
        self._held: Counter[bytes] = Counter()

    @contextlib.contextmanager
    def held(self, scope: Scope, size: int) -> Iterator[None]:
        """While `size` bytes of an answer wait to be taken. Raises Refusal: budget, unavailable."""
        token, place = _whose(scope)
        if self._all + size > ALL or self._held[place] + size > A_PLACE:
            raise Refusal(Problem.UNAVAILABLE, headers={"Connection": "close"})
        if token != _NOBODY and self._held[token] + size > A_TOKEN:
            raise Refusal(
                Problem.BUDGET, "Take the answers that are under way first.", headers={"Retry-After": "1"}
            )
        owners = {token, place}
        self._all += size
        self._held.update(dict.fromkeys(owners, size))
        try:
            yield
        finally:
            self._all -= size
            self._held.subtract(dict.fromkeys(owners, size))
            for owner in owners:
                if not self._held[owner]:
                    del self._held[owner]

    def sender(self, scope: Scope, receive: Receive, send: Send) -> Send:
        """`send` for one request, which counts what is large. A stream counts by itself (`streams`)."""
        start: list[Message] = []

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                start[:] = [message]
                return
            body = message.get("body", b"")
            try:
                with self.held(scope, len(body)) if _large(message) else contextlib.nullcontext():
                    if start:
                        await send(start.pop())
                    await _in_pieces(send, message, body)
            except Refusal as refusal:
                start.clear()
                await respond(refusal)(scope, receive, send)

        return counted


def _large(message: Message) -> bool:
    return len(message.get("body", b"")) > PIECE and not message.get("more_body", False)


async def _in_pieces(send: Send, message: Message, body: bytes) -> None:
    if not _large(message):
        await send(message)
        return
    whole = memoryview(body)
    for at in range(0, len(body), PIECE):
        more = at + PIECE < len(body)
        await send({"type": message["type"], "body": whole[at : at + PIECE], "more_body": more})


def _whose(scope: Scope) -> tuple[bytes, bytes]:
    """Names of the token and of the place, the same however they are written. Of a good answer, so both are."""
    try:
        token = hashlib.sha256(b"token" + bearer(HTTPConnection(scope))).digest()
    except Refusal:
        return _NOBODY, _NOBODY
    parts = scope["path"].split("/")  # "", "v1", kind, id
    place = unpad(parts[3], ID_BYTES) if len(parts) > 3 else None
    return token, _NOBODY if place is None else hashlib.sha256(b"place" + place).digest()
