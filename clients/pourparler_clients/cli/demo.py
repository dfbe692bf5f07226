"""`pourparler demo`: the main job, with real processes."""

import argparse
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..demo import release, shuttle
from ..demo.story import MAX_FILE, paragraphs, tell
from ..errors import UserError


def add_commands(commands: Any) -> None:
    """Registers `demo`."""
    demo = commands.add_parser(
        "demo",
        help="see it work: four devices, one of them cleared and back, nothing left of what was said, a joint text",
    )
    demo.add_argument("--text", metavar="FILE", type=Path, help="a UTF-8 text; each paragraph is a message")
    demo.add_argument(
        "--communique",
        metavar="FILE",
        type=Path,
        help="a joint text in Markdown; [en] on a line begins a language",
    )
    demo.add_argument(
        "--shuttle", action="store_true", help="instead: two sides that share no channel, and an intermediary"
    )
    demo.add_argument(
        "--packages", metavar="DIR", type=Path, help="the texts that are sounded in --shuttle, one a file"
    )
    demo.add_argument("--keep", metavar="DIR", type=Path, help="keep the service's files and the vaults there")
    demo.set_defaults(func=_demo)


def _demo(arguments: argparse.Namespace) -> int:
    if arguments.shuttle and (arguments.text or arguments.communique):
        raise UserError("--text and --communique are not used in --shuttle: its texts are those of --packages")
    if arguments.packages and not arguments.shuttle:
        raise UserError("--packages are sounded in --shuttle: say both")
    if arguments.shuttle:
        return shuttle.tell(
            shuttle.packages(arguments.packages), arguments.keep, lambda line: print(line, flush=True)
        )
    text, name = _given(arguments.text, "text", "default.txt")
    messages = paragraphs(text, name)
    text, name = _given(arguments.communique, "communiqué", "communique.md")
    words = release.sections(text, name)
    release.check(words, name)
    return tell(messages, words, arguments.keep, lambda line: print(line, flush=True))


def _given(path: Path | None, what: str, default: str) -> tuple[bytes, str]:
    """A file that was named, or the one that comes along. Raises UserError."""
    if path is None:
        return (files("pourparler_clients") / "demo" / default).read_bytes(), f"the default {what}"
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE + 1), str(path)
    except OSError as error:
        raise UserError(f"the {what} {path} cannot be read: {error.strerror or 'no reason given'}") from None
