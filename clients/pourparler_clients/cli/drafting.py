"""A charter from questions and cards: all of it, or what a preset cannot know. What was answered before the input
ended is kept.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pourparler_crypto.card import Card, check_digits
from pourparler_crypto.errors import CryptoError
from pourparler_policies.charter import CharterErrors, parse, schema
from pourparler_policies.charter import document as charters
from pourparler_policies.charter import questionnaire as q
from pourparler_policies.charter.filling import OPEN, put_card, put_lines, put_value
from pourparler_policies.charter.lines import locate
from pourparler_policies.charter.reading import MAX_PARTIES
from pourparler_policies.charter.rules import POLICY_VERSION, Role
from pourparler_policies.charter.schema import Key, Wrong
from pourparler_policies.errors import Misuse

from ..errors import UserError
from .asking import End, agreed_line, ask, head, read, say, yes
from .common import plain, read_text

_IDENTIFIER: Final = "a short word for it in this file: small letters, digits, hyphens, for example north"
_TERMS: Final = {"charter": 1, "policy": POLICY_VERSION}  # the only ones there are: not asked


@dataclass(frozen=True, slots=True)
class Given:
    """A card and the body for which it is named."""

    body: str
    card: charters.Card


class Stopped(Exception):
    """The input ended. `text` is the charter as far as it was answered, empty if nothing was."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


def read_card(path: Path, role: Role) -> charters.Card:
    """The card in a file, as a charter names it. Raises UserError, or Malformed for what is no card."""
    card = Card.decode(read_text(path, "card"))
    try:
        return charters.Card(card.fingerprint, schema.name(card.name), role)
    except Wrong as wrong:
        raise UserError(
            f"the name on the card {path} cannot stand in a charter ({wrong.what}): ask for a card with another "
            "name"
        ) from None


