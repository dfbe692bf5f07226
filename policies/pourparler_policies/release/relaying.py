"""Two sides in channels of their own, and who carries between them: every course from an arrangement to its end.

1. The code is real: `relayed` for what is sent, carried and awaited, `device` and `desk` for the rest, a log a side.
2. What crosses is one of three things: what the other device sent (`REAL`), what fits nothing (`BAD`: altered,
   replayed, cut, of another text), or a message of a round that the carrier itself began with this side by exchanging
   the keys (`FAKE`). It has no release key: a false side can do anything but sign.
3. An honest carrier may be late, crash, repeat and never come again; a `hostile` one posts what it likes when it likes.
4. A device may be lost at any time; persons do whatever their device lets them; the text may be edited on one side.
"""
# ruff: noqa: S101, D103 -- a kit for tests: its promises are assertions, and their names their sentences

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from pourparler_policies.errors import Misuse
from pourparler_policies.limits import DAY

from . import desk, device, events, relayed
from .desk import Held
from .device import Cue, Duty, Own, Stage
from .exploring import Walked, walk
from .facts import Answer, Phase, State
from .relayed import Arranged, Key, Leg, Part, Side
from .signing import put
from .testing import PAPER, Talks, nonce, revision, talks

REAL, BAD, FAKE = "real", "bad", "fake"
Posts = Mapping[Key, str]  # what a channel holds, and what it is; the first of a key counts


@dataclass(frozen=True, slots=True)
class End:
    """One side: its log, its device, and what its channel holds."""

    state: State
    posts: Posts = field(default_factory=dict)
    own: Own | None = None
    ready: bool = False
    will: bool = False
    sent: frozenset[Duty] = frozenset()  # to the desk
    lost: bool = False

    @property
    def holds(self) -> frozenset[Key]:
        """What the intermediary finds in this channel."""
        return frozenset(self.posts)

    def kind(self, leg: Leg, line: int) -> str:
        """What a message of another line is, empty when there is none."""
        return self.posts.get((leg, line, None if leg is Leg.HELLO else 1 - line), "")

    def posted(self, key: Key, kind: str) -> "End":
        """The channel with one more message; the first of its key counts."""
        return self if key in self.posts else replace(self, posts={**self.posts, key: kind})


@dataclass(frozen=True, slots=True)
class World:
    """Where everything stands. `desks`: the case of each side; both are `desks[0]` when they have the same."""

    moment: int
    ends: tuple[End, ...]
    desks: tuple[Held, ...]
    shown: tuple[frozenset[Answer], ...] = (frozenset(), frozenset())

    def kind(self, side: int, leg: Leg) -> str:
        """What this side has of the other's `leg`, and whether it fits: REAL or FAKE, BAD, or nothing."""
        kind, session = self.ends[side].kind(leg, 1 - side), self.ends[side].kind(Leg.HELLO, 1 - side)
        if not kind or leg is Leg.HELLO:
            return kind
        if session == REAL and kind == REAL:
            # The other device had another key of this side's, and so another sid.
            return REAL if self.ends[1 - side].kind(Leg.HELLO, side) == REAL else BAD
        return FAKE if session == kind == FAKE and leg not in (Leg.MASKS, Leg.LOCK) else BAD

    @property
    def one_round(self) -> bool:
        """Whether the two devices are in one round with each other."""
        return all(end.kind(Leg.HELLO, 1 - side) == REAL for side, end in enumerate(self.ends))

    def case(self, side: int) -> int:
        """Which case at the desk is this side's."""
        return 0 if self.one_round else side


