"""Commands on channels: open, list, invite, join, who, resume, leave, close."""

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from pourparler_crypto.card import Card, check_digits
from pourparler_policies.limits import MAX_BOX_LIFE
from pourparler_policies.payload import check_name
from pourparler_policies.terms import DEFAULT_ABSENCE, DEFAULT_LIFE, DEFAULT_UPDATE, Terms

from ..channel import Channel
from ..device import Device
from ..errors import Unreachable, UserError
from ..invitations import INVITATION_LIFE
from ..joining import Invitation
from .common import (
    GlobalOptions,
    choose_channel,
    duration,
    emit,
    local_time,
    open_device,
    plain,
    progress,
    read_grant,
    read_text,
    say_duration,
)

_POLL: Final = (0.2, 3.0)  # seconds between looks into a drop box: first, longest


def add_commands(commands: Any, options: GlobalOptions) -> None:
    """Registers the commands of this module."""
    opened = commands.add_parser("open", help="open a channel at a service")
    options.add(opened)
    opened.add_argument("--service", required=True, metavar="URL", help="the service's address")
    opened.add_argument("--title", required=True, help="what the members call the channel; sealed to the service")
    opened.add_argument(
        "--life", type=duration, default=DEFAULT_LIFE, help="how long a message lives: 45s, 30m, 12h, 7d (default)"
    )
    opened.add_argument(
        "--absence",
        type=duration,
        default=DEFAULT_ABSENCE,
        help="after how long without contact a place ends (30d)",
    )
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
    invite.add_argument("--wait", type=duration, help="stay until the card is seated, at most so long")
    invite.set_defaults(func=_invite)

    join = commands.add_parser("join", help="answer an invitation, read its terms, join")
    options.add(join)
    join.add_argument("invitation", metavar="INVITATION", type=Path, help="its file, or - for standard input")
    join.add_argument("--accept", action="store_true", help="accept the terms without being asked")
    join.add_argument("--wait", type=duration, default=600, help="how long to wait for the inviter's device (10m)")
    join.set_defaults(func=_join)

    for name, function, text in (
        ("who", _who, "the members, and digits to compare by voice"),
        ("resume", _resume, "go on after an alarm, once the digits have been compared"),
        ("leave", _leave, "leave a channel: everything of it on this device is erased"),
        ("close", _close, "end a channel for everyone: every device erases it"),
    ):
        command = commands.add_parser(name, help=text)
        options.add(command, channel=True)
        if name != "who":
            command.add_argument("--yes", action="store_true", help="do not ask again")
        command.set_defaults(func=function)


async def _open(arguments: argparse.Namespace) -> int:
    try:
        terms = Terms(
            title=check_name(arguments.title),
            life=arguments.life,
            absence=arguments.absence,
            update=min(DEFAULT_UPDATE, arguments.absence),
        )
    except ValidationError:
        raise UserError("a message lives 1 second to 400 days, and a place lasts 1 hour to 400 days") from None
    grant = read_grant(arguments.grant_file)
    async with open_device(arguments) as device:
        channel = await device.found(arguments.service, grant, terms)
        emit(
            arguments,
            {"channel": channel.id.hex(), "title": terms.title},
            [f"The channel “{terms.title}” is open.", *_terms(terms), "Next: `pourparler invite CARD`."],
        )
    return 0


async def _list(arguments: argparse.Namespace) -> int:
    async with open_device(arguments) as device:
        for number, channel in enumerate(device.channels(), 1):
            title = channel.log.terms.title
            names = [plain(member.name, lines=False) for member in channel.log.members.values()]
            emit(
                arguments,
                {"number": number, "title": title, "state": channel.log.row.state, "members": names},
                [f"{number}. {plain(title, lines=False)} ({channel.log.row.state}): {', '.join(names)}"],
            )
        if not device.channels():
            progress(arguments, "There is no channel in this vault yet.")
    return 0


async def _invite(arguments: argparse.Namespace) -> int:
    if arguments.life > MAX_BOX_LIFE:
        raise UserError("an invitation waits at most 14 days")
    card = Card.decode(read_text(arguments.card, "card"))
    async with open_device(arguments) as device:
        channel = choose_channel(device, arguments)
        await channel.sync()
        inviter = device.inviter(channel)
        invitation = await inviter.invite(card, arguments.life)
        if arguments.out is not None:
            arguments.out.write_text(invitation + "\n")
        lines = [
            f"An invitation for {plain(card.name, lines=False)}, check digits {card.check_digits}.",
            "Compare the digits with the card's owner before the invitation is answered.",
            "Hand it over by any way: only that card can open it.",
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
    while time.monotonic() < deadline:
        for step in await inviter.progress():
            if told.get(step.name) != step.step:
                told[step.name] = step.step
                pause = _POLL[0]
                name = plain(step.name, lines=False)
                emit(arguments, {"name": step.name, "step": step.step}, [_STEPS[step.step].format(name=name)])
                if step.step == "failed":
                    return 1
        if not inviter.pending():
            return 0
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _POLL[1])
    progress(arguments, "Not yet: `pourparler talk` or `watch` carries the invitation on.")
    return 1


