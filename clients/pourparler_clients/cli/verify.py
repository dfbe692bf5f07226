"""`pourparler verify`: which keys have signed a communiqué, and whose they are by the reader's own key book.

1. No network: this module, and what it loads, cannot even open a socket (tests/clients/test_verify.py).
2. The text is shown only when every signature verifies. What comes from it stands behind a margin, in rows that no
   terminal breaks: no row of it can pass for a row of ours.
3. Nobody is named from the text alone. With a key book, status 0 means that every key is in it, and no owner has two
   of them: anybody can write a text that calls its keys what it likes, and complete it alone.
"""

import argparse
import re
import shutil
import time
import unicodedata
from pathlib import Path
from typing import Any, Final

from pourparler_crypto.card import check_digits
from pourparler_crypto.errors import NotAuthentic
from pourparler_crypto.note import (
    FORMAT,
    MAX_NOTE,
    Act,
    Audience,
    Communique,
    Foot,
    KeyBook,
    Refused,
    Role,
    Signed,
    Verified,
)
from pourparler_crypto.note import verify as verify_note
from pourparler_crypto.note.instants import instant_text
from pourparler_crypto.note.verifying import MAX_BOOK

from ..errors import UserError
from .texts import emit, plain, read_bytes

_CLAIMS: Final = re.compile(rb"^" + re.escape(FORMAT.encode()) + rb"\r?$", re.MULTILINE)
_PAGE: Final = re.compile(rb"\s*<(?:!doctype|html)\b", re.IGNORECASE)
_MARGIN: Final = "  | "  # before every row of somebody else's words
_NARROWEST, _WIDEST = 40, 100  # columns
_ACTS: Final = {
    Act.CORRECTS: "It corrects an earlier release.",
    Act.SUPERSEDES: "It takes the place of an earlier release.",
    Act.WITHDRAWS: "It withdraws an earlier release, which is not to be relied on any more.",
}
_AUDIENCES: Final = {
    Audience.BOARD: "For everybody: it is made to be published.",
    Audience.PARTIES: "For the parties alone: a joint memorandum, not made to be published.",
    Audience.CARD: "For one reader, whose card has the check digits {digits}; not made to be published.",
}


def add_commands(commands: Any) -> None:
    """Registers `verify`."""
    command = commands.add_parser(
        "verify",
        help="check a communiqué offline: which keys have signed it, and whose they are by your key book",
        description="Checks a communiqué's file, without a network. Status 0: every signatory has signed exactly "
        "this text (with --keys also: and every key is in your key book). Status 1: not so. Status 2: the file "
        "or the key book is none, or cannot be read.",
    )
    command.add_argument("file", metavar="FILE", type=Path, help="the communiqué's file, or - for standard input")
    command.add_argument(
        "--keys",
        metavar="BOOK",
        type=Path,
        help="your key book: a text with one line a key, `PRESS-KEY NAME`, of keys that you had beforehand",
    )
    command.add_argument("--json", action="store_true", help="answers for programs, one object a line")
    command.set_defaults(func=_verify)


def _verify(arguments: argparse.Namespace) -> int:
    if arguments.keys is not None and str(arguments.file) == str(arguments.keys) == "-":
        raise UserError("the communiqué and the key book cannot both come from standard input")
    book = _read_book(arguments.keys)
    data = read_bytes(arguments.file, "communiqué", MAX_NOTE)
    try:
        verified = verify_note(data, book)
    except (Refused, NotAuthentic) as error:
        return _invalid(arguments, data, error)
    suits = book is None or (verified.all_known and not verified.doubled)
    record: dict[str, Any] = {"valid": True, "all_known": None, "doubled": None}
    if book is not None:
        record |= {"all_known": verified.all_known, "doubled": list(verified.doubled)}
    lines = [*_words(verified.communique), *_about(verified)]
    lines += [row for signed in verified for row in _signed(signed, book)]
    emit(arguments, record | _record(verified), [*lines, "", *_verdict(verified, book)])
    return 0 if suits else 1


def _read_book(path: Path | None) -> KeyBook | None:
    if path is None:
        return None
    try:
        return KeyBook.parse(read_bytes(path, "key book", MAX_BOOK))
    except Refused as error:
        raise UserError(f"the key book {path} cannot be used: {error}") from None


def _invalid(arguments: argparse.Namespace, data: bytes, error: Refused | NotAuthentic) -> int:
    if _PAGE.match(data):
        raise UserError(
            f"{arguments.file} is a web page: save the communiqué's own file, which such a page links to"
        )
    if not _CLAIMS.search(data):
        raise UserError(f"{arguments.file} is not a communiqué: {error}")
    reason = str(error)
    if b"\r\n" in data:
        reason = "The ends of its lines were changed on the way, as mail and editors do: ask for the file itself."
    lines = [f"NOT VALID: {reason}", "Do not rely on it. Its text is not shown."]
    emit(arguments, {"valid": False, "reason": reason}, lines)
    return 1


