"""Commands of consent: what is on the table, and everybody's word on it; seats on hold; who has to go.

Each act is one entry of the log and follows the rules of docs/consent.md; what would not count is refused here.
"""

import argparse
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from pourparler_crypto.card import Card, check_digits
from pourparler_policies import charter as charters
from pourparler_policies.charter.rules import Role
from pourparler_policies.fold.events import (
    Approved,
    Cancelled,
    Discarded,
    Dropped,
    Event,
    Held,
    Objected,
    Withdrawn,
    Yielded,
)
from pourparler_policies.fold.facts import (
    Admit,
    Amend,
    Device,
    Erase,
    Expel,
    Lift,
    Open,
    Recall,
    Recess,
    Replace,
    Subject,
)

from ..channel import Channel
from ..errors import UserError
from ..grounds import may_approve
from ..log import Log
from ..subjects import code_of, describe, difference, find_subject
from .common import GlobalOptions, choose_channel, duration, emit, open_device, plain, read_charter, read_text
from .showing import name_of, news

_WORDS: Final[dict[str, tuple[Callable[[bytes], Event], str, str]]] = {
    "approve": (Approved, "approve what is on the table, by its code", "Approved."),
    "withdraw": (Withdrawn, "take your approval back", "Your approval is taken back."),
    "object": (Objected, "object: it is blocked until you yield", "You object; it is blocked until you yield."),
    "yield": (Yielded, "take your objection back", "You object no longer."),
    "drop": (Dropped, "take off the table what your side put there", "It is off the table."),
}


def add_commands(commands: Any, options: GlobalOptions) -> None:
    """Registers the commands of this module."""
    table = commands.add_parser("table", help="what is on the table, and who has approved or objects")
    options.add(table, channel=True)
    table.set_defaults(func=_table)

    propose = commands.add_parser(
        "propose", help="put something on the table; it takes effect when all have approved"
    )
    kinds = propose.add_subparsers(title="what", metavar="WHAT", required=True)
    for name, make, text, arguments in _SUBJECTS:
        kind = kinds.add_parser(name, help=text)
        options.add(kind, channel=True)
        for option in arguments:
            kind.add_argument(option[0], **option[1])
        kind.add_argument("--confirm-at-home", action="store_true", help="your approval waits for confirmation")
        kind.add_argument("--without-approval", action="store_true", help="put it there without approving it")
        kind.set_defaults(func=_propose, make=make)

    for name, (_, text, _) in _WORDS.items():
        word = commands.add_parser(name, help=text)
        options.add(word, channel=True)
        word.add_argument("code", metavar="CODE", help="its code in `pourparler table`")
        if name == "approve":
            word.add_argument("--confirm-at-home", action="store_true", help="subject to confirmation from home")
        word.set_defaults(func=_word, word=name)

    for name, function, text in (
        ("hold", _hold, "put a person of your own side, or yourself, on hold: removed, and can come back"),
        ("discard", _discard, "end one of your own devices, for instance a lost one"),
        ("cancel", _cancel, "take back your side's consent to somebody who has not come"),
        ("remove", _remove, "take a device out that nobody has attested, or that has to go"),
    ):
        command = commands.add_parser(name, help=text)
        options.add(command, channel=True)
        command.add_argument("who", metavar="WHO", help="a name, or the first digits of the card")
        command.set_defaults(func=function)


async def _with_channel(arguments: argparse.Namespace, act: Callable[[Channel], Awaitable[int]]) -> int:
    async with open_device(arguments) as device:
        channel = choose_channel(device, arguments)
        if not news(arguments, channel, await channel.sync()):
            return 1
        status = await act(channel)
        return status if news(arguments, channel, await channel.sync()) else 1


