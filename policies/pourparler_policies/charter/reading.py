"""From a charter's text to a charter: every error at once, each with its line, what is wrong, and the remedy."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pourparler_policies.errors import Misuse

from . import schema
from .document import (
    Admission,
    Attribution,
    Card,
    Charter,
    Intermediary,
    Party,
    Release,
    Report,
    Retention,
    Seats,
)
from .lines import Located, Path, locate
from .rules import DECIDING, MAX_CHARTER, Role
from .schema import Key, Wrong

MAX_PARTIES: Final = 16
_SECTIONS: Final = {
    "seats": Seats,
    "retention": Retention,
    "attribution": Attribution,
    "admission": Admission,
    "release": Release,
}
_TABLES: Final = frozenset({*_SECTIONS, "parties", "intermediaries", "reporting", "agreed_line"})


@dataclass(frozen=True, slots=True)
class Error:
    """One error. `line` counts from 1; `where` is the key, dotted."""

    line: int
    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        return f"line {self.line}: {where}{self.what}; {self.remedy}"


class CharterErrors(Misuse):
    """A text that is no charter: `errors` has every reason, by line."""

    def __init__(self, errors: Sequence[Error]) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = tuple(errors)


@dataclass(slots=True)
class _Check:
    """Collects what is wrong while the values are read."""

    wrong: list[tuple[Path, str, str]] = field(default_factory=list)

    def say(self, path: Path, what: str, remedy: str) -> None:
        self.wrong.append((path, what, remedy))

    def values(
        self, keys: Sequence[Key], found: Any, path: Path, also: frozenset[str] = frozenset()
    ) -> dict[str, Any]:
        """The values of a table by its keys; what is missing or unknown is said."""
        if not isinstance(found, Mapping):
            self.say(path, "this is not a table", f"write [{'.'.join(map(str, path))}] on a line of its own")
            found = {}
        known = {key.name for key in keys}
        for key in found:
            if key not in known | also:
                self.say(
                    (*path, key), "there is no such rule", "remove it, or use one of: " + ", ".join(sorted(known))
                )
        read: dict[str, Any] = {}
        for key in keys:
            if key.name in found:
                try:
                    read[key.name] = key.kind(found[key.name])
                except Wrong as wrong:
                    self.say((*path, key.name), wrong.what, wrong.remedy)
            elif key.default is None:
                self.say(path, f'"{key.name}" is missing', f"add it: {key.about}")
            else:
                read[key.name] = key.default
        return read

    def tables(self, found: Any, path: Path) -> list[Any]:
        """An array of tables."""
        if not isinstance(found, list) or not 0 < len(found) <= schema.MAX_LIST:
            self.say(path, "here belong one or more entries", f"begin each with [[{'.'.join(map(str, path))}]]")
            return []
        return found

    def named(self, found: Any, path: Path) -> dict[str, Any]:
        """Tables by their identifiers."""
        if not isinstance(found, Mapping):
            self.say(path, "this is not a table", f"write [{path[0]}.north] for the one that you call north")
            return {}
        for key in found:
            if not schema.ID.fullmatch(key):
                self.say(
                    (*path, key),
                    "this is no identifier",
                    "use small letters, digits and hyphens, at most 32: north",
                )
        return dict(found)


def parse(text: str) -> Charter:
    """Reads a charter's TOML text, at most MAX_CHARTER bytes. Raises CharterErrors with all that is wrong."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise CharterErrors([Error(1, "", "the text holds what is no character", "save it as UTF-8")]) from None
    if size > MAX_CHARTER:
        raise CharterErrors([Error(1, "", f"the text has {size} bytes", f"shorten it to {MAX_CHARTER}")])
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError):  # ValueError: TOMLDecodeError, and numbers of thousands of digits
        raise broken(locate(text)) from None
    try:
        return read(document)
    except _Unread as unread:
        located = locate(text)
        errors = (Error(located.line(path), _dotted(path), what, remedy) for path, what, remedy in unread.wrong)
        raise CharterErrors(sorted(errors, key=lambda error: (error.line, error.where, error.what))) from None


class _Unread(CharterErrors):
    """As CharterErrors, with the paths of what is wrong instead of lines."""

    def __init__(self, wrong: list[tuple[Path, str, str]]) -> None:
        super().__init__([Error(1, _dotted(path), what, remedy) for path, what, remedy in wrong])
        self.wrong = wrong


def _dotted(path: Path) -> str:
    return ".".join(part for part in path if isinstance(part, str))


def read(document: dict[str, Any]) -> Charter:
    """The charter of a document that has been parsed. Raises CharterErrors."""
    check = _Check()
    charter = _charter(check, document)
    if charter is not None and not check.wrong:
        _agreement(check, charter)
    if charter is None or check.wrong:
        raise _Unread(check.wrong)
    return charter


def broken(located: Located) -> CharterErrors:
    """The errors of a text that is no TOML."""
    remedy = 'write key = value on one line, texts between quotes: title = "Lake talks"'
    errors = [Error(line, "", f"this cannot be read ({reason})", remedy) for line, reason in located.broken]
    return CharterErrors(errors or [Error(1, "", "this cannot be read", remedy)])


