"""A text is stored under both halves of its key or not at all, and whatever breaks meanwhile loses none."""

import asyncio
import itertools
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from pourparler_clients.errors import Unkept, Unreachable
from pourparler_clients.examine import found, open_texts, stored_texts, traces, vault_pages
from pourparler_clients.testing import PASSPHRASE, House, Line, Person, PowerCut, breaks, until
from pourparler_policies.limits import DAY, HANDSHAKE_BURST, HOUR
from pourparler_service.database import OUTSIDE_BACKUPS
from pourparler_service.grants import issue
from pourparler_service.testing import running


def asked(line: Line) -> int:
    return sum(path.endswith("/halves") for _, path in line.requests)


async def reopened(house: House, person: Person) -> Person:
    """The same vault in a new process, which has asked for nothing yet."""
    await person.close()
    following = Person.open(person.directory, person.name)
    house.people[house.people.index(person)] = following
    return following


def cut(line: Line) -> None:
    breaks("POST", "/halves", reached=False, times=1000)(line)


@pytest.mark.parametrize("reached", [False, True])
async def test_a_message_whose_half_does_not_come_is_folded_later_and_not_lost(
    reached: bool, house: House
) -> None:
    ada, ben = await house.room("ada", "ben")
    ben = await reopened(house, ben)
    await ada.say("while ben was away")
    breaks("POST", "/halves", reached=reached)(ben.line)
    before = ben.log.row.cursor
    with pytest.raises(Unreachable):
        await ben.sync()
    assert (ben.log.row.cursor, ben.log.row.missed) == (before, 0)
    assert ben.device.vault.rows("SELECT * FROM message") == []
    await ben.sync()
    assert ben.texts() == ["while ben was away"]
    assert ben.log.row.missed == 0


async def test_a_device_that_was_online_stores_and_writes_on_without_asking(house: House, tmp_path: Path) -> None:
    ada, ben = await house.room("ada", "ben")
    await ben.say("a shorter life is in use here", life=5 * HOUR)
    cut(ben.line)
    before = asked(ben.line)
    await ada.say("one", "two")
    await ben.sync()
    breaks("GET", "/entries", reached=False, times=9)(ben.line)
    for life in (None, 5 * HOUR):
        with pytest.raises(Unreachable, match="does not answer"):
            await ben.say("written without a connection", life=life)
    assert ben.waiting() == ["written without a connection"] * 2
    assert ben.texts() == ["a shorter life is in use here", "one", "two"]
    assert asked(ben.line) == before
    texts = stored_texts(ben.copy(tmp_path / "image"), PASSPHRASE)
    assert len(texts) == 5
    assert not found(traces("written without a connection"), open_texts(texts, []))


async def test_what_is_said_while_no_key_is_at_hand_stays_in_memory_and_is_said_when_the_line_is_back(
    house: House, tmp_path: Path
) -> None:
    ada, ben = await house.room("ada", "ben")
    ben = await reopened(house, ben)
    cut(ben.line)
    text = "said by a device that was opened without a connection"
    with pytest.raises(Unkept, match="in memory only"):
        await ben.say(text)
    assert ben.waiting() == []
    assert not found(traces(text), vault_pages(ben.copy(tmp_path / "image"), PASSPHRASE))
    ben.line.before_request = None
    await ben.sync()
    await ada.sync()
    assert ada.texts() == ben.texts() == [text]


