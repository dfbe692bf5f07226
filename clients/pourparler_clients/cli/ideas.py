"""Commands of ideas without a name: call a round, have an idea, see the list, mark and group it, make a draft of it.

A device takes part by itself while it is connected (`talk`, `watch`, `ideas wait`), whether its person has an idea or
not: nobody has to do anything to be one of those among whom an idea cannot be told.
"""

import argparse
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pourparler_policies.ideas.content import MAX_IDEA
from pourparler_policies.ideas.facts import LEAST_SEATS, Round

from ..channel import Channel
from ..errors import UserError
from ..ideas import GATHER, WINDOW, Listed, draft_text
from ..papers import compose
from ..subjects import code_of
from . import waysout
from .common import duration, emit, local_time, plain, progress, read_text, say_duration
from .prompts import inside_talk
from .showing import show
from .textfiles import read_keys, read_time

Add = Callable[..., None]
_ENDS: Final = ("ideas", "marks", "broken")
_LIST: Final = (
    "--list",
    {"metavar": "CODE", "help": "which list, when there are several: its code in `ideas show`; else the newest"},
)


def add_acts(commands: Any, add: Add) -> None:
    """Registers `ideas` and its verbs; `add` takes parser, name, help, act and arguments (see `table.py`)."""
    ideas = commands.add_parser(
        "ideas", help="ideas without a name: have one, call a round, see, mark and group them, draft from them"
    )
    verbs = ideas.add_subparsers(title="verbs", metavar="VERB", required=True)
    number = ("number", {"type": int, "metavar": "NUMBER", "help": "its number in `ideas show`"})
    add(verbs, "show", "the round that is called, ideas of yours that wait, and the lists that have opened", _show)
    add(verbs, "add", "an idea for the next round: from standard input, or as words", _add, *_TEXT)
    add(verbs, "drop", "take back an idea of yours that waits", _drop, number)
    add(verbs, "again", "put an idea into the next round though somebody may have read it", _again, number)
    add(verbs, "call", "call a round for everybody who is there at its tick", _call, *_CALL)
    add(verbs, "cancel", "call the round off; what waits for it waits for another", _cancel)
    add(verbs, "wait", "stay connected, and take part, until the round is over", _wait)
    add(verbs, "mark", "mark and group ideas of a list, for the next round of marks", _mark, *_MARK, _LIST)
    add(
        verbs,
        "draft",
        "make a draft of a list: a file, or at once a joint text on the table",
        _draft,
        *_DRAFT,
        _LIST,
    )


_TEXT: Final = (
    ("words", {"nargs": "*", "metavar": "WORD", "help": "the idea; without it, what stands on standard input"}),
    (
        "--least",
        {
            "type": int,
            "default": LEAST_SEATS,
            "metavar": "N",
            "help": "only where at least N people take part (3)",
        },
    ),
)
_CALL: Final = (
    ("tick", {"metavar": "TIME", "help": "when everybody's device sends: 2026-12-01T09:00Z, or +20m from now"}),
    ("--gather", {"type": duration, "default": GATHER, "help": "how long before it devices join (10m)"}),
    ("--window", {"type": duration, "default": WINDOW, "help": "how long packets are taken (2m)"}),
    ("--life", {"type": duration, "help": "how long the list lives: a message's life, unless shorter"}),
    ("--marks", {"action": "store_true", "help": "a round of marks on a list, not of ideas"}),
    _LIST,
)
_MARK: Final = (
    ("numbers", {"nargs": "*", "type": int, "metavar": "NUMBER", "help": "ideas that you mark"}),
    (
        "--group",
        {
            "action": "append",
            "default": [],
            "metavar": "HEADING=NUMBERS",
            "help": "ideas that belong together, for example Water=1,3",
        },
    ),
)
_DRAFT: Final = (
    (
        "--out",
        {"metavar": "FILE", "type": Path, "help": "write the text to a file, readable to who has the device"},
    ),
    ("--marked", {"type": int, "default": 0, "metavar": "N", "help": "only ideas with at least N marks"}),
    ("--title", {"default": "Ideas", "metavar": "TEXT", "help": "its first line"}),
    ("--language", {"default": "en", "metavar": "TAG", "help": "its language (en)"}),
    ("--key", {"action": "append", "default": [], "metavar": "NAME=FILE", "help": "as in `release draft`"}),
    ("--not-before", {"metavar": "TIME", "help": "as in `release draft`: puts it on the table"}),
    ("--life-on-table", {"type": duration, "default": 30 * 86400, "help": "as --life in `release draft` (30d)"}),
)


