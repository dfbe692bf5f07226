"""What the log holds for the fold: procedure events of one device, and commits with whom they seat.

An event counts once: its author's counter rises. It names what it is about by digest, card or credential, never by
position. Who wrote it (the MLS leaf) and when it was received are the caller's to say; both stand in the log.
"""

from dataclasses import dataclass
from enum import StrEnum

from .facts import Subject


@dataclass(frozen=True, slots=True)
class Proposed:
    """A subject is put on the table. Anybody attested may; it is no approval."""

    subject: Subject


@dataclass(frozen=True, slots=True)
class Dropped:
    """The body that put a subject on the table takes it off."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class Approved:
    """The author's seat approves exactly this subject; `confirm` says that home has yet to confirm."""

    digest: bytes
    confirm: bool = False


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The author's seat takes its approval back."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class Objected:
    """The author's seat blocks the subject until it yields."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class Yielded:
    """The author's seat takes its objection back."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class Enacted:
    """A subject that needs no MLS commit takes effect, and is consumed."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A party takes back its consent to somebody who was approved and has not arrived."""

    card: bytes


@dataclass(frozen=True, slots=True)
class Attested:
    """The author's device has attested the device with this credential (deniably: DESIGN 5)."""

    credential: bytes


@dataclass(frozen=True, slots=True)
class Absent:
    """The author's party has not heard of this device for longer than the charter's limit."""

    credential: bytes


@dataclass(frozen=True, slots=True)
class Held:
    """The author's own body, or the person, puts a seat on hold."""

    seat: bytes


@dataclass(frozen=True, slots=True)
class Discarded:
    """A person ends one of their own devices."""

    card: bytes


@dataclass(frozen=True, slots=True)
class Complained:
    """The author cannot process a commit which others can; it may be seated again."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """The author's seat ends; only the author's leaf goes when not every party has attested it."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The author's device has read the log up to the end of the channel: it believes nothing that comes after."""


@dataclass(frozen=True, slots=True)
class Disclosed:
    """Seeds of the author's leaf's keys that sign nothing any more: from now on anybody here could have used them."""

    seeds: tuple[bytes, ...]


Event = (
    Proposed
    | Dropped
    | Approved
    | Withdrawn
    | Objected
    | Yielded
    | Enacted
    | Cancelled
    | Attested
    | Absent
    | Held
    | Discarded
    | Complained
    | Leaving
    | Acknowledged
    | Disclosed
)


class Ground(StrEnum):
    """Why a device may be added."""

    FOUNDING = "founding"  # a card that the charter names
    ADMISSION = "admission"  # a seat that every party approved
    SECOND = "second"  # another device of the committer's own seat
    REPLACEMENT = "replacement"  # another card of the same approved person
    RETURN = "return"  # a card that is expected, away or stranded


@dataclass(frozen=True, slots=True)
class Added:
    """Explains an Add: `card` (32 bytes) of the device with `credential` (16 bytes).

    `digest` names the approved subject where the ground needs one.
    """

    credential: bytes
    card: bytes
    ground: Ground
    digest: bytes = b""


@dataclass(frozen=True, slots=True)
class Commit:
    """What an MLS commit does. `proposals` by their RFC 9420 name; the rest are credentials.

    `charter` is the hash that it puts into the group context (32 bytes), None when it leaves that alone.
    """

    proposals: tuple[str, ...] = ()
    added: tuple[Added, ...] = ()
    removed: tuple[bytes, ...] = ()
    updated: tuple[bytes, ...] = ()
    charter: bytes | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One procedure or handshake entry: `author` is the sender's credential, `counter` of events only."""

    seq: int
    received_at: int
    author: bytes
    content: Event | Commit
    counter: int = 0
