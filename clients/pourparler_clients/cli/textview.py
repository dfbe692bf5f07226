"""What a text says besides its words, for who is about to agree to it: changes, foot and keys.

1. Every change between two revisions is named: words, line ends, and each line of the foot. A revision can turn a text
   for the parties alone into one for everybody without touching a word.
2. Keys are shown as the 30 digits that people compare. A name in the text is only what the text says.
"""

import argparse
import difflib
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pourparler_crypto.note import Communique, KeyBook, Signatory
from pourparler_policies.release.facts import Paper

from ..errors import UserError
from ..log import Log
from .texts import plain

COMPARE: Final = (
    "Compare the digits with those that each party has published elsewhere (`pourparler release-key check`)."
)


def differences(before: Communique, after: Communique) -> Iterator[str]:
    """Word by word, in each language: -[gone] +[new], with a few words around; then the lines of the foot."""
    old = dict(zip(before.foot.languages, before.words, strict=True))
    for language, words in zip(after.foot.languages, after.words, strict=True):
        if language not in old:
            yield f"{language}: new"
            continue
        left, right = old[language].split(), words.split()
        if left == right and old[language] != words:
            yield f"{language}: other line ends or spaces, and the same words"
        for tag, i, j, k, m in difflib.SequenceMatcher(a=left, b=right, autojunk=False).get_opcodes():
            if tag != "equal":
                gone = [f"-[{' '.join(left[i:j])}]"] if i < j else []
                new = [f"+[{' '.join(right[k:m])}]"] if k < m else []
                yield " ".join([f"{language}: …", *left[max(0, i - 3) : i], *gone, *new, *left[j : j + 3], "…"])
    for language in old.keys() - set(after.foot.languages):
        yield f"{language}: gone"
    foot = difflib.SequenceMatcher(a=before.foot.lines, b=after.foot.lines, autojunk=False)
    for tag, i, j, k, m in foot.get_opcodes():
        if tag != "equal":
            yield from (f"foot: -[{line}]" for line in before.foot.lines[i:j])
            yield from (f"foot: +[{line}]" for line in after.foot.lines[k:m])


def keys_of(signatories: Sequence[Signatory], book: KeyBook | None = None) -> list[str]:
    """Whose key is whose by the text, with the digits to compare; with a book, whose it is by the reader's own."""
    lines = []
    for one in signatories:
        name, key = plain(one.name, lines=False), one.key
        lines.append(f"  {key.digits}  {key.name}, which the text gives to “{name}”")
        if book is not None:
            owner = book.name_of(key)
            lines.append(
                f"      {plain(owner, lines=False) + ', by' if owner is not None else 'not in'} your key book"
            )
    return lines


def key_records(signatories: Sequence[Signatory]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [{"name": one.name, "key": one.key.name, "check_digits": one.key.digits} for one in signatories]


def words_here(log: Log) -> frozenset[bytes]:
    """The wordings that are on this device (their salted digests)."""
    return frozenset(digest for paper in log.folded.papers for digest in log.signing.papers.revisions(paper))


def check_had(arguments: argparse.Namespace, paper: Paper, command: str) -> None:
    """Raises UserError when this wording came with this very command: its person agrees to what they have not seen."""
    had = getattr(arguments, "had", None)  # inside a talk all is shown as it comes
    if had is not None and paper.text.digest not in had:
        raise UserError(
            f"this wording has only now come to this device: read it (`pourparler {command} show`), then say it again"
        )
