"""A charter as data, its one encoding and its hash.

What a charter says is in its values. Comments, order of keys and blanks are for its readers: they change no hash.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from pourparler_policies.limits import DAY

from .rules import Named, Role, Rules

_LABEL = b"pourparler charter v1"
# A token lives up to a day longer than the absence limit; what its device must fold on return lives longer still.
PROCEDURE_MARGIN: Final = 2 * DAY  # seconds


@dataclass(frozen=True, slots=True, order=True)
class Card:
    """A founding card: `fingerprint` is 32 bytes."""

    fingerprint: bytes
    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Party:
    """One side. `decides` is 0 for the head, k for k of the head and the delegates."""

    name: str
    capacity: str
    decides: int
    confirmation: str
    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True)
class Intermediary:
    """Who belongs to no party, with its declarations."""

    name: str
    kind: str
    institution: str
    funding: str
    interests: str
    speaks_for_no_government: bool
    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Who may tell whom at home, in which form."""

    who: str
    whom: str
    form: str


@dataclass(frozen=True, slots=True)
class Seats:
    """Places for each party, each intermediary, devices for each place."""

    party: int
    intermediary: int
    devices: int


@dataclass(frozen=True, slots=True)
class Retention:
    """Lives and limits in seconds. `after_reading` 0: no such rule."""

    messages: int
    after_reading: int
    papers: int
    absence: int
    notice: int
    keys: int
    read_offline: bool

    @property
    def procedure(self) -> int:
        """How long commits and procedure events live, in seconds."""
        return self.absence + PROCEDURE_MARGIN


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who may say outside who said what, and whether ideas may come without a name."""

    rule: str
    ideas: bool


@dataclass(frozen=True, slots=True)
class Admission:
    """What invited people see, whether a party calls back its own, how long a recess may be (seconds)."""

    names: str
    recall: bool
    longest_recess: int


@dataclass(frozen=True, slots=True)
class Release:
    """Joint publication: in whose name, within which time (seconds), who may stop it; how many soundings before it."""

    signatories: str
    sign_within: int
    deposit_within: int
    stop: str
    stop_until: int
    soundings: int = 4


@dataclass(frozen=True, slots=True)
class Charter:
    """The ground rules that every party accepts."""

    charter: int
    policy: int
    title: str
    purpose: str
    languages: tuple[str, ...]
    seats: Seats
    retention: Retention
    attribution: Attribution
    admission: Admission
    release: Release
    reporting: tuple[Report, ...]
    agreed_line: Mapping[str, str]
    parties: Mapping[str, Party]
    intermediaries: Mapping[str, Intermediary]

    def encode(self) -> bytes:
        """Canonical: JSON, UTF-8, keys sorted, no white space, cards sorted by fingerprint, bytes in
        hexadecimal.
        """
        return json.dumps(
            asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_hexadecimal
        ).encode()

    @property
    def hash(self) -> bytes:
        """SHA-256 of the encoding, 32 bytes: stands in the group context."""
        return hashlib.sha256(_LABEL + self.encode()).digest()

    @property
    def rules(self) -> Rules:
        """What the fold needs of this charter."""
        bodies: dict[str, Party | Intermediary] = {**self.parties, **self.intermediaries}
        return Rules(
            charter=self.hash,
            parties={key: party.decides for key, party in self.parties.items()},
            intermediaries=frozenset(self.intermediaries),
            founding=frozenset(
                Named(key, card.role, card.fingerprint) for key, body in bodies.items() for card in body.cards
            ),
            seats=self.seats.party,
            intermediary_seats=self.seats.intermediary,
            devices=self.seats.devices,
            notice=self.retention.notice,
            longest_recess=self.admission.longest_recess,
            recall=self.admission.recall,
            version=self.policy,
        )


def _hexadecimal(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(type(value).__name__)
