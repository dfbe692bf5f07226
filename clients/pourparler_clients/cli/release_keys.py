"""`pourparler release-key`: a party's press key. Made once, published elsewhere long before it is used, kept apart.

The secret half leaves the vault only in a backup, sealed under a passphrase of its own.
"""

import argparse
import asyncio
import getpass
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import segno

from pourparler_crypto.note import PressKey, ReleaseKey, open_backup, seal_backup

from .. import releasekeys
from ..errors import UserError
from ..vault import MIN_PASSPHRASE, Vault
from . import locking
from .common import GlobalOptions, emit, line_from, open_device, progress, read_text
from .files import check_new, create

_PUBLISH = "Publish this line where people know you already, long before a release: your site, in print, by hand."
_BACK_UP = (
    "Make a backup now (`pourparler release-key backup`): without this key you sign no joint release. Whoever else "
    "has it can sign in your name."
)
_FORGET = """\
The release key {name} ({digits}) will be erased from this vault.
Without a backup nobody can sign with it ever again, and a release that waits for its signature is not completed. What
it has signed stays valid, and who has a copy of it can still sign."""


def add_commands(commands: Any, options: GlobalOptions) -> None:
    """Registers `release-key` with its seven verbs."""
    group = commands.add_parser(
        "release-key", help="a party's press key for joint releases: make, publish, check, back up, forget"
    )
    verbs = group.add_subparsers(title="verbs", metavar="VERB", required=True)

    new = verbs.add_parser("new", help="make a release key in this device's vault")
    options.add(new)
    new.add_argument(
        "--name",
        required=True,
        help="the press key's public name, like north or north.example/press; capitals become small letters",
    )
    new.set_defaults(func=_new)

    show = verbs.add_parser("show", help="the press key to publish, its check digits and QR code")
    options.add(show)
    _add_name(show)
    show.add_argument("--out", metavar="FILE", type=Path, help="write the press key to a new file")
    show.set_defaults(func=_show)

    check = verbs.add_parser("check", help="the check digits of another party's press key")
    check.add_argument("file", metavar="FILE", type=Path, help="the press key's file, or - for standard input")
    check.add_argument("--json", action="store_true", help="answers for programs, one object a line")
    check.set_defaults(func=_check)

    listed = verbs.add_parser("list", help="the release keys in this vault")
    options.add(listed)
    listed.set_defaults(func=_list)

    backup = verbs.add_parser("backup", help="write a release key to a file, sealed under a passphrase of its own")
    options.add(backup)
    _add_name(backup)
    backup.add_argument("--out", metavar="FILE", type=Path, required=True, help="the new file")
    _add_backup_passphrase(backup)
    backup.set_defaults(func=_backup)

    imported = verbs.add_parser("import", help="take a release key from a backup into this vault")
    options.add(imported)
    imported.add_argument("file", metavar="FILE", type=Path, help="the backup's file, or - for standard input")
    _add_backup_passphrase(imported)
    imported.set_defaults(func=_import)

    forget = verbs.add_parser("forget", help="erase a release key from this vault, for good")
    options.add(forget)
    forget.add_argument("name", metavar="NAME", help="its name, as `pourparler release-key list` shows it")
    forget.add_argument("--yes", action="store_true", help="do not ask again")
    forget.set_defaults(func=_forget)


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="which one, when there are several")


def _add_backup_passphrase(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backup-passphrase-fd",
        metavar="N",
        type=int,
        help="read the backup's passphrase from this file descriptor",
    )


@contextmanager
def _vault(arguments: argparse.Namespace) -> Iterator[Vault]:
    """The vault that was named; as whenever it is opened, what has ended in it is erased."""
    device = open_device(arguments)
    try:
        yield device.vault
    finally:
        asyncio.run(device.aclose())


def _name(given: str | None) -> str | None:
    """Names of press keys have small letters only, as names of hosts are read."""
    return given.strip().lower() if given is not None and given.isascii() else given


def _new(arguments: argparse.Namespace) -> int:
    key = ReleaseKey.generate()
    name = PressKey(_name(arguments.name) or "", key.public).name  # refused before anything is asked
    with _vault(arguments) as vault:
        held = releasekeys.add(vault, name, key)
    _describe(arguments, held.press, "", _PUBLISH, _BACK_UP)
    return 0


