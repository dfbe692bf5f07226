"""The routes of a round of ideas: packets come and go with the round's own token, and each answer ends its connection.

So nothing that the service is shown joins a packet to a device, or two packets to each other, unless a client sends
both over one address.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from pourparler_policies import wire

from .access import bearer, path_id
from .bodies import read
from .caps import Caps
from .pages import Pages
from .problems import Refusal, unauthorized
from .rounds import Asked, send_packet
from .settings import Settings
from .writer import Writer

_ALONE: Final = {"Connection": "close", "Cache-Control": "no-store"}


class RoundApi:
    """The routes over writer and pages."""

    def __init__(self, settings: Settings, writer: Writer, pages: Pages) -> None:
        self._clock, self._writer, self._pages = settings.clock, writer, pages
        self._caps: Caps = settings.caps

    async def send(self, request: Request) -> Response:
        """Send a packet. It is answered when it is durable, and the same whatever it holds."""
        return await _alone(lambda: self._send(request))

    async def _send(self, request: Request) -> Response:
        asked = _asked(request)
        packet = await read(request, wire.SendPacket)
        await self._writer.submit(send_packet(asked, packet.sealed, self._caps))
        return Response(status_code=204, headers=_ALONE)

    async def show(self, request: Request) -> Response:
        """Every packet of a round whose window is over."""
        return await _alone(lambda: self._show(request))

    async def _show(self, request: Request) -> Response:
        asked = _asked(request)
        packets, expires_at = await self._pages.round(asked.round, asked.token, self._clock())
        shown = wire.Round(packets=packets, expires_at=expires_at).model_dump_json()
        return Response(shown, headers=_ALONE, media_type="application/json")


async def _alone(answer: Callable[[], Awaitable[Response]]) -> Response:
    try:
        return await answer()
    except Refusal as refusal:
        refusal.headers |= _ALONE
        raise


def _asked(request: Request) -> Asked:
    token, round_ = bearer(request), path_id(request, "round")
    if round_ is None:
        raise unauthorized()
    return Asked(round_, token)
