"""The shortest rule wins: what was read, what its author takes back, what a session, a recess or a new charter ends."""

import asyncio
import itertools
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pourparler_clients.api import Api
from pourparler_clients.errors import Unreachable, UserError
from pourparler_clients.examine import files_below, found, open_texts, pieces, stored_texts, traces, vault_pages
from pourparler_clients.hours import ALONE
from pourparler_clients.outbox import Kind
from pourparler_clients.testing import PASSPHRASE, House, Person, PowerCut, breaks
from pourparler_policies.fold.facts import Amend, Erase, Recess
from pourparler_policies.limits import DAY, HOUR, MINUTE
from pourparler_policies.payload import Shortened
from pourparler_service.database import OUTSIDE_BACKUPS
from pourparler_service.examine import kept_entries, open_kept
from pourparler_service.halves import HalfStore
from pourparler_service.storagekeys import OWNER

TEXT = "Both villages may use the wells on alternate days."


def seqs(person: Person) -> dict[str, int]:
    return {message.text: message.seq for message in person.log.store.messages.shown(person.device.clock())}


def lives(person: Person) -> dict[str, int]:
    """How long each message lives from now on, in seconds."""
    now = person.device.clock()
    return {message.text: message.expires_at - now for message in person.log.store.messages.shown(now)}


