"""What is to be said goes into the outbox, or waits in memory while no key is at hand under which it could be kept."""

import asyncio
from collections.abc import Callable
from typing import Final

from pourparler_policies import payload
from pourparler_policies.payload import Said, Shuttle
from pourparler_policies.wire import Problem

from .errors import Lacking, Refused, Unkept, Unreachable, UserError
from .fetching import Fetcher
from .happenings import Happening
from .log import Log

_NO_KEY: Final = (
    "the service has no key yet for so late an end: if this device's clock is fast, set it and try again"
)


class Keeping:
    """Keeps what one channel's person says, until it is sent."""

    def __init__(
        self, log: Log, halves: Fetcher, turn: asyncio.Lock, tell: Callable[[list[Happening]], None]
    ) -> None:
        self._log = log
        self._halves = halves
        self._turn = turn
        self._tell = tell
        self._said: list[tuple[Said | Shuttle, int]] = []  # while no key was at hand, until when (Unix seconds)

    async def keep(self, said: Said | Shuttle, *, waits: bool) -> int:
        """Stores what is to be said; returns the draft's number. Raises Unkept."""
        content, until = payload.encode_events([said]), self._log.clock() + said.life
        try:
            return self._log.lives.add_draft(content, said.life, until)
        except Lacking:
            pass
        try:
            async with self._turn:
                return await self._halves.with_halves(lambda: self._log.lives.add_draft(content, said.life, until))
        except Refused as refusal:
            raise UserError(_NO_KEY if refusal.problem is Problem.OVER_CAP else str(refusal)) from None
        except Unreachable:
            if not waits:
                raise
            self._said.append((said, until))
            raise Unkept(
                "there is no connection, and no key under which the message could be kept: it is in memory only, "
                "and is lost when this program ends before the connection is back"
            ) from None

    async def keep_all(self) -> None:
        """Under the turn: what was said while no key was at hand is stored as soon as one is."""
        try:
            await self._halves.with_halves(self._keep_first)
        except Refused as refusal:
            if refusal.problem is not Problem.OVER_CAP:
                raise
            self._said.pop(0)
            self._tell([Happening("refused", self._log.row.cursor, text=_NO_KEY)])

    def _keep_first(self) -> None:
        while self._said:
            said, until = self._said[0]
            left = min(said.life, until - self._log.clock())
            try:
                if left > 0:
                    self._log.lives.add_draft(payload.encode_events([said]), left, until)
            except UserError as error:
                self._tell([Happening("refused", self._log.row.cursor, text=str(error))])
            self._said.pop(0)