@dataclass(slots=True)
class Cast:
    """Who carries, and what may go wrong."""

    hostile: bool = False
    edits: bool = False
    losses: bool = False
    talks: tuple[Talks, Talks] = field(init=False)
    parts: tuple[Part, Part] = field(init=False)
    edited: tuple[State, State] = field(init=False)
    times: tuple[int, ...] = field(init=False)
    seats: tuple[bytes, bytes] = field(init=False)
    start: World = field(init=False)
    known: dict[object, State] = field(default_factory=dict)  # only quicker, never different

    def __post_init__(self) -> None:
        self.talks = (_side(), _side())
        first = self.talks[0]
        sign_by = first.now + DAY
        times = (first.now, sign_by, sign_by + DAY, first.now + 3 * DAY)
        self.times = (*times, times[3] + DAY, times[3] + 2 * DAY)
        self.parts = (self._arranged(0), self._arranged(1))
        self.seats = (first.seat("a1"), self.talks[1].seat("a1"))
        self.edited = (_edited(self.talks[0]), _edited(self.talks[1]))
        part = self.parts[0]
        fresh = desk.opened(2, part.sign_by, part.deposit_by, part.not_before, part.not_before, self.times[0])
        self.start = World(0, (End(self.talks[0].state), End(self.talks[1].state)), (fresh, fresh))

    def _arranged(self, side: int) -> Part:
        log, stop = self.talks[side], self.talks[side].state.rules.stop_until
        proposal = Arranged(b"i" * 16, PAPER, log.text.digest, (side,), self.times[1], self.times[2], stop)
        return relayed.arranged(log.state, log.device("m1"), proposal, log.now)


def _side() -> Talks:
    """A channel with one side, in which two parties decide, and an intermediary who puts the text on the table."""
    log = talks(2, intermediary=True)
    text = revision("We met.", 2, not_before=log.now + 3 * DAY)
    log.post("m1", events.Drafted(PAPER, text, 90 * DAY))
    log.initial("a1", "b1")
    return log


def _edited(log: Talks) -> State:
    before, current = log.state, log.text
    log.post(
        "m1", events.Revised(PAPER, current.digest, revision("We met again.", 2, not_before=current.not_before))
    )
    after, log.state = log.state, before
    return after


def following(cast: Cast, world: World) -> Iterator[tuple[str, World]]:
    """Every world one step further, with what happened."""
    if world.moment + 1 < len(cast.times):
        now = cast.times[world.moment + 1]
        desks = (desk.tick(world.desks[0], now), desk.tick(world.desks[1], now))
        yield "time", _shows(replace(world, moment=world.moment + 1, desks=desks))
    for _, target, key in relayed.carries(sides(cast, world)):
        yield f"carries {key[0]} to {target}", _put(world, target, world.ends[target].posted(key, REAL))
    if cast.hostile:
        yield from _hostile(world)
    for side in (0, 1):
        yield from _people(cast, world, side)
        yield from _device(cast, world, side)
        yield from _desk(cast, world, side)


def sides(cast: Cast, world: World) -> list[Side]:
    """As the intermediary sees the channels."""
    return [Side(frozenset(part.here), end.holds) for part, end in zip(cast.parts, world.ends, strict=True)]


def _put(world: World, side: int, end: End) -> World:
    return replace(world, ends=put(world.ends, side, end))


def _shows(world: World) -> World:
    shown = tuple(
        seen if held.answer is Answer.OPEN else seen | {held.answer}
        for seen, held in zip(world.shown, world.desks, strict=True)
    )
    return replace(world, shown=shown)


def _hostile(world: World) -> Iterator[tuple[str, World]]:
    for side, end in enumerate(world.ends):
        for leg in Leg:
            key: Key = (leg, 1 - side, None if leg is Leg.HELLO else side)
            if key not in end.posts:
                for kind in (BAD, FAKE):
                    yield f"gives {side} a {kind} {leg}", _put(world, side, end.posted(key, kind))
                break  # what would come later is refused or unread anyhow


def _people(cast: Cast, world: World, side: int) -> Iterator[tuple[str, World]]:
    end, part, now = world.ends[side], cast.parts[side], cast.times[world.moment]
    if cast.losses and not end.lost and (end.own is not None or end.ready):
        yield f"{side} loses everything", _put(world, side, replace(end, own=None, ready=False, lost=True))
    if cast.edits and end.state is cast.talks[side].state:
        yield f"the text is edited with {side}", _put(world, side, replace(end, state=cast.edited[side]))
    if end.own is None:
        if not end.ready and not end.lost:
            try:
                relayed.check_ready(end.state, part, cast.seats[side], now)
            except Misuse:
                return
            yield (
                f"{side} is ready",
                _put(world, side, replace(end, ready=True).posted((Leg.HELLO, side, None), REAL)),
            )
        return
    for act in (Cue.SIGN, Cue.WITHDRAW, Cue.AGREE, Cue.REFUSE):
        try:
            after = device.act(end.own, act, seen(cast, world, side), now)
        except Misuse:
            continue
        yield f"{side}: {act}", _become(cast, world, side, after, act)


