"""Everything that can happen to a message on its way: lost, repeated and reordered entries, devices that crash at any
instant, two devices of the intermediary that carry it at once, recalls, expiry.
"""

import pytest

from pourparler_policies.release.exploring import walk
from pourparler_policies.shuttle import exploring_room
from pourparler_policies.shuttle.events import Judge
from pourparler_policies.shuttle.exploring import (
    ITEM,
    PROMISES,
    arrives_if_the_intermediary_goes_on,
    following,
    key,
    start,
)
from pourparler_policies.shuttle.table import LIFE, Phase, Trigger


@pytest.mark.parametrize("condition", [False, True], ids=["free", "held"])
def test_a_message_crosses_once_or_not_at_all_and_never_after_a_recall(*, condition: bool) -> None:
    walked = walk(start(condition=condition), following, key, PROMISES, 200_000)
    print(f"{len(walked.found)} states, {walked.steps} steps")
    assert walked.complete
    phases = {world.rooms[0][ITEM].phase for world in walked.found}
    assert phases >= {Phase.HANDED_OVER, Phase.CARRIED, Phase.RECALLED, Phase.LAPSED}
    assert any(world.rooms[1] for world in walked.found), "nothing ever arrives: nothing was tested"
    for world in walked.found[::40]:
        arrives_if_the_intermediary_goes_on(world)


@pytest.mark.parametrize("judge", [None, *Judge], ids=["free", "its party judges", "the intermediary judges"])
def test_whatever_anybody_in_a_room_says_messages_keep_to_the_table(judge: Judge | None) -> None:
    taken: set[tuple[Phase, Trigger]] = set()

    def noted(before: exploring_room.Place, step: exploring_room.Step, after: exploring_room.Place) -> None:
        for old, trigger, _ in exploring_room.moves(before, step, after):
            if trigger is not None:
                taken.add((old.phase, trigger))

    walked = walk(
        exploring_room.start(judge),
        exploring_room.following,
        exploring_room.key,
        (*exploring_room.PROMISES, noted),
        200_000,
    )
    print(f"{len(walked.found)} states, {walked.steps} steps that count")
    assert walked.complete
    items = [item for place in walked.found for item in place.room.values()]
    assert {item.phase for item in items if item.put} == {Phase.CARRIED, Phase.ANSWERED, Phase.LAPSED}
    assert {item.phase for item in items if not item.put} == set(Phase) - {Phase.ANSWERED} - (
        set() if judge else {Phase.HELD}
    )
    # Every step of the table is taken somewhere, and none that it does not have.
    steps = {(phase, trigger) for phase, row in LIFE.items() for trigger in row}
    assert taken == {step for step in steps if judge or step[0] is not Phase.HELD}
