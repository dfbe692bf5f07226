"""The words for shorter lives, as a person writes them inside `talk`, and what they are told."""

import argparse
import json
import os
import pty
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pourparler_clients.cli import prompts, texts
from pourparler_clients.cli.showing import history, show_closed, warn_absent
from pourparler_clients.cli.table import do_words
from pourparler_clients.errors import UserError
from pourparler_clients.testing import House, Person
from pourparler_policies.fold.facts import Phase
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
    await told(ada, f"shorten {listed[0]['number']} --yes")
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


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Types a line, inside a talk."""
    ours, theirs = pty.openpty()
    terminal = os.fdopen(theirs)
    monkeypatch.setattr(sys, "stdin", terminal)
    monkeypatch.setattr(texts, "taken", False)
    waiting: list[bytes] = []

    async def line() -> bytes | None:
        return waiting.pop(0) if waiting else None

    prompts.read_from(line)
    yield lambda said: waiting.append(said.encode())
    prompts._lines.set(None)
    os.close(ours)
    terminal.close()


async def test_what_ends_now_is_shown_and_asked_about_first(
    house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, ben = await house.room("ada", "ben", keys=HOUR)
    await ada.say("the wells", "the road")
    await ben.sync()
    first, second = (m.seq for m in ada.log.store.messages.shown(0))
    for words in (f"shorten {first}", f"shorten {first} --to now", f"shorten {first} --to 1s"):
        ada.clock.offset = 2
        with pytest.raises(UserError, match="nothing was ended: say"):
            await do_words(words, ada.channel, as_json=False)
        assert "cannot be brought back" in (told := capsys.readouterr().out)
        assert "the wells" in told
    await do_words(f"shorten {second} --to 1h", ada.channel, as_json=False)  # nothing ends yet: nothing is asked
    assert ada.texts() == ["the wells", "the road"]
    with pytest.raises(UserError, match="not a message of yours"):
        await do_words(f"shorten {first}", ben.channel, as_json=False)


def on_hold(person: Person) -> int:
    """How many devices are, as this person's device has it."""
    return sum(one.phase in (Phase.HOLDING, Phase.HELD) for one in person.log.consent.devices.values())


async def test_inside_a_talk_too_and_what_is_typed_decides(
    house: House, capsys: pytest.CaptureFixture[str], keyboard: Callable[[str], None]
) -> None:
    ada, ben = await house.room("ada", "ben", keys=HOUR)
    await ada.say("the wells")
    await ben.sync()
    (first,) = (m.seq for m in ada.log.store.messages.shown(0))
    keyboard("yes")
    with pytest.raises(UserError, match=r"^nothing was ended$"):
        await do_words(f"shorten {first}", ada.channel, as_json=False)
    assert ada.texts() == ["the wells"]
    keyboard("end")
    await do_words(f"shorten {first}", ada.channel, as_json=False)
    assert ada.texts() == []
    keyboard("no")
    with pytest.raises(UserError, match=r"^nobody was put on hold$"):
        await do_words("hold ada", ada.channel, as_json=False)
    told = capsys.readouterr().out
    assert "this device erases the channel" in told
    assert "`lift`" in told
    await ben.sync()
    assert on_hold(ben) == 0
    keyboard("hold")
    await do_words("hold ada", ada.channel, as_json=False)
    await ben.sync()
    assert on_hold(ben) == 1
