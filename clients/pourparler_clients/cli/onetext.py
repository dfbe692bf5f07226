"""Commands of the one text: a draft that an intermediary keeps between sides that share no channel.

A side's words work in its own channel, also inside `talk`; the intermediary's open a compartment for each side, in the
order in which the sides are named.
"""

import argparse
import asyncio
import getpass
import random
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from pourparler_crypto.note import Communique, KeyBook, Note, PressKey
from pourparler_crypto.note.verifying import MAX_BOOK
from pourparler_policies.release.device import Cue, Stage

from ..channel import Channel
from ..device import Device
from ..errors import UserError
from ..onetext import PAUSE, OneText
from .common import (
    GlobalOptions,
    choose_channel,
    choose_row,
    duration,
    emit,
    erasing,
    line_from,
    local_time,
    open_device,
    plain,
    progress,
    read_text,
)
from .files import check_new
from .prompts import typed
from .release import AUDIENCE, CARD, EFFECTS, audience_of, write_out
from .showing import STAGES, news, title_of
from .textfiles import read_keys, read_time, read_words
from .textview import COMPARE, check_had, differences, key_records, keys_of
from .verify import behind_margin

Add = Callable[..., None]
_CUES: Final = (
    ("withdraw", Cue.WITHDRAW, "withdraw from the signing", "You have withdrawn. Nobody is told who it was."),
    ("again", Cue.AGREE, "yes, publish it after all", "You agree: your device completes it."),
    ("refuse", Cue.REFUSE, "no, do not publish it", "Nothing comes of it without you."),
    ("stop", Cue.STOP, "stop a signed text before its hour", "Your device stops it."),
)
_WORDS: Final = (
    "words",
    {"nargs": "+", "metavar": "LANGUAGE=FILE", "help": "the words in each language: en=text.md"},
)


def add_acts(commands: Any, add: Add) -> Any:
    """Registers `onetext` and a side's verbs; `add` takes parser, name, help, act and arguments (see `table.py`)."""
    onetext = commands.add_parser("onetext", help="one text between sides that share no channel")
    verbs = onetext.add_subparsers(title="verbs", metavar="VERB", required=True)
    remark = ("remark", {"metavar": "FILE", "type": Path, "help": "the comment's file, or - for standard input"})
    home = ("--confirm-at-home", {"action": "store_true", "help": "it does not count before home has confirmed"})
    name = (
        "--as",
        {"dest": "party", "metavar": "NAME", "help": "your side's name in the text, instead of asking"},
    )
    book = (
        "--keys",
        {
            "metavar": "BOOK",
            "type": Path,
            "required": True,
            "help": "the other sides' press keys, which you have from where they publish them",
        },
    )
    out = ("--out", {"required": True, "metavar": "FILE", "type": Path, "help": "where to write your side's copy"})
    add(verbs, "show", "the text as your side signs it, what is open in it, what changed, where it stands", _show)
    add(verbs, "comment", "comment on it to the intermediary alone", _comment, remark)
    add(verbs, "agree", "we can live with it: your side's initials on this revision", _agree, home)
    add(verbs, "ready", "your side is ready to sign: the round runs by itself", _ready)
    add(verbs, "sign", "sign for your side: published when the last side has signed", _sign, book, name)
    for verb, cue, about, done in _CUES:
        add(verbs, verb, about, _cue(cue, done))
    add(verbs, "export", "write the completed text to a file, your side's copy of it", _export, out, CARD)
    return verbs


def add_commands(verbs: Any, options: GlobalOptions) -> None:
    """Registers the intermediary's verbs."""
    for name, act, text in (
        ("draft", _draft, "put one text on every side's table (the intermediary)"),
        ("revise", _revise, "another revision for all sides: it does not say who asked (the intermediary)"),
        ("standing", _standing, "how each side stands to it (the intermediary)"),
        ("appoint", _appoint, "propose times to sign, when every side can live with it (the intermediary)"),
        ("carry", _carry, "carry the sides' rounds between them (the intermediary)"),
    ):
        parser = verbs.add_parser(name, help=text)
        options.add(parser, channel=True)
        parser.add_argument(
            "--side",
            action="append",
            required=True,
            metavar="DIR",
            type=Path,
            help="each further side's compartment, after the first one, which --vault names",
        )
        parser.add_argument(
            "--side-passphrase-fd",
            action="append",
            default=[],
            metavar="N",
            type=int,
            help="its passphrase's file descriptor",
        )
        parser.add_argument(
            "--pause",
            type=duration,
            default=PAUSE[1],
            help="at random up to so long between one side and the next: who watches the service should not see both "
            "stir in one moment (5s)",
        )
        parser.set_defaults(func=_with_sides, verb=act)
        if name in ("draft", "revise"):
            parser.add_argument(_WORDS[0], **_WORDS[1])
        if name == "draft":
            parser.add_argument(
                "--key",
                action="append",
                required=True,
                metavar="NAME=FILE",
                help="one for each side, in the order of the sides: its name in the text and its press key's file",
            )
            parser.add_argument("--not-before", required=True, metavar="TIME", help="2026-12-01T09:00Z, or +2h")
            parser.add_argument(
                "--life", type=duration, default=30 * 86400, help="how long it is on the table (30d)"
            )
            parser.add_argument("--parallel", action="store_true", help="each side first in a copy of its own")
            parser.add_argument(AUDIENCE[0], **AUDIENCE[1])
        if name == "appoint":
            parser.add_argument("--sign-within", type=duration, default=86400, help="how long people have (1d)")
            parser.add_argument("--deposit-within", type=duration, default=3600, help="and devices after it (1h)")
        if name == "carry":
            parser.add_argument(
                "--for", dest="time", type=duration, default=0, help="stay so long; without it, one visit to each"
            )


