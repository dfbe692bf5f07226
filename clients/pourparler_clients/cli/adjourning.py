"""What people are told of an agreed end of their session: when they agree, whenever they look or speak, shortly before,
and when it has come.
"""

import argparse
import asyncio
from typing import Final

from pourparler_policies.fold.facts import Adjourn, Subject

from ..channel import Channel
from ..subjects import say_time
from .common import emit, say_duration

SOON: Final = 10 * 60  # seconds before the hour at which those who are there are told once more
_LOOK: Final = 1.0  # seconds between looks whether the hour has come
_AGREEING: Final = (
    "Whoever said it, and whenever it is said, it cannot be kept longer after that: put into a text what has to stay. "
    "Another hour, if every party agrees on one, holds only for what is said afterwards."
)


def consequence(subject: Subject | None) -> list[str]:
    """What somebody who proposes or approves this subject has to know beside it."""
    return [_AGREEING] if isinstance(subject, Adjourn) else []


def warn_adjourned(arguments: argparse.Namespace, channel: Channel) -> None:
    """Says when the session ends, if that was agreed and is still to come."""
    if channel.pulling.reads and (left := channel.log.lives.left()):
        hour = channel.clock() + left
        emit(
            arguments,
            {"event": "adjourns", "at": hour, "left": left},
            [
                f"— this session ends at {say_time(hour)}, in {say_duration(left)}: all that is said until then is "
                "erased then, everywhere —"
            ],
        )


async def keep(arguments: argparse.Namespace, channel: Channel) -> None:
    """While somebody is there: says it shortly before the hour, and when it has come."""
    told, before = 0, channel.log.lives.left() if channel.pulling.reads else 0
    while channel.pulling.reads:
        left = channel.log.lives.left()
        if before and not left:
            emit(
                arguments,
                {"event": "adjourned"},
                ["— this session has ended, as every party agreed: all that was said in it is erased —"],
            )
        hour = channel.log.consent.adjourned
        if 0 < left <= SOON and told != hour:
            told = hour
            if before > SOON or not before:
                warn_adjourned(arguments, channel)
        before = left
        await asyncio.sleep(_LOOK)
