"""Ideas without a name at the command line: a real service with its own clock, three devices, each a process."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pourparler_clients.testing import PASSPHRASE, Commands, Done, House
from pourparler_service.grants import issue
from pourparler_service.testing import ServerProcess

ROAD, WELLS = "Open the road on market days.", "Share the upper wells by the week."
NAMES = ("ada", "ben", "cleo")


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    commands = Commands(tmp_path_factory.mktemp("commands"))
    yield commands
    commands.close()


class Room:
    """Vaults of people who are in one channel, opened by one command after the other."""

    def __init__(self, commands: Commands, vaults: dict[str, Path]) -> None:
        self.commands, self.vaults = commands, vaults

    def run(self, name: str, *arguments: str | Path, text: str = "") -> Done:
        words = ("ideas", *arguments, "--json", "--vault", self.vaults[name])
        done = self.commands(*words, passphrase=PASSPHRASE, text=text.encode())
        assert "Traceback" not in done.errors
        return done

    def ok(self, name: str, *arguments: str | Path, text: str = "") -> Done:
        done = self.run(name, *arguments, text=text)
        assert done.status == 0, done
        return done

    def refused(self, name: str, *arguments: str | Path) -> str:
        """One sentence, and status 2."""
        done = self.run(name, *arguments)
        assert done.status == 2, done
        return done.errors


def enter(server: ServerProcess, place: Path, **rules: bool) -> dict[str, Path]:
    vaults = {}

    async def meet() -> None:
        house = House(server.url, lambda: issue(server.data)[0], place)
        for person in await house.room(*NAMES, **rules):
            vaults[person.name] = person.directory
        await house.close()

    asyncio.run(meet())
    return vaults


@pytest.mark.slow
def test_three_people_hold_a_round_and_make_a_draft_of_it(
    commands: Commands, server: ServerProcess, tmp_path: Path
) -> None:
    room = Room(commands, enter(server, tmp_path, ideas=True))
    assert "there is no round" in room.refused("ada", "wait")
    room.ok("ada", "add", *ROAD.split())
    room.ok("ben", "add", text=WELLS + "\n")
    (dropped,) = room.ok("ben", "add", "Something that is not meant").records
    room.ok("ben", "drop", str(dropped["number"]))
    assert "at most 1200 bytes" in room.refused("ben", "add", "x" * 1201)
    assert "at least 3" in room.refused("ben", "add", "Alone.", "--least", "2")
    assert "no such idea" in room.refused("ada", "again", "1")
    assert "joint text" not in room.refused("ada", "mark", "1")
    room.ok("ada", "call", "+40s", "--gather", "38s", "--window", "30s")
    waiting = [
        commands.start("ideas", "wait", "--json", "--vault", room.vaults[name], passphrase=PASSPHRASE)
        for name in NAMES
    ]
    assert waiting[1].event(event="called")["name"] == "ada"
    time.sleep(65)
    lists = [running.event(event="list") for running in waiting]
    for running in waiting:
        running.end()
    assert lists[0]["ideas"] == lists[1]["ideas"] == lists[2]["ideas"]
    assert sorted(lists[0]["ideas"]) == [ROAD, WELLS]
    assert (lists[0]["seats"], lists[0]["unread"]) == (3, 0)

    shown = room.ok("cleo", "show").records
    assert [record["event"] for record in shown if record["event"] != "round"] == ["list"]
    wells = lists[0]["ideas"].index(WELLS) + 1
    assert "numbers 1 to 2" in room.refused("cleo", "mark", "3")
    assert "HEADING=NUMBERS" in room.refused("cleo", "mark", "--group", "Water")
    room.ok("cleo", "mark", str(wells), "--group", f"Water={wells}")
    assert room.ok("cleo", "show").records[-1]["marked"] == [wells]
    out = tmp_path / "draft.md"
    room.ok("cleo", "draft", "--title", "What we could try", "--out", out)
    assert out.read_text() == "# What we could try\n\n" + "".join(f"- {idea}\n" for idea in lists[0]["ideas"])
    assert "no idea of this list" in room.refused("cleo", "draft", "--marked", "1")
    assert "signatories" in room.refused("cleo", "draft", "--not-before", "+2h")


def test_where_the_charter_has_no_such_rule_it_is_said_and_nothing_is_kept(
    commands: Commands, server: ServerProcess, tmp_path: Path
) -> None:
    room = Room(commands, enter(server, tmp_path))
    for words in (("add", "Open the road."), ("call", "+1h")):
        assert "attribution.ideas" in room.refused("ada", *words)
    assert [record["event"] for record in room.ok("ada", "show").records] == ["empty"]
