"""Devices that talk and change keys at once converge, and no shortage of handshakes loses a message."""

import asyncio

import httpx
import pytest

from pourparler_clients.errors import Halted, Refused, Unreachable, Waits
from pourparler_clients.invitations import Inviter
from pourparler_clients.joining import Invitee
from pourparler_clients.store import State
from pourparler_clients.testing import House, Keys, Person, breaks
from pourparler_policies.limits import HOUR
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
    # The founder spent nine handshakes on seating: the others change keys twice, it only once more.
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
    ada, ben = await house.room("ada", "ben", keys=HOUR)
    await ben.spend_handshakes()
    with pytest.raises(Refused) as refusal:
        await ben.channel.refresh_keys()
    assert refusal.value.problem is Problem.BUDGET
    ben.clock.offset = HOUR + 10  # the update is due, and refused
    epoch = ben.log.group.epoch
    await ben.say("all the same")
    assert ben.log.group.epoch == epoch
    await ada.sync()
    assert ada.texts() == ["all the same"]


async def test_spent_handshakes_delay_a_removal_and_no_message(house: House) -> None:
    ada, ben, cleo = await house.room("ada", "ben", "cleo")
    await ben.spend_handshakes()
    await cleo.channel.leave()
    with pytest.raises(Waits, match="to go"):  # nobody speaks before whoever leaves has lost the keys
        await ben.say("before the removal")
    assert len(ben.log.members) == 3
    await ada.say("with the removal")
    await ben.sync()
    await ada.sync()
    for person in (ada, ben):
        assert sorted(m.name for m in person.log.members.values()) == ["ada", "ben"]
        assert person.texts() == ["with the removal", "before the removal"]
    assert ben.waiting() == []


async def test_key_change_comes_before_the_first_message_after_an_absence(house: House) -> None:
    ada, ben = await house.room("ada", "ben", keys=HOUR)
    epoch = ada.log.group.epoch
    ben.clock.offset = HOUR + 1
    await ben.say("first after an absence")
    await ada.sync()
    message, commit = ada.log.store.messages.shown(ada.device.clock())[0], ada.log.row.handshake_head
    assert ada.log.group.epoch == epoch + 1
    assert commit < message.seq


async def almost_seated(house: House, ada: Person, dan: Person) -> tuple[Inviter, Invitee, bytes]:
    """Dan has consent and has accepted; Ada's Add is sealed, and has not reached the service."""
    await house.put_on_the_table(ada, dan)
    inviter, invitee = ada.device.inviter(ada.channel), dan.device.invitee()
    box = await invitee.answer(await inviter.invite(dan.device.card))
    await inviter.progress()
    await invitee.offer(box)
    await invitee.accept(box)
    breaks("POST", "/entries", reached=False)(ada.line)
    with pytest.raises(Unreachable):
        await inviter.progress()
    return inviter, invitee, box


async def test_somebody_leaves_between_the_sealing_of_a_seat_and_its_place_in_the_log(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    cleo, dan = await house.person("cleo"), await house.person("dan")
    await house.seat(ada, cleo)  # beside ada: her side can act without her
    inviter, invitee, box = await almost_seated(house, ada, dan)
    await cleo.channel.leave()
    assert [step.step for step in await inviter.progress()] == ["seated"]
    assert await invitee.join(box) is not None
    await house.attest(ada)
    for person in (dan, ada, ben):
        await person.say(f"{person.name} speaks")
    await settle([ada, ben, dan])
    for person in (ada, ben, dan):
        assert person.state is State.OPEN
        assert sorted(m.name for m in person.log.members.values()) == ["ada", "ben", "dan"]
        assert person.texts() == ["dan speaks", "ada speaks", "ben speaks"]


async def test_the_last_of_a_party_leaves_between_the_sealing_of_a_seat_and_its_place(house: House) -> None:
    ada, ben, cleo = await house.room("ada", "ben", "cleo")
    dan = await house.person("dan")
    inviter, invitee, box = await almost_seated(house, ada, dan)
    await cleo.channel.leave()
    (told,) = await inviter.progress()  # cleo's side cannot consent any more: nobody new enters
    assert (told.step, "cannot act" in told.reason) == ("waiting", True)
    assert await invitee.join(box) is None
    await settle([ada, ben])
    for person in (ada, ben):
        await person.say(f"{person.name} speaks")
    await settle([ada, ben])
    for person in (ada, ben):
        assert sorted(m.name for m in person.log.members.values()) == ["ada", "ben"]
        assert person.texts() == ["ada speaks", "ben speaks"]


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


async def test_closing_by_all_ends_the_channel_for_everyone_and_erases_it(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say("before the end")
    await ada.channel.close_for_all()
    happened = await ben.sync()
    assert [h.kind for h in happened] == ["said", "proposed", "approved"]
    assert ada.state is ben.state is State.OPEN  # nobody ends it alone
    await ben.channel.close_for_all()
    assert ben.log.closing
    assert [h.kind for h in await ada.sync()][-1] == "closing"  # she has acknowledged it, and shown her keys
    assert ada.texts() == ben.texts() == []
    with pytest.raises(Halted, match="being ended"):
        await ada.say("One more thing.")
    assert [h.kind for h in await ben.sync()][-1] == "closed"
    assert [h.kind for h in await ada.sync()][-1] == "closed"
    for person in (ada, ben):
        assert person.device.channels() == []
        tables = [
            name for (name,) in person.device.vault.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        assert {"consent", "meeting", "complaint", "message", "draft"} <= set(tables)
        for table in set(tables) - {"card", "clock", "sqlite_sequence"}:
            assert person.device.vault.rows(f"SELECT * FROM {table}") == []
