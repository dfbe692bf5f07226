"""`carry` and `pass-on`: the two commands in which both sides' compartments are open, for one act.

Nothing is carried before the terms, the words as the other side will see them, and who reads them there were shown, and
the name of that side was typed.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pourparler_policies.shuttle import Fidelity, Item
from pourparler_policies.shuttle.carrying import LONGEST_DELAY, shared_run
from pourparler_policies.shuttle.events import MAX_TEXT, NOTHING

from ..channel import Channel
from ..device import Device
from ..errors import UserError
from ..shuttle.crossing import Crossing, Ready
from ..shuttle.pace import PAUSE, Pace
from ..shuttle.room import code
from . import locking
from .carried import item_record, say_put, say_terms
from .common import (
    GlobalOptions,
    choose_channel,
    choose_row,
    duration,
    emit,
    erasing,
    local_time,
    open_device,
    plain,
    progress,
    read_text,
    say_duration,
)
from .handing import other_passphrase

SHORT: Final = 300  # seconds: who watches the service sees two rooms stir one after the other


def add_commands(commands: Any, options: GlobalOptions) -> None:
    """Registers the commands of this module."""
    carry = commands.add_parser("carry", help="carry a message to another side, on its terms (the intermediary)")
    passed = commands.add_parser(
        "pass-on", help="pass on to a side what came of its message, on the terms of the answer (the intermediary)"
    )
    for parser in (carry, passed):
        options.add(parser, channel=True)
        parser.add_argument("code", metavar="CODE", help="its five digits in `pourparler shuttle`")
        parser.add_argument(
            "--to", metavar="DIR", type=Path, required=True, help="the receiving side's compartment"
        )
        parser.add_argument("--to-passphrase-fd", metavar="N", type=int, help="its passphrase's file descriptor")
        parser.add_argument("--to-channel", metavar="TITLE", help="which channel there, when there are several")
        parser.add_argument("--gist", metavar="FILE", type=Path, help="your words, when the terms say gist")
        parser.add_argument("--side", metavar="NAME", help="the receiving side's name, instead of being asked")
        parser.add_argument(
            "--delay", type=duration, default=LONGEST_DELAY, help="leaves at random within this time (20m)"
        )
        parser.add_argument(
            "--pause",
            type=duration,
            default=int(PAUSE),
            help="at random up to so long between one room and the other: who watches the service should not see "
            "both stir in one moment (5m)",
        )
        parser.add_argument("--wait", action="store_true", help="stay until it has left")
        parser.set_defaults(func=_carry, about=None, leave_open=False)
    passed.add_argument(
        "--about", metavar="CODE", required=True, help="the receiving side's message it belongs to"
    )
    passed.add_argument(
        "--leave-open", action="store_true", help="do not say whether it accepts, declines, counters or asks"
    )


async def _carry(arguments: argparse.Namespace) -> int:
    async with open_device(arguments) as device, erasing(device):
        source = choose_channel(device, arguments)
        secret = other_passphrase(arguments.to_passphrase_fd, arguments.to)
        if arguments.to.resolve() == arguments.vault.resolve():
            raise UserError("a message is carried from one side's compartment to another's: this is the same one")
        async with Device.open(arguments.to, secret) as other, erasing(other):
            rows = [channel.log.row for channel in other.channels()]
            chosen = choose_row(rows, arguments.to_channel)
            target = next(channel for channel in other.channels() if channel.id == chosen.id)
            recent = device.clock() - device.used_at <= arguments.pause
            pace = Pace(arguments.pause, last=source if recent else None, told=_say_pause(arguments))
            return await _cross(arguments, Crossing(source, target, pace))


def _say_pause(arguments: argparse.Namespace) -> Callable[[float], None]:
    def say(seconds: float) -> None:
        progress(
            arguments,
            f"Waiting {say_duration(max(1, round(seconds)))}, so that both rooms are not visited at one moment. "
            "Nothing else has to be done; Ctrl-C ends it, and the same command begins anew.",
        )

    return say


async def _cross(arguments: argparse.Namespace, crossing: Crossing) -> int:
    source, target = crossing.source, crossing.target
    await crossing.ask_target()
    regards = (await target.shuttle.find(arguments.about)).id if arguments.about else NOTHING
    await crossing.ask_source()
    await source.shuttle.read()
    item = await source.shuttle.find(arguments.code)
    if item.about and not regards:
        raise UserError("this is an answer: pass it on with `pourparler pass-on`, which says what it is about")
    words = _words(arguments, item)
    answer = None if arguments.leave_open else item.answer
    ready = await crossing.ready(item.id, words, regards=regards, answer=answer)
    _show(arguments, target, ready)
    await _read_back(arguments, side_name(target, source))
    latest = await crossing.carry(ready, arguments.delay)
    if arguments.delay < SHORT:
        progress(arguments, "So short a delay lets who watches the service guess that both rooms belong together.")
    emit(
        arguments,
        {"event": "carried", "code": code(item.id), "latest": latest},
        [
            f"Carried. It leaves this device at a random time, at the latest at {local_time(latest)}, while this",
            "compartment is open (`talk`, `watch`), or when it is next opened. Its author sees: carried.",
            f"Let {say_duration(max(1, arguments.pause))} pass before you open it, or both rooms stir in one moment.",
        ],
    )
    if arguments.wait:
        progress(arguments, "Waiting until it has left …")
        await crossing.stay()
    return 0


def _words(arguments: argparse.Namespace, item: Item) -> str:
    """The words that cross: the very ones, or the intermediary's from a file."""
    if item.fidelity is Fidelity.VERBATIM:
        return (
            item.text if arguments.gist is None else read_text(arguments.gist, "message", MAX_TEXT).rstrip("\r\n")
        )
    if arguments.gist is None:
        if not item.text:
            return ""
        raise UserError("its terms say gist: write it in your own words, and name the file with --gist")
    return read_text(arguments.gist, "message", MAX_TEXT).rstrip("\r\n")


