"""`pourparler sound` as people use it: a deal from two vaults, and answers in the channels."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from pourparler_clients.cli import main
from pourparler_clients.cli.table import do_words
from pourparler_clients.signing_testing import Hours
from pourparler_clients.sounding_testing import PACKAGES, Rooms, dealt_rooms
from pourparler_clients.testing import PASSPHRASE, House


def secret() -> str:
    """A passphrase behind a file descriptor."""
    reading, writing = os.pipe()
    os.write(writing, PASSPHRASE.encode() + b"\n")
    os.close(writing)
    return str(reading)


async def test_an_intermediary_deals_from_the_command_line_and_the_sides_answer_in_words(
    house: House, hours: Hours, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rooms = await dealt_rooms(house, hours, ["ada", "eve"], ["ben", "dan"])
    files = []
    for number, text in enumerate(PACKAGES):
        files.append(tmp_path / f"{number}.txt")
        files[-1].write_text(text + "\n")
    first, second = (room[-1] for room in rooms.channels)
    await first.close()
    await second.close()
    words = [
        *("sound", "deal", *map(str, files), "--spread", "1s", "--json"),
        *("--vault", str(first.directory), "--passphrase-fd", secret()),
        *("--also-vault", str(second.directory), "--also-passphrase-fd", secret()),
    ]
    assert await asyncio.to_thread(main, words) == 0
    dealt = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (dealt["event"], dealt["sides"]) == ("dealt", 4)
    sides = Rooms(hours, [room[:-1] for room in rooms.channels])
    await sides.through(sides.ready)
    for person, said in zip(sides.people, ("1 2", "--all", "2 3", "2"), strict=True):
        await do_words(f"sound answer {said} --yes", person.channel, as_json=False)
    shown = capsys.readouterr().out
    assert "NOT to the" in shown
    assert "There are 4 sides" in shown
    # People of one room who all accept, and tell each other, know what the other room answered: said before the answer.
    assert shown.index("2 of these sides are in this room") < shown.index("Noted on this device")
    assert await sides.counted() == {1}
    capsys.readouterr()
    await do_words("sound status", sides.people[0].channel, as_json=False)
    assert "All accept package 2" in capsys.readouterr().out
    for wrong in ("sound answer", "sound answer 9 --yes", "sound answer 1 --all --yes", "sound deal x --to y"):
        with pytest.raises(Exception):  # noqa: B017 -- one clear sentence each; none does anything
            await do_words(wrong, sides.people[0].channel, as_json=False)
