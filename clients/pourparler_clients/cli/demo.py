"""`pourparler demo`: the main job, with real processes."""

import argparse
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..demo.story import MAX_FILE, paragraphs, tell
from ..errors import UserError


def add_commands(commands: Any) -> None:
    """Registers `demo`."""
    demo = commands.add_parser("demo", help="see it work: three devices, one service, and nothing left afterwards")
    demo.add_argument("--text", metavar="FILE", type=Path, help="a UTF-8 text; each paragraph is a message")
    demo.add_argument("--keep", metavar="DIR", type=Path, help="keep the service's files and the vaults there")
    demo.set_defaults(func=_demo)


def _demo(arguments: argparse.Namespace) -> int:
    path: Path | None = arguments.text
    try:
        if path is None:
            text = (files("pourparler_clients") / "demo" / "default.txt").read_bytes()
        else:
            with path.open("rb") as file:
                text = file.read(MAX_FILE + 1)
    except OSError as error:
        raise UserError(f"the text {path} cannot be read: {error.strerror or 'no reason given'}") from None
    messages = paragraphs(text, str(path or "the default text"))
    return tell(messages, arguments.keep, lambda line: print(line, flush=True))
