"""Commands on channels: open, list, invite, join, who, resume, leave, close."""

import argparse
import asyncio
import sys
import time
from contextlib import suppress
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
from ..invitations import INVITATION_LIFE, Progress
from ..joining import Invitation
from ..store import ChannelStore
from .common import (
    GlobalOptions,
    choose_channel,
    choose_row,
    duration,
    emit,
    erasing,
    local_time,
    open_device,
    plain,
    progress,
    read_grant,
    read_text,
    say_duration,
)
from .showing import name_of, news, show_step, title_of

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
        if name == "leave":
            command.add_argument(
                "--here",
                action="store_true",
                help="only erase it on this device, in whatever state it is, also without the service",
            )
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
        rows = device.all_channels()
        for row in rows:
            title = Terms.decode(row.terms).title
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
        invitation = await inviter.invite(card, arguments.life)
        if arguments.out is not None:
            arguments.out.write_text(invitation + "\n")
        lines = [
            f"An invitation into “{title_of(channel)}” for {plain(card.name, lines=False)}, card "
            f"{card.check_digits}.",
            "Hand it over by any way: only that card can open it. Compare the card's digits with its owner.",
            "Once they are seated: ask them, by a way you trust, whether they accepted this invitation;",
            "then compare the channel's digits (`pourparler who`) with them.",
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
        progress(arguments, "Answered. Waiting for the terms from the inviter's device …")
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
            {"channel": channel.hex(), "title": offer.terms.title, "inviter": offer.inviter},
            [
                f"You have a seat in “{plain(offer.terms.title, lines=False)}”.",
                "Compare the channel's digits (`pourparler who`) with the others, by a way you trust.",
                "Next: `pourparler talk`.",
            ],
        )
    return 0


def _ask_host(host: str) -> None:
    """Who runs the host learns this device's network address: the person decides."""
    if not sys.stdin.isatty():
        raise UserError(f"nobody is there to be asked whether to connect to {host}: use a terminal, or --accept")
    if input(f"The invitation names a service: connect to {host}? [yes/no] ").strip().lower() not in ("yes", "y"):
        raise UserError("nothing was done: no connection was made")


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
            f"Their card: {offer.check_digits}. Digits of a card do not tell who sent this:",
            "ask that person, by a way you trust, whether they sent you this invitation.",
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
        if not news(arguments, channel, await channel.sync()):
            return 1
        log = channel.log
        lines = [f"“{plain(log.terms.title, lines=False)}”, {log.row.state}"]
        members = []
        for member in log.members.values():
            you = " (this device)" if member.credential == log.row.credential else ""
            digits = check_digits(member.fingerprint)
            members.append({"name": member.name, "check_digits": digits, "you": bool(you)})
            lines.append(f"  {name_of(member, log.members)}{you}: card {digits}")
        epoch_digits = log.epoch_digits()
        lines += [
            f"Digits of the channel as of {local_time(log.row.received_at)}: {epoch_digits}",
            "Names and cards are what the inviters said; they do not tell who holds a seat.",
            "Ask each of these people, by a way you trust, whether they sent or accepted the invitation.",
            "Then compare the channel's digits with them: the same on every device, or somebody is shown another",
            "channel.",
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
        if arguments.here:
            return await _forget(arguments, device)
        channel = choose_channel(device, arguments)
        title = title_of(channel)
        _sure(arguments, f"Leave “{title}” for good? Everything of it on this device is erased; the others stay.")
        await channel.leave()
        emit(
            arguments,
            {"state": "removed", "title": channel.log.terms.title},
            [f"You have left “{title}”. Nothing of it is kept on this device."],
        )
    return 0


async def _forget(arguments: argparse.Namespace, device: Device) -> int:
    row = choose_row(device.all_channels(), arguments.channel)
    title = Terms.decode(row.terms).title
    shown = plain(title, lines=False)
    _sure(
        arguments,
        f"Erase “{shown}” on this device? It cannot be undone, and the others are not told that you leave.",
    )
    await device.forget(row.id)
    emit(arguments, {"state": "erased", "title": title}, [f"Nothing of “{shown}” is kept on this device."])
    return 0


async def _close(arguments: argparse.Namespace) -> int:
    async with open_device(arguments) as device:
        channel = choose_channel(device, arguments)
        title = title_of(channel)
        _sure(arguments, f"End “{title}” for everyone? Every device erases it; this cannot be undone.")
        await channel.close_for_all()
        emit(
            arguments,
            {"state": "closed", "title": channel.log.terms.title},
            [f"“{title}” is closed; every device erases it when it next connects."],
        )
    return 0
