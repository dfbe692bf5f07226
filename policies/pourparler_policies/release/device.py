"""A case on one signer's device: what it holds, what it owes, when it erases. A table, and no secret passes here.

1. A stage is saved, with the secrets it holds, before anything that it owes is sent. So a crash loses nothing, and
   what is owed is sent again, the same bytes, until the stage changes.
2. What a stage does not hold is erased in the same transaction that enters it.
3. Only a person's act leads to SIGNED. After "lapsed", or when something has changed, only a second one leads on.
4. Whoever withdraws erases its lock at once: without its y no signature of anybody can ever exist.
5. Every stage that holds anything ends by a time of the device's own clock, if by nothing else.
6. y is given to nobody before the log holds that its owner saw every d (`owed`).
7. From outside, a device that withdrew, one that never signed and one that waits in vain do the same.

The caller checks with cryptography what it passes in: `sound` (every message so far passes JR2's checks, and the
text is the one that the person initialled), `opened` (a list of every d that fits). DESIGN 6.2; findings 18, 29.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from pourparler_policies.errors import Misuse

from . import standing
from .facts import GRACE, Answer, Case, Phase, State
from .table import UNFROZEN


class Stage(StrEnum):
    """Where a case stands on one device."""

    COMMITTED = "committed"
    REVEALED = "revealed"
    PREPARED = "prepared"
    ASKED = "asked"  # the person may sign
    SIGNED = "signed"
    WITHDRAWN = "withdrawn"
    COMPLETE = "complete"  # every party has signed; what is left needs no person
    AGAIN = "asked again"
    WAITING = "waiting"  # told "lapsed"; it may yet turn out complete
    STOPPING = "stopping"
    UNLOCKED = "unlocked"  # the desk was silent at the hour
    TOO_LATE = "too late"  # withdrew when all had signed: nothing can come of it without this lock
    BARRED = "barred"  # takes no further part, waits for the end
    LAPSED = "lapsed"
    STOPPED = "stopped"
    PUBLISHED = "published"
    CLEARED = "cleared"


class Secret(StrEnum):
    """What a device keeps of a case. r is in none: it is erased before R3 is saved."""

    LOCK = "y and rho"
    MASK = "d"
    MASKS = "every d"


class Duty(StrEnum):
    """What a device sends, and goes on sending until its stage changes."""

    FIRST = "R1 to the channel"
    SECOND = "R2 to the channel"
    THIRD = "R3 to the channel"
    SIGN = "d to the desk"
    WITHDRAW = "a withdrawal, under d, to the desk"
    RELAY = "every d, and that it saw them, to the channel"
    DEPOSIT = "y and rho to the desk"
    STOP = "a stop, under y, to the desk"
    UNLOCK = "y and rho to the channel"
    TELL = "the desk's answer to the channel"


class Cue(StrEnum):
    """What moves a case on one device."""

    ALL_FIRST = "log: every R1, sound"
    ALL_SECOND = "log: every R2, sound"
    FROZEN = "log: every R3, sound"
    UNSOUND = "log: a message that does not fit"
    VOIDED = "log: the round is void, or the case over"
    COMPLETE = "desk or log: every d"
    COMPLETE_UNSETTLED = "desk or log: every d, but something changed since"
    LAPSED = "desk: lapsed"
    STOPPED = "desk: stopped"
    PUBLISHED = "desk or log: the note, verified"
    SIGN = "person: signs"
    WITHDRAW = "person: withdraws"
    AGREE = "person: yes again"
    REFUSE = "person: no"
    STOP = "person: stops"
    SILENT = "time: the hour, and no answer"
    GRACE = 'time: a day after "lapsed"'
    LATE = "time: a day after the sign deadline"
    OVER = "time: a day after the hour"


PERSONAL: Final = frozenset({Cue.SIGN, Cue.WITHDRAW, Cue.AGREE, Cue.REFUSE, Cue.STOP})
_NOTHING: Final[frozenset[Secret]] = frozenset()
_LOCK: Final = frozenset({Secret.LOCK})

HOLDS: Final[Mapping[Stage, frozenset[Secret]]] = {
    Stage.COMMITTED: _LOCK,
    Stage.REVEALED: _LOCK,
    Stage.PREPARED: _LOCK | {Secret.MASK},
    Stage.ASKED: _LOCK | {Secret.MASK},
    Stage.SIGNED: _LOCK | {Secret.MASK},
    Stage.WITHDRAWN: frozenset({Secret.MASK}),
    Stage.COMPLETE: _LOCK | {Secret.MASKS},
    Stage.AGAIN: _LOCK | {Secret.MASKS},
    Stage.WAITING: _LOCK | {Secret.MASK},  # by its own d it knows a list of every d
    Stage.STOPPING: _LOCK | {Secret.MASKS},
    Stage.UNLOCKED: _LOCK | {Secret.MASKS},
    Stage.TOO_LATE: frozenset({Secret.MASKS}),
    Stage.BARRED: _NOTHING,
    Stage.LAPSED: _NOTHING,
    Stage.STOPPED: _NOTHING,
    Stage.PUBLISHED: _NOTHING,
    Stage.CLEARED: _NOTHING,
}

OWES: Final[Mapping[Stage, frozenset[Duty]]] = {
    Stage.COMMITTED: frozenset({Duty.FIRST}),
    Stage.REVEALED: frozenset({Duty.SECOND}),
    Stage.PREPARED: frozenset({Duty.THIRD}),
    Stage.ASKED: frozenset(),
    Stage.SIGNED: frozenset({Duty.SIGN}),
    Stage.WITHDRAWN: frozenset({Duty.WITHDRAW}),
    Stage.COMPLETE: frozenset({Duty.RELAY, Duty.DEPOSIT}),
    Stage.AGAIN: frozenset({Duty.RELAY}),
    Stage.WAITING: frozenset({Duty.TELL}),
    Stage.STOPPING: frozenset({Duty.RELAY, Duty.STOP}),
    Stage.UNLOCKED: frozenset({Duty.RELAY, Duty.DEPOSIT, Duty.UNLOCK}),
    Stage.TOO_LATE: frozenset({Duty.RELAY}),
    Stage.BARRED: frozenset(),
    Stage.LAPSED: frozenset({Duty.TELL}),
    Stage.STOPPED: frozenset({Duty.TELL}),
    Stage.PUBLISHED: frozenset({Duty.TELL}),
    Stage.CLEARED: frozenset(),
}

_GIVES_Y: Final = frozenset({Duty.DEPOSIT, Duty.STOP, Duty.UNLOCK})

_ENDS: Final[Mapping[Cue, Stage]] = {Cue.VOIDED: Stage.CLEARED, Cue.OVER: Stage.CLEARED}
_DESK: Final[Mapping[Cue, Stage]] = {Cue.LAPSED: Stage.LAPSED, Cue.STOPPED: Stage.STOPPED, **_ENDS}
_ROUND: Final[Mapping[Cue, Stage]] = {
    Cue.UNSOUND: Stage.BARRED,
    Cue.WITHDRAW: Stage.BARRED,
    Cue.LATE: Stage.CLEARED,
    **_ENDS,
}

STEPS: Final[Mapping[Stage, Mapping[Cue, Stage]]] = {
    Stage.COMMITTED: {Cue.ALL_FIRST: Stage.REVEALED, **_ROUND},
    Stage.REVEALED: {Cue.ALL_SECOND: Stage.PREPARED, **_ROUND},
    Stage.PREPARED: {Cue.FROZEN: Stage.ASKED, **_ROUND},
    Stage.ASKED: {Cue.SIGN: Stage.SIGNED, Cue.WITHDRAW: Stage.BARRED, Cue.LATE: Stage.BARRED, **_DESK},
    Stage.SIGNED: {
        Cue.COMPLETE: Stage.COMPLETE,
        Cue.COMPLETE_UNSETTLED: Stage.AGAIN,
        Cue.WITHDRAW: Stage.WITHDRAWN,
        **_DESK,
        Cue.LAPSED: Stage.WAITING,
    },
    Stage.WITHDRAWN: {Cue.COMPLETE: Stage.TOO_LATE, Cue.COMPLETE_UNSETTLED: Stage.TOO_LATE, **_DESK},
    Stage.COMPLETE: {
        Cue.SILENT: Stage.UNLOCKED,
        Cue.STOP: Stage.STOPPING,
        Cue.PUBLISHED: Stage.PUBLISHED,
        **_DESK,
    },
    # "Lapsed" led here, or may come late: only the person's word or time leads on.
    Stage.AGAIN: {
        Cue.AGREE: Stage.COMPLETE,
        Cue.REFUSE: Stage.TOO_LATE,
        Cue.WITHDRAW: Stage.TOO_LATE,
        Cue.STOPPED: Stage.STOPPED,
        Cue.GRACE: Stage.LAPSED,
        **_ENDS,
    },
    Stage.WAITING: {
        Cue.COMPLETE: Stage.AGAIN,
        Cue.COMPLETE_UNSETTLED: Stage.AGAIN,
        Cue.WITHDRAW: Stage.LAPSED,
        Cue.GRACE: Stage.LAPSED,
        **_ENDS,
    },
    Stage.STOPPING: {Cue.PUBLISHED: Stage.PUBLISHED, **_DESK},
    Stage.UNLOCKED: {Cue.PUBLISHED: Stage.PUBLISHED, **_DESK},
    Stage.TOO_LATE: _DESK,
    Stage.BARRED: _DESK,
    Stage.LAPSED: _ENDS,
    Stage.STOPPED: _ENDS,
    Stage.PUBLISHED: _ENDS,
    Stage.CLEARED: {},
}

_ROUNDS: Final = frozenset({Stage.COMMITTED, Stage.REVEALED, Stage.PREPARED})
_UNFINISHED: Final = frozenset(
    {Stage.SIGNED, Stage.WITHDRAWN, Stage.COMPLETE, Stage.AGAIN, Stage.STOPPING, Stage.UNLOCKED}
)
_ANSWERS: Final[Mapping[Stage, Answer]] = {
    Stage.WAITING: Answer.LAPSED,
    Stage.LAPSED: Answer.LAPSED,
    Stage.STOPPED: Answer.STOPPED,
    Stage.PUBLISHED: Answer.PUBLISHED,
}


@dataclass(frozen=True, slots=True)
class Own:
    """A case on this device. Times are Unix seconds; `told` is when it heard "lapsed" by its own clock."""

    seat: bytes
    text: bytes
    nonce: bytes
    sign_by: int
    not_before: int
    ends: int
    stop_by: int
    stage: Stage = Stage.COMMITTED
    told: int = 0

    @property
    def holds(self) -> frozenset[Secret]:
        """What is kept; everything else of the case is erased."""
        return HOLDS[self.stage]

    @property
    def owes(self) -> frozenset[Duty]:
        """What is sent until the stage changes."""
        return OWES[self.stage]

    @property
    def answer(self) -> Answer | None:
        """What `Duty.TELL` tells."""
        return _ANSWERS.get(self.stage)

    @property
    def unfinished(self) -> bool:
        """Whether clearing this device now could leave others with a release that cannot complete, or this person
        with a signature that they cannot take back.
        """
        return self.stage in _UNFINISHED


def joined(case: Case, seat: bytes, nonce: bytes) -> Own:
    """A device that commits to a round. What it kept of an earlier case is erased first: one case, one lock."""
    return Own(seat, case.text.digest, nonce, case.sign_by, case.not_before, case.ends, case.stop_by)


def follow(own: Own, cue: Cue, now: int) -> Own:
    """The case after something happened; unchanged when that comes late or again. `now` by the device's clock."""
    stage = STEPS[own.stage].get(cue)
    if stage is None:
        return own
    return replace(own, stage=stage, told=now if stage is Stage.WAITING else own.told)