def stored_as(data: Path, *said: bytes) -> set[bytes]:
    """By what the service's files show these sealed entries: they lie in it under storage keys."""
    with tempfile.TemporaryDirectory() as place:
        apart = Path(shutil.copytree(data / OUTSIDE_BACKUPS / "halves", Path(place) / "halves"))
        store = HalfStore(apart)
        try:
            keys = list(store.all_of(OWNER).values())
        finally:
            store.close()
    kept = [one for one in kept_entries(data) if set(said) & set(open_kept([one], keys))]
    return {one.stored[len(one.stored) // 2 :][:32] for one in kept}


async def read(person: Person) -> list[str]:
    """As a screen does it."""
    return [
        message.text
        for message in await person.channel.read(person.log.store.messages.shown(person.device.clock()))
    ]


async def at_the_service(person: Person) -> set[int]:
    """Seqs of the entries that the service still hands out."""
    async with Api(person.log.row.url, person.log.row.token) as api:
        return {entry.seq for entry in (await api.entries(person.channel.id, 0)).entries}


# Once it was read


async def test_a_message_lives_shorter_once_it_was_shown_and_not_before(house: House, tmp_path: Path) -> None:
    ada, ben = await house.room("ada", "ben", after_reading=MINUTE)
    await ada.say(TEXT)
    await ben.sync()
    assert lives(ben)[TEXT] > 6 * DAY
    unread = stored_texts(ben.copy(tmp_path / "unread"), PASSPHRASE)
    assert await read(ben) == [TEXT]
    assert lives(ben)[TEXT] <= MINUTE
    ben.clock.offset = 30
    assert await read(ben) == [TEXT]
    assert lives(ben)[TEXT] <= MINUTE - 30  # looking again does not begin anew
    # What is stored now opens only with a half that is gone soon; under the old key nothing of it is left.
    image = ben.copy(tmp_path / "read")
    halves, now = ben.log.store.hours.at_hand(), ben.device.clock()
    later = [half for end, half in halves.items() if end > now + MINUTE]
    assert found(traces(TEXT), open_texts(unread, later))
    assert not found(traces(TEXT), open_texts(stored_texts(image, PASSPHRASE), later))
    assert found(traces(TEXT), open_texts(stored_texts(image, PASSPHRASE), halves.values()))
    assert not found(pieces(one.sealed for one in unread), vault_pages(image, PASSPHRASE))
    ben.clock.offset = MINUTE + 1
    assert ben.texts() == []
    assert ada.texts() == [TEXT]  # there nobody has looked


async def test_a_message_whose_shorter_key_is_not_at_hand_is_not_shown_yet_and_not_lost(house: House) -> None:
    ada, ben = await house.room("ada", "ben", after_reading=MINUTE)
    await ada.say(TEXT)
    await ben.sync()
    breaks("POST", "/halves", reached=False, times=1000)(ben.line)
    ben.clock.offset = HOUR  # longer without a connection than halves were fetched for
    assert await read(ben) == []
    assert lives(ben)[TEXT] > 6 * DAY
    ben.line.before_request = None
    assert await read(ben) == [TEXT]
    assert lives(ben)[TEXT] <= MINUTE


async def test_a_message_that_was_taken_back_before_it_was_shown_is_not_shown(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say(TEXT)
    (said,) = [happening for happening in await ben.sync() if happening.kind == "said"]
    await ada.channel.shorten(seqs(ada)[TEXT], 0)
    assert [happening.kind for happening in await ben.sync()] == ["shortened"]
    assert said.message is not None
    assert await ben.channel.read([said.message]) == []


async def test_own_shorter_rules_hold_on_this_device_and_never_lengthen_anything(house: House) -> None:
    ada, ben = await house.room("ada", "ben", after_reading=HOUR)
    await ada.say("before the rule", "read before")
    await ben.sync()
    await ben.channel.set_own_rule(2 * HOUR, MINUTE)
    await ada.say("after the rule")
    await ben.sync()
    assert set(lives(ben).values()) <= set(range(2 * HOUR + 1))
    await ben.channel.read(ben.log.store.messages.shown(0)[:1])
    assert lives(ben)["before the rule"] <= MINUTE
    await ben.channel.set_own_rule(0, 0)
    await ben.sync()
    await read(ben)
    assert lives(ben)["before the rule"] <= MINUTE
    assert lives(ben)["after the rule"] <= HOUR
    assert min(lives(ada).values()) > 6 * DAY


# What its author shortens


async def test_words_that_their_author_takes_back_end_everywhere_and_at_the_service(
    house: House, data: Path, tmp_path: Path
) -> None:
    ada, ben, cleo = await house.room("ada", "ben", "cleo")
    await ada.say(TEXT, "this stays")
    await ben.sync()
    seq, sealed = seqs(ada)[TEXT], ada.line.sealed[-2]
    middle = stored_as(data, sealed)
    assert len(middle) == 1
    before = {one.name: stored_texts(one.copy(tmp_path / one.name), PASSPHRASE) for one in (ada, ben)}
    assert found(middle, files_below(data))
    await ada.channel.shorten(seq, 0)
    assert seq not in await at_the_service(ada)
    assert not found(middle, files_below(data))
    assert ada.device.vault.rows("SELECT * FROM sent WHERE due IS NOT NULL") == []
    await ben.sync()
    for person in (ada, ben):
        assert person.texts() == ["this stays"]
        gone = pieces(one.sealed for one in before[person.name] if one.number == seq)
        assert gone
        assert not found(gone, vault_pages(person.copy(tmp_path / f"{person.name}-later"), PASSPHRASE))
    await cleo.sync()  # who was away learns that something ended, and not what
    assert (cleo.texts(), cleo.log.row.missed) == (["this stays"], 1)


async def test_a_shorter_life_that_is_not_over_yet_holds_everywhere_and_ends_at_the_service_too(
    house: House,
) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say(TEXT)
    await ben.sync()
    seq = seqs(ada)[TEXT]
    await ada.channel.shorten(seq, HOUR)
    await ben.sync()
    assert max(*lives(ada).values(), *lives(ben).values()) <= HOUR
    assert seq in await at_the_service(ada)
    with pytest.raises(UserError, match="longer than that"):
        await ada.channel.shorten(seq, 2 * HOUR)
    ada.clock.offset = HOUR
    await ada.sync()
    assert seq not in await at_the_service(ada)


async def test_nobody_shortens_anothers_words(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say(TEXT)
    await ben.sync()
    with pytest.raises(UserError, match="not a message of yours"):
        await ben.channel.shorten(seqs(ben)[TEXT], 0)
    id_ = ben.log.store.messages.shown(0)[0].id
    ben.channel.draft([Shortened(id=id_, life=0)], DAY, Kind.SHORTENED)
    await ben.sync()
    await ada.sync()
    assert ada.texts() == ben.texts() == [TEXT]
    assert seqs(ada)[TEXT] in await at_the_service(ada)


async def test_words_taken_back_without_a_connection_end_when_it_is_back(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say(TEXT)
    seq = seqs(ada)[TEXT]
    breaks("GET", "/entries", reached=False)(ada.line)
    with pytest.raises(Unreachable):
        await ada.channel.shorten(seq, 0)
    ada = await house.again(ada)
    await ada.sync()
    await ben.sync()
    assert ada.texts() == ben.texts() == []
    assert seq not in await at_the_service(ada)


@pytest.mark.slow
async def test_power_cut_at_any_step_of_taking_back_ends_it_everywhere_in_the_end(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    for cut in itertools.count():
        text = f"taken back {cut}"
        await ada.say(text)
        seq = seqs(ada)[text]
        ada.faults.cut = len(ada.faults.steps) + cut
        dead = False
        try:
            await ada.channel.shorten(seq, 0)
        except PowerCut:
            dead = True
            ada = await house.again(ada)
            await ada.sync()
            if text in ada.texts():
                await ada.channel.shorten(seq, 0)
        ada.faults.cut = None
        await ben.sync()
        assert ada.texts() == ben.texts() == []
        assert seq not in await at_the_service(ada)
        if not dead:
            break
    assert cut > 8


# Sessions


@pytest.mark.parametrize("subject", ["erase", "recess"])
async def test_a_session_that_is_ended_or_a_recess_leaves_no_text_on_devices_nor_at_the_service(
    subject: str, house: House, data: Path
) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say("ada, in the session")
    await ben.say("ben, in the session")
    await ada.sync()
    said = [seqs(ada)["ada, in the session"], seqs(ada)["ben, in the session"]]
    middles = stored_as(data, ada.line.sealed[-1], ben.line.sealed[-1])
    assert len(found(middles, files_below(data))) == 2
    until = ada.device.clock() + 30 * DAY
    await house.agree(ada, Erase(ada.log.row.cursor) if subject == "erase" else Recess(until))
    for person in (ada, ben):
        await person.sync()
        assert person.texts() == []
        assert person.device.vault.rows("SELECT * FROM message") == []
        assert person.device.vault.rows("SELECT * FROM sent WHERE due IS NOT NULL") == []
        assert {member.name for member in person.log.members.values()} == {"ada", "ben"}
    assert not set(said) & await at_the_service(ada)
    assert not found(middles, files_below(data))
    await ada.say("afterwards")
    await ben.sync()
    assert ben.texts() == ["afterwards"]


async def test_reconvening_begins_with_everybodys_new_keys(house: House) -> None:
    ada, ben = await house.room("ada", "ben", keys=30 * DAY)
    end = ada.device.clock() + 5
    await house.agree(ada, Recess(end))
    before = ada.log.group.epoch
    await ada.sync()
    assert ada.log.group.epoch == before
    await asyncio.sleep(end + 1 - time.time())
    for person in (ada, ben, ada):
        await person.sync()
    assert ada.log.group.epoch == ben.log.group.epoch == before + 2
    assert {member.heard >= end for member in ada.log.members.values()} == {True}


# A stricter charter


async def test_a_stricter_charter_shortens_what_is_stored_and_seals_what_could_be_read_offline(
    house: House, tmp_path: Path
) -> None:
    ada, ben = await house.room("ada", "ben", read_offline=True)
    await ada.say(TEXT)
    await ben.sync()
    old = stored_texts(ben.copy(tmp_path / "before"), PASSPHRASE)
    assert {one.end for one in old} == {ALONE}
    charter = ada.log.charter
    stricter = replace(charter, retention=replace(charter.retention, messages=DAY, read_offline=False))
    await house.agree(ada, Amend(stricter.encode()))
    for person in (ada, ben):
        await person.sync()
        assert person.log.charter == stricter
        assert lives(person)[TEXT] <= DAY
    image = ben.copy(tmp_path / "after")
    assert ALONE not in {one.end for one in stored_texts(image, PASSPHRASE)}
    assert not found(traces(TEXT), open_texts(stored_texts(image, PASSPHRASE), []))
    assert not found(pieces(one.sealed for one in old), vault_pages(image, PASSPHRASE))


# What is said about it


async def test_only_messages_are_counted_as_expired_unread(house: House) -> None:
    ada, ben, cleo = await house.room("ada", "ben", "cleo")
    await ada.say("one", "two", "three")
    await ada.channel.refresh_keys()
    await ben.sync()
    await ben.channel.propose(Recess(ben.device.clock() + DAY))
    for text in ("one", "two"):
        await ada.channel.shorten(seqs(ada)[text], 0)
    await cleo.sync()
    assert (cleo.texts(), cleo.log.row.missed) == (["three"], 2)


async def test_the_author_is_told_who_may_miss_a_message(house: House) -> None:
    ada, ben = await house.room("ada", "ben", keys=HOUR)
    assert ada.channel.may_miss(60) == []
    ada.clock.offset = 2 * HOUR + 120
    await ada.sync()
    assert [member.name for member in ada.channel.may_miss(60)] == ["ben"]
    assert ada.channel.may_miss(DAY) == []
    ben.clock.offset = 2 * HOUR + 120
    keys = ada.log.members[ben.log.row.credential].keys
    await ben.sync()  # reads, says nothing, and is heard of by its new keys
    await ada.sync()
    assert ada.log.members[ben.log.row.credential].keys != keys
