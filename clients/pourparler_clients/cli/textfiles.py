"""What a draft is made of: words and press keys from files, and an hour."""

import argparse
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pourparler_crypto.note import MAX_TEXT, PressKey, Refused, check_words

from ..errors import UserError
from ..papers import as_words
from .common import duration, read_text

_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


def read_words(given: list[str]) -> list[tuple[str, str]]:
    """Language and words of each LANGUAGE=FILE, as editors of every system save them. Raises UserError, which names the
    file and the line there: what is put together of the files is nothing that a person can open.
    """
    found = []
    for one in given:
        language, equals, file = one.partition("=")
        if not equals or not _LANGUAGE.fullmatch(language):
            raise UserError(f"{one} is not written as LANGUAGE=FILE, for example en=text.md")
        words = as_words(read_text(Path(file), "text", MAX_TEXT))
        try:
            check_words(words.strip("\n"))
        except Refused as refused:
            line = len(words) - len(words.lstrip("\n")) + refused.line if refused.line else None
            where = "standard input" if file == "-" else file
            raise UserError(f"{where}{f', line {line}' if line else ''}: {refused.refusal.value}") from None
        found.append((language, words))
    return found


def read_keys(given: list[str]) -> list[tuple[str, PressKey]]:
    """Name and press key of each NAME=FILE. Raises UserError, Refused."""
    found = []
    for one in given:
        name, equals, file = one.rpartition("=")
        if not equals:
            raise UserError(f"--key {one} is not written as NAME=FILE")
        found.append((name, PressKey.parse(read_text(Path(file), "press key").strip())))
    return found


def read_time(text: str) -> int:
    """Unix seconds of a time, or of a span from now. Raises UserError."""
    if text.startswith("+"):
        try:
            return int(time.time()) + duration(text[1:])
        except argparse.ArgumentTypeError as error:
            raise UserError(str(error)) from None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise UserError("a time is written like 2026-12-01T09:00Z, or like +2h from now") from None
    return int((read if read.tzinfo is not None else read.replace(tzinfo=UTC)).timestamp())
