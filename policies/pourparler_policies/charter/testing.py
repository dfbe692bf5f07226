"""Charters for tests: answers to the questionnaire, and a text with the cards filled in."""

import hashlib
import itertools
import re
from typing import Any

from .filling import OPEN
from .questionnaire import write

PLACEHOLDER = OPEN


def body_cards(body: str, roles: tuple[str, ...]) -> list[dict[str, Any]]:
    """Cards a1, a2, ... of a body; fingerprints follow from the names, as in the fold's tests."""
    return [
        {"name": word, "role": role, "fingerprint": hashlib.sha256(b"card " + word.encode()).hexdigest()}
        for word, role in ((f"{body}{n}", role) for n, role in enumerate(roles, 1))
    ]


def answers(parties: tuple[str, ...] = ("a", "b"), **other: Any) -> dict[str, Any]:
    """Answers that make a charter without errors; `other` replaces some."""
    made: dict[str, Any] = {
        "charter": 1,
        "policy": 1,
        "title": "Lake talks",
        "purpose": "To look for ways out.",
        "languages": ["en", "ar"],
        "seats": {"party": 3},
        "retention": {"messages": "7 days", "papers": "180 days", "absence": "30 days"},
        "attribution": {"rule": "chatham house"},
        "admission": {"names": "after acceptance"},
        "release": {"signatories": "parties"},
        "reporting": [{"who": "Each delegate", "whom": "one named principal", "form": "gist"}],
        "agreed_line": {"en": "There is nothing to comment on."},
        "parties": {
            body: {
                "name": f"Side {body}",
                "capacity": "personal",
                "decides": "any delegate",
                "cards": body_cards(body, ("delegate", "delegate", "assistant")),
            }
            for body in parties
        },
        "intermediaries": {
            "m": {
                "name": "The institute",
                "kind": "facilitator",
                "institution": "A university",
                "funding": "A foundation",
                "interests": "none",
                "speaks_for_no_government": True,
                "cards": [{k: v for k, v in card.items() if k != "role"} for card in body_cards("m", ("",))],
            }
        },
    }
    return made | other


def text(parties: tuple[str, ...] = ("a", "b"), **other: Any) -> str:
    """The TOML text of such answers."""
    return write(answers(parties, **other))


def fill_cards(preset: str) -> str:
    """A preset's text with a fingerprint in each place that waits for one, and its examples taken for true."""
    number = itertools.count(1)
    told = re.sub(r'"<(.*)>"', r'"\1"', preset).replace("no_government = false", "no_government = true")
    return re.sub(re.escape(PLACEHOLDER), lambda _: f"{next(number):064x}", told)
