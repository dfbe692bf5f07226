"""`pourparler note`: a completed text that was sealed to this device's card."""

import argparse
import asyncio
from pathlib import Path
from typing import Any

from pourparler_crypto.errors import NotAuthentic
from pourparler_crypto.note import MAX_BRIEF

from ..errors import UserError
from .common import GlobalOptions, emit, open_device, read_text
from .files import check_new, create


def add_commands(commands: Any, options: GlobalOptions) -> None:
    """Registers `note` with its verb."""
    note = commands.add_parser("note", help="a completed text that was sealed to your card")
    verbs = note.add_subparsers(title="verbs", metavar="VERB", required=True)
    opening = verbs.add_parser("open", help="open it with this device's card, and check every signature")
    options.add(opening)
    opening.add_argument("file", metavar="FILE", type=Path, help="the sealed text's file, or - for standard input")
    opening.add_argument("--out", required=True, metavar="NOTE", type=Path, help="where to write the signed note")
    opening.set_defaults(func=_open)


def _open(arguments: argparse.Namespace) -> int:
    check_new(arguments.out)
    sealed = read_text(arguments.file, "sealed text", MAX_BRIEF)
    device = open_device(arguments)
    try:
        note = device.open_brief(sealed)
    except NotAuthentic:
        raise UserError(
            "this cannot be opened and checked with the card of this vault: it was sealed to another card, or altered"
        ) from None
    finally:
        asyncio.run(device.aclose())
    create(arguments.out, note.encode())
    emit(
        arguments,
        {"event": "opened", "file": str(arguments.out)},
        [
            f"Opened into {arguments.out}; every signature in it is valid.",
            f"Whose they are, your own key book says: `pourparler verify {arguments.out} --keys BOOK`.",
        ],
    )
    return 0