def act(own: Own, cue: Cue, state: State, now: int) -> Own:
    """The case after a person's act. Raises Misuse with the reason why they cannot do this now."""
    if cue not in PERSONAL or cue not in STEPS[own.stage]:
        raise Misuse(f"this cannot be done now: for this device the release is {own.stage}")
    if cue is Cue.SIGN:
        if now >= own.sign_by:
            raise Misuse("the time to sign is over")
        if _part(own, state.case) is None:
            raise Misuse("the round is void, or the case over")
        if reason := standing.unsettled(state):
            raise Misuse(f"nobody should sign now: {reason}")
    if cue is Cue.AGREE:
        case = _part(own, state.case)
        if case is None or case.signers[own.seat].answer is not None:
            raise Misuse("the channel takes this case for lapsed until it has seen every d: wait for that")
    if cue is Cue.STOP and now >= own.stop_by:
        raise Misuse("under this charter it can no longer be stopped")
    return follow(own, cue, now)


def watch(own: Own, state: State, *, sound: bool, opened: bool) -> Cue | None:
    """What the folded log says to this device. The client folds to the head first, then asks until None."""
    case = _part(own, state.case)
    if case is None:
        return None if _unposted(own, state.case) else _if_new(own, Cue.VOIDED)
    if not sound and own.stage in _ROUNDS:
        return Cue.UNSOUND
    if opened and case.phase is Phase.FROZEN:
        return _if_new(own, Cue.COMPLETE_UNSETTLED if standing.unsettled(state) else Cue.COMPLETE)
    due_from, cue = _NEXT.get(own.stage, (Phase.APPOINTED, None))
    return cue if _ORDER[case.phase] >= _ORDER[due_from] else None


