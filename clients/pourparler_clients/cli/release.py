"""Commands of the joint release: texts on the table, initials, the signing appointment, and what comes of it.

Signing shows the exact text and asks for the party's name: what is signed is what was shown. Rounds run by themselves.
"""

import argparse
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pourparler_crypto.card import Card
from pourparler_crypto.note import (
    MAX_NOTE,
    Act,
    Audience,
    Communique,
    KeyBook,
    Note,
    seal_brief,
)
from pourparler_crypto.note.verifying import MAX_BOOK
from pourparler_policies.release.device import Cue, Stage
from pourparler_policies.release.events import (
    Appointed,
    Initialled,
    Opposed,
    Relented,
    Retracted,
    Shelved,
)
from pourparler_policies.release.facts import Case, Paper, Phase

from .. import releasekeys
from ..channel import Channel
from ..errors import UserError
from ..log import Log
from ..papers import compose
from ..subjects import body_name, code_of
from . import waysout
from .common import duration, emit, local_time, plain, read_text, say_duration
from .files import check_new, create
from .prompts import typed
from .showing import STAGES
from .textfiles import read_keys, read_time, read_words
from .textview import COMPARE, check_had, differences, key_records, keys_of
from .verify import behind_margin

Add = Callable[..., None]
EFFECTS: Final = {
    Audience.BOARD: "publishes at",
    Audience.PARTIES: "is complete, for the parties alone and on no board, at",
    Audience.CARD: "is complete, for its one reader and on no board, at",
}
_CAME_TO_NOTHING: Final = frozenset({Stage.WAITING, Stage.LAPSED, Stage.STOPPED, Stage.BARRED})


def add_acts(commands: Any, add: Add) -> None:
    """Registers `release` and its verbs; `add` takes parser, name, help, act and arguments (see `table.py`)."""
    release = commands.add_parser(
        "release", help="a joint text: draft, initial, sign, withdraw, see where it stands"
    )
    verbs = release.add_subparsers(title="verbs", metavar="VERB", required=True)
    text = ("words", {"nargs": "+", "metavar": "LANGUAGE=FILE", "help": "the words in each language: en=text.md"})
    paper = (
        "--text",
        {"metavar": "CODE", "help": "which text, when there are several: its code in `release status`"},
    )
    add(verbs, "status", "texts on the table, who has initialled them, and where a signing stands", _status)
    add(verbs, "draft", "put a text on the table", _draft, text, *_FOOT)
    add(
        verbs,
        "revise",
        "another revision of a text: every initial under the old one is void",
        _revise,
        text,
        paper,
    )
    add(verbs, "show", "the exact text, its remarks, and what the last revision changed", _show, paper)
    remark = ("remark", {"metavar": "FILE", "type": Path, "help": "the comment's file, or - for standard input"})
    add(verbs, "comment", "comment on a text", _comment, remark, paper)
    home = ("--confirm-at-home", {"action": "store_true", "help": "it does not count before home has confirmed"})
    add(verbs, "initial", "agree to the wording of the revision on the table", _initial, paper, home)
    add(verbs, "retract", "take your initial back", _word(Retracted, "Your initial is taken back."), paper)
    add(verbs, "oppose", "block a text until you relent", _word(Opposed, "You object; it is blocked."), paper)
    add(verbs, "relent", "take your objection back", _word(Relented, "You object no longer."), paper)
    add(
        verbs,
        "shelve",
        "take off the table what your side put there",
        _word(Shelved, "It is off the table."),
        paper,
    )
    add(verbs, "appoint", "make a signing appointment for an initialled text", _appoint, paper, *_TIMES)
    name = (
        "--as",
        {"dest": "party", "metavar": "NAME", "help": "your party's name as in the text, instead of asking"},
    )
    keys = (
        "--keys",
        {"metavar": "BOOK", "type": Path, "help": "your key book: sign only if the others' keys are in it"},
    )
    add(verbs, "sign", "sign in your party's name: published when the last party has signed", _sign, name, keys)
    for verb, cue, about, done in _CUES:
        add(verbs, verb, about, _cue(cue, done))
    out = ("--out", {"required": True, "metavar": "FILE", "type": Path, "help": "where to write the signed note"})
    copy = ("--copy", {"type": int, "metavar": "N", "help": "of parallel texts: which copy (your own side's)"})
    add(verbs, "export", "write a completed communiqué to a file", _export, out, paper, CARD, copy)


