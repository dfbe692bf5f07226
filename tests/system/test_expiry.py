"""What has ended opens nowhere, is in no page of a vault, nothing makes it live again, and the person is told how much
it was.
"""

import asyncio
import json
import random
from pathlib import Path

import pytest

from pourparler_clients.errors import Unreachable, UserError
from pourparler_clients.examine import files_below, found, open_texts, pieces, stored_texts, traces, vault_pages
from pourparler_clients.hours import Block, Hours
from pourparler_clients.testing import PASSPHRASE, House, Person, breaks


def there(person: Person, texts: list[str], root: Path) -> set[str]:
    """Which texts open in a copy of the vault's files with its passphrase and all halves that were ever given out.

    None of them may stand in a page as it is, free pages and journal included.
    """
    image = person.copy(root)
    assert not found((trace for text in texts for trace in traces(text)), vault_pages(image, PASSPHRASE))
    opened = open_texts(stored_texts(image, PASSPHRASE), HALVES)
    return {text for text in texts if found(traces(text), opened)}


HALVES: set[bytes] = set()  # all that the service has given out


@pytest.fixture(autouse=True)
def halves_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    learn = Hours.learn

    def remembering(hours: Hours, block: Block, halves: list[bytes]) -> dict[int, bytes]:
        HALVES.update(halves)
        return learn(hours, block, halves)

    monkeypatch.setattr(Hours, "learn", remembering)


async def test_ended_messages_are_in_no_page_and_living_ones_stay(house: House, tmp_path: Path) -> None:
    ada, ben = await house.room("ada", "ben", messages=1200)
    chosen = random.Random(20261122)
    lives = {}
    for number in range(40):
        size = chosen.choice((8, 40, 300, 2000, 9000))
        text = f"{number:04}" + "".join(chosen.choices("абвгдежзийклмнопрстуфхцчшщ", k=size))
        lives[text] = chosen.choice((100, 200, 300, 1200))
        await ada.say(text, life=lives[text])
    await ben.sync()
    texts = list(lives)
    for person in (ada, ben):
        image = person.copy(tmp_path / f"{person.name}-image")
        sealed = [kept.sealed for kept in stored_texts(image, PASSPHRASE)]
        assert found(pieces(sealed), vault_pages(image, PASSPHRASE)) == pieces(sealed)
        assert there(person, texts, tmp_path / f"{person.name}-0") == set(texts)
        for now in (100, 200, 300, 1200):
            person.clock.offset = now + 5
            person.device.purge()
            living = [text for text in texts if lives[text] > now]
            assert there(person, texts, tmp_path / f"{person.name}-{now}") == set(living)
            assert person.texts() == living
        assert not found(pieces(sealed), vault_pages(person.copy(tmp_path / person.name), PASSPHRASE))


async def test_nothing_of_a_message_can_be_read_without_the_key(house: House, tmp_path: Path) -> None:
    ada, ben = await house.room("ada", "ben", title="Winter wheat prices")
    text = "The second village keeps its well."
    await ada.say(text)
    await ben.sync()
    image = ben.copy(tmp_path / "image")
    needles = {piece for word in (text, "Winter wheat prices", "ada", "ben-and") for piece in traces(word)}
    needles = {piece for piece in needles if len(piece) > 8} | {ben.log.row.token, ben.channel.id, ada.channel.id}
    assert found(needles, files_below(image)) == set()
    assert found({ben.channel.id}, vault_pages(image, PASSPHRASE)) == {ben.channel.id}  # the search works


