"""A message on its way between two sides that share no room: real service, a real vault for each compartment."""

import time

import pytest

from pourparler_clients.errors import UserError
from pourparler_clients.shuttle.crossing import Crossing
from pourparler_clients.shuttle.testing import Side, side
from pourparler_clients.testing import House
from pourparler_policies.limits import DAY
from pourparler_policies.shuttle import Answer, Fidelity, Judge, Phase, Source, Terms

WORDS = "Suppose the wells were open on alternate days. What then?"


def terms(
    source: Source = Source.HYPOTHETICAL,
    fidelity: Fidelity = Fidelity.VERBATIM,
    condition: str = "",
    judge: Judge = Judge.AUTHOR,
) -> Terms:
    return Terms(source, fidelity, condition, judge, 0, int(time.time()) + DAY)


async def two(house: House) -> tuple[Side, Side]:
    return await side(house, "ada", "aya"), await side(house, "ben", "bea", title="Soundings")


async def phase(person: object, item: bytes) -> Phase:
    return (await person.channel.shuttle.room())[item].phase


async def test_a_hypothetical_a_counter_and_what_is_passed_on(house: House) -> None:
    north, south = await two(house)
    (ada, _), (ben, bea) = north.people, south.people
    item = await ada.channel.shuttle.hand(WORDS, terms())
    await north.sync()
    crossing = Crossing(north.bridge.channel, south.bridge.channel)
    ready = await crossing.ready(item, WORDS)
    await crossing.carry(ready, delay=0)
    await north.sync()
    assert await phase(ada, item) is Phase.CARRIED
    await south.sync()
    await south.sync()
    (seen,) = (await ben.channel.shuttle.room()).values()
    assert (seen.text, seen.source, seen.fidelity, seen.phase) == (WORDS, Source.HYPOTHETICAL, None, Phase.CARRIED)
    counter = await ben.channel.shuttle.answer(
        seen.id, Answer.COUNTER, "Three days for us.", terms(Source.PARTY, Fidelity.GIST)
    )
    await south.sync()
    assert await phase(bea, seen.id) is Phase.ANSWERED
    await north.sync()
    assert await phase(ada, item) is Phase.CARRIED  # of an answer the author sees nothing yet
    back = Crossing(south.bridge.channel, north.bridge.channel)
    with pytest.raises(UserError, match="say it in yours"):
        await back.ready(counter, "Three days, for us!", regards=item, answer=Answer.COUNTER)
    ready = await back.ready(counter, "They would need more days than we.", regards=item, answer=Answer.COUNTER)
    await back.carry(ready, delay=0)
    await south.sync()
    await north.sync()
    await north.sync()
    assert await phase(ada, item) is Phase.PASSED_ON
    passed = next(one for one in (await ada.channel.shuttle.room()).values() if one.about == item)
    assert (passed.answer, passed.source, passed.text) == (Answer.COUNTER, Source.PARTY, ready.put.text)
