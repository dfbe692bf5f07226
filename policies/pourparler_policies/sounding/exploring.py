"""Every event that any device could post about a sounding, and every state of log, devices and service that follows.

1. What is explored is the real code: `apply` judges each event, `device.py` leads each device, and what is void leads
   nowhere. The service is what its docs say: open until the close, then counted, or lost.
2. Two states that differ in past times or in the parties' names alone are one.
"""
# ruff: noqa: S101 -- a kit for tests: each of these is an assertion, and its name is its sentence

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Final

from pourparler_policies.errors import Void
from pourparler_policies.fold.encoding import encode
from pourparler_policies.fold.facts import State as Consent
from pourparler_policies.fold.testing import START, card, founded
from pourparler_policies.release.exploring import Walked, walk

from . import apply, device, events, opened, settled
from .device import Cue, Duty, Own, Stage
from .events import Event
from .facts import WITHIN, Phase, Rules, Sounding, State, digest_of
from .table import STEPS

TEXT: Final = b"The wells stay open."
HOUR: Final = 3600
RULES: Final = Rules(rounds=1, papers=90 * 86_400)
MARKS: Final = (b"t" * 32,)


def number(count: int) -> bytes:
    """A sounding's number."""
    return bytes([count]) * 16


def asked(count: int, now: int, *, again: bytes = b"") -> events.Sounded:
    """A question from now on: an hour for people, an hour for devices."""
    return events.Sounded(number(count), (TEXT,), now + HOUR, now + 2 * HOUR, again)


def dealt(count: int, now: int, cards: tuple[str, ...], *, again: bytes = b"") -> events.Dealt:
    """The same, dealt to these cards of this channel among four sides."""
    shares = {card(word): b"sealed" for word in cards}
    return events.Dealt(number(count), (TEXT,), now + HOUR, now + 2 * HOUR, 4, b"s" * 32, b"tally", shares, again)


# --- the log alone --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Course:
    """A log: what is folded, and how many soundings were begun. `second` of them were second tries."""

    state: State
    used: int = 0
    second: int = 0


@dataclass(slots=True)
class Play:
    """Who acts, in which channel, how many soundings at most, and whether they are dealt."""

    consent: Consent
    cast: tuple[str, ...]
    soundings: int = 2
    dealing: bool = False
    rules: Rules = RULES

    @property
    def start(self) -> Course:
        """Nothing was asked."""
        return Course(opened(self.rules))

    def credential(self, word: str) -> bytes:
        """Of this card's device."""
        return self.consent.devices[card(word)].credential

    def post(self, course: Course, word: str, event: Event) -> Course:
        """After this device has posted it. Raises Void."""
        now = max(course.state.time, START)
        marks = MARKS if isinstance(event, events.Dealt) else ()
        if isinstance(event, events.Dealt):
            marks = (bytes([course.used]) * 32,)
        state = apply(course.state, self.consent, self.credential(word), event, now, marks)
        if isinstance(event, events.Sounded | events.Dealt):
            second = state.live is not None and state.live.second
            return Course(state, course.used + 1, course.second + second)
        return replace(course, state=state)


def play(parties: int = 2, *, dealing: bool = False, soundings: int = 2) -> Play:
    """A founded channel with an intermediary."""
    made = founded(parties, intermediary=True)
    cast = (*(f"{body}1" for body in "abcd"[:parties]), "m1")
    return Play(made.state, cast, soundings, dealing)


def possible(game: Play, course: Course) -> Iterator[tuple[str, Event]]:
    """Everything that a device of the cast could post."""
    now, live = max(course.state.time, START), course.state.live
    for word in game.cast:
        if course.used < game.soundings:
            for again in {b"", live.id if live is not None else b""}:
                if game.dealing:
                    yield word, dealt(course.used + 1, now, game.cast[:-1], again=again)
                else:
                    yield word, asked(course.used + 1, now, again=again)
        if live is None:
            continue
        yield word, events.Taking(live.id, b"" if live.dealt else b"c " + word.encode())
        yield word, events.Opening(live.id, b"o " + word.encode())
        yield word, events.Missed(live.id)
        yield word, events.Counted(live.id, 0, b"v" * 32)
        yield word, events.Recalled(live.id)


def passes(course: Course) -> Course | None:
    """The next moment at which something changes."""
    live, now = course.state.live, course.state.time
    moments = [live.answer_by, live.closes, live.ends] if live is not None else []
    moments += [one + WITHIN for times in course.state.begun.values() for one in times]
    coming = [at for at in moments if at > now]
    return replace(course, state=settled(course.state, min(coming))) if coming else None


def following(game: Play, course: Course) -> Iterator[tuple[object, Course]]:
    """One step further: after an event that counts, or at the next moment."""
    for word, event in possible(game, course):
        try:
            yield (word, event), game.post(course, word, event)
        except Void:
            continue
    later = passes(course)
    if later is not None:
        yield None, later


