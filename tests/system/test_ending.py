"""The end for everyone, over real services: a power cut anywhere, devices that come late or never."""

import asyncio

import pytest

from pourparler_clients.ending import SAYS_CLOSED
from pourparler_clients.errors import PourparlerError
from pourparler_clients.store import State
from pourparler_clients.testing import House, Person, PowerCut, time_passes
from pourparler_policies.fold.closing import SHOWN_AFTER
from pourparler_policies.limits import DAY
from pourparler_policies.wire import Problem

STEPS = 90  # more than one device takes from its approval to the end
EVERY = 12  # each run begins at another of these


async def come_by(*people: Person, rounds: int = 3) -> None:
    for _ in range(rounds):
        for person in people:
            if person.device.channels():
                await person.sync()


def erased(person: Person) -> None:
    """Nothing of any channel is in any table."""
    vault = person.device.vault
    tables = [name for (name,) in vault.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in set(tables) - {"card", "clock", "sqlite_sequence"}:
        assert vault.rows(f"SELECT * FROM {table}") == [], table


async def refusal(person: Person, channel: bytes, url: str, token: bytes) -> Problem | None:
    async with person.line.connect(url, token) as api:
        try:
            await api.entries(channel, 0)
        except PourparlerError as error:
            return getattr(error, "problem", None)
    return None


@pytest.mark.parametrize("first", range(3))
async def test_power_cut_at_any_step_of_the_end_leaves_the_channel_whole_or_ends_it(
    first: int, house: House
) -> None:
    cuts = range(first * EVERY // 3 + 1, STEPS, EVERY)
    happened = set()
    for cut in cuts:
        ada, ben = await house.room(f"ada{cut}", f"ben{cut}")
        await ada.say("What has to be gone.")
        await ben.sync()
        row = ben.log.row
        await ada.channel.close_for_all()
        ben.faults.cut = len(ben.faults.steps) + cut
        agreed, died = False, False
        for _ in range(12):
            try:
                if ben.device.channels():
                    await (ben.sync() if agreed else ben.channel.close_for_all())
                    agreed = True
            except PowerCut:
                died = True
                ben = await house.again(ben)
                if ben.state is State.OPEN:
                    agreed = ben.log.closing
                    # One state or the other: nothing is ended and all is there, or nothing that was said is left.
                    assert ben.texts() == ([] if agreed else ["What has to be gone."])
                    happened.add("ending" if agreed else "whole")
                else:
                    happened.add("gone")
            if ada.device.channels():
                await ada.sync()
            if not ada.device.channels() and not ben.device.channels():
                break
        assert ada.device.channels() == ben.device.channels() == []
        for person in (ada, ben):
            erased(person)
        assert await refusal(ada, row.id, row.url, row.token) is Problem.CLOSED
        for person in (ada, ben):
            await person.close()
        if not died:
            break  # the whole way has fewer steps
    assert "whole" in happened
    assert happened & {"ending", "gone"}


async def test_a_device_that_never_comes_back_delays_the_end_and_does_not_prevent_it(house: House) -> None:
    ada, ben = await house.room("ada", "ben", absence=10 * DAY, notice=DAY)
    await ben.channel.close_for_all()
    late = ben.log.row
    await ben.close()  # this device approves, and is not seen again
    await ada.channel.close_for_all()
    assert ada.log.closing
    assert ada.texts() == []
    time_passes(10 * DAY + SHOWN_AFTER - 60, ada)
    await come_by(ada)
    assert ada.log.closing, "it waits for who may still be behind"
    time_passes(120, ada)
    for _ in range(30):  # its budget of handshakes was spent on founding, and fills again
        await come_by(ada)
        if not ada.device.channels():
            break
        await asyncio.sleep(1)
    assert ada.device.channels() == []
    erased(ada)
    assert await refusal(ada, late.id, late.url, late.token) is Problem.CLOSED


async def test_who_acknowledged_and_is_not_seen_again_delays_the_others_by_the_notice_only(house: House) -> None:
    ada, ben = await house.room("ada", "ben", absence=30 * DAY, notice=DAY)
    await ada.channel.close_for_all()
    await ben.channel.close_for_all()
    await ben.close()
    await come_by(ada)
    assert ada.log.closing
    time_passes(2 * DAY + 60, ada)
    await come_by(ada)
    assert ada.device.channels() == []


async def test_by_its_own_clock_alone_a_device_erases_what_was_agreed_to_end(house: House) -> None:
    ada, ben = await house.room("ada", "ben", absence=10 * DAY, notice=DAY)
    await ada.channel.close_for_all()
    await ben.channel.close_for_all()
    ben.clock.offset += 10 * DAY + SHOWN_AFTER + 2 * DAY + 1
    ben.line.before_request = lambda method, path: (_ for _ in ()).throw(AssertionError("it needs no service"))
    ben.device.purge()
    assert ben.log.row.state is State.CLOSED
    assert ben.device.vault.rows("SELECT 1 FROM member") == ben.device.vault.rows("SELECT 1 FROM record") == []


async def test_a_service_that_says_closed_to_who_has_read_of_no_end_makes_nobody_erase_anything(
    house: House,
) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say("Still here.")
    await ben.sync()
    before = ben.directory
    image = ben.copy(house.root / "image")
    await ada.channel.close_for_all()
    await ben.channel.close_for_all()
    await come_by(ada, ben)
    assert not ada.device.channels()
    assert before.exists()
    old = Person.open(image, "old copy")
    assert [happening.kind for happening in await old.sync()] == ["halted"]
    assert (old.state, old.log.row.trouble) == (State.HALTED, SAYS_CLOSED)
    assert old.device.vault.rows("SELECT count(*) FROM message") == [(1,)]
    await old.close()
