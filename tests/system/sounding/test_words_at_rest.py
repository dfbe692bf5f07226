"""The words of a sounding lie under keys of which the service has one half, and end with them; all else needs none."""

import shutil
from pathlib import Path

import pytest

from pourparler_clients.cli import soundlines
from pourparler_clients.cli.table import do_words
from pourparler_clients.errors import Lacking, Unreachable, UserError
from pourparler_clients.examine import found, open_texts, possible_halves, stored_texts, traces, vault_pages
from pourparler_clients.outbox import Kind
from pourparler_clients.schema import MIGRATIONS
from pourparler_clients.sealing import UNASKED
from pourparler_clients.signing_testing import Hours
from pourparler_clients.sounding_testing import PACKAGES, common_room, dealt_rooms, stage_of
from pourparler_clients.soundlog import new_id
from pourparler_clients.store import ChannelStore
from pourparler_clients.testing import CHEAP, PASSPHRASE, House, Person, breaks, channel_row
from pourparler_clients.vault import Vault
from pourparler_policies import payload
from pourparler_policies.limits import HANDSHAKE_BURST
from pourparler_policies.sounding import events
from pourparler_policies.sounding.device import Stage
from pourparler_policies.sounding.facts import GRACE
from pourparler_service.database import OUTSIDE_BACKUPS
from pourparler_service.grants import issue
from pourparler_service.testing import running

NEEDLES = {trace for text in PACKAGES for trace in traces(text)}


def words(person: Person) -> tuple[str, ...]:
    asked = person.channel.soundings.status()
    assert asked is not None
    assert asked.count == len(PACKAGES)
    return asked.packages


@pytest.mark.parametrize("dealt", [False, True])
async def test_a_copied_vault_opens_them_with_the_services_half_alone_and_when_it_is_over_nothing_is_left(
    dealt: bool, house: House, hours: Hours, data: Path, tmp_path: Path
) -> None:
    if dealt:
        room = await dealt_rooms(house, hours, ["ada", "ben"], ["cyd", "dan"])
        await room.deal(*PACKAGES)
    else:
        room = await common_room(house, hours, "ada", "ben", present=["mia"])
        await room.ask(*PACKAGES)
    halves = possible_halves(data / OUTSIDE_BACKUPS)
    for person in room.people:
        assert words(person) == PACKAGES
        image = person.copy(tmp_path / f"image-{person.name}")
        assert not found(NEEDLES, vault_pages(image, PASSPHRASE))
        assert not found(NEEDLES, open_texts(stored_texts(image, PASSPHRASE), []))
        opened = open_texts(stored_texts(image, PASSPHRASE), halves)
        assert all(found(traces(text), opened) for text in PACKAGES)
    sealed = [person.device.vault.rows("SELECT sealed FROM sounding_text")[0][0] for person in room.people]
    room.until(room.asked().closes + GRACE + 1)
    for person, kept in zip(room.people, sealed, strict=True):
        person.device.purge()  # by its own clock, whatever the log says
        assert person.channel.soundings.status() is None
        image = person.copy(tmp_path / f"after-{person.name}")
        assert not found({kept[:24], kept[-24:]}, vault_pages(image, PASSPHRASE))


async def test_who_takes_the_question_back_takes_the_words_from_every_vault(house: House, hours: Hours) -> None:
    room = await common_room(house, hours, "ada", "ben")
    await room.ask(*PACKAGES)
    await room.people[0].channel.soundings.recall()
    await room.visit()
    assert all(person.device.vault.rows("SELECT * FROM sounding_text") == [] for person in room.people)


async def test_a_question_whose_half_does_not_come_is_folded_later_and_its_device_takes_part(
    house: House, hours: Hours
) -> None:
    room = await common_room(house, hours, "ada", "ben")
    ada, ben = room.people
    await ben.close()
    room.channels[0][1] = ben = Person.open(ben.directory, "ben", offset=hours.offset)
    house.people[1] = ben
    await ada.channel.soundings.ask(PACKAGES, answer_within=3600, collect_within=600)
    breaks("POST", "/halves", reached=False, times=9)(ben.line)
    before = ben.log.row.cursor
    with pytest.raises(Unreachable):
        await ben.sync()
    assert ben.log.row.cursor == before
    assert stage_of(ben) is None
    assert ben.device.vault.rows("SELECT * FROM sounding_text") == []
    ben.line.before_request = None
    await room.through(room.ready)
    assert words(ben) == PACKAGES


