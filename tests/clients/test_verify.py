"""`pourparler verify`: without a network; nobody is named but from the reader's book; no text passes for our words."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pourparler_clients.testing import Commands
from pourparler_crypto.card import CardKey, check_digits
from pourparler_crypto.note import (
    MAX_NOTE,
    Act,
    Audience,
    Communique,
    Note,
    PressKey,
    Relation,
    ReleaseKey,
    Role,
    Signatory,
)
from pourparler_crypto.note.testing import NAMES, a_communique, a_foot, copies, released
from pourparler_crypto.note.verifying import MAX_BOOK

FAR = 253_402_300_799 - 59  # the last minute of the year 9999
KEYS = [ReleaseKey(bytes((number,)) * 32) for number in (1, 2, 3)]


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    commands = Commands(tmp_path_factory.mktemp("commands"))
    yield commands
    commands.close()


@pytest.fixture(scope="module")
def note() -> Note:
    return released(KEYS, [a_communique(KEYS)])[0]


def file_of(note: Note, place: Path) -> Path:
    place.write_bytes(note.encode())
    return place


def book_of(note: Note, place: Path, *names: str) -> Path:
    """A reader's book: these names for the keys of the text's signatories, in their order."""
    signatories = note.communique.foot.signatories
    place.write_text("".join(f"{one.key} {name}\n" for one, name in zip(signatories, names, strict=False)))
    return place


def made(words: tuple[str, ...] = ("They met.",), **foot: object) -> Note:
    """Of three parties, to be published in 2023 or at another time."""
    whole: Any = {"not_before": 1_700_000_000, **foot}
    return released(KEYS, [Communique(words, replace(a_foot(KEYS, ("en", "fa")[: len(words)]), **whole))])[0]


# Offline

ALONE = """
import sys
def guard(event, arguments):
    if event.startswith("socket."):
        raise RuntimeError("a socket: " + event)
