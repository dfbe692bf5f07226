"""The joint release at the command line: real processes, two vaults, a real service with its own clock."""

import asyncio
import os
import pty
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pourparler_clients.cli.textfiles import read_words
from pourparler_clients.cli.textview import differences
from pourparler_clients.errors import UserError
from pourparler_clients.papers import compose
from pourparler_clients.signing_testing import meet
from pourparler_clients.testing import PASSPHRASE, Commands, Done, House, Person
from pourparler_crypto.note import Audience, Communique, PressKey, ReleaseKey
from pourparler_service.grants import issue
from pourparler_service.testing import ServerProcess


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    commands = Commands(tmp_path_factory.mktemp("commands"))
    yield commands
    commands.close()


class Table:
    """Vaults of people who are in one channel, opened by one command after the other."""

    def __init__(self, commands: Commands, vaults: dict[str, Path], place: Path) -> None:
        self.commands, self.vaults, self.place = commands, vaults, place

    def run(self, name: str, *arguments: str | Path) -> Done:
        done = self.commands(*arguments, "--vault", self.vaults[name], passphrase=PASSPHRASE)
        assert "Traceback" not in done.errors
        return done

    def ok(self, name: str, *arguments: str | Path) -> Done:
        done = self.run(name, *arguments)
        assert done.status == 0, done
        return done

    def refused(self, name: str, *arguments: str | Path) -> str:
        """One sentence, and status 2."""
        done = self.run(name, *arguments)
        assert done.status == 2, done
        (line,) = [line for line in done.errors.splitlines() if line.startswith("pourparler")]
        return line

    def file(self, name: str, text: str) -> Path:
        path = self.place / name
        path.write_text(text)
        return path

    def key(self, name: str) -> PressKey:
        return PressKey.parse((self.place / f"{name}.key").read_text().strip())

    def until(self, done: str, names: tuple[str, ...], patience: float = 40) -> None:
        """Everybody looks at `release status` until that is where the signing stands on each device."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            seen = [self.ok(name, "release", "status", "--json").records for name in names]
            stages = [[r.get("stage") for r in records if r["event"] in ("case", "release")] for records in seen]
            if all(done in stage for stage in stages):
                return
            time.sleep(0.2)
        raise AssertionError(stages)


@pytest.fixture
def table(commands: Commands, server: ServerProcess, tmp_path: Path) -> Table:
    """Ada and Ben in one channel, their vaults closed, with a release key each and its press key in a file."""

    return seated(commands, server, tmp_path, lambda house: house.room("ada", "ben"))


def seated(
    commands: Commands, server: ServerProcess, place: Path, come: Callable[[House], Awaitable[list[Person]]]
) -> Table:
    """People who have met, their vaults closed; Ada and Ben have a release key each, and its press key in a file."""
    vaults = {}

    async def meeting() -> None:
        house = House(server.url, lambda: issue(server.data)[0], place)
        for person in await come(house):
            vaults[person.name] = person.directory
        await house.close()

    asyncio.run(meeting())
    made = Table(commands, vaults, place)
    for name in ("ada", "ben"):
        made.ok(name, "release-key", "new", "--name", f"{name}.example")
        made.ok(name, "release-key", "show", "--out", place / f"{name}.key")
    return made


def drafted(table: Table, *options: str, not_before: str = "+24s") -> None:
    keys = [o for name in ("ada", "ben") for o in ("--key", f"Side {name}={table.place / f'{name}.key'}")]
    words = table.file("en.md", "We agreed on the wells, and on nothing else.\n")
    persian = table.file("fa.md", "بر سر چاه‌ها توافق کردیم.\n")
    given = (f"en={words}", f"fa={persian}", *keys, "--not-before", not_before, *options)
    table.ok("ada", "release", "draft", *given)


@pytest.mark.slow
def test_two_people_bring_a_text_from_its_draft_to_a_note_that_verifies(table: Table) -> None:
    drafted(table, not_before="+40s")
    assert "only now come to this device" in table.refused("ben", "release", "initial")
    shown = table.ok("ben", "release", "show", "--json").records[-1]
    assert "We agreed on the wells" in shown["text"]
    digits = {name: table.key(name).digits for name in table.vaults}
    assert {one["key"]: one["check_digits"] for one in shown["signatories"]} == {
        f"{name}.example": digits[name] for name in table.vaults
    }
    for name in table.vaults:
        table.ok(name, "release", "initial")
    assert table.refused("ben", "release", "sign", "--as", "Side ben").startswith(
        "pourparler: nothing can be signed"
    )
    table.ok("ben", "release", "appoint", "--sign-within", "22s", "--deposit-within", "3s")
    table.until("asked", ("ada", "ben"))
    # Without a terminal nobody is there to be asked, and a wrong name signs nothing.
    assert "nobody is there to be asked" in table.refused("ada", "release", "sign")
    assert "nothing was signed" in table.refused("ada", "release", "sign", "--as", "Side ben")
    half = table.file("half", f"{table.key('ada')} Our own\n")
    assert "not in your key book" in table.refused("ada", "release", "sign", "--as", "Side ada", "--keys", half)
    book = table.file("book", f"{table.key('ben')} The southern party\n")
    signed = table.ok("ada", "release", "sign", "--as", "Side ada", "--keys", book)
    assert f"{digits['ben']}  ben.example, which the text gives to “Side ben”" in signed.out
    assert "The southern party, by your key book" in signed.out
    assert digits["ada"] not in signed.out
    assert "We agreed on the wells" in signed.out
    assert "publishes at" in signed.out
    assert "nothing has been completed" in table.refused(
        "ada", "release", "export", "--out", table.place / "no.note"
    )
    assert sign_at_a_terminal(table, "ben", "Side ben") == 0
    table.until("complete", ("ada", "ben"))
    table.until("published", ("ada",))
    table.ok("ben", "release", "status")
    notes = [table.place / f"{name}.note" for name in table.vaults]
    for name, note in zip(table.vaults, notes, strict=True):
        table.ok(name, "release", "export", "--out", note)
        assert note.stat().st_mode & 0o777 == 0o600
    assert "exists already" in table.refused("ben", "release", "export", "--out", notes[0])
    assert notes[0].read_bytes() == notes[1].read_bytes()
    verified = table.commands("verify", notes[0])
    assert verified.status == 0, verified
    assert "ada.example" in verified.out
    assert "We agreed on the wells" in verified.out
    known_from_a_key_book(table, notes[0])


def known_from_a_key_book(table: Table, note: Path) -> None:
    """Status 0 says that every key is in the reader's own book, and the names are the book's, not the text's."""
    keys = {name: (table.place / f"{name}.key").read_text().strip() for name in ("ada", "ben")}
    book = table.file("book", f"{keys['ada']} The northern party\n{keys['ben']} The southern party\n")
    verified = table.commands("verify", note, "--keys", book)
    assert verified.status == 0, verified
    assert "The northern party" in verified.out
    assert "The southern party" in verified.out
    half = table.commands("verify", note, "--keys", table.file("half", f"{keys['ada']} The northern party\n"))
    assert half.status == 1, half
    assert "not in your key book" in half.out
    twice = table.file("twice", f"{keys['ada']} The northern party\n{keys['ben']} The northern party\n")
    assert table.commands("verify", note, "--keys", twice).status == 1


