"""`pourparler charter`: write the ground rules, put cards into them, check them, have them explained.

No vault is needed, and no service: a charter is a file. No file is overwritten unless the person says so, and what
was answered is not lost when something goes wrong.
"""

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pourparler_crypto.card import check_digits
from pourparler_policies.charter import Charter, CharterErrors, Error, explain, parse
from pourparler_policies.charter.advice import advise
from pourparler_policies.charter.filling import put_card
from pourparler_policies.charter.presets import PRESETS, preset
from pourparler_policies.charter.rules import MAX_CHARTER, Role

from ..errors import UserError
from .common import emit, plain, read_charter_text
from .drafting import Drafter, Given, Stopped, read_card
from .files import create, replace

_DEFAULT: Final = Path("charter.toml")
_WIDTH: Final = 88  # columns: what is read aloud is read in short lines
_CARD: Final = "PARTY:ROLE=FILE"
_CARD_HELP: Final = (
    "put in the card of this file, as `card show --out` writes it; PARTY is the identifier in the charter, ROLE "
    "head, delegate, assistant, interpreter, or intermediary; may be given several times"
)


def add_commands(commands: Any) -> None:
    """Registers `charter` with its four verbs."""
    charter = commands.add_parser("charter", help="the ground rules: write them, check them, have them explained")
    verbs = charter.add_subparsers(title="verbs", metavar="VERB", required=True)

    new = verbs.add_parser(
        "new",
        help="write a charter: from questions, or from a preset",
        description="Asks for every rule, or, with a preset, for what the preset cannot know. Ctrl-D keeps what "
        "was answered so far, Ctrl-C writes nothing.",
    )
    new.add_argument("--list", action="store_true", help="show the presets")
    new.add_argument("--preset", metavar="NAME", choices=list(PRESETS), help="start from a preset (see --list)")
    new.add_argument(
        "--no-questions",
        action="store_true",
        help="write the preset with its examples, to be edited; so it is without a terminal",
    )
    new.add_argument("--card", metavar=_CARD, action="append", default=[], help=_CARD_HELP)
    new.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        default=_DEFAULT,
        help="write it there (charter.toml), or - for standard output",
    )
    new.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    new.add_argument("--json", action="store_true", help="answers for programs, one object a line")
    new.set_defaults(func=_new)

    add = verbs.add_parser("add", help="put cards into a charter: nobody types fingerprints")
    add.add_argument("charter", metavar="FILE", type=Path, help="the charter's file; it is changed")
    add.add_argument("--card", metavar=_CARD, action="append", required=True, help=_CARD_HELP)
    add.add_argument("--json", action="store_true", help="answers for programs, one object a line")
    add.set_defaults(func=_add)

    check = verbs.add_parser("check", help="every error with its line and remedy; status 1 when there is one")
    check.add_argument("charter", metavar="FILE", type=Path, help="the charter's file, or - for standard input")
    check.add_argument("--json", action="store_true", help="answers for programs, one object a line")
    check.set_defaults(func=_check)

    explained = verbs.add_parser("explain", help="what a charter means, in plain words, and digits to compare")
    explained.add_argument(
        "charter", metavar="FILE", type=Path, help="the charter's file, or - for standard input"
    )
    explained.add_argument(
        "--for", dest="body", metavar="PARTY", default="", help="for whom: a party's or intermediary's identifier"
    )
    explained.add_argument(
        "--invited",
        action="store_true",
        help="as somebody sees it who has not accepted yet: names and cards only if the charter shows them before",
    )
    explained.add_argument("--json", action="store_true", help="answers for programs, one object a line")
    explained.set_defaults(func=_explain)


def _new(arguments: argparse.Namespace) -> int:
    if arguments.list:
        for name, about in PRESETS.items():
            emit(arguments, {"preset": name, "about": about}, [f"{name:<22} {about}"])
        return 0
    given = [_given(words) for words in arguments.card]
    to_file = str(arguments.out) != "-"
    if to_file and not arguments.overwrite and os.path.lexists(arguments.out):  # before anything is asked
        raise UserError(f"{arguments.out} exists already: choose another file with --out, or say --overwrite")
    if to_file and not arguments.out.parent.is_dir():
        raise UserError(
            f"there is no directory {arguments.out.parent}: make it first, or choose another with --out"
        )
    questions = sys.stdin.isatty() and not arguments.no_questions
    if arguments.preset is None and arguments.no_questions:
        raise UserError("without questions, a charter begins with a preset: add --preset NAME (see --list)")
    drafter = Drafter(given)
    try:
        text = (
            drafter.complete(preset(arguments.preset), questions=questions)
            if arguments.preset
            else drafter.questionnaire()
        )
    except Stopped as stopped:
        if not stopped.text:
            raise UserError(
                "no question was answered, so nothing was written; without a terminal, start from a preset "
                "(--preset)"
            ) from None
        _save(arguments, stopped.text)
        raise UserError(
            f"the questions ended early: what you answered is in {_place(arguments)}; `pourparler charter check` "
            "says what is missing there"
        ) from None
    _save(arguments, text)
    _tell(arguments, text, given)
    return 0


