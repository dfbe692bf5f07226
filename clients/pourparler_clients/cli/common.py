"""What the commands share: where the vault is, how secrets come in, how answers go out.

Secrets are never arguments: a passphrase is asked for or read from a file descriptor, a grant from a file or
standard input. How files are read and answers shown is in `texts`.
"""

import argparse
import asyncio
import base64
import binascii
import getpass
import os
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from sqlcipher3 import dbapi2

from pourparler_policies import charter
from pourparler_policies.charter import Charter
from pourparler_policies.charter.rules import MAX_CHARTER

from ..channel import Channel
from ..device import Device
from ..errors import PourparlerError, UserError
from ..store import Row
from . import locking
from .texts import MAX_FILE, emit, local_time, plain, progress, read_text

__all__ = [
    "MAX_FILE",
    "MAX_SECRET_LINE",
    "PASSING",
    "GlobalOptions",
    "choose_channel",
    "choose_row",
    "default_vault",
    "duration",
    "emit",
    "erasing",
    "line_from",
    "local_time",
    "open_device",
    "passphrase",
    "plain",
    "progress",
    "read_charter",
    "read_charter_text",
    "read_grant",
    "read_text",
    "row_title",
    "say_duration",
]

MAX_SECRET_LINE: Final = 1024  # bytes
# What passes by itself: the service is away, the disk is full.
PASSING: Final = (PourparlerError, dbapi2.Error, OSError)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}

_UNFINISHED: Final = """\
ATTENTION: a joint text is being signed on this device, in {titles}.
What is on this device alone is needed to complete it, or to take your word back. Erased now, the text may come to
nothing for everybody, or appear when you can no longer stop it."""

_TYPE_UNFINISHED: Final = 'To erase it none the less, type "unfinished": '


class GlobalOptions:
    """Options that every command on a vault has."""

    def add(self, parser: argparse.ArgumentParser, *, channel: bool = False) -> None:
        """Adds them to one command; `channel`: also the choice of a channel."""
        parser.add_argument(
            "--vault",
            metavar="DIR",
            type=Path,
            default=default_vault(),
            help="this device's vault (default: $POURPARLER_VAULT, or pourparler in your data directory)",
        )
        parser.add_argument(
            "--passphrase-fd", metavar="N", type=int, help="read the passphrase from this file descriptor"
        )
        parser.add_argument("--json", action="store_true", help="answers for programs, one object a line")
        if channel:
            parser.add_argument(
                "--channel",
                metavar="TITLE",
                help="which channel, when there are several: its title, or its number in `pourparler channels`",
            )


def default_vault() -> Path:
    """Where the vault is unless the person says otherwise."""
    named = os.environ.get("POURPARLER_VAULT")
    if named:
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "pourparler"


def passphrase(arguments: argparse.Namespace, *, new: bool = False) -> str:
    """Asks for the passphrase, or reads one line from the descriptor that was named."""
    if arguments.passphrase_fd is not None:
        return line_from(arguments.passphrase_fd)
    if not sys.stdin.isatty():
        raise UserError("the passphrase is asked for at a terminal; programs use --passphrase-fd")
    first = getpass.getpass("Passphrase: ")
    if new and getpass.getpass("The same again: ") != first:
        raise UserError("the two passphrases differ: nothing was made")
    return first


def line_from(descriptor: int) -> str:
    """One line of a file descriptor that is not standard input: a passphrase. Raises UserError."""
    try:
        with os.fdopen(descriptor, "rb", closefd=descriptor > 2) as file:
            line = file.readline(MAX_SECRET_LINE)
    except OSError:
        raise UserError(f"file descriptor {descriptor} cannot be read") from None
    try:
        return line.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise UserError("the passphrase is not UTF-8") from None


def open_device(arguments: argparse.Namespace) -> Device:
    """The device in the vault that was named."""
    device = Device.open(arguments.vault, passphrase(arguments))
    locking.lock_at_signals()
    return device


def choose_channel(device: Device, arguments: argparse.Namespace) -> Channel:
    """The channel that was named, or the only one. Raises UserError."""
    channels = device.channels()
    row = choose_row([channel.log.row for channel in channels], arguments.channel)
    return next(channel for channel in channels if channel.id == row.id)


