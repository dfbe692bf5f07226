"""Questions whose answers make a charter: answers in, TOML text with comments out. Nothing is asked twice.

The questions are the keys of `schema.py`, so a rule cannot be added without its question. Answers are understood
as people type them (`understand`): yes, 3, 7 days, en ar; quotes and brackets are TOML's affair.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from . import schema
from .schema import Key, Wrong, say

Answers = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """One question. `key` is the dotted key that the answer fills; `default` is None when an answer is needed;
    `hint` says what may be written.
    """

    key: str
    text: str
    default: str | None
    hint: str


PARTS: Final[tuple[tuple[str, str, Sequence[Key]], ...]] = (
    ("", "What this is", schema.TOP),
    ("seats", "Places: the same for every party", schema.SECTIONS["seats"]),
    ("retention", "How long things live", schema.SECTIONS["retention"]),
    ("attribution", "What may be said outside", schema.SECTIONS["attribution"]),
    ("admission", "Entering, recall, recess", schema.SECTIONS["admission"]),
    ("release", "Joint publication", schema.SECTIONS["release"]),
)
GROUPS: Final = (
    ("parties", "A party", schema.PARTY),
    ("intermediaries", "An intermediary, with its declarations", schema.INTERMEDIARY),
)


def questions(section: str = "") -> list[Question]:
    """The questions of the fixed part, or of one `parties`, `intermediaries`, `cards` or `reporting` entry."""
    groups: dict[str, Sequence[Key]] = {name: keys for name, _, keys in GROUPS}
    groups |= {"cards": schema.CARD, "reporting": schema.REPORT}
    if section:
        return [_question("", key) for key in groups[section]]
    return [_question(name, key) for name, _, keys in PARTS for key in keys]


def hint(key: Key) -> str:
    """What may be written as the value of a key; empty for a text that can be anything."""
    match key.kind:
        case schema.Number(low, high):
            return f"a number, {low} to {high}" if low < high else str(low)
        case schema.Duration(low, high):
            return f"a length of time, {say(low)} to {say(high)}"
        case schema.Choice(meanings):
            return ", ".join(meanings)
    return _HINTS.get(key.kind, "")


_HINTS: Final[dict[schema.Kind, str]] = {
    schema.yes_no: "yes or no",
    schema.must_be_true: "yes",
    schema.languages: "language tags: en, ar, sr-Cyrl, pt-BR",
    schema.decision: "the head, any delegate, or 2 of the delegates (up to 9)",
    schema.fingerprint: "put in by `pourparler charter add`",
}


def understand(key: Key, typed: str) -> Any:
    """The value that somebody typed for a key, as `write` takes it. Raises Wrong with the remedy."""
    typed = typed.strip()
    value: Any = typed
    match key.kind:
        case schema.Number(low, high):
            if not re.fullmatch("[0-9]{1,6}", typed):
                raise Wrong("this is not a possible number", f"write a whole number from {low} to {high}")
            value = int(typed)
        case schema.Choice(meanings):
            words = list(meanings)
            if re.fullmatch("[0-9]{1,2}", typed) and 1 <= int(typed) <= len(words):
                value = words[int(typed) - 1]
            elif typed.lower() not in words:
                raise Wrong(
                    "this is not one of the choices", f"write the word, or its number from 1 to {len(words)}"
                )
            else:
                value = typed.lower()
        case schema.yes_no | schema.must_be_true:
            if typed.lower() not in _YES_NO:
                raise Wrong("this is neither yes nor no", "write yes or no")
            value = _YES_NO[typed.lower()]
            if key.kind is schema.must_be_true and not value:
                raise Wrong("every intermediary declares this", "write yes, or make it a party")
        case schema.languages:
            value = typed.replace(",", " ").split()
            if not value:
                raise Wrong("a language is missing", "write tags, with commas between: en, ar")
        case schema.decision:
            value = typed.lower()
        case schema.name if len(typed) > schema.MAX_NAME:
            raise Wrong(f"this has {len(typed)} characters", f"shorten it to {schema.MAX_NAME}")
    key.kind(value)
    return value


_YES_NO: Final = {"yes": True, "y": True, "true": True, "no": False, "n": False, "false": False}


def offered(key: Key) -> str | None:
    """The default of a key as people write it; None when an answer is needed."""
    if key.default is None:
        return None
    if _is_unset(key):
        return "no such rule"
    return typed(_shown(key))


def understand_default(key: Key) -> Any:
    """The default as `write` takes it; None when it is that there is no such rule."""
    return None if _is_unset(key) else _shown(key)


def typed(value: Any) -> str:
    """A value as people type it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(typed, value))
    return str(value)


def check(key: Key, answer: Any) -> str:
    """What is wrong with an answer, with the remedy; empty when nothing is."""
    try:
        key.kind(answer)
    except Wrong as wrong:
        return f"{wrong.what}; {wrong.remedy}"
    return ""


def write(answers: Answers) -> str:
    """A charter's TOML text. `answers` is nested like the document; what is missing takes its default.

    Wrong answers are written as they are: `parse` says what is wrong, with the line.
    """
    rows = ["# Ground rules. Every party accepts this text, and nothing in it changes without every party.", ""]
    for name, title, keys in PARTS:
        rows += [f"# {title}."] + ([f"[{name}]"] if name else [])
        rows += _rows(keys, answers.get(name, {}) if name else answers)
    for index, entry in enumerate(answers.get("reporting", [])):
        rows += ["# Reporting home: who may tell whom, in which form."] if index == 0 else []
        rows += ["[[reporting]]", *_rows(schema.REPORT, entry)]
    if answers.get("agreed_line"):
        rows += ["# What people say when asked.", "[agreed_line]"]
        rows += [f"{_bare(tag)} = {written(line)}" for tag, line in answers["agreed_line"].items()] + [""]
    for group, title, keys in GROUPS:
        card_keys = schema.CARD if group == "parties" else schema.INTERMEDIARY_CARD
        for key, body in answers.get(group, {}).items():
            rows += [f"# {title}.", f"[{group}.{_bare(key)}]", *_rows(keys, body)]
            for card in body.get("cards", []):
                rows += [f"[[{group}.{_bare(key)}.cards]]", *_rows(card_keys, card)]
    return "\n".join(rows).rstrip("\n") + "\n"


def _question(section: str, key: Key) -> Question:
    default = None if key.default is None else written(_shown(key))
    return Question(f"{section}.{key.name}" if section else key.name, key.about, default, hint(key))


def _rows(keys: Sequence[Key], values: Mapping[str, Any]) -> list[str]:
    rows = []
    for key in keys:
        if key.name in values:
            rows.append(f"{key.name} = {written(values[key.name])}  # {key.about}")
        elif key.default is not None and not _is_unset(key):
            rows.append(f"{key.name} = {written(_shown(key))}  # {key.about}")
    return [*rows, ""]


def _is_unset(key: Key) -> bool:
    return key.default == 0 and key.default is not False


def _shown(key: Key) -> Any:
    """A default as it is written: times in words."""
    if isinstance(key.default, int) and not isinstance(key.default, bool):
        words = say(key.default)
        try:
            if key.kind(words) == key.default:
                return words
        except Wrong:
            pass
    return key.default


def _bare(key: str) -> str:
    return (
        key if key and all(char.isascii() and (char.isalnum() or char in "-_") for char in key) else written(key)
    )


def written(value: Any) -> str:
    """A value in TOML, on one line. A JSON string is a TOML basic string; DEL alone has to be escaped besides."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(written(entry) for entry in value) + "]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
