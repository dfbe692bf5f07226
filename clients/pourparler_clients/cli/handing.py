"""Commands on carried messages within one room: hand, answer, free, recall; put; the desk; private notes.

Terms that were not given are asked for one by one, each with what it means. What goes from one side's room to
another's: `carrying.py`.
"""

import argparse
import asyncio
import getpass
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pourparler_policies.charter.schema import Choice, Key, text
from pourparler_policies.shuttle import Answer, Fidelity, Item, Judge, Phase, Source, Terms
from pourparler_policies.shuttle.events import MAX_CONDITION, MAX_TEXT

from ..channel import Channel
from ..device import Device
from ..errors import UserError
from ..shuttle.desk import Contact, Desk, count, look
from ..shuttle.parcels import MAX_NOTE, Note, Waiting
from ..shuttle.room import code
from ..store import ChannelStore
from ..subjects import body_name
from . import asking
from .carried import item_record, say_put, say_terms
from .common import duration, emit, line_from, local_time, plain, progress, read_text, say_duration

Add = Callable[..., None]

SOURCES: Final = {"party": Source.PARTY, "idea": Source.IDEA, "hypothetical": Source.HYPOTHETICAL}
_JUDGES: Final = {"us": Judge.AUTHOR, "intermediary": Judge.INTERMEDIARY}
_SOURCE: Final = Choice(
    {
        "party": "the other side hears that it comes from your side",
        "idea": "the other side hears it as the intermediary's own idea",
        "hypothetical": "the other side hears: suppose somebody said this. Nobody has said it",
    }
)
_FIDELITY: Final = Choice(
    {
        "verbatim": "not a letter is changed; how you write may show that it is you",
        "gist": "the intermediary says it in other words",
    }
)
_CARRY: Final = Choice(
    {
        "free": "the intermediary carries it when it thinks best",
        "held": "not before a condition is met, which you write in the next answer",
    }
)
_JUDGE: Final = Choice(
    {"us": "your side says that the condition is met", "intermediary": "the intermediary says that it is met"}
)


def add_acts(add: Add, commands: Any) -> None:
    """Registers them; `add` takes parser, name, help, act and arguments (see `table.py`)."""
    words = ("words", {"metavar": "FILE", "type": Path, "help": "the message's file, or - for standard input"})
    maybe = (
        "words",
        {"metavar": "FILE", "type": Path, "nargs": "?", "help": "what you say with it: a file, or - for input"},
    )
    kinds = ("answer", {"choices": [str(one) for one in Answer], "help": "what the answer is"})
    add(commands, "hand", "hand a message to the intermediary, to be carried on your terms", _hand, words, *_TERMS)
    add(
        commands,
        "answer",
        "answer what the intermediary has put to you: to the intermediary, on your terms",
        _answer,
        *(_CODE, kinds, maybe, *_TERMS),
    )
    add(commands, "free", "say that the condition of a held message is met: it may be carried", _free, _CODE)
    add(commands, "recall", "take a message back that has not been carried yet", _recall, _CODE)
    hypothetical = ("--hypothetical", {"action": "store_true", "help": "say that nobody has said it"})
    put = "put an idea of your own to this side (the intermediary)"
    add(commands, "put", put, _put, words, hypothetical, _EXPIRES)
    desk = "the desk for one side: what you hold on which terms, what waits, what lapses, your notes"
    add(commands, "shuttle", desk, _desk, *_OTHER)
    add(
        commands,
        "sheet",
        "your private sheet on this side: list, add, drop notes; nobody is sent them",
        _note,
        ("words", {"metavar": "FILE", "type": Path, "nargs": "?", "help": "a new note's file, or - for input"}),
        ("--about", {"metavar": "CODE", "help": "which carried message it is about"}),
        ("--by", {"type": duration, "metavar": "LENGTH", "help": "promised within this time from now: 12h, 3d"}),
        ("--life", {"type": duration, "metavar": "LIFE", "help": "how long it stays (as long as a message)"}),
        ("--drop", {"type": int, "metavar": "NUMBER", "help": "erase this note"}),
    )


