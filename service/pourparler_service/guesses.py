"""How strangers are refused: at one pace for all of them, and after a time that does not say what was looked at.

The service knows no address, and every connection may be new: so nothing is counted for anybody. A refusal
`unauthorized` waits instead. All of them together come at `RATE` a second and a burst, over however many connections;
and each comes a whole number of `GRID` after its request, so that a channel in memory, one on the disk and none at all
look the same. Who holds a token that lives never waits here, whatever strangers do.
"""

import asyncio
import math
import time
from typing import Final

from pourparler_policies.wire import Problem

from .problems import Refusal

GRID: Final = 0.02  # seconds: longer than a look into either database takes
RATE: Final = 100  # a second: a device is refused once, when its token has ended
# Refusals that do not wait for others: the devices of a channel that was closed all come at once.
BURST: Final = 200
PATIENCE: Final = 5.0  # seconds: who would wait longer is told to come again


class Guesses:
    """The pace, of one process."""

    def __init__(self) -> None:
        self._spent_until = 0.0  # when all that were refused so far have been paid for, of `time.monotonic`

    async def refuse(self, began: float) -> None:
        """Wait before a refusal of a request that came at `began` (`time.monotonic`). Raises Refusal: unavailable."""
        now = time.monotonic()  # the loop's own clock stands still while it runs a task
        until = max(self._spent_until, now) + 1 / RATE
        wait = max(0.0, until - now - BURST / RATE)
        if wait > PATIENCE:
            raise Refusal(Problem.UNAVAILABLE, headers={"Connection": "close"})
        self._spent_until = until
        due = began + GRID * (math.floor((now + wait - began) / GRID) + 1)
        while (left := due - time.monotonic()) > 0:  # noqa: ASYNC110 - a timer may be early
            await asyncio.sleep(left)
