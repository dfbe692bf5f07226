"""From a frozen text to the end: devices, log, desk and a network that does what it likes, all of it real code.

1. A message that a device has owed may arrive at the desk at any time, in any order, any number of times, or
   never. So a crash before, while or after sending is among the walks, and so is a device that goes away.
2. An answer that the desk gave once may reach a device at any later time, or never: a desk that answers late.
3. One signer may be arbitrary (`hostile`): it sends anything, and knows whatever anybody was shown. With `lying`
   the desk tells one device "lapsed" when that is not so.
4. Persons do whatever their device lets them.
5. Equal up to renaming the honest signers is equal.
"""
# ruff: noqa: S101, D103 -- a kit for tests: its promises are assertions, and their names their sentences

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from pourparler_policies.errors import Misuse, Void
from pourparler_policies.fold.events import Complained

from . import apply, desk, device, events
from .changes import settle
from .desk import Desk, Held
from .device import Cue, Duty, Own, Secret, Stage
from .exploring import Walked, moments, post_by, uncounted, walk
from .facts import Answer, Case, State
from .testing import RULES, Talks, between

T = TypeVar("T")
DESK_DUTIES = frozenset({Duty.SIGN, Duty.WITHDRAW, Duty.DEPOSIT, Duty.STOP})
LOG_DUTIES = frozenset({Duty.RELAY, Duty.UNLOCK, Duty.TELL})


@dataclass(frozen=True, slots=True)
class World:
    """Where everything stands. `owned` by honest signer, in the order of `Cast.words`."""

    moment: int
    state: State
    desk: Held
    owned: tuple[Own, ...]
    sent: tuple[frozenset[Duty], ...]  # that were owed to the desk, and may be under way for ever
    wills: tuple[bool, ...]  # whether the person's last word is yes
    shown: frozenset[Answer] = frozenset()  # what the desk has answered so far
    taken_back: bool = False  # whether a withdrawal reached the desk in time
    relayed: bool = False  # whether a list of every d that fits is in the channel
    unlocked: frozenset[int] = frozenset()  # whose lock is in the channel


