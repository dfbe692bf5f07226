"""The life of a round as tables. What a table does not have is void. `docs/ideas.md` is made from them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from pourparler_policies.errors import Void

from . import events
from .facts import Phase


class Trigger(StrEnum):
    """What moves a round in the log."""

    DOORS = "the doors close, three seats have joined"
    FEW = "the doors close, fewer than three seats have joined"
    SEEN = "the last seat has seen the list, and all the same"
    DIFFERENT = "two seats have seen different lists"
    SHOWN = "the last share of the key"
    FAILED = "a device finds that it cannot be completed, or it is called off"
    GROUND = "the group, the charter or what is erased has changed"
    LATE = "a day after the window"


GONE: Final = None
_ENDS: Final[Mapping[Trigger, Phase | None]] = {Trigger.GROUND: GONE, Trigger.LATE: GONE}

ROUND: Final[Mapping[Phase, Mapping[Trigger, Phase | None]]] = {
    Phase.GATHERING: {Trigger.DOORS: Phase.COLLECTING, Trigger.FEW: GONE, Trigger.FAILED: GONE, **_ENDS},
    Phase.COLLECTING: {
        Trigger.SEEN: Phase.SHOWING,
        Trigger.DIFFERENT: GONE,
        Trigger.FAILED: GONE,
        **_ENDS,
    },
    Phase.SHOWING: {Trigger.SHOWN: Phase.OPEN, Trigger.FAILED: GONE, **_ENDS},
    Phase.OPEN: _ENDS,
}

WHEN: Final[Mapping[type, frozenset[Phase]]] = {
    events.Joined: frozenset({Phase.GATHERING}),
    events.Seen: frozenset({Phase.COLLECTING}),
    events.Shown: frozenset({Phase.SHOWING}),
    events.Failed: frozenset({Phase.GATHERING, Phase.COLLECTING, Phase.SHOWING}),
}


def move(phase: Phase, trigger: Trigger) -> Phase | None:
    """The phase after a trigger, None for an end. Raises Void when the table has no such step."""
    steps = ROUND[phase]
    if trigger not in steps:
        raise Void(f"the round is {phase}: it does not change by this: {trigger}")
    return steps[trigger]