_CODE: Final = ("code", {"metavar": "CODE", "help": "its five digits in `pourparler shuttle`"})
_EXPIRES: Final = (
    "--expires",
    {"type": duration, "metavar": "LENGTH", "help": "how long it may be carried and answered (a message's life)"},
)
_TERMS: Final = (
    ("--source", {"choices": [*SOURCES], "help": "as whose word the other side hears it"}),
    ("--fidelity", {"choices": ["verbatim", "gist"], "help": "how close to your words the intermediary stays"}),
    ("--held-until", {"metavar": "CONDITION", "help": "in words: not carried before this is so"}),
    ("--judge", {"choices": [*_JUDGES], "help": "who says that it is so (us)"}),
    ("--not-before", {"type": duration, "metavar": "LENGTH", "help": "not carried before this time has passed"}),
    _EXPIRES,
)
_OTHER: Final = (
    (
        "--other",
        {
            "metavar": "DIR",
            "type": Path,
            "help": "another side's compartment: counted as of its last visit, not shown",
        },
    ),
    ("--other-passphrase-fd", {"metavar": "N", "type": int, "help": "its passphrase, from this file descriptor"}),
)


async def _hand(arguments: argparse.Namespace, channel: Channel) -> None:
    words = _words(arguments)
    _warn(arguments, channel)
    item = await channel.shuttle.hand(words, await _terms(arguments, channel))
    await _handed(arguments, channel, item, "Handed over")


async def _answer(arguments: argparse.Namespace, channel: Channel) -> None:
    item = await channel.shuttle.find(arguments.code)
    words = _words(arguments) if arguments.words is not None else ""
    _warn(arguments, channel)
    terms = await _terms(arguments, channel)
    made = await channel.shuttle.answer(item.id, Answer(arguments.answer), words, terms)
    await _handed(arguments, channel, made, "Your answer is with the intermediary")


async def _handed(arguments: argparse.Namespace, channel: Channel, number: bytes, done: str) -> None:
    item = (await channel.shuttle.room())[number]
    terms = say_terms(item.terms) if item.terms is not None else ""
    emit(
        arguments,
        {"event": "handed over", **item_record(item)},
        [f"{done}, as {code(number)}. Terms: {terms}.", "Until it is carried: `pourparler recall`."],
    )


def _warn(arguments: argparse.Namespace, channel: Channel) -> None:
    """Who else is in the room hears it too."""
    log = channel.log
    names = [plain(m.name, lines=False) for m in log.members.values() if m.credential != log.row.credential]
    progress(arguments, f"In “{plain(log.charter.title, lines=False)}” this is read by: {', '.join(names)}.")


def _words(arguments: argparse.Namespace) -> str:
    """The message, as it stands in its file but for the line's end."""
    return read_text(arguments.words, "message", MAX_TEXT).rstrip("\r\n")


async def _terms(arguments: argparse.Namespace, channel: Channel) -> Terms:
    """The terms that were given; the others are asked for. Raises UserError when nobody is there to be asked."""
    source, fidelity = arguments.source, arguments.fidelity
    condition, judge = arguments.held_until or "", arguments.judge
    if source is None or fidelity is None:
        if not hasattr(arguments, "vault") or not sys.stdin.isatty():
            raise UserError("say on which terms: --source and --fidelity (or use a terminal, and you are asked)")
        source = source or await _ask("as whose word", _SOURCE, "As whose word shall the other side hear it?")
        fidelity = fidelity or await _ask("how close", _FIDELITY, "How close to your words shall it stay?")
        if not condition and await _ask("carry", _CARRY, "When may it be carried?") == "held":
            condition = str(await _ask("condition", text, "Not before what? In words that the intermediary sees"))
            judge = judge or await _ask("judge", _JUDGE, "Who says that it is so?")
    if len(condition) > MAX_CONDITION:
        raise UserError(f"a condition has at most {MAX_CONDITION} characters")
    now, longest = channel.clock(), channel.log.charter.retention.messages
    return Terms(
        SOURCES[source],
        Fidelity(fidelity),
        condition,
        _JUDGES[judge or "us"],
        now + arguments.not_before if arguments.not_before else 0,
        now + min(arguments.expires or longest, longest),
    )