def _code(round_: bytes) -> str:
    return code_of(hashlib.sha256(round_).digest())


async def _show(arguments: argparse.Namespace, channel: Channel) -> None:
    held = channel.ideas.live
    if held is not None:
        emit(arguments, *_round(channel, held))
    for text in await channel.ideas.own():
        words = text.text[1:].decode()
        state = (
            "under way" if text.round else "somebody may have read it: `ideas again`" if text.doubtful else "waits"
        )
        record = {"event": "own", "number": text.number, "text": words, "state": state, "least": text.least}
        emit(arguments, record, [f"Yours, {text.number} ({state}): {plain(words)}"])
    lists = await channel.ideas.lists()
    for listed in lists:
        emit(arguments, *_listed(channel, listed))
    if held is None and not lists:
        emit(arguments, {"event": "empty"}, ["No round of ideas is called, and no list is here."])


def _round(channel: Channel, held: Round) -> tuple[dict[str, Any], list[str]]:
    joined, present = channel.ideas.seats()
    what = f"marks on list {_code(held.about)}" if held.about else "ideas"
    record = {
        "event": "round",
        "about": _code(held.about) if held.about else "",
        "phase": held.phase,
        "begins": held.begins,
        "tick": held.tick,
        "closes": held.closes,
        "joined": joined,
        "present": present,
    }
    when = f"devices join from {local_time(held.begins)} and send at {local_time(held.tick)}"
    return record, [f"A round of {what}: {when}. {joined} of {present} people who are there take part so far."]


def _listed(channel: Channel, listed: Listed) -> tuple[dict[str, Any], list[str]]:
    opened, tally = listed.opened, listed.tally
    left = say_duration(max(0, opened.expires_at - channel.clock()))
    lines = [
        f"List {_code(opened.round)}, of {opened.seats} people who took part; lives {left} more"
        + (f"; {opened.unread} could not be read" if opened.unread else "")
    ]
    for number, idea in enumerate(listed.ideas, 1):
        marks = f"  ({tally.marks[number]} marks)" if tally is not None else ""
        mine = " *" if number in listed.mine.marks else ""
        lines.append(f"  {number}. {plain(idea)}{marks}{mine}")
    groups = tally.groups.items() if tally is not None else ()
    lines += [f"  {plain(n, lines=False)}: {_numbers(ideas)} (named by {times})" for n, (ideas, times) in groups]
    record: dict[str, Any] = {
        "event": "list",
        "code": _code(opened.round),
        "seats": opened.seats,
        "unread": opened.unread,
        "expires_at": opened.expires_at,
        "ideas": list(listed.ideas),
        "marked": sorted(listed.mine.marks),
    }
    if tally is not None:
        record["marks"] = [tally.marks[number] for number in range(1, len(listed.ideas) + 1)]
        record["groups"] = {name: [sorted(ideas), times] for name, (ideas, times) in tally.groups.items()}
    return record, lines


def _numbers(ideas: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(ideas)))


async def _add(arguments: argparse.Namespace, channel: Channel) -> None:
    text = " ".join(arguments.words)
    if not text:
        if inside_talk():  # what is typed next there is said, under a name
            raise UserError("write the idea in the same line: /ideas add WORDS")
        if sys.stdin.isatty():
            progress(arguments, "Your idea (end it with Ctrl-D on a line of its own):")
        text = read_text(Path("-"), "idea", 4 * MAX_IDEA)
    number = await channel.ideas.add(text, least=arguments.least)
    emit(
        arguments,
        {"event": "added", "number": number},
        [
            f"It waits here, as number {number}, for the next round in which at least {arguments.least} take part.",
            "Words give people away: write it as anybody here could have written it.",
        ],
    )


