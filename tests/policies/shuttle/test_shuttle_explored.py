"""Everything that can happen to a message on its way: lost, repeated and reordered entries, devices that crash at any
instant, two devices of the intermediary that carry it at once, recalls, expiry.
"""

import pytest

from pourparler_policies.release.exploring import walk
from pourparler_policies.shuttle.exploring import (
    ITEM,
    PROMISES,
    arrives_if_the_intermediary_goes_on,
    following,
    key,
    start,
)
from pourparler_policies.shuttle.table import Phase


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
