"""Commands for talking: say, read, watch, talk."""

import argparse
import asyncio
import json
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from pourparler_policies.wire import Problem

from ..channel import Channel
from ..device import Device
from ..errors import PourparlerError, Refused, Unkept, Unreachable, UserError
from ..happenings import Happening
from ..invitations import Inviter
from ..store import State
from . import adjourning, prompts
from .attachments import carry_on
from .common import PASSING, GlobalOptions, choose_channel, duration, emit, erasing, open_device, progress
from .locking import PATIENCE, next_of, say_locked, wipe_screen
from .showing import (
    history,
    news,
    show,
    show_closed,
    show_missed,
    show_step,
    title_of,
    trouble,
    warn_absent,
)
from .table import do_words

_LOOK: Final = (0.3, 5.0)  # seconds between looks for answered invitations: while some are under way, otherwise
_AGAIN: Final = 3.0  # seconds until what could not be sent, or a service that was not there, is tried again
_CLEARED: Final = 0.3  # seconds between looks whether the vault has been cleared
WATCH_LOCKS: Final = 2 * 60 * 60  # seconds: who only watches touches no key; who has to stay connected says so
_CHUNK: Final = 64 * 1024  # bytes read at a time
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
    watch.add_argument(
        "--lock-after", type=duration, default=WATCH_LOCKS, help="lock after so long; Enter begins it anew (2h)"
    )
    watch.set_defaults(func=_watch)

    talk = commands.add_parser(
        "talk", help="talk: each line is a message, /help lists other words; see the others as they come"
    )
    options.add(talk, channel=True)
    talk.add_argument("--life", type=duration, help="a shorter life than the channel's for what you say")
    talk.add_argument(
        "--lock-after", type=duration, default=PATIENCE, help="lock after so long without a line from you (15m)"
    )
    talk.set_defaults(func=_talk)


async def _say(arguments: argparse.Namespace) -> int:
    async with open_device(arguments) as device:
        channel = choose_channel(device, arguments)
        title, shown = channel.log.charter.title, title_of(channel)
        if sys.stdin.isatty():
            progress(arguments, f"Your message for “{shown}” (end it with Ctrl-D on a line of its own):")
        text = _decode(sys.stdin.buffer.read(_MAX_LINE + 1))
        try:
            await channel.say(text, arguments.life)
        except Unkept as error:
            record = {"said": False, "waiting": channel.log.store.outbox.waiting(), "title": title}
            emit(arguments, record, [_GONE.format(why=error)])
            return 1
        except Unreachable as error:
            record = {"said": False, "waiting": channel.log.store.outbox.waiting(), "title": title}
            emit(arguments, record, [_WAITS.format(why=error)])
            return 1
        except PourparlerError:
            if not await _told(arguments, channel):
                return 1
            raise
        if not await _told(arguments, channel):
            return 1
        emit(arguments, {"said": True, "title": title}, [f"Said in “{shown}”."])
        warn_absent(arguments, channel, arguments.life)
        adjourning.warn_adjourned(arguments, channel)
    return 0


async def _told(arguments: argparse.Namespace, channel: Channel) -> bool:
    """Shows what came to light while something was said. False: the channel has ended."""
    happened: list[Happening] = []
    with suppress(PourparlerError):
        happened = await channel.sync()
    return news(arguments, channel, happened)


_WAITS: Final = "Not sent yet: {why}. The message waits in the vault and is sent the next time."
_UNKEPT: Final = "Not sent yet: {why}"
_GONE: Final = "Not said: {why}. This program ends now: say it again when there is a connection."


def _decode(data: bytes) -> str:
    """What a person wrote. Raises UserError when it is too long or not text."""
    if len(data) > _MAX_LINE:
        raise UserError("this is longer than any message: send it in parts")
    try:
        return data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise UserError("what you wrote is not UTF-8 text") from None


def _meant(data: bytes, *, as_json: bool) -> tuple[str, str]:
    """What one line of input wants said (first), or done (second: `approve 12345`). Raises UserError."""
    text = _decode(data)
    if not as_json:
        if text.startswith("/") and not text.startswith("//"):
            return "", text[1:]
        return text.removeprefix("/") if text.startswith("//") else text, ""
    try:
        record = json.loads(text)
        meant = record.get("say", ""), record.get("do", "")
    except (ValueError, TypeError, AttributeError, RecursionError):
        meant = None, None
    if not all(isinstance(part, str) for part in meant) or bool(meant[0]) == bool(meant[1]):
        raise UserError('each line is an object like {"say": "…"} or {"do": "approve 12345"}')
    return meant


