"""The table of a sounding in the log: what leads from phase to phase, who may post what, and when. Else it is void."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from . import events
from .facts import Phase


class Trigger(StrEnum):
    """What moves a sounding."""

    COMMITTED = "every party of a channel without a dealer has committed"
    OPENED = "every commitment is open"
    ANSWER_BY = "the time to answer is over"
    CLOSES = "the time to hand in is over"


STEPS: Final[Mapping[Phase, Mapping[Trigger, Phase]]] = {
    Phase.TAKING: {
        Trigger.COMMITTED: Phase.OPENING,
        Trigger.ANSWER_BY: Phase.LAPSED,
    },
    Phase.OPENING: {Trigger.OPENED: Phase.ASKING, Trigger.ANSWER_BY: Phase.LAPSED},
    Phase.ASKING: {Trigger.ANSWER_BY: Phase.COLLECTING},
    Phase.COLLECTING: {Trigger.CLOSES: Phase.CLOSED},
    Phase.CLOSED: {},
    Phase.LAPSED: {},
}

# Whose event it is: the body that has asked; who decides for a party for which no other device answers; the device
# that does answer for its party.
ASKS, TAKES, TAKEN, ANY = "asks", "takes", "has taken", "anybody present"

WHEN: Final[Mapping[type, tuple[str, frozenset[Phase]]]] = {
    events.Taking: (TAKES, frozenset({Phase.TAKING, Phase.ASKING})),  # what is dealt begins with ASKING
    events.Opening: (TAKEN, frozenset({Phase.OPENING})),
    events.Missed: (TAKES, frozenset({Phase.CLOSED})),
    events.Counted: (ANY, frozenset({Phase.CLOSED})),
    events.Recalled: (ASKS, frozenset({Phase.TAKING, Phase.OPENING, Phase.ASKING})),
}
# A second try: only of one whose line failed, and only once.
AGAIN: Final = frozenset({Phase.CLOSED, Phase.LAPSED})
