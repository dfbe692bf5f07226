"""The shuttle at the command line: two sides that share no channel, and an intermediary with a compartment for each."""

import asyncio
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pourparler_clients.shuttle.testing import side
from pourparler_clients.testing import PASSPHRASE, Commands, Done, House
from pourparler_service.grants import issue
from pourparler_service.testing import ServerProcess

WORDS = "Suppose the wells were open on alternate days.\nWhat then?"
NOTE = "They need an answer before the feast."
END = "\n\x04"  # Ctrl-D on a line of its own


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    commands = Commands(tmp_path_factory.mktemp("commands"))
    yield commands
    commands.close()


class Shuttle:
    """Vaults that one command after the other opens: ada and ben are the sides, otter and heron the compartments."""

    def __init__(self, commands: Commands, vaults: dict[str, Path], place: Path) -> None:
        self.commands, self.vaults, self.place = commands, vaults, place

    def run(self, name: str, *arguments: str | Path) -> Done:
        done = self.commands(
            *(*arguments, "--vault", self.vaults[name], "--json"), passphrase=PASSPHRASE, text=PASSPHRASE.encode()
        )
        assert "Traceback" not in done.errors
        return done

    def ok(self, name: str, *arguments: str | Path) -> dict[str, Any]:
        """The last thing that it says."""
        done = self.run(name, *arguments)
        assert done.status == 0, done
        return done.records[-1]

    def refused(self, name: str, *arguments: str | Path) -> str:
        done = self.run(name, *arguments)
        assert done.status == 2, done
        (line,) = [line for line in done.errors.splitlines() if line.startswith("pourparler")]
        return line

    def file(self, name: str, text: str) -> Path:
        path = self.place / name
        path.write_text(text)
        return path

    def crossing(self, target: str, side: str) -> tuple[str | Path, ...]:
        """Options of `carry` and `pass-on`: the second passphrase stands on standard input."""
        return (
            "--to",
            self.vaults[target],
            "--to-passphrase-fd",
            "0",
            "--side",
            side,
            "--delay",
            "1s",
            "--pause",
            "1s",
            "--wait",
        )

    def desk(self, name: str) -> dict[str, Any]:
        return self.ok(name, "shuttle")


