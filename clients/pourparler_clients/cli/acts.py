"""Acts on this device: clear it, change its passphrase. Each says who loses what, and whether it can be undone."""

import argparse
import asyncio
import getpass
import sys
from contextlib import suppress
from typing import Any, Final

from ..api import Api
from ..device import Device
from ..errors import Refused, Unreachable, UserError
from ..vault import clear
from .common import GlobalOptions, add_yes, check_unfinished, emit, line_from, open_device, progress

_GOODBYE: Final = (
    5.0  # seconds that telling a service may take; through Tor it may be too short: nothing hangs on it
)
_LOST: Final = """\
Everything of Pourparler in {vault} will be erased: its card, its channels, what waits to be sent.
This cannot be undone, not with a passphrase either. It needs no network, and the others are not told: your places
stay, and you come back with a new card that your side and one other propose as your replacement.
A joint text that you have signed and that is not published yet needs this device: without the passphrase nobody
can tell here whether there is one (`--tell` looks first).
Copies of the vault that you or anybody made elsewhere are not touched; nor are what flash storage keeps of old blocks,
pictures, and other people's devices. Clearing at home, before a journey, is better than clearing at a border, and in
some places wiping a device is itself an offence."""

_CHANGED: Final = """\
The vault gets a new passphrase and a new key. From then on the old passphrase opens nothing here, and this cannot be
undone. Nothing in the vault is lost, and nobody else notices. Who forgets the new one loses everything in it: nobody
can open it then, and you come back with a new card. A copy of the whole vault that was made before still opens with
the old one."""


def add_commands(commands: Any, options: GlobalOptions) -> None:
    """Registers the commands of this module."""
    cleared = commands.add_parser(
        "clear", help="erase everything on this device at once: no network, no passphrase"
    )
    options.add(cleared)
    add_yes(cleared)
    cleared.add_argument(
        "--tell",
        action="store_true",
        help="ask for the passphrase, and end this device's access at the services too",
    )
    cleared.set_defaults(func=_clear)

    changed = commands.add_parser("passphrase", help="change this vault's passphrase, and with it the vault's key")
    options.add(changed)
    changed.add_argument(
        "--new-passphrase-fd", metavar="N", type=int, help="read the new passphrase from this file descriptor"
    )
    changed.set_defaults(func=_passphrase)


def _clear(arguments: argparse.Namespace) -> int:
    if not arguments.yes:
        progress(arguments, _LOST.format(vault=arguments.vault))
        if not sys.stdin.isatty() or input('To do it, type "clear": ').strip().lower() != "clear":
            raise UserError("nothing was done")
    proxy, access = asyncio.run(_access(arguments)) if arguments.tell else ("", [])
    busy = clear(arguments.vault)
    lines = [f"Nothing of Pourparler is left in {arguments.vault}."]
    if busy:
        lines.append(
            "ATTENTION: another program still has it open and shows what it has in memory: end that program."
        )
    told = asyncio.run(_tell(access, proxy))
    if arguments.tell:
        lines.append(f"{told} of {len(access)} channels' services know that this device is gone.")
    emit(arguments, {"state": "cleared", "still_open": busy, "told": told}, lines)
    return 1 if busy else 0


async def _access(arguments: argparse.Namespace) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """The proxy; address, token and channel of every place that this device has at a service."""
    async with open_device(arguments) as device:
        check_unfinished(arguments, device.unfinished())
        return device.proxy, [(row.url, row.token, row.id) for row in device.all_channels()]


async def _tell(access: list[tuple[str, bytes, bytes]], proxy: str) -> int:
    told = 0
    for url, token, channel in access:
        with suppress(Refused, Unreachable, TimeoutError):
            async with Api(url, token, proxy=proxy) as api, asyncio.timeout(_GOODBYE):
                await api.end_device(channel)
                told += 1
    return told


def _passphrase(arguments: argparse.Namespace) -> int:
    device: Device = open_device(arguments)
    try:
        progress(arguments, _CHANGED)
        new = _new_passphrase(arguments)
        progress(arguments, "Changing it (the whole vault is written anew) …")
        device.vault.change_passphrase(new)
    finally:
        asyncio.run(device.aclose())
    emit(
        arguments,
        {"state": "changed"},
        ["Changed. The old passphrase opens nothing here any more; a copy made before still opens with it."],
    )
    return 0


def _new_passphrase(arguments: argparse.Namespace) -> str:
    if arguments.new_passphrase_fd is not None:
        return line_from(arguments.new_passphrase_fd)
    if not sys.stdin.isatty():
        raise UserError("the new passphrase is asked for at a terminal; programs use --new-passphrase-fd")
    first = getpass.getpass("New passphrase: ")
    if getpass.getpass("The same again: ") != first:
        raise UserError("the two passphrases differ: nothing was changed")
    return first
