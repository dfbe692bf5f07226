"""Puts values into a charter's text and leaves everything else as its author wrote it, comments too.

Every change is checked: the new text has to read as the old one with that value and nothing else changed.
"""

import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from pourparler_policies.errors import Misuse

from .document import Card
from .lines import Located, Path, locate
from .questionnaire import written
from .reading import broken
from .rules import Role

OPEN: Final = "paste the card's fingerprint here"  # where a preset waits for a card
_ONE_LINE: Final = re.compile(
    r"""(?P<key>\s*[A-Za-z0-9_-]+\s*=\s*)(?:"(?:[^"\\]|\\.)*"|'[^']*'|\[[^\[\]#]*\]|[a-z0-9]+)(?P<comment>\s*\#.*)?"""
)


def put_value(text: str, path: Path, value: Any) -> str:
    """The text with another value for a key that stands in it on one line. Raises Misuse."""
    located = _located(text)
    expected = _located(text).document
    _set(expected, path, value)
    rows = text.split("\n")
    _replace(rows, located, path, value)
    return _checked(rows, expected)


def put_lines(text: str, lines: Mapping[str, str]) -> str:
    """The text with these agreed lines, by language, in place of those in it. Raises Misuse."""
    located = _located(text)
    expected = _located(text).document
    old = expected.get("agreed_line", {})
    expected["agreed_line"] = dict(lines)
    rows: list[str | None] = [*text.split("\n")]
    made = [f"{tag} = {written(line)}" for tag, line in lines.items()]
    if ("agreed_line",) in located.lines:
        at = located.lines["agreed_line",]
        for tag in old:
            rows[located.line(("agreed_line", tag)) - 1] = None
    else:
        first = min((line for path, line in located.lines.items() if path[0] in _GROUPS), default=len(rows) + 1)
        at = _end(text.split("\n"), first - 1)
        made = ["", "[agreed_line]", *made]
    rows[at:at] = made
    return _checked([row for row in rows if row is not None], expected)


def put_card(text: str, body: str, card: Card) -> str:
    """The text with a card for a body: in the first place that waits for one with its role, or in a new one.

    Raises CharterErrors for a text that cannot be read, Misuse for a body, role or card that does not fit.
    """
    located = _located(text)
    group, cards = _cards(located.document, body)
    if (card.role is Role.INTERMEDIARY) != (group == "intermediaries"):
        raise Misuse(f"nobody of {body} is {card.role}: {_ROLES[group]}")
    fingerprint = card.fingerprint.hex()
    if any(_digits(entry) == fingerprint for entry in _all_cards(located.document)):
        raise Misuse(f"the card of {card.name} is named in this charter already")
    expected = _located(text).document
    rows = text.split("\n")
    index = _waiting(cards, card.role)
    if index is not None:
        for name, value in (("name", card.name), ("fingerprint", fingerprint)):
            path = (group, body, "cards", index, name)
            _set(expected, path, value)
            _replace(rows, located, path, value)
        return _checked(rows, expected)
    entry = {"name": card.name, "role": str(card.role), "fingerprint": fingerprint}
    if group == "intermediaries":
        del entry["role"]
    expected[group][body].setdefault("cards", []).append(entry)
    made = ["", f"[[{group}.{body}.cards]]", *(f"{key} = {written(value)}" for key, value in entry.items())]
    last = max(line for path, line in located.lines.items() if path[:2] == (group, body))
    after = min((line for line in located.lines.values() if line > last), default=len(rows) + 1)
    at = _end(rows, after - 1)
    rows[at:at] = made
    return _checked(rows, expected)


_GROUPS: Final = ("parties", "intermediaries")
_ROLES: Final = {
    "parties": "write head, delegate, assistant or interpreter",
    "intermediaries": "write intermediary",
}


def _located(text: str) -> Located:
    located = locate(text)
    if located.broken:
        raise broken(located)
    return located


def _cards(document: dict[str, Any], body: str) -> tuple[str, list[Any]]:
    bodies = {key: (group, held) for group in _GROUPS for key, held in _table(document, group).items()}
    if body not in bodies:
        raise Misuse(f"this charter has no {body}; it has {', '.join(sorted(bodies)) or 'nobody yet'}")
    group, held = bodies[body]
    cards = held.get("cards", []) if isinstance(held, dict) else None
    if not isinstance(cards, list) or not all(isinstance(card, dict) for card in cards):
        raise Misuse(f"the cards of {body} cannot be read: write each under [[{group}.{body}.cards]]")
    return group, cards


def _all_cards(document: dict[str, Any]) -> list[Any]:
    return [card for group in _GROUPS for body in _table(document, group) for card in _cards(document, body)[1]]


def _table(document: dict[str, Any], key: str) -> dict[str, Any]:
    found = document.get(key)
    return found if isinstance(found, dict) else {}


def _digits(card: dict[str, Any]) -> str:
    return "".join(str(card.get("fingerprint")).split())


def _waiting(cards: list[Any], role: Role) -> int | None:
    """The first card that waits for its fingerprint and has this role; an intermediary's has none."""
    for index, card in enumerate(cards):
        if card.get("fingerprint") == OPEN and card.get("role", Role.INTERMEDIARY) == role:
            return index
    return None


def _set(document: Any, path: Path, value: Any) -> None:
    for part in path[:-1]:
        document = document[part]
    document[path[-1]] = value


def _replace(rows: list[str], located: Located, path: Path, value: Any) -> None:
    line = located.line(path)
    match = _ONE_LINE.fullmatch(rows[line - 1].rstrip("\r"))
    if match is None or path not in located.lines:
        raise Misuse(
            f"line {line} cannot be changed by the program: write {path[-1]} = {written(value)} there by hand"
        )
    rows[line - 1] = match["key"] + written(value) + (match["comment"] or "")


def _end(rows: list[str], before: int) -> int:
    """How many rows up to `before` remain without the blanks and comments at their end."""
    while before and rows[before - 1].lstrip()[:1] in {"", "#"}:
        before -= 1
    return before


def _checked(rows: list[str], expected: dict[str, Any]) -> str:
    text = "\n".join(rows)
    try:
        if tomllib.loads(text) == expected:
            return text
    except ValueError:
        pass
    raise Misuse("this text cannot be changed by the program: write the value in it by hand")