@pytest.mark.long
def test_two_delegates_of_one_side_and_another_side_write_to_an_official_whose_card_alone_opens_it(
    commands: Commands, server: ServerProcess, tmp_path: Path
) -> None:
    table = seated(commands, server, tmp_path, lambda house: meet(house, ("ada", "ben"), {"ada": ["amy"]}))
    table.vaults["official"] = tmp_path / "official"
    table.ok("official", "card", "new", "--name", "Heron")
    card = tmp_path / "heron.card"
    table.ok("official", "card", "show", "--out", card)
    everybody = ("ada", "ben", "amy")
    drafted(table, "--audience", f"card:{card}", "--parallel", not_before="+60s")
    for name in everybody:
        table.ok(name, "release", "show")
        table.ok(name, "release", "initial")
    table.ok("ben", "release", "appoint", "--sign-within", "30s", "--deposit-within", "5s")
    table.until("asked", everybody)
    signed = table.ok("amy", "release", "sign", "--as", "Side ada")  # she has no key, and signs for her side
    assert "for its one reader and on no board" in signed.out
    assert "It comes in 2 copies" in signed.out
    assert "nothing was signed" in table.refused("ada", "release", "sign", "--as", "Side ben")
    for name in ("ada", "ben"):
        table.ok(name, "release", "sign", "--as", f"Side {name}")
    table.until("complete", everybody)
    time.sleep(15)
    table.until("published", ("ben",), patience=60)
    sealed = tmp_path / "brief"
    assert "give that reader's card" in table.refused("ben", "release", "export", "--out", sealed)
    wrong = ("release", "export", "--card", tmp_path / "ada.key", "--out", sealed)
    table.refused("ben", *wrong)
    exported = table.ok("ben", "release", "export", "--card", card, "--out", sealed, "--json").records[-1]
    assert exported["copy"] == 2  # his own side's
    assert b"We agreed" not in sealed.read_bytes()
    note = tmp_path / "opened.note"
    assert "sealed to another card" in table.refused("ada", "note", "open", sealed, "--out", note)
    table.ok("official", "note", "open", sealed, "--out", note)
    assert note.stat().st_mode & 0o777 == 0o600
    assert "exists already" in table.refused("official", "note", "open", sealed, "--out", note)
    verified = table.commands("verify", note)
    assert verified.status == 0, verified
    assert "For one reader" in verified.out
    known_from_a_key_book(table, note)


