"""Commands on channels: open, list, invite, join, who, resume, leave, close. What needs consent: `table.py`."""

import argparse
import asyncio
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pourparler_crypto.card import Card, check_digits
from pourparler_policies.charter import Charter, explain
from pourparler_policies.limits import MAX_BOX_LIFE

from ..channel import Channel
from ..device import Device
from ..errors import Unreachable, UserError
from ..invitations import INVITATION_LIFE, Progress
from ..joining import Invitation
from ..store import ChannelStore, State
from . import locking
from .common import (
    GlobalOptions,
    add_yes,
    check_unfinished,
    choose_channel,
    choose_row,
    duration,
    emit,
    erasing,
    open_device,
    plain,
    progress,
    read_charter,
    read_grant,
    read_text,
    row_title,
)
from .showing import name_of, news, show_step, title_of

_POLL: Final = (0.2, 3.0)  # seconds between looks into a drop box: first, longest


def add_commands(commands: Any, options: GlobalOptions) -> None:
    """Registers the commands of this module."""
    opened = commands.add_parser("open", help="open a channel at a service")
    options.add(opened)
    opened.add_argument("--service", required=True, metavar="URL", help="the service's address")
    opened.add_argument("--charter", required=True, metavar="FILE", type=Path, help="the ground rules (TOML)")
    opened.add_argument(
        "--grant-file",
        metavar="FILE",
        type=Path,
        help="the operator's grant; asked for or read from input otherwise",
    )
    opened.set_defaults(func=_open)

    listed = commands.add_parser("channels", help="the channels on this device")
    options.add(listed)
    listed.set_defaults(func=_list)

    invite = commands.add_parser("invite", help="invite a card into a channel")
    options.add(invite, channel=True)
    invite.add_argument("card", metavar="CARD", type=Path, help="the card's file, or - for standard input")
    invite.add_argument("--out", metavar="FILE", type=Path, help="write the invitation to a file")
    invite.add_argument(
        "--for", dest="life", type=duration, default=INVITATION_LIFE, help="how long it waits (7d, at most 14d)"
    )
    invite.add_argument("--own", action="store_true", help="the card is of your own second device")
    invite.add_argument("--wait", type=duration, help="stay until the card is seated, at most so long")
    invite.set_defaults(func=_invite)

    join = commands.add_parser("join", help="answer an invitation, read its charter, join")
    options.add(join)
    join.add_argument("invitation", metavar="INVITATION", type=Path, help="its file, or - for standard input")
    join.add_argument("--accept", action="store_true", help="accept the charter without being asked")
    join.add_argument("--wait", type=duration, default=600, help="how long to wait for the inviter's device (10m)")
    join.set_defaults(func=_join)

    for name, function, text in (
        ("resume", _resume, "go on after an alarm, once the digits have been compared"),
        ("leave", _leave, "leave a channel: everything of it on this device is erased"),
        ("close", _close, "ask to end a channel for everyone: with every party's consent every device erases it"),
    ):
        command = commands.add_parser(name, help=text)
        options.add(command, channel=True)
        if name != "leave":
            command.add_argument("--yes", action="store_true", help="do not ask again")
        else:
            add_yes(command)
            command.add_argument(
                "--here",
                action="store_true",
                help="only erase it on this device, in whatever state it is, also without the service",
            )
        command.set_defaults(func=function)


async def _open(arguments: argparse.Namespace) -> int:
    charter = read_charter(arguments.charter)
    grant = read_grant(arguments.grant_file)
    async with open_device(arguments) as device:
        await device.found(arguments.service, grant, charter)
        title = plain(charter.title, lines=False)
        emit(
            arguments,
            {"title": charter.title, "charter_digits": check_digits(charter.hash)},
            [
                f"The channel “{title}” is open. Its charter: {check_digits(charter.hash)}.",
                "Nothing can be said before every party has somebody here. Next, for each card that the charter",
                "names: `pourparler invite CARD`.",
            ],
        )
    return 0


async def _list(arguments: argparse.Namespace) -> int:
    async with open_device(arguments) as device:
        rows = device.all_channels()
        for row in rows:
            title = row_title(row)
            members = ChannelStore(device.vault, row.id).members()
            names = ", ".join(name_of(member, members) for member in members.values())
            record = {
                "number": row.number,
                "title": title,
                "state": row.state,
                "members": [member.name for member in members.values()],
            }
            emit(arguments, record, [f"{row.number}. {plain(title, lines=False)} ({row.state}): {names}"])
        if not rows:
            progress(arguments, "There is no channel in this vault yet.")
    return 0


