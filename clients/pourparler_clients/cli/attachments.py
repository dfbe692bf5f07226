"""Commands for files: attach, files, view, save. The same words work inside `talk`, behind a slash.

What is shown here is shown as a text is that somebody said; what leaves for another program leaves by an act of its
own that says what this tool no longer answers for.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from ..channel import Channel
from ..errors import UserError
from ..messages import Message
from ..uploads import Report
from . import waysout
from .common import PASSING, duration, emit, local_time, progress, say_duration
from .filelines import file_record, size_words
from .prompts import typed
from .showing import name_of, warn_absent
from .texts import plain
from .verify import behind_margin

Add = Callable[..., None]
T = TypeVar("T")

_AGAIN: Final = 5.0  # seconds until a file whose line broke goes on while somebody talks or watches
_OFTEN: Final = 1.0  # seconds between two lines about how far it is

_INSIDE: Final = """\
What is inside a file goes with it: authors' names, places, earlier versions; photographs and office documents hold such
things. The file itself stays on this device, outside this tool: erase it yourself if nobody is to find it here."""
_LEAVES: Final = """\
“{name}” ({size}) will be written into {folder} as a readable copy, and this tool's promises end there. The copy does
not end with the message; neither `clear`, nor a session's end, nor its author erases it; whoever takes this device
reads it. The program that opens it may keep more: copies, lists of recent files, thumbnails, an index for searching, a
copy on the net."""


def add_acts(commands: Any, add: Add) -> None:
    """Registers the commands; `add` takes parser, name, help, act and arguments (see `table.py`)."""
    add(
        commands,
        "attach",
        "attach files, or go on with those that are not sent yet",
        _attach,
        ("files", {"nargs": "*", "metavar": "FILE", "type": Path, "help": "without any: go on with what waits"}),
        ("--life", {"type": duration, "help": "a shorter life than the channel's: 45s, 30m, 12h, 7d"}),
        ("--name", {"metavar": "NAME", "help": "another name for the file, for the others"}),
        ("--drop", {"action": "store_true", "help": "give up what is not sent yet: it is erased"}),
    )
    add(commands, "files", "the files in a channel: name, size, from whom, until when", _files)
    number = ("number", {"type": int, "metavar": "NUMBER", "help": "its number in `pourparler files`"})
    add(commands, "view", "show a file that is plain text; nothing readable is written to the disk", _view, number)
    folder = (
        "--to",
        {"required": True, "metavar": "FOLDER", "type": Path, "help": "where the readable copy goes"},
    )
    yes = ("--yes", {"action": "store_true", "help": "do not ask again"})
    save = "write a file into a folder, readable: outside this tool's promises"
    add(commands, "save", save, _save, number, folder, yes)


async def carry_on(arguments: argparse.Namespace, channel: Channel) -> None:
    """While somebody talks or watches: files whose line broke go on."""
    while True:
        await asyncio.sleep(_AGAIN)
        try:
            await channel.uploads.send()
        except UserError as error:  # it is given up, and the person is told
            emit(arguments, {"event": "error", "text": str(error)}, [f"— {error} —"])
        except PASSING:
            continue


async def _attach(arguments: argparse.Namespace, channel: Channel) -> None:
    uploads = channel.uploads
    if arguments.drop:
        count = await uploads.give_up()
        emit(
            arguments, {"event": "dropped", "count": count}, [f"Given up, and erased here: {_files_words(count)}."]
        )
        return
    if arguments.name and len(arguments.files) != 1:
        raise UserError("another name is for one file: attach it alone")
    if arguments.files:
        progress(arguments, _INSIDE)
    elif not uploads.waiting():
        raise UserError("there is no file that waits to be sent: name one")
    else:
        said = await _reported(arguments, "sending", uploads.send)
        emit(arguments, {"event": "sent", "count": said}, [f"Sent: {_files_words(said)}."])
    for path in arguments.files:
        shown = plain(arguments.name or path.name, lines=False)

        async def attach(report: Report, path: Path = path) -> None:
            await uploads.attach(path, name=arguments.name or "", life=arguments.life, report=report)

        await _reported(arguments, f"sealing and sending “{shown}”", attach)
        emit(arguments, {"event": "sent", "file": arguments.name or path.name}, [f"Attached: “{shown}”."])
    if arguments.files:
        warn_absent(arguments, channel, arguments.life)


def _files_words(count: int) -> str:
    return f"{count} file{'s' if count != 1 else ''}"


async def _files(arguments: argparse.Namespace, channel: Channel) -> None:
    files, now = channel.downloads.list(), channel.clock()
    for message in files:
        member = channel.log.members.get(message.sender)
        name = (
            "you" if message.own else name_of(member, channel.log.members) if member else "somebody who has left"
        )
        record = {
            **file_record(message),
            "event": "file",
            "number": message.seq,
            "name": name,
            "own": message.own,
            "expires_at": message.expires_at,
        }
        size = size_words(record["length"])
        left = f"until {local_time(message.expires_at)} ({say_duration(max(0, message.expires_at - now))})"
        emit(
            arguments,
            record,
            [f"{message.seq:>8}  {plain(message.text, lines=False)}  {size}, from {name}, {left}"],
        )
    waiting = channel.uploads.waiting()
    if waiting:
        words = f"— {_files_words(waiting)} not sent yet: `pourparler attach` goes on, `attach --drop` gives up —"
        emit(arguments, {"event": "unsent", "count": waiting}, [words])
    if not files and not waiting:
        emit(arguments, {"event": "empty"}, ["There is no file in this channel."])


async def _view(arguments: argparse.Namespace, channel: Channel) -> None:
    async def view(report: Report) -> tuple[Message, str]:
        return await channel.downloads.text(arguments.number, report)

    message, text = await _reported(arguments, "fetching", view)
    record = {**file_record(message), "event": "file", "number": message.seq, "text": text}
    emit(
        arguments,
        record,
        [f"“{plain(message.text, lines=False)}”:", "", *behind_margin(text.replace("\r\n", "\n")), ""],
    )


async def _save(arguments: argparse.Namespace, channel: Channel) -> None:
    message = next((one for one in channel.downloads.list() if one.seq == arguments.number), None)
    if message is None or message.attached is None:
        raise UserError("there is no file of this number here: `pourparler files` lists them")
    means = _LEAVES.format(
        name=plain(message.text, lines=False),
        size=size_words(message.attached.length),
        folder=plain(str(arguments.to), lines=False),
    )
    waysout.remind(arguments, channel)
    if not arguments.yes:
        progress(arguments, means)
        nobody = "nothing was saved: say --yes if that is what you want"
        if (await typed('To do it, type "save": ', nobody)).lower() != "save":
            raise UserError("nothing was saved")

    async def save(report: Report) -> Path:
        return await channel.downloads.save(arguments.number, arguments.to, report)

    path = await _reported(arguments, "fetching", save)
    record = {**file_record(message), "event": "saved", "number": message.seq, "path": str(path)}
    emit(
        arguments,
        record,
        [f"Saved as {plain(str(path), lines=False)}. It does not end by itself: erase it in time."],
    )


async def _reported(arguments: argparse.Namespace, what: str, act: Callable[[Report], Awaitable[T]]) -> T:
    """Does it, and says from time to time how far it is."""
    at, told = time.monotonic(), 0

    def report(done: int, total: int) -> None:
        nonlocal at, told
        percent = 100 * done // total
        if percent > told and time.monotonic() - at >= _OFTEN:
            at, told = time.monotonic(), percent
            progress(arguments, f"{what}: {percent} %")

    return await act(report)
