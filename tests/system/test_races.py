"""Devices that talk and change keys at once converge, and no shortage of handshakes loses a message."""

import asyncio

import httpx
import pytest

from pourparler_clients.errors import Refused, Unreachable
from pourparler_clients.store import State
from pourparler_clients.testing import House, Keys, Person, breaks
from pourparler_policies.limits import HANDSHAKE_BURST
from pourparler_policies.wire import Problem


async def settle(people: list[Person]) -> None:
    for _ in range(2):
        for person in people:
            await person.sync()


async def test_devices_that_talk_and_change_keys_at_once_agree_on_every_text_once(house: House) -> None:
    people = await house.room("ada", "ben", "cleo", "dan")
    keys = Keys()

    async def live(person: Person) -> None:
        for number in range(6):
            if number % 3 == 1:
                await person.channel.refresh_keys()
            await person.say(f"{person.name} {number}")

    for person in people:
        person.line.sealed.clear()
        person.line.before_request = lambda method, path, person=person: (
            keys.learn(person) if method == "POST" and path.endswith("/entries") else None
        )
    # The founder spent three handshakes on seating: the others change keys twice, it only once more.
    await asyncio.gather(*(live(person) for person in people[1:]), people[0].channel.refresh_keys())
    await asyncio.gather(*(people[0].say(f"ada {number}") for number in range(6)))
    await settle(people)
    texts = people[0].texts()
    assert sorted(texts) == sorted(f"{person.name} {number}" for person in people for number in range(6))
    for person in people:
        assert person.state is State.OPEN
        assert person.texts() == texts
        mine = [text for text in texts if text.startswith(person.name)]
        assert person.name == "ada" or mine == sorted(mine)
    assert len({person.log.epoch_digits() for person in people}) == 1
    assert keys.reused([sealed for person in people for sealed in person.line.sealed]) == []


async def test_spent_handshakes_delay_a_key_change_and_no_message(house: House) -> None:
    ada, ben = await house.room("ada", "ben", update=5)
    for _ in range(HANDSHAKE_BURST):
        await ben.channel.refresh_keys()
    with pytest.raises(Refused) as refusal:
        await ben.channel.refresh_keys()
    assert refusal.value.problem is Problem.BUDGET
    ben.clock.offset = 10  # the update is due, and refused
    await ben.say("all the same")
    await ada.sync()
    assert ada.texts() == ["all the same"]


async def test_spent_handshakes_delay_a_removal_and_no_message(house: House) -> None:
    ada, ben, cleo = await house.room("ada", "ben", "cleo")
    for _ in range(HANDSHAKE_BURST):
        await ben.channel.refresh_keys()
    await cleo.channel.leave()
    await ben.say("before the removal")
    assert len(ben.log.members) == 3
    await ada.say("with the removal")
    await ben.sync()
    for person in (ada, ben):
        assert sorted(m.name for m in person.log.members.values()) == ["ada", "ben"]
        assert person.texts() == ["before the removal", "with the removal"]


async def test_key_change_comes_before_the_first_message_after_an_absence(house: House) -> None:
    ada, ben = await house.room("ada", "ben", update=60)
    epoch = ada.log.group.epoch
    ben.clock.offset = 61
    await ben.say("first after an absence")
    await ada.sync()
    message, commit = ada.log.store.messages(ada.device.clock())[0], ada.log.row.handshake_head
    assert ada.log.group.epoch == epoch + 1
    assert commit < message.seq


async def test_somebody_leaves_between_the_sealing_of_a_seat_and_its_place_in_the_log(house: House) -> None:
    ada, ben, cleo = await house.room("ada", "ben", "cleo")
    dan = await house.person("dan")
    sides = ada.device.inviter(ada.channel), dan.device.invitee()
    box = await sides[1].answer(await sides[0].invite(dan.device.card))
    await sides[0].progress()
    await sides[1].offer(box)
    await sides[1].accept(box)
    breaks("POST", "/entries", reached=False)(ada.line)
    with pytest.raises(Unreachable):
        await sides[0].progress()  # the Add is sealed, and waits
    await cleo.channel.leave()
    await sides[0].progress()
    assert await sides[1].join(box) is not None
    for person in (dan, ada, ben):
        await person.say(f"{person.name} speaks")
    await settle([ada, ben, dan])
    for person in (ada, ben, dan):
        assert person.state is State.OPEN
        assert sorted(m.name for m in person.log.members.values()) == ["ada", "ben", "dan"]
        assert person.texts()[-2:] == ["ada speaks", "ben speaks"]


async def test_two_who_remove_a_leaver_at_once_agree(house: House) -> None:
    ada, ben, cleo = await house.room("ada", "ben", "cleo")
    await cleo.channel.leave()
    await asyncio.gather(ada.say("from ada"), ben.say("from ben"))
    await settle([ada, ben])
    assert ada.texts() == ben.texts()
    assert sorted(ada.texts()) == ["from ada", "from ben"]
    assert ada.log.epoch_digits() == ben.log.epoch_digits()


@pytest.mark.parametrize("reached", [False, True])
@pytest.mark.parametrize("what", ["commit", "text"])
async def test_answer_of_a_proxy_decides_nothing_about_an_entry_under_way(
    what: str, reached: bool, house: House
) -> None:
    ada, ben = await house.room("ada", "ben")
    struck = []

    def proxy(method: str, path: str, status: int, data: bytes) -> tuple[int, bytes]:
        if method == "POST" and path.endswith("/entries") and not struck:
            struck.append(path)
            return 500, b"<html>Internal Server Error</html>"
        return status, data

    if reached:
        ada.line.rewrite = proxy
    else:
        breaks("POST", "/entries", reached=False)(ada.line)
    with pytest.raises((Refused, Unreachable)):
        await (ada.channel.refresh_keys() if what == "commit" else ada.say("once"))
    await ada.say("after")
    await ben.say("answer")
    await settle([ada, ben])
    assert ada.texts() == ben.texts()
    assert ben.texts() == (["after", "answer"] if what == "commit" else ["once", "after", "answer"])
    assert ada.log.epoch_digits() == ben.log.epoch_digits()
    assert ada.state is ben.state is State.OPEN


async def test_news_folded_before_the_line_broke_is_still_told(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say("one", "two")
    pages = []

    def second_page_fails(method: str, path: str) -> None:
        if method == "GET" and "/entries" in path:
            pages.append(path)
            if len(pages) == 2:
                raise httpx.ReadError("the line broke")

    ben.line.before_request = second_page_fails
    with pytest.raises(Unreachable):
        await ben.sync()
    assert [h.message.text for h in await ben.sync() if h.message] == ["one", "two"]


async def test_closing_ends_the_channel_for_everyone_and_erases_it(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say("before the end")
    await ada.channel.close_for_all()
    happened = await ben.sync()
    assert [h.kind for h in happened] == ["said", "closed"]
    for person in (ada, ben):
        assert person.device.channels() == []
        for table in ("channel", "chain", "record", "draft", "outbox", "message", "member", "invitation"):
            assert person.device.vault.rows(f"SELECT * FROM {table}") == []