sys.addaudithook(guard)
{act}
near = ("socket", "_socket", "ssl", "_ssl", "asyncio", "select", "httpx", "httpcore", "http.client", "urllib.request")
print([name for name in near if name in sys.modules])
"""


def guarded(act: str) -> subprocess.CompletedProcess[str]:
    """Python in a process in which making a socket, or asking for a name, raises; says what it loaded."""
    return subprocess.run(
        [sys.executable, "-c", ALONE.format(act=act)], capture_output=True, text=True, timeout=60, check=False
    )


def test_it_opens_no_socket_and_loads_nothing_that_could(note: Note, tmp_path: Path) -> None:
    file, book = file_of(note, tmp_path / "note"), book_of(note, tmp_path / "book", *NAMES)
    run = "from pourparler_clients.cli import main; status = main({}); print(status)"
    # What the guard and the list are to find, they find.
    assert "a socket: socket.__new__" in guarded("import _socket; _socket.socket()").stderr
    assert "a socket: socket.getaddrinfo" in guarded("import socket; socket.getaddrinfo('a', 1)").stderr
    assert "'httpx'" in guarded(run.format(["card", "check", str(tmp_path / "none")])).stdout
    for arguments in ([str(file)], [str(file), "--keys", str(book), "--json"]):
        done = guarded(run.format(["verify", *arguments]))
        assert done.stderr == ""
        assert done.stdout.splitlines()[-2:] == ["0", "[]"]
    assert guarded(run.format(["verify", str(book)])).stdout.splitlines() == ["2", "[]"]


# Who


def test_without_a_book_it_says_which_keys_have_signed_and_names_nobody(
    note: Note, commands: Commands, tmp_path: Path
) -> None:
    done = commands("verify", file_of(note, tmp_path / "note"))
    assert (done.status, done.errors) == (0, "")
    for party in note.communique.foot.signatories:
        claim = ["  The text calls it:", f"  | {party.name}"]
        at = done.out.splitlines().index(f"- signed by key {party.key.digits} ({party.key.name})")
        assert done.out.splitlines()[at + 1 :][:2] == claim
        assert done.out.count(party.name) == 1
    assert "\nCOMPLETE: all 3 keys have signed exactly this text.\n" in done.out
    assert "Whose keys they are, this cannot tell" in done.out
    assert "  | They will meet again.\n" in done.out
    (record,) = commands("verify", tmp_path / "note", "--json").records
    assert record["valid"] is True
    assert record["all_known"] is None
    assert record["words"] == {"en": note.communique.words[0]}
    assert record["sha256"] == note.communique.digest.hex()
    assert [(one["owner"], one["called_in_the_text"]) for one in record["signatures"]] == [
        (None, name) for name in NAMES[:3]
    ]
    assert [one["press_key"] for one in record["signatures"]] == [
        str(party.key) for party in note.communique.foot.signatories
    ]


def test_with_a_book_all_are_known_or_the_status_is_1(note: Note, commands: Commands, tmp_path: Path) -> None:
    file = file_of(note, tmp_path / "note")
    digits = [party.key.digits for party in note.communique.foot.signatories]
    done = commands("verify", file, "--keys", book_of(note, tmp_path / "book", "The Assembly", *NAMES[1:3]))
    assert done.status == 0
    assert f"- signed by key {digits[0]} (party-1.example/press): The Assembly, by your key book\n" in done.out
    assert done.out.splitlines()[-1].startswith("COMPLETE, AND ALL KNOWN: all 3 keys")
    assert done.out.count("The text calls it:") == 1  # the reader's names are those of the text, but for one
    some = commands("verify", file, "--keys", book_of(note, tmp_path / "book", *NAMES[:2]))
    assert some.status == 1
    assert f"- signed by key {digits[2]} (party-3.example/press): not in your key book\n" in some.out
    assert "COMPLETE, BUT NOT ALL KNOWN: all 3 keys have signed exactly this text; 1 not in" in some.out
    (tmp_path / "book").write_text("# nobody yet\n")
    none = commands("verify", file, "--keys", tmp_path / "book", "--json")
    assert (none.status, none.records[0]["valid"], none.records[0]["all_known"]) == (1, True, False)


def test_a_text_signed_with_keys_made_for_the_purpose_names_nobody(
    note: Note, commands: Commands, tmp_path: Path
) -> None:
    strangers = [ReleaseKey.generate() for _ in KEYS]
    false = file_of(released(strangers, [a_communique(strangers)])[0], tmp_path / "false")
    done = commands("verify", false, "--keys", book_of(note, tmp_path / "book", *NAMES))
    assert done.status == 1
    assert "by your key book" not in done.out
    assert done.out.count("NOT the key that your book has under this name") == 3
    assert "ATTENTION: a key goes by a name that your key book gives to another one" in done.out
    (record,) = commands("verify", false, "--keys", tmp_path / "book", "--json").records
    assert [(one["owner"], one["suspect"]) for one in record["signatures"]] == [(None, True)] * 3


def test_a_party_that_signs_for_the_other_with_a_second_key_of_its_own_is_found_out(
    commands: Commands, tmp_path: Path
) -> None:
    mine = [Signatory("Northern Assembly", PressKey("north", KEYS[0].public))]
    both = [*mine, Signatory("Southern League", PressKey("north-2027", KEYS[1].public))]
    alone = released(KEYS[:2], [Communique(("South gives in.",), replace(a_foot(KEYS), signatories=tuple(both)))])[
        0
    ]
    book = book_of(alone, tmp_path / "book", "The Assembly", "The Assembly")  # both keys are published as its own
    done = commands("verify", file_of(alone, tmp_path / "note"), "--keys", book)
    assert done.status == 1
    assert "ALL KNOWN" not in done.out  # what a reader would say who asks only whether each key is known
    assert "ONE OWNER FOR SEVERAL PARTIES: The Assembly, by your key book." in done.out
    (record,) = commands("verify", tmp_path / "note", "--keys", book, "--json").records
    assert (record["all_known"], record["doubled"]) == (True, ["The Assembly"])


# What it is


def test_it_says_in_plain_words_for_whom_when_and_what_became_of_an_earlier_release(
    commands: Commands, tmp_path: Path
) -> None:
    card = CardKey.generate().card("Official").fingerprint
    earlier = Relation(Act.CORRECTS, b"\x07" * 16, b"\x08" * 32)
    for note, lines in [
        (made(), ["For everybody: it is made to be published."]),
        (
            made(audience=Audience.PARTIES),
            ["For the parties alone: a joint memorandum, not made to be published."],
        ),
        (
            made(audience=Audience.CARD, card=card),
            [f"For one reader, whose card has the check digits {check_digits(card)}; not made to be published."],
        ),
        (made(("They met.", "دیدار کردند.")), ["Languages: en, fa; each is equally authentic."]),
        (made(not_before=1_700_000_000), ["Not to be published before 2023-11-14 22:13:20 UTC."]),
        (
            made(not_before=FAR),
            [
                "Not to be published before 9999-12-31 23:59 UTC.",
                "  ATTENTION: by the clock of this device, that time has not come.",
            ],
        ),
        (
            made(relation=earlier),
            ["It corrects an earlier release.", f"  Release {'07' * 16}; SHA-256 of its text {'08' * 32}"],
        ),
        (
            made(relation=replace(earlier, act=Act.SUPERSEDES)),
            ["It takes the place of an earlier release."],
        ),
        (
            made(relation=replace(earlier, act=Act.WITHDRAWS)),
            ["It withdraws an earlier release, which is not to be relied on any more."],
        ),
        (
            released(
                KEYS, [replace(copy, foot=replace(copy.foot, not_before=1_700_000_000)) for copy in copies(KEYS)]
            )[1],
            ["Copy 2 of 3: parallel texts, which were completed together."],
        ),
    ]:
        done = commands("verify", file_of(note, tmp_path / "note"))
        assert (done.status, done.errors) == (0, "")
        said = done.out.splitlines()
        assert said[said.index(lines[0]) :][: len(lines)] == lines
        assert ("ATTENTION" in done.out) == (note.communique.foot.not_before == FAR)
        assert "Whether it was corrected or withdrawn later, this file cannot tell: ask where" in done.out
    (record,) = commands("verify", file_of(made(relation=earlier), tmp_path / "note"), "--json").records
    assert record["corrects"] == {"release": "07" * 16, "sha256": "08" * 32}


def test_a_witness_is_called_one_and_every_language_is_shown(commands: Commands, tmp_path: Path) -> None:
    signatories = a_foot(KEYS).signatories
    witnessed = (*signatories[:2], replace(signatories[2], role=Role.WITNESS))
    note = made(("They met.", "دیدار کردند."), signatories=witnessed)
    done = commands("verify", file_of(note, tmp_path / "note"))
    assert done.out.count(", as a witness\n") == 1
    assert f"({signatories[2].key.name}), as a witness\n" in done.out
    assert "The text in en:\n\n  | They met.\n\nThe text in fa:\n\n  | دیدار کردند.\n" in done.out


# What a hostile text can do


def on_a_terminal(out: str, columns: int = 80) -> list[str]:
    """The rows of a terminal that breaks what is too long for it."""
    return [line[i : i + columns] for line in out.split("\n") for i in range(0, max(len(line), 1), columns)]


def test_no_row_of_a_text_can_pass_for_a_row_of_ours(commands: Commands, tmp_path: Path) -> None:
    fake = "COMPLETE, AND ALL KNOWN: all 2 keys have signed, and each is in your key book."
    padded = "They met.".ljust(80) + fake
    name = "South".ljust(80) + "- signed by key 1 (n): North, by your key book"
    signatories = (replace(a_foot(KEYS).signatories[0], name=name), *a_foot(KEYS).signatories[1:])
    words = f"{fake}\n{padded}\n\n{'x' * 15_000}\n{'語' * 300}\n- signed by key 1: North"
    note = made((words,), signatories=signatories)
    starts = ("COMPLETE", "- signed by")
    # As it stands, a terminal shows such rows; so it would if each line had a margin and was not broken by us.
    naive = on_a_terminal("\n".join("| " + line for line in words.split("\n")).replace("| They", "They"))
    assert fake in naive
    done = commands("verify", file_of(note, tmp_path / "note"))
    assert done.status == 0
    rows = on_a_terminal(done.out)
    verdicts = [row for row in rows if row.startswith(starts)]
    assert len(verdicts) == 1 + 3
    assert "COMPLETE: all 3 keys have signed exactly this text." in verdicts
    text = done.out[: done.out.index("\nRelease ")].splitlines()[2:]
    assert all(row.startswith("  |") or not row for row in text)
    cells = max(sum(2 if char == "語" else 1 for char in row) for row in text)
    assert cells <= 80
    shown = "".join(row[4:] for row in text)
    assert shown.count("x") == 15_000
    assert shown.count("語") == 300


def test_foot_with_characters_that_steer_a_screen_is_refused_and_not_shown(
    note: Note, commands: Commands, tmp_path: Path
) -> None:
    for bad in ("\x1b[2J", "\u202e", "\u200f", "\U000e0041"):
        altered = tmp_path / "note"
        altered.write_bytes(note.encode().replace(b"Northern", b"North" + bad.encode()))
        done = commands("verify", altered)
        assert (done.status, done.errors) == (1, "")
        assert done.out.startswith("NOT VALID: Line ")
        assert bad not in done.out


def test_a_hostile_file_name_steers_no_screen(commands: Commands, tmp_path: Path) -> None:
    hostile = tmp_path / "a\x1b[2J\u202eb"
    for there in (False, True):
        if there:
            hostile.write_bytes(b"nothing\n")
        done = commands("verify", hostile)
        assert done.status == 2
        assert "a\\u001b[2J\\u202eb" in done.errors
        assert "\x1b" not in done.errors
        assert "\u202e" not in done.errors


# What is not valid, and what is no communiqué


def test_whoever_altered_it_or_left_out_a_signature_gets_status_1_and_no_text_is_shown(
    note: Note, commands: Commands, tmp_path: Path
) -> None:
    whole = note.encode()
    lines = whole.splitlines(keepends=True)
    file = tmp_path / "note"
    for data, reason in [
        (whole.replace(b"have met", b"had met"), "The signature of party-1.example/press does not verify"),
        (whole.replace(b"audience: board", b"audience: parties"), "The signature of party-1.example/press"),
        (b"".join(lines[:-1]), "A signatory's signature is missing: the text is void unless all have signed."),
        (b"".join([*lines[:-1], lines[-2]]), "A key has two signature lines."),
        (note.communique.text, "The note has no signatures."),
        (whole + b"thank you\n", "There is a line among the signatures that is none."),
        (whole[:-1], "The last line has no end"),
        (whole.replace(b"\n", b"\r\n"), "The ends of its lines were changed on the way, as mail and editors do"),
        (b"\xef\xbb\xbf" + whole, "There is a character that shows nothing"),
        (b"\xff" + whole, "The bytes are not UTF-8 text"),
    ]:
        file.write_bytes(data)
        done = commands("verify", file)
        assert (done.status, done.errors) == (1, ""), reason
        first, second = done.out.splitlines()
        assert first.startswith("NOT VALID: ")
        assert reason in first
        assert second == "Do not rely on it. Its text is not shown."
        (record,) = commands("verify", file, "--json").records
        assert (record["valid"], sorted(record)) == (False, ["reason", "valid"])


def test_what_is_no_communique_or_no_key_book_is_one_sentence_and_status_2(
    note: Note, commands: Commands, tmp_path: Path
) -> None:
    good = file_of(note, tmp_path / "good")
    book = book_of(note, tmp_path / "book", *NAMES)
    bad = tmp_path / "bad"
    for data, sentence in [
        (b"", f"{bad} is not a communiqué: "),
        (b"\x00\xff\x89PNG", f"{bad} is not a communiqué: Line 1: The bytes are not UTF-8 text"),
        (b"Dear colleagues,\n\nthey met.\n", f"{bad} is not a communiqué: "),
        (book.read_bytes(), f"{bad} is not a communiqué: "),
        (note.encode().decode().encode("utf-16"), f"{bad} is not a communiqué: "),
        (b"<!DOCTYPE html>\n<pre>\n" + note.encode(), f"{bad} is a web page: save the communiqué's own file"),
        (b"x" * (MAX_NOTE + 1), f"{bad} is larger than any communiqué"),
    ]:
        bad.write_bytes(data)
        done = commands("verify", bad, "--json")
        assert (done.status, done.out) == (2, "")
        assert done.errors.startswith(f"pourparler: {sentence}")
        assert len(done.errors.splitlines()) == 1
    key = note.communique.foot.signatories[0].key
    for data, sentence in [
        (b"Northern Assembly\n", f"the key book {bad} cannot be used: Line 1: A key is incomplete or was altered"),
        (f"# mine\n{key}\n".encode(), f"the key book {bad} cannot be used: Line 2: A key is incomplete"),
        (f"{key} A\n{key} B\n".encode(), f"the key book {bad} cannot be used: Line 2: "),
        (f"{key} A".encode(), f"the key book {bad} cannot be used: The last line has no end"),
        (b"\xff\n", f"the key book {bad} cannot be used: Line 1: The bytes are not UTF-8 text"),
        (b"#" * (MAX_BOOK + 1), f"{bad} is larger than any key book"),
    ]:
        bad.write_bytes(data)
        done = commands("verify", good, "--keys", bad)
        assert (done.status, done.out) == (2, "")
        assert done.errors.startswith(f"pourparler: {sentence}")
        assert len(done.errors.splitlines()) == 1
    for arguments, sentence in [
        ((tmp_path / "none",), f"the communiqué {tmp_path / 'none'} cannot be read: No such file or directory"),
        ((tmp_path,), f"the communiqué {tmp_path} cannot be read: Is a directory"),
        ((good, "--keys", tmp_path / "none"), f"the key book {tmp_path / 'none'} cannot be read: No such file"),
        (("-", "--keys", "-"), "the communiqué and the key book cannot both come from standard input"),
    ]:
        done = commands("verify", *arguments)
        assert (done.status, done.out) == (2, "")
        assert done.errors.startswith(f"pourparler: {sentence}")


def test_file_and_book_may_come_from_standard_input(note: Note, commands: Commands, tmp_path: Path) -> None:
    book = book_of(note, tmp_path / "book", *NAMES)
    assert commands("verify", "-", "--keys", book, text=note.encode()).status == 0
    file = file_of(note, tmp_path / "note")
    assert commands("verify", file, "--keys", "-", text=book.read_bytes()).status == 0


def test_wrong_use_shows_how_to_use_it_with_no_other_command_loaded() -> None:
    run = [sys.executable, "-m", "pourparler_clients.cli", "verify"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: pourparler verify [-h]")
    told = subprocess.run([*run, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0
    assert "Status 0: every signatory has signed exactly this text" in " ".join(told.stdout.split())


def test_what_json_says_can_be_read_by_a_program(note: Note, commands: Commands, tmp_path: Path) -> None:
    done = commands("verify", file_of(note, tmp_path / "note"), "--json")
    assert len(done.out.splitlines()) == 1
    assert isinstance(json.loads(done.out), dict)


def test_every_audience_and_every_relation_has_its_words() -> None:
    from pourparler_clients.cli import verify

    assert set(verify._AUDIENCES) == set(Audience)
    assert set(verify._ACTS) == set(Act)