@pytest.fixture(scope="module")
def shuttle(commands: Commands, server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Shuttle:
    place, vaults = tmp_path_factory.mktemp("shuttle"), {}

    async def meet() -> None:
        house = House(server.url, lambda: issue(server.data)[0], place)
        await side(house, "ada", "aya", title="Consultations", bridge="otter")
        await side(house, "ben", "bea", title="Soundings", bridge="heron")
        for person in house.people:
            vaults[person.name] = person.directory
        await house.close()

    asyncio.run(meet())
    return Shuttle(commands, vaults, place)


def test_a_hypothetical_a_counter_and_what_is_passed_on(shuttle: Shuttle) -> None:
    words = shuttle.file("words", WORDS + "\n")
    item = shuttle.ok(
        "ada", "hand", words, "--source", "hypothetical", "--fidelity", "verbatim", "--expires", "2d"
    )
    code = item["code"]
    (held,) = shuttle.desk("otter")["free"]
    assert (held["text"], held["code"], held["terms"]["source"]) == (WORDS, code, "hypothetical")
    assert "nothing was carried" in shuttle.refused(
        "otter", "carry", code, *shuttle.crossing("heron", "Somewhere")
    )
    shown = shuttle.run("otter", "carry", code, *shuttle.crossing("heron", "Soundings"))
    assert shown.status == 0, shown
    assert shown.records[0]["readers"] == ["bea", "ben"]
    assert shuttle.desk("ada")["carried"][0]["phase"] == "carried"
    (put,) = shuttle.desk("ben")["awaited"]
    assert (put["text"], put["source"], put["fidelity"]) == (WORDS, "hypothetical", None)
    reply = shuttle.file("reply", "Three days for us, and it could be done.")
    terms = ("--source", "party", "--fidelity", "gist", "--held-until", "they have said so too", "--judge", "us")
    answer = shuttle.ok("ben", "answer", put["code"], "counter", reply, *terms)["code"]
    on = ("pass-on", answer, "--about", code, *shuttle.crossing("otter", "Consultations"))
    gist = shuttle.file("gist", "They would need more days than we, but do not exclude it.")
    assert "held until its author's party says" in shuttle.refused("heron", *on, "--gist", gist)
    shuttle.ok("bea", "who")
    assert "somebody else says" in shuttle.refused("bea", "free", answer)  # of another party
    shuttle.ok("ben", "free", answer)
    assert "with --gist" in shuttle.refused("heron", *on)
    assert "say it in yours" in shuttle.refused("heron", *on, "--gist", reply)
    assert "pass it on with" in shuttle.refused(
        "heron", "carry", answer, "--gist", gist, *shuttle.crossing("otter", "Consultations")
    )
    shuttle.ok("heron", *on, "--gist", gist)
    desk = shuttle.desk("ada")
    assert desk["done"][0]["phase"] == "passed on"
    (passed,) = desk["awaited"]
    assert (passed["answer"], passed["about"], passed["text"]) == ("counter", code, gist.read_text())
    assert shuttle.desk("ben")["carried"][0]["phase"] == "carried"


def test_the_desk_shows_one_side_and_of_the_other_a_number(shuttle: Shuttle) -> None:
    words = shuttle.file("more", "We would meet in the spring.")
    code = shuttle.ok("aya", "hand", words, "--source", "party", "--fidelity", "verbatim", "--not-before", "1d")[
        "code"
    ]
    note = shuttle.file("note", NOTE)
    shuttle.ok("otter", "sheet", note, "--about", code, "--by", "3d")
    assert "by its terms it is not carried yet" in shuttle.refused(
        "otter", "carry", code, *shuttle.crossing("heron", "Soundings")
    )
    done = shuttle.commands("shuttle", "--vault", shuttle.vaults["otter"], passphrase=PASSPHRASE)
    assert done.status == 0, done
    assert "We would meet in the spring." in done.out
    assert "promised by" in done.out
    assert NOTE in done.out
    assert "not before" in done.out
    other = ("--other", shuttle.vaults["otter"], "--other-passphrase-fd", "0")
    counted = shuttle.commands(
        "shuttle", "--vault", shuttle.vaults["heron"], *other, passphrase=PASSPHRASE, text=PASSPHRASE.encode()
    )
    assert counted.status == 0, counted
    assert "more wait elsewhere" in counted.out
    assert "spring" not in counted.out
    (kept,) = [one for one in shuttle.run("otter", "sheet").records if one["event"] == "note"]
    shuttle.ok("otter", "sheet", "--drop", str(kept["number"]))
    assert shuttle.ok("otter", "sheet")["event"] == "empty"
    assert shuttle.ok("aya", "recall", code)["event"] == "recalled"
    assert "taken it back" in shuttle.refused("otter", "carry", code, *shuttle.crossing("heron", "Soundings"))


def test_bad_input_gets_one_sentence_and_nothing_is_handed_over(shuttle: Shuttle) -> None:
    words, large = shuttle.file("words", WORDS), shuttle.file("large", "x" * 40_000)
    full = ("--source", "idea", "--fidelity", "gist")
    before = shuttle.desk("ada")
    for arguments, expected in (
        (("hand", words), "say on which terms"),
        (("hand", large, *full), "larger than any message"),
        (("hand", shuttle.file("empty", " "), *full), "the message is empty"),
        (("hand", shuttle.place / "none", *full), "cannot be read"),
        (("hand", words, *full, "--not-before", "9d"), "only when its terms have expired"),
        (("hand", words, *full, "--held-until", "x" * 500), "at most 400 characters"),
        (("recall", "00000"), "no message here has this code"),
        (("answer", "00000", "accept", *full), "no message here has this code"),
        (("put", words), "only an intermediary"),
        (("sheet", "--drop", "7"), "no such note"),
        (("carry", "00000", "--to", shuttle.vaults["ada"], "--to-passphrase-fd", "0"), "the same one"),
    ):
        assert expected in shuttle.refused("ada", *arguments)
    assert "hands nothing to itself" in shuttle.refused("otter", "hand", words, *full)
    assert shuttle.desk("ada") == before


def at_a_terminal(shuttle: Shuttle, name: str, *words: str | Path, typed: tuple[tuple[str, str], ...]) -> str:
    """Runs a command on a terminal: waits for each question, and types; returns all that stood on the screen."""
    reading, writing = os.pipe()
    os.write(writing, PASSPHRASE.encode() + b"\n")
    os.close(writing)
    ours, theirs = pty.openpty()
    arguments = [*map(str, words), "--vault", str(shuttle.vaults[name]), "--passphrase-fd", str(reading)]
    process = subprocess.Popen(
        [sys.executable, "-m", "pourparler_clients.cli", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        pass_fds=(reading,),
    )
    os.close(theirs)
    os.close(reading)
    seen, whole = "", ""
    for question, answer in typed:
        while question not in seen:
            seen += os.read(ours, 4096).decode(errors="replace")
        whole, seen = whole + seen, ""
        os.write(ours, answer.encode() + (b"" if answer.endswith(END) else b"\n"))
    with suppress(OSError):  # the terminal ends with the process
        while data := os.read(ours, 4096):
            whole += data.decode(errors="replace")
    process.wait(60)
    os.close(ours)
    return whole


def test_terms_are_asked_for_one_by_one_and_the_receiving_side_is_read_back(shuttle: Shuttle) -> None:
    words = shuttle.file("asked", "We would meet in the autumn.")
    questions = (
        ("as whose word", "hypothetical"),
        ("how close", "verbatim"),
        ("carry:", "held"),
        ("condition:", "they have asked for a date"),
        ("judge:", "intermediary"),
    )
    screen = at_a_terminal(shuttle, "ada", "hand", words, typed=questions)
    assert "nobody has said it" in " ".join(screen.split()).lower()
    assert "this is read by: aya, otter" in screen
    assert "held until the intermediary says that this is so: they have asked for a date" in screen
    (held,) = shuttle.desk("otter")["held"]
    shuttle.ok("otter", "free", held["code"])
    to = ("--to", shuttle.vaults["heron"], "--delay", "1s", "--pause", "1s", "--wait")
    wrong = (("Passphrase of", PASSPHRASE), ("type the side's name", "Consultations"))
    assert "nothing was carried" in at_a_terminal(shuttle, "otter", "carry", held["code"], *to, typed=wrong)
    right = (("Passphrase of", PASSPHRASE), ("type the side's name", "Soundings"))
    screen = at_a_terminal(shuttle, "otter", "carry", held["code"], *to, typed=right)
    assert "In “Soundings” bea, ben will read:" in screen
    assert "HYPOTHETICAL: nobody has said this" in screen
    assert "Carried. It leaves this device at a random time" in screen
    assert "We would meet in the autumn." in [one["text"] for one in shuttle.desk("bea")["awaited"]]


def test_words_are_typed_at_the_terminal_and_never_lie_in_a_file(shuttle: Shuttle) -> None:
    screen = at_a_terminal(
        shuttle,
        "ada",
        *("hand", "-", "--source", "idea", "--fidelity", "gist"),
        typed=(("Type the message, and end it with Ctrl-D", "We would let the herders pass." + END),),
    )
    assert "Handed over" in screen, screen
    (held,) = [one for one in shuttle.desk("otter")["free"] if one["text"] == "We would let the herders pass."]
    screen = at_a_terminal(
        shuttle,
        "otter",
        *(
            "carry",
            held["code"],
            "--gist",
            "-",
            "--to",
            shuttle.vaults["heron"],
            "--delay",
            "1s",
            "--pause",
            "1s",
            "--wait",
        ),
        typed=(
            ("Passphrase of", PASSPHRASE),
            ("Type the message", "Perhaps a road for animals?" + END),
            ("type the side's name", "Soundings"),
        ),
    )
    assert "Carried" in screen, screen
    assert "Perhaps a road for animals?" in [one["text"] for one in shuttle.desk("bea")["awaited"]]