class Drafter:
    """Asks one person at a terminal. `given` are cards that need not be asked for."""

    def __init__(self, given: list[Given]) -> None:
        self._given = given
        self._answers: dict[str, Any] = {}

    def complete(self, text: str, *, questions: bool) -> str:
        """A preset with the cards that were given and, if `questions`, what it cannot know. Raises Stopped."""
        for one in self._given:
            text = put_card(text, one.body, one.card)
        if not questions:
            return text
        say("", "This preset is filled in with your answers. Enter takes what stands in [brackets].")
        say("Ctrl-D stops and keeps what you answered; Ctrl-C stops and writes nothing.")
        try:
            for step in _steps(locate(text).document):
                text = step(text)
        except End:
            raise Stopped(text) from None
        return text

    def questionnaire(self) -> str:
        """A charter from answers to every question. Raises Stopped."""
        say("", "Every rule of the charter is asked for. Enter takes what stands in [brackets].")
        say("Ctrl-D stops and keeps what you answered; Ctrl-C stops and writes nothing.")
        try:
            self._rules()
            self._reporting()
            self._lines()
            self._bodies()
            return self._agreed()
        except End:
            raise Stopped(q.write(self._answers) if self._answers.keys() - _TERMS.keys() else "") from None

    def _rules(self) -> None:
        answers = self._answers
        for section, title, keys in q.PARTS:
            head(title)
            if not section:
                answers |= _TERMS
            for key in keys:
                if not section and key.name in _TERMS:
                    continue
                held = answers.setdefault(section, {}) if section else answers
                if not _needless(section, key, held):
                    _put(held, key, ask(key))

    def _reporting(self) -> None:
        head("Reporting home: who may tell whom, in which form")
        say(
            "Most people have to report to somebody. Forbidden ways out become secret ways out: say the real ones."
        )
        entries = self._answers["reporting"] = []
        while not entries or (len(entries) < schema.MAX_LIST and yes("One more rule about reporting?")):
            entry: dict[str, Any] = {}
            for key in schema.REPORT:
                _put(entry, key, ask(key))
            entries.append(entry)

    def _lines(self) -> None:
        head("What people say when asked")
        lines = self._answers["agreed_line"] = {}
        for tag in self._answers["languages"]:
            line = agreed_line(tag, "")
            if line:
                lines[tag] = line

    def _bodies(self) -> None:
        mediating = {one.body for one in self._given if one.card.role is Role.INTERMEDIARY}
        for group, title, keys in q.GROUPS:
            waiting = list(
                dict.fromkeys(one.body for one in self._given if (one.body in mediating) == (group != "parties"))
            )
            bodies = self._answers.setdefault(group, {})
            while self._another(group, title, waiting, len(bodies)):
                key = waiting.pop(0) if waiting else self._identifier()
                head(f"{title}: {key}")
                body: dict[str, Any] = {}
                bodies[key] = body
                for rule in keys:
                    _put(body, rule, ask(rule))
                body["cards"] = self._cards(group, key, body)

    def _another(self, group: str, title: str, waiting: list[str], count: int) -> bool:
        if waiting:
            return True
        if group == "parties":
            return count < 2 or (count < MAX_PARTIES and yes("One more party?"))
        return count < schema.MAX_LIST and yes(f"{'One more' if count else 'Is there an'} intermediary?")

    def _identifier(self) -> str:
        while True:
            typed = read(f"\n{_IDENTIFIER[0].upper()}{_IDENTIFIER[1:]}\n  identifier: ")
            if not schema.ID.fullmatch(typed):
                say("  This cannot be an identifier: use small letters, digits and hyphens, at most 32.")
            elif any(typed in self._answers.get(group, {}) for group, *_ in q.GROUPS):
                say("  This identifier is taken: choose another.")
            else:
                return typed

    def _cards(self, group: str, body: str, answers: dict[str, Any]) -> list[dict[str, Any]]:
        """Cards of a body: those given, then those asked for; at least a place that waits for one."""
        seats = self._answers["seats"].get("party" if group == "parties" else "intermediary", 2)
        cards = [one.card for one in self._given if one.body == body]
        for card in cards:
            say("", f"Card of {plain(card.name, lines=False)} ({card.role}): {check_digits(card.fingerprint)}")
        while len(cards) < seats:
            further = self._card(group, cards)
            if further is None:
                break
            cards.append(further)
        if not cards:
            say("  The file gets a place that waits for the card: put it in with `pourparler charter add`.")
            return _places(group, answers, seats)
        return [_entry(group, card) for card in cards]

    def _card(self, group: str, cards: list[charters.Card]) -> charters.Card | None:
        more = (
            "the next card's file; Enter when there is none" if cards else "a card's file; Enter if it comes later"
        )
        while True:
            typed = read(f"\nA card is given as its file, as `pourparler card show --out` writes it\n  {more}: ")
            if not typed:
                return None
            card = _card_file(typed, Role.INTERMEDIARY)
            if card is None:
                continue
            named = {entry.get("fingerprint") for entry in self._named()} | {c.fingerprint.hex() for c in cards}
            if card.fingerprint.hex() in named:
                say("  This card is named already: one card has one place.")
                continue
            if group == "parties":
                role = Role(ask(schema.CARD[1], "delegate"))
                card = charters.Card(card.fingerprint, card.name, role)
            return card

    def _named(self) -> Iterator[dict[str, Any]]:
        for group, *_ in q.GROUPS:
            for body in self._answers.get(group, {}).values():
                yield from body.get("cards", [])

    def _agreed(self) -> str:
        """The text, after asking again for what does not fit together. Errors that no answer mends stay in it."""
        while True:
            text = q.write(self._answers)
            try:
                parse(text)
            except CharterErrors as found:
                again = [
                    (error, place) for error in found.errors if (place := self._asked(error.where)) is not None
                ]
                if not again:
                    return text
                error, (held, key) = again[0]
                say("", f"{plain(error.where, lines=False)}: {error.what}; {error.remedy}.")
                _put(held, key, ask(key, held.get(key.name)))
            else:
                return text

    def _asked(self, where: str) -> tuple[dict[str, Any], Key] | None:
        """Where an error's answer is kept, with its key, if it was asked for."""
        *path, name = where.split(".")
        keys: dict[tuple[str, ...], tuple[Key, ...]] = {(): schema.TOP}
        keys |= {(section,): found for section, found in schema.SECTIONS.items()}
        for group, _, found in q.GROUPS:
            keys |= {(group, body): tuple(found) for body in self._answers.get(group, {})}
        key = next((key for key in keys.get(tuple(path), ()) if key.name == name), None)
        if key is None or name in _TERMS:
            return None
        held = self._answers
        for part in path:
            held = held.setdefault(part, {})
        return held, key


