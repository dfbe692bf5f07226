"""`pourparler card`: make a vault with a card, show it, look at somebody else's."""

import argparse
import asyncio
import io
from pathlib import Path
from typing import Any

import segno

from pourparler_crypto.card import Card

from ..device import Device
from .common import GlobalOptions, emit, open_device, passphrase, plain, progress, read_text


def add_commands(commands: Any, options: GlobalOptions) -> None:
    """Registers `card` with its three verbs."""
    card = commands.add_parser("card", help="this device's card, and other people's")
    verbs = card.add_subparsers(title="verbs", metavar="VERB", required=True)

    new = verbs.add_parser("new", help="make a vault with a new card on this device")
    options.add(new)
    new.add_argument("--name", required=True, help="the name on the card; a cover name is fine")
    new.set_defaults(func=_new)

    show = verbs.add_parser("show", help="the card to give away, its check digits and QR code")
    options.add(show)
    show.add_argument("--out", metavar="FILE", type=Path, help="write the card to a file")
    show.set_defaults(func=_show)

    check = verbs.add_parser("check", help="the check digits of a card you were given")
    check.add_argument("card", metavar="CARD", type=Path, help="the card's file, or - for standard input")
    check.add_argument("--json", action="store_true", help="answers for programs, one object a line")
    check.set_defaults(func=_check)


def _new(arguments: argparse.Namespace) -> int:
    secret = passphrase(arguments, new=True)
    progress(arguments, "Making the vault (this takes a second: guessing the passphrase shall take long) …")
    device = Device.create(arguments.vault, secret, arguments.name)
    _describe(arguments, device.card)
    asyncio.run(device.aclose())
    return 0


def _show(arguments: argparse.Namespace) -> int:
    device = open_device(arguments)
    card = device.card
    asyncio.run(device.aclose())
    if arguments.out is not None:
        arguments.out.write_text(card.encode() + "\n")
    _describe(arguments, card, text=arguments.out is None)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    _describe(arguments, Card.decode(read_text(arguments.card, "card")), text=False)
    return 0


def _describe(arguments: argparse.Namespace, card: Card, *, text: bool = True) -> None:
    code = io.StringIO()
    segno.make("POURPARLER:" + card.check_digits.replace(" ", ""), error="m").terminal(code, compact=True)
    record = {"name": card.name, "check_digits": card.check_digits, "fingerprint": card.fingerprint.hex()}
    lines = [f"Card of {plain(card.name, lines=False)}", f"Check digits: {card.check_digits}", code.getvalue()]
    if text:
        record["card"] = card.encode()
        lines += ["The card, to give to who may invite you:", "", card.encode()]
    emit(arguments, record, lines)
