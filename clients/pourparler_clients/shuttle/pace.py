"""Visits to two sides' rooms, never at one moment: who watches the service live would see a device of each room come.

1. From one room to another lies a pause, at random. It keeps times apart and guards no secret.
2. What can be done with what is at hand asks nobody. Where a half of a key is lacking it is asked for after a pause.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from ..errors import Lacking

if TYPE_CHECKING:
    from ..channel import Channel

PAUSE: Final = 300.0  # seconds at most, in a deal too; longer than a person waits for nothing
LEAST: Final = 5  # and at least a fifth of it: chance must not bring both rooms together

T = TypeVar("T")


class Pace:
    """At random up to `longest` seconds between one room and the next; `told` hears how long each pause is.

    `last` is the room that was in use a moment ago, before this began.
    """

    def __init__(
        self,
        longest: float = PAUSE,
        *,
        last: Channel | None = None,
        told: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._longest, self._last, self._told = longest, last, told

    async def to(self, room: Channel) -> None:
        """Before anything is asked of a room's service."""
        if self._last is not None and self._last is not room:
            seconds = random.uniform(self._longest / LEAST, self._longest)  # noqa: S311 -- not a secret
            self._told(seconds)
            await asyncio.sleep(seconds)
        self._last = room

    async def step(self, room: Channel, act: Callable[[], T]) -> T:
        """A step of a room's vault, in turn. Raises Unreachable, Refused."""
        try:
            async with room.turn:
                return act()
        except Lacking:
            await self.to(room)
            return await room.step(act)
