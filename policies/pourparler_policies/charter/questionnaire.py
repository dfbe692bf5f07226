"""Questions whose answers make a charter: answers in, TOML text with comments out. Nothing is asked twice.

The questions are the keys of `schema.py`, so a rule cannot be added without its question.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from . import schema
from .schema import Key, Wrong, say

Answers = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """One question. `key` is the dotted key that the answer fills; `default` is None when an answer is needed."""

    key: str
    text: str
    default: str | None


_PARTS: Final[tuple[tuple[str, str, Sequence[Key]], ...]] = (
    ("", "What this is", schema.TOP),
    ("seats", "Places: the same for every party", schema.SECTIONS["seats"]),
    ("retention", "How long things live", schema.SECTIONS["retention"]),
    ("attribution", "What may be said outside", schema.SECTIONS["attribution"]),
    ("admission", "Entering, recall, recess", schema.SECTIONS["admission"]),
    ("release", "Joint publication", schema.SECTIONS["release"]),
)
_GROUPS: Final = (
    ("parties", "A party", schema.PARTY),
    ("intermediaries", "An intermediary, with its declarations", schema.INTERMEDIARY),
)


def questions(section: str = "") -> list[Question]:
    """The questions of the fixed part, or of one `parties`, `intermediaries`, `cards` or `reporting` entry."""
    groups: dict[str, Sequence[Key]] = {name: keys for name, _, keys in _GROUPS}
    groups |= {"cards": schema.CARD, "reporting": schema.REPORT}
    if section:
        return [_question("", key) for key in groups[section]]
    return [_question(name, key) for name, _, keys in _PARTS for key in keys]


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
    for name, title, keys in _PARTS:
        rows += [f"# {title}."] + ([f"[{name}]"] if name else [])
        rows += _rows(keys, answers.get(name, {}) if name else answers)
    for index, entry in enumerate(answers.get("reporting", [])):
        rows += ["# Reporting home: who may tell whom, in which form."] if index == 0 else []
        rows += ["[[reporting]]", *_rows(schema.REPORT, entry)]
    if answers.get("agreed_line"):
        rows += ["# What people say when asked.", "[agreed_line]"]
        rows += [f"{_bare(tag)} = {_toml(line)}" for tag, line in answers["agreed_line"].items()] + [""]
    for group, title, keys in _GROUPS:
        card_keys = schema.CARD if group == "parties" else schema.INTERMEDIARY_CARD
        for key, body in answers.get(group, {}).items():
            rows += [f"# {title}.", f"[{group}.{_bare(key)}]", *_rows(keys, body)]
            for card in body.get("cards", []):
                rows += [f"[[{group}.{_bare(key)}.cards]]", *_rows(card_keys, card)]
    return "\n".join(rows).rstrip("\n") + "\n"


def _question(section: str, key: Key) -> Question:
    default = None if key.default is None else _toml(_shown(key))
    return Question(f"{section}.{key.name}" if section else key.name, key.about, default)


def _rows(keys: Sequence[Key], values: Mapping[str, Any]) -> list[str]:
    rows = []
    for key in keys:
        if key.name in values:
            rows.append(f"{key.name} = {_toml(values[key.name])}  # {key.about}")
        elif key.default is not None and not _is_unset(key):
            rows.append(f"{key.name} = {_toml(_shown(key))}  # {key.about}")
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
    return key if key and all(char.isascii() and (char.isalnum() or char in "-_") for char in key) else _toml(key)


def _toml(value: Any) -> str:
    """A value in TOML. A JSON string is a TOML basic string; DEL alone has to be escaped besides."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(_toml(entry) for entry in value) + "]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