@dataclass(slots=True)
class Cast:
    """Who signs: the first of `names`, of which the first of each party has its key and the others are its further
    delegates. The last is hostile, if any; `lying`: the desk may tell the first "lapsed" at any time.
    """

    parties: int
    hostile: bool = False
    lying: bool = False
    votes: bool = True  # whether what the desk said is passed on to the log
    shaken: bool = False  # whether the last signer's party may become unable to act
    stop: bool = True  # whether the charter lets a party stop it
    fast: bool = False  # whether the first's clock may be fast
    forgetful: bool = False  # whether the desk may lose what came, though never what it has answered
    names: tuple[str, ...] = ("a1", "b1", "c1")
    words: tuple[str, ...] = field(init=False)
    talks: Talks = field(init=False)
    times: list[int] = field(init=False)
    case: Case = field(init=False)
    seats: tuple[bytes, ...] = field(init=False)
    fresh: Held = field(init=False)
    known: dict[object, State] = field(default_factory=dict)  # logs already folded: only quicker, never different
    read: dict[object, Cue | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.words = self.names[: self.parties]
        self.talks = between(self.words, replace(RULES, stop=self.stop))
        self.talks.draft(not_before=self.talks.now + 3 * 24 * 60 * 60)
        self.talks.freeze(*self.words)
        case = self.case = self.talks.case
        self.times = [self.talks.now, *moments(case)]
        self.seats = tuple(map(self.talks.seat, self.words))
        self.fresh = desk.opened(
            self.parties, case.sign_by, case.deposit_by, case.not_before, case.stop_by, self.times[0]
        )

    @property
    def honest(self) -> int:
        """How many signers are honest."""
        return self.parties - self.hostile

    @property
    def delegates(self) -> bool:
        """Whether several people sign for one party."""
        return len({word[0] for word in self.words}) < len(self.words)

    def start(self) -> World:
        """The text is frozen, and everybody is asked."""
        case = self.case
        owned = tuple(
            replace(device.joined(case, seat, case.nonce), stage=Stage.ASKED) for seat in self.seats[: self.honest]
        )
        nothing = (frozenset[Duty](),) * self.honest
        return World(0, self.same(0, self.talks.state), self.fresh, owned, nothing, (False,) * self.honest)

    def same(self, moment: int, state: State) -> State:
        """The first state seen that equals this one."""
        signers = tuple((s.complete, s.answer) for s in state.case.signers.values()) if state.case else None
        there = tuple(d.phase for d in state.consent.devices.values())
        return self.known.setdefault((moment, signers, there, tuple(state.released)), state)


def following(cast: Cast, world: World) -> Iterator[tuple[str, World]]:
    """Every world one step further, with what happened."""
    for what, after in _steps(cast, world):
        owed = (device.owed(own, after.state) & DESK_DUTIES for own in after.owned)
        yield what, replace(after, sent=tuple(sent | new for sent, new in zip(after.sent, owed, strict=True)))


def _steps(cast: Cast, world: World) -> Iterator[tuple[str, World]]:
    if world.moment + 1 < len(cast.times):
        yield "time", _later(cast, world)
    for number in range(cast.honest):
        yield from _device(cast, world, number)
        for duty in world.sent[number]:
            yield f"{number}: {duty}", _arrives(cast, world, number, duty)
        for duty in device.owed(world.owned[number], world.state) & LOG_DUTIES:
            yield from _posts(cast, world, number, duty)
    if cast.hostile:
        yield from _hostile(cast, world)
    if cast.forgetful and world.desk.phase in {Desk.OPEN, Desk.COMPLETE}:
        kept = world.desk.masks if world.desk.phase is Desk.COMPLETE else frozenset[int]()
        yield "the desk loses what came", replace(world, desk=replace(world.desk, masks=kept, locks=frozenset()))
    if cast.shaken:
        yield from _log(cast, world, cast.parties - 1, Complained())


def _now(cast: Cast, world: World) -> int:
    return cast.times[world.moment]


def _later(cast: Cast, world: World) -> World:
    moment = world.moment + 1
    now = cast.times[moment]
    memo = ("time", moment, id(world.state))
    if memo not in cast.known:
        later = settle(replace(world.state, consent=replace(world.state.consent, time=now)))
        cast.known[memo] = cast.same(moment, later)
    return _shows(replace(world, moment=moment, state=cast.known[memo], desk=desk.tick(world.desk, now)))


def _shows(world: World) -> World:
    answer = world.desk.answer
    return (
        world if answer in world.shown or answer is Answer.OPEN else replace(world, shown=world.shown | {answer})
    )


def _arrives(cast: Cast, world: World, number: int, duty: Duty) -> World:
    taken_back = world.taken_back or (duty is Duty.WITHDRAW and world.desk.phase is Desk.OPEN)
    return _shows(replace(world, desk=_deliver(cast, world, number, duty), taken_back=taken_back))


def _deliver(cast: Cast, world: World, number: int, duty: Duty) -> Held:
    now = _now(cast, world)
    match duty:
        case Duty.SIGN:
            return desk.sign(world.desk, number, now)
        case Duty.WITHDRAW:
            return desk.withdraw(world.desk, number, now)
        case Duty.DEPOSIT:
            return desk.deposit(world.desk, number, now)
    return desk.stop(world.desk, number, now)


def _device(cast: Cast, world: World, number: int) -> Iterator[tuple[str, World]]:
    own, now = world.owned[number], _now(cast, world)
    for act in device.PERSONAL:
        try:
            yield f"{number}: {act}", _become(world, number, device.act(own, act, world.state, now), act)
        except Misuse:
            continue
    cues = {device.watch(own, world.state, sound=True, opened=world.relayed), device.due(own, now, now)}
    if cast.fast and number == 0:
        cues.add(device.due(own, cast.times[-1], now))
        cues.add(device.due(own, cast.case.not_before, now))
    answers = world.shown | ({Answer.LAPSED} if cast.lying and number == 0 else frozenset())
    cues |= {_heard(cast, answer, world.state) for answer in answers - {Answer.PUBLISHED}}
    if public(cast, world):
        cues.add(Cue.PUBLISHED)
    for cue in cues:
        after = own if cue is None else device.follow(own, cue, now)
        if cue is not None and after != own:
            yield f"{number}: {cue}", _become(world, number, after, cue)


def _heard(cast: Cast, answer: Answer, state: State) -> Cue | None:
    memo = (answer, id(state))
    if memo not in cast.read:
        cast.read[memo] = device.heard(answer, state)
    return cast.read[memo]


def _become(world: World, number: int, own: Own, cue: Cue) -> World:
    will = world.wills[number]
    if cue in {Cue.SIGN, Cue.AGREE}:
        will = True
    elif cue in {Cue.WITHDRAW, Cue.REFUSE} or (cue is Cue.LAPSED and own.stage is Stage.WAITING):
        will = False
    return replace(
        world,
        owned=put(world.owned, number, own),
        wills=put(world.wills, number, will),
    )


def _posts(cast: Cast, world: World, number: int, duty: Duty) -> Iterator[tuple[str, World]]:
    own = world.owned[number]
    if duty is Duty.RELAY:
        posted: events.Event = events.Completed(own.nonce)
        if not world.relayed:
            yield f"{number} passes every d on", replace(world, relayed=True)
    elif duty is Duty.UNLOCK:
        yield f"{number} passes its lock on", replace(world, unlocked=world.unlocked | {number})
        return
    elif own.answer is not None and cast.votes:
        posted = events.Told(own.nonce, own.answer)
    else:
        return
    yield from _log(cast, world, number, posted)


def _log(cast: Cast, world: World, number: int, posted: events.Event | Complained) -> Iterator[tuple[str, World]]:
    memo = (number, posted, world.moment, id(world.state))
    if memo not in cast.known:
        cast.known[memo] = cast.same(world.moment, _folded(cast, world, number, posted))
    state = cast.known[memo]
    if state is not world.state:
        yield f"{number} posts {type(posted).__name__}", replace(world, state=state)


def _folded(cast: Cast, world: World, number: int, posted: events.Event | Complained) -> State:
    author = world.state.consent.devices[cast.talks.device(cast.words[number]).card]
    made = post_by(author, _now(cast, world), posted)
    try:
        state = apply(world.state, made)
    except Void:
        return world.state
    return uncounted(state)


def _hostile(cast: Cast, world: World) -> Iterator[tuple[str, World]]:
    number = cast.parties - 1
    for duty in DESK_DUTIES:
        yield f"{number}: {duty}", _arrives(cast, world, number, duty)
    if masks_known(world) and not world.relayed:
        yield f"{number} passes every d on", replace(world, relayed=True)
    posts: list[events.Event] = [events.Completed(cast.case.nonce)]
    if cast.votes:
        posts += [events.Told(cast.case.nonce, answer) for answer in Answer]
    for posted in posts:
        yield from _log(cast, world, number, posted)


def masks_known(world: World) -> bool:
    """Whether the desk has shown every d: until then each stays with its owner."""
    return Answer.COMPLETE in world.shown or Answer.PUBLISHED in world.shown


def public(cast: Cast, world: World) -> bool:
    """Whether anybody at all could now publish the signed note: every d and every y is known."""
    if not masks_known(world):
        return False
    return Answer.PUBLISHED in world.shown or len(world.unlocked) == cast.honest


# -- promises


def published_means_that_every_person_said_yes_to_this_text(cast: Cast, before: World, after: World) -> None:
    if public(cast, after) and not public(cast, before):
        assert all(after.wills), "something is published that not everybody wants published"
        assert all(Duty.DEPOSIT in sent or number in after.unlocked for number, sent in enumerate(after.sent))


def the_desk_shows_nothing_until_every_party_has_signed(cast: Cast, before: World, after: World) -> None:
    if masks_known(after) and not masks_known(before):
        assert all(Duty.SIGN in sent for sent in after.sent)
        assert len(after.desk.masks) == cast.parties
    if not masks_known(after) and after.desk.phase not in {Desk.LAPSED, Desk.STOPPED}:
        assert after.desk.answer is Answer.OPEN, "the desk shows something before all have signed"
    if before.taken_back:
        assert after.desk.answer in {Answer.OPEN, Answer.LAPSED}, "a withdrawal that arrived was forgotten"


def no_lock_leaves_the_desk_or_a_device_before_the_hour(cast: Cast, before: World, after: World) -> None:
    if public(cast, after):
        assert _now(cast, after) >= cast.case.not_before
    if _now(cast, after) < cast.case.not_before:
        assert not any(Duty.UNLOCK in own.owes for own in after.owned)


def who_withdrew_keeps_and_sends_no_lock(cast: Cast, before: World, after: World) -> None:
    for was, own, will, earlier, sent in zip(
        before.owned, after.owned, after.wills, before.sent, after.sent, strict=True
    ):
        if own.stage in {Stage.WITHDRAWN, Stage.TOO_LATE, Stage.BARRED}:
            assert Secret.LOCK not in own.holds
            assert not will
        if was.stage in {Stage.WITHDRAWN, Stage.TOO_LATE, Stage.BARRED, Stage.LAPSED}:
            assert sent == earlier, "somebody who withdrew sends something again"


def what_ended_is_erased(cast: Cast, before: World, after: World) -> None:
    for own in after.owned:
        if own.stage in {Stage.LAPSED, Stage.STOPPED, Stage.PUBLISHED, Stage.CLEARED, Stage.BARRED}:
            assert not own.holds
    if after.desk.answer in {Answer.LAPSED, Answer.STOPPED, Answer.PUBLISHED}:
        assert not after.desk.masks | after.desk.locks
        assert after.desk == replace(cast.fresh, phase=after.desk.phase), "what is kept could name somebody"
    if before.desk.answer in {Answer.LAPSED, Answer.STOPPED, Answer.PUBLISHED}:
        assert after.desk == before.desk


def one_live_text(cast: Cast, before: World, after: World) -> None:
    """The log makes room for another text only when this one is out, or can never be: never two from one case.

    Not against a desk that has a device's y, tells that device "lapsed", and publishes: it is trusted not to.
    """
    broken = cast.lying and Answer.PUBLISHED in after.shown
    if before.state.case is None and not public(cast, before) and not broken:
        assert not public(cast, after), "a text appears beside which another one may have been signed"


PROMISES = (
    published_means_that_every_person_said_yes_to_this_text,
    the_desk_shows_nothing_until_every_party_has_signed,
    no_lock_leaves_the_desk_or_a_device_before_the_hour,
    who_withdrew_keeps_and_sends_no_lock,
    what_ended_is_erased,
    one_live_text,
)


def time_alone_ends_everything(cast: Cast, world: World) -> None:
    """Nobody sends, answers or says anything any more: every device, the desk and the log come to an end."""
    while True:
        world = replace(world, owned=tuple(_by_clock(own, _now(cast, world)) for own in world.owned))
        if world.moment + 1 == len(cast.times):
            break
        world = _later(cast, world)
    assert world.state.case is None, "the log never ends the case"
    assert all(not own.holds for own in world.owned), "a device keeps something for ever"
    assert world.desk.answer in {Answer.LAPSED, Answer.STOPPED, Answer.PUBLISHED}, "the desk never answers"


def _by_clock(own: Own, now: int) -> Own:
    while (cue := device.due(own, now, now)) is not None:
        own = device.follow(own, cue, now)
    return own


# -- the walk


def key(cast: Cast, world: World) -> object:
    """What distinguishes worlds, the honest signers sorted."""
    case = world.state.case
    people = []
    for number, own in enumerate(world.owned):
        signer = case.signers[own.seat] if case is not None else None
        in_log = (signer.complete, signer.answer or "") if signer is not None else ()
        at_desk = (number in world.desk.masks, number in world.desk.locks, number in world.unlocked)
        told = sum(at <= own.told for at in cast.times) if own.told else 0
        first = (cast.lying or cast.fast) and number == 0
        side = cast.words[number][0] if cast.delegates else ""  # who of a party signs is not who of another does
        people.append(
            (
                side,
                first,
                own.stage.value,
                told,
                tuple(sorted(world.sent[number])),
                world.wills[number],
                at_desk,
                in_log,
            )
        )
    other: tuple[object, ...] = ()
    if cast.hostile:
        number = cast.parties - 1
        signer = case.signers[cast.seats[number]] if case is not None else None
        said = (signer.complete, signer.answer or "") if signer is not None else None
        other = (number in world.desk.masks, number in world.desk.locks, said)
    log = (case is None, world.relayed, tuple(d.phase.value for d in world.state.consent.devices.values()))
    shown = tuple(sorted(world.shown))
    return (world.moment, world.desk.phase.value, world.taken_back, shown, log, tuple(sorted(people)), other)


def explore(cast: Cast, *, limit: int = 1_000_000) -> Walked[World]:
    """Every world. Each step keeps every promise, and time alone ends each world."""

    def following_to_its_end(world: World) -> Iterator[tuple[str, World]]:
        time_alone_ends_everything(cast, world)
        return following(cast, world)

    checks = [lambda before, _, after, kept=kept: kept(cast, before, after) for kept in PROMISES]
    return walk(cast.start(), following_to_its_end, lambda world: key(cast, world), checks, limit)


def put(values: tuple[T, ...], number: int, value: T) -> tuple[T, ...]:
    """The values with one of them replaced."""
    return (*values[:number], value, *values[number + 1 :])
