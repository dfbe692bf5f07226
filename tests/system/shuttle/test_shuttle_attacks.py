"""Who plays false with carried messages: a party's forged word, a replay, an answer from elsewhere, too large a text;
a device that dies in the midst of carrying; a vault for both sides.
"""

import time
from contextlib import suppress
from dataclasses import replace

import pytest

from pourparler_clients.errors import Halted, Unreachable, UserError
from pourparler_clients.shuttle.crossing import Crossing
from pourparler_clients.shuttle.pace import Pace
from pourparler_clients.shuttle.testing import Side, side
from pourparler_clients.store import State
from pourparler_clients.testing import House, Person, PowerCut, breaks
from pourparler_policies.fold.encoding import encode
from pourparler_policies.limits import DAY
from pourparler_policies.payload import Shuttle
from pourparler_policies.shuttle import Answer, Fidelity, Judge, Phase, Room, Source, Terms
from pourparler_policies.shuttle import events as ev

WORDS = "Suppose the wells were open on alternate days."


def terms() -> Terms:
    return Terms(Source.PARTY, Fidelity.VERBATIM, "", Judge.AUTHOR, 0, int(time.time()) + DAY)


async def room(person: Person) -> Room:
    await person.sync()
    return await person.channel.shuttle.room()


def forged(number: bytes, content: bytes) -> Shuttle:
    """What our own client would not make."""
    return Shuttle(id=number, life=60, content=content)


async def test_a_partys_forged_word_counts_for_nobody(house: House) -> None:
    one = await side(house, "ada", "ben")
    ada, ben = one.people
    item = await ada.channel.shuttle.hand(WORDS, terms())
    huge = replace_text("x" * (ev.MAX_TEXT + 1))
    for number, event in enumerate(
        (
            ev.Carried(item),
            ev.Put("Believe me.", Source.IDEA, None, int(time.time()) + DAY),
            ev.Put("They accept.", Source.PARTY, Fidelity.GIST, int(time.time()) + DAY, item, Answer.ACCEPT),
            huge,
        )
    ):
        with pytest.raises(UserError, match="this was not said"):
            await ben.channel.utter(forged(bytes([number]) * 16, encode(event)))
    # These count as messages, and change nothing: it is not ben's to take back, free or answer.
    for number, event in enumerate(
        (ev.Recalled(item), ev.Freed(item), ev.HandedOver("I accept.", terms(), item, Answer.ACCEPT))
    ):
        await ben.channel.utter(forged(bytes([9, number]) * 8, encode(event)))
    for person in one.everybody:
        seen = await room(person)
        assert [(i.id, i.phase) for i in seen.values()] == [(item, Phase.HANDED_OVER)]


def replace_text(text: str) -> ev.HandedOver:
    return replace(ev.HandedOver(WORDS, terms()), text=text)


async def test_an_id_that_was_used_changes_nothing_a_second_time(house: House) -> None:
    one = await side(house, "ada", "ben")
    ada, ben = one.people
    item = await ada.channel.shuttle.hand(WORDS, terms())
    other = encode(replace_text("Something else."))
    await ada.channel.utter(forged(item, other))  # its own author, once more
    await ben.channel.utter(forged(item, other))  # and another
    for person in one.everybody:
        (seen,) = (await room(person)).values()
        assert seen.text == WORDS


async def test_what_this_version_does_not_know_halts_and_what_is_garbage_is_void(house: House) -> None:
    one = await side(house, "ada", "ben")
    ada, ben = one.people
    with pytest.raises(UserError, match="this was not said"):
        await ada.channel.utter(forged(b"g" * 16, b"garbage"))
    assert not await room(ben)
    later = encode(ev.Recalled(bytes(16))).replace(b"Recalled", b"Repealed")
    with suppress(Halted):
        await ada.channel.utter(forged(b"l" * 16, later))
    with suppress(Halted):
        await ben.sync()
    assert {ada.state, ben.state} == {State.HALTED}  # it may matter: nobody goes on without knowing


