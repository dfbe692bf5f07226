"""The tallies' routes. As at the desk, they take no token, and each answer ends its connection (`deskapi.py`)."""

from starlette.requests import Request
from starlette.responses import Response

from pourparler_policies import wire

from .bodies import read
from .deskapi import ALONE, alone, handle_of
from .tally import Tallies


class TallyApi:
    """The routes over the tallies."""

    def __init__(self, tallies: Tallies) -> None:
        self._tallies = tallies

    async def open_tally(self, request: Request) -> Response:
        """Open a tally. Repeating it is harmless, and is answered the same."""
        return await alone(request, lambda: self._open(request))

    async def _open(self, request: Request) -> Response:
        await self._tallies.open(await read(request, wire.OpenTally))
        return Response(status_code=204, headers=ALONE)

    async def hand_in(self, request: Request) -> Response:
        """Hand in one value for each package. Answered the same whether it is the first or a repetition."""
        return await alone(request, lambda: self._hand_in(request))

    async def _hand_in(self, request: Request) -> Response:
        handle = handle_of(request)
        await self._tallies.hand_in(handle, await read(request, wire.HandIn))
        return Response(status_code=204, headers=ALONE)

    async def tally(self, request: Request) -> Response:
        """What the service says of a tally."""
        return await alone(request, lambda: self._reply(request))

    async def _reply(self, request: Request) -> Response:
        found = await self._tallies.reply(handle_of(request))
        return Response(found, headers=ALONE, media_type="application/json")