def seen(cast: Cast, world: World, side: int) -> State:
    """The log with the case as this device makes it of what it has."""
    end = world.ends[side]
    if end.own is None:
        return end.state
    reached = relayed.phase(2, side, [(leg, line) for leg, line, _ in end.posts if line != side])
    passed = (Leg.MASKS, side, 1 - side) in end.posts
    memo = (side, id(end.state), end.own.stage in _ROUNDS, reached, end.own.nonce, passed)
    if memo not in cast.known:
        cast.known[memo] = _seen(cast, end.state, end.own, side, reached, passed)
    return cast.known[memo]


def _seen(cast: Cast, state: State, own: Own, side: int, reached: Phase, passed: bool) -> State:
    if own.stage in _ROUNDS and relayed.stands_behind(state, cast.parts[side]):
        return state
    case = relayed.case_of(cast.parts[side], cast.seats[side], side, own.nonce, reached, passed=passed)
    return replace(state, case=case)


_ROUNDS = frozenset({Stage.COMMITTED, Stage.REVEALED, Stage.PREPARED})
_AWAITED = {
    Stage.COMMITTED: (Leg.FIRST,),
    Stage.REVEALED: (Leg.FIRST, Leg.SECOND),
    Stage.PREPARED: (Leg.FIRST, Leg.SECOND, Leg.THIRD, Leg.SAME),
}


def _sound(world: World, side: int, stage: Stage) -> bool:
    return all(world.kind(side, leg) != BAD for leg in _AWAITED.get(stage, ()))


def _device(cast: Cast, world: World, side: int) -> Iterator[tuple[str, World]]:
    end, now = world.ends[side], cast.times[world.moment]
    if end.own is None:
        if end.ready and end.kind(Leg.HELLO, 1 - side) in (REAL, FAKE) and end.state is cast.talks[side].state:
            case = relayed.case_of(cast.parts[side], cast.seats[side], side, b"", Phase.COMMITTING)
            began = device.joined(case, cast.seats[side], nonce(0 if world.one_round else side + 1))
            yield f"{side} begins", _become(cast, world, side, began, Cue.VOIDED)
        return
    opened = world.kind(side, Leg.MASKS) == REAL
    state = seen(cast, world, side)
    cues = {device.watch(end.own, state, sound=_sound(world, side, end.own.stage), opened=opened)}
    cues.add(device.due(end.own, now, now))
    cues |= {device.heard(answer, state) for answer in world.shown[world.case(side)]}
    if public(world):
        cues.add(Cue.PUBLISHED)
    for cue in cues:
        after = end.own if cue is None else device.follow(end.own, cue, now)
        if cue is not None and after != end.own:
            yield f"{side}: {cue}", _become(cast, world, side, after, cue)
    if end.own.stage is Stage.PREPARED and world.kind(side, Leg.THIRD) in (REAL, FAKE):
        yield f"{side} has checked", _become(cast, world, side, end.own, Cue.FROZEN)


def _become(cast: Cast, world: World, side: int, own: Own, cue: Cue) -> World:
    end = world.ends[side]
    will = end.will
    if cue in {Cue.SIGN, Cue.AGREE}:
        will = True
    elif cue in {Cue.WITHDRAW, Cue.REFUSE} or (cue is Cue.LAPSED and end.own and end.own.stage is Stage.WAITING):
        will = False
    end = replace(end, own=own, will=will)
    checked = world.kind(side, Leg.THIRD) in (REAL, FAKE) and _sound(world, side, Stage.REVEALED)
    for _ in (1, 2):  # what is owed once every d is passed on
        owed = device.owed(own, seen(cast, _put(world, side, end), side))
        end = replace(end, sent=end.sent | (owed & {Duty.SIGN, Duty.WITHDRAW, Duty.DEPOSIT}))
        for leg in relayed.sends(own, owed, checked=checked):
            end = end.posted((leg, side, 1 - side), REAL)
    return _put(world, side, end)


def _desk(cast: Cast, world: World, side: int) -> Iterator[tuple[str, World]]:
    now, at = cast.times[world.moment], world.case(side)
    deeds = {Duty.SIGN: desk.sign, Duty.WITHDRAW: desk.withdraw, Duty.DEPOSIT: desk.deposit}
    for duty in world.ends[side].sent:
        held = deeds[duty](world.desks[at], side, now)
        if held != world.desks[at]:
            yield f"{side}: {duty}", _shows(replace(world, desks=put(world.desks, at, held)))