async def _ask(name: str, kind: Any, about: str) -> Any:
    try:
        return await asyncio.to_thread(asking.ask, Key(name, kind, about))
    except asking.End:
        raise UserError("no answer was given: nothing was handed over") from None


async def _free(arguments: argparse.Namespace, channel: Channel) -> None:
    item = await channel.shuttle.find(arguments.code)
    await channel.shuttle.free(item.id)
    emit(arguments, {"event": "freed", "code": code(item.id)}, ["Its condition is met: it may be carried."])


async def _recall(arguments: argparse.Namespace, channel: Channel) -> None:
    item = await channel.shuttle.find(arguments.code)
    await channel.shuttle.recall(item.id)
    emit(
        arguments,
        {"event": "recalled", "code": code(item.id)},
        ["Taken back: it is not carried. Who is in this room has read it; `pourparler shorten` ends its text."],
    )


async def _put(arguments: argparse.Namespace, channel: Channel) -> None:
    words = _words(arguments)
    _warn(arguments, channel)
    longest = channel.log.charter.retention.messages
    expires = channel.clock() + min(arguments.expires or longest, longest)
    made = await channel.shuttle.put(words, expires, hypothetical=arguments.hypothetical)
    emit(arguments, {"event": "put", "code": code(made)}, [f"Put to this side, as {code(made)}."])


# The desk


async def _desk(arguments: argparse.Namespace, channel: Channel) -> None:
    desk, log = await look(channel), channel.log
    now, intermediary = channel.clock(), channel.shuttle.own.intermediary
    title = plain(log.charter.title, lines=False)
    record: dict[str, Any] = {"event": "desk", "title": log.charter.title}
    lines = [f"“{title}”"]
    if intermediary:
        record["contacts"] = [{"body": c.body, "said": c.said, "there": c.there} for c in desk.contacts]
        lines += [_contact(channel, one, now) for one in desk.contacts]
    for name, head, items in _parts(desk, intermediary=intermediary):
        record[name] = [item_record(item) for item in items]
        if items:
            lines += ["", head, *(line for item in items for line in _item(desk, item, now))]
    record["parcels"] = [{"text": p.put.text, "leaves": p.leaves, "ends": p.ends} for p in desk.parcels]
    record["notes"] = [{"number": n, "text": note.text, "by": note.by} for n, note in desk.notes.items()]
    if desk.parcels:
        lines += ["", "On its way to this side, from this device:", *(_parcel(one, now) for one in desk.parcels)]
    if desk.notes:
        lines += ["", "Your notes (nobody is sent them):", *(_note_line(n, one) for n, one in desk.notes.items())]
    if len(lines) == 1 + len(desk.contacts) * intermediary:
        lines.append("Nothing waits here.")
    record["elsewhere"] = await _elsewhere(arguments, channel)
    lines += (
        [f"{record['elsewhere']} more wait elsewhere, as of the last visit there."] if record["elsewhere"] else []
    )
    emit(arguments, record, lines)


def _parts(desk: Desk, *, intermediary: bool) -> list[tuple[str, str, list[Item]]]:
    if intermediary:
        return [
            ("free", "You may carry, on these terms (`carry`, `pass-on`):", desk.free),
            ("held", "You hold, and may not carry yet:", desk.held),
            ("awaited", "Put to them, and not answered yet:", desk.awaited),
            ("answered", "Put to them, and answered:", desk.answered),
            ("unanswered", "Put to them, and not answered in time:", desk.unanswered),
            ("carried", "Theirs, carried:", desk.carried),
            ("done", "Theirs, and over:", desk.done),
        ]
    return [
        ("awaited", "Put to you, and not answered yet (`answer`):", desk.awaited),
        ("answered", "Put to you, and answered:", desk.answered),
        ("unanswered", "Put to you, and not answered in time:", desk.unanswered),
        ("held", "Yours, held until its condition is met (`free`, `recall`):", desk.held),
        ("free", "Yours, with the intermediary (`recall`):", desk.free),
        ("carried", "Yours, carried:", desk.carried),
        ("done", "Yours, and over:", desk.done),
    ]