_KEY: Final = (
    "--key",
    {
        "action": "append",
        "required": True,
        "metavar": "NAME=FILE",
        "help": "a signatory's name as the text gives it, and its press key's file; in the order of the signatures",
    },
)
AUDIENCE: Final[tuple[str, dict[str, Any]]] = (
    "--audience",
    {
        "default": "board",
        "metavar": "WHO",
        "help": "board: for everybody; parties: for them alone; card:FILE: for the owner of this card (board)",
    },
)
CARD: Final[tuple[str, dict[str, Any]]] = (
    "--card",
    {"metavar": "FILE", "type": Path, "help": "of a text for one reader: that reader's card"},
)
_FOOT: Final = (
    _KEY,
    ("--not-before", {"required": True, "metavar": "TIME", "help": "2026-12-01T09:00Z, or +2h from now"}),
    ("--life", {"type": duration, "default": 30 * 86400, "help": "how long the text stays on the table (30d)"}),
    AUDIENCE,
    ("--parallel", {"action": "store_true", "help": "a copy for each side, in which that side comes first"}),
    ("--corrects", {"metavar": "NOTE", "type": Path, "help": "a published note that this one corrects"}),
    ("--supersedes", {"metavar": "NOTE", "type": Path, "help": "a published note whose place this one takes"}),
    ("--withdraws", {"metavar": "NOTE", "type": Path, "help": "a published note that this one takes back"}),
)
_TIMES: Final = (
    ("--opens", {"metavar": "TIME", "help": "when it begins, by itself: 2026-12-01T09:00Z, or +2h (at once)"}),
    ("--sign-within", {"type": duration, "default": 86400, "help": "how long people have to sign (1d)"}),
    ("--deposit-within", {"type": duration, "default": 3600, "help": "how long devices have after that (1h)"}),
)
_CUES: Final = (
    ("withdraw", Cue.WITHDRAW, "withdraw from the signing", "You have withdrawn. Nobody is told who it was."),
    ("agree", Cue.AGREE, "yes, publish it after all", "You agree: your device completes it."),
    ("refuse", Cue.REFUSE, "no, do not publish it", "Nothing comes of it without you."),
    ("stop", Cue.STOP, "stop a signed text before its hour", "Your device stops it."),
)


async def _status(arguments: argparse.Namespace, channel: Channel) -> None:
    log = channel.log
    for paper in log.folded.papers.values():
        record, lines = _paper_lines(log, paper)
        emit(arguments, record, lines)
    case, kept = log.folded.case, log.signing.kept
    stage = STAGES[kept.own.stage] if kept is not None else "this device takes no part"
    if case is not None:
        emit(
            arguments,
            {"event": "case", "phase": case.phase, "stage": kept.own.stage if kept else None, **_times(case)},
            [
                f"Signing appointment for {_code(case.paper)}: {stage}.",
                f"  to be signed until {local_time(case.sign_by)}, published at {local_time(case.not_before)}",
            ],
        )
        if case.phase is Phase.FROZEN and kept is not None and kept.own.stage in _CAME_TO_NOTHING:
            until = case.ends if case.awaited else case.deposit_by
            emit(
                arguments,
                {"event": "next appointment", "from": until},
                [
                    "  another appointment can be made when every signer's device has heard so, and in any case "
                    f"from {local_time(until)} on"
                ],
            )
    if not log.folded.papers:
        emit(arguments, {"event": "empty"}, ["There is no text on the table."])


def _times(case: Case) -> dict[str, int]:
    return {"sign_by": case.sign_by, "deposit_by": case.deposit_by, "not_before": case.not_before}