def _show(arguments: argparse.Namespace, target: Channel, ready: Ready) -> None:
    item, put, log = ready.item, ready.put, target.log
    readers = [plain(m.name, lines=False) for m in log.members.values() if m.credential != log.row.credential]
    how = say_put(put.source, put.answer, regards=put.regards)
    fidelity = f", {put.fidelity}" if put.fidelity is not None else ""
    lines = [
        f"You hold {code(item.id)} on these terms: {say_terms(item.terms) if item.terms else ''}.",
        f"In “{plain(log.charter.title, lines=False)}” {', '.join(readers)} will read:",
        f"    ({how}{fidelity})",
        *(f"    {line}" for line in plain(put.text).split("\n") if put.text),
        f"    to be answered until {local_time(put.expires)}; gone at {local_time(ready.ends)}, in "
        f"{say_duration(max(1, ready.ends - target.clock()))}",
    ]
    if item.fidelity is Fidelity.GIST and shared_run(item, put.text):
        lines.append("ATTENTION: your gist repeats a long passage word for word; its author may be known by it.")
    emit(arguments, {"event": "to be carried", **item_record(item), "as": put.text, "readers": readers}, lines)


async def _read_back(arguments: argparse.Namespace, side: str) -> None:
    """Nothing goes to a side whose name was not said."""
    given = arguments.side
    if given is None:
        if not sys.stdin.isatty():
            raise UserError(
                "nobody is there to be asked: use a terminal, or --side with the receiving side's name"
            )
        shown = plain(side, lines=False)
        given = await locking.answered(f"To carry it there, type the side's name, “{shown}”: ")
    if given.strip() != side:
        raise UserError(
            f"that is not the side to which this would go, “{plain(side, lines=False)}”: nothing was carried"
        )


def side_name(target: Channel, source: Channel) -> str:
    """By what a side is named: its room's title; where both rooms have the same, what tells them apart."""
    names, others = _names(target), _names(source)
    return next((name for name in names if name not in others), names[0])


def _names(channel: Channel) -> list[str]:
    charter, log = channel.log.charter, channel.log
    people = sorted(m.name for m in log.members.values() if m.credential != log.row.credential)
    return [charter.title, *(party.name for _, party in sorted(charter.parties.items())), *people]