async def test_a_device_without_a_connection_hands_nobody_its_words_and_keeps_its_persons_answer(
    house: House, hours: Hours
) -> None:
    room = await common_room(house, hours, "ada", "ben")
    await room.ask(*PACKAGES)
    ada = room.people[0]
    await ada.close()
    room.channels[0][0] = ada = Person.open(ada.directory, "ada", offset=hours.offset)
    house.people[0] = ada
    with pytest.raises(Lacking, match="connect, and try again"):
        ada.channel.soundings.status()
    ada.channel.soundings.answer([True, False, False])
    await ada.channel.open_texts()
    assert words(ada) == PACKAGES
    room.answer("ben", True, True, True)
    assert await room.counted() == {0}


async def test_halves_that_the_service_lost_cost_an_open_device_nothing_and_a_locked_one_its_words_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(tmp_path / "data", "--newcomer-handshakes", str(HANDSHAKE_BURST)) as server:
        house = House(server.url, lambda: issue(server.data)[0], tmp_path)
        ada, ben = await house.room("ada", "ben")
        await ada.channel.soundings.ask(PACKAGES)
        for person in (ben, ada, ben, ada):
            await person.sync()
        locked = Person.open(ben.copy(tmp_path / "copy"), "ben")
        house.people.append(locked)
    shutil.rmtree(tmp_path / "data" / OUTSIDE_BACKUPS / "halves")
    with running(tmp_path / "data", "--port", server.url.rpartition(":")[2]):
        assert "alarm" in [happening.kind for happening in await ben.sync()]
        await locked.channel.open_texts()
        assert words(locked) == ()
        assert stage_of(locked) is Stage.READY  # and it hands in all the same
        with pytest.raises(UserError, match="only --none"):
            await do_words("sound answer --all --yes", locked.channel, as_json=False)
        capsys.readouterr()
        await do_words("sound answer --none --yes", locked.channel, as_json=False)
        assert soundlines.WORDLESS in capsys.readouterr().out
        ben.channel.log.resume()
        ben = await house.again(ben)
        assert words(ben) == PACKAGES
        await house.close()


async def test_a_question_that_waited_while_the_service_lost_its_half_is_not_sent_and_its_person_is_told(
    tmp_path: Path,
) -> None:
    with running(tmp_path / "data", "--newcomer-handshakes", str(HANDSHAKE_BURST)) as server:
        house = House(server.url, lambda: issue(server.data)[0], tmp_path)
        ada, _ = await house.room("ada", "ben")
        event = events.Sounded(new_id(), (PACKAGES[0].encode(),), ada.clock() + 3600, ada.clock() + 7200)
        content = payload.encode_events([payload.Sounding.of(event)])
        until = ada.clock() + 7200
        await ada.channel.with_halves(lambda: ada.log.lives.add_draft(content, 7200, until, Kind.SOUNDING))
        await ada.close()
    shutil.rmtree(tmp_path / "data" / OUTSIDE_BACKUPS / "halves")
    with running(tmp_path / "data", "--port", server.url.rpartition(":")[2]):
        ada = await house.again(ada)
        await ada.sync()
        ada.channel.log.resume()
        assert UNASKED in [happening.text for happening in await ada.sync()]
        assert ada.log.store.outbox.waiting() == 0
        assert ada.channel.soundings.status() is None
        await house.close()


def test_a_vault_from_before_loses_the_words_that_lay_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, channel = tmp_path / "old", bytes(16)
    with monkeypatch.context() as then:
        then.setattr("pourparler_clients.vault.MIGRATIONS", MIGRATIONS[: _place()])
        vault = Vault.create(directory, PASSPHRASE, CHEAP)
        with vault.transaction():
            ChannelStore(vault, channel).insert(channel_row(channel, "Two wells"))
            state = PACKAGES[0].encode()
            vault.execute("INSERT INTO sounding VALUES (?, ?, x'', x'', x'', -2, x'')", channel, state)
            sql = "INSERT INTO draft (channel, kind, content, life, expires_at) VALUES (?, 'sounding', ?, 1, 1)"
            vault.execute(sql, channel, PACKAGES[1].encode())
        vault.close()
    assert found(NEEDLES, vault_pages(directory, PASSPHRASE))
    Vault.open(directory, PASSPHRASE).close()
    assert not found(NEEDLES, vault_pages(directory, PASSPHRASE))


def _place() -> int:
    """Of the migration that made the table of the words."""
    return next(at for at, steps in enumerate(MIGRATIONS) if any("TABLE sounding_text" in step for step in steps))
