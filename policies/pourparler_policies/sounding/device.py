"""A sounding on one device: what it holds, what it owes, when it erases. A table, and no secret passes here.

1. A stage is saved, with the secrets that it holds, before anything that it owes is sent.
2. **Nothing here depends on what the person said**: the stages, what is owed and when are the same for an acceptance,
   a refusal and no word at all. There is no stage "accepted".
3. A device hands in at a moment that it drew when the question was registered, or at its first visit after that.
4. Every stage that holds anything ends by a time of the device's own clock.
5. A device that could not hand in says so by itself, whatever it had.

What a device that does not answer (an intermediary's, a second delegate's) waits for is the result.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from pourparler_policies.fold.decoding import decode

from .facts import Phase, Sounding

MAX_OWN: Final = 1024  # bytes of an encoded `Own`


class Stage(StrEnum):
    """Where a sounding stands on one device."""

    TAKING = "taking"
    OPENED = "opened"
    READY = "ready"  # registered; the person may answer, or not
    HANDED = "handed in"
    WATCHING = "watching"  # another device answers for this party, or this one is no party's
    MISSED = "missed"  # it could not hand in
    DONE = "done"
    BARRED = "barred"  # it was shown something that does not fit
    OVER = "over"


class Duty(StrEnum):
    """What a device does by itself until its stage changes."""

    TAKE = "its place, to the channel"
    OPEN = "its opening, to the channel"
    BRING = "the tally, to the service"
    HAND_IN = "what it holds, to the service, when its moment has come"
    ASK = "asks the service, when the time to hand in is over"
    TELL = "that it could not hand in, to the channel"


class Cue(StrEnum):
    """What moves a sounding on one device."""

    ALL_COMMITTED = "log: every commitment"
    REGISTERED = "log: every opening or place, sound"
    UNSOUND = "log: something that does not fit"
    PASSED = "log: another device of this party was first"
    HANDED = "service: it has what this device handed in, and is still open"
    COUNTED = "service or log: the result"
    LOST = "service: knows no such tally, after its close"
    TOLD = "log: holds that this device missed it"
    LAPSED = "log or time: it could not begin"
    AWAY = "time: this device was away while its dealt place could be taken"
    OVER = "log or time: it is over, or was taken back"


HOLDS: Final[frozenset[Stage]] = frozenset({Stage.TAKING, Stage.OPENED, Stage.READY})
OWES: Final[Mapping[Stage, frozenset[Duty]]] = {
    Stage.TAKING: frozenset({Duty.TAKE}),
    Stage.OPENED: frozenset({Duty.OPEN}),
    Stage.READY: frozenset({Duty.BRING, Duty.HAND_IN, Duty.ASK}),
    Stage.HANDED: frozenset({Duty.ASK}),
    Stage.WATCHING: frozenset({Duty.ASK}),
    Stage.MISSED: frozenset({Duty.TELL, Duty.ASK}),
    Stage.DONE: frozenset(),
    Stage.BARRED: frozenset(),
    Stage.OVER: frozenset(),
}
_ENDS: Final[Mapping[Cue, Stage]] = {Cue.LAPSED: Stage.BARRED, Cue.OVER: Stage.OVER}
STEPS: Final[Mapping[Stage, Mapping[Cue, Stage]]] = {
    Stage.TAKING: {
        Cue.ALL_COMMITTED: Stage.OPENED,
        Cue.REGISTERED: Stage.READY,
        Cue.PASSED: Stage.WATCHING,
        Cue.UNSOUND: Stage.BARRED,
        Cue.AWAY: Stage.MISSED,
        **_ENDS,
    },
    Stage.OPENED: {Cue.REGISTERED: Stage.READY, Cue.UNSOUND: Stage.BARRED, **_ENDS},
    Stage.READY: {
        Cue.HANDED: Stage.HANDED,
        Cue.COUNTED: Stage.MISSED,
        Cue.LOST: Stage.MISSED,
        Cue.OVER: Stage.OVER,
    },
    Stage.HANDED: {Cue.COUNTED: Stage.DONE, Cue.LOST: Stage.MISSED, Cue.OVER: Stage.OVER},
    Stage.WATCHING: {Cue.COUNTED: Stage.DONE, Cue.LOST: Stage.BARRED, **_ENDS},
    Stage.MISSED: {Cue.TOLD: Stage.DONE, Cue.OVER: Stage.OVER},
    Stage.DONE: {Cue.OVER: Stage.OVER},
    Stage.BARRED: {Cue.OVER: Stage.OVER},
    Stage.OVER: {},
}


@dataclass(frozen=True, slots=True)
class Own:
    """A sounding on this device. `moment` is when it hands in (Unix seconds)."""

    id: bytes
    answer_by: int
    closes: int
    ends: int
    moment: int
    stage: Stage
    dealt: bool
    brought: bool = False  # whether the service has the tally from this device

    @property
    def holds(self) -> bool:
        """Whether anything secret of it is kept; else all of it is erased."""
        return self.stage in HOLDS

    @property
    def owes(self) -> frozenset[Duty]:
        """What is owed."""
        return OWES[self.stage]


def joined(live: Sounding, moment: int, *, takes: bool) -> Own:
    """A device that sees a question for the first time. `moment` lies between `answer_by` and `closes`."""
    stage = Stage.TAKING if takes else Stage.WATCHING
    return Own(live.id, live.answer_by, live.closes, live.ends, moment, stage, live.dealt)


def follow(own: Own, cue: Cue) -> Own:
    """The sounding after something happened; unchanged when that comes late or again."""
    stage = STEPS[own.stage].get(cue)
    return own if stage is None else replace(own, stage=stage)


def watch(own: Own, live: Sounding | None, party: str, credential: bytes) -> Cue | None:
    """What the folded log says to this device."""
    if live is None or live.id != own.id:
        return _if_new(own, Cue.OVER)
    taker = live.takers.get(party)
    if live.phase is Phase.LAPSED:
        return _if_new(own, Cue.LAPSED)
    if own.stage is Stage.TAKING and taker is not None and taker.credential != credential:
        return Cue.PASSED
    mine = taker is not None and taker.credential == credential
    if own.stage is Stage.TAKING and mine and live.phase is Phase.OPENING:
        return Cue.ALL_COMMITTED
    begun = live.phase in (Phase.ASKING, Phase.COLLECTING, Phase.CLOSED)
    if mine and begun and own.stage is (Stage.TAKING if live.dealt else Stage.OPENED):
        return Cue.REGISTERED
    if own.stage is Stage.MISSED and live.missed:
        return Cue.TOLD
    return None


def due(own: Own, now: int) -> Cue | None:
    """What the device's own clock says: it erases, and never judges."""
    if now >= own.ends:
        return _if_new(own, Cue.OVER)
    if now >= own.answer_by and own.stage in (Stage.TAKING, Stage.OPENED):
        return Cue.AWAY if own.dealt else Cue.LAPSED
    return None


def decode_own(data: bytes) -> Own:
    """What `fold.encoding.encode` wrote. Raises Void or Unknown."""
    own: Any = decode(Own, data, MAX_OWN)
    made: Own = own
    return made


def _if_new(own: Own, cue: Cue) -> Cue | None:
    return cue if cue in STEPS[own.stage] else None
