"""From a charter's canonical encoding back to the charter: what travels between devices is this, never TOML.

A text's reader may change with the version of Python; two members must not differ on whether a charter is one. So
what arrives counts only if it is byte for byte what `Charter.encode` makes of a charter without errors.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from . import schema
from .document import Charter
from .reading import CharterErrors, Error, read
from .rules import MAX_CHARTER
from .schema import Key, Wrong

_NOT_ONE = (Error(1, "", "this is not the encoding of a charter", "ask for it again"),)


def decode(data: bytes) -> Charter:
    """Reads what `Charter.encode` wrote, at most MAX_CHARTER bytes. Raises CharterErrors for anything else."""
    try:
        document = json.loads(data.decode()) if len(data) <= MAX_CHARTER else None
        charter = read(_written(document))
        if charter.encode() == data:
            return charter
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):  # CharterErrors is a ValueError too
        pass
    raise CharterErrors(_NOT_ONE)


def _written(document: Any) -> dict[str, Any]:
    """The document as a person would have written it: times and decision rules in words."""
    made: dict[str, Any] = {**document, **_words(schema.TOP, document)}
    for section, keys in schema.SECTIONS.items():
        made[section] = _words(keys, document[section])
    for key, party in made.pop("parties").items():
        made.setdefault("parties", {})[key] = {**party, "decides": _rule(party["decides"])}
    for key, body in made.pop("intermediaries").items():
        cards = [{name: held for name, held in card.items() if name != "role"} for card in body["cards"]]
        made.setdefault("intermediaries", {})[key] = {**body, "cards": cards}
    return made


def _words(keys: Sequence[Key], values: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(values)
    for key in keys:
        value = values[key.name]
        try:
            key.kind(value)
        except Wrong:
            if isinstance(value, int) and not isinstance(value, bool):
                made[key.name] = schema.say(value)
            if value == key.default == 0:
                del made[key.name]
    return made


def _rule(decides: int) -> str:
    return {0: "the head", 1: "any delegate"}.get(decides, f"{decides} of the delegates")
