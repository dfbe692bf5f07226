"""Charters to start from, one for each kind of talks known from practice. They ship with the code and never change
at run time; the fingerprints of the cards are for their users to fill in.
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import Final

from pourparler_policies.errors import Misuse

PRESETS: Final[Mapping[str, str]] = {
    "workshop": "problem-solving workshop: two sides in a personal capacity, with a panel of facilitators",
    "shuttle": "shuttle between two sides: the go-between's channel with one of them",
    "track-one-and-a-half": "Track One-and-a-half: officials in a private capacity beside people from outside",
    "secret-bilateral": "secret bilateral channel with a host: mandated, small, short-lived words",
    "sustained-dialogue": "sustained dialogue over years: many meetings, recesses, joint memoranda",
    "grass-roots": "grass-roots exchange: several communities, many people, no publication",
}


def preset(name: str) -> str:
    """The TOML text of a preset, with comments. Raises Misuse for a name that is not in PRESETS."""
    if name not in PRESETS:
        raise Misuse(f"there is no preset {name}; choose from {', '.join(PRESETS)}")
    return (files(__package__) / f"{name}.toml").read_text(encoding="utf-8")
