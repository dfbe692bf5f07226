"""The power goes at any step of a sounding: what was answered is handed in all the same, or is said to be missed."""

from contextlib import suppress
from typing import Any

from pourparler_clients.signing_testing import Hours
from pourparler_clients.sounding_testing import Rooms, common_room, stage_of
from pourparler_clients.soundings import NOT_ALL
from pourparler_clients.testing import House, PowerCut
from pourparler_policies.sounding.device import Stage


async def alive(house: House, room: Rooms, cuts: list[str], act: Any) -> None:
    """Does something; if ada's power goes at it, her device comes back from what lay on the disk."""
    try:
        await act()
    except PowerCut as cut:
        cuts.append(str(cut))
        ada = await house.again(room.people[0])
        room.channels[0][0] = ada
        with suppress(PowerCut):
            await act()


async def test_cut_at_any_step_a_device_hands_in_what_its_person_said_or_says_that_it_could_not(
    house: House, hours: Hours
) -> None:
    room = await common_room(house, hours, "ada", "ben", soundings=24)
    ben = room.people[1]
    # Once without a cut: which steps her device takes from the question on (commits of the vault, requests, answers).
    await ben.channel.soundings.ask(["Text."], answer_within=3600, collect_within=600)
    begun = len(room.people[0].faults.steps)
    await room.through(room.ready)
    await room.counted()
    taken = room.people[0].faults.steps[begun:]
    room.later(4 * 86400)
    await room.visit()
    chosen = {at for at, name in enumerate(taken) if "/tallies" in name and name.startswith("before the answer")}
    steps = sorted(chosen | set(range(1, len(taken), 14)))
    results, cuts = [], list[str]()
    for number, step in enumerate(steps):
        await ben.channel.soundings.ask([f"Text {number}."], answer_within=3600, collect_within=600)
        ada = room.people[0]
        ada.faults.cut = len(ada.faults.steps) + step
        await alive(house, room, cuts, lambda: room.through(room.ready))
        await room.through(room.ready)
        assert room.asked(room.people[0]).packages == (f"Text {number}.",)

        async def answer() -> None:
            room.answer("ada", True)

        await alive(house, room, cuts, answer)
        room.answer("ben", True)
        asked = room.asked(ben)
        room.until((asked.answer_by + asked.closes) // 2 + 1)
        for _ in range(3):
            await alive(house, room, cuts, room.visit)
        room.until(asked.closes + 1)
        for _ in range(3):
            await alive(house, room, cuts, room.visit)
        room.people[0].faults.cut = None
        await room.through(lambda: all(room.asked(person).result is not None for person in room.people))
        results.append({room.asked(person).result for person in room.people})
        assert stage_of(room.people[0]) is Stage.DONE
        room.later(4 * 86400)
        await room.visit()
    assert len(cuts) >= len(steps) - 2
    assert any("/tallies" in cut for cut in cuts)
    # Cut while the answer is being written, nothing was answered; else it was handed in.
    assert results.count({0}) >= len(results) - 1
    assert all(one in ({0}, {NOT_ALL}) for one in results)