def sign_at_a_terminal(table: Table, name: str, *typed: str) -> int:
    """`release sign` on a terminal: waits for the question, and types."""
    reading, writing = os.pipe()
    os.write(writing, PASSPHRASE.encode() + b"\n")
    os.close(writing)
    ours, theirs = pty.openpty()
    arguments = ["release", "sign", "--vault", str(table.vaults[name]), "--passphrase-fd", str(reading)]
    process = subprocess.Popen(
        [sys.executable, "-m", "pourparler_clients.cli", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        pass_fds=(reading,),
    )
    os.close(theirs)
    os.close(reading)
    seen = b""
    for answer in typed:
        while b"type the party's name: " not in seen:
            seen += os.read(ours, 4096)
        assert b"We agreed on the wells" in seen  # the text comes before the question
        os.write(ours, answer.encode() + b"\n")
        seen = b""
    status = process.wait(60)
    os.close(ours)
    return status


def test_bad_input_gets_one_sentence_and_loses_nothing(table: Table) -> None:
    words, key = table.file("en.md", "Words.\n"), table.place / "ada.key"
    both = ("--key", f"Side ada={key}", "--key", f"Side ben={table.place / 'ben.key'}")
    good = (*both, "--not-before", "+2h")
    bidi = table.file("bidi", "Words \u202e.")
    large = table.file("large", "x" * 300_000)
    long = table.file("long", "\n".join(["A line."] * 20_000))
    for arguments, expected in (
        ((f"{words}", *good), "is not written as LANGUAGE=FILE"),
        ((f"en={table.place / 'none'}", *good), "cannot be read"),
        ((f"en={bidi}", *good), f"{bidi}, line 1: There is an invisible character that changes the direction"),
        ((f"en={words}", f"fa={bidi}", *good), f"{bidi}, line 1: "),
        ((f"en={large}", *good), "larger than any text"),
        ((f"en={long}", *good), "at most"),
        ((f"en={words}", "--key", f"{key}", "--not-before", "+2h"), "NAME=FILE"),
        ((f"en={words}", "--key", f"Side ada={words}", "--not-before", "+2h"), ""),
        ((f"en={words}", *both, "--not-before", "tomorrow"), "a time is written like"),
        ((f"en={words}", *both, "--not-before", "+soon"), "duration looks like"),
        ((f"en={words}", *both, "--not-before", "0001-01-01"), ""),
        ((f"en={words}", *both, "--not-before", "+99999999d"), ""),
        ((f"en={words}", *good, "--corrects", str(words)), ""),
        ((f"en={words}", *good, "--supersedes", str(words)), ""),
        ((f"en={words}", *good, "--corrects", str(words), "--withdraws", str(words)), "only one of these"),
        ((f"en={words}", *good, "--audience", "everybody"), "for the board, for the parties, or for a card"),
        ((f"en={words}", *good, "--audience", f"card:{words}"), ""),
        ((f"en={words}", *good, "--audience", f"card:{table.place / 'none'}"), "cannot be read"),
    ):
        assert expected in table.refused("ada", "release", "draft", *arguments)
    for verb in (("show",), ("initial",), ("appoint",), ("oppose",), ("revise", f"en={words}")):
        assert "no such text" in table.refused("ada", "release", *verb)
    for verb in ("withdraw", "agree", "refuse", "stop"):
        assert "no part in a signing appointment" in table.refused("ada", "release", verb)
    assert "nothing can be signed" in table.refused("ada", "release", "sign", "--as", "Side ada")
    assert "nothing has been completed" in table.refused("ada", "release", "export", "--out", table.place / "n")
    assert table.ok("ada", "release", "status").out.strip().endswith("There is no text on the table.")


def test_a_file_from_any_editor_is_a_text(tmp_path: Path) -> None:
    """A mark at the beginning, other line ends, letters in two parts: what Windows and macOS save."""
    for number, saved in enumerate(
        ("Un caf\u00e9.\n\nOui.\n", "\ufeffUn caf\u00e9.\r\n\r\nOui.\r\n", "Un cafe\u0301.\n\nOui.\n")
    ):
        path = tmp_path / str(number)
        path.write_bytes(saved.encode())
        (words,) = read_words([f"fr={path}"])
        assert text(dict([words])).words == ("Un café.\n\nOui.",)


@pytest.mark.parametrize(
    ("saved", "line", "why"),
    [
        ("\n\n\nHeading.\n\nWords \u202e.\n", 6, "direction of writing"),
        ("\ufeff\r\n\r\nHeading.\r\n\r\n[en]\r\n", 5, "language headings"),
        ("\nHeading.\nvoid unless all have signed\n", 3, "A line at the foot"),
        (f"\nHeading.\n\u2014 north.example/press {'A' * 40}\n", 3, "looks like a signature"),
        ("\n\n\n", None, "no words"),
        ("\n\n" + "a" * 20_000 + "\n", 3, "larger than"),
    ],
)
def test_a_refusal_names_the_persons_own_file_and_its_own_line(
    tmp_path: Path, saved: str, line: int | None, why: str
) -> None:
    """Not the line of the text that is put together of several files."""
    good, bad = tmp_path / "en.md", tmp_path / "fa.md"
    good.write_text("\n".join(["Ten lines."] * 10))
    bad.write_bytes(saved.encode())
    with pytest.raises(UserError) as refused:
        text(dict(read_words([f"en={good}", f"fa={bad}"])))
    assert str(refused.value).startswith(f"{bad}, line {line}: " if line else f"{bad}: ")
    assert why in str(refused.value)


def text(words: dict[str, str]) -> Communique:
    keys = [ReleaseKey(bytes([number]) * 32).public for number in (1, 2)]
    sides = [(f"Side {one}", PressKey(f"{one}.example", key)) for one, key in zip("ab", keys, strict=True)]
    made = compose([*words.items()], sides, 2_000_000_000)
    return replace(made, foot=replace(made.foot, release=bytes(16)))


def test_differences_are_shown_word_by_word_in_each_language() -> None:
    before = text({"en": "Both sides will open the wells to all.", "fr": "Rien ne change ici."})
    after = text({"en": "Both sides will open all wells to all.", "de": "Neu."})
    lines = [*differences(before, after)]
    assert lines[0] == "en: … sides will open -[the] +[all] wells to all. …"
    assert lines[1:3] == ["de: new", "fr: gone"]
    assert lines[3:] == ["foot: -[languages: en, fr]", "foot: +[languages: en, de]"]
    assert [*differences(before, before)] == []
    gone = text({"en": "Both sides will open the wells.", "fr": "Rien ne change ici."})
    assert [*differences(before, gone)] == ["en: … will open the -[wells to all.] +[wells.] …"]


def test_a_revision_that_changes_no_word_but_its_foot_or_its_lines_is_shown_as_a_change() -> None:
    """A text for the parties alone that becomes one for everybody; a key, an hour or a name that was exchanged."""
    before = text({"en": "First.\n\nSecond."})
    private = replace(before, foot=replace(before.foot, audience=Audience.PARTIES))
    assert [*differences(private, before)] == ["foot: -[audience: parties]", "foot: +[audience: board]"]
    other = PressKey("b.example", ReleaseKey(b"other" + bytes(27)).public)
    swapped = (before.foot.signatories[0], replace(before.foot.signatories[1], key=other))
    assert [*differences(before, replace(before, foot=replace(before.foot, signatories=swapped)))] == [
        f"foot: -[signatory: {before.foot.signatories[1].key} Side b]",
        f"foot: +[signatory: {other} Side b]",
    ]
    later = replace(before, foot=replace(before.foot, not_before=before.foot.not_before + 60))
    assert [line[:17] for line in differences(before, later)] == ["foot: -[not-befor", "foot: +[not-befor"]
    joined = replace(before, words=("First.\nSecond.",))
    assert [*differences(before, joined)] == ["en: other line ends or spaces, and the same words"]
