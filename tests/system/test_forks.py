"""A service that shows two devices different courses of events is caught at the next message, and only then."""

import base64
import hashlib
import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from pourparler_clients.api import Api
from pourparler_clients.errors import Halted, Refused
from pourparler_clients.happenings import Happening
from pourparler_clients.store import State
from pourparler_clients.testing import House, Person, rewrite_pages
from pourparler_clients.troubles import FORKED
from pourparler_policies import wire
from pourparler_policies.limits import BUCKETS

Entry = dict[str, Any]
Change = Callable[[list[Entry]], list[Entry]]


def lie(person: Person, change: Change) -> None:
    person.line.rewrite = rewrite_pages(change)


def each(seq: int, change: Callable[[Entry], list[Entry]]) -> Change:
    """Changes what one entry becomes."""
    return lambda entries: [
        new for entry in entries for new in (change(entry) if entry["seq"] == seq else [entry])
    ]


def text_of(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


async def caught(liar: House, victim: Person, others_text: str = "") -> None:
    """The victim alarms, does not send, says why, and keeps what was to be said."""
    happened = await victim.sync()
    (alarm,) = (h.text for h in happened if h.kind == "alarm")
    assert alarm.startswith(FORKED)
    assert victim.state is State.ALARM
    sent = len(victim.line.sealed)
    with pytest.raises(Halted, match="another course of events"):
        await victim.say("not to be sent")
    assert len(victim.line.sealed) == sent
    assert liar.people


def alarms(happened: list[Happening]) -> list[Happening]:
    return [h for h in happened if h.kind in ("alarm", "halted")]


async def test_withheld_key_change_is_caught_when_another_speaks(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    lie(ben, each(ada.log.row.cursor + 1, lambda entry: []))
    await ada.channel.refresh_keys()
    assert alarms(await ben.sync()) == []
    await ada.say("in the new epoch")
    await caught(house, ben)


async def test_withheld_key_change_is_caught_when_the_victim_speaks_and_its_text_waits(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    lie(ben, each(ada.log.row.cursor + 1, lambda entry: []))
    await ada.channel.refresh_keys()
    with pytest.raises(Halted, match="another course of events"):
        await ben.say("into a stale log")
    assert ben.state is State.ALARM
    assert ben.waiting() == ["into a stale log"]
    ben.line.rewrite = None
    await ada.sync()
    assert ada.texts() == []


async def test_service_that_always_says_stale_is_caught_and_not_asked_for_ever(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    stale = json.dumps(
        {"type": "urn:pourparler:problem:stale", "title": "", "status": 409, "detail": "", "handshake_head": 99}
    )

    def refuse(method: str, path: str, status: int, data: bytes) -> tuple[int, bytes]:
        return (409, stale.encode()) if method == "POST" and path.endswith("/entries") else (status, data)

    ben.line.rewrite = refuse
    with pytest.raises(Halted, match="another course of events"):
        await ben.say("again and again")
    assert ben.waiting() == ["again and again"]
    assert ada.state is State.OPEN


async def test_changed_time_of_a_key_change_is_caught_by_both_sides(house: House) -> None:
    ada, ben, cleo = await house.room("ada", "ben", "cleo")
    number = ada.log.row.cursor + 1
    lie(ben, each(number, lambda entry: [{**entry, "received_at": entry["received_at"] + 1}]))
    await ada.channel.refresh_keys()
    await ben.sync()
    await ben.say("from the other course")
    for person in (ada, cleo):
        await caught(house, person)
        assert person.texts() == ["from the other course"]  # reading goes on
    await cleo.channel.sync()


async def test_reordered_procedure_is_caught_at_the_next_message(house: House) -> None:
    ada, ben, cleo = await house.room("ada", "ben", "cleo")
    first = ada.log.row.cursor + 1
    held: dict[int, Entry] = {}

    def swap(entries: list[Entry]) -> list[Entry]:
        held.update({entry["seq"]: entry for entry in entries if entry["seq"] in (first, first + 1)})
        if len(held) < 2:
            return [entry for entry in entries if entry["seq"] < first]
        a, b = held[first], held[first + 1]
        swapped = [{**b, "seq": first}, {**a, "seq": first + 1}]
        return [entry for entry in entries if entry["seq"] not in (first, first + 1)] + swapped

    lie(ben, lambda entries: sorted(swap(entries), key=lambda entry: int(entry["seq"])))
    await cleo.channel.leave()
    await ada.sync()
    await ada.channel.refresh_keys()
    await ada.say("after both")
    await caught(house, ben)


async def test_replayed_key_change_shown_to_one_is_caught(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    number = ada.log.row.cursor + 1
    await ada.channel.refresh_keys()
    await ada.say("between")
    lie(
        ben,
        each(
            number + 1,
            lambda entry: [
                entry,
                # Not earlier than what it follows: times that run backwards alarm by themselves.
                {
                    **again[0],
                    "seq": number + 2,
                    "entry": text_of(os.urandom(16)),
                    "received_at": entry["received_at"],  # in the next second it would alarm by its time
                },
            ],
        ),
    )
    api = Api(ada.log.row.url, ada.log.row.token)
    page = await api.entries(ada.channel.id, number - 1)
    await api.close()
    again = [json.loads(page.entries[0].model_dump_json())]
    assert alarms(await ben.sync()) == []
    with pytest.raises(Halted, match="another course of events"):
        await ben.say("on the longer log")
    assert ada.state is State.OPEN


@pytest.mark.parametrize("what", ["altered", "another id", "no flag"])
async def test_altered_key_change_is_caught_at_the_next_message(what: str, house: House) -> None:
    ada, ben = await house.room("ada", "ben")

    def change(entry: Entry) -> list[Entry]:
        if what == "altered":
            sealed = bytearray(base64.urlsafe_b64decode(entry["sealed"]))
            sealed[-1] ^= 1
            return [{**entry, "sealed": text_of(bytes(sealed))}]
        if what == "another id":
            return [{**entry, "entry": text_of(os.urandom(16))}]
        return [{**entry, "handshake": False}]

    lie(ben, each(ada.log.row.cursor + 1, change))
    await ada.channel.refresh_keys()
    await ben.sync()
    await ada.say("in the new epoch")
    await caught(house, ben)


async def test_own_key_change_shown_to_others_under_another_id_is_caught(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    lie(ben, each(ada.log.row.cursor + 1, lambda entry: [{**entry, "entry": text_of(os.urandom(16))}]))
    await ada.channel.refresh_keys()
    await ben.sync()
    assert ben.state is State.OPEN
    await ben.say("as ben sees it")
    await caught(house, ada)


async def test_own_message_that_comes_back_altered_alarms(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    await ben.say("something between, so that ada reads the page and not only the receipt")
    number = ben.log.row.cursor + 1

    def altered(entry: Entry) -> list[Entry]:
        return [{**entry, "sealed": text_of(os.urandom(BUCKETS[0]))}]

    def hide_until_it_is_there(entries: list[Entry]) -> list[Entry]:
        return each(number, altered)(entries) if any(entry["seq"] == number for entry in entries) else []

    lie(ada, hide_until_it_is_there)
    ada.log.skip_to = lambda head: None  # type: ignore[method-assign]  # the head is hidden too
    with pytest.raises(Halted, match="another course of events"):
        await ada.say("mine")
    assert ada.state is State.ALARM
    assert ada.waiting() == ["mine"]


async def test_page_that_never_gets_on_is_refused_and_not_asked_for_ever(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say("one")
    await ben.sync()

    def the_same_again(method: str, path: str, status: int, data: bytes) -> tuple[int, bytes]:
        return (status, first[0]) if method == "GET" and "/entries" in path else (status, data)

    first: list[bytes] = []
    ben.line.rewrite = lambda method, path, status, data: (first.append(data), (status, data))[1]
    await ada.say("two")
    await ben.sync()
    del first[1:]
    ben.line.rewrite = the_same_again
    with pytest.raises(Refused, match="contradicts itself"):
        await ben.sync()


async def test_entry_of_a_later_epoch_alarms_at_once(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say("real")

    def from_the_future(entry: Entry) -> list[Entry]:
        sealed = bytearray(base64.urlsafe_b64decode(entry["sealed"]))
        head = sealed.index(ada.channel.id) + 16  # RFC 9420, 6.3: group id, then the epoch in 8 bytes
        sealed[head : head + 8] = (int.from_bytes(sealed[head : head + 8]) + 1).to_bytes(8)
        return [{**entry, "sealed": text_of(bytes(sealed))}]

    lie(ben, each(ada.log.row.cursor, from_the_future))
    await caught(house, ben)


async def test_time_that_runs_backwards_alarms_and_the_message_is_still_read(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say("one", "two")
    lie(ben, each(ada.log.row.cursor, lambda entry: [{**entry, "received_at": entry["received_at"] - 1000}]))
    await caught(house, ben)
    assert ben.texts() == ["one", "two"]


async def test_alarm_does_not_lose_a_key_change(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say("one")
    await ada.channel.refresh_keys()
    number = ada.log.row.cursor
    lie(ben, each(number, lambda entry: [{**entry, "received_at": entry["received_at"] - 1000}]))
    await ada.say("two")
    await caught(house, ben)
    assert ben.texts() == ["one", "two"]


async def test_service_that_contradicts_itself_about_its_incarnation_is_refused_in_one_sentence(
    house: House,
) -> None:
    ada, _ben = await house.room("ada", "ben")

    def other(method: str, path: str, status: int, data: bytes) -> tuple[int, bytes]:
        if "/entries" in path and method == "GET":
            data = json.dumps({**json.loads(data), "incarnation": text_of(os.urandom(16))}).encode()
        return status, data

    ada.line.rewrite = other
    with pytest.raises(Refused, match="contradicts itself"):
        await ada.sync()


# What must not alarm


async def test_replayed_message_is_shown_once_and_alarms_nobody(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say("once")
    lie(
        ben,
        each(
            ada.log.row.cursor,
            lambda entry: [entry, {**entry, "seq": entry["seq"] + 1, "entry": text_of(os.urandom(16))}],
        ),
    )
    assert alarms(await ben.sync()) == []
    assert ben.texts() == ["once"]


async def test_own_message_replayed_under_a_new_id_is_shown_once(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say("once")
    await replay_to_all(ben, await newest(ada))
    assert alarms(await ada.sync()) == []
    assert alarms(await ben.sync()) == []
    assert ada.texts() == ben.texts() == ["once"]
    await ada.say("twice")
    assert alarms(await ben.sync()) == []


async def newest(person: Person) -> bytes:
    async with Api(person.log.row.url, person.log.row.token) as api:
        page = await api.entries(person.channel.id, person.log.row.cursor - 1)
    return page.entries[0].sealed


async def replay_to_all(holder: Person, sealed: bytes, *, handshake: bool = False) -> None:
    """What whoever holds a token may do: append bytes of any kind."""
    await holder.sync()
    append = wire.Append(
        entry=os.urandom(16),
        handshake=handshake,
        sealed=sealed,
        life=3600,
        delete_hash=hashlib.sha256(b"").digest(),
        handshake_head=holder.log.row.handshake_head,
        count=holder.log.row.count + 1,
    )
    async with Api(holder.log.row.url, holder.log.row.token) as api:
        await api.append(holder.channel.id, append.model_dump_json().encode())
    with holder.log.step():
        holder.log.row.count += 1


@pytest.mark.parametrize("handshake", [False, True])
async def test_junk_from_a_token_holder_is_void_for_all_and_alarms_nobody(handshake: bool, house: House) -> None:
    ada, ben, cleo = await house.room("ada", "ben", "cleo")
    await ada.say("before")
    message = await newest(ada)
    for junk in (os.urandom(BUCKETS[0]), message, bytes(BUCKETS[1]), b"\x00\x01\x00\x02" + bytes(BUCKETS[0] - 4)):
        await replay_to_all(cleo, junk, handshake=handshake)
    for person in (ada, ben, cleo):
        assert alarms(await person.sync()) == []
    await ben.say("after")
    for person in (ada, ben, cleo):
        await person.sync()
        assert person.texts() == ["before", "after"]
    assert len({person.log.epoch_digits() for person in (ada, ben, cleo)}) == 1


async def test_message_with_the_wrong_flag_is_void_for_all(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    put = ada.channel.sealer._put
    ada.channel.sealer._put = lambda *a, **k: put(*a, **{**k, "handshake": True})  # type: ignore[method-assign]
    await ada.channel.say("a message that claims to change keys")
    assert alarms(await ben.sync()) == []
    assert ben.texts() == []


async def test_expired_entries_alarm_nobody(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say("gone soon", life=5)
    await ada.say("stays")
    lie(ben, each(ada.log.row.cursor - 1, lambda entry: []))  # as a page looks once it has expired
    assert alarms(await ben.sync()) == []
    assert ben.texts() == ["stays"]
    assert ben.log.row.missed == 1


async def test_alarm_ends_when_people_found_their_digits_alike(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say("one", "two")
    lie(ben, each(ada.log.row.cursor, lambda entry: [{**entry, "received_at": entry["received_at"] - 1000}]))
    await caught(house, ben)
    ben.line.rewrite = None
    assert ben.log.epoch_digits() == ada.log.epoch_digits()
    ben.log.resume()
    await ben.say("three")
    await ada.sync()
    assert ada.texts()[:2] == ["one", "two"]
    assert ada.texts()[-1] == "three"


async def test_alarm_and_halt_survive_a_restart(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say("one", "two")
    lie(ben, each(ada.log.row.cursor, lambda entry: [{**entry, "received_at": entry["received_at"] - 1000}]))
    await caught(house, ben)
    ben = await house.again(ben)
    assert ben.state is State.ALARM
    with pytest.raises(Halted, match="another course of events"):
        await ben.say("still not")
