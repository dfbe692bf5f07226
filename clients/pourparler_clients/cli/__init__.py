"""`pourparler`: the command line. One clear sentence for a person when something cannot be done, and status 2.

Commands are loaded when the command line is built. `verify` is built alone: its process loads no module that could
reach a network, not even the standard library's `socket`, which asyncio and importlib.metadata bring along.
"""

import argparse
import inspect
import io
import os
import sys
from collections.abc import Coroutine, Sequence
from typing import Any

from sqlcipher3 import dbapi2

from pourparler_crypto.errors import CryptoError
from pourparler_policies.errors import PolicyError

from ..errors import PourparlerError
from . import verify
from .memory import keep_no_image
from .texts import plain

_EPILOG = """\
first steps:
  pourparler card new --name NAME      make a vault with a card on this device
  pourparler card show                 the card to give to who may invite you, and its check digits
  pourparler open --service URL --charter FILE
                                       open a channel, with a grant of the service's operator
  pourparler invite CARD               an invitation, sealed to a card
  pourparler join INVITATION           answer an invitation, read its charter, join
  pourparler talk                      talk, and see what the others say
"""

_PERHAPS = "What you sent last may or may not have arrived; look with `pourparler read`."
_VAULT = (
    "the vault cannot be written or read (is the disk full?): what you sent last may or may not have arrived; "
    "look with `pourparler read`"
)


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The whole command line, with which the README is compared; or, for `verify`, no more than that command."""
    parser = argparse.ArgumentParser(
        prog="pourparler",
        description="Confidential talks for unofficial diplomacy: off the record, between equals.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(func=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    if command != "verify":
        _add_commands(parser, commands)
    verify.add_commands(commands)
    return parser


def _add_commands(parser: argparse.ArgumentParser, commands: Any) -> None:
    import importlib.metadata  # noqa: PLC0415 -- see the module's docstring

    from . import acts, cards, carrying, channels, charter, demo, notes, proxy, release_keys, table, talk  # noqa: PLC0415
    from .common import GlobalOptions  # noqa: PLC0415

    parser.add_argument(
        "--version", action="version", version="pourparler " + importlib.metadata.version("pourparler")
    )
    options = GlobalOptions()
    cards.add_commands(commands, options)
    charter.add_commands(commands)
    channels.add_commands(commands, options)
    talk.add_commands(commands, options)
    table.add_commands(commands, options)
    carrying.add_commands(commands, options)
    acts.add_commands(commands, options)
    proxy.add_commands(commands, options)
    release_keys.add_commands(commands, options)
    notes.add_commands(commands, options)
    demo.add_commands(commands)
    for entry in sorted(importlib.metadata.entry_points(group="pourparler.commands"), key=lambda e: e.name):
        try:
            entry.load()(commands)
        except ModuleNotFoundError:
            continue  # the plain install is what a client needs: no service here


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command. Status: 0 done, 1 not everything held, 2 it could not be done, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a character shows its number
            stream.reconfigure(errors="backslashreplace")
    words = sys.argv[1:] if argv is None else list(argv)
    parser = build_parser(words[0] if words else None)
    arguments = parser.parse_args(words)
    if arguments.func is None:
        parser.print_help()
        return 2
    try:
        result = arguments.func(arguments)
        return int(_finish(result) if inspect.iscoroutine(result) else result)
    except (PourparlerError, CryptoError, PolicyError) as error:
        print(f"pourparler: {plain(str(error))}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 1
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"pourparler: {plain(place)}{error.strerror or 'the system gave no reason'}", file=sys.stderr)
        return 2
    except dbapi2.Error:
        print(f"pourparler: {_VAULT}", file=sys.stderr)
        return 2
    except EOFError:
        print("pourparler: no answer was given", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        # A defect of ours. A traceback may hold a secret: it is shown only to who asks for it.
        if os.environ.get("POURPARLER_DEBUG"):
            raise
        kind = type(error).__name__
        print(
            f"pourparler: something went wrong inside ({kind}). {_PERHAPS} Please report it.",
            file=sys.stderr,
        )
        return 70


def _finish(result: Coroutine[Any, Any, int]) -> int:
    import asyncio  # noqa: PLC0415 -- see the module's docstring

    return asyncio.run(result)


def run() -> None:
    """The console script."""
    keep_no_image()
    sys.exit(main())
