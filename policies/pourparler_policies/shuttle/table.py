"""The life of a carried message as a table. What the table does not have counts for nothing.

`LIFE` is the life of an item, in whichever room: in its author's it is carried and never answered, for that room knows
nothing of an answer before it is passed on; where it is put it begins as carried, and its answer is an item of its own.
`WHO` says whose word moves it.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from pourparler_policies.errors import Void


class Phase(StrEnum):
    """Where an item stands."""

    HELD = "held"  # until its condition is met
    HANDED_OVER = "handed over"  # free to be carried
    CARRIED = "carried"
    ANSWERED = "answered"
    PASSED_ON = "passed on"
    RECALLED = "recalled"
    LAPSED = "lapsed"


class Trigger(StrEnum):
    """What moves an item."""

    FREED = "its condition is met"
    RECALLED = "its author's party takes it back"
    CARRIED = "the intermediary carries it"
    ANSWERED = "the receiving side answers the intermediary"
    PASSED_ON = "the intermediary passes on what came of it"
    LATE = "its terms expire"


LIFE: Final[Mapping[Phase, Mapping[Trigger, Phase]]] = {
    Phase.HELD: {
        Trigger.FREED: Phase.HANDED_OVER,
        Trigger.RECALLED: Phase.RECALLED,
        Trigger.LATE: Phase.LAPSED,
    },
    Phase.HANDED_OVER: {
        Trigger.RECALLED: Phase.RECALLED,
        Trigger.CARRIED: Phase.CARRIED,
        Trigger.LATE: Phase.LAPSED,
    },
    Phase.CARRIED: {
        Trigger.ANSWERED: Phase.ANSWERED,
        Trigger.PASSED_ON: Phase.PASSED_ON,
        Trigger.LATE: Phase.LAPSED,
    },
    Phase.ANSWERED: {Trigger.ANSWERED: Phase.ANSWERED},  # in the room in which it was put: where it ends
    # First a question, then the answer: the intermediary passes on what it may, when it may.
    Phase.PASSED_ON: {Trigger.PASSED_ON: Phase.PASSED_ON},
    Phase.RECALLED: {},
    Phase.LAPSED: {Trigger.PASSED_ON: Phase.PASSED_ON},  # late is better than never, if it was carried
}

WHO: Final[Mapping[Trigger, str]] = {
    Trigger.FREED: "whom its terms name: the head or a delegate of its author's party, or the intermediary",
    Trigger.RECALLED: "anybody of its author's party",
    Trigger.CARRIED: "an intermediary",
    Trigger.ANSWERED: "a head or delegate of any party in the room",
    Trigger.PASSED_ON: "an intermediary",
    Trigger.LATE: "nobody: time",
}


def move(phase: Phase, trigger: Trigger) -> Phase:
    """The phase after a trigger. Raises Void when the table has no such step."""
    steps = LIFE[phase]
    if trigger not in steps:
        raise Void(f"the message is {phase}: it does not change by this: {trigger}")
    return steps[trigger]