def _show(arguments: argparse.Namespace) -> int:
    if arguments.out is not None:
        check_new(arguments.out)
    with _vault(arguments) as vault:
        press = releasekeys.choose(vault, _name(arguments.name)).press
    if arguments.out is not None:
        create(arguments.out, f"{press}\n")
    _describe(arguments, press, "", _PUBLISH)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    press = PressKey.parse(read_text(arguments.file, "press key").strip())
    lines = [
        f"Press key {press.name}",
        f"Check digits: {press.digits}",
        "Compare them with its owner by a way that you trust, or with what they have printed. If they agree, this is",
        "its line for your key book, with your own name for the owner behind it:",
        "",
        f"{press} NAME",
    ]
    emit(arguments, _record(press), lines)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    with _vault(arguments) as vault:
        held = releasekeys.all(vault)
    for one in held:
        emit(arguments, _record(one.press), [f"{one.press.digits}  {one.press.name}"])
    if not held and not arguments.json:
        print("No release key is in this vault: `pourparler release-key new` makes one.")
    return 0


def _backup(arguments: argparse.Namespace) -> int:
    check_new(arguments.out)
    with _vault(arguments) as vault:
        held = releasekeys.choose(vault, _name(arguments.name))
        secret = _new_secret(arguments)
        progress(arguments, "Sealing it (this takes a second: guessing the passphrase shall take long) …")
        create(arguments.out, seal_backup(held.key, held.press.name, secret) + "\n")
    lines = [
        f"The backup of {held.press.name} is in {arguments.out}.",
        "Keep it off this device, and its passphrase in another place: who has both can sign in your name.",
    ]
    emit(arguments, _record(held.press) | {"file": str(arguments.out)}, lines)
    return 0


def _import(arguments: argparse.Namespace) -> int:
    text = read_text(arguments.file, "backup of a release key")
    secret = _secret(arguments)
    progress(arguments, "Opening it (this takes a second) …")
    key, press = open_backup(text, secret)
    with _vault(arguments) as vault:
        releasekeys.add(vault, press.name, key)
    _describe(arguments, press)
    return 0


def _forget(arguments: argparse.Namespace) -> int:
    with _vault(arguments) as vault:
        press = releasekeys.choose(vault, _name(arguments.name)).press
        if not arguments.yes:
            progress(arguments, _FORGET.format(name=press.name, digits=press.digits))
            if not sys.stdin.isatty() or locking.asked("To do it, type its name: ") != press.name:
                raise UserError("nothing was done")
        releasekeys.forget(vault, press.public)
    emit(arguments, _record(press) | {"state": "forgotten"}, [f"{press.name} is no longer in this vault."])
    return 0


def _secret(arguments: argparse.Namespace) -> str:
    if arguments.backup_passphrase_fd is not None:
        return line_from(arguments.backup_passphrase_fd)
    if not sys.stdin.isatty():
        raise UserError("the backup's passphrase is asked for at a terminal; programs use --backup-passphrase-fd")
    return getpass.getpass("Passphrase of the backup: ")


def _new_secret(arguments: argparse.Namespace) -> str:
    secret = _secret(arguments)
    if len(secret) < MIN_PASSPHRASE:
        raise UserError(f"a passphrase has at least {MIN_PASSPHRASE} characters; several words are best")
    if arguments.backup_passphrase_fd is None and getpass.getpass("The same again: ") != secret:
        raise UserError("the two passphrases differ: nothing was written")
    return secret


def _record(press: PressKey) -> dict[str, Any]:
    return {
        "name": press.name,
        "check_digits": press.digits,
        "public": press.public.hex(),
        "press_key": str(press),
    }


def _describe(arguments: argparse.Namespace, press: PressKey, *more: str) -> None:
    code = io.StringIO()
    segno.make(str(press), error="m").terminal(code, compact=True)
    lines = [
        f"Release key {press.name}",
        f"Check digits: {press.digits}",
        code.getvalue(),
        "Its press key, which others verify by:",
        "",
        str(press),
        *more,
    ]
    emit(arguments, _record(press), lines)
