"""Lines that fail, services that lie, dealers who cheat: what each can do, and what it cannot."""

import json
import os
from dataclasses import replace

import pytest

from pourparler_clients.errors import UserError
from pourparler_clients.signing_testing import Hours
from pourparler_clients.sounding_testing import (
    ANSWER,
    COLLECT,
    Rooms,
    common_room,
    dealt_rooms,
    stage_of,
)
from pourparler_clients.soundings import NOT_ALL
from pourparler_clients.testing import House, Rewrite
from pourparler_crypto.card import Card
from pourparler_crypto.sounding import Share, Tally, dealt
from pourparler_policies.sounding import events
from pourparler_policies.sounding.device import Stage


def all_accept(room: Rooms, *words: bool) -> None:
    for person in room.answering:
        room.answer(person.name, *(words or (True,)))


@pytest.mark.parametrize("word", [True, False])
async def test_a_device_that_was_away_counts_as_declining_says_so_whatever_it_had_and_it_is_asked_once_more(
    house: House, hours: Hours, word: bool
) -> None:
    room = await common_room(house, hours, "ada", "ben", soundings=1)
    ada, ben = room.people
    await room.ask("The wells stay open.")
    room.answer("ada", True)
    room.answer("ben", word)
    await room.handed_in(ada)
    assert await room.closed() == {NOT_ALL}
    await room.through(lambda: room.asked().may_ask_again)
    assert stage_of(ben) is Stage.DONE
    with pytest.raises(UserError, match="as many soundings as the charter allows"):
        await room.ask("The road is closed.")
    with pytest.raises(UserError, match="asks the same"):
        await room.ask("The road is closed.", again=True)
    await room.ask("The wells stay open.", again=True)
    all_accept(room)
    assert await room.counted() == {0}
    with pytest.raises(UserError, match="only what failed"):
        await room.ask("The wells stay open.", again=True)


async def test_what_a_member_posts_that_does_not_fit_stops_the_sounding_and_its_side_is_named(
    house: House, hours: Hours
) -> None:
    room = await common_room(house, hours, "ada", "ben", "cyd")
    ada, ben, cyd = room.people
    await ada.channel.soundings.ask(["The wells stay open."], answer_within=ANSWER, collect_within=COLLECT)
    kept = ben.log.soundings
    await room.visit(ada, cyd)
    genuine = kept._owed
    forged = [events.Taking(room.asked().id, bytes(64)), events.Opening(room.asked().id, bytes(160))]
    kept._owed = lambda *_: forged if genuine(*_) else []  # type: ignore[method-assign]
    await room.through(lambda: {stage_of(person) for person in room.people} == {Stage.BARRED})
    assert [one.text for one in room.told["ada"] if one.kind == "unsound"] == ["Side 1"]


async def test_where_a_sides_device_never_came_it_lapses_and_may_be_asked_again_and_what_is_taken_back_leaves_nothing(
    house: House, hours: Hours
) -> None:
    room = await common_room(house, hours, "ada", "ben")
    ada, ben = room.people
    await ada.channel.soundings.ask(["The wells stay open."], answer_within=ANSWER, collect_within=COLLECT)
    await room.visit(ada)
    with pytest.raises(UserError, match="nothing to answer"):
        ada.channel.soundings.answer([True])
    room.later(ANSWER + 1)
    await room.visit(ada, ben, ada)
    assert {stage_of(ada), stage_of(ben)} == {Stage.BARRED}
    await room.ask("The wells stay open.", again=True)
    with pytest.raises(UserError, match="another body"):
        await ben.channel.soundings.recall()
    await ada.channel.soundings.recall()
    await room.visit()
    assert ben.channel.soundings.status() is None
    assert stage_of(ben) is None