def _paper_lines(log: Log, paper: Paper) -> tuple[dict[str, Any], list[str]]:
    initialled = [_seat(log, seat) for seat, final in paper.initials.items() if final]
    waiting = [_seat(log, seat) for seat, final in paper.initials.items() if not final]
    opposed = [_seat(log, seat) for seat in paper.opposed]
    try:
        title = log.signing.papers.communique(paper).words[0].split("\n")[0].strip("# ")
    except UserError as error:
        title = f"({error})"
    left = say_duration(max(0, paper.expires - log.clock()))
    lines = [
        f"{_code(paper.id)}  {plain(title, lines=False)}",
        f"       initialled by: {', '.join(initialled) or 'nobody yet'}; on the table for {left}",
    ]
    if waiting:
        lines.append(f"       subject to confirmation from home: {', '.join(waiting)}")
    if opposed:
        lines.append(f"       blocked by: {', '.join(opposed)}")
    record = {
        "event": "text",
        "code": _code(paper.id),
        "title": title,
        "initialled": initialled,
        "to_be_confirmed": waiting,
        "opposed": opposed,
    }
    return record, lines


def _seat(log: Log, seat: bytes) -> str:
    held = log.consent.seats.get(seat)
    return plain(body_name(log.charter, held.body), lines=False) if held is not None else "somebody who is gone"


def _code(paper: bytes) -> str:
    return code_of(hashlib.sha256(paper).digest())


def _choose(arguments: argparse.Namespace, log: Log) -> Paper:
    papers = [p for p in log.folded.papers.values() if arguments.text in (None, _code(p.id))]
    if not papers:
        raise UserError("there is no such text on the table: see `pourparler release status`")
    if len(papers) > 1:
        raise UserError("there are several texts: name one with --text (see `pourparler release status`)")
    return papers[0]


async def _draft(arguments: argparse.Namespace, channel: Channel) -> None:
    audience, card = audience_of(arguments.audience)
    relation, corrects = _relation(arguments, channel.log)
    if relation is not None and relation[1].foot.audience is not audience:
        raise UserError("a text corrects or takes back only one that was for the same readers")
    communique = compose(
        read_words(arguments.words),
        read_keys(arguments.key),
        read_time(arguments.not_before),
        relation=relation,
        audience=audience,
        card=card,
        in_copies=arguments.parallel,
    )
    paper = await channel.releases.table(communique, arguments.life, corrects=corrects)
    emit(
        arguments,
        {"event": "drafted", "code": _code(paper)},
        [f"On the table as {_code(paper)}. Next: everybody reads it (`release show`) and initials it."],
    )


def audience_of(given: str) -> tuple[Audience, bytes]:
    """For whom a text is, and the card's fingerprint. Raises UserError, Malformed."""
    if given.startswith("card:"):
        return Audience.CARD, Card.decode(read_text(Path(given.removeprefix("card:")), "card")).fingerprint
    if given not in ("board", "parties"):
        raise UserError("a text is for the board, for the parties, or for a card: --audience card:FILE")
    return Audience(given), b""


def _relation(arguments: argparse.Namespace, log: Log) -> tuple[tuple[Act, Communique] | None, bytes]:
    given = [(act, path) for act in Act if (path := getattr(arguments, act.value)) is not None]
    if len(given) > 1:
        raise UserError("a text corrects another one, takes its place, or takes it back: only one of these")
    if not given:
        return None, b""
    ((act, path),) = given
    earlier = Note.parse(read_text(path, "published note", MAX_NOTE).encode()).communique
    digest = next(
        (d for d in log.folded.released if (w := log.signing.papers.words(d)) and w[1] == earlier.text), b""
    )
    if not digest:
        raise UserError("this channel does not remember having published that text")
    return (act, earlier), digest


async def _revise(arguments: argparse.Namespace, channel: Channel) -> None:
    paper = _choose(arguments, channel.log)
    earlier = channel.log.signing.papers.communique(paper)
    signatories = [(party.name, party.key) for party in earlier.foot.signatories]
    communique = compose(read_words(arguments.words), signatories, earlier.foot.not_before, earlier=earlier)
    await channel.releases.table(communique, 0, paper.id, paper.text.corrects)
    emit(
        arguments,
        {"event": "revised", "code": _code(paper.id)},
        ["It is the revision on the table now; initials under the old one are void."],
    )