def _charter(check: _Check, document: dict[str, Any]) -> Charter | None:
    top = check.values(schema.TOP, document, (), _TABLES)
    sections: dict[str, dict[str, Any]] = {}
    for section, keys in schema.SECTIONS.items():
        if section not in document:
            missing = [key.name for key in keys if key.default is None]
            check.say((), f"[{section}] is missing", f"add it, with {', '.join(missing)}")
        else:
            sections[section] = check.values(keys, document[section], (section,))
    reporting = [
        check.values(schema.REPORT, entry, ("reporting", index))
        for index, entry in enumerate(check.tables(document.get("reporting", []), ("reporting",)))
    ]
    lines = _lines(check, document.get("agreed_line", {}))
    parties = {
        key: _party(check, value, ("parties", key))
        for key, value in check.named(document.get("parties", {}), ("parties",)).items()
    }
    intermediaries = {
        key: _intermediary(check, value, ("intermediaries", key))
        for key, value in check.named(document.get("intermediaries", {}), ("intermediaries",)).items()
    }
    if check.wrong:
        return None
    return Charter(
        **top,
        **{section: _SECTIONS[section](**values) for section, values in sections.items()},
        reporting=tuple(Report(**entry) for entry in reporting),
        agreed_line=lines,
        parties={key: Party(**value) for key, value in parties.items()},
        intermediaries={key: Intermediary(**value) for key, value in intermediaries.items()},
    )


def _lines(check: _Check, found: Any) -> dict[str, Any]:
    keys = [Key(key, schema.text, "") for key in found] if isinstance(found, Mapping) else []
    return check.values(keys, found, ("agreed_line",))


def _party(check: _Check, found: Any, path: Path) -> dict[str, Any]:
    party = check.values(schema.PARTY, found, path, frozenset({"cards"}))
    cards = check.tables(found.get("cards") if isinstance(found, Mapping) else None, (*path, "cards"))
    read = [check.values(schema.CARD, card, (*path, "cards", index)) for index, card in enumerate(cards)]
    if check.wrong:
        return party
    party["cards"] = tuple(sorted(Card(c["fingerprint"], c["name"], Role(c["role"])) for c in read))
    return party


def _intermediary(check: _Check, found: Any, path: Path) -> dict[str, Any]:
    body = check.values(schema.INTERMEDIARY, found, path, frozenset({"cards"}))
    cards = check.tables(found.get("cards") if isinstance(found, Mapping) else None, (*path, "cards"))
    read = [
        check.values(schema.INTERMEDIARY_CARD, card, (*path, "cards", index)) for index, card in enumerate(cards)
    ]
    if check.wrong:
        return body
    body["cards"] = tuple(sorted(Card(c["fingerprint"], c["name"], Role.INTERMEDIARY) for c in read))
    return body


def _agreement(check: _Check, charter: Charter) -> None:
    """What no key shows by itself: whether the rules fit together."""
    if not 2 <= len(charter.parties) <= MAX_PARTIES:
        check.say(
            ("parties",),
            f"there are {len(charter.parties)} parties",
            f"name 2 to {MAX_PARTIES}, as [parties.north]",
        )
    for key, party in charter.parties.items():
        path: Path = ("parties", key)
        deciding = [card for card in party.cards if card.role in DECIDING]
        if len(party.cards) > charter.seats.party:
            check.say(
                path, f"more cards than the {charter.seats.party} places of a party", "raise seats.party for all"
            )
        if party.decides == 0 and not any(card.role is Role.HEAD for card in party.cards):
            check.say(
                (*path, "decides"), "the head decides, and no card is the head's", 'give one card role = "head"'
            )
        if len(deciding) < party.decides:
            check.say(
                (*path, "decides"),
                "fewer deciding cards than the rule asks",
                'name more cards with role = "delegate"',
            )
    for key, body in charter.intermediaries.items():
        if key in charter.parties:
            check.say(("intermediaries", key), "a party has this identifier", "choose another")
        if len(body.cards) > charter.seats.intermediary:
            check.say(
                ("intermediaries", key),
                f"more cards than the {charter.seats.intermediary} places of an intermediary",
                "raise seats.intermediary",
            )
    _unlike(check, charter)
    _times(check, charter)
    for tag in charter.agreed_line:
        if tag not in charter.languages:
            check.say(
                ("agreed_line", tag), "this language is not among the languages", "add it there, or remove it"
            )


def _unlike(check: _Check, charter: Charter) -> None:
    cards: set[bytes] = set()
    names: set[str] = set()
    for group, bodies in (("parties", charter.parties), ("intermediaries", charter.intermediaries)):
        for key, body in bodies.items():
            if body.name in names:
                check.say(
                    (group, key, "name"), "another body has this name", "choose another, or people mix them up"
                )
            names.add(body.name)
            for card in body.cards:
                if card.fingerprint in cards:
                    check.say(
                        (group, key, "cards"), f"the card of {card.name} is named twice", "one card has one place"
                    )
                cards.add(card.fingerprint)


def _times(check: _Check, charter: Charter) -> None:
    lives = charter.retention
    if lives.after_reading > lives.messages:
        check.say(
            ("retention", "after_reading"), "longer than a message lives", "choose at most retention.messages"
        )
    if lives.notice > lives.absence:
        check.say(("retention", "notice"), "longer than the absence limit", "choose at most retention.absence")
    if lives.keys > lives.absence:
        check.say(("retention", "keys"), "longer than the absence limit", "choose at most retention.absence")
