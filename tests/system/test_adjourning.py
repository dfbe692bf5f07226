"""A session that ends at an agreed hour: everything said before it ends then, on devices and at the service."""

import asyncio
import hashlib
import itertools
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from pourparler_clients.api import Api
from pourparler_clients.errors import Refused
from pourparler_clients.examine import found, open_texts, stored_texts, traces
from pourparler_clients.signing_testing import Hours
from pourparler_clients.testing import PASSPHRASE, House, Person, PowerCut
from pourparler_policies import hours as ends
from pourparler_policies import wire
from pourparler_policies.fold.events import Approved
from pourparler_policies.fold.facts import Adjourn
from pourparler_policies.limits import DAY, HANDSHAKE_BURST, HOUR, MINUTE
from pourparler_service.caps import Caps
from pourparler_service.examine import kept_entries, kept_keys, open_kept
from pourparler_service.grants import issue
from pourparler_service.settings import Settings
from pourparler_service.testing import threaded

EARLY, BETWEEN, LATER = "Said before the hour was agreed.", "Said when it was agreed.", "Said after the hour."


@pytest.fixture
def hours() -> Hours:
    return Hours()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest_asyncio.fixture
async def house(hours: Hours, data: Path, tmp_path: Path) -> AsyncIterator[House]:
    """A service of its own for each test: its time goes on, and never back."""
    with threaded(Settings(data, Caps(newcomer_handshakes=HANDSHAKE_BURST), clock=hours)) as service:
        house = House(service, lambda: issue(data)[0], tmp_path)
        yield house
        await house.close()


def passes(hours: Hours, seconds: int, *people: Person) -> None:
    """Time, everywhere but on the devices that are not named."""
    hours.offset += seconds
    for person in people:
        person.clock.offset += seconds


async def talk(house: House, hours: Hours, *names: str, length: int = 2 * HOUR) -> tuple[int, list[Person]]:
    """People who agreed on an hour: EARLY was said before, BETWEEN after; returns the hour."""
    people = await house.room(*names)
    ada = people[0]
    for person in people:
        await person.sync()
    await ada.say(EARLY)
    for person in people:
        await person.sync()
    hour = ada.device.clock() + length
    await house.agree(ada, Adjourn(hour))
    await ada.say(BETWEEN)
    for person in people:
        await person.sync()
        assert person.log.consent.adjourned == hour
        assert person.texts() == [EARLY, BETWEEN]
    return hour, people


async def halves_now(person: Person, image: Path) -> list[bytes]:
    """All that the service gives to who has a copy of a vault."""
    async with Api(person.log.row.url, person.log.row.token) as api:
        given: list[bytes] = []
        for end in sorted({text.end for text in stored_texts(image, PASSPHRASE)}):
            with suppress(Refused):  # it is over
                given += (await api.halves(person.channel.id, wire.AskHalves(first=end, step=10, number=1))).halves
    return given


async def test_at_the_agreed_hour_all_that_was_said_before_ends_and_what_is_said_afterwards_stays(
    house: House, hours: Hours, data: Path, tmp_path: Path
) -> None:
    _, (ada, ben) = await talk(house, hours, "ada", "ben")
    said = {message.seq for message in ada.log.store.messages.shown(ada.device.clock())}
    between = hashlib.sha256(ada.line.sealed[-1]).digest()
    before = Path(shutil.copytree(data, tmp_path / "before"))

    def opens(keys: Path) -> bool:
        opened = open_kept(kept_entries(before), kept_keys(keys))
        return between in {hashlib.sha256(one).digest() for one in opened}

    assert opens(before)
    passes(hours, 2 * HOUR + 2 * MINUTE, ada, ben)
    assert ada.texts() == ben.texts() == []
    for person in (ada, ben):
        person.device.purge()
        assert person.device.vault.rows("SELECT * FROM message") == []
    for _ in range(100):  # nobody has visited the service
        if not opens(data):
            break
        await asyncio.sleep(0.1)
    assert not opens(data)
    await ada.say(LATER)
    await ben.sync()
    async with Api(ada.log.row.url, ada.log.row.token) as api:
        left = {entry.seq for entry in (await api.entries(ada.channel.id, 0)).entries}
    assert len(said - left) == 2  # what was said before the agreement, since its author came by
    assert ada.texts() == ben.texts() == [LATER]
    passes(hours, DAY, ada, ben)
    assert ben.texts() == [LATER]