def owed(own: Own, state: State) -> frozenset[Duty]:
    """What is sent now. y goes nowhere before the log holds that this device saw every d: so where nobody has said so
    by the deposit deadline, everybody's y is where it was, and the case is over without anybody's answer.
    """
    case = _part(own, state.case)
    told = case is not None and case.signers[own.seat].complete
    return own.owes if told else own.owes - _GIVES_Y


def heard(answer: Answer, state: State) -> Cue | None:
    """What the desk's answer says to this device. The caller checks every d of "complete", and verifies a note."""
    match answer:
        case Answer.COMPLETE:
            return Cue.COMPLETE_UNSETTLED if standing.unsettled(state) else Cue.COMPLETE
        case Answer.LAPSED:
            return Cue.LAPSED
        case Answer.STOPPED:
            return Cue.STOPPED
        case Answer.PUBLISHED:
            return Cue.PUBLISHED
    return None


def due(own: Own, now: int, logged: int) -> Cue | None:
    """What time says. The device's own clock (`now`) hides and erases. That the hour has come, the log has to say
    too (`logged`, the state's time): a clock that is fast must not give a lock away.
    """
    steps = STEPS[own.stage]
    moments = (
        (Cue.OVER, own.ends),
        (Cue.LATE, own.sign_by + GRACE),
        (Cue.GRACE, (own.told or own.ends) + GRACE),
    )
    if Cue.SILENT in steps and own.not_before <= min(now, logged) and now < own.ends:
        return Cue.SILENT
    return next((cue for cue, moment in moments if cue in steps and now >= moment), None)