def _add(arguments: argparse.Namespace) -> int:
    given = [_given(words) for words in arguments.card]
    if str(arguments.charter) == "-":
        raise UserError("name the charter's file: it is changed where it is")
    text = read_charter_text(arguments.charter)
    for one in given:
        text = put_card(text, one.body, one.card)
    if len(text.encode()) > MAX_CHARTER:
        raise UserError(
            f"with these cards the charter would be longer than {MAX_CHARTER} bytes: nothing was changed"
        )
    replace(arguments.charter, text)
    arguments.out = arguments.charter
    _tell(arguments, text, given)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    try:
        charter = parse(read_charter_text(arguments.charter))
    except CharterErrors as found:
        for error in found.errors:
            emit(arguments, _record(error), [plain(str(error), lines=False)])
        if not arguments.json:
            count = len(found.errors)
            print(f"{count} error{'s' if count != 1 else ''}: nobody can accept this charter yet.")
        return 1
    advice = advise(charter)
    record = {"hash": charter.hash.hex(), "check_digits": check_digits(charter.hash), "advice": advice}
    lines = ["No errors."]
    lines += [line for sentence in advice for line in _folded(f"To think over: {sentence}")]
    emit(arguments, record, [*lines, *_digits(charter)])
    return 0


def _explain(arguments: argparse.Namespace) -> int:
    try:
        charter = parse(read_charter_text(arguments.charter))
    except CharterErrors as found:
        count = len(found.errors)
        raise UserError(
            f"this is no charter yet ({count} error{'s' if count != 1 else ''}): see `pourparler charter check`"
        ) from None
    told = not arguments.invited or charter.admission.names == "before acceptance"
    paragraphs = explain(charter, arguments.body, accepted=told)
    cards = [
        {"body": key, "name": card.name, "role": str(card.role), "check_digits": check_digits(card.fingerprint)}
        for bodies in (charter.parties, charter.intermediaries)
        for key, body in bodies.items()
        for card in body.cards
        if told
    ]
    record = {
        "for": arguments.body,
        "paragraphs": paragraphs,
        "cards": cards,
        "hash": charter.hash.hex(),
        "check_digits": check_digits(charter.hash),
    }
    lines = [line for paragraph in paragraphs for line in [*_folded(paragraph), ""]]
    if told:
        lines += ["Cards; each is known by its digits, which its owner can read to you:"]
        lines += [
            f"  {card['check_digits']}  {plain(card['name'], lines=False)} ({card['role']})" for card in cards
        ]
        lines += [""]
    emit(arguments, record, [*lines, *_digits(charter)])
    return 0


def _digits(charter: Charter) -> list[str]:
    return [
        f"Check digits of these rules: {check_digits(charter.hash)}",
        "Whoever reads other digits aloud has other rules before them.",
    ]


def _folded(paragraph: str) -> list[str]:
    return [
        line
        for part in plain(paragraph).split("\n")
        for line in textwrap.wrap(part, _WIDTH, break_long_words=False, break_on_hyphens=False) or [""]
    ]


def _given(words: str) -> Given:
    """A card from PARTY:ROLE=FILE. Raises UserError, or Malformed for what is no card."""
    place, equals, file = words.partition("=")
    body, colon, role = place.partition(":")
    if not (equals and colon and body and file):
        raise UserError(f"--card is written {_CARD}, for example north:delegate=cedar.card")
    if role not in set(Role):
        raise UserError(f"there is no role {role}: write {', '.join(Role)}")
    return Given(body, read_card(Path(file), Role(role)))


def _save(arguments: argparse.Namespace, text: str) -> None:
    """Writes a file that only its owner may read. If that fails, the text is shown instead of lost."""
    if str(arguments.out) == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    try:
        if arguments.overwrite:
            replace(arguments.out, text)
        else:
            create(arguments.out, text)
    except OSError as error:
        print(text)
        reason = error.strerror or "no reason given"
        raise UserError(f"{arguments.out} cannot be written: {reason}; the charter stands above instead") from None


def _place(arguments: argparse.Namespace) -> str:
    return "the text above" if str(arguments.out) == "-" else str(arguments.out)


def _tell(arguments: argparse.Namespace, text: str, given: Sequence[Given]) -> None:
    """What was written, which cards to compare, what is left to do: for people beside the text, not in it."""
    stream = sys.stdout if str(arguments.out) != "-" else sys.stderr
    try:
        parse(text)
        left: tuple[Error, ...] = ()
    except CharterErrors as found:
        left = found.errors
    cards = [
        {"body": one.body, "name": one.card.name, "check_digits": check_digits(one.card.fingerprint)}
        for one in given
    ]
    if arguments.json:
        record = {"file": str(arguments.out), "errors": list(map(_record, left)), "cards": cards}
        print(json.dumps(record, ensure_ascii=False), file=stream)
        return
    lines = [f"The charter is in {arguments.out}."] if str(arguments.out) != "-" else []
    lines += [
        f"Card of {plain(card['name'], lines=False)}: {card['check_digits']}; compare the digits with its owner."
        for card in cards
    ]
    waiting = [str(error.line) for error in left if error.where.endswith(".cards.fingerprint")]
    if waiting:
        lines.append(
            f"Cards wait at line{'s' if len(waiting) > 1 else ''} {', '.join(waiting)}: put them in with "
            "`pourparler charter add`, or take the entries out."
        )
    lines += [plain(str(error), lines=False) for error in left if str(error.line) not in waiting]
    lines.append(
        "Next: `pourparler charter check`, then `pourparler charter explain`, and show it to everybody whom it "
        "names."
    )
    for line in lines:
        print(line, file=stream)


def _record(error: Error) -> dict[str, Any]:
    return {"line": error.line, "where": error.where, "what": error.what, "remedy": error.remedy}
