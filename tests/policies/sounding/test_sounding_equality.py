"""No rule of soundings can tell parties apart: renaming parties renames outcomes and nothing else (DESIGN 2.6)."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pourparler_policies.errors import Void
from pourparler_policies.sounding.events import Event
from pourparler_policies.sounding.exploring import Course, Play, _as, passes, play, possible

RENAMED = {"a1": "b1", "b1": "c1", "c1": "a1", "m1": "m1"}
NAMES = {"a": "b", "b": "c", "c": "a", "m": "m"}
GAMES = [play(3, soundings=4), play(3, soundings=4, dealing=True)]


def posted(game: Play, course: Course, word: str, event: Event) -> Course | None:
    try:
        return game.post(course, word, event)
    except Void:
        return None


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(GAMES), st.lists(st.integers(0, 10_000), min_size=10, max_size=40))
def test_a_renamed_course_of_events_has_the_renamed_outcome(game: Play, choices: list[int]) -> None:
    one = other = game.start
    counted = 0
    for choice in choices:
        if choice % 7 == 0:
            one, other = passes(one) or one, passes(other) or other
            continue
        options = list(possible(game, one))
        if not options:  # nothing is open, and all have asked as often as is tried here
            continue
        useful = [made for made in options if posted(game, one, *made) is not None] if choice % 5 else options
        word, event = (useful or options)[choice // 7 % len(useful or options)]
        after, renamed = posted(game, one, word, event), posted(game, other, RENAMED[word], event)
        assert (after is None) is (renamed is None)
        if after is not None and renamed is not None:
            one, other, counted = after, renamed, counted + 1
        assert _as(one, NAMES) == _as(other, dict(zip("abcm", "abcm", strict=True)))
    assert counted or len(choices) < 20
