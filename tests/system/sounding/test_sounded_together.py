"""Soundings among real devices at a real service: in one channel, and dealt across two that share no member."""

import pytest

from pourparler_clients.errors import UserError
from pourparler_clients.signing_testing import Hours
from pourparler_clients.sounding_testing import PACKAGES, common_room, dealt_rooms, stage_of
from pourparler_clients.soundings import NOT_ALL
from pourparler_clients.testing import House, breaks
from pourparler_policies.sounding.device import Stage


async def test_in_one_channel_a_text_that_all_accept_is_found_and_then_one_that_somebody_declines_is_not(
    house: House, hours: Hours
) -> None:
    room = await common_room(house, hours, "ada", "ben", present=["mia"])
    await room.ask("The wells stay open.", by=room.person("mia"))
    room.answer("ada", True)
    room.answer("ben", True)
    assert await room.counted() == {0}
    await room.ask("The road is closed.")
    room.answer("ada", True)
    room.answer("ben", False)
    assert await room.counted() == {NOT_ALL}
    # Lines that break when devices hand in, before or after the service has it, lose nothing.
    await room.ask("The road is opened first.")
    room.answer("ada", True)
    room.answer("ben", True)
    breaks("POST", "/slot", reached=True)(room.person("ada").line)
    breaks("POST", "/slot", reached=False, times=2)(room.person("ben").line)
    assert await room.counted() == {0}
    await room.ask("The road stays open.")
    room.answer("ada", True)
    assert await room.counted() == {NOT_ALL}  # ben said nothing


async def test_dealt_over_three_packages_across_two_channels_the_one_that_suits_both_is_found(
    house: House, hours: Hours
) -> None:
    rooms = await dealt_rooms(house, hours, ["ada", "eve"], ["ben", "dan"])
    await rooms.deal(*PACKAGES)
    rooms.answer("ada", True, True, False)
    rooms.answer("eve", True, True, True)
    rooms.answer("ben", False, True, True)
    rooms.answer("dan", True, True, False)
    assert await rooms.counted() == {1}
    assert all(stage_of(person) is Stage.DONE for person in rooms.people)
    with pytest.raises(UserError):
        rooms.answer("ada", True, True, True)
    # Somebody's line fails in one room: it is dealt once more in both.
    rooms.later(4 * 86400)
    await rooms.deal("The wells stay open.")
    for person in rooms.answering:
        rooms.answer(person.name, True)
    await rooms.handed_in(*(person for person in rooms.answering if person.name != "dan"))
    assert await rooms.closed() == {NOT_ALL}
    await rooms.through(lambda: rooms.asked(rooms.person("mia-2")).may_ask_again)
    await rooms.deal("The wells stay open.", again=True)
    for person in rooms.answering:
        rooms.answer(person.name, True)
    assert await rooms.counted() == {0}
