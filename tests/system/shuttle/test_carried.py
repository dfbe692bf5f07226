"""A message on its way between two sides that share no room: real service, a real vault for each compartment."""

import time
from dataclasses import replace

import pytest

from pourparler_clients.api import Api
from pourparler_clients.errors import UserError
from pourparler_clients.shuttle import desk
from pourparler_clients.shuttle.crossing import Crossing
from pourparler_clients.shuttle.pace import Pace
from pourparler_clients.shuttle.testing import Side, side
from pourparler_clients.testing import House, Person
from pourparler_policies.limits import DAY, HOUR
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
    crossing = Crossing(north.bridge.channel, south.bridge.channel, Pace(0))
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
    back = Crossing(south.bridge.channel, north.bridge.channel, Pace(0))
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


async def lives_at_service(person: Person) -> list[int]:
    """Seconds that the service keeps each entry of this room that is no procedure, in the log's order."""
    row, found, after = person.log.row, [], 0
    async with Api(row.url, row.token) as api:
        while (page := await api.entries(row.id, after)).entries:
            after = page.entries[-1].seq
            found += [entry.expires_at - entry.received_at for entry in page.entries]
    return [life for life in found if life <= 7 * DAY]


async def test_an_idea_of_the_intermediarys_own_comes_with_times_like_those_of_one_that_was_carried(
    house: House,
) -> None:
    """Or "nobody has said this" would be true of some, and who reads the clock would know of which."""
    north, south = await two(house)
    ada, ben = north.people[0], south.people[0]
    longest = int(time.time()) + 7 * DAY
    item = await ada.channel.shuttle.hand(WORDS, replace(terms(), expires=longest - 60))
    await north.sync()
    crossing = Crossing(north.bridge.channel, south.bridge.channel, Pace(0))
    await crossing.carry(await crossing.ready(item, WORDS), delay=0)
    await south.sync()
    await south.sync()
    (carried,) = (await ben.channel.shuttle.room()).values()
    for number in range(3):
        await south.bridge.channel.shuttle.put(f"{WORDS} {number}", longest, hypothetical=True)
    await south.sync()
    seen = list((await ben.channel.shuttle.room()).values())
    assert len(seen) == 4
    for one in seen:
        ends = ben.channel.shuttle.ends(one.id)
        assert one.expires % HOUR == 0
        assert 0 <= (ends + 2) % HOUR <= 4  # as it was sealed and received, the same hour's end
        assert one.expires in range(ends - 4, ends + 5)
        assert 3 * DAY < one.expires - time.time() < 7 * DAY - 30
    assert [one.source for one in seen] == [Source.HYPOTHETICAL] * 4
    assert len({one.expires for one in seen}) > 2  # drawn anew each time
    assert carried.expires == max(one.expires for one in seen)
    assert all(life % HOUR == 0 for life in (await lives_at_service(ben))[-4:])
    with pytest.raises(UserError, match="too little time"):
        await south.bridge.channel.shuttle.put(WORDS, int(time.time()) + 1)


async def test_who_counts_what_waits_for_another_side_has_read_nothing_of_it(house: House) -> None:
    one = await side(house, "ada", "aya", after_reading=60)
    channel = one.bridge.channel
    item = await one.people[0].channel.shuttle.hand(WORDS, terms())
    await one.sync()
    left = channel.shuttle.ends(item) - channel.clock()
    assert desk.count(channel.log.store, channel.clock()) == 1
    assert channel.shuttle.ends(item) - channel.clock() > left - 60
    assert len((await desk.look(channel)).waiting) == 1  # and who looks has
    assert channel.shuttle.ends(item) - channel.clock() <= 60


async def test_what_a_side_has_let_pass_stays_on_the_desk_as_that(house: House) -> None:
    one = await side(house, "ada", "aya")
    channel = one.bridge.channel
    put = await channel.shuttle.put(WORDS, channel.clock() + 3 * HOUR)
    assert [item.id for item in (await desk.look(channel)).awaited] == [put]
    one.bridge.clock.offset += 4 * HOUR
    passed = await desk.look(channel)
    assert ([item.id for item in passed.unanswered], passed.waiting) == ([put], [])
