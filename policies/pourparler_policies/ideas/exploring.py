"""A round from its call to its end over every course that it can take: honest devices, one hostile member, a service
that drops, keeps back and replaces packets and shows different lists, time, and a group that changes in the midst.

1. What is explored is the real code: `release.apply` judges each event, `device.due` says what honest devices do.
2. A list is the set of those whose packets are in it, and whether it is whole: forged packets, of which the hostile
   member can make as many as it likes, fill what the service left out.
3. The hostile member gives its share at any time and to the service alone: it is taken to be known always.
"""

# ruff: noqa: S101, D103 -- a kit for tests: its promises are assertions, and their names their sentences

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from pourparler_policies.errors import Void
from pourparler_policies.fold.events import Held as OnHold
from pourparler_policies.release import State, apply
from pourparler_policies.release.changes import settle
from pourparler_policies.release.exploring import Walked, post_by, uncounted, walk
from pourparler_policies.release.testing import Talks

from . import device, events
from .device import Duty, Own, Post, Stage
from .facts import Phase
from .testing import ROUND, call, circle, key

Seen = tuple[frozenset[int], bool]  # whose packets are in a list, and whether it is whole
_LIES: Final = 2  # lists, besides the true one, that the service makes up
_MAKE: Final[Mapping[Post, Callable[[Own, str], events.Event]]] = {
    Post.JOINED: lambda _, word: events.Joined(ROUND, key(word)),
    Post.SEEN: lambda own, _: events.Seen(ROUND, own.digest),
    Post.SHOWN: lambda _, word: events.Shown(ROUND, key(word)),
    Post.FAILED: lambda *_: events.Failed(ROUND),
}


@dataclass(slots=True)
class Cast:
    """Who takes part. `hostile`: the last one is; the service is then at its side, and lies about lists."""

    honest: int = 3
    hostile: bool = False
    talks: Talks = field(init=False)
    words: tuple[str, ...] = field(init=False)
    times: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.talks = circle(self.honest + self.hostile)
        call(self.talks)
        made = self.talks.state.round
        assert made is not None
        self.words = tuple(f"{body}1" for body in "abcde"[: self.honest + self.hostile])
        self.times = (made.tick - 301, made.begins, made.doors, made.tick, made.closes, made.ends)

    def start(self) -> "World":
        """Called, and nothing more."""
        seats = [self.talks.seat(word) for word in self.words]
        creds = [self.talks.device(word).credential for word in self.words]
        owned = tuple(Own(ROUND, seats[n], creds[n], self.times[-1]) for n in range(self.honest))
        return World(self.talks.state, 0, owned, (None,) * self.honest)


@dataclass(frozen=True, slots=True)
class World:
    """Everything at one moment. `arrived`: whose packets the service has; `lists`: what each device was shown.

    `dropped`: whose packets the service threw away; `kept`: whose idea still waits on its device.
    """

    state: State
    moment: int
    owned: tuple[Own, ...]
    lists: tuple[Seen | None, ...]
    arrived: frozenset[int] = frozenset()
    dropped: frozenset[int] = frozenset()
    sent: frozenset[int] = frozenset()
    opened: frozenset[int] = frozenset()
    doubtful: frozenset[int] = frozenset()


def following(cast: Cast, world: World) -> Iterator[tuple[str, World]]:
    """Every next step of anybody."""
    if world.moment + 1 < len(cast.times):
        yield "time passes", _later(cast, world)
    for number, own in enumerate(world.owned):
        duty = device.due(own, world.state.round, cast.times[world.moment])
        if duty is not None:
            yield from _does(cast, world, number, duty)
        post = device.owes(own, world.state.round)
        if post is not None:
            made = _MAKE[post](own, cast.words[number])
            yield from _log(cast, world, f"{number} says {post}", number, made)
    if world.moment < 4:  # of when it happens later, the same is true
        yield from _log(cast, world, "somebody is put on hold", 0, OnHold(cast.talks.seat(cast.words[0])))
    if cast.hostile:
        number = cast.honest
        for event in _hostile(cast, world):
            yield from _log(cast, world, f"{number} posts {type(event).__name__}", number, event)


def _does(cast: Cast, world: World, number: int, duty: Duty) -> Iterator[tuple[str, World]]:
    own, what = world.owned[number], f"{number} {duty}"
    match duty:
        case Duty.JOIN | Duty.MAKE_ROOM | Duty.SEAL | Duty.SHOW | Duty.FAIL:
            yield what, _step(world, number, duty)
        case Duty.SEND:
            if number not in world.sent:
                sent = replace(world, sent=world.sent | {number})
                yield what, replace(sent, arrived=sent.arrived | {number})
                yield f"{what}: dropped", replace(sent, dropped=sent.dropped | {number})
        case Duty.FETCH:
            for seen in _lists(cast, world):
                if finds(number, seen):
                    own = replace(device.follow(own, duty), digest=_digest(seen))
                    lists = (*world.lists[:number], seen, *world.lists[number + 1 :])
                    yield what, replace(world, lists=lists, owned=_put(world, number, own))
                else:
                    yield f"{what}: not all", _step(world, number, Duty.FAIL)
        case Duty.OPEN:
            yield what, replace(_step(world, number, duty), opened=world.opened | {number})
        case Duty.ERASE:
            doubtful = world.doubtful | ({number} if own.doubtful else set())
            yield what, replace(_step(world, number, duty), doubtful=doubtful)


