"""The words for files, as commands and inside `talk`: what people are told, and what they are asked."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pourparler_clients.cli import main
from pourparler_clients.cli.attachments import carry_on
from pourparler_clients.cli.filelines import size_words
from pourparler_clients.cli.showing import history
from pourparler_clients.cli.table import do_words
from pourparler_clients.errors import Unreachable, UserError
from pourparler_clients.files_testing import announced, files, parts, post
from pourparler_clients.testing import PASSPHRASE, Person, breaks

TEXT = "Both villages may use the wells.\n\x1b[2J\u202eneves\n"


def run(vault: Path, *arguments: str | Path) -> int:
    """A command as a process would run it; the passphrase goes through a pipe."""
    reading, writing = os.pipe()
    os.write(writing, PASSPHRASE.encode() + b"\n")
    os.close(writing)
    return main([*map(str, arguments), "--vault", str(vault), "--passphrase-fd", str(reading)])


def test_from_one_person_to_the_other_by_commands(
    vaults: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, folder = tmp_path / "minutes.txt", tmp_path / "folder"
    path.write_text(TEXT)
    folder.mkdir()
    ada, ben = vaults["ada"], vaults["ben"]
    assert run(ada, "attach", path) == 0
    told = capsys.readouterr()
    assert "Attached: “minutes.txt”." in told.out
    assert "What is inside a file goes with it" in told.err
    assert run(ben, "read") == 0
    shown = capsys.readouterr().out
    assert "ada attached “minutes.txt”, " in shown
    number = shown.rpartition("pourparler view ")[2].partition("`")[0]
    assert run(ben, "files") == 0
    assert f"{number}  minutes.txt  {size_words(len(TEXT.encode()))}, from ada, until " in capsys.readouterr().out
    assert run(ben, "view", number) == 0
    shown = capsys.readouterr().out
    assert "Both villages may use the wells." in shown
    assert "\\u001b[2J\\u202eneves" in shown
    assert not {"\x1b", "\u202e"} & set(shown)
    assert run(ben, "save", number, "--to", folder) == 2  # nobody is there to be asked
    told = capsys.readouterr()
    for word in ("this tool's promises end there", "not end with the message", "recent files", "thumbnails"):
        assert word in " ".join(told.err.split())
    assert "nothing was saved" in told.err
    assert list(folder.iterdir()) == []
    assert run(ben, "save", number, "--to", folder, "--yes", "--json") == 0
    (record,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"saved"' in line]
    assert Path(record["path"]) == folder / "minutes.txt"
    assert (folder / "minutes.txt").read_text() == TEXT
    assert run(ben, "view", "9999") == 2
    assert "`pourparler files` lists them" in capsys.readouterr().err
    assert run(ada, "attach", tmp_path / "nowhere") == 2
    assert run(ada, "attach") == 2
    assert "there is no file that waits to be sent" in capsys.readouterr().err


async def words(person: Person, line: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    await do_words(line, person.channel, as_json=True)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


async def test_inside_talk_the_same_words_attach_list_show_and_save(
    pair: list[Person], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ada, ben = pair
    (tmp_path / "a plan.txt").write_text("a plan")
    (sent,) = await words(ada, f"attach '{tmp_path / 'a plan.txt'}' --life 2h", capsys)
    assert (sent["event"], sent["file"]) == ("sent", "a plan.txt")
    await ben.sync()
    listed = await words(ben, "files", capsys)
    (one,) = [record for record in listed if record["file"] == "a plan.txt"]
    assert (one["length"], one["name"], one["own"]) == (6, "ada", False)
    assert (await words(ben, f"view {one['number']}", capsys))[0]["text"] == "a plan"
    with pytest.raises(UserError, match="say --yes"):
        await words(ben, f"save {one['number']} --to {tmp_path}", capsys)
    (saved,) = await words(ben, f"save {one['number']} --to {tmp_path} --yes", capsys)
    assert Path(saved["path"]).name == "a plan (2).txt"
    listed = await words(ada, "shorten", capsys)
    assert one["number"] in [record["number"] for record in listed]
    await words(ada, f"shorten {one['number']} --yes", capsys)
    await ben.sync()
    assert "a plan.txt" not in [record["file"] for record in await words(ben, "files", capsys) if "file" in record]


async def test_what_waits_is_said_goes_on_and_can_be_given_up(
    pair: list[Person], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, ben = pair
    for name in ("one.txt", "two.txt", "three.txt"):
        (tmp_path / name).write_text(name)
    breaks("PUT", "/chunks/0", reached=False, times=3)(ada.line)
    with pytest.raises(Unreachable, match="the file waits in the vault, sealed"):
        await words(ada, f"attach {tmp_path / 'one.txt'}", capsys)
    assert {"event": "unsent", "count": 1} in await words(ada, "files", capsys)
    with pytest.raises(UserError, match="attach it alone"):
        await words(ada, f"attach {tmp_path / 'one.txt'} {tmp_path / 'two.txt'} --name x.txt", capsys)
    with pytest.raises(Unreachable):
        await words(ada, f"attach {tmp_path / 'two.txt'}", capsys)
    with pytest.raises(Unreachable):
        await words(ada, "attach", capsys)
    assert await words(ada, "attach", capsys) == [{"event": "sent", "count": 2}]
    await ben.sync()
    assert [one.text for one in files(ben)][-2:] == ["one.txt", "two.txt"]  # first what was attached first
    breaks("PUT", "/chunks/0", reached=False)(ada.line)
    with pytest.raises(Unreachable):
        await words(ada, f"attach {tmp_path / 'two.txt'}", capsys)
    assert await words(ada, "attach --drop", capsys) == [{"event": "dropped", "count": 1}]
    breaks("PUT", "/chunks/0", reached=False)(ada.line)
    with pytest.raises(Unreachable):
        await words(ada, f"attach {tmp_path / 'three.txt'}", capsys)

    async def at_once(seconds: float) -> None:
        if not ada.channel.uploads.waiting():
            raise InterruptedError

    monkeypatch.setattr("pourparler_clients.cli.attachments.asyncio.sleep", at_once)
    with pytest.raises(InterruptedError):  # while somebody talks it goes on by itself
        await carry_on(argparse.Namespace(json=True), ada.channel)
    monkeypatch.undo()
    await ben.sync()
    assert [one.text for one in files(ben)][-1] == "three.txt"
    assert parts(ada) == []


async def test_a_strangers_name_steers_no_screen(pair: list[Person], capsys: pytest.CaptureFixture[str]) -> None:
    ada, ben = pair
    await post(ada, announced(b"x", "\x1b[2Jminutes\u202efdp.exe", kind="\x1b]0;title\x07"))
    await ben.sync()
    capsys.readouterr()
    await history(argparse.Namespace(json=False), ben.channel, ben.clock())
    await do_words("files", ben.channel, as_json=False)
    shown = capsys.readouterr().out
    assert shown.count("_[2Jminutes_fdp.exe") == 2
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KB"), (122880, "120 KB"), (104857600, "100 MB")],
)
def test_sizes_are_said_as_people_say_them(size: int, shown: str) -> None:
    assert size_words(size) == shown