@asynccontextmanager
async def _sides(arguments: argparse.Namespace) -> AsyncIterator[list[Channel]]:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(open_device(arguments))
        await stack.enter_async_context(erasing(first))
        channels = [choose_channel(first, arguments)]
        descriptors = [*arguments.side_passphrase_fd, *[None] * len(arguments.side)]
        for place, descriptor in zip(arguments.side, descriptors, strict=False):
            device = await stack.enter_async_context(Device.open(place, _passphrase(place, descriptor)))
            await stack.enter_async_context(erasing(device))
            row = choose_row([channel.log.row for channel in device.channels()], None)
            channels.append(next(channel for channel in device.channels() if channel.id == row.id))
        yield channels


def _passphrase(place: Path, descriptor: int | None) -> str:
    if descriptor is not None:
        return line_from(descriptor)
    if not sys.stdin.isatty():
        raise UserError("the passphrase is asked for at a terminal; programs use --side-passphrase-fd")
    return getpass.getpass(f"Passphrase of {plain(str(place), lines=False)}: ")


async def _with_sides(arguments: argparse.Namespace) -> int:
    pause = (min(PAUSE[0], arguments.pause), arguments.pause)
    async with _sides(arguments) as channels:
        for channel in channels:
            if not news(arguments, channel, await channel.sync()):
                return 1
            await asyncio.sleep(random.uniform(*pause))  # noqa: S311 -- no secret
        text = OneText(*channels, pause=pause)
        await arguments.verb(arguments, text, channels)
        return 0


async def _draft(arguments: argparse.Namespace, text: OneText, channels: list[Channel]) -> None:
    keys = read_keys(arguments.key)
    if len(keys) != len(channels):
        raise UserError(f"there are {len(channels)} sides: give each one's --key, in the order of the sides")
    signs = [(name, key, number) for number, (name, key) in enumerate(keys)]
    audience, card = audience_of(arguments.audience)
    made = await text.draft(
        read_words(arguments.words),
        signs,
        read_time(arguments.not_before),
        arguments.life,
        in_copies=arguments.parallel,
        audience=audience,
        card=card,
    )
    emit(
        arguments,
        {"event": "drafted", "release": made.foot.release.hex()},
        [
            "It is on every side's table. Each comments to you alone (`onetext comment`), or agrees (`onetext agree`)."
        ],
    )


async def _revise(arguments: argparse.Namespace, text: OneText, _: list[Channel]) -> None:
    await text.revise(read_words(arguments.words))
    emit(
        arguments,
        {"event": "revised"},
        ["Every side has the new revision; what anybody agreed to before is void. It does not say who asked."],
    )


async def _standing(arguments: argparse.Namespace, text: OneText, channels: list[Channel]) -> None:
    for row, channel in zip(await text.standing(), channels, strict=True):
        lines = [
            f"{title_of(channel)}: " + ("can live with it" if row.initialled else "has not agreed to it yet"),
            *(["  somebody there blocks it"] if row.objected else []),
            *(f"  remark: {plain(remark)}" for remark in row.remarks),
            *(["  ready to sign" if row.ready else "  not ready to sign yet"] if row.appointed else []),
        ]
        record = {
            "event": "standing",
            "channel": channel.log.charter.title,
            "agreed": row.initialled,
            "blocked": row.objected,
            "remarks": list(row.remarks),
            "appointed": row.appointed,
            "ready": row.ready,
        }
        emit(arguments, record, lines)


async def _appoint(arguments: argparse.Namespace, text: OneText, _: list[Channel]) -> None:
    made = await text.appoint(arguments.sign_within, arguments.deposit_within)
    emit(
        arguments,
        {"event": "arranged", "sign_by": made.sign_by},
        [
            f"To be signed until {local_time(made.sign_by)}. Each side says `onetext ready`; then carry:",
            "`pourparler onetext carry --for 1h` while their devices are online.",
        ],
    )