def finds(number: int, seen: Seen) -> bool:
    """What a client looks for in a list (`rounds.py`): every packet of its own, and that it is whole."""
    return number in seen[0] and seen[1]


def _lists(cast: Cast, world: World) -> Iterator[Seen]:
    """What the service can show: what it has; at a hostile member's side, that filled up, and with one left out."""
    everybody = frozenset(range(cast.honest))
    yield world.arrived, world.arrived == everybody
    if cast.hostile:
        yield world.arrived, True
        for number in sorted(world.arrived)[:_LIES]:
            yield world.arrived - {number}, True


def _hostile(cast: Cast, world: World) -> Iterator[events.Event]:
    yield events.Joined(ROUND, key(cast.words[-1]))
    for seen in {one for one in world.lists if one is not None}:
        yield events.Seen(ROUND, _digest(seen))
    yield events.Shown(ROUND, key("wrong"))
    yield events.Failed(ROUND)


def _log(
    cast: Cast, world: World, what: str, number: int, event: events.Event | OnHold
) -> Iterator[tuple[str, World]]:
    author = world.state.consent.devices[cast.talks.device(cast.words[number]).card]
    try:
        state = apply(world.state, post_by(author, cast.times[world.moment], event))
    except Void:
        return
    yield what, replace(world, state=uncounted(state))


def _later(cast: Cast, world: World) -> World:
    moment = world.moment + 1
    consent = replace(world.state.consent, time=cast.times[moment])
    return replace(world, moment=moment, state=settle(replace(world.state, consent=consent)))


def _step(world: World, number: int, duty: Duty) -> World:
    return replace(world, owned=_put(world, number, device.follow(world.owned[number], duty)))


def _put(world: World, number: int, own: Own) -> tuple[Own, ...]:
    return (*world.owned[:number], own, *world.owned[number + 1 :])


def _digest(seen: Seen) -> bytes:
    return (b"".join(bytes([number]) for number in sorted(seen[0])) + bytes([seen[1]])).rjust(32, b"d")


# -- promises


def nobody_reads_before_everybody_has_found_their_own(cast: Cast, before: World, after: World) -> None:
    """A share goes out only when all who take part have said the same list, and each honest one's is in it."""
    for number, own in enumerate(after.owned):
        if own.stage is Stage.SHOWN and before.owned[number].stage is not Stage.SHOWN:
            held = after.state.round
            assert held is not None
            assert {part.digest for part in held.parts.values()} == {own.digest}
            honest = [n for n, one in enumerate(after.owned) if one.seat in held.parts]
            assert len({after.lists[n] for n in honest}) == 1, "two honest devices have seen different lists"
            shown = after.lists[number]
            assert shown is not None
            assert all(n in shown[0] for n in honest), "somebody's packets are missing from what is opened"


def nothing_is_lost(cast: Cast, before: World, after: World) -> None:
    """Whoever has not opened the round still has their idea; and knows it if somebody else may have read it."""
    for number, own in enumerate(after.owned):
        if own.stage is Stage.OVER and before.owned[number].stage is Stage.SHOWN:
            assert number in after.doubtful


def nothing_is_sent_by_fewer_than_three(cast: Cast, before: World, after: World) -> None:
    if after.sent - before.sent:
        assert after.state.round is not None
        assert len(after.state.round.parts) >= 3


def opened_by_all_alike(cast: Cast, before: World, after: World) -> None:
    assert len({after.lists[number] for number in after.opened if after.lists[number]}) <= 1


def an_end_holds_nothing(cast: Cast, before: World, after: World) -> None:
    for own in after.owned:
        if own.stage in (Stage.OPENED, Stage.OVER, Stage.BROKEN):
            assert not own.holds


PROMISES = (
    nobody_reads_before_everybody_has_found_their_own,
    nothing_is_lost,
    nothing_is_sent_by_fewer_than_three,
    opened_by_all_alike,
    an_end_holds_nothing,
)


def time_alone_ends_it(cast: Cast, world: World) -> None:
    """Nobody says or answers anything any more: the log and every device come to an end."""
    while world.moment + 1 < len(cast.times):
        world = _later(cast, world)
    assert world.state.round is None, "the log never ends the round"
    for own in world.owned:
        last = own if own.stage is Stage.OVER else device.follow(own, Duty.ERASE)
        assert device.due(own, None, cast.times[-1]) in (Duty.ERASE, None)
        assert not last.holds


def _key(world: World) -> object:
    held = world.state.round
    log: object = None
    if held is not None:
        log = (held.phase, tuple(sorted((seat, p.digest, bool(p.secret)) for seat, p in held.parts.items())))
    people = tuple((own.stage, own.room) for own in world.owned)
    phases = tuple(d.phase for d in world.state.consent.devices.values())
    return (
        world.moment,
        log,
        people,
        world.lists,
        world.arrived,
        world.sent,
        world.opened,
        world.doubtful,
        phases,
    )


def explore(cast: Cast, *, limit: int = 1_000_000) -> Walked[World]:
    """Every world. Each step keeps every promise, and time alone ends each world."""

    def to_its_end(world: World) -> Iterator[tuple[str, World]]:
        time_alone_ends_it(cast, world)
        return following(cast, world)

    checks = [lambda before, _, after, kept=kept: kept(cast, before, after) for kept in PROMISES]
    return walk(cast.start(), to_its_end, _key, checks, limit)


def ends_well(world: World) -> bool:
    """Whether the round opened for everybody who took part."""
    held = world.state.round
    return held is not None and held.phase is Phase.OPEN and len(world.opened) == len(world.owned)
