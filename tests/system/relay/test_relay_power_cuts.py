"""Whoever cuts the power of a signer's or the carrier's device: the same bytes cross again, and it completes."""

from typing import Any

import pytest

from pourparler_clients.onetext import OneText
from pourparler_clients.onetext_testing import Shuttle
from pourparler_clients.relayed import Relayed
from pourparler_clients.testing import Person, PowerCut
from pourparler_crypto.note import Note
from pourparler_policies.release.device import Stage
from pourparler_policies.release.relayed import Passage

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def visit(talks: Shuttle, side: int, cut: int) -> bool:
    """This signer comes online, dies at its n-th step, and goes on from what its disk held. Whether it died."""
    person: Person = talks.rooms[side].people[0]
    person.faults.cut = len(person.faults.steps) + cut
    died = False
    try:
        await person.sync()
    except PowerCut:
        died = True
        person = await talks.house.again(person)
        talks.rooms[side].people[0] = person
        talks.rooms[side].parties[0] = person
        await person.sync()
    person.faults.cut = None
    return died


@pytest.mark.parametrize("cut", [5])
async def test_a_round_survives_power_cuts_of_everybody_s_device_and_says_nothing_in_two_ways(
    talks: Shuttle, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    seen: dict[tuple[Any, ...], set[bytes]] = {}
    fold = Relayed.fold_passage

    def folded(held: Relayed, entry: Any, event: Any, sender: bytes) -> Any:
        if isinstance(event, Passage):
            seen.setdefault((event.id, event.leg, event.line, event.to), set()).add(event.sealed)
        return fold(held, entry, event, sender)

    monkeypatch.setattr(Relayed, "fold_passage", folded)
    await talks.appointed()
    await talks.begun()

    struck: dict[object, int] = {"carrier": 0}

    async def all_visit() -> None:
        for side in (0, 1):
            struck[side] = struck.get(side, 0) + await visit(talks, side, cut)
        talks.text = OneText(*(person.channel for person in talks.carriers), pause=(0, 0))
        for carrier in talks.carriers:
            carrier.faults.cut = len(carrier.faults.steps) + cut
        try:
            await talks.text.carry()
        except PowerCut:
            struck["carrier"] = struck.get("carrier", 0) + 1
            for room in talks.rooms:
                room.people[-1] = await talks.house.again(room.people[-1])
        for carrier in talks.carriers:
            carrier.faults.cut = None
        talks.text = OneText(*(person.channel for person in talks.carriers), pause=(0, 0))
        await talks.text.carry()

    async def until(stage: Stage) -> None:
        for _ in range(12):
            await all_visit()
            if set(talks.stages()) == {stage}:
                return
        raise AssertionError(talks.stages())

    await until(Stage.ASKED)
    await talks.sign()
    await until(Stage.COMPLETE)
    await all_visit()
    await all_visit()
    part = talks.signers[0].channel.onetext.part
    assert part is not None
    talks.until(part.not_before)
    await until(Stage.PUBLISHED)
    talks.text = OneText(*(person.channel for person in talks.carriers), pause=(0, 0))
    north, south = talks.notes()
    assert north == south
    Note.parse(north[0]).check()
    assert min(struck.values()) > 0
    assert all(len(made) == 1 for made in seen.values())
    assert len(seen) == 2 * 6  # two lines: a key, R1 to R3, the case, every d
