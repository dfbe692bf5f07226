"""Commands of consent: who is there, what is on the table, and everybody's word on it; holds; who has to go.

Each act is one entry of the log and follows the rules of docs/consent.md; what would not count is refused here. The
same words work inside `talk`, behind a slash.
"""

import argparse
import shlex
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

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
    Adjourn,
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
from ..errors import Halted, UserError
from ..grounds import may_approve
from ..log import Log
from ..messages import Message
from ..subjects import charter_names, code_of, describe, difference, find_subject
from . import adjourning, atonce, attachments, handing, ideas, onetext, release, sound, textview
from .carried import title_line
from .common import (
    GlobalOptions,
    choose_channel,
    duration,
    emit,
    open_device,
    plain,
    read_charter,
    read_text,
    say_duration,
)
from .showing import name_of, news
from .textfiles import read_time
from .who import who

Act = Callable[[argparse.Namespace, Channel], Awaitable[None]]
MAX_WORDS: Final = 64  # words of a line behind a slash

_WORDS: Final[dict[str, tuple[Callable[[bytes], Event], str, str]]] = {
    "approve": (Approved, "approve what is on the table, by its code", "Approved."),
    "withdraw": (Withdrawn, "take your approval back", "Your approval is taken back."),
    "object": (Objected, "object: it is blocked until you yield", "You object; it is blocked until you yield."),
    "yield": (Yielded, "take your objection back", "You object no longer."),
    "drop": (Dropped, "take off the table what your side put there", "It is off the table."),
}


def add_commands(commands: Any, options: GlobalOptions) -> None:
    """Registers the commands of this module."""
    for parser in _add_acts(commands, lambda verbs: onetext.add_commands(verbs, options)):
        run = parser.get_default("run")  # what is about no one channel has one of its own
        options.add(parser, channel=run is None)
        parser.set_defaults(func=run or _run)


def _add_acts(commands: Any, further: Callable[[Any], None] | None = None) -> list[argparse.ArgumentParser]:
    """The words of consent; each parser leaves its act in `act`. `further` adds what works only outside `talk`."""
    made = []

    def add(to: Any, name: str, text: str, act: Act, *arguments: tuple[str, dict[str, Any]]) -> None:
        parser = to.add_parser(name, help=text)
        for flag, how in arguments:
            parser.add_argument(flag, **how)
        parser.set_defaults(act=act)
        made.append(parser)

    add(commands, "who", "who has a seat, who is attested, and digits to compare by voice", who)
    add(commands, "table", "what is on the table, and who has approved or objects", _table)
    propose = commands.add_parser("propose", help="put something on the table; it takes effect with all consents")
    kinds = propose.add_subparsers(title="what", metavar="WHAT", required=True)
    for name, make, text, arguments in _SUBJECTS:
        add(kinds, name, text, _propose, *arguments, _AT_HOME, _WITHOUT)
        made[-1].set_defaults(make=make)
    release.add_acts(commands, add)
    handing.add_acts(add, commands)
    sound.add_acts(commands, add)
    attachments.add_acts(commands, add)
    ideas.add_acts(commands, add)
    verbs = onetext.add_acts(commands, add)
    if further is not None:
        further(verbs)
    for name, (_, text, _) in _WORDS.items():
        add(commands, name, text, _word, _CODE, *((_AT_HOME,) if name == "approve" else ()))
        made[-1].set_defaults(word=name)
    hold = "put a person of your own side, or yourself, on hold: removed, and can come back"
    add(commands, "hold", hold, _hold, _WHO, atonce.YES)
    add(commands, "discard", "end one of your own devices, for instance a lost one", _discard, _WHO)
    add(commands, "cancel", "take back your side's consent to somebody who has not come", _cancel, _WHO)
    shorter = "give something you said a shorter life, or end it now"
    add(commands, "shorten", shorter, _shorten, _NUMBER, _TO, atonce.YES)
    add(commands, "lives", "how long words live here, and shorter lives for this device", _lives, _OWN, _READ)
    add(commands, "remove", "take a device out that nobody has attested, or that has to go", _remove, _WHO)
    return made


