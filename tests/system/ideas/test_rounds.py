"""Rounds of ideas from the call to the list, on real devices at a real service."""

from pourparler_clients.ideas_testing import idea_circle
from pourparler_clients.signing_testing import Hours
from pourparler_clients.testing import House

ROAD = "Open the road on market days."
WELLS = "Share the upper wells by the week."


async def test_ideas_are_shown_to_all_in_one_order_and_nobody_keeps_whose_they_were(
    house: House, hours: Hours
) -> None:
    circle = await idea_circle(house, hours, "ada", "ben", "cleo")
    await circle.add("ada", ROAD)
    await circle.add("cleo", WELLS)
    await circle.call("ben")
    await circle.through()
    print({n: [h.kind + h.text for h in t] for n, t in circle.told.items()})
    shown = [(await circle.shown(name))[0] for name in ("ada", "ben", "cleo")]
    assert {one.ideas for one in shown} == {shown[0].ideas}
    assert sorted(shown[0].ideas) == [ROAD, WELLS]
    for name in ("ada", "ben", "cleo"):
        assert not await circle.waiting(name)