async def test_a_device_opened_without_a_connection_shows_how_many_it_has_and_nothing_else(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say("one", "two")
    await ben.sync()
    ben = await reopened(house, ben)
    assert ben.texts() == []
    assert ben.log.store.messages.closed(ben.device.clock()) == (2, 0)
    await ben.channel.open_texts()
    assert ben.texts() == ["one", "two"]
    assert ben.log.store.messages.closed(ben.device.clock()) == (0, 0)


async def test_a_charter_that_reads_offline_needs_no_half_and_asks_for_none(house: House, tmp_path: Path) -> None:
    ada, ben = await house.room("ada", "ben", read_offline=True)
    await ada.say("one")
    await ben.sync()
    ben = await reopened(house, ben)
    assert ben.texts() == ["one"]
    assert asked(ada.line) == asked(ben.line) == 0
    opened = open_texts(stored_texts(ben.copy(tmp_path / "image"), PASSPHRASE), [])
    assert found(traces("one"), opened)  # that is what it gives up


async def test_an_operator_who_allows_no_longer_life_than_the_charter_costs_only_the_halves_ahead(
    tmp_path: Path,
) -> None:
    longest = 32 * DAY  # the absence limit of 30 days, and two
    caps = ("--newcomer-handshakes", str(HANDSHAKE_BURST), "--longest-life", str(longest))
    with running(tmp_path / "data", *caps) as server:
        house = House(server.url, lambda: issue(server.data)[0], tmp_path)
        ada, ben = await house.room("ada", "ben", messages=longest)
        await ada.say("one")
        await ben.sync()
        assert ben.texts() == ["one"]
        await house.close()


async def test_a_device_that_only_listens_renews_its_keys_on_the_charters_schedule(house: House) -> None:
    ada, ben = await house.room("ada", "ben", keys=HOUR)
    ben.clock.offset = 2 * HOUR
    watching = asyncio.create_task(anext(ben.channel.watch()))
    await until(renewed(ada, ben.log.row.credential))
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching


def renewed(person: Person, credential: bytes) -> Callable[[], Awaitable[bool]]:
    keys = person.log.members[credential].keys

    async def look() -> bool:
        await asyncio.sleep(0.1)
        await person.sync()
        return person.log.members[credential].keys != keys

    return look


@pytest.mark.parametrize("hours", [-5, 5])
async def test_a_clock_that_is_hours_wrong_costs_no_message(hours: int, house: House) -> None:
    ada, ben = await house.room("ada", "ben", messages=8 * HOUR)
    ben.clock.offset = hours * HOUR
    life = None if hours > 0 else 2 * HOUR  # longer than the clock is fast; shorter than it is slow
    await ada.say("asked", life=life)
    await ben.sync()
    await ben.say("answered", life=life)
    await ada.sync()
    assert len(ben.texts()) == 2
    assert ada.texts()[-1] == "answered"


async def test_a_message_that_is_over_when_it_is_read_is_counted_and_not_stored(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say("short", life=60)
    ben.clock.offset = 3600
    await ben.sync()
    assert ben.log.row.missed == 1
    assert ben.device.vault.rows("SELECT * FROM message") == []


@pytest.mark.slow
async def test_halves_that_the_service_lost_cost_an_open_device_nothing_and_a_locked_one_is_told(
    tmp_path: Path,
) -> None:
    with running(tmp_path / "data", "--newcomer-handshakes", str(HANDSHAKE_BURST)) as server:
        house = House(server.url, lambda: issue(server.data)[0], tmp_path)
        ada, ben = await house.room("ada", "ben")
        await ada.say("one")
        await ben.sync()
        locked = Person.open(ben.copy(tmp_path / "copy"), "ben")
        house.people.append(locked)
    shutil.rmtree(tmp_path / "data" / OUTSIDE_BACKUPS / "halves")
    with running(tmp_path / "data", "--port", server.url.rpartition(":")[2]):
        assert [happening.kind for happening in await ben.sync()] == ["alarm"]
        await locked.channel.open_texts()
        assert locked.log.store.messages.closed(locked.device.clock()) == (0, 1)
        ben.channel.log.resume()
        ben = await reopened(house, ben)
        await ben.channel.open_texts()
        assert ben.texts() == ["one"]
        await house.close()


@pytest.mark.slow
async def test_power_cut_at_any_step_of_reading_and_saying_loses_nothing_and_stores_nothing_in_the_open(
    house: House, tmp_path: Path
) -> None:
    ada, ben = await house.room("ada", "ben")
    said: list[str] = []
    for number in itertools.count():
        heard, answer = f"heard-{number:03}-of-the-well", f"answer-{number:03}-of-the-well"
        await ada.say(heard)
        ben = await reopened(house, ben)  # it has to ask for every half
        ben.faults.cut = len(ben.faults.steps) + number
        dead = True
        try:
            await ben.sync()
            await ben.say(answer)
            dead = False
        except PowerCut:
            assert ben.faults.image is not None
            texts = [*said, heard, answer]
            needles = {trace for text in texts for trace in traces(text)}
            assert not found(needles, vault_pages(ben.faults.image, PASSPHRASE))
            assert not found(needles, open_texts(stored_texts(ben.faults.image, PASSPHRASE), []))
            ben = await house.again(ben)
            await ben.sync()
            if answer not in ben.texts():
                await ben.say(answer)
        said += [heard, answer]
        ben.faults.cut = None
        await ada.sync()
        assert sorted(ada.texts()) == sorted(ben.texts()) == sorted(said)
        if not dead:
            break
    assert number > 12
