"""Texts that others wrote: read with a limit, shown without the characters that could move the cursor or turn the line.

And answers, for people or for programs. This module loads nothing that could reach a network: `verify` needs it.
"""

import argparse
import json
import sys
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ..errors import UserError

MAX_FILE: Final = 16 * 1024  # bytes of a card, an invitation or a grant
_DIRECTION: Final = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")

taken = (
    False  # `talk` reads standard input: whoever read beside it would take a line, or leave one that is then said
)


def read_bytes(path: Path, what: str, limit: int) -> bytes:
    """A file of at most `limit` bytes, or standard input for `-`. Raises UserError."""
    try:
        if str(path) == "-":
            if taken:
                raise UserError(
                    f"inside a talk the {what} cannot be read from here: name a file, or write it in the line"
                )
            if sys.stdin.isatty():
                print(f"Type the {what}, and end it with Ctrl-D on a line of its own:", file=sys.stderr)
            data = sys.stdin.buffer.read(limit + 1)
        else:
            with path.open("rb") as file:
                data = file.read(limit + 1)
    except OSError as error:
        raise UserError(f"the {what} {path} cannot be read: {error.strerror or 'no reason given'}") from None
    if len(data) > limit:
        raise UserError(f"{path} is larger than any {what}")
    return data


def read_text(path: Path, what: str, limit: int = MAX_FILE) -> str:
    """A small text file of at most `limit` bytes, or standard input for `-`. Raises UserError."""
    try:
        return read_bytes(path, what, limit).decode()
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a {what}: it is not UTF-8 text") from None


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