async def _read(arguments: argparse.Namespace) -> int:
    async with open_device(arguments) as device:
        channel = choose_channel(device, arguments)
        try:
            if not news(arguments, channel, await channel.sync()):
                return 1
        except Unreachable:
            progress(arguments, "The service does not answer: this is what this device already has.")
        show_missed(arguments, channel)
        await history(arguments, channel, device.clock())
        show_closed(arguments, channel, device.clock())
        adjourning.warn_adjourned(arguments, channel)
        if channel.log.row.trouble:
            progress(arguments, f"ATTENTION: {channel.log.row.trouble}")
    return 0


async def _watch(arguments: argparse.Namespace) -> int:
    return await _until_locked(arguments, _idle)


async def _talk(arguments: argparse.Namespace) -> int:
    return await _until_locked(arguments, _speak)


async def _until_locked(
    arguments: argparse.Namespace, present: Callable[[argparse.Namespace, Channel], Awaitable[bool]]
) -> int:
    """Follows the channel while its person is `present`: that returns True to lock, False when the input has ended."""
    locked = cleared = False
    async with open_device(arguments) as device:
        channel = choose_channel(device, arguments)
        following = asyncio.create_task(_follow(arguments, device, channel))
        staying = asyncio.ensure_future(present(arguments, channel))
        looking = asyncio.create_task(_cleared(device))
        tasks = {following, staying, looking}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        cleared = device.vault.cleared  # then nothing else that went wrong matters
        if following in done and not cleared:
            following.result()
        if staying in done and not cleared:
            locked = staying.result()
        status = 0 if cleared else _status(channel)
    if cleared:
        wipe_screen(arguments)
        emit(arguments, {"event": "cleared"}, ["— this device has been cleared: nothing of it is kept —"])
    elif locked:
        say_locked(arguments)
    return status


async def _cleared(device: Device) -> None:
    """Until the vault is cleared by `clear` in another window: what is open here must not outlive it."""
    while not device.vault.cleared:  # noqa: ASYNC110 -- another process does it
        await asyncio.sleep(_CLEARED)


def _status(channel: Channel) -> int:
    return 1 if channel.log.row.state is State.HALTED else 0


async def _follow(arguments: argparse.Namespace, device: Device, channel: Channel) -> None:
    """Shows what happens, carries invitations on and erases what has ended, until the channel ends."""
    trouble(arguments, channel)
    line = _Line(arguments, channel)
    async with erasing(device):
        happened = await line.sync()
        shown = await history(
            arguments, channel, device.clock()
        )  # also without the service: what opens can be read
        show_closed(arguments, channel, device.clock())
        while happened is None:
            await asyncio.sleep(_AGAIN)
            happened = await line.sync()
        shown |= await history(
            arguments, channel, device.clock(), shown
        )  # what opens now that the service is there
        await _show_new(arguments, channel, happened, shown)
        if channel.log.row.state not in (State.OPEN, State.ALARM):
            return
        show_missed(arguments, channel)
        emit(arguments, {"event": "ready", "state": channel.log.row.state}, ["— you are connected —"])
        adjourning.warn_adjourned(arguments, channel)
        helpers = [
            asyncio.create_task(_carry_invitations(arguments, device.inviter(channel))),
            asyncio.create_task(line.keep()),
            asyncio.create_task(carry_on(arguments, channel)),
            asyncio.create_task(adjourning.keep(arguments, channel)),
        ]
        try:
            async for happening in channel.watch():
                await _show_new(arguments, channel, [happening], shown)
                show_missed(arguments, channel)
        finally:
            for task in helpers:
                task.cancel()


async def _show_new(
    arguments: argparse.Namespace, channel: Channel, happened: list[Happening], shown: set[int]
) -> None:
    for happening in happened:
        if happening.kind not in ("said", "shuttle"):
            show(arguments, channel, happening)
        elif happening.message is not None and happening.seq not in shown:
            for message in await channel.read([happening.message]):
                show(arguments, channel, replace(happening, message=message))


