"""The words for shorter lives, as a person writes them inside `talk`, and what they are told."""

import argparse
import json
from typing import Any

import pytest

from pourparler_clients.cli.showing import history, show_closed, warn_absent
from pourparler_clients.cli.table import do_words
from pourparler_clients.errors import UserError
from pourparler_clients.testing import House, Person
from pourparler_policies.limits import HOUR, MINUTE


async def test_words_of_shorter_lives(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    ada, ben = await house.room("ada", "ben", keys=HOUR)
    await ada.say("one", "two")
    await ben.sync()

    async def told(person: Person, line: str) -> list[dict[str, Any]]:
        capsys.readouterr()
        await do_words(line, person.channel, as_json=True)
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    listed = await told(ada, "shorten")
    assert [record["text"] for record in listed] == ["one", "two"]
    await told(ada, f"shorten {listed[0]['number']}")
    await told(ada, f"shorten {listed[1]['number']} --to 1h")
    await ben.sync()
    assert ben.texts() == ada.texts() == ["two"]
    with pytest.raises(UserError, match="not a message of yours"):
        await do_words(f"shorten {listed[1]['number']}", ben.channel, as_json=True)
    (lives,) = await told(ben, "lives --messages 30m --after-reading 1m")
    assert (lives["messages"], lives["after_reading"]) == (30 * MINUTE, MINUTE)
    (lives,) = await told(ben, "lives --messages none")
    assert lives["own"] == {"messages": 0, "after_reading": MINUTE}
    assert max(m.expires_at for m in ben.log.store.messages.shown(0)) <= ben.device.clock() + 30 * MINUTE


async def test_a_person_is_told_what_does_not_open_what_is_read_and_who_may_miss_it(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    ada, ben = await house.room("ada", "ben", keys=HOUR, after_reading=MINUTE)
    await ada.say("one")
    await ben.sync()
    await ben.close()
    ben = Person.open(ben.directory, "ben")
    house.people.append(ben)
    arguments = argparse.Namespace(json=False)
    capsys.readouterr()
    assert await history(arguments, ben.channel, ben.device.clock()) == set()
    show_closed(arguments, ben.channel, ben.device.clock())
    assert "1 more can be read only with a connection" in capsys.readouterr().out
    await ben.sync()
    assert len(await history(arguments, ben.channel, ben.device.clock())) == 1
    assert "one" in capsys.readouterr().out
    assert ben.log.store.messages.shown(0)[0].expires_at <= ben.device.clock() + MINUTE
    ada.clock.offset = 3 * HOUR
    assert warn_absent(arguments, ada.channel, MINUTE) == {ben.log.row.credential}
    assert "ben has not been heard of for 3 hours; this lives for 1 minute" in capsys.readouterr().out