def shows(value: bytes, package: int = 0) -> Rewrite:
    """A service that says so of every tally that is closed."""

    def rewrite(method: str, path: str, status: int, body: bytes) -> tuple[int, bytes]:
        if method == "GET" and "/tallies/" in path and json.loads(body).get("answer") == "counted":
            from pourparler_policies import wire

            told = wire.Tally(answer=wire.TallyAnswer.COUNTED, package=package, value=value)
            return 200, told.model_dump_json().encode()
        return status, body

    return rewrite


def loses(method: str, path: str, status: int, body: bytes) -> tuple[int, bytes]:
    """A service that has lost every tally that is closed."""
    if method == "GET" and "/tallies/" in path and json.loads(body).get("answer") == "counted":
        return 200, b'{"answer":"lost"}'
    return status, body


async def test_a_service_that_lies_can_make_it_fail_and_neither_feign_it_nor_tell_two_sides_two_things(
    house: House, hours: Hours
) -> None:
    room = await common_room(house, hours, "ada", "ben")
    ada, ben = room.people
    # It shows one side a wrong sum: who saw the right one corrects it.
    await room.ask("The wells stay open.")
    all_accept(room)
    await room.handed_in()
    ada.line.rewrite = shows(bytes([7]) + bytes(31))
    room.until(room.asked().closes + 1)
    await room.visit(ada)
    assert room.asked(ada).result == NOT_ALL
    await room.visit(ben, ada)
    assert {room.asked(person).result for person in (ada, ben)} == {0}
    # It answers with what is no sum, and a member posts another: neither is believed.
    await room.ask("The road is closed.")
    room.answer("ada", True)
    await room.handed_in()
    ada.line.rewrite = shows(b"\xff" * 32, 5)
    room.until(room.asked().closes + 1)
    await room.visit(ada)
    assert room.asked(ada).result is None
    ada.line.rewrite = None
    live = ada.log.soundings.kept.state.live
    assert live is not None
    async with ada.channel.turn:
        await ada.channel.soundings._post(events.Counted(live.id, 0, bytes([9]) + bytes(31)))
    await room.visit(ben, ada)
    assert {room.asked(person).result for person in (ada, ben)} == {NOT_ALL}
    # It loses a tally: that is no result, and the same may be asked once more.
    await room.ask("The road stays open.")
    all_accept(room)
    await room.handed_in()
    for person in room.people:
        person.line.rewrite = loses
    room.until(room.asked().closes + 1)
    await room.through(lambda: all(room.asked(person).may_ask_again for person in room.people))
    assert {room.asked(person).result for person in room.people} == {None}


# A dealer who cheats


async def forged_deal(
    rooms: Rooms, tally: Tally, shares: list[tuple[str, Share]], salt: bytes, *texts: bytes
) -> None:
    """What a dealer's own client would not send: this share for each of these people, whatever it is."""
    cards = {person.name: person.device.card for person in rooms.people}
    for room in rooms.channels:
        names = {person.name for person in room}
        sealed = {
            cards[name].fingerprint: share.seal_to(Card(cards[name].name, cards[name].public), tally)
            for name, share in shares
            if name in names
        }
        if not sealed:
            continue
        event = events.Dealt(
            os.urandom(16), texts, tally.opens, tally.closes, len(tally.slots), salt, tally.encode(), sealed
        )
        async with room[-1].channel.turn:
            await room[-1].channel.soundings._post(event)
    await rooms.visit()
    await rooms.visit()


def deal(rooms: Rooms, sides: int, text: bytes, salt: bytes) -> tuple[Tally, tuple[Share, ...]]:
    opens = int(hours_of(rooms)) + ANSWER
    agreed = dealt.agreed(salt, [text], opens, opens + COLLECT)
    return dealt.deal(sides, 1, opens, opens + COLLECT, agreed)


def hours_of(rooms: Rooms) -> float:
    return rooms.hours()