async def _table(arguments: argparse.Namespace) -> int:
    async def act(channel: Channel) -> int:
        log = channel.log
        for digest, held in log.consent.open.items():
            record, lines = _entry(log, digest, held)
            emit(arguments, record, lines)
        if not log.consent.open:
            emit(arguments, {"event": "empty"}, ["There is nothing on the table."])
        return 0

    return await _with_channel(arguments, act)


def _entry(log: Log, digest: bytes, held: Open) -> tuple[dict[str, Any], list[str]]:
    said = plain(describe(log, held.subject))
    approved = [_seat_name(log, seat) for seat, final in held.approvals.items() if final]
    waiting = [_seat_name(log, seat) for seat, final in held.approvals.items() if not final]
    objects = [_seat_name(log, seat) for seat in held.objections]
    lines = [f"{code_of(digest)}  {said}", f"       approved by: {', '.join(approved) or 'nobody yet'}"]
    if waiting:
        lines.append(f"       subject to confirmation from home: {', '.join(waiting)}")
    if objects:
        lines.append(f"       objected to by: {', '.join(objects)} (blocked until they yield)")
    if isinstance(held.subject, Amend):
        changes = difference(log.charter, charters.decode(held.subject.charter))
        lines += ["       what it would change:", *(f"         {plain(line)}" for line in changes)]
    record = {
        "event": "subject",
        "code": code_of(digest),
        "subject": said,
        "approved": approved,
        "to_be_confirmed": waiting,
        "objections": objects,
    }
    return record, lines


def _seat_name(log: Log, seat: bytes) -> str:
    cards = {device.card for device in log.consent.devices.values() if device.seat == seat}
    member = next((m for m in log.members.values() if m.fingerprint in cards), None)
    return name_of(member, log.members) if member is not None else "somebody who is not here"


async def _propose(arguments: argparse.Namespace) -> int:
    async def act(channel: Channel) -> int:
        subject: Subject = arguments.make(arguments, channel)
        approves: bool | None = arguments.confirm_at_home
        if arguments.without_approval or (isinstance(subject, Admit) and not may_approve(channel.log)):
            approves = None
        digest = await channel.propose(subject, confirm=approves)
        said = plain(describe(channel.log, subject)) if channel.log.members else "it has taken effect"
        emit(
            arguments,
            {"event": "proposed", "code": code_of(digest), "subject": said},
            [f"On the table as {code_of(digest)}: {said}."],
        )
        return 0

    return await _with_channel(arguments, act)


async def _word(arguments: argparse.Namespace) -> int:
    make, _, done = _WORDS[arguments.word]

    async def act(channel: Channel) -> int:
        digest = find_subject(channel.log, arguments.code)
        confirm = arguments.word == "approve" and arguments.confirm_at_home
        await channel.do(Approved(digest, confirm=True) if confirm else make(digest))
        emit(arguments, {"event": arguments.word, "code": arguments.code}, [done])
        return 0

    return await _with_channel(arguments, act)


def find_device(log: Log, who: str) -> Device:
    """The device that a name, or the first digits of a card, means. Raises UserError."""
    digits = who.replace(" ", "")
    found = [
        device
        for device in log.consent.devices.values()
        if any(m.fingerprint == device.card and m.name == who for m in log.members.values())
        or (
            len(digits) >= 5
            and digits.isdecimal()
            and check_digits(device.card).replace(" ", "").startswith(digits)
        )
    ]
    if len(found) != 1:
        raise UserError(
            f"{len(found) or 'no'} devices here answer to this: use the card's digits (`pourparler who`)"
        )
    return found[0]


async def _hold(arguments: argparse.Namespace) -> int:
    async def act(channel: Channel) -> int:
        device = find_device(channel.log, arguments.who)
        await channel.do(Held(device.seat))
        emit(
            arguments,
            {"event": "held"},
            [
                "On hold. Its devices are taken out, and come back after `pourparler propose lift` and an invitation."
            ],
        )
        return 0

    return await _with_channel(arguments, act)