def _item(desk: Desk, item: Item, now: int) -> list[str]:
    left = say_duration(item.expires - now) + " left" if item.expires > now else "expired"
    head = f"  {code(item.id)}  {left}"
    if item.phase in (Phase.PASSED_ON, Phase.RECALLED, Phase.LAPSED):
        head = f"  {code(item.id)}  {item.phase}"
    if item.answer is not None:
        head += f"; {item.answer}, about {code(item.about)}" if item.about else f"; {item.answer}"
    promised = [note.by for note in desk.notes.values() if note.by and note.about == item.id]
    if promised:
        head += f"; promised by {local_time(min(promised))}"
    how = (
        say_terms(item.terms) if item.terms is not None else say_put(item.source, item.answer, regards=item.about)
    )
    return [head, *(f"      {line}" for line in plain(item.text).split("\n") if item.text), f"      ({how})"]


def _parcel(parcel: Waiting, now: int) -> str:
    line = plain(parcel.put.text, lines=False)[:60]
    if not parcel.leaves:
        return f"  not carried to its end: run the same `carry` again: {line}"
    when = (
        f"in {say_duration(parcel.leaves - now)}" if parcel.leaves > now else "when this device is next connected"
    )
    return f"  leaves {when}: {line}"


def _contact(channel: Channel, contact: Contact, now: int) -> str:
    name = plain(body_name(channel.log.charter, contact.body), lines=False)
    if contact.said:
        return f"  {name}: spoke {say_duration(max(1, now - contact.said))} ago"
    if contact.there:
        return f"  {name}: nothing said that lives; a device was there {say_duration(max(1, now - contact.there))} ago"
    return f"  {name}: not here"


async def _elsewhere(arguments: argparse.Namespace, channel: Channel) -> int:
    """How much waits in rooms that are not shown: others in this vault, and the compartment that was named."""
    vault, now = channel.log.vault, channel.clock()
    total = sum(count(ChannelStore(vault, one), now) for one in ChannelStore.all(vault) if one != channel.id)
    place = getattr(arguments, "other", None)
    if place is None:
        return total
    async with Device.open(place, other_passphrase(arguments.other_passphrase_fd, place)) as device:
        return total + sum(count(one.log.store, device.clock()) for one in device.channels())


def other_passphrase(descriptor: int | None, place: Path) -> str:
    """The passphrase of a second compartment."""
    if descriptor is not None:
        return line_from(descriptor)
    if not sys.stdin.isatty():
        raise UserError(
            "the passphrase of the other compartment is asked for at a terminal, or read from a descriptor"
        )
    return getpass.getpass(f"Passphrase of {place}: ")


# Notes


async def _note(arguments: argparse.Namespace, channel: Channel) -> None:
    parcels, now = channel.shuttle.parcels, channel.clock()
    if arguments.drop is not None:
        await channel.step(lambda: parcels.drop_note(arguments.drop))
        emit(arguments, {"event": "note dropped"}, ["It is erased."])
        return
    if arguments.words is not None:
        words = read_text(arguments.words, "note", MAX_NOTE).rstrip("\r\n")
        about = (await channel.shuttle.find(arguments.about)).id if arguments.about else b""
        made = Note(words, about, now + arguments.by if arguments.by else 0)
        rules = channel.log.charter.retention
        ends = now + min(arguments.life or rules.messages, rules.papers)
        await channel.step(lambda: parcels.add_note(made, ends))
        emit(arguments, {"event": "noted"}, [f"Noted, on this device alone, until {local_time(ends)}."])
        return
    notes = await channel.step(parcels.notes)
    for number, note in notes.items():
        record = {"event": "note", "number": number, "text": note.text, "by": note.by}
        emit(arguments, record, [_note_line(number, note)])
    if not notes:
        emit(arguments, {"event": "empty"}, ["You have no notes on this side."])


def _note_line(number: int, note: Note) -> str:
    about = f"about {code(note.about)}: " if note.about else ""
    by = f" (promised by {local_time(note.by)})" if note.by else ""
    return f"  {number}  {about}{plain(note.text, lines=False)}{by}"