async def _drop(arguments: argparse.Namespace, channel: Channel) -> None:
    await channel.ideas.drop(arguments.number)
    emit(arguments, {"event": "dropped"}, ["It is gone."])


async def _again(arguments: argparse.Namespace, channel: Channel) -> None:
    await channel.ideas.again(arguments.number)
    emit(arguments, {"event": "again"}, ["It goes into the next round."])


async def _call(arguments: argparse.Namespace, channel: Channel) -> None:
    about = (await _choose(arguments, channel)).opened.round if arguments.marks else b""
    tick = read_time(arguments.tick)
    await channel.ideas.call(
        tick, about=about, gather=arguments.gather, window=arguments.window, life=arguments.life
    )
    begins = tick - arguments.gather
    emit(
        arguments,
        {"event": "called", "tick": tick, "begins": begins},
        [
            f"Called: who is connected from {local_time(begins)} to {local_time(tick)} takes part, idea or not.",
            "Everybody stays connected until it is over: `talk`, `watch` or `ideas wait`.",
        ],
    )


async def _cancel(arguments: argparse.Namespace, channel: Channel) -> None:
    await channel.ideas.call_off()
    emit(arguments, {"event": "cancelled"}, ["The round is off. What waited for it waits for another."])


async def _wait(arguments: argparse.Namespace, channel: Channel) -> None:
    if channel.watched:
        raise UserError("this device takes part by itself: it is connected")
    if channel.ideas.live is None and not channel.log.rounds.all():
        raise UserError("there is no round of ideas now")
    async for happening in channel.watch():
        if happening.kind not in ("said", "removed", "closed"):
            show(arguments, channel, happening)
        if happening.kind in _ENDS:
            break
    if happening.kind in ("ideas", "marks"):
        for listed in (await channel.ideas.lists())[:1]:
            emit(arguments, *_listed(channel, listed))


async def _choose(arguments: argparse.Namespace, channel: Channel) -> Listed:
    lists = [one for one in await channel.ideas.lists() if arguments.list in (None, _code(one.opened.round))]
    if not lists:
        raise UserError("there is no such list of ideas here: see `ideas show`")
    return lists[0]


async def _mark(arguments: argparse.Namespace, channel: Channel) -> None:
    listed = await _choose(arguments, channel)
    groups: dict[str, frozenset[int]] = {}
    for one in arguments.group:
        name, equals, numbers = one.rpartition("=")
        parts = numbers.split(",")
        if not equals or not all(part.strip().isdecimal() for part in parts):
            raise UserError(f"--group {one} is not written as HEADING=NUMBERS, for example Water=1,3")
        groups[name] = groups.get(name, frozenset()) | {int(part) for part in parts}
    await channel.ideas.mark(listed.opened.round, frozenset(arguments.numbers), groups)
    emit(
        arguments,
        {"event": "marked", "list": _code(listed.opened.round)},
        [
            "They wait on this device for a round of marks (`ideas call --marks`), in place of what you marked before."
        ],
    )


async def _draft(arguments: argparse.Namespace, channel: Channel) -> None:
    listed = await _choose(arguments, channel)
    text = draft_text(listed, arguments.title, arguments.marked)
    if arguments.not_before is None:
        if arguments.out is None:
            emit(arguments, {"event": "draft", "text": text}, [plain(text)])
            return
        waysout.remind(arguments, channel)
        arguments.out.write_text(text, encoding="utf-8")
        emit(
            arguments,
            {"event": "draft", "file": str(arguments.out)},
            [f"Written to {arguments.out}, where it does not end by itself. Next: `release draft`."],
        )
        return
    if not arguments.key:
        raise UserError("a joint text names its signatories: --key NAME=FILE for each, as in `release draft`")
    hour = read_time(arguments.not_before)
    communique = compose([(arguments.language, text)], read_keys(arguments.key), hour)
    paper = await channel.releases.table(communique, arguments.life_on_table)
    emit(
        arguments,
        {"event": "drafted", "code": _code(paper)},
        [f"On the table as {_code(paper)}. Next: `release revise` it, and everybody initials it."],
    )