async def test_a_device_that_is_off_at_the_hour_opens_nothing_afterwards_with_all_that_the_service_has(
    house: House, hours: Hours, tmp_path: Path
) -> None:
    _, (ada, ben) = await talk(house, hours, "ada", "ben")
    image = ben.copy(tmp_path / "off")
    opened = open_texts(stored_texts(image, PASSPHRASE), await halves_now(ben, image))
    assert found(traces(EARLY), opened)
    assert found(traces(BETWEEN), opened)
    passes(hours, 2 * HOUR + 2 * MINUTE, ada)
    await asyncio.sleep(2)  # the service destroys what has ended
    opened = open_texts(stored_texts(image, PASSPHRASE), await halves_now(ben, image))
    assert not found([*traces(EARLY), *traces(BETWEEN)], opened)


async def test_a_device_that_was_off_when_it_was_agreed_erases_everything_when_it_comes_back(
    house: House, hours: Hours
) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say(EARLY)
    await ben.sync()
    hour = ada.device.clock() + HOUR
    await ben.channel.propose(Adjourn(hour))
    await ada.sync()
    assert ben.texts() == [EARLY]
    (digest,) = ada.log.consent.open
    await ada.channel.do(Approved(digest))
    await ada.sync()
    await ada.say(BETWEEN)
    assert ada.log.consent.adjourned == hour
    assert ben.log.consent.adjourned == 0
    passes(hours, HOUR + MINUTE, ada, ben)
    assert ben.texts() == [EARLY]
    await ben.sync()
    assert ben.texts() == []
    assert ben.device.vault.rows("SELECT * FROM message") == []


async def test_a_slow_clock_keeps_nothing_once_the_log_is_past_the_hour(house: House, hours: Hours) -> None:
    _, (ada, ben) = await talk(house, hours, "ada", "ben")
    passes(hours, 2 * HOUR + MINUTE, ada)
    assert ben.texts() == [EARLY, BETWEEN]
    await ada.say(LATER)
    await ben.sync()
    assert ben.texts() == [LATER]


async def test_what_a_member_sends_with_a_longer_life_lives_no_longer_than_to_the_hour(
    house: House, hours: Hours, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour, (ada, ben) = await talk(house, hours, "ada", "ben")
    monkeypatch.setattr(ada.log.lives, "until", lambda _, life: life)
    await ada.say(LATER)
    await ben.sync()
    ends_at = ends.end(hour, 2 * HOUR)
    for person in (ada, ben):
        rows = person.device.vault.rows("SELECT expires_at, end FROM message")
        assert len(rows) == 3
        assert all(expires_at == hour and end <= ends_at for expires_at, end in rows)


async def test_another_hour_lengthens_no_life_of_what_was_said(house: House, hours: Hours) -> None:
    hour, (ada, ben) = await talk(house, hours, "ada", "ben", length=HOUR)
    await house.agree(ada, Adjourn(hour + DAY))
    await ada.say(LATER)
    await ben.sync()
    passes(hours, HOUR, ada, ben)
    assert ada.texts() == ben.texts() == [LATER]
    passes(hours, DAY, ada, ben)
    assert ada.texts() == ben.texts() == []


@pytest.mark.slow
async def test_power_cut_at_any_step_of_the_agreement_leaves_the_hour_with_all_words_or_without_it(
    house: House, hours: Hours
) -> None:
    ada, ben = await house.room("ada", "ben")
    for cut in itertools.count():
        passes(hours, 10 * MINUTE, ada, ben)  # so many agreements are not for one minute
        await ada.say(f"said {cut}")
        await ben.sync()
        hour = ada.device.clock() + HOUR + cut
        digest = await ada.channel.propose(Adjourn(hour))
        ben.faults.cut = len(ben.faults.steps) + cut
        dead = False
        try:
            await ben.sync()
            await ben.channel.do(Approved(digest))
            await ben.sync()
        except PowerCut:
            dead = True
            ben = await house.again(ben)
            ben.clock.offset = hours.offset
            await ben.sync()
            if digest in ben.log.consent.open and ben.log.consent.adjourned != hour:
                await ben.channel.do(Approved(digest))
        ben.faults.cut = None
        for person in (ada, ben, ada, ben):
            await person.sync()
        for person in (ada, ben):
            assert person.log.consent.adjourned == hour
            rows = person.device.vault.rows("SELECT expires_at, end FROM message")
            assert rows
            assert all(expires_at <= hour and end <= ends.end(hour, HOUR) for expires_at, end in rows)
        if not dead:
            break
    assert cut > 8
