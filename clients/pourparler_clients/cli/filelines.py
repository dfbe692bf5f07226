"""How a file in a channel is shown: its name made harmless, its size, and how to open it."""

from typing import Any, Final

from ..messages import Message
from .common import plain

_UNITS: Final = ((1024 * 1024, "MB"), (1024, "KB"))


def size_words(size: int) -> str:
    """A size as people say it: 120 KB."""
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:.1f} {name}" if size < 10 * unit else f"{size // unit} {name}"
    return f"{size} bytes"


def file_record(message: Message) -> dict[str, Any]:
    """What programs are told of a file, besides what they are told of every message."""
    if message.attached is None:
        return {}
    return {
        "event": "attached",
        "file": message.text,
        "kind": plain(message.attached.kind, lines=False),
        "length": message.attached.length,
    }


def file_line(message: Message) -> str:
    """What people are told of a file: its name, its size, and how to open it."""
    if message.attached is None:
        return ""
    name, size = plain(message.text, lines=False), size_words(message.attached.length)
    return f"attached “{name}”, {size}: `pourparler view {message.seq}`, or `save {message.seq} --to FOLDER`"
