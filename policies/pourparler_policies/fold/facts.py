"""The state of a channel's consent, as plain frozen data.

1. A value is never changed in place: every transition makes a new state or raises.
2. Nothing here is known to one device alone. What stands here follows from the log.
3. No rule looks at a party's name or place: bodies are compared for equality only, and sorted only in encodings.

A *body* is a party or an intermediary. DESIGN 1, 3, 4.3.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pourparler_policies.charter.rules import MAX_CHARTER, Role, Rules

MAX_OPEN: Final = 8  # subjects that one body may have on the table: one side cannot bury it under paper
# bytes of them: one amendment of any size. Every vault must be able to hold what all bodies have there.
MAX_OPEN_BYTES: Final = MAX_CHARTER + 4096


class Phase(StrEnum):
    """Where a device stands. `table.PHASES` has the transitions; a device that is gone is in no phase."""

    EXPECTED = "expected"  # approved, not in the group, never attested
    LOBBY = "lobby"  # in the group for the first time, not yet attested
    PRESENT = "present"  # in the group, attested
    AWAY = "away"  # out of the group; comes back without new approvals
    RETURNING = "returning"  # in the group again, not yet attested
    STRANDED = "stranded"  # in the group; has said that it cannot process a commit
    HOLDING = "holding"  # put on hold, its leaf still in the group
    HELD = "held"  # on hold, out of the group
    LEAVING = "leaving"  # ends for good; its leaf is still in the group


IN_GROUP: Final = frozenset(
    {Phase.LOBBY, Phase.PRESENT, Phase.RETURNING, Phase.STRANDED, Phase.HOLDING, Phase.LEAVING}
)


@dataclass(frozen=True, slots=True)
class Device:
    """One card's place. `credential` is 16 bytes while its leaf is in the group, else empty."""

    card: bytes
    seat: bytes
    phase: Phase
    credential: bytes = b""
    counter: int = 0  # of its newest procedure event; starts anew with each credential
    by: frozenset[str] = frozenset()  # bodies of which an attested device has attested this one
    met: frozenset[bytes] = frozenset()  # cards that this one has attested
    absent: Mapping[str, int] = field(default_factory=dict)  # party: received_at of its vote of absence


@dataclass(frozen=True, slots=True)
class Seat:
    """An approved person's place. `id` is the digest of (body, role, card, charter) that was approved."""

    id: bytes
    body: str
    role: Role
    arrived: bool = False  # a device of it was attested once: from then on only its own side can end it


@dataclass(frozen=True, slots=True)
class Open:
    """A subject on the table. `approvals`: seat -> True when final, False when subject to confirmation from
    home.
    """

    subject: "Subject"
    body: str  # who put it there
    approvals: Mapping[bytes, bool] = field(default_factory=dict)
    objections: frozenset[bytes] = frozenset()  # seats


@dataclass(frozen=True, slots=True)
class State:
    """Everything that the fold keeps. `devices` by card, `seats` by id, `open` by the subject's digest."""

    rules: Rules
    seats: Mapping[bytes, Seat]
    devices: Mapping[bytes, Device]
    open: Mapping[bytes, Open] = field(default_factory=dict)
    spent: frozenset[bytes] = frozenset()  # cards that were attested once, or that their own body struck out
    founded: bool = False  # every party has had an attested device
    recess: int = 0  # no vote of absence is valid before this received_at
    erased: int = 0  # every message up to this seq is ended and erased
    adjourned: int = 0  # what is received before this hour (Unix seconds) is erased then; 0: none was agreed
    time: int = 0  # the highest received_at so far
    closed: bool = False
    # The channel is being ended (`closing.py`): until when devices may acknowledge that, 0 when it is not.
    closing: int = 0
    acknowledged: frozenset[bytes] = frozenset()  # cards of devices that have read up to the end
    disclosed: frozenset[bytes] = frozenset()  # cards of those that have shown their keys


@dataclass(frozen=True, slots=True)
class Admit:
    """A new seat."""

    body: str
    role: Role
    card: bytes


@dataclass(frozen=True, slots=True)
class Replace:
    """Another card for the same approved person."""

    seat: bytes
    old: bytes
    new: bytes


@dataclass(frozen=True, slots=True)
class Expel:
    """Somebody else's seat ends."""

    seat: bytes


@dataclass(frozen=True, slots=True)
class Recall:
    """A body ends a seat of its own."""

    seat: bytes


@dataclass(frozen=True, slots=True)
class Lift:
    """A hold ends; the seat may come back."""

    seat: bytes


@dataclass(frozen=True, slots=True)
class Recess:
    """No vote of absence before `until` (Unix seconds); what has been said until now is erased everywhere."""

    until: int


@dataclass(frozen=True, slots=True)
class Erase:
    """The session ends: messages up to `seq` are erased everywhere."""

    seq: int


@dataclass(frozen=True, slots=True)
class Adjourn:
    """The session ends at an hour, `at` (Unix seconds): what is received before it is erased everywhere then."""

    at: int


@dataclass(frozen=True, slots=True)
class Amend:
    """Another charter, in full: `charter` is its canonical encoding, which all members read alike."""

    charter: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """The channel ends for everyone."""


Subject = Admit | Replace | Expel | Recall | Lift | Recess | Erase | Adjourn | Amend | Close
SUBJECTS: Final[tuple[type, ...]] = (Admit, Replace, Expel, Recall, Lift, Recess, Erase, Adjourn, Amend, Close)
