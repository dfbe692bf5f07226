"""Commands of soundings: ask what all could accept, answer, see where it stands; deal across channels.

Before the answer the screen says what an acceptance commits to and what others will learn. The answer stays on this
device; what it sends, and when, is the same whatever it was.
"""

import argparse
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from pourparler_policies.payload import MAX_TEXT

from ..channel import Channel
from ..device import Device
from ..errors import UserError
from ..soundings import Asked, deal
from ..subjects import body_name
from . import inquire as inquirylines
from . import soundlines
from .common import choose_row, duration, emit, line_from, local_time, open_device, passphrase, read_text
from .prompts import typed

Add = Callable[..., None]
_TEXTS: Final = (
    "packages",
    {
        "nargs": "+",
        "metavar": "FILE",
        "type": Path,
        "help": "a text; with several, one common one at most is shown",
    },
)
_TIMES: Final = (
    ("--answer-within", {"type": duration, "default": 86400, "help": "how long people have to answer (1d)"}),
    # A device hands in at a moment in the first half: who opens it once a day is there.
    (
        "--collect-within",
        {"type": duration, "default": 172800, "help": "how long devices then have to come by (2d)"},
    ),
    ("--again", {"action": "store_true", "help": "the same once more, for some side's line had failed"}),
)
_YES: Final = ("--yes", {"action": "store_true", "help": "do not ask: what is said on the screen is known"})


def add_acts(commands: Any, add: Add) -> None:
    """Registers `sound` and its verbs; `add` takes parser, name, help, act and arguments (see `table.py`)."""
    sound = commands.add_parser(
        "sound", help="a sealed question: what could all accept, without showing who does not"
    )
    verbs = sound.add_subparsers(title="verbs", metavar="VERB", required=True)
    add(verbs, "status", "what is asked, what an answer would show to whom, and the result", _status)
    add(verbs, "propose", "ask every party of this channel", _propose, _TEXTS, *_TIMES)
    numbers = (
        "numbers",
        {"nargs": "*", "type": int, "metavar": "NUMBER", "help": "packages that your side accepts"},
    )
    every = ("--all", {"action": "store_true", "help": "your side accepts each of them"})
    none = ("--none", {"action": "store_true", "help": "your side accepts none; takes an acceptance back"})
    add(
        verbs,
        "answer",
        "your side's answer: it stays on this device until the tally",
        _answer,
        numbers,
        every,
        none,
        _YES,
    )
    add(verbs, "recall", "take back what your side has asked", _recall)
    to = (
        "--to",
        {"action": "append", "default": [], "metavar": "TITLE", "help": "a channel: title or number; repeat"},
    )
    also = (
        "--also-vault",
        {
            "action": "append",
            "default": [],
            "type": Path,
            "metavar": "DIR",
            "help": "another vault of yours; repeat",
        },
    )
    fd = (
        "--also-passphrase-fd",
        {"action": "append", "default": [], "type": int, "metavar": "N", "help": "its passphrase"},
    )
    spread = (
        "--spread",
        {"type": duration, "default": 300, "help": "pause at random for so long at most between channels (5m)"},
    )
    add(
        verbs,
        "deal",
        "an intermediary's: ask the sides of several channels",
        _elsewhere,
        _TEXTS,
        to,
        also,
        fd,
        spread,
        *_TIMES,
    )
    verbs.choices["deal"].set_defaults(run=_deal)
    inquirylines.add_acts(verbs, add, _TIMES[:2], _elsewhere)


async def _asked(channel: Channel) -> Asked:
    asked = await channel.with_halves(channel.soundings.status)
    if asked is None:
        raise UserError("nothing is being asked in this channel")
    return asked


async def _status(arguments: argparse.Namespace, channel: Channel) -> None:
    asked = await channel.with_halves(channel.soundings.status)
    left = channel.soundings.left()
    if asked is None:
        emit(
            arguments,
            {"event": "no sounding", "left": left},
            [f"Nothing is being asked. Your side may still ask {left} times within thirty days, by the charter."],
        )
        return
    emit(arguments, *soundlines.shown(asked, body_name(channel.log.charter, asked.body), left))