async def _show(arguments: argparse.Namespace, channel: Channel) -> None:
    log = channel.log
    paper = _choose(arguments, log)
    communique = log.signing.papers.communique(paper)
    revisions = log.signing.papers.revisions(paper.id)
    changes: list[str] = []
    if len(revisions) > 1 and (before := log.signing.papers.words(revisions[-2])) is not None:
        changes = list(differences(Communique.parse(before[1]), communique))
    remarks = [
        (log.members[one.sender].name if one.sender in log.members else "somebody", one.text)
        for one in log.signing.papers.remarks(paper.text.digest)
    ]
    text = communique.text.decode()
    lines = [
        *behind_margin(text),
        "Who signs, and with which key:",
        *keys_of(communique.foot.signatories),
        COMPARE,
    ]
    lines += ["What the last revision changed:", *(f"  {plain(line)}" for line in changes)] if changes else []
    for name, words in remarks:
        lines += [f"{plain(name, lines=False)} remarks:", *behind_margin(words)]
    emit(
        arguments,
        {
            "event": "shown",
            "code": _code(paper.id),
            "text": text,
            "signatories": key_records(communique.foot.signatories),
            "changes": changes,
            "remarks": remarks,
        },
        lines,
    )


async def _comment(arguments: argparse.Namespace, channel: Channel) -> None:
    paper = _choose(arguments, channel.log)
    await channel.releases.remark(paper.id, read_text(arguments.remark, "comment").strip())
    emit(arguments, {"event": "commented", "code": _code(paper.id)}, ["Your comment is with the text."])


async def _initial(arguments: argparse.Namespace, channel: Channel) -> None:
    paper = _choose(arguments, channel.log)
    channel.log.signing.papers.communique(paper)  # nobody initials what this device could not show
    check_had(arguments, paper, "release")
    await channel.do(Initialled(paper.id, paper.text.digest, arguments.confirm_at_home))
    emit(arguments, {"event": "initialled", "code": _code(paper.id)}, ["Initialled: a word, not a signature."])


def _word(make: Callable[[bytes], Any], done: str) -> Any:
    async def act(arguments: argparse.Namespace, channel: Channel) -> None:
        await channel.do(make(_choose(arguments, channel.log).id))
        emit(arguments, {"event": "done"}, [done])

    return act


async def _appoint(arguments: argparse.Namespace, channel: Channel) -> None:
    paper = _choose(arguments, channel.log)
    opened = channel.log.folded.consent.time  # at once: at its place in the log, whatever this clock says
    if arguments.opens is not None:
        opened = max(opened, read_time(arguments.opens))
    sign_by = max(channel.log.clock(), opened) + arguments.sign_within
    deposit_by = sign_by + arguments.deposit_within
    await channel.do(Appointed(paper.id, paper.text.digest, opened, sign_by, deposit_by))
    emit(
        arguments,
        {"event": "appointed", "code": _code(paper.id), "sign_by": sign_by},
        [f"To be signed until {local_time(sign_by)}. Rounds run by themselves while devices are online."],
    )