async def _carry(arguments: argparse.Namespace, text: OneText, _: list[Channel]) -> None:
    if not arguments.time:
        emit(arguments, carried := {"event": "carried", "messages": await text.carry()}, [_said(carried)])
        return
    progress(arguments, "Carrying. Interrupt at any time: the next visit begins where this one ended.")
    await text.attend(arguments.time)
    emit(arguments, {"event": "attended"}, ["The time is over. Say it again while somebody still waits."])


def _said(carried: dict[str, Any]) -> str:
    return f"{carried['messages']} sealed messages carried. You can open none of them."


async def _show(arguments: argparse.Namespace, channel: Channel) -> None:
    side = channel.onetext
    paper, text, papers = side.paper(), side.text(), channel.log.relayed.papers
    revisions = papers.revisions(paper.id)
    changes: list[str] = []
    if len(revisions) > 1 and (before := papers.words(revisions[-2])) is not None:
        changes = list(differences(Communique.parse(before[1]), text))
    opened = side.open_places()
    signatories = text.foot.signatories
    lines = [*behind_margin(text.text.decode()), "Who signs, and with which key:", *keys_of(signatories), COMPARE]
    lines += ["Still open:", *(f"  {plain(place)}" for place in opened)] if opened else []
    lines += ["What the last revision changed:", *(f"  {plain(line)}" for line in changes)] if changes else []
    remarks = [one.text for one in side.remarks()]
    for words in remarks:
        lines += ["Remark here:", *behind_margin(words)]
    stage, part = side.stage, side.part
    if part is not None:
        where = STAGES[stage] if stage is not None else "say `onetext ready` when your side is"
        lines.append(f"To be signed until {local_time(part.sign_by)}: {side.trouble or where}")
    record = {
        "event": "shown",
        "text": text.text.decode(),
        "signatories": key_records(signatories),
        "open": opened,
        "changes": changes,
        "remarks": remarks,
        "stage": stage,
        "trouble": side.trouble,
        "sign_by": part.sign_by if part is not None else None,
    }
    emit(arguments, record, lines)


async def _comment(arguments: argparse.Namespace, channel: Channel) -> None:
    await channel.onetext.comment(read_text(arguments.remark, "comment").strip())
    emit(arguments, {"event": "commented"}, ["It is with the intermediary, and with your own side."])


async def _agree(arguments: argparse.Namespace, channel: Channel) -> None:
    check_had(arguments, channel.onetext.paper(), "onetext")
    await channel.onetext.agree(confirm=arguments.confirm_at_home)
    emit(arguments, {"event": "agreed"}, ["Your word on this revision: no signature, and no key was used."])


async def _ready(arguments: argparse.Namespace, channel: Channel) -> None:
    await channel.onetext.ready()
    emit(
        arguments,
        {"event": "ready"},
        ["Ready. The round runs while devices are online; you are asked when it can be signed (`onetext sign`)."],
    )


async def _sign(arguments: argparse.Namespace, channel: Channel) -> None:
    side, mine, kept = channel.onetext, channel.log.relayed.mine, channel.log.relayed.kept
    if side.stage is not Stage.ASKED or mine is None or kept is None:
        where = side.trouble or (STAGES[side.stage] if side.stage is not None else "no round has come so far")
        raise UserError(f"nothing can be signed now: {where}")
    book = KeyBook.parse(read_text(arguments.keys, "key book", MAX_BOOK).encode())
    text, own, others = side.to_sign()
    checked: list[PressKey] = [one.key for one in others if book.name_of(one.key) is not None]
    emit(
        arguments,
        {"event": "to be signed", "text": text.text.decode(), "party": own, "others": key_records(others)},
        [
            *behind_margin(text.text.decode()),
            "The others sign with these keys:",
            *keys_of(others, book),
            f"You would sign this in the name of “{plain(own, lines=False)}”. If yours is the last signature, this",
            f"{EFFECTS[text.foot.audience]} {local_time(mine.part.not_before)}. Until all have signed nobody can show",
            "that you did.",
        ],
    )
    given = arguments.party
    if given is None:
        given = await typed(
            "To sign, type your side's name: ",
            "nobody is there to be asked: use a terminal, or --as with your side's name",
        )
    if given.strip() != own:
        raise UserError("that is not the name of the side for which this device signs: nothing was signed")
    await side.sign(checked=checked, shown=kept.own.nonce)
    emit(arguments, {"event": "signed", "party": own}, ["Signed. It takes effect when the last side has signed."])


def _cue(cue: Cue, done: str) -> Any:
    async def act(arguments: argparse.Namespace, channel: Channel) -> None:
        await channel.onetext.act(cue)
        emit(arguments, {"event": str(cue)}, [done])

    return act


async def _export(arguments: argparse.Namespace, channel: Channel) -> None:
    check_new(arguments.out)
    write_out(arguments, channel, Note.parse(channel.onetext.note()))
