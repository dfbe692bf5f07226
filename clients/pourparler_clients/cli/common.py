"""What the commands share: where the vault is, how secrets come in, how answers go out.

Secrets are never arguments: a passphrase is asked for or read from a file descriptor, a grant from a file or
standard input. What others wrote is shown without the characters that could move the cursor or turn the line.
"""

import argparse
import asyncio
import base64
import binascii
import getpass
import json
import os
import re
import sys
import unicodedata
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlcipher3 import dbapi2

from pourparler_policies import charter
from pourparler_policies.charter import Charter
from pourparler_policies.charter.rules import MAX_CHARTER

from ..channel import Channel
from ..device import Device
from ..errors import PourparlerError, UserError
from ..store import Row

MAX_SECRET_LINE: Final = 1024  # bytes
MAX_FILE: Final = 16 * 1024  # bytes of a card, an invitation or a grant
# What passes by itself: the service is away, the disk is full.
PASSING: Final = (PourparlerError, dbapi2.Error, OSError)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DIRECTION: Final = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


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
    return Device.open(arguments.vault, passphrase(arguments))


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


def read_text(path: Path, what: str, limit: int = MAX_FILE) -> str:
    """A small text file of at most `limit` bytes, or standard input for `-`. Raises UserError."""
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(limit + 1)
        else:
            with path.open("rb") as file:
                data = file.read(limit + 1)
    except OSError as error:
        raise UserError(f"the {what} {path} cannot be read: {error.strerror or 'no reason given'}") from None
    if len(data) > limit:
        raise UserError(f"{path} is larger than any {what}")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a {what}: it is not UTF-8 text") from None


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


def plain(text: str, *, lines: bool = True) -> str:
    """Somebody else's text, safe on a terminal: control and direction characters become visible marks."""
    return "".join(
        char if (lines and char in "\n\t") or not _dangerous(char) else f"\\u{ord(char):04x}" for char in text
    )


def _dangerous(char: str) -> bool:
    return char in _DIRECTION or unicodedata.category(char) in ("Cc", "Cs", "Co", "Zl", "Zp")


def local_time(seconds: int) -> str:
    """A time as this device's owner reads it."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def emit(arguments: argparse.Namespace, record: dict[str, Any], lines: Sequence[str]) -> None:
    """One answer: an object for programs, or lines for people."""
    if arguments.json:
        print(json.dumps(record, ensure_ascii=False), flush=True)
    else:
        for line in lines:
            print(line, flush=True)


def progress(arguments: argparse.Namespace, text: str) -> None:
    """Long work says what it is doing, on standard error."""
    if not arguments.json:
        print(text, file=sys.stderr, flush=True)
