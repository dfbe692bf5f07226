"""A round of ideas in a channel, as plain frozen data in the folded state. At most one lives at a time.

1. What stands here says who takes part, never who had an idea: from outside both do the same.
2. A round hangs on its ground: who is in the group, the charter, what was erased. When that changes, it ends, and
   what waits to be said in it stays on its author's device.

DESIGN 4.4, #13; `table.py` has the transitions.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pourparler_policies.fold.encoding import encode
from pourparler_policies.fold.facts import State
from pourparler_policies.limits import DAY, HOUR

ROUND_BYTES: Final = 16  # random, so guessing one is hopeless
KEY_BYTES: Final = 32  # of a one-time key, and of its secret
LEAST_SEATS: Final = 3  # with two, each knows the other's ideas
MAX_SEATS: Final = 32  # one-time keys that a packet has room for
IDEAS_A_SEAT: Final = 3  # packets that every seat sends in a round of ideas, whether it has an idea or not
BALLOTS_A_SEAT: Final = 1  # in a round of marks: one person, one voice
LONGEST_NOTICE: Final = 30 * DAY  # seconds between the call and the tick
WINDOW: Final = (4, HOUR)  # seconds that the service takes packets: for a slow line, and for clocks that differ
LONGEST_GATHERING: Final = DAY  # seconds
SETTLING: Final = DAY  # seconds after the window: a device that was closed at once can still give its share


class Phase(StrEnum):
    """Where a round stands in the log. An ended one is in no phase."""

    GATHERING = "gathering"  # whoever is there joins, by their device, until the doors close
    COLLECTING = "collecting"  # packets go to the service at the tick; who has seen the list says so
    SHOWING = "showing"  # all have seen the same list: each gives its share of the key
    OPEN = "open"  # every share is there


@dataclass(frozen=True, slots=True)
class IdeaRules:
    """What a charter says of ideas (seconds)."""

    allowed: bool = False
    longest: int = 0  # life of what is said in a round: that of a message


@dataclass(frozen=True, slots=True)
class Part:
    """One seat in a round: which of its devices, its one-time key, what list it has seen, its secret."""

    credential: bytes
    key: bytes
    digest: bytes = b""
    secret: bytes = b""


@dataclass(frozen=True, slots=True)
class Round:
    """One round. Times are Unix seconds by the log, lengths of time seconds. `about`: the ideas that are marked."""

    id: bytes
    about: bytes
    tick: int
    gather: int
    window: int
    life: int
    ground: bytes  # `ground_of`
    phase: Phase = Phase.GATHERING
    parts: Mapping[bytes, Part] = field(default_factory=dict)  # by seat

    @property
    def begins(self) -> int:
        """From when on devices join."""
        return self.tick - self.gather

    @property
    def doors(self) -> int:
        """From when on nobody joins: half a window before the tick, for clocks that differ by less."""
        return self.tick - self.window // 2

    @property
    def closes(self) -> int:
        """From when on the service takes no more packets, and shows them."""
        return self.tick + self.window

    @property
    def ends(self) -> int:
        """From when on it is over, whatever is missing."""
        return self.closes + SETTLING

    @property
    def a_seat(self) -> int:
        """Packets that every seat sends."""
        return BALLOTS_A_SEAT if self.about else IDEAS_A_SEAT

    @property
    def places(self) -> int:
        """Packets in all: exactly so many make a whole list."""
        return self.a_seat * len(self.parts)


def ground_of(state: State) -> bytes:
    """SHA-256 of what a round hangs on: leaves and how they stand, charter, what was erased."""
    leaves = frozenset((d.credential, d.phase) for d in state.devices.values() if d.credential)
    return hashlib.sha256(encode((leaves, state.rules.charter, state.erased))).digest()