async def _propose(arguments: argparse.Namespace, channel: Channel) -> None:
    await channel.soundings.ask(
        _read(arguments),
        answer_within=arguments.answer_within,
        collect_within=arguments.collect_within,
        again=arguments.again,
    )
    await channel.sync()
    asked = await _asked(channel)
    emit(
        arguments,
        {"event": "asked", "answer_by": asked.answer_by, "closes": asked.closes},
        [
            f"Asked. People answer until {local_time(asked.answer_by)}; it is counted at {local_time(asked.closes)}.",
            "Every side's device has to be connected before, and again in between: keep yours so.",
        ],
    )


def _read(arguments: argparse.Namespace) -> list[str]:
    return [read_text(path, "text", MAX_TEXT).strip() for path in arguments.packages]


async def _answer(arguments: argparse.Namespace, channel: Channel) -> None:
    asked = await _asked(channel)
    count = asked.count
    if bool(arguments.numbers) + arguments.all + arguments.none != 1:
        raise UserError("say which packages your side accepts: their numbers, or --all, or --none")
    if any(not 1 <= number <= count for number in arguments.numbers):
        raise UserError(f"the packages have the numbers 1 to {count}")
    if not asked.may_answer:
        raise UserError("there is nothing to answer on this device now: see `pourparler sound status`")
    if not asked.packages and not arguments.none:
        raise UserError("what would be accepted can no longer be read on this device: only --none can be answered")
    _, lines = soundlines.shown(asked, body_name(channel.log.charter, asked.body), channel.soundings.left())
    record = {"event": "to be answered", "packages": list(asked.packages), "sides": asked.sides}
    emit(arguments, {**record, "warnings": soundlines.warnings(asked)}, lines)
    if not arguments.yes:
        nobody = "nobody is there to be asked: use a terminal, or --yes"
        if await typed('To answer so, type "yes": ', nobody) != "yes":
            raise UserError("nothing was answered")
    accepts = [arguments.all or number in arguments.numbers for number in range(1, count + 1)]
    channel.soundings.answer(accepts)
    emit(
        arguments,
        {"event": "answered"},
        ["Noted on this device, and nowhere else. Nothing shows it from here on, to you neither."],
    )


async def _recall(arguments: argparse.Namespace, channel: Channel) -> None:
    await channel.soundings.recall()
    emit(arguments, {"event": "recalled"}, ["It is taken back; nothing of it is left."])


async def _elsewhere(_arguments: argparse.Namespace, _channel: Channel) -> None:
    raise UserError("this is about no one channel: use `pourparler sound …` outside of this talk")


async def _deal(arguments: argparse.Namespace) -> int:
    async with AsyncExitStack() as stack:
        devices = [await stack.enter_async_context(open_device(arguments))]
        for number, directory in enumerate(arguments.also_vault):
            given = arguments.also_passphrase_fd
            secret = line_from(given[number]) if number < len(given) else passphrase(_asking(arguments))
            devices.append(await stack.enter_async_context(Device.open(directory, secret)))
        channels = [channel for device in devices for channel in device.channels()]
        if arguments.to:
            rows = [channel.log.row for channel in channels]
            chosen = {choose_row(rows, title).id for title in arguments.to}
            channels = [channel for channel in channels if channel.id in chosen]
        await deal(
            channels,
            _read(arguments),
            answer_within=arguments.answer_within,
            collect_within=arguments.collect_within,
            spread=arguments.spread,
            again=arguments.again,
        )
        asked = await _asked(channels[0])
        emit(
            arguments,
            {"event": "dealt", "sides": asked.sides, "answer_by": asked.answer_by, "closes": asked.closes},
            [
                f"Dealt to {asked.sides} sides. Nothing of the deal is kept here. People answer until "
                f"{local_time(asked.answer_by)};",
                f"it is counted at {local_time(asked.closes)}, and your devices hear the result when they connect.",
            ],
        )
    return 0


def _asking(arguments: argparse.Namespace) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(arguments), "passphrase_fd": None})