def choose_row(rows: list[Row], wanted: str | None) -> Row:
    """The channel with this title, or else with this number, or the only one. Raises UserError."""
    if not rows:
        raise UserError("there is no channel in this vault yet: `pourparler open` or `pourparler join`")
    if wanted is None:
        if len(rows) == 1:
            return rows[0]
        raise UserError("there are several channels: name one with --channel (see `pourparler channels`)")
    found = [row for row in rows if row_title(row) == wanted]
    if not found:
        found = [row for row in rows if str(row.number) == wanted]
    if not found:
        raise UserError("no channel here has this title or number: see `pourparler channels`")
    if len(found) > 1:
        raise UserError(f"{len(found)} channels have this title: use the number from `pourparler channels`")
    return found[0]


def add_yes(parser: argparse.ArgumentParser) -> None:
    """For what erases: given once it is not asked again, given twice not even about an unfinished signature."""
    text = "do not ask again; twice: not even when a joint text is being signed on this device"
    parser.add_argument("--yes", action="count", default=0, help=text)


def check_unfinished(arguments: argparse.Namespace, rows: Sequence[Row]) -> None:
    """Raises UserError unless the person gives a second yes to erase a device that a joint text still needs."""
    if not rows or arguments.yes > 1:
        return
    titles = ", ".join(f"“{plain(row_title(row), lines=False)}”" for row in rows)
    progress(arguments, _UNFINISHED.format(titles=titles))
    if not sys.stdin.isatty() or locking.asked(_TYPE_UNFINISHED) != "unfinished":
        raise UserError(
            f"nothing was done: a joint text is being signed on this device, in {titles}; wait until `pourparler "
            "release status` says that it is over, or give --yes twice"
        )


def row_title(row: Row) -> str:
    """The title of a channel that may not be open."""
    return charter.decode(row.charter).title


@asynccontextmanager
async def erasing(device: Device) -> AsyncIterator[None]:
    """Meanwhile each text is erased when its time is over; what hinders that for now (a full disk) is outlived."""
    task = asyncio.create_task(_erase_on_time(device))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _erase_on_time(device: Device) -> None:
    while True:
        pause = 1.0
        with suppress(*PASSING):
            device.purge()
            end = device.next_end()
            if end is not None:
                pause = min(1.0, max(0.05, end - device.clock()))
        await asyncio.sleep(pause)


def read_charter_text(path: Path) -> str:
    """A charter's text, read with its own limit. Raises UserError."""
    return read_text(path, "charter", MAX_CHARTER).removeprefix("\ufeff")  # some editors begin with one


def read_charter(path: Path) -> Charter:
    """A charter without errors. Raises UserError."""
    try:
        return charter.parse(read_charter_text(path))
    except charter.CharterErrors as error:
        first, *more = error.errors
        others = f", and {len(more)} more" if more else ""
        raise UserError(f"{path} has errors: {first}{others}; see `pourparler charter check {path}`") from None


def read_grant(path: Path | None) -> bytes:
    """The operator's grant: from a file, or asked for."""
    if path is None and sys.stdin.isatty():
        text = getpass.getpass("The operator's grant: ")
    else:
        text = read_text(path or Path("-"), "grant")
    text = text.strip()
    try:
        grant = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        grant = b""
    if len(grant) != 32:
        raise UserError("this is not a grant: ask the operator for one (`pourparler grant`)")
    return grant


def duration(text: str) -> int:
    """Seconds: a number with s, m, h or d behind it."""
    match = re.fullmatch(r"([0-9]{1,8})([smhd]?)", text.strip())
    if match is None or int(match[1]) == 0:
        raise argparse.ArgumentTypeError("a duration looks like 45s, 30m, 12h or 7d")
    return int(match[1]) * _UNITS[match[2] or "s"]


def say_duration(seconds: int) -> str:
    """A duration in words, rounded to what matters."""
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = round(seconds / size)
            return f"{count} {unit}{'s' if count != 1 else ''}"
    return f"{seconds} second{'s' if seconds != 1 else ''}"