async def _invite(arguments: argparse.Namespace) -> int:
    if arguments.life > MAX_BOX_LIFE:
        raise UserError("an invitation waits at most 14 days")
    card = Card.decode(read_text(arguments.card, "card"))
    async with open_device(arguments) as device:
        channel = choose_channel(device, arguments)
        if not news(arguments, channel, await channel.sync()):
            return 1
        inviter = device.inviter(channel)
        invitation = await inviter.invite(card, arguments.life, second=arguments.own)
        if arguments.out is not None:
            arguments.out.write_text(invitation + "\n")
        lines = [
            f"An invitation into “{title_of(channel)}” for {plain(card.name, lines=False)}, card "
            f"{card.check_digits}.",
            "Hand it over by any way: only that card can open it. Compare the card's digits with its owner first:",
            "attestation shows that a seat has the key of this card, not whose card it is.",
        ]
        if arguments.out is None:
            lines += ["", invitation, ""]
        emit(arguments, {"name": card.name, "check_digits": card.check_digits, "invitation": invitation}, lines)
        if arguments.wait:
            progress(arguments, "Waiting for the invitation to be answered …")
            return await _wait_seated(arguments, device, channel)
        progress(
            arguments, "It is carried on by `pourparler talk` or `watch`, or `invite --wait`, on this device."
        )
    return 0


async def _wait_seated(arguments: argparse.Namespace, device: Device, channel: Channel) -> int:
    inviter, deadline, pause = device.inviter(channel), time.monotonic() + arguments.wait, _POLL[0]
    told: dict[str, str] = {}
    async with erasing(device):
        while time.monotonic() < deadline:
            happened: list[Progress] = []
            with suppress(Unreachable):  # it may come back while we wait
                happened = await inviter.progress()
            for step in happened:
                if told.get(step.name) != step.step:
                    told[step.name] = step.step
                    pause = _POLL[0]
                    show_step(arguments, step)
                if step.step == "waiting":
                    with suppress(Unreachable):
                        news(arguments, channel, await channel.sync())
                if step.step == "failed":
                    return 1
            if not inviter.pending():
                return 0
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _POLL[1])
    progress(arguments, "Not yet: `pourparler talk` or `watch` carries the invitation on.")
    return 1


async def _join(arguments: argparse.Namespace) -> int:
    text = read_text(arguments.invitation, "invitation")
    if str(arguments.invitation) == "-" and not arguments.accept:
        raise UserError("with the invitation on standard input you cannot be asked: use a file, or --accept")
    async with open_device(arguments) as device, erasing(device):
        invitee = device.invitee()
        host = invitee.host(text)
        if host is not None and not arguments.accept:
            _ask_host(plain(host, lines=False))
        box = await invitee.answer(text)
        progress(arguments, "Answered. Waiting for the charter from the inviter's device …")
        offer = await _poll(arguments, lambda: invitee.offer(box))
        if offer is None:
            progress(arguments, "The inviter's device is not there now. Run the same command again later.")
            return 1
        if not (arguments.accept or invitee.accepted(box) or _agreed(arguments, offer)):
            await invitee.decline(box)
            progress(arguments, "Declined. Nothing of the invitation is kept on this device.")
            return 1
        await invitee.accept(box)
        progress(arguments, "Accepted. Waiting for the seat …")
        channel = await _poll(arguments, lambda: invitee.join(box))
        if channel is None:
            progress(arguments, "Accepted, but not seated yet. Run the same command again later.")
            return 1
        emit(
            arguments,
            {"channel": channel.hex(), "title": offer.charter.title, "inviter": offer.inviter},
            [
                f"You have a seat in “{plain(offer.charter.title, lines=False)}”.",
                "Your device and the others' now attest each other; this takes as long as they are apart. Until then",
                "nothing is said or shown. Next: `pourparler talk`, and `pourparler who` to compare digits.",
            ],
        )
    return 0


def _ask_host(host: str) -> None:
    """Who runs the host learns this device's network address: the person decides."""
    if not sys.stdin.isatty():
        raise UserError(f"nobody is there to be asked whether to connect to {host}: use a terminal, or --accept")
    if locking.asked(f"The invitation names a service: connect to {host}? [yes/no] ").lower() not in ("yes", "y"):
        raise UserError("nothing was done: no connection was made")


def _agreed(arguments: argparse.Namespace, offer: Invitation) -> bool:
    charter = offer.charter
    emit(
        arguments,
        {
            "inviter": offer.inviter,
            "check_digits": offer.check_digits,
            "body": offer.body,
            "title": charter.title,
            "charter_digits": check_digits(offer.hash),
            "explained": explain(charter, offer.body),
        },
        [
            f"{plain(offer.inviter, lines=False)} invites you to “{plain(charter.title, lines=False)}”.",
            f"Their card: {offer.check_digits}. Digits of a card do not tell who sent this:",
            "ask that person, by a way you trust, whether they sent you this invitation.",
            "",
            *(line for paragraph in explain(charter, offer.body) for line in (plain(paragraph), "")),
            f"Digits of the charter, the same on every device: {check_digits(offer.hash)}",
            *_withheld(charter, offer),
        ],
    )
    if not sys.stdin.isatty():
        raise UserError("nobody is there to accept the charter: use a terminal, or --accept")
    return locking.asked("Do you accept this charter? [yes/no] ").lower() in ("yes", "y")