async def test_both_sides_in_one_vault_is_refused(house: House) -> None:
    north = await side(house, "ada", "aya")
    channel = north.bridge.channel
    with pytest.raises(UserError, match="a compartment for each side"):
        Crossing(channel, channel)


async def two(house: House) -> tuple[Side, Side, bytes]:
    north, south = await side(house, "ada", "aya"), await side(house, "ben", "bea", title="Soundings")
    item = await north.people[0].channel.shuttle.hand(WORDS, terms())
    await north.sync()
    return north, south, item


async def carried(north: Side, south: Side, item: bytes) -> None:
    crossing = Crossing(north.bridge.channel, south.bridge.channel, Pace(0))
    await crossing.carry(await crossing.ready(item, WORDS), delay=0)
    await south.bridge.sync()


async def test_whoever_recalls_first_keeps_it_and_who_carries_first_has_carried_it(house: House) -> None:
    north, south, item = await two(house)
    ada = north.people[0]
    crossing = Crossing(north.bridge.channel, south.bridge.channel, Pace(0))
    ready = await crossing.ready(item, WORDS)
    await ada.channel.shuttle.recall(item)  # between what was shown and the yes
    with pytest.raises(UserError, match=r"taken it back|count for nothing"):
        await crossing.carry(ready, delay=0)
    assert not south.bridge.channel.shuttle.parcels.count()
    assert not await room(south.people[0])
    second = await ada.channel.shuttle.hand(WORDS, terms())
    await carried(north, south, second)
    with pytest.raises(UserError, match="carried"):
        await ada.channel.shuttle.recall(second)
    assert len(await room(south.people[0])) == 1


@pytest.mark.parametrize("reached", [False, True])
async def test_a_line_that_breaks_at_the_claim_is_tried_again_and_carries_once(
    house: House, *, reached: bool
) -> None:
    north, south, item = await two(house)
    crossing = Crossing(north.bridge.channel, south.bridge.channel, Pace(0))
    ready = await crossing.ready(item, WORDS)
    breaks("POST", "/entries", reached=reached, times=9)(north.bridge.line)
    with pytest.raises(Unreachable):
        await crossing.carry(ready, delay=0)
    assert not await room(south.people[0])
    north.bridge.line.before_request = north.bridge.line.after_answer = None
    await carried(north, south, item)
    with pytest.raises(UserError, match="carried once"):
        await carried(north, south, item)
    assert [one.text for one in (await room(south.people[0])).values()] == [WORDS]
    assert (await room(north.people[0]))[item].phase is Phase.CARRIED


@pytest.mark.slow
@pytest.mark.parametrize("dies", ["bridge of the source", "bridge of the target"])
async def test_whatever_step_a_device_dies_at_a_message_crosses_once(house: House, dies: str) -> None:
    north, south, item = await two(house)
    ada, ben = north.people[0], south.people[0]
    expected = 0
    for cut in range(0, 60, 2):
        if cut:
            item = await ada.channel.shuttle.hand(f"{WORDS} {cut}", terms())
        words = (await room(ada))[item].text
        dying = north.bridge if dies == "bridge of the source" else south.bridge
        dying.faults.cut = len(dying.faults.steps) + cut
        died = False
        for _ in range(3):
            try:
                crossing = Crossing(north.bridge.channel, south.bridge.channel, Pace(0))
                await crossing.carry(await crossing.ready(item, words), delay=0)
                await south.bridge.sync()
                dying.faults.cut = None
                break
            except UserError as error:
                assert "carried once" in str(error)  # it had left, or waits to be sent
                dying.faults.cut = None
                break
            except PowerCut:
                died = True
                again = await house.again(dying)
                if dies == "bridge of the source":
                    north.bridge = again
                else:
                    south.bridge = again
        expected += 1
        await south.bridge.sync()
        seen = await room(ben)
        assert sum(one.text == words for one in seen.values()) == 1, f"cut at {cut}"
        assert len(seen) == expected
        assert (await room(ada))[item].phase is Phase.CARRIED
        if not died:
            break
    assert not died, "no telling came to its end without a cut"
    assert expected > 5
