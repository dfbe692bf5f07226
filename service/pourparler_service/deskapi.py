"""The desk's routes. They take no token, and each answer ends its connection.

So nothing that the service sees joins a deposit to a device, or two requests of the desk to each other, unless a
client sends both over one address. A request that shows a token is refused: a client that made this mistake once
should not make it for years.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from pourparler_policies import limits, wire
from pourparler_policies.wire import Problem

from .access import unpad
from .bodies import read
from .desk import Desk
from .problems import Refusal

ALONE: Final = {"Connection": "close", "Cache-Control": "no-store"}


class DeskApi:
    """The routes over a desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def open_case(self, request: Request) -> Response:
        """Open a case. Repeating it is harmless, and is answered the same."""
        return await alone(request, lambda: self._open(request))

    async def _open(self, request: Request) -> Response:
        await self._desk.open(await read(request, wire.OpenCase))
        return Response(status_code=204, headers=ALONE)

    async def case(self, request: Request) -> Response:
        """What the desk says of a case."""
        return await alone(request, lambda: self._reply(request))

    async def _reply(self, request: Request) -> Response:
        found = await self._desk.reply(handle_of(request))
        return Response(found, headers=ALONE, media_type="application/json")

    async def deposit(self, request: Request) -> Response:
        """Deposit d (R4) or y and rho (R5). Answered the same whether it is the first, a repetition or too late."""
        return await alone(request, lambda: self._take(request, self._desk.deposit))

    async def withdraw(self, request: Request) -> Response:
        """Withdraw, under one's own d. Until all have signed it ends the case; nothing of it shows."""
        return await alone(request, lambda: self._take(request, self._desk.withdraw))

    async def stop(self, request: Request) -> Response:
        """Stop a complete case, under one's own y, while its terms allow that."""
        return await alone(request, lambda: self._take(request, self._desk.stop))

    async def _take(self, request: Request, take: Callable[[bytes, bytes], Awaitable[None]]) -> Response:
        handle = handle_of(request)
        await take(handle, (await read(request, wire.CaseMessage)).message)
        return Response(status_code=204, headers=ALONE)


async def alone(request: Request, answer: Callable[[], Awaitable[Response]]) -> Response:
    """An answer to a request without a token, the last one of its connection. Raises Refusal."""
    try:
        _check_unlinked(request)
        return await answer()
    except Refusal as refusal:
        refusal.headers |= ALONE
        raise


def _check_unlinked(request: Request) -> None:
    if "authorization" in request.headers:
        raise Refusal(Problem.MALFORMED, "This takes no token: send none, and use a fresh connection.")


def handle_of(request: Request) -> bytes:
    """The handle in the path. Raises Refusal."""
    found = unpad(request.path_params["handle"], limits.HASH_BYTES)
    if found is None:
        raise Refusal(Problem.NOT_FOUND)
    return found