def _verdict(verified: Verified, book: KeyBook | None) -> list[str]:
    count = len(verified.signatures)
    complete = f"all {count} keys have signed exactly this text"
    if book is None:
        return [
            f"COMPLETE: {complete}.",
            "Whose keys they are, this cannot tell: compare the digits with those you had beforehand, or use --keys.",
        ]
    lines = []
    strangers = sum(signed.owner is None for signed in verified)
    if strangers:
        lines = [
            f"COMPLETE, BUT NOT ALL KNOWN: {complete}; {strangers} not in your key book.",
            "Anybody may have made a key that is not there: do not rely on it for that party.",
        ]
    elif not verified.doubled:
        lines = [f"COMPLETE, AND ALL KNOWN: {complete}, and each is in your key book."]
    if verified.doubled:
        lines += [
            f"ONE OWNER FOR SEVERAL PARTIES: {', '.join(verified.doubled)}, by your key book.",
            "The text has fewer parties than it names: do not rely on it.",
        ]
    if any(signed.suspect for signed in verified):
        lines.append("ATTENTION: a key goes by a name that your key book gives to another one: ask its owner.")
    return lines


def _words(communique: Communique) -> list[str]:
    lines = []
    for language, words in zip(communique.foot.languages, communique.words, strict=True):
        lines += [f"The text in {language}:", "", *behind_margin(words), ""]
    return lines


def behind_margin(words: str) -> list[str]:
    """Somebody else's words, each row behind a margin."""
    columns = min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST) - len(_MARGIN) - 1
    rows = [row for line in plain(words).split("\n") for row in _rows(line, columns)]
    return [(_MARGIN + row).rstrip() for row in rows]


def _rows(line: str, columns: int) -> list[str]:
    """A line in rows that no terminal has to break: broken at a space where there is one."""
    rows: list[str] = []
    while True:
        cells = end = 0
        while end < len(line) and cells < columns:
            cells += 1 + (unicodedata.east_asian_width(line[end]) in "WF")
            end += 1
        if end == len(line):
            return [*rows, line]
        space = line.rfind(" ", 1, end)
        cut = space if space > 0 else end
        rows.append(line[:cut])
        line = line[cut:].removeprefix(" ")


def _about(verified: Verified) -> list[str]:
    foot = verified.communique.foot
    lines = [f"Release {foot.release.hex()}; SHA-256 of its text {verified.communique.digest.hex()}"]
    if foot.copies > 1:
        lines.append(f"Copy {foot.copy} of {foot.copies}: parallel texts, which were completed together.")
    if len(foot.languages) > 1:
        lines.append(f"Languages: {', '.join(foot.languages)}; each is equally authentic.")
    lines.append(_AUDIENCES[foot.audience].format(digits=check_digits(foot.card)))
    lines += _before(foot)
    relation = foot.relation
    if relation is not None:
        lines += [
            _ACTS[relation.act],
            f"  Release {relation.release.hex()}; SHA-256 of its text {relation.digest.hex()}",
        ]
    lines.append("Whether it was corrected or withdrawn later, this file cannot tell: ask where it was published.")
    return [*lines, ""]


def _before(foot: Foot) -> list[str]:
    lines = [f"Not to be published before {_said(foot.not_before)}."]
    if foot.not_before > time.time():
        lines.append("  ATTENTION: by the clock of this device, that time has not come.")
    return lines


def _said(instant: int) -> str:
    return instant_text(instant).replace("T", " ").replace(":00Z", " UTC").replace("Z", " UTC")


def _signed(signed: Signed, book: KeyBook | None) -> list[str]:
    """Who has signed; and what the text calls them, unless that is the reader's own name for them."""
    finding = signed.finding if book is not None else signed.finding.removesuffix(": not in your key book")
    role = ", as a witness" if signed.signatory.role is Role.WITNESS else ""
    lines = [f"- {finding}{role}"]
    if signed.owner != signed.signatory.name:
        lines += ["  The text calls it:", *behind_margin(signed.signatory.name)]
    return lines


def _record(verified: Verified) -> dict[str, Any]:
    communique = verified.communique
    foot = communique.foot
    record: dict[str, Any] = {
        "release": foot.release.hex(),
        "sha256": communique.digest.hex(),
        "audience": foot.audience.value,
        "languages": list(foot.languages),
        "words": dict(zip(foot.languages, communique.words, strict=True)),
        "not_before": instant_text(foot.not_before),
        "copy": foot.copy,
        "copies": foot.copies,
        "signatures": [
            {
                "key": signed.signatory.key.name,
                "check_digits": signed.signatory.key.digits,
                "press_key": str(signed.signatory.key),
                "role": signed.signatory.role.value,
                "owner": signed.owner,
                "suspect": signed.suspect,
                "called_in_the_text": signed.signatory.name,
            }
            for signed in verified.signatures
        ],
    }
    if foot.card:
        record["card"] = check_digits(foot.card)
    if foot.relation is not None:
        record[foot.relation.act.value] = {
            "release": foot.relation.release.hex(),
            "sha256": foot.relation.digest.hex(),
        }
    return record
