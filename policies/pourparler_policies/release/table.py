"""The rules of release as tables. What a table does not have is void.

`CASE` is the life of a case in the log, `WHEN` in which phases an event of it counts, `BOARD` the marks of what
was published. `device.py` has the life of a case on one device, `desk.py` that at the desk. `docs/release.md` is
made from all of them (`documents.py`).
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from pourparler_policies.errors import Void

from . import events
from .facts import Mark, Phase


class Trigger(StrEnum):
    """What moves a case in the log."""

    BEGUN = "R1 under a new nonce"
    FULL = "the last signer's message"
    LEFT = "a signer's seat has ended"
    VOIDED = "the text is edited, shelved or gone, the charter amended, or another appointment made"
    LATE = "the sign deadline"
    ANSWERED = "every signer was told the same by the desk"
    IN_VAIN = "the deposit deadline, and no signer holds every d for good"
    OVER = "a day after the hour"
    CLOSED = "the channel is closed"


GONE: Final = None
_BEFORE: Final[Mapping[Trigger, Phase | None]] = {
    Trigger.BEGUN: Phase.COMMITTING,
    Trigger.VOIDED: GONE,
    Trigger.LATE: GONE,
    Trigger.CLOSED: GONE,
}

CASE: Final[Mapping[Phase, Mapping[Trigger, Phase | None]]] = {
    Phase.APPOINTED: _BEFORE,
    Phase.COMMITTING: {Trigger.FULL: Phase.REVEALING, Trigger.LEFT: Phase.APPOINTED, **_BEFORE},
    Phase.REVEALING: {Trigger.FULL: Phase.PREPARING, Trigger.LEFT: Phase.APPOINTED, **_BEFORE},
    Phase.PREPARING: {Trigger.FULL: Phase.FROZEN, Trigger.LEFT: Phase.APPOINTED, **_BEFORE},
    # A signature may be at the desk: no word in the channel takes that back (finding 29). Who gives its y away has
    # said before, in the log, that it saw every d: where nobody stands by that, nothing can come of the case.
    Phase.FROZEN: {Trigger.ANSWERED: GONE, Trigger.IN_VAIN: GONE, Trigger.OVER: GONE, Trigger.CLOSED: GONE},
}

UNFROZEN: Final = frozenset(CASE) - {Phase.FROZEN}

WHEN: Final[Mapping[type, frozenset[Phase]]] = {
    events.First: UNFROZEN,
    events.Second: frozenset({Phase.REVEALING}),
    events.Third: frozenset({Phase.PREPARING}),
    events.Completed: frozenset({Phase.FROZEN}),
    events.Told: frozenset({Phase.FROZEN}),
}


class Sequel(StrEnum):
    """What a later release, completed by the same signatories, does to an earlier one."""

    CORRECTED = "corrected"
    TAKEN_BACK = "taken back"


BOARD: Final[Mapping[Mark, Mapping[Sequel, Mark]]] = {
    Mark.PUBLISHED: {Sequel.CORRECTED: Mark.SUPERSEDED, Sequel.TAKEN_BACK: Mark.WITHDRAWN},
    Mark.SUPERSEDED: {},
    Mark.WITHDRAWN: {},
}


def move(phase: Phase, trigger: Trigger) -> Phase | None:
    """The phase after a trigger, None for an end. Raises Void when the table has no such step."""
    steps = CASE[phase]
    if trigger not in steps:
        raise Void(f"the case is {phase}: it does not change by this: {trigger}")
    return steps[trigger]


def mark(held: Mark, sequel: Sequel) -> Mark:
    """What a release becomes by a later one. Raises Void when it was followed already."""
    if sequel not in BOARD[held]:
        raise Void(f"this release is {held}: correct the one that followed it")
    return BOARD[held][sequel]