async def test_a_dealer_who_cheats_is_caught_where_the_design_says_and_else_can_do_what_the_screen_says(
    house: House, hours: Hours
) -> None:
    rooms = await dealt_rooms(house, hours, ["ada", "eve"], ["ben", "dan"])
    names, text, salt = ["ada", "eve", "ben", "dan"], b"The wells stay open.", os.urandom(32)
    # Another text than the tally is about, or times or a number of sides: no device takes part.
    tally, shares = deal(rooms, 4, text, salt)
    for changed in (replace(tally, closes=tally.closes + 1), tally):
        with pytest.raises(UserError, match="about something else"):
            await forged_deal(rooms, changed, list(zip(names, shares, strict=True)), salt, b"Another text.")
    assert all(person.channel.soundings.status() is None for person in rooms.people)
    # Another deal's share: the device that gets it takes no part, and says so to its person.
    other = deal(rooms, 4, text, salt)[1]
    await forged_deal(rooms, tally, list(zip(names, (other[0], *shares[1:]), strict=True)), salt, text)
    assert stage_of(rooms.person("ada")) is Stage.BARRED
    assert [one.text for one in rooms.told["ada"] if one.kind == "unsound"] == ["the intermediary who dealt it"]
    assert stage_of(rooms.person("ben")) is Stage.READY
    # All accept and it fails: nobody can tell whose fault it is.
    for name in ("eve", "ben", "dan"):
        rooms.answer(name, True)
    await rooms.handed_in(*(rooms.person(name) for name in ("eve", "ben", "dan")))
    rooms.until(tally.closes + 1)
    await rooms.visit()
    assert rooms.asked(rooms.person("ben")).result == NOT_ALL
    # The same secret and places dealt again: nobody takes part.
    rooms.later(4 * 86400)
    again = replace(tally, opens=int(hours()) + ANSWER, closes=int(hours()) + ANSWER + COLLECT)
    again = replace(again, agreed=dealt.agreed(salt, [text], again.opens, again.closes))
    with pytest.raises(UserError, match="dealt again"):
        await forged_deal(rooms, again, list(zip(names, shares, strict=True)), salt, text)


async def test_an_intermediary_alone_deals_and_one_who_holds_all_other_places_reads_one_answer_as_the_screen_says(
    house: House, hours: Hours
) -> None:
    rooms = await dealt_rooms(house, hours, ["ada", "eve"], ["ben", "dan"])
    await only_who_may_ask_asks(rooms)
    salt, text = os.urandom(32), b"The wells stay open."
    tally, shares = deal(rooms, 4, text, salt)
    await forged_deal(
        rooms, tally, [("ada", shares[0]), ("eve", Share(shares[1].token, shares[1].values))], salt, text
    )
    rooms.answer("ada", True)
    rooms.until(tally.opens)
    api = rooms.person("ben").line.connect(house.url, None)
    for share in shares[1:]:  # before the honest devices, in their places
        await api.hand_in(tally.handle, share.token, share.values)
    await rooms.handed_in(rooms.person("ada"))
    rooms.until(tally.closes + 1)
    await rooms.visit()
    assert rooms.asked(rooms.person("ada")).result == 0  # though nobody else has accepted


async def only_who_may_ask_asks(rooms: Rooms) -> None:
    ada = rooms.person("ada")
    tally, _ = deal(rooms, 4, b"text", bytes(32))
    event = events.Dealt(
        os.urandom(16), (b"text",), tally.opens, tally.closes, 4, bytes(32), tally.encode(), {bytes(32): b"x"}
    )
    with pytest.raises(UserError, match="an intermediary alone deals"):
        ada.channel.soundings._check(event)
    for texts in ((), ("one", "one"), tuple(map(str, range(9))), ("",)):
        with pytest.raises((UserError, ValueError)):
            await ada.channel.soundings.ask(texts)
    with pytest.raises(UserError, match="longer than the charter"):
        await ada.channel.soundings.ask(["text"], answer_within=29 * 86400, collect_within=7 * 86400)
    with pytest.raises(UserError, match="two channels"):
        from pourparler_clients.soundings import deal as dealing

        await dealing([rooms.people[-1].channel], ["text"])