def _steps(document: dict[str, Any]) -> Iterator[Callable[[str], str]]:
    """What a preset cannot know, one question each: from a text to the text with the answer."""
    for key in schema.TOP:
        if key.name not in _TERMS:
            yield _value((key.name,), key)
    yield _all_lines
    for group, _, keys in q.GROUPS:
        wanted = {"name"} if group == "parties" else {"name", *_DECLARED}
        for body in document[group]:
            yield _titled(document[group][body]["name"])
            for key in keys:
                if key.name in wanted:
                    yield _value((group, body, key.name), key)
            for index in range(len(document[group][body]["cards"])):
                yield _place_for_card(group, body, index)


_DECLARED: Final = ("institution", "funding", "interests", "speaks_for_no_government")


def _titled(title: str) -> Callable[[str], str]:
    def step(text: str) -> str:
        head(title)
        return text

    return step


def _value(path: tuple[str, ...], key: Key) -> Callable[[str], str]:
    def step(text: str) -> str:
        held: Any = locate(text).document
        for part in path:
            held = held[part]
        example = q.check(key, held)  # nobody declares by pressing Enter
        if example and isinstance(held, str):
            say("", f"Example: {held.strip('<>')}")
        return put_value(text, path, ask(key, None if example else held))

    return step


def _all_lines(text: str) -> str:
    document = locate(text).document
    head("What people say when asked")
    lines = {tag: agreed_line(tag, document.get("agreed_line", {}).get(tag, "")) for tag in document["languages"]}
    return put_lines(text, {tag: line for tag, line in lines.items() if line})


def _place_for_card(group: str, body: str, index: int) -> Callable[[str], str]:
    def step(text: str) -> str:
        place = locate(text).document[group][body]["cards"][index]
        if place["fingerprint"] != OPEN:
            return text
        role = Role(place.get("role", Role.INTERMEDIARY))
        while True:
            typed = read(
                f"\nA card is given as its file, as `pourparler card show --out` writes it\n  {place['name']} "
                f"({role}), a card's file; Enter if it comes later: "
            )
            if not typed:
                return text
            card = _card_file(typed, role)
            if card is None:
                continue
            try:
                return put_card(text, body, card)
            except Misuse as error:
                say(f"  {plain(str(error), lines=False)}.")

    return step


def _card_file(typed: str, role: Role) -> charters.Card | None:
    """The card in a file whose name somebody typed; says what is wrong with it."""
    try:
        card = read_card(Path(typed).expanduser(), role)
    except (UserError, CryptoError) as error:
        say(f"  {plain(str(error), lines=False)}.")
        return None
    say(
        f"  Card of {plain(card.name, lines=False)}: {check_digits(card.fingerprint)}; compare them with its "
        "owner."
    )
    return card


def _entry(group: str, card: charters.Card) -> dict[str, Any]:
    entry = {"name": card.name, "role": str(card.role), "fingerprint": card.fingerprint.hex()}
    if group == "intermediaries":
        del entry["role"]
    return entry


def _places(group: str, answers: dict[str, Any], seats: int) -> list[dict[str, Any]]:
    """As many places that wait for a card as the body needs to act, and one in reserve."""
    if group == "intermediaries":
        return [{"name": "Intermediary", "fingerprint": OPEN}]
    rule = schema.decision(answers["decides"])
    role = Role.DELEGATE if rule else Role.HEAD
    return [
        {"name": f"{str(role).capitalize()} {number}", "role": str(role), "fingerprint": OPEN}
        for number in range(1, min(max(rule, 1) + 1, seats) + 1)
    ]


def _needless(section: str, key: Key, held: dict[str, Any]) -> bool:
    """Whether an earlier answer of the section has made this question pointless."""
    if section != "release" or key.name in ("signatories", "soundings"):
        return False
    return held["signatories"] == "nobody" or (key.name == "stop_until" and held["stop"] == "nobody")


def _put(held: dict[str, Any], key: Key, value: Any) -> None:
    if value is None:
        held.pop(key.name, None)  # no such rule
    else:
        held[key.name] = value
