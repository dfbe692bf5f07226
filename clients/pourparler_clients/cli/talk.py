"""Commands for talking: say, read, watch, talk."""

import argparse
import asyncio
import json
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

from pourparler_crypto.card import check_digits

from ..channel import Channel
from ..device import Device
from ..errors import PourparlerError, Unreachable, UserError
from ..invitations import Inviter
from ..log import Happening
from ..store import Message, State
from .common import (
    GlobalOptions,
    choose_channel,
    duration,
    emit,
    local_time,
    open_device,
    plain,
    progress,
    say_duration,
)

_LOOK: Final = (0.3, 5.0)  # seconds between looks for answered invitations: while some are under way, otherwise
_MAX_LINE: Final = 512 * 1024  # bytes of one line of input: MAX_TEXT as JSON with every character escaped fits


def add_commands(commands: Any, options: GlobalOptions) -> None:
    """Registers the commands of this module."""
    say = commands.add_parser("say", help="say what stands on standard input, as one message")
    options.add(say, channel=True)
    say.add_argument("--life", type=duration, help="a shorter life than the channel's: 45s, 30m, 12h, 7d")
    say.set_defaults(func=_say)

    read = commands.add_parser("read", help="what is there to read now")
    options.add(read, channel=True)
    read.set_defaults(func=_read)

    watch = commands.add_parser("watch", help="show what the others say, as they say it")
    options.add(watch, channel=True)
    watch.set_defaults(func=_watch)

    talk = commands.add_parser("talk", help="talk: each line you write is a message; see the others' as they come")
    options.add(talk, channel=True)
    talk.add_argument("--life", type=duration, help="a shorter life than the channel's for what you say")
    talk.set_defaults(func=_talk)


async def _say(arguments: argparse.Namespace) -> int:
    async with open_device(arguments) as device:
        channel = choose_channel(device, arguments)
        if sys.stdin.isatty():
            progress(arguments, "Your message (end it with Ctrl-D on a line of its own):")
        text = _decode(sys.stdin.buffer.read(_MAX_LINE + 1))
        try:
            await channel.say(text, arguments.life)
        except Unreachable as error:
            emit(arguments, {"said": False, "waiting": channel.log.store.waiting()}, [_WAITS.format(why=error)])
            return 1
        emit(arguments, {"said": True}, ["Said."])
    return 0


_WAITS: Final = "Not sent yet: {why}. The message waits in the vault and is sent the next time."


def _decode(data: bytes) -> str:
    """What a person wrote. Raises UserError when it is too long or not text."""
    if len(data) > _MAX_LINE:
        raise UserError("this is longer than any message: send it in parts")
    try:
        return data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise UserError("what you wrote is not UTF-8 text") from None


def _said(data: bytes, *, as_json: bool) -> str:
    """The text of one line of input. Raises UserError."""
    text = _decode(data)
    if not as_json:
        return text
    try:
        said = json.loads(text)["say"]
    except (ValueError, TypeError, KeyError, RecursionError):
        said = None
    if not isinstance(said, str):
        raise UserError('each line is an object like {"say": "…"}')
    return said


async def _read(arguments: argparse.Namespace) -> int:
    async with open_device(arguments) as device:
        channel = choose_channel(device, arguments)
        try:
            await channel.sync()
        except Unreachable:
            progress(arguments, "The service does not answer: this is what this device already has.")
        _show_missed(arguments, channel)
        _history(arguments, channel, device)
        if channel.log.row.trouble:
            progress(arguments, f"ATTENTION: {channel.log.row.trouble}")
    return 0


async def _watch(arguments: argparse.Namespace) -> int:
    async with open_device(arguments) as device:
        await _follow(arguments, device, choose_channel(device, arguments))
    return 0


