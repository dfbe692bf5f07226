"""What the command line shows and chooses, and what it says when something fails. No service is needed."""

import os
import pty
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pourparler_clients.cli.common import choose_row
from pourparler_clients.cli.showing import name_of
from pourparler_clients.device import Device
from pourparler_clients.errors import UserError
from pourparler_clients.store import ChannelStore, Row, State
from pourparler_clients.testing import CHEAP, PASSPHRASE, Commands, Done, channel_row
from pourparler_clients.vault import Vault
from pourparler_crypto.card import check_digits
from pourparler_policies.admission import Member


def row(title: str, number: int) -> Row:
    return channel_row(bytes([number]) * 16, title, number=number)


def member(number: int, name: str) -> Member:
    return Member(bytes([number]) * 16, bytes(16), name, bytes(1216), bytes([number]) * 32)


def test_exact_title_wins_over_a_number_and_nothing_is_guessed() -> None:
    rows = [row("2", 1), row("Two wells", 2), row("Three wells", 3), row("Three wells", 5)]
    assert choose_row(rows, "2").number == 1
    assert choose_row(rows, "Two wells").number == 2
    assert choose_row(rows, "3").number == 3
    assert choose_row(rows, "5").number == 5
    assert choose_row(rows[:1], None).number == 1
    for wanted, sentence in [
        ("Three wells", "2 channels"),
        ("4", "no channel"),
        ("two wells", "no channel"),
        ("03", "no channel"),
        ("0", "no channel"),
        ("", "no channel"),
        (None, "several"),
    ]:
        with pytest.raises(UserError, match=sentence):
            choose_row(rows, wanted)
    with pytest.raises(UserError, match="no channel in this vault"):
        choose_row([], "1")


@pytest.mark.parametrize(
    ("name", "others", "marked"),
    [
        ("ada", ["ben"], False),
        ("ada", ["Ada"], True),
        ("Ada", ["ada"], True),
        ("STRASSE", ["straße"], True),
        ("ａda", ["ada"], True),  # full width
        ("you", ["ben"], True),
        ("You", [], True),
        ("ben (this device)", ["ben"], True),
        ("somebody who has left", [], True),
        ("ben (12345)", ["ben"], True),
        ("ben (of the north)", ["ben"], False),
    ],
)
def test_name_that_could_be_taken_for_another_is_shown_with_digits_of_its_card(
    name: str, others: list[str], marked: bool
) -> None:
    one = member(1, name)
    members = {m.credential: m for m in [one, *(member(n, other) for n, other in enumerate(others, 2))]}
    digits = check_digits(one.fingerprint)[:5]
    assert len(digits) == 5
    assert digits.isdecimal()
    assert name_of(one, members) == (f"{name} ({digits})" if marked else name)
    gone = {credential: m for credential, m in members.items() if credential != one.credential}
    assert name_of(one, gone) == name_of(one, members)


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    commands = Commands(tmp_path_factory.mktemp("commands"))
    yield commands
    commands.close()


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    directory = tmp_path / "vault"
    Device.create(directory, PASSPHRASE, "ada", CHEAP).vault.close()
    return directory


def put(directory: Path, *rows: Row) -> None:
    opened = Vault.open(directory, PASSPHRASE)
    for one in rows:
        store = ChannelStore(opened, one.id)
        with opened.transaction():
            store.insert(one)
    opened.close()


def test_halted_channel_says_why_at_once_and_ends_with_status_1(vault: Path, commands: Commands) -> None:
    halted = row("Two wells", 1)
    halted.state, halted.trouble = State.HALTED, "this vault is an older copy"
    put(vault, halted)
    for command in ("watch", "talk"):
        done = commands(command, "--vault", vault, passphrase=PASSPHRASE)
        assert (done.status, done.errors) == (1, "")
        assert done.out == "ATTENTION: this vault is an older copy\n"


def test_channel_in_any_state_is_erased_here_without_the_service(vault: Path, commands: Commands) -> None:
    rows = [row(f"{state} one", number) for number, state in enumerate(State, 1)]
    for one, state in zip(rows, State, strict=True):
        one.state = state
    put(vault, *rows)

    def run(*arguments: str) -> Done:
        return commands(*arguments, "--vault", vault, passphrase=PASSPHRASE)

    refused = run("leave", "--here", "--channel", "2")
    assert refused.status == 2
    assert refused.errors.endswith("pourparler: nothing was done\n")
    for number, state in enumerate(State, 1):
        listed = run("channels", "--json").records
        assert [(one["number"], one["state"]) for one in listed] == [
            *((n, str(s)) for n, s in enumerate(State, 1) if n >= number)
        ]
        done = run("leave", "--here", "--yes", "--json", "--channel", str(number))
        assert done.records == [{"state": "erased", "title": f"{state} one"}]
    assert run("channels", "--json").out == ""


def at_terminal(vault: Path, *arguments: str, keys: bytes) -> tuple[int, str]:
    """One command at a terminal, on which somebody presses keys; its status and what it said of errors."""
    ours, theirs = pty.openpty()
    reading, writing = os.pipe()
    os.write(writing, PASSPHRASE.encode() + b"\n")
    os.close(writing)
    os.write(ours, keys)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pourparler_clients.cli", *arguments),
            *("--vault", str(vault), "--passphrase-fd", str(reading)),
        ],
        stdin=theirs,
        capture_output=True,
        pass_fds=(reading,),
        timeout=60,
        check=False,
    )
    for descriptor in (ours, theirs, reading):
        os.close(descriptor)
    return done.returncode, done.stderr.decode()


def test_end_of_input_at_a_question_is_no_answer_and_no_defect(vault: Path) -> None:
    put(vault, row("Two wells", 1))
    assert at_terminal(vault, "leave", "--here", keys=b"\x04") == (2, "pourparler: no answer was given\n")
    assert at_terminal(vault, "leave", "--here", keys=b"no\n") == (2, "pourparler: nothing was done\n")
    assert at_terminal(vault, "leave", "--here", keys=b"yes\n") == (0, "")


def test_vault_that_cannot_be_written_is_said_in_one_sentence(vault: Path, commands: Commands) -> None:
    put(vault, row("Two wells", 1))
    opened = Vault.open(vault, PASSPHRASE)
    with opened.transaction():  # else a command within the same second would have nothing to write
        opened.execute("UPDATE clock SET high = 0")
    opened.close()
    reading, writing = os.pipe()
    os.write(writing, PASSPHRASE.encode() + b"\n")
    os.close(writing)
    limit = 64  # bytes that any file may have from now on: as on a full disk
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pourparler_clients.cli", "channels"),
            *("--vault", str(vault), "--passphrase-fd", str(reading)),
        ],
        capture_output=True,
        pass_fds=(reading,),
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    os.close(reading)
    assert done.returncode == 2
    assert done.stderr.decode().startswith("pourparler: the vault cannot be written or read (is the disk full?)")
    assert commands("channels", "--vault", vault, passphrase=PASSPHRASE).status == 0