def _if_new(own: Own, cue: Cue) -> Cue | None:
    return cue if cue in STEPS[own.stage] else None


def _same(own: Own, case: Case) -> bool:
    return (own.text, own.sign_by, own.not_before) == (case.text.digest, case.sign_by, case.not_before)


def _part(own: Own, case: Case | None) -> Case | None:
    """The log's case, if it is this one and counts on this device."""
    if case is None or not _same(own, case) or case.nonce != own.nonce or own.seat not in case.signers:
        return None
    return case


def _unposted(own: Own, case: Case | None) -> bool:
    """Whether this device's R1 is still to come in the log, and could count there."""
    if own.stage is not Stage.COMMITTED or case is None or not _same(own, case):
        return False
    joins = case.nonce == own.nonce and case.phase is Phase.COMMITTING
    return joins or (case.phase in UNFROZEN and own.nonce not in case.spent)


_ORDER: Final[Mapping[Phase, int]] = {phase: order for order, phase in enumerate(Phase)}
_NEXT: Final[Mapping[Stage, tuple[Phase, Cue]]] = {
    Stage.COMMITTED: (Phase.REVEALING, Cue.ALL_FIRST),
    Stage.REVEALED: (Phase.PREPARING, Cue.ALL_SECOND),
    Stage.PREPARED: (Phase.FROZEN, Cue.FROZEN),
}