class _Words(argparse.ArgumentParser):
    """A parser inside `talk`: what is wrong is said there, and the talk goes on."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see /help)")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        raise UserError((message or "").strip() or "these are the words: /help lists them")


async def do_words(line: str, channel: Channel, *, as_json: bool) -> None:
    """Does what a line behind a slash says: `approve 12345`. Raises UserError."""
    try:
        words = shlex.split(line)
    except ValueError:
        raise UserError("the quotes in this line do not close") from None
    parser = _Words(prog="", add_help=False)
    commands = parser.add_subparsers(metavar="WORD", required=True, parser_class=_Words)
    names = [*(one.prog.strip() for one in _add_acts(commands)), "lock"]
    if not words or words == ["help"]:
        emit(argparse.Namespace(json=as_json), {"event": "words", "words": names}, ["/" + name for name in names])
        return
    arguments = parser.parse_args(words[:MAX_WORDS])
    arguments.json = as_json
    await arguments.act(arguments, channel)


async def _run(arguments: argparse.Namespace) -> int:
    async with open_device(arguments) as device:
        channel = choose_channel(device, arguments)
        with suppress(Halted):  # it has ended: what follows says so
            arguments.had = textview.words_here(channel.log)
        if not news(arguments, channel, await channel.sync()):
            return 1
        await arguments.act(arguments, channel)
        return 0 if news(arguments, channel, await channel.sync()) else 1


async def _table(arguments: argparse.Namespace, channel: Channel) -> None:
    log = channel.log
    for digest, held in log.consent.open.items():
        record, lines = _entry(log, digest, held)
        emit(arguments, record, lines)
    if not log.consent.open:
        emit(arguments, {"event": "empty"}, ["There is nothing on the table."])


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
    lines += [f"       {line}" for line in adjourning.consequence(held.subject)]
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


async def _propose(arguments: argparse.Namespace, channel: Channel) -> None:
    subject: Subject = arguments.make(arguments, channel)
    said = plain(describe(channel.log, subject))
    approves: bool | None = arguments.confirm_at_home
    if arguments.without_approval or (isinstance(subject, Admit) and not may_approve(channel.log)):
        approves = None
    digest = await channel.propose(subject, confirm=approves)
    emit(
        arguments,
        {"event": "proposed", "code": code_of(digest), "subject": said},
        [f"On the table as {code_of(digest)}: {said}.", *adjourning.consequence(subject)],
    )


async def _word(arguments: argparse.Namespace, channel: Channel) -> None:
    make, _, done = _WORDS[arguments.word]
    digest = find_subject(channel.log, arguments.code)
    confirm = arguments.word == "approve" and arguments.confirm_at_home
    held = channel.log.consent.open[digest].subject if arguments.word == "approve" else None
    await channel.do(Approved(digest, confirm=True) if confirm else make(digest))
    emit(arguments, {"event": arguments.word, "code": arguments.code}, [done, *adjourning.consequence(held)])


def find_device(log: Log, who: str) -> Device:
    """The device that a name, or the first digits of a card, means. Raises UserError."""
    digits = who.replace(" ", "")
    named = {member.fingerprint for member in log.members.values() if member.name == who}
    named |= {fingerprint for fingerprint, name in charter_names(log.charter).items() if name == who}
    found = [
        device
        for device in log.consent.devices.values()
        if device.card in named
        or (
            len(digits) >= 5
            and digits.isdecimal()
            and check_digits(device.card).replace(" ", "").startswith(digits)
        )
    ]
    if len(found) != 1:
        raise UserError(f"{len(found) or 'no'} devices answer to this: use the card's digits (`pourparler who`)")
    return found[0]


async def _hold(arguments: argparse.Namespace, channel: Channel) -> None:
    device, own = find_device(channel.log, arguments.who), channel.log.own_card.fingerprint
    if device.seat in {one.seat for one in channel.log.consent.devices.values() if one.card == own}:
        await atonce.agreed(arguments, "holding yourself", _YOURSELF, "hold", "nobody was put on hold")
    await channel.do(Held(device.seat))
    emit(
        arguments,
        {"event": "on hold"},
        [
            "On hold: its devices are taken out, and erase the channel when they next connect. To come back:",
            "`pourparler propose lift`, and then an invitation.",
        ],
    )


async def _discard(arguments: argparse.Namespace, channel: Channel) -> None:
    await channel.do(Discarded(find_device(channel.log, arguments.who).card))
    emit(arguments, {"event": "discarded"}, ["That device has ended; it is taken out of the channel."])


async def _cancel(arguments: argparse.Namespace, channel: Channel) -> None:
    await channel.do(Cancelled(find_device(channel.log, arguments.who).card))
    emit(arguments, {"event": "cancelled"}, ["Nobody can be seated with that card any more."])


async def _remove(arguments: argparse.Namespace, channel: Channel) -> None:
    await channel.remove(find_device(channel.log, arguments.who).credential)
    emit(arguments, {"event": "taken out"}, ["It is no longer in the channel."])


# How long words live


def _own_text(message: Message) -> str:
    return title_line(message) if message.kind == "shuttle" else message.text


def _own_line(message: Message, now: int) -> str:
    left = say_duration(max(0, message.expires_at - now))
    line = f"{'file: ' if message.attached else ''}{plain(_own_text(message), lines=False)}"
    return f"{message.seq:>8}  {left} left  {line[:60]}"


async def _shorten(arguments: argparse.Namespace, channel: Channel) -> None:
    if arguments.number is None:
        now = channel.clock()
        for message in channel.log.store.messages.shown(now):
            if message.own:
                record = {
                    "event": "own",
                    "number": message.seq,
                    "text": _own_text(message),
                    "expires_at": message.expires_at,
                }
                emit(arguments, record, [_own_line(message, now)])
        return
    now = channel.clock()
    for message in channel.log.store.messages.shown(now):
        if message.own and message.seq == arguments.number and message.received_at + arguments.to <= now:
            await atonce.agreed(
                arguments, "ending", [_ENDING, _own_line(message, now)], "end", "nothing was ended"
            )
    await channel.shorten(arguments.number, arguments.to)
    emit(arguments, {"event": "shorter", "number": arguments.number}, [_SHORTER])


async def _lives(arguments: argparse.Namespace, channel: Channel) -> None:
    log = channel.log
    messages, after_reading = log.store.messages.own_rule()
    if arguments.messages is not None or arguments.after_reading is not None:
        messages = messages if arguments.messages is None else arguments.messages
        after_reading = after_reading if arguments.after_reading is None else arguments.after_reading
        await channel.set_own_rule(messages, after_reading)
    rules = log.charter.retention
    record = {
        "event": "lives",
        "charter": {"messages": rules.messages, "after_reading": rules.after_reading},
        "own": {"messages": messages, "after_reading": after_reading},
        "messages": log.lives.longest(),
        "after_reading": log.lives.once_read(),
    }
    once = log.lives.once_read()
    lines = [f"On this device a message lives for {say_duration(log.lives.longest())}."]
    if once:
        lines.append(f"Once it was shown here, it lives for {say_duration(once)}.")
    if messages or after_reading:
        lines.append(
            "That is shorter than the charter where you chose so; the others' devices keep the charter's rule."
        )
    emit(arguments, record, lines)


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


def _adjourn(arguments: argparse.Namespace, channel: Channel) -> Subject:
    return Adjourn(read_time(arguments.time))


def _amend(arguments: argparse.Namespace, channel: Channel) -> Subject:
    return Amend(read_charter(arguments.charter).encode())


_YOURSELF: Final = (
    "ATTENTION: this puts yourself on hold. The others' devices take yours out, and this device erases the channel:",
    "all words, files and keys of it here. Your place stays. You come back when a party has proposed `lift` and",
    "somebody has invited your card.",
)
_ENDING: Final = "ATTENTION: this ends now, here, on every device and at the service, and cannot be brought back:"
_SHORTER: Final = (
    "It has the shorter life, at the service too. Who has read it may remember it; a device that is off erases it when "
    "it comes back, at the latest at its old end."
)


def _none_or_duration(text: str) -> int:
    return 0 if text in ("now", "none") else duration(text)


_NUMBER: Final = (
    "number",
    {
        "type": int,
        "nargs": "?",
        "metavar": "NUMBER",
        "help": "which message; without it your living ones are listed",
    },
)
_TO: Final = (
    "--to",
    {
        "type": _none_or_duration,
        "default": 0,
        "metavar": "LIFE",
        "help": "how long since it was said: 30m, 12h (now)",
    },
)
_OWN: Final = (
    "--messages",
    {
        "type": _none_or_duration,
        "metavar": "LIFE",
        "help": "a message lives here at most so long; none: no own rule",
    },
)
_READ: Final = (
    "--after-reading",
    {"type": _none_or_duration, "metavar": "LIFE", "help": "once it was shown here; none: no own rule"},
)
_CODE: Final = ("code", {"metavar": "CODE", "help": "its code in `pourparler table`"})
_AT_HOME: Final = (
    "--confirm-at-home",
    {"action": "store_true", "help": "your approval is subject to confirmation from home: it does not count yet"},
)
_WITHOUT: Final = ("--without-approval", {"action": "store_true", "help": "put it there without approving it"})
_CARD: Final = ("card", {"metavar": "CARD", "type": Path, "help": "the card's file, or - for standard input"})
_WHO: Final = ("who", {"metavar": "WHO", "help": "a name, or the first digits of the card"})
_SIDE: Final = (
    "--side",
    {"required": True, "metavar": "SIDE", "help": "the party or intermediary, as in the charter"},
)
_ROLE: Final = ("--role", {"choices": [str(role) for role in Role], "default": "delegate", "help": "(delegate)"})
_OLD: Final = ("--old", {"required": True, "metavar": "WHO", "help": "the card that it replaces"})
_LENGTH: Final = ("length", {"type": duration, "metavar": "LENGTH", "help": "how long: 12h, 30d"})
_HOUR: Final = ("time", {"metavar": "TIME", "help": "2026-12-01T09:00Z, or +2h from now"})
_CHARTER: Final = ("charter", {"metavar": "FILE", "type": Path, "help": "the new charter (TOML)"})

_SUBJECTS: Final[list[tuple[str, Any, str, list[tuple[str, dict[str, Any]]]]]] = [
    ("admit", _admit, "a seat for a card", [_CARD, _SIDE, _ROLE]),
    ("replace", _replace, "another card for a person who has a seat", [_CARD, _OLD]),
    ("expel", _expel, "somebody's seat ends, by every party", [_WHO]),
    ("recall", _recall, "a side calls back one of its own", [_WHO]),
    ("lift", _lift, "somebody is no longer on hold", [_WHO]),
    ("recess", _recess, "a pause: what was said is erased, nobody counts as absent", [_LENGTH]),
    ("erase", _erase, "end this session and erase what was said, everywhere", []),
    ("adjourn", _adjourn, "end this session at an hour, and erase then what was said until then", [_HOUR]),
    ("amend", _amend, "change the charter", [_CHARTER]),
]