async def _talk(arguments: argparse.Namespace) -> int:
    async with open_device(arguments) as device:
        channel = choose_channel(device, arguments)
        following = asyncio.create_task(_follow(arguments, device, channel))
        speaking = asyncio.create_task(_speak(arguments, channel))
        done, pending = await asyncio.wait({following, speaking}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        for task in done:
            task.result()
    return 0


async def _follow(arguments: argparse.Namespace, device: Device, channel: Channel) -> None:
    """Shows what happens, carries invitations on and erases what has ended, until the channel ends."""
    helpers = [
        asyncio.create_task(_carry_invitations(arguments, device.inviter(channel))),
        asyncio.create_task(_erase_on_time(device)),
    ]
    try:
        _history(arguments, channel, device)
        emit(arguments, {"event": "ready", "state": channel.log.row.state}, ["— you are connected —"])
        async for happening in channel.watch():
            _show(arguments, happening)
            _show_missed(arguments, channel)
    finally:
        for task in helpers:
            task.cancel()


async def _speak(arguments: argparse.Namespace, channel: Channel) -> None:
    async for line in _input_lines():
        if not line.strip():
            continue
        try:
            await channel.say(_said(line, as_json=arguments.json), arguments.life)
        except Unreachable as error:
            emit(arguments, {"event": "waiting"}, [f"— {_WAITS.format(why=error)} —"])
        except (PourparlerError, ValueError) as error:
            emit(arguments, {"event": "error", "text": str(error)}, [f"— {error} —"])


async def _input_lines() -> AsyncIterator[bytes]:
    """Lines of standard input, read aside so that the rest goes on."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes | None] = asyncio.Queue()

    def read() -> None:
        with suppress(RuntimeError):  # the loop has closed: nobody waits for more
            while line := sys.stdin.buffer.readline(_MAX_LINE + 1):
                end = line
                while len(end) > _MAX_LINE and not end.endswith(b"\n"):
                    end = sys.stdin.buffer.readline(_MAX_LINE + 1)  # the rest of a line that is refused as a whole
                loop.call_soon_threadsafe(lines.put_nowait, line)
            loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    while (line := await lines.get()) is not None:
        yield line


async def _carry_invitations(arguments: argparse.Namespace, inviter: Inviter) -> None:
    told: dict[str, str] = {}
    while True:
        pause = _LOOK[0] if inviter.pending() else _LOOK[1]
        try:
            for step in await inviter.progress():
                if told.get(step.name) != step.step:
                    told[step.name] = step.step
                    text = f"— invitation of {plain(step.name, lines=False)}: {step.step} —"
                    emit(arguments, {"event": "invitation", "name": step.name, "step": step.step}, [text])
        except PourparlerError:  # said when something is sent; here it only waits
            pause = _LOOK[1]
        await asyncio.sleep(pause)


async def _erase_on_time(device: Device) -> None:
    while True:
        device.purge()
        end = device.next_end()
        await asyncio.sleep(1 if end is None else min(1, max(0.05, end - device.clock())))


def _history(arguments: argparse.Namespace, channel: Channel, device: Device) -> None:
    for message in channel.log.store.messages(device.clock()):
        _show_message(arguments, message, _name(channel, message))


def _name(channel: Channel, message: Message) -> str:
    member = channel.log.members.get(message.sender)
    return member.name if member else "somebody who has left"


def _show(arguments: argparse.Namespace, happening: Happening) -> None:
    member = happening.member
    name = plain(member.name, lines=False) if member else "somebody who has left"
    if happening.kind == "said" and happening.message is not None:
        _show_message(arguments, happening.message, name)
        return
    record: dict[str, Any] = {"event": happening.kind, "seq": happening.seq}
    if member is not None:
        record |= {"name": member.name, "check_digits": check_digits(member.fingerprint)}
    if happening.text:
        record["text"] = happening.text
    emit(arguments, record, [_LINES[happening.kind].format(name=name, text=happening.text)])


_LINES: Final = {
    "seated": "— {name} has taken a seat —",
    "leaving": "— {name} is leaving —",
    "left": "— {name} has left —",
    "removed": "— this device is no longer in the channel; everything of it here is erased —",
    "closed": "— {name} has closed the channel; everything of it here is erased —",
    "alarm": "ATTENTION: {text}",
    "halted": "ATTENTION: {text}",
}


def _show_message(arguments: argparse.Namespace, message: Message, name: str) -> None:
    record = {
        "event": "said",
        "seq": message.seq,
        "id": message.id.hex(),
        "name": name,
        "own": message.own,
        "text": message.text,
        "received_at": message.received_at,
        "expires_at": message.expires_at,
    }
    who = "you" if message.own else plain(name, lines=False)
    left = say_duration(message.expires_at - message.received_at)
    head = f"[{local_time(message.received_at)[-5:]}, lives {left}] {who}:"
    first, *rest = plain(message.text).split("\n")
    emit(arguments, record, [f"{head} {first}", *("    " + line for line in rest)])


def _show_missed(arguments: argparse.Namespace, channel: Channel) -> None:
    missed = channel.log.row.missed
    if missed and channel.log.row.state in (State.OPEN, State.ALARM):
        channel.log.forget_missed()
        emit(arguments, {"event": "missed", "count": missed}, [f"— {missed} expired unread —"])