async def _sign(arguments: argparse.Namespace, channel: Channel) -> None:
    log = channel.log
    case, kept = log.folded.case, log.signing.kept
    if case is None or kept is None or kept.own.stage is not Stage.ASKED:
        raise UserError(
            f"nothing can be signed now: {STAGES[kept.own.stage] if kept else 'there is no appointment'}"
        )
    book = KeyBook.parse(read_text(arguments.keys, "key book", MAX_BOOK).encode()) if arguments.keys else None
    communique = log.signing.papers.communique(log.folded.papers[case.paper])
    line = log.signing.line()
    party = communique.foot.signatories[line].name
    others = [*communique.foot.signatories[:line], *communique.foot.signatories[line + 1 :]]
    emit(
        arguments,
        {
            "event": "to be signed",
            "text": communique.text.decode(),
            "party": party,
            "others": key_records(others),
        },
        [
            *behind_margin(communique.text.decode()),
            "The others sign with these keys:",
            *keys_of(others, book),
            *([COMPARE] if book is None else []),
            f"You would sign this in the name of “{plain(party, lines=False)}”. If yours is the last signature, this",
            f"{EFFECTS[communique.foot.audience]} {local_time(case.not_before)}. Until all have signed nobody can",
            "show that you did.",
            *_copies(communique.foot.copies),
        ],
    )
    if unknown := [one.name for one in others if book is not None and book.name_of(one.key) is None]:
        raise UserError(
            f"the key of {', '.join(f'“{name}”' for name in unknown)} in this text is not in your key book: get it "
            "from where they publish it. Nothing was signed"
        )
    given = arguments.party
    if given is None:
        given = await typed(
            "To sign, type the party's name: ",
            "nobody is there to be asked: use a terminal, or --as with the party's name",
        )
    if given.strip() != party:
        raise UserError("that is not the name of the party for which this device signs: nothing was signed")
    await channel.releases.act(Cue.SIGN, shown=kept.own.nonce)
    emit(
        arguments, {"event": "signed", "party": party}, ["Signed. It takes effect when the last party has signed."]
    )


def _copies(count: int) -> list[str]:
    if count == 1:
        return []
    return [
        f"It comes in {count} copies, one for each side; they differ in which side is named first, and nothing else."
    ]


def _cue(cue: Cue, done: str) -> Any:
    async def act(arguments: argparse.Namespace, channel: Channel) -> None:
        await channel.releases.act(cue)
        emit(arguments, {"event": str(cue)}, [done])

    return act


async def _export(arguments: argparse.Namespace, channel: Channel) -> None:
    check_new(arguments.out)
    papers = channel.log.signing.papers
    notes = [Note.parse(note) for note in papers.notes()]
    if arguments.text is not None:
        chosen = papers.communique(_choose(arguments, channel.log)).foot.release
        notes = [note for note in notes if note.communique.foot.release == chosen]
    if not notes:
        raise UserError("nothing has been completed in this channel, or it has ended with its text")
    if len({note.communique.foot.release for note in notes}) > 1:
        raise UserError(
            "several texts have been completed: name one with --text (see `pourparler release status`)"
        )
    write_out(arguments, channel, _copy(arguments, channel, notes))


def write_out(arguments: argparse.Namespace, channel: Channel, note: Note) -> None:
    """Writes a completed note into `arguments.out`, sealed to its reader's card if it is for one. Raises UserError."""
    waysout.remind(arguments, channel)
    foot = note.communique.foot
    record = {
        "event": "exported",
        "file": str(arguments.out),
        "audience": foot.audience.value,
        "copy": foot.copy,
    }
    if foot.audience is Audience.CARD:
        if arguments.card is None:
            raise UserError(
                "this text is for one reader: give that reader's card with --card, and it is sealed to it"
            )
        card = Card.decode(read_text(arguments.card, "card"))
        create(arguments.out, seal_brief(note, card) + "\n")
        lines = [
            f"Written to {arguments.out}, sealed to the card with the check digits {card.check_digits}.",
            f"Its owner opens it with `pourparler note open {arguments.out.name} --out NOTE`.",
        ]
        emit(arguments, record, lines)
        return
    create(arguments.out, note.encode())
    hint = "Anybody can check it"
    if foot.audience is Audience.PARTIES:
        hint = "It is for the parties alone: whoever has this file can read and prove it. To check it"
    emit(arguments, record, [f"Written to {arguments.out}. {hint}: `pourparler verify {arguments.out}`."])


def _copy(arguments: argparse.Namespace, channel: Channel, notes: list[Note]) -> Note:
    """The copy that was asked for; else that in which a key of this vault comes first, else the first."""
    by_number = {note.communique.foot.copy: note for note in notes}
    if arguments.copy is not None:
        if arguments.copy not in by_number:
            raise UserError(f"there are {len(by_number)} copies of this text: choose one of them with --copy")
        return by_number[arguments.copy]
    own = (n for n in notes if releasekeys.by_public(channel.log.vault, n.communique.keys[0]) is not None)
    return next(own, by_number[1])
