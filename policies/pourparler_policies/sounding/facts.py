"""The folded state of soundings in one channel, as plain data. One sounding at a time.

No text of a package is in it, only digests: what is folded lies on a device under the vault's key alone, and a text
ends with a key that is not there (clients' `hours.py`). A digest tells whoever guesses a text whether that is it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from pourparler_policies.charter import Charter
from pourparler_policies.fold.decoding import decode
from pourparler_policies.limits import DAY, KIB, MAX_PACKAGES, MAX_TALLY

MAX_SIDES: Final = 32
MAX_TEXTS: Final = 96 * KIB  # bytes of all packages together: fits a bucket with its shares
MAX_MESSAGE: Final = 512  # bytes: the longest opening has 352
MAX_SHARE: Final = 1600  # bytes: eight packages' shares sealed to a card take 1,432
MAX_SHARES: Final = 64
MAX_STATE: Final = 512 * KIB  # bytes: a question and, at most, a year's numbers
WITHIN: Final = 30 * DAY  # seconds over which the charter's number of soundings counts
GRACE: Final = 3 * DAY  # seconds after the close in which the result stands and a second try can be asked for
LONGEST_ANSWER: Final = 30 * DAY  # seconds people may have
LONGEST_COLLECTION: Final = 7 * DAY  # seconds devices may have
SEEN: Final = 400 * DAY  # seconds a dealt secret's hash is remembered, so that it is not dealt again
MAX_SEEN: Final = 1024  # of them, the newest: thirty deals of the largest kind; a state must not grow without end


_PACKAGE: Final = b"pourparler sounding package v1"


class Phase(StrEnum):
    """Where a sounding stands in the log. What people answer is in none."""

    TAKING = "taking"  # devices take their parties' places (and commit)
    OPENING = "opening"  # every party has committed
    ASKING = "asking"  # registered, or dealt: people may answer
    COLLECTING = "collecting"  # devices hand in
    CLOSED = "closed"  # the service has counted
    LAPSED = "lapsed"  # some party's device was away when it should have begun


@dataclass(frozen=True, slots=True)
class Taker:
    """The device that answers for a party. `message` and `opening` are empty where there is a dealer."""

    seat: bytes
    credential: bytes
    message: bytes
    opening: bytes = b""


@dataclass(frozen=True, slots=True)
class Sounding:
    """A question. `digests` are those of its packages (`digest_of`), `number` is what all devices hash of it (32
    bytes); `tally` is empty without a dealer.
    """

    id: bytes
    body: str
    digests: tuple[bytes, ...]
    number: bytes
    answer_by: int
    closes: int
    ends: int  # when nothing of it is left (Unix seconds)
    sides: int
    second: bool
    phase: Phase = Phase.TAKING
    tally: bytes = b""
    shares: Mapping[bytes, bytes] = field(default_factory=dict)
    takers: Mapping[str, Taker] = field(default_factory=dict)
    missed: bool = False

    @property
    def dealt(self) -> bool:
        """Whether an intermediary has dealt it."""
        return bool(self.tally)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the charter says: how many soundings a body may begin within WITHIN, and how long a text lives."""

    rounds: int
    papers: int


@dataclass(frozen=True, slots=True)
class State:
    """All there is. `begun`: when each body began its soundings; `seen`: hashes that were dealt, and until when they
    are remembered.
    """

    rules: Rules
    live: Sounding | None = None
    begun: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    seen: Mapping[bytes, int] = field(default_factory=dict)
    time: int = 0


def digest_of(id_: bytes, text: bytes) -> bytes:
    """32 bytes by which a second try is known to ask the same; salted with the sounding's id (16 bytes)."""
    return hashlib.sha256(_PACKAGE + id_ + text).digest()


def sounding_rules(charter: Charter) -> Rules:
    """The rules that a charter sets."""
    return Rules(charter.release.soundings, charter.retention.papers)


def decode_state(data: bytes) -> State:
    """What `fold.encoding.encode` wrote. Raises Void or Unknown."""
    state: Any = decode(State, data, MAX_STATE)
    made: State = state
    return made


__all__ = [
    "GRACE",
    "LONGEST_ANSWER",
    "LONGEST_COLLECTION",
    "MAX_MESSAGE",
    "MAX_PACKAGES",
    "MAX_SEEN",
    "MAX_SHARE",
    "MAX_SHARES",
    "MAX_SIDES",
    "MAX_STATE",
    "MAX_TALLY",
    "MAX_TEXTS",
    "SEEN",
    "WITHIN",
    "Phase",
    "Rules",
    "Sounding",
    "State",
    "Taker",
    "decode_state",
    "digest_of",
    "sounding_rules",
]