def _key(game: Play, course: Course) -> object:
    names = sorted(game.consent.rules.parties)
    return min(_as(course, dict(zip(names, order, strict=True))) for order in permutations(names))


def _as(course: Course, names: Mapping[str, str]) -> tuple[object, ...]:
    state = course.state
    live: tuple[object, ...] = ()
    if state.live is not None:
        takers = sorted((names.get(p, p), bool(t.opening)) for p, t in state.live.takers.items())
        body = names.get(state.live.body, state.live.body)
        live = (body, state.live.phase.value, state.live.second, state.live.missed, tuple(takers))
    begun = tuple(sorted((names.get(body, body), len(times)) for body, times in state.begun.items()))
    return live, begun, course.used


def explore(game: Play, limit: int = 200_000) -> Walked[Course]:
    """Every state of the log; each step keeps every promise, or that raises AssertionError."""

    def keeps(before: Course, what: object, after: Course) -> None:
        for check in PROMISES:
            check(game, before, what, after)

    return walk(
        game.start, lambda course: following(game, course), lambda course: _key(game, course), [keeps], limit
    )


def phases_follow_the_table(game: Play, before: Course, what: object, after: Course) -> None:
    """One at a time, forward only."""
    was, now = before.state.live, after.state.live
    if was is None or now is None or was.id != now.id:
        ended = was is None or was.phase in (Phase.CLOSED, Phase.LAPSED) or now is None
        assert ended, "a question replaced another one that was open"
        return
    if was.phase is not now.phase:
        assert now.phase in reachable(was.phase)


def reachable(phase: Phase) -> set[Phase]:
    """What the table leads to, several steps at once when time leaps."""
    found, todo = set[Phase](), [phase]
    while todo:
        for other in STEPS[todo.pop()].values():
            if other not in found:
                found.add(other)
                todo.append(other)
    return found


def nobody_can_answer_before_every_party_has_committed_and_opened(
    game: Play, before: Course, what: object, after: Course
) -> None:
    """Where there is no dealer."""
    live = after.state.live
    if live is None or live.dealt or live.phase not in (Phase.ASKING, Phase.COLLECTING, Phase.CLOSED):
        return
    assert live.takers.keys() == game.consent.rules.parties.keys()
    assert all(taker.message and taker.opening for taker in live.takers.values())
    assert len({taker.message for taker in live.takers.values()}) == len(live.takers)


def each_party_has_one_place_and_it_stays(game: Play, before: Course, what: object, after: Course) -> None:
    """An intermediary has none."""
    was, now = before.state.live, after.state.live
    if now is None:
        return
    assert now.takers.keys() <= game.consent.rules.parties.keys()
    for party, taker in now.takers.items():
        held = next(d for d in game.consent.devices.values() if d.credential == taker.credential)
        assert game.consent.seats[held.seat].body == party
        if was is not None and was.id == now.id and party in was.takers:
            assert was.takers[party].credential == taker.credential
            assert was.takers[party].message == taker.message


def no_body_asks_more_often_than_the_charter_says(game: Play, before: Course, what: object, after: Course) -> None:
    """Second tries apart, of which there is at most one for each."""
    for times in after.state.begun.values():
        recent = [one for one in times if one > after.state.time - WITHIN]
        assert len(recent) <= game.rules.rounds
    live, was = after.state.live, before.state.live
    if live is not None and live.second and (was is None or was.id != live.id):
        assert was is not None
        assert not was.second
        assert was.missed or was.phase is Phase.LAPSED or was.dealt
        assert (was.digests, live.digests) == ((digest_of(was.id, TEXT),), (digest_of(live.id, TEXT),))


def what_is_over_leaves_nothing(game: Play, before: Course, what: object, after: Course) -> None:
    """Nobody. A text is in no state at all: it lies under the keys of its end."""
    left = encode(after.state)
    assert TEXT not in left
    if after.state.live is None:
        assert not any(device.credential in left for device in game.consent.devices.values() if device.credential)


PROMISES: Final = (
    phases_follow_the_table,
    nobody_can_answer_before_every_party_has_committed_and_opened,
    each_party_has_one_place_and_it_stays,
    no_body_asks_more_often_than_the_charter_says,
    what_is_over_leaves_nothing,
)


# --- log, devices and service ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class World:
    """One sounding: the log, each device's part, and what the service has: none, open, counted or lost."""

    course: Course
    owns: Mapping[str, Own]
    now: int
    service: str = "none"
    handed: frozenset[str] = frozenset()


def world(game: Play) -> World:
    """Somebody has asked; nobody has seen it yet."""
    asker = game.cast[-1]
    event = dealt(1, START, game.cast[:-1]) if game.dealing else asked(1, START)
    course = game.post(game.start, asker, event)
    live = _live(course)
    middle = (live.answer_by + live.closes) // 2
    owns = {word: device.joined(live, middle, takes=word != asker) for word in game.cast}
    return World(course, owns, START)


