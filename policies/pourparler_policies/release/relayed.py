"""A case whose signers share no channel: an intermediary carries their round between the channels (DESIGN 6.2).

1. No log is read by all. Each channel has its own paper, its own initials and its own charter; each signer's device
   judges alone, by the tables of `device.py`, and no word of another channel counts in it but what JR2 checks.
2. What crosses is sealed from signer to signer (`Passage.sealed`). The intermediary sees which leg it is and between
   which lines of signature, and what it has yet to carry follows from what the channels hold: it keeps no state, and
   may crash, repeat and be late.
3. A side's consent is its channel's: every party there has initialled the revision by its decision rule, and whoever
   holds the key says that the side is ready. The intermediary proposes times and decides nothing.
4. Nothing of it is an event of the procedure: it ends with the case, and what came to nothing leaves no trace in a log.

Times are Unix seconds. Lines of signature are numbered from 0.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pourparler_policies.errors import Misuse, Void
from pourparler_policies.fold.facts import Device
from pourparler_policies.fold.standing import body_of, satisfied, stands

from . import standing
from .device import Duty, Own, Stage
from .facts import GRACE, Case, Paper, Phase, Signer, State, Text
from .rules import Signatories

MAX_PASSAGE: Final = 36 * 1024  # bytes of one sealed message: what every d of 32 signers and 32 texts takes


class Leg(StrEnum):
    """What crosses, in its order."""

    HELLO = "a key for this round"
    FIRST = "R1"
    SECOND = "R2"
    THIRD = "R3"
    SAME = "the case that was checked"
    MASKS = "every d"
    LOCK = "y and rho"


@dataclass(frozen=True, slots=True)
class Arranged:
    """An intermediary's proposal of times for a text that every side has initialled; the last one counts.

    `here` are the lines of signature that are signed in this channel. `stop_before`: seconds before the hour until
    which a party may stop it; None: nobody may.
    """

    id: bytes  # 16 random bytes, of this proposal
    paper: bytes
    digest: bytes
    here: tuple[int, ...]
    sign_by: int
    deposit_by: int
    stop_before: int | None


@dataclass(frozen=True, slots=True)
class Passage:
    """One message of a round from a line of signature to another; `to` None: to all. At most MAX_PASSAGE bytes.

    The same in the channel where it was written and in those to which it was carried.
    """

    id: bytes
    leg: Leg
    line: int
    to: int | None
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Part:
    """An arrangement as one channel has it, and who stands behind the text there: seat -> party."""

    id: bytes
    paper: bytes
    text: Text
    charter: bytes
    here: tuple[int, ...]
    opens: int
    sign_by: int
    deposit_by: int
    not_before: int
    stop_before: int | None
    seats: Mapping[bytes, str]

    @property
    def ends(self) -> int:
        """From when on it is over, whatever anybody has said."""
        return self.not_before + GRACE


Key = tuple[Leg, int, int | None]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of `LEGS`: when it is sent, and what its reader does with it."""

    when: str
    does: str
    until: str = "the sign deadline"


LEGS: Final[Mapping[Leg, Row]] = {
    Leg.HELLO: Row("the side says that it is ready", "all here: the round has its sid"),
    Leg.FIRST: Row("every key for this round is here", "all here: opens its own commitment"),
    Leg.SECOND: Row("every R1 is here", "all here: pre-signs"),
    Leg.THIRD: Row("every R2 fits", "all here: checks every pre-signature"),
    Leg.SAME: Row("every R3 fits", "all here, and the same case: a person may sign"),
    Leg.MASKS: Row("the desk has shown every d", "completes, or asks its person again", "a day after the hour"),
    Leg.LOCK: Row("the hour has come, and the desk is silent", "completes the note", "a day after the hour"),
}

# A device in one of these stages has no word at the desk that could still take effect: another arrangement may begin.
FREE: Final = frozenset(
    {
        *(Stage.COMMITTED, Stage.REVEALED, Stage.PREPARED, Stage.ASKED),
        *(Stage.BARRED, Stage.LAPSED, Stage.STOPPED, Stage.PUBLISHED, Stage.CLEARED),
    }
)


def arranged(state: State, author: Device, event: Arranged, at: int) -> Part:
    """What an intermediary's proposal, received at `at`, comes to in this channel. Raises Void when it counts for
    nothing here.
    """
    if body_of(state.consent, author) in state.consent.rules.parties or not stands(state.consent, author):
        raise Void("only an attested intermediary arranges what is signed in several channels")
    paper = state.papers.get(event.paper)
    if paper is None or paper.text.digest != event.digest:
        raise Void("this is not the revision on the table")
    if state.rules.signatories is Signatories.NOBODY:
        raise Void("under this charter no joint text is published")
    lines = paper.text.signatories
    if len(event.id) != 16 or not event.here or len(set(event.here)) != len(event.here):
        raise Void("an arrangement has an id, and lines that are signed here")
    if not set(event.here) < set(range(lines)):
        raise Void("some lines of the text are signed here, and some elsewhere")
    part = _timed(state, paper, event, max(at, state.consent.time))
    if reason := stands_behind(state, part):
        raise Void(reason)
    return part


