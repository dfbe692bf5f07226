"""What one device owes a round: a table over its stage, the log's round and its own clock. No secret passes here.

1. **Whether its person has an idea is not asked here.** What a device sends, when, and how often follows from the
   round alone; the caller puts ideas into packets, and nothing into the rest.
2. A stage is saved, with what it holds, before anything that it owes is sent; what is owed is the same bytes again.
3. It says `seen` only of a whole list with every packet of its own in it, and gives its share only when all have
   said the same. Else it says that the round has failed, and what was to be said waits for another.
4. Every stage that holds anything ends by a time of the device's own clock, if by nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from . import events
from .facts import LEAST_SEATS, Part, Phase, Round
from .table import WHEN


class Stage(StrEnum):
    """Where a round stands on one device."""

    CALLED = "called"  # it has the exported key and token
    JOINED = "joined"
    SEALED = "sealed"  # its packets are saved: the very same go out, again where the line breaks
    SEEN = "seen"
    SHOWN = "shown"  # from here on somebody may be able to read
    OPENED = "opened"
    BROKEN = "broken"  # it says so, as long as the log has the round
    OVER = "over"


class Held(StrEnum):
    """What a device keeps of a round."""

    KEY = "key and token"
    SECRET = "its one-time secret"  # noqa: S105 -- a word
    PACKETS = "its packets"
    LIST = "the list"


class Duty(StrEnum):
    """What a device does next."""

    JOIN = "joins"
    MAKE_ROOM = "has room made at the service"
    SEAL = "seals its packets"
    SEND = "sends its packets, each on a connection of its own"
    FETCH = "fetches the list, and finds its packets in it"
    SHOW = "gives its share of the key"
    OPEN = "opens the list"
    FAIL = "gives it up"
    ERASE = "erases what it keeps of it"


class Post(StrEnum):
    """What a device says in the log, and says again until the log has it."""

    JOINED = "`joined`"
    SEEN = "`seen`"
    SHOWN = "`shown`"
    FAILED = "`failed`"


_KEY: Final = frozenset({Held.KEY})
HOLDS: Final[Mapping[Stage, frozenset[Held]]] = {
    Stage.CALLED: _KEY,
    Stage.JOINED: _KEY | {Held.SECRET},
    Stage.SEALED: _KEY | {Held.SECRET, Held.PACKETS},
    Stage.SEEN: _KEY | {Held.SECRET, Held.LIST},
    Stage.SHOWN: _KEY | {Held.SECRET, Held.LIST},
    Stage.OPENED: frozenset(),
    Stage.BROKEN: frozenset(),
    Stage.OVER: frozenset(),
}

# Which stage a duty leads to when it is done; a duty that is not here leads nowhere.
STEPS: Final[Mapping[Stage, Mapping[Duty, Stage]]] = {
    # Who did not take part reads when all is there: the list from the service, the shares from the log.
    Stage.CALLED: {Duty.JOIN: Stage.JOINED, Duty.OPEN: Stage.OPENED, Duty.ERASE: Stage.OVER},
    Stage.JOINED: {
        Duty.MAKE_ROOM: Stage.JOINED,
        Duty.SEAL: Stage.SEALED,
        Duty.FAIL: Stage.BROKEN,
        Duty.ERASE: Stage.OVER,
    },
    Stage.SEALED: {
        Duty.MAKE_ROOM: Stage.SEALED,
        Duty.SEND: Stage.SEALED,
        Duty.FETCH: Stage.SEEN,
        Duty.FAIL: Stage.BROKEN,
        Duty.ERASE: Stage.OVER,
    },
    Stage.SEEN: {Duty.SHOW: Stage.SHOWN, Duty.ERASE: Stage.OVER},
    Stage.SHOWN: {Duty.OPEN: Stage.OPENED, Duty.ERASE: Stage.OVER},
    Stage.OPENED: {Duty.ERASE: Stage.OVER},
    Stage.BROKEN: {Duty.ERASE: Stage.OVER},
    Stage.OVER: {},
}

POSTS: Final[Mapping[Stage, Post]] = {
    Stage.JOINED: Post.JOINED,
    Stage.SEEN: Post.SEEN,
    Stage.SHOWN: Post.SHOWN,
    Stage.BROKEN: Post.FAILED,
}
_EVENTS: Final[Mapping[Post, type]] = {
    Post.JOINED: events.Joined,
    Post.SEEN: events.Seen,
    Post.SHOWN: events.Shown,
    Post.FAILED: events.Failed,
}


@dataclass(frozen=True, slots=True)
class Own:
    """A round on this device. `digest`: of the list that it has; `room`: the service has made room, as it said;
    `shown`: its share went out.
    """

    id: bytes
    seat: bytes
    credential: bytes
    ends: int
    stage: Stage = Stage.CALLED
    room: bool = False
    shown: bool = False
    digest: bytes = b""

    @property
    def holds(self) -> frozenset[Held]:
        """What is kept; everything else of the round is erased."""
        return HOLDS[self.stage]

    @property
    def doubtful(self) -> bool:
        """Whether somebody may have read what this device sent, though the round never opened for everybody."""
        return self.shown and self.stage is not Stage.OPENED


def due(own: Own, held: Round | None, now: int) -> Duty | None:
    """What this device does now; the client folds to the head first, then asks until None. `now`: its own clock."""
    if own.stage is Stage.OVER:
        return None
    if held is None or held.id != own.id or now >= own.ends or own.stage is Stage.OPENED:
        return Duty.ERASE
    part = held.parts.get(own.seat)
    mine = part is not None and part.credential == own.credential
    match own.stage:
        case Stage.CALLED:
            if held.phase is Phase.OPEN:
                return Duty.OPEN
            return Duty.JOIN if part is None and held.begins <= now < held.doors else None
        case Stage.JOINED:
            if not mine:  # it came too late, or is still under way
                return Duty.ERASE if now >= held.tick else None
            return _before_the_tick(own, held, now)
        case Stage.SEALED:
            return _sealed(own, held, now)
        case Stage.SEEN:
            return _seen(own, held, part)
        case Stage.SHOWN:
            return Duty.OPEN if held.phase is Phase.OPEN else None
    return None


def owes(own: Own, held: Round | None) -> Post | None:
    """What this device says in the log now. What would be void there is not sent: the caller tries it first."""
    if held is None or held.id != own.id or own.stage not in POSTS:
        return None
    part = held.parts.get(own.seat)
    said = {
        Post.JOINED: part is not None,
        Post.SEEN: part is None or bool(part.digest),
        Post.SHOWN: part is None or bool(part.secret),
        Post.FAILED: False,
    }
    post = POSTS[own.stage]
    # Only entries move the log's time: after the doors it may still say that people gather.
    now = Phase.COLLECTING if held.phase is Phase.GATHERING and post is Post.SEEN else held.phase
    return post if not said[post] and now in WHEN[_EVENTS[post]] else None


def follow(own: Own, duty: Duty) -> Own:
    """The round after a duty was done; unchanged where the table has no such step."""
    stage = STEPS[own.stage].get(duty)
    if stage is None:
        return own
    return replace(own, stage=stage, room=own.room or duty is Duty.MAKE_ROOM, shown=own.shown or duty is Duty.SHOW)


def enough(held: Round) -> bool:
    """Whether so many seats take part that anything is sent at all."""
    return len(held.parts) >= LEAST_SEATS


def _before_the_tick(own: Own, held: Round, now: int) -> Duty | None:
    if not enough(held):
        return Duty.ERASE if now >= held.closes else None
    if now >= held.closes:
        return Duty.FAIL  # it was not there at the tick
    if now >= held.tick:
        return Duty.SEAL
    # Not as the doors close, but later: a clock that is somewhat fast must not count who takes part too early.
    return None if own.room or now < (held.doors + held.tick) // 2 else Duty.MAKE_ROOM


def _sealed(own: Own, held: Round, now: int) -> Duty | None:
    if now >= held.closes:
        return Duty.FETCH
    return Duty.SEND if own.room else Duty.MAKE_ROOM


def _seen(own: Own, held: Round, part: Part | None) -> Duty | None:
    if part is None:
        return None
    return Duty.SHOW if held.phase is Phase.SHOWING and part.digest == own.digest else None