def _live(course: Course) -> Sounding:
    assert course.state.live is not None
    return course.state.live


def steps(game: Play, one: World) -> Iterator[tuple[object, World]]:
    """A device visits, with a line that may break at any of its acts; or time passes."""
    for word in game.cast:
        for name, after in _visits(game, one, word):
            yield (word, name), after
    live = one.course.state.live
    moments = [one.owns[game.cast[0]].moment]
    if live is not None:
        moments += [live.answer_by, live.closes, live.ends]
    coming = [at for at in moments if at > one.now]
    if coming:
        now = min(coming)
        service = "counted" if one.service == "open" and live is not None and now >= live.closes else one.service
        yield "time", replace(one, now=now, service=service)
        if service == "counted" and one.service == "open":
            yield "lost", replace(one, now=now, service="lost")


def followed(game: Play, one: World, word: str) -> World:
    """The device has folded to the head and looked at its clock."""
    own = one.owns[word]
    body = game.consent.seats[game.consent.devices[card(word)].seat].body
    party = body if body in game.consent.rules.parties else ""
    for _ in range(8):
        state = settled(one.course.state, one.course.state.time)
        cue = device.watch(own, state.live, party, game.credential(word)) or device.due(own, one.now)
        if cue is None:
            break
        own = device.follow(own, cue)
    return replace(one, owns={**one.owns, word: own})


def _visits(game: Play, one: World, word: str) -> Iterator[tuple[str, World]]:
    there = followed(game, one, word)
    if there != one:
        yield "follows", there
    own, live = there.owns[word], there.course.state.live
    if live is None:
        return
    yield from _posts(game, there, word, live)
    if Duty.BRING in own.owes and there.service == "none" and there.now < own.closes:
        yield "brings", replace(there, service="open")
    if Duty.HAND_IN in own.owes and own.moment <= there.now < own.closes and there.service == "open":
        after = replace(there, handed=there.handed | {word})
        yield "hands in, and no answer comes", after
        yield "hands in", _with(after, word, Cue.HANDED)
    if Duty.ASK in own.owes and there.now >= own.closes:
        if there.service == "counted":
            yield "hears", _with(there, word, Cue.COUNTED)
        elif there.service in ("lost", "none"):
            yield "hears that it is lost", _with(there, word, Cue.LOST)


def _posts(game: Play, there: World, word: str, live: Sounding) -> Iterator[tuple[str, World]]:
    own = there.owns[word]
    owed: list[tuple[Duty, Event]] = [
        (Duty.TAKE, events.Taking(live.id, b"" if live.dealt else b"c " + word.encode())),
        (Duty.OPEN, events.Opening(live.id, b"o " + word.encode())),
        (Duty.TELL, events.Missed(live.id)),
    ]
    for duty, event in owed:
        if duty not in own.owes:
            continue
        course = replace(there.course, state=settled(there.course.state, there.now))
        try:
            yield duty.name, followed(game, replace(there, course=game.post(course, word, event)), word)
        except Void:
            continue


def _with(one: World, word: str, cue: Cue) -> World:
    return replace(one, owns={**one.owns, word: device.follow(one.owns[word], cue)})


def explore_world(game: Play, limit: int = 200_000) -> Walked[World]:
    """Every course of one sounding, with lines that break and a service that may lose it."""
    checks = [_world_keeps]
    return walk(world(game), lambda one: steps(game, one), _world_key, checks, limit)


def _world_key(one: World) -> object:
    state = one.course.state
    live = (
        (
            state.live.phase.value,
            state.live.missed,
            tuple(sorted((p, bool(t.opening)) for p, t in state.live.takers.items())),
        )
        if state.live is not None
        else ()
    )
    return live, tuple(sorted((w, o.stage.value) for w, o in one.owns.items())), one.now, one.service, one.handed


def _world_keeps(before: World, what: object, after: World) -> None:
    """Who has handed in keeps nothing, and nothing is handed in by who never could answer."""
    for word, own in after.owns.items():
        was = before.owns[word]
        assert own.stage is not Stage.HANDED or word in after.handed
        assert not own.holds or was.holds, "what was erased does not come back"
        if own.stage is Stage.HANDED and was.stage is not Stage.HANDED:
            assert was.stage in (Stage.READY, Stage.OPENED, Stage.TAKING)  # it may come late, and do all at once
        if own.stage is Stage.READY and was.stage is not Stage.READY:
            live = after.course.state.live
            assert live is not None
            assert live.dealt or all(taker.opening for taker in live.takers.values())
    assert after.handed <= {
        w for w, o in after.owns.items() if o.stage not in (Stage.TAKING, Stage.OPENED, Stage.WATCHING)
    }