async def _discard(arguments: argparse.Namespace) -> int:
    async def act(channel: Channel) -> int:
        await channel.do(Discarded(find_device(channel.log, arguments.who).card))
        emit(arguments, {"event": "discarded"}, ["That device has ended; it is taken out of the channel."])
        return 0

    return await _with_channel(arguments, act)


async def _cancel(arguments: argparse.Namespace) -> int:
    async def act(channel: Channel) -> int:
        await channel.do(Cancelled(find_device(channel.log, arguments.who).card))
        emit(arguments, {"event": "cancelled"}, ["Nobody can be seated with that card any more."])
        return 0

    return await _with_channel(arguments, act)


async def _remove(arguments: argparse.Namespace) -> int:
    async def act(channel: Channel) -> int:
        await channel.remove(find_device(channel.log, arguments.who).credential)
        emit(arguments, {"event": "removed"}, ["It is no longer in the channel."])
        return 0

    return await _with_channel(arguments, act)


# What can be proposed, made from the arguments


def _card_file(arguments: argparse.Namespace) -> bytes:
    return Card.decode(read_text(arguments.card, "card")).fingerprint


def _admit(arguments: argparse.Namespace, channel: Channel) -> Subject:
    return Admit(arguments.side, Role(arguments.role), _card_file(arguments))


def _replace(arguments: argparse.Namespace, channel: Channel) -> Subject:
    old = find_device(channel.log, arguments.old)
    return Replace(old.seat, old.card, _card_file(arguments))


def _expel(arguments: argparse.Namespace, channel: Channel) -> Subject:
    return Expel(find_device(channel.log, arguments.who).seat)


def _recall(arguments: argparse.Namespace, channel: Channel) -> Subject:
    return Recall(find_device(channel.log, arguments.who).seat)


def _lift(arguments: argparse.Namespace, channel: Channel) -> Subject:
    return Lift(find_device(channel.log, arguments.who).seat)


def _recess(arguments: argparse.Namespace, channel: Channel) -> Subject:
    return Recess(int(time.time()) + arguments.length)


def _erase(arguments: argparse.Namespace, channel: Channel) -> Subject:
    return Erase(channel.log.row.cursor)


def _amend(arguments: argparse.Namespace, channel: Channel) -> Subject:
    return Amend(read_charter(arguments.charter).encode())


_CARD: Final = ("card", {"metavar": "CARD", "type": Path, "help": "the card's file, or - for standard input"})
_WHO: Final = ("who", {"metavar": "WHO", "help": "a name, or the first digits of the card"})
_SIDE: Final = (
    "--side",
    {"required": True, "metavar": "SIDE", "help": "the party or intermediary, as in the charter"},
)
_ROLE: Final = ("--role", {"choices": [str(role) for role in Role], "default": "delegate", "help": "(delegate)"})
_OLD: Final = ("--old", {"required": True, "metavar": "WHO", "help": "the card that it replaces"})
_LENGTH: Final = ("length", {"type": duration, "metavar": "LENGTH", "help": "how long: 12h, 30d"})
_CHARTER: Final = ("charter", {"metavar": "FILE", "type": Path, "help": "the new charter (TOML)"})

_SUBJECTS: Final[list[tuple[str, Any, str, list[tuple[str, dict[str, Any]]]]]] = [
    ("admit", _admit, "a seat for a card", [_CARD, _SIDE, _ROLE]),
    ("replace", _replace, "another card for a person who has a seat", [_CARD, _OLD]),
    ("expel", _expel, "somebody's seat ends, by every party", [_WHO]),
    ("recall", _recall, "a side calls back one of its own", [_WHO]),
    ("lift", _lift, "somebody is no longer on hold", [_WHO]),
    ("recess", _recess, "a pause in which nobody counts as absent", [_LENGTH]),
    ("erase", _erase, "end this session and erase what was said, everywhere", []),
    ("amend", _amend, "change the charter", [_CHARTER]),
]