async def test_clock_set_back_makes_nothing_live_again(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say("short", life=60)
    await ben.sync()
    ben.clock.offset = 61
    assert ben.texts() == []
    ben.device.purge()
    ben.clock.offset = -1_000_000
    assert ben.texts() == []
    ben = await house.again(ben)
    ben.clock.offset = -1_000_000
    assert ben.texts() == []
    assert ben.device.clock() >= ada.device.clock() + 60


async def test_a_copy_of_a_running_vault_is_no_younger_than_the_last_thing_it_did(
    house: House, tmp_path: Path
) -> None:
    ada, ben = await house.room("ada", "ben")
    ben.clock.offset = 60
    await ada.say("the newest")
    await ben.sync()
    copy = Person.open(ben.copy(tmp_path / "image"), "ben", offset=-1_000_000)
    house.people.append(copy)
    assert copy.device.clock() >= ada.device.clock() + 58


async def test_copy_opened_after_the_time_shows_and_keeps_nothing(house: House, tmp_path: Path) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say("short", life=60)
    await ben.sync()
    late = Person.open(ben.copy(tmp_path / "image"), "ben", offset=61)
    house.people.append(late)
    assert late.texts() == []
    assert there(late, ["short"], tmp_path / "second") == set()


async def test_unsent_message_past_its_life_is_erased_and_never_sent(house: House, tmp_path: Path) -> None:
    ada, ben = await house.room("ada", "ben")
    breaks("GET", "/entries", reached=False, times=5)(ada.line)
    text, sealed = "never leaves this device", len(ada.line.sealed)
    with pytest.raises(Unreachable):
        await ada.say(text, life=60)
    assert there(ada, [text], tmp_path / "before") == {text}
    ada.clock.offset = 61
    ada.device.purge()
    assert there(ada, [text], tmp_path / "after") == set()
    ada.line.before_request = None
    await ada.sync()
    await ben.sync()
    assert ada.texts() == ben.texts() == []
    assert len(ada.line.sealed) == sealed


async def test_sealed_message_that_never_arrived_is_not_sent_after_its_life(house: House, tmp_path: Path) -> None:
    ada, ben = await house.room("ada", "ben")
    breaks("POST", "/entries", reached=False)(ada.line)
    text = "sealed, and never sent"
    with pytest.raises(Unreachable):
        await ada.say(text, life=60)
    ada.clock.offset = 61
    ada.device.purge()
    assert there(ada, [text], tmp_path / "after") == set()
    await ada.sync()
    await ada.say("the next one")
    await ben.sync()
    assert ben.texts() == ["the next one"]
    assert ada.waiting() == []


async def test_message_that_arrived_and_ended_before_the_answer_came_is_settled(
    house: House, tmp_path: Path
) -> None:
    ada, ben = await house.room("ada", "ben")
    breaks("POST", "/entries", reached=True)(ada.line)
    text = "arrived without an answer"
    with pytest.raises(Unreachable):
        await ada.say(text, life=60)
    await ben.sync()
    assert ben.texts() == [text]
    ada.clock.offset = 61
    ada = await house.again(ada)
    assert there(ada, [text], tmp_path / "after") == set()
    await ada.say("the next one")
    await ben.sync()
    assert ben.texts() == [text, "the next one"]
    assert ada.texts() == ["the next one"]
    assert ada.device.vault.rows("SELECT * FROM outbox") == []


async def test_returning_device_is_told_how_many_ended_unread_and_never_what(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say("one", "two", "three", life=3)
    await ada.say("lasting")
    await ada.say("four", life=3)
    await asyncio.sleep(4.1)
    await ben.sync()
    assert ben.texts() == ["lasting"]
    assert ben.log.row.missed == 4
    ben.log.forget_missed()
    await ben.sync()
    assert ben.log.row.missed == 0
    await ben.say("heard")
    await ada.sync()
    assert ada.log.row.missed == 0
    assert ada.texts() == ["lasting", "heard"]


async def test_shorter_life_wins_and_a_longer_one_is_refused(house: House) -> None:
    ada, ben = await house.room("ada", "ben", messages=600)
    await ada.say("the channel's")
    await ada.say("shorter", life=60)
    with pytest.raises(UserError, match="1 to 600 seconds"):
        await ada.say("longer", life=601)
    await ben.sync()
    for person in (ada, ben):
        lives = {
            m.text: m.expires_at - m.received_at for m in person.log.store.messages.shown(person.device.clock())
        }
        assert lives == {"the channel's": 600, "shorter": 60}


@pytest.mark.parametrize("fields", [["received_at"], ["expires_at"], ["received_at", "expires_at"]])
async def test_service_that_lies_about_times_makes_nothing_live_longer(fields: list[str], house: House) -> None:
    ada, ben = await house.room("ada", "ben", messages=600)
    await ada.say("short", life=60)

    def later(method: str, path: str, status: int, data: bytes) -> tuple[int, bytes]:
        if method == "GET" and "/entries" in path:
            page = json.loads(data)
            for entry in page["entries"]:
                for field in fields:
                    entry[field] += 1_000_000
            data = json.dumps(page).encode()
        return status, data

    ben.line.rewrite = later
    await ben.sync()
    assert ben.texts() == ["short"]
    ben.clock.offset = 62
    assert ben.texts() == []


async def test_keys_of_ended_messages_are_gone_with_them(house: House, tmp_path: Path) -> None:
    """Who recorded the line and takes the device later cannot open what has ended."""
    ada, ben = await house.room("ada", "ben")
    await ada.say("short", life=60)
    await ben.sync()
    recorded = ada.line.sealed[-1]
    for person in (ada, ben):
        person.clock.offset = 61
        person.device.purge()
        thief = Person.open(person.copy(tmp_path / person.name), person.name)
        house.people.append(thief)
        with pytest.raises(Exception, match=r"used|own|leaf"):
            thief.log.group.decrypt(recorded)