def _timed(state: State, paper: Paper, event: Arranged, now: int) -> Part:
    rules = state.rules
    if not now < event.sign_by <= now + rules.sign_within:
        raise Void("an appointment ends later than now, and stays open no longer than the charter says")
    if not event.sign_by < event.deposit_by <= event.sign_by + rules.deposit_within:
        raise Void("devices complete after the sign deadline, no longer than the charter says")
    hour = paper.text.not_before
    if not event.deposit_by <= hour <= event.deposit_by + rules.absence:
        raise Void("the text's hour is before its signatures could be complete, or too far away")
    if event.stop_before != (rules.stop_until if rules.stop else None):
        raise Void("who may stop a signed text, and until when, is not what the charter says")
    seats = {
        seat: state.consent.seats[seat].body
        for seat, final in paper.initials.items()
        if final and seat in state.consent.seats
    }
    part = Part(
        event.id,
        paper.id,
        paper.text,
        state.consent.rules.charter,
        event.here,
        now,
        event.sign_by,
        event.deposit_by,
        hour,
        event.stop_before,
        seats,
    )
    if part.ends > paper.expires:
        raise Void("the paper would expire before its release is over")
    return part


def stands_behind(state: State, part: Part) -> str:
    """Why this channel does not stand behind the text any more; empty when it does. Asked until the text is frozen."""
    paper = state.papers.get(part.paper)
    if paper is None or paper.text != part.text:
        return "the text was edited, or is off the table"
    if state.consent.rules.charter != part.charter:
        return "the charter has changed since"
    try:
        standing.check_release(state, paper)
    except Void as error:
        return str(error)
    return ""


def check_ready(state: State, part: Part, seat: bytes, now: int) -> None:
    """Raises Misuse unless a device of this seat may say at `now`, by its clock, that its side is ready."""
    if now >= part.sign_by:
        raise Misuse("the time to sign is over")
    if reason := stands_behind(state, part):
        raise Misuse(reason)
    if seat not in part.seats:
        raise Misuse("this seat has not initialled the text (or it was arranged before that)")
    if not satisfied(state.consent, part.seats[seat], [seat]):
        raise Misuse(
            "your party's decision rule asks for more than one person, and only one can sign across channels so far"
        )
    if state.case is not None:
        raise Misuse("there is a signing appointment inside this channel: one at a time")


def counts(state: State, author: Device, part: Part, event: Passage) -> bool:
    """Whether a message is from where it can be: a line signed here from a party, any other from an intermediary."""
    if event.id != part.id or not 0 < len(event.sealed) <= MAX_PASSAGE:
        return False
    lines = range(part.text.signatories)
    if event.line not in lines or event.to == event.line or (event.to is not None and event.to not in lines):
        return False
    if (event.to is None) != (event.leg is Leg.HELLO) or not stands(state.consent, author):
        return False
    return (body_of(state.consent, author) in state.consent.rules.parties) == (event.line in part.here)


def phase(lines: int, own: int, got: Iterable[tuple[Leg, int]]) -> Phase:
    """How far a round has come for the device of line `own`, by the messages of the others that it has."""
    here = frozenset(got)

    def all_of(*legs: Leg) -> bool:
        return all((leg, line) in here for leg in legs for line in range(lines) if line != own)

    if not all_of(Leg.HELLO):
        return Phase.APPOINTED
    if not all_of(Leg.FIRST):
        return Phase.COMMITTING
    if not all_of(Leg.SECOND):
        return Phase.REVEALING
    return Phase.FROZEN if all_of(Leg.THIRD, Leg.SAME) else Phase.PREPARING


def sends(own: Own, owed: frozenset[Duty], *, checked: bool) -> tuple[Leg, ...]:
    """What a device sends to each other line in its stage; once is enough, since a channel keeps it to the end.

    `owed` as `device.owed` has it; `checked`: every R3 is here, and fits.
    """
    legs = {
        Duty.FIRST: (Leg.FIRST,),
        Duty.SECOND: (Leg.SECOND,),
        Duty.THIRD: (Leg.THIRD, Leg.SAME) if checked else (Leg.THIRD,),
        Duty.RELAY: (Leg.MASKS,),
        Duty.UNLOCK: (Leg.LOCK,),
    }
    found = tuple(leg for duty in Duty if duty in owed for leg in legs.get(duty, ()))
    return (Leg.SAME, *found) if own.stage is Stage.ASKED else found


def case_of(part: Part, seat: bytes, line: int, nonce: bytes, reached: Phase, *, passed: bool = False) -> Case:
    """The case as `device.py` reads one from a log. Its signers are this side's: who initialled the text here.

    `passed`: this channel holds every d, for the others, from this device; before that it gives its y to nobody.
    """
    signers = {
        one: Signer(party, line if one == seat else None, b"", complete=passed and one == seat)
        for one, party in part.seats.items()
    }
    stop_by = part.not_before - part.stop_before if part.stop_before is not None else 0
    return Case(
        part.paper,
        part.text,
        part.charter,
        part.opens,
        part.sign_by,
        part.deposit_by,
        part.not_before,
        max(stop_by, 0),
        reached,
        nonce,
        signers=signers,
    )


@dataclass(frozen=True, slots=True)
class Side:
    """One channel as the intermediary sees it: the lines signed there, and the messages it holds."""

    here: frozenset[int]
    holds: frozenset[Key]


def carries(sides: Sequence[Side]) -> list[tuple[int, int, Key]]:
    """What the intermediary has yet to carry: (from which side, to which side, what), in the order of the legs.

    A line's messages are taken from its own channel only. So what a side says in another's name goes nowhere.
    """
    order = {leg: number for number, leg in enumerate(Leg)}
    found = []
    for source, side in enumerate(sides):
        for key in side.holds:
            if key[1] not in side.here:
                continue
            for target, other in enumerate(sides):
                wanted = key[2] is None or key[2] in other.here
                if target != source and wanted and key not in other.holds:
                    found.append((source, target, key))
    return sorted(found, key=lambda one: (order[one[2][0]], one[0], one[1], one[2][1], one[2][2] or 0))
