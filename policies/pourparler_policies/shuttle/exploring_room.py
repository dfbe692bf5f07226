"""Every state of one room: whatever anybody in it says about its messages, in any order, before and after their time.

What is explored is the code that runs: `apply` judges what each person says. `exploring.py` has the way between rooms.
"""

# ruff: noqa: S101 -- a kit for tests: each of these is an assertion, and its name is its sentence

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from pourparler_policies.errors import Void

from .events import (
    NOTHING,
    Answer,
    Carried,
    Event,
    Fidelity,
    Freed,
    HandedOver,
    Judge,
    Put,
    Recalled,
    Source,
    Terms,
)
from .room import EMPTY, Author, Item, Room, Said, apply, at
from .table import LIFE, Phase, Trigger

SPEAKS, HELPS = Author("speakers", False, True), Author("speakers", False, False)
DECIDES, BETWEEN = Author("leadership", False, True), Author("bridge", True, True)
PEOPLE: Final = (SPEAKS, HELPS, DECIDES, BETWEEN)
START, LATE = 1000, 2000  # Unix seconds: the beginning, and when every message's terms expire
FIRST: Final = b"message 1 of all"
MOST: Final = 4  # messages: one, what came of it, its counter, and one more


@dataclass(frozen=True, slots=True)
class Place:
    """A room, and what time it is."""

    room: Room
    now: int = START


Step = tuple[Author, Event] | None  # None: time passes


def start(judge: Judge | None) -> Place:
    """A party has handed a message over: held until this judge speaks, or free."""
    terms = _terms("they ask" if judge else "", judge or Judge.AUTHOR)
    return Place(apply(EMPTY, Said(FIRST, 1, START, SPEAKS, HandedOver("Suppose we did.", terms))))


def _terms(condition: str = "", judge: Judge = Judge.AUTHOR) -> Terms:
    return Terms(Source.PARTY, Fidelity.VERBATIM, condition, judge, 0, LATE)


def possible(place: Place) -> Iterator[tuple[Author, Event]]:
    """Everything that anybody could say."""
    free = _terms()
    for author in PEOPLE:
        for item in place.room:
            yield author, Freed(item)
            yield author, Recalled(item)
            yield author, Carried(item)
            if len(place.room) < MOST:
                yield author, HandedOver("And then?", free, item, Answer.COUNTER)
                yield author, Put("And then?", Source.IDEA, None, LATE, item)
        if len(place.room) < MOST:
            yield author, Put("Somebody could.", Source.IDEA, None, LATE, NOTHING)


def following(place: Place) -> Iterator[tuple[Step, Place]]:
    """Every step that counts for something."""
    for author, event in possible(place):
        number = b"message %d of all" % (len(place.room) + 1)
        if not isinstance(event, HandedOver | Put):
            number = type(event).__name__.encode().ljust(8) + event.item[:9]
        said = Said(number[:16], len(place.room) + 1, place.now, author, event)
        try:
            yield (author, event), replace(place, room=apply(place.room, said))
        except Void:
            continue
    if place.now == START:
        yield None, Place(at(place.room, LATE), LATE)


def key(place: Place) -> object:
    """What distinguishes places."""
    return place.now, tuple(
        (item.id, item.body, item.phase, item.put, item.about, item.claim) for item in place.room.values()
    )


def trigger_of(step: Step, item: Item) -> Trigger | None:
    """What a step is for this message; None when it is about another one."""
    if step is None:
        return Trigger.LATE
    _, event = step
    if isinstance(event, HandedOver):
        return Trigger.ANSWERED if event.answers == item.id else None
    if isinstance(event, Put):
        return Trigger.PASSED_ON if event.regards == item.id else None
    named = {Freed: Trigger.FREED, Recalled: Trigger.RECALLED, Carried: Trigger.CARRIED}[type(event)]
    return named if event.item == item.id else None


def moves(before: Place, step: Step, after: Place) -> Iterator[tuple[Item, Trigger | None, Item]]:
    """Each message that a step has moved, and by what."""
    for number, item in before.room.items():
        if after.room[number] != item:
            yield item, trigger_of(step, item), after.room[number]


# Promises, each checked after every step


def a_message_moves_only_as_the_table_says(before: Place, step: Step, after: Place) -> None:
    """And nothing is ever taken out of a room by what somebody says."""
    assert before.room.keys() <= after.room.keys()
    for old, trigger, new in moves(before, step, after):
        assert trigger is not None, "a message moved that this is not about"
        assert LIFE[old.phase][trigger] is new.phase


def each_word_is_of_whom_the_table_names(before: Place, step: Step, after: Place) -> None:
    """`WHO`, in code."""
    for old, trigger, _ in moves(before, step, after):
        if step is None:
            continue
        author = step[0]
        if trigger in (Trigger.CARRIED, Trigger.PASSED_ON):
            assert author == BETWEEN
        if trigger is Trigger.RECALLED:
            assert author.body == old.body
        if trigger is Trigger.ANSWERED:
            assert author in (SPEAKS, DECIDES)
        if trigger is Trigger.FREED:
            by_author = old.terms is not None and old.terms.judge is Judge.AUTHOR
            assert author == (SPEAKS if by_author else BETWEEN)


def what_was_put_is_answered_and_what_was_handed_over_is_carried(before: Place, step: Step, after: Place) -> None:
    """The author sees no answer; what was put to a side goes nowhere else."""
    for old, trigger, _ in moves(before, step, after):
        if trigger in (Trigger.CARRIED, Trigger.RECALLED, Trigger.FREED, Trigger.PASSED_ON):
            assert not old.put
        if trigger is Trigger.ANSWERED:
            assert old.put


def something_is_passed_on_only_about_what_was_carried(before: Place, step: Step, after: Place) -> None:
    """However late."""
    for item in after.room.values():
        if item.phase is Phase.PASSED_ON:
            assert item.claim


def what_was_taken_back_or_is_over_is_not_carried(before: Place, step: Step, after: Place) -> None:
    """Nor before its condition is met."""
    for old, trigger, _ in moves(before, step, after):
        if trigger is Trigger.CARRIED:
            assert old.phase is Phase.HANDED_OVER
            assert before.now < old.expires


PROMISES = (
    a_message_moves_only_as_the_table_says,
    each_word_is_of_whom_the_table_names,
    what_was_put_is_answered_and_what_was_handed_over_is_carried,
    something_is_passed_on_only_about_what_was_carried,
    what_was_taken_back_or_is_over_is_not_carried,
)