class _Line:
    """Whether the service is there: says so when that changes, and tries what waits again while it is not."""

    def __init__(self, arguments: argparse.Namespace, channel: Channel) -> None:
        self._arguments = arguments
        self._channel = channel
        self._there = True

    async def sync(self) -> list[Happening] | None:
        """What is new; None while the service is not there, or takes nothing for now."""
        try:
            happened = await self._channel.sync()
        except (Unreachable, Refused) as error:
            if isinstance(error, Refused) and error.problem not in (Problem.BUDGET, Problem.UNAVAILABLE):
                raise
            if self._there:
                self._there = False
                emit(self._arguments, {"event": "offline"}, ["— no connection; trying again —"])
            return None
        if not self._there:
            self._there = True
            emit(self._arguments, {"event": "online"}, ["— the connection is back —"])
        return happened

    async def keep(self) -> None:
        """Again and again; what the service refuses for good is said by who follows the channel."""
        while True:
            await asyncio.sleep(_AGAIN)
            with suppress(*PASSING):
                await self.sync()


async def _speak(arguments: argparse.Namespace, channel: Channel) -> bool:
    """Ends with the input (False); or to lock (True): when told to, and when nothing was written for long."""
    warned: set[bytes] = set()  # of whom the person was told that they may miss it: once for each is enough
    next_line = _input_lines(arguments.lock_after)
    prompts.read_from(next_line)
    try:
        while (line := await next_line()) is not None:
            if line.strip() and await _hear(arguments, channel, line, warned):
                return True
    except TimeoutError:
        return True
    return False


async def _idle(arguments: argparse.Namespace, _: Channel) -> bool:
    """Returns True, to lock, when nobody has pressed Enter for long. No terminal, nobody who could: it ends by time."""
    next_line = _input_lines(arguments.lock_after) if sys.stdin.isatty() else None
    try:
        while next_line is not None and await next_line() is not None:
            continue
        await next_of(asyncio.Queue(), arguments.lock_after)
    except TimeoutError:
        return True
    return False


async def _hear(arguments: argparse.Namespace, channel: Channel, line: bytes, warned: set[bytes]) -> bool:
    """Says or does what one line wants. Returns whether to lock."""
    try:
        said, done = _meant(line, as_json=arguments.json)
        if done.strip() == "lock":
            return True
        if done:
            await do_words(done, channel, as_json=arguments.json)
        else:
            await channel.say(said, arguments.life)
            warned |= warn_absent(arguments, channel, arguments.life, warned)
    except Unkept as error:
        emit(arguments, {"event": "unkept"}, [f"— {_UNKEPT.format(why=error)} —"])
    except Unreachable as error:
        emit(arguments, {"event": "waiting"}, [f"— {_WAITS.format(why=error)} —"])
    except (PourparlerError, ValueError) as error:
        emit(arguments, {"event": "error", "text": str(error)}, [f"— {error} —"])
    return False


def _input_lines(patience: float) -> prompts.Lines:
    """Lines of standard input, read aside so that the rest goes on; None at its end.

    What it returns raises TimeoutError when no line came for `patience` seconds.
    """
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes | None] = asyncio.Queue()

    def read() -> None:
        with suppress(RuntimeError):  # the loop has closed: nobody waits for more
            for line in _lines_of(sys.stdin.fileno()):
                loop.call_soon_threadsafe(lines.put_nowait, line)
            loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()

    async def next_line() -> bytes | None:
        line = await next_of(lines, patience)
        if line is None:
            lines.put_nowait(None)  # the end stays the end, whoever asks
        return line

    return next_line


def _lines_of(descriptor: int) -> Iterator[bytes]:
    """Lines as they come; of one that is too long no more than shows it.

    Read past `sys.stdin`: a thread that waits in its buffer makes Python abort at the end, with a core dump.
    """
    held = b""
    while chunk := os.read(descriptor, _CHUNK):
        *whole, held = (held + chunk).split(b"\n")
        yield from (line[: _MAX_LINE + 1] + b"\n" for line in whole)
        held = held[: _MAX_LINE + 1]
    if held:
        yield held


async def _carry_invitations(arguments: argparse.Namespace, inviter: Inviter) -> None:
    told: dict[str, str] = {}
    while True:
        pause = _LOOK[1]
        try:
            pause = _LOOK[0] if inviter.pending() else _LOOK[1]
            for step in await inviter.progress():
                if told.get(step.name) != step.step:
                    told[step.name] = step.step
                    show_step(arguments, step)
        except PASSING:  # said when something is sent; here it only waits
            pause = _LOOK[1]
        await asyncio.sleep(pause)