def _withheld(charter: Charter, offer: Invitation) -> list[str]:
    if charter.hash == offer.hash:
        return []
    return ["The people's names come after you have accepted; everything else is as you read it."]


async def _poll(arguments: argparse.Namespace, look: Any) -> Any:
    deadline, pause = time.monotonic() + arguments.wait, _POLL[0]
    while True:
        try:
            found = await look()
        except Unreachable:
            if time.monotonic() > deadline:
                raise
            found = None
        if found is not None or time.monotonic() > deadline:
            return found
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _POLL[1])


def _sure(arguments: argparse.Namespace, question: str) -> None:
    if arguments.yes:
        return
    if not sys.stdin.isatty():  # nobody can be asked; what it would have done is said all the same
        progress(arguments, question)
        raise UserError("nothing was done")
    if locking.asked(f"{question} [yes/no] ").lower() != "yes":
        raise UserError("nothing was done")


async def _resume(arguments: argparse.Namespace) -> int:
    async with open_device(arguments) as device:
        channel = choose_channel(device, arguments)
        _sure(arguments, "Have you compared the channel's digits with every other member, and are they the same?")
        channel.log.resume()
        emit(arguments, {"state": channel.log.row.state}, ["The channel goes on."])
    return 0


_STILL_HERE: Final = (
    "{why}. You have not left yet, and everything of the channel is still on this device. If it has to go now: "
    "`pourparler leave --here` erases it here without the service; your place stays then"
)
_NOT_ENDED: Final = (
    "{why}. Nothing is ended yet, here or anywhere. What is on this device can go without the service: "
    "`pourparler leave --here`"
)


async def _leave(arguments: argparse.Namespace) -> int:
    async with open_device(arguments) as device:
        if arguments.here:
            return await _forget(arguments, device)
        channel = choose_channel(device, arguments)
        title = title_of(channel)
        check_unfinished(arguments, [row for row in device.unfinished() if row.id == channel.id])
        _sure(
            arguments,
            f"Leave “{title}” for good? Everything of it on this device is erased, and your place ends; the others "
            "stay and keep what you said as long as it lives. This cannot be undone: you come back only as somebody "
            "new, with every party's consent.",
        )
        try:
            await channel.leave()
        except Unreachable as error:
            raise Unreachable(_STILL_HERE.format(why=error)) from None
        emit(
            arguments,
            {"state": "removed", "title": channel.log.charter.title},
            [f"You have left “{title}”. Nothing of it is kept on this device."],
        )
    return 0


async def _forget(arguments: argparse.Namespace, device: Device) -> int:
    row = choose_row(device.all_channels(), arguments.channel)
    title = row_title(row)
    shown = plain(title, lines=False)
    check_unfinished(arguments, [held for held in device.unfinished() if held.id == row.id])
    _sure(
        arguments,
        f"Erase “{shown}” on this device? It cannot be undone, and the others are not told that you leave: your place "
        "stays, and you come back to it when one of them invites your card again.",
    )
    await device.forget(row.id)
    emit(arguments, {"state": "erased", "title": title}, [f"Nothing of “{shown}” is kept on this device."])
    return 0


_CLOSE: Final = {
    "proposed": "It is on the table: it ends when every party that is here has approved (`pourparler table`).",
    "closing": "“{title}” ends: what was said is erased here. The rest is, when every device has come by; this device "
    "has to connect once more for that.",
    "closed": "“{title}” is closed; everything of it is erased here and at the service. Nothing kept from here can "
    "prove who said it.",
}


async def _close(arguments: argparse.Namespace) -> int:
    async with open_device(arguments) as device:
        channel = choose_channel(device, arguments)
        title = title_of(channel)
        check_unfinished(arguments, [row for row in device.unfinished() if row.id == channel.id])
        _sure(
            arguments,
            f"Ask to end “{title}” for everyone? When all have approved, every device erases it, and that cannot be "
            "undone. Nothing kept from here can prove who said it.",
        )
        try:
            await channel.close_for_all()
        except Unreachable as error:
            raise Unreachable(_NOT_ENDED.format(why=error)) from None
        state = "proposed"
        if channel.log.row.state is State.CLOSED:
            state = "closed"
        elif channel.log.closing:
            state = "closing"
        emit(arguments, {"state": state, "title": channel.log.charter.title}, [_CLOSE[state].format(title=title)])
    return 0