def public(world: World) -> bool:
    """Whether anybody could publish: every d and every y is known."""
    answers = world.shown[0] | world.shown[1]
    unlocked = all(world.kind(side, Leg.LOCK) == REAL for side in (0, 1))
    return Answer.PUBLISHED in answers or (Answer.COMPLETE in answers and unlocked)


# -- promises


def published_means_both_said_yes_in_one_round(cast: Cast, before: World, after: World) -> None:
    if public(after):
        assert after.one_round, "something is published that the two devices never agreed on"
        assert all(Duty.SIGN in end.sent for end in after.ends)
        if not public(before):
            assert all(end.will for end in after.ends), "something is published that one side does not want"
        assert after.moment >= 3, "published before its hour"


def a_person_is_asked_only_about_a_round_that_fits(cast: Cast, before: World, after: World) -> None:
    for side, end in enumerate(after.ends):
        was = before.ends[side].own
        if (
            end.own is not None
            and end.own.stage is Stage.ASKED
            and was is not None
            and was.stage is not Stage.ASKED
        ):
            kinds = {after.kind(side, leg) for leg in (Leg.FIRST, Leg.SECOND, Leg.THIRD, Leg.SAME)}
            assert len(kinds) == 1, "some of it came from elsewhere"
            assert kinds <= {REAL, FAKE}
            assert end.state is cast.talks[side].state, "the text was edited meanwhile"


def no_lock_leaves_a_device_before_both_have_signed(cast: Cast, before: World, after: World) -> None:
    for end in after.ends:
        if Duty.DEPOSIT in end.sent or (end.own is not None and Duty.UNLOCK in end.own.owes):
            assert after.one_round, "a lock is given away for a round with the carrier"
            assert all(Duty.SIGN in one.sent for one in after.ends), "a lock is given away before all have signed"


def what_does_not_fit_ends_that_device_s_part_and_nothing_else(cast: Cast, before: World, after: World) -> None:
    for end in after.ends:
        if end.own is not None and end.own.stage is Stage.BARRED:
            assert not end.own.holds
            assert Duty.SIGN not in end.sent, "a device gave its mask and was barred afterwards"


PROMISES = (
    published_means_both_said_yes_in_one_round,
    a_person_is_asked_only_about_a_round_that_fits,
    no_lock_leaves_a_device_before_both_have_signed,
    what_does_not_fit_ends_that_device_s_part_and_nothing_else,
)


def time_alone_ends_everything(cast: Cast, world: World) -> None:
    """Nobody carries, sends or says anything any more: devices and desk come to an end by themselves."""
    for end in world.ends:
        own = end.own
        for now in cast.times[world.moment :]:
            while own is not None and (cue := device.due(own, now, now)) is not None:
                own = device.follow(own, cue, now)
        assert own is None or not own.holds, "a device keeps something for ever"
    for held in world.desks:
        assert desk.tick(held, cast.times[-1]).answer in {Answer.LAPSED, Answer.PUBLISHED, Answer.STOPPED}


def explore(cast: Cast, *, limit: int = 1_000_000, start: World | None = None) -> Walked[World]:
    """Every world from the start, or another one. Each step keeps every promise, and time alone ends each world."""

    def to_its_end(world: World) -> Iterator[tuple[str, World]]:
        time_alone_ends_everything(cast, world)
        return following(cast, world)

    checks = [lambda before, _, after, kept=kept: kept(cast, before, after) for kept in PROMISES]
    return walk(start or cast.start, to_its_end, lambda world: _key(cast, world), checks, limit)


def _key(cast: Cast, world: World) -> object:
    """What distinguishes worlds, the sides sorted."""
    people = []
    for side, end in enumerate(world.ends):
        own, held = end.own, world.desks[world.case(side)]
        stage = (own.stage.value, sum(at <= own.told for at in cast.times) if own.told else 0) if own else ("", 0)
        posts = tuple(sorted((leg.value, line == side, kind) for (leg, line, _), kind in end.posts.items()))
        there = (held.phase.value, side in held.masks, side in held.locks)
        flags = (end.ready, end.will, end.lost, end.state is cast.talks[side].state, tuple(sorted(end.sent)))
        people.append((stage, posts, there, flags, tuple(sorted(world.shown[world.case(side)]))))
    return (world.moment, tuple(sorted(people)))
