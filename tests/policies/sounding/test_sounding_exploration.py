"""Every state that a sounding can reach in the log, on two or three devices and at the service (DESIGN 4.5)."""

from dataclasses import replace

import pytest

from pourparler_policies.errors import Void
from pourparler_policies.fold.encoding import encode
from pourparler_policies.sounding import apply, device, events, left, settled
from pourparler_policies.sounding.device import STEPS, Cue, Own, Stage
from pourparler_policies.sounding.exploring import (
    HOUR,
    Course,
    Play,
    World,
    asked,
    dealt,
    explore,
    explore_world,
    followed,
    play,
)
from pourparler_policies.sounding.facts import MAX_SEEN, WITHIN, Phase, Rules, decode_state


@pytest.mark.parametrize(("parties", "dealing"), [(2, False), (3, False), (2, True)])
def test_whatever_any_device_posts_every_promise_is_kept_in_every_state(parties: int, dealing: bool) -> None:
    game = play(parties, dealing=dealing)
    result = explore(game)
    print(f"{len(result.found)} states, {result.steps} steps that count")
    assert result.complete
    phases = {course.state.live.phase for course in result.found if course.state.live is not None}
    assert phases == (set(Phase) - ({Phase.TAKING, Phase.OPENING, Phase.LAPSED} if dealing else set()))
    assert any(course.second for course in result.found)
    for course in result.found:
        assert decode_state(encode(course.state)) == course.state
        over = settled(course.state, course.state.time + 2 * WITHIN)
        assert over.live is None
        assert all(left(over, word[0], over.time) == 1 for word in game.cast)


@pytest.mark.parametrize(("parties", "dealing"), [(2, False), (2, True)])
def test_whatever_lines_break_and_whatever_the_service_loses_every_device_ends_with_nothing(
    parties: int, dealing: bool
) -> None:
    game = play(parties, dealing=dealing)
    result = explore_world(game)
    print(f"{len(result.found)} states, {result.steps} steps")
    assert result.complete
    stages = {own.stage for world in result.found for own in world.owns.values()}
    assert stages == set(Stage) - ({Stage.OPENED} if dealing else set())
    for world in result.found:
        ended = at_the_end(game, world)
        assert {own.stage for own in ended.owns.values()} == {Stage.OVER}
    # People whose lines hold come to a result in which everybody has handed in.
    done = [world for world in result.found if {o.stage for o in world.owns.values()} == {Stage.DONE}]
    assert any(world.handed == set(game.cast[:-1]) for world in done)


def at_the_end(game: Play, world: World) -> World:
    ends = next(iter(world.owns.values())).ends
    world = replace(world, now=ends)
    for word in game.cast:
        world = followed(game, world, word)
    return world


def test_a_device_that_never_folds_again_erases_by_its_own_clock_from_every_stage() -> None:
    for stage in Stage:
        own = Own(b"i" * 16, 10, 20, 30, 15, stage, dealt=False)
        assert device.decode_own(encode(own)) == own
        cue = device.due(own, 30)
        assert (device.follow(own, cue).stage if cue is not None else stage) is Stage.OVER
    assert all(Cue.OVER in steps for stage, steps in STEPS.items() if stage is not Stage.OVER)


def test_a_state_stays_small_however_often_somebody_deals_and_ends_within_a_papers_life() -> None:
    game = play(2, dealing=True)
    game.rules = Rules(rounds=24, papers=2 * HOUR + 60)
    course = game.start
    marks = 0
    for number in range(1, 30):
        now = max(course.state.time, 1_800_000_000)
        event = dealt(number % 256, now, game.cast[:-1])
        fresh = tuple(bytes([number, one]) * 16 for one in range(40))
        try:
            state = apply(course.state, game.consent, game.credential("m1"), event, now, fresh)
        except Void:
            break
        marks += len(fresh)
        assert state.live is not None
        assert state.live.ends == now + game.rules.papers
        assert MAX_SEEN >= len(state.seen) == min(marks, MAX_SEEN)
        assert set(fresh) <= state.seen.keys() or marks > MAX_SEEN
        course = replace(course, state=settled(state, state.live.ends))
    assert course.state.live is None
    assert len(encode(course.state)) < 100_000


# What is void, and why


def begun(game: Play, *words: str, opened: bool = False) -> Course:
    course = game.post(game.start, "m1", asked(1, 1_800_000_000))
    live = course.state.live
    assert live is not None
    for word in words:
        course = game.post(course, word, events.Taking(live.id, b"c " + word.encode()))
    for word in words if opened else ():
        course = game.post(course, word, events.Opening(live.id, b"o " + word.encode()))
    return course


VOID = [
    ("there is no such sounding", "a1", events.Missed(b"x" * 16)),
    ("this sounding is taking", "a1", events.Missed(b"\x01" * 16)),
    ("another body has asked this", "a1", events.Recalled(b"\x01" * 16)),
    ("a party commits when it takes its place", "b1", events.Taking(b"\x01" * 16)),
    ("this commitment is somebody else's", "b1", events.Taking(b"\x01" * 16, b"c a1")),
    ("another device answers for this party", "a1", events.Taking(b"\x01" * 16, b"again")),
    ("who decides for a party answers for it", "m1", events.Taking(b"\x01" * 16, b"c m1")),
    ("one at a time", "b1", asked(2, 1_800_000_000)),
    ("has a new number", "b1", asked(1, 1_800_000_000)),
]


@pytest.mark.parametrize(("reason", "word", "event"), VOID)
def test_what_counts_for_nothing_says_why_and_changes_nothing(reason: str, word: str, event: events.Event) -> None:
    game = play(2)
    course = begun(game, "a1")
    with pytest.raises(Void, match=reason):
        game.post(course, word, event)


def test_a_question_out_of_bounds_counts_for_nothing() -> None:
    game, now = play(2), 1_800_000_000
    good = asked(1, now)
    for reason, changes in (
        ("1 to 8 different packages", {"packages": ()}),
        ("1 to 8 different packages", {"packages": (b"one", b"one")}),
        ("1 to 8 different packages", {"packages": (b"one", b"")}),
        ("longer than a sounding", {"packages": (b"x" * 100_000,)}),
        ("not text", {"packages": (b"\xff",)}),
        ("from now on", {"answer_by": now}),
        ("no longer than thirty days", {"answer_by": now + 31 * 86_400, "closes": now + 32 * 86_400}),
        ("within a week", {"closes": good.answer_by}),
        ("within a week", {"closes": good.answer_by + 8 * 86_400}),
    ):
        with pytest.raises(Void, match=reason):
            game.post(game.start, "a1", replace(good, **changes))  # type: ignore[arg-type]
    game.rules = replace(game.rules, papers=HOUR)
    with pytest.raises(Void, match="lives no longer than the charter"):
        game.post(game.start, "a1", good)


def test_bytes_that_are_no_event_are_refused() -> None:
    event = asked(1, 1_800_000_000)
    assert events.decode_event(encode(event)) == event
    for data in (b"", encode(event)[:-1], encode(event) + b"0", encode(replace(event, id=b"short"))):
        with pytest.raises(Void):
            events.decode_event(data)
    with pytest.raises(Void):
        events.decode_event(b"0" * (events.MAX_EVENT + 1))