_STEPS: Final = {
    "offered": "{name} has the invitation and has not answered yet.",
    "answered": "{name} has answered and is shown the terms.",
    "accepted": "{name} accepts the terms.",
    "seated": "{name} has a seat in the channel.",
    "failed": "The invitation to {name} was spoiled by somebody else's answer: make a new one.",
}


async def _join(arguments: argparse.Namespace) -> int:
    text = read_text(arguments.invitation, "invitation")
    if str(arguments.invitation) == "-" and not arguments.accept:
        raise UserError("with the invitation on standard input you cannot be asked: use a file, or --accept")
    async with open_device(arguments) as device:
        invitee = device.invitee()
        box = await invitee.answer(text)
        progress(arguments, "Answered. Waiting for the terms from the inviter's device …")
        offer = await _poll(arguments, lambda: invitee.offer(box))
        if offer is None:
            progress(arguments, "The inviter's device is not there now. Run the same command again later.")
            return 1
        if not arguments.accept and not _agreed(arguments, offer):
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
            {"channel": channel.hex(), "title": offer.terms.title, "inviter": offer.inviter},
            [f"You have a seat in “{plain(offer.terms.title, lines=False)}”.", "Next: `pourparler talk`."],
        )
    return 0


def _agreed(arguments: argparse.Namespace, offer: Invitation) -> bool:
    emit(
        arguments,
        {
            "inviter": offer.inviter,
            "check_digits": offer.check_digits,
            **offer.terms.model_dump(),
        },
        [
            f"{plain(offer.inviter, lines=False)} invites you to “{plain(offer.terms.title, lines=False)}”.",
            f"Their check digits: {offer.check_digits} (compare them by voice).",
            *_terms(offer.terms),
        ],
    )
    if not sys.stdin.isatty():
        raise UserError("nobody is there to accept the terms: use a terminal, or --accept")
    return input("Accept these terms? [yes/no] ").strip().lower() in ("yes", "y")


def _terms(terms: Terms) -> list[str]:
    return [
        f"  A message lives {say_duration(terms.life)}, then it is erased everywhere; its author may choose less.",
        f"  A place ends after {say_duration(terms.absence)} without contact.",
    ]


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


async def _who(arguments: argparse.Namespace) -> int:
    async with open_device(arguments) as device:
        channel = choose_channel(device, arguments)
        await channel.sync()
        log = channel.log
        lines = [f"“{plain(log.terms.title, lines=False)}”, {log.row.state}"]
        members = []
        for member in log.members.values():
            you = " (this device)" if member.credential == log.row.credential else ""
            digits = check_digits(member.fingerprint)
            members.append({"name": member.name, "check_digits": digits, "you": bool(you)})
            lines.append(f"  {plain(member.name, lines=False)}{you}: {digits}")
        epoch_digits = log.epoch_digits()
        lines += [
            "Names are the inviter's word until the digits were compared.",
            f"Digits of the channel as of {local_time(log.row.received_at)}: {epoch_digits}",
            "The same on every device, or somebody is shown another channel.",
        ]
        if log.row.trouble:
            lines.append(f"ATTENTION: {log.row.trouble}")
        record = {
            "title": log.terms.title,
            "state": log.row.state,
            "trouble": log.row.trouble,
            "members": members,
            "channel_digits": epoch_digits,
        }
        emit(arguments, record, lines)
    return 0


def _sure(arguments: argparse.Namespace, question: str) -> None:
    if not arguments.yes and (not sys.stdin.isatty() or input(f"{question} [yes/no] ").strip().lower() != "yes"):
        raise UserError("nothing was done")


async def _resume(arguments: argparse.Namespace) -> int:
    async with open_device(arguments) as device:
        channel = choose_channel(device, arguments)
        _sure(arguments, "Have you compared the channel's digits with every other member, and are they the same?")
        channel.log.resume()
        emit(arguments, {"state": channel.log.row.state}, ["The channel goes on."])
    return 0


async def _leave(arguments: argparse.Namespace) -> int:
    async with open_device(arguments) as device:
        channel = choose_channel(device, arguments)
        _sure(arguments, "Leave for good? Everything of this channel on this device is erased; the others stay.")
        await channel.leave()
        emit(arguments, {"state": "removed"}, ["You have left. Nothing of the channel is kept on this device."])
    return 0


async def _close(arguments: argparse.Namespace) -> int:
    async with open_device(arguments) as device:
        channel = choose_channel(device, arguments)
        _sure(arguments, "End this channel for everyone? Every device erases it; this cannot be undone.")
        await channel.close_for_all()
        emit(
            arguments,
            {"state": "closed"},
            ["The channel is closed; every device erases it when it next connects."],
        )
    return 0
