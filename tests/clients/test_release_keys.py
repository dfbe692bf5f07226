"""Release keys in a vault: a name chooses exactly one, nothing is lost by a mistake, a forgotten one is gone."""

import base64
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pourparler_clients import releasekeys
from pourparler_clients.device import Device
from pourparler_clients.errors import UserError
from pourparler_clients.examine import vault_pages
from pourparler_clients.schema import MIGRATIONS
from pourparler_clients.testing import CHEAP, PASSPHRASE, Commands, Done
from pourparler_clients.vault import Vault
from pourparler_crypto.card import CardKey
from pourparler_crypto.errors import UsageError
from pourparler_crypto.note import KeyBook, PressKey, ReleaseKey, open_backup, seal_backup

BACKUP = "a drawer at home, locked"
Run = Callable[..., Done]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    Device.create(tmp_path / "vault", PASSPHRASE, "Cedar", CHEAP).vault.close()
    return tmp_path / "vault"


@pytest.fixture
def vault(directory: Path) -> Iterator[Vault]:
    vault = Vault.open(directory, PASSPHRASE)
    yield vault
    vault.close()


def test_keys_are_kept_by_name_and_found_by_their_public_half(vault: Vault) -> None:
    south, north = (releasekeys.add(vault, name, ReleaseKey.generate()) for name in ("south", "north"))
    assert releasekeys.all(vault) == [north, south]
    assert releasekeys.by_public(vault, south.press.public) == south
    assert releasekeys.by_public(vault, bytes(32)) is None
    assert releasekeys.choose(vault, "north") == north
    for held in (north, south):
        assert held.press.public == held.key.public
        assert held.key.seed.hex() not in repr(held)
        assert repr(held.key.seed) not in repr(held)


def test_a_vault_holds_no_key_twice_and_no_name_twice(vault: Vault) -> None:
    held = releasekeys.add(vault, "north", ReleaseKey.generate())
    for name, key, sentence in [
        ("north", held.key, "in the vault already, as north"),
        ("other", held.key, "in the vault already, as north"),
        ("north", ReleaseKey.generate(), "another release key called north"),
    ]:
        with pytest.raises(UserError, match=sentence):
            releasekeys.add(vault, name, key)
    with pytest.raises(UsageError, match="lower-case letters"):
        releasekeys.add(vault, "Nörth", ReleaseKey.generate())
    assert releasekeys.all(vault) == [held]


def test_no_key_is_guessed(vault: Vault) -> None:
    with pytest.raises(UserError, match="no release key in this vault yet"):
        releasekeys.choose(vault, None)
    north = releasekeys.add(vault, "north", ReleaseKey.generate())
    assert releasekeys.choose(vault, None) == north
    releasekeys.add(vault, "north-2027", ReleaseKey.generate())
    with pytest.raises(UserError, match="several release keys"):
        releasekeys.choose(vault, None)
    with pytest.raises(UserError, match="no release key here has this name"):
        releasekeys.choose(vault, "nort")
    assert releasekeys.choose(vault, "north") == north


def test_a_forgotten_key_is_in_no_page_of_the_vault_and_no_other_is_touched(directory: Path, vault: Vault) -> None:
    gone = releasekeys.add(vault, "gone", ReleaseKey.generate())
    stays = releasekeys.add(vault, "stays", ReleaseKey.generate())
    pages = b"".join(vault_pages(directory, PASSPHRASE))
    assert gone.key.seed in pages  # what is searched for below can be found
    assert releasekeys.forget(vault, gone.press.public)
    assert not releasekeys.forget(vault, gone.press.public)
    assert releasekeys.all(vault) == [stays]
    pages = b"".join(vault_pages(directory, PASSPHRASE))
    assert stays.key.seed in pages
    assert gone.key.seed not in pages
    assert gone.press.public not in pages


def test_a_vault_from_before_there_were_release_keys_takes_one_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "old"
    with monkeypatch.context() as then:
        then.setattr("pourparler_clients.vault.MIGRATIONS", MIGRATIONS[:1])
        vault = Vault.create(directory, PASSPHRASE, CHEAP)
        with vault.transaction():
            vault.execute("INSERT INTO card VALUES (1, ?, ?)", "Cedar", CardKey.generate().secret)
        vault.close()
    device = Device.open(directory, PASSPHRASE)
    assert device.card.name == "Cedar"
    held = releasekeys.add(device.vault, "north", ReleaseKey.generate())
    device.vault.close()
    vault = Vault.open(directory, PASSPHRASE)
    assert releasekeys.all(vault) == [held]
    vault.close()


# The commands


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    commands = Commands(tmp_path_factory.mktemp("commands"))
    yield commands
    commands.close()


@pytest.fixture
def run(commands: Commands, directory: Path) -> Run:
    """`pourparler release-key …` on the vault; `backup`: the passphrase of the backup."""

    def run(*arguments: str | Path, passphrase: str = PASSPHRASE, backup: str | None = None) -> Done:
        more = ["--backup-passphrase-fd", "0"] if backup is not None else []
        return commands(
            *("release-key", *arguments, *more, "--vault", directory),
            passphrase=passphrase,
            text=f"{backup}\n".encode(),
        )

    return run


def cheap_backup(key: ReleaseKey, name: str) -> str:
    return seal_backup(key, name, BACKUP, passes=1, memory_kib=8)


def kept(directory: Path) -> list[str]:
    vault = Vault.open(directory, PASSPHRASE)
    names = [held.press.name for held in releasekeys.all(vault)]
    vault.close()
    return names


def test_a_key_is_made_and_its_press_key_published(run: Run, directory: Path, tmp_path: Path) -> None:
    (made,) = run("new", "--name", "North.example/Press", "--json").records
    press = PressKey.parse(made["press_key"])
    assert made == {
        "name": "north.example/press",
        "check_digits": press.digits,
        "public": press.public.hex(),
        "press_key": str(press),
    }
    shown = run("show")
    assert (shown.status, shown.errors) == (0, "")
    assert f"Check digits: {press.digits}\n" in shown.out
    assert f"\n{press}\n" in shown.out
    assert shown.out.count("█") + shown.out.count("▀") + shown.out.count("▄") > 100  # the QR code
    file = tmp_path / "north.press"
    assert run("show", "north.example/press", "--out", file).status == 0
    assert PressKey.parse(file.read_text().removesuffix("\n")) == press
    again = run("show", "--out", file)
    assert (again.status, again.out) == (2, "")
    assert again.errors == f"pourparler: {file} exists already: choose another file with --out\n"
    assert kept(directory) == ["north.example/press"]


def test_another_partys_press_key_has_digits_to_compare_and_a_line_for_the_key_book(
    commands: Commands, tmp_path: Path
) -> None:
    """Before anything is signed with it, and without a vault."""
    press = PressKey("south.example/press", ReleaseKey.generate().public)
    file = tmp_path / "south.key"
    file.write_text(f"{press}\n")
    done = commands("release-key", "check", file)
    assert (done.status, done.errors) == (0, "")
    assert f"Check digits: {press.digits}\n" in done.out
    line = done.out.splitlines()[-1]
    assert KeyBook.parse(f"{line.replace(' NAME', ' The south')}\n".encode()).name_of(press) == "The south"
    (record,) = commands("release-key", "check", "-", "--json", text=f"{press}\n".encode()).records
    assert (record["name"], record["check_digits"]) == ("south.example/press", press.digits)


def test_the_keys_of_a_vault_are_listed_by_name(run: Run) -> None:
    assert run("list").out == "No release key is in this vault: `pourparler release-key new` makes one.\n"
    assert run("list", "--json").out == ""
    for name in ("South", "North"):
        run("new", "--name", name)
    records = run("list", "--json").records
    assert [one["name"] for one in records] == ["north", "south"]
    assert run("list").out == "".join(f"{one['check_digits']}  {one['name']}\n" for one in records)


def test_no_command_shows_the_secret_half(run: Run, directory: Path, tmp_path: Path) -> None:
    done = [run("new", "--name", "north"), run("new", "--name", "south", "--json")]
    done += [run(*words) for words in (("show", "north"), ("show", "north", "--json"), ("list",))]
    done.append(run("backup", "north", "--out", tmp_path / "backup", backup=BACKUP))
    vault = Vault.open(directory, PASSPHRASE)
    seeds = [held.key.seed for held in releasekeys.all(vault)]
    vault.close()
    said = "".join(one.out + one.errors for one in done) + (tmp_path / "backup").read_text()
    assert [one.status for one in done] == [0] * 6
    for seed in seeds:
        assert seed.hex() not in said
    assert BACKUP not in said


def test_a_backup_brings_the_key_into_another_vault(run: Run, commands: Commands, tmp_path: Path) -> None:
    run("new", "--name", "north")
    (shown,) = run("show", "--json").records
    file = tmp_path / "north.backup"
    done = run("backup", "--out", file, backup=BACKUP)
    assert (done.status, done.out.splitlines()[0]) == (0, f"The backup of north is in {file}.")
    assert file.stat().st_mode & 0o777 == 0o600
    other = tmp_path / "other"
    Device.create(other, PASSPHRASE, "Cedar", CHEAP).vault.close()
    (taken,) = commands(
        *("release-key", "import", file, "--vault", other, "--json", "--backup-passphrase-fd", "0"),
        passphrase=PASSPHRASE,
        text=f"{BACKUP}\n".encode(),
    ).records
    assert taken == shown
    again = run("import", file, backup=BACKUP)  # where it is already
    assert (again.status, again.out) == (2, "")
    assert again.errors.splitlines()[-1] == "pourparler: this key is in the vault already, as north"
    run("forget", "north", "--yes")
    assert run("import", file, "--json", backup=BACKUP).records == [shown]


def test_what_cannot_be_imported_is_one_sentence_and_changes_nothing(
    run: Run, directory: Path, tmp_path: Path
) -> None:
    run("new", "--name", "north")
    (shown,) = run("show", "--json").records
    text = cheap_backup(ReleaseKey.generate(), "south")
    middle = len(text) // 2
    altered = text[:middle] + ("A" if text[middle] != "A" else "B") + text[middle + 1 :]
    head = text.split(":")[0]
    dear = f"{head}:{base64.urlsafe_b64encode(bytes([255]) * 212).decode()}"  # passes and memory as high as can be
    file = tmp_path / "file"
    for data, passphrase, sentence in [
        (text.encode(), "another drawer", "the passphrase is wrong, or the backup was altered"),
        (text.encode(), "", "the passphrase is wrong, or the backup was altered"),
        (altered.encode(), BACKUP, "the passphrase is wrong, or the backup was altered"),
        (dear.encode(), BACKUP, "this backup asks for more work than is allowed"),
        (text[:-9].encode(), BACKUP, "this is not a backup of a release key, or a part is missing"),
        (shown["press_key"].encode(), BACKUP, "this is not a backup of a release key, or a part is missing"),
        (b"", BACKUP, "this is not a backup of a release key, or a part is missing"),
        (b"x" * 17_000, BACKUP, f"{file} is larger than any backup of a release key"),
        (b"\xff\xfe", BACKUP, f"{file} is not a backup of a release key: it is not UTF-8 text"),
        (
            cheap_backup(ReleaseKey.generate(), "north").encode(),
            BACKUP,
            "this vault has another release key called north: choose another name",
        ),
    ]:
        file.write_bytes(data)
        done = run("import", file, backup=passphrase)
        assert (done.status, done.out) == (2, ""), sentence
        assert done.errors.splitlines()[-1] == f"pourparler: {sentence}"
        assert "Traceback" not in done.errors
    missing = run("import", tmp_path / "none", backup=BACKUP)
    assert missing.status == 2
    assert missing.errors == (
        f"pourparler: the backup of a release key {tmp_path / 'none'} cannot be read: No such file or directory\n"
    )
    file.write_text(text)
    wrong = run("import", file, passphrase="not the vault's", backup=BACKUP)
    assert (wrong.status, wrong.errors.splitlines()[-1]) == (
        2,
        "pourparler: this passphrase does not open the vault",
    )
    assert kept(directory) == ["north"]


def test_what_cannot_be_done_with_a_key_is_one_sentence_and_changes_nothing(
    run: Run, directory: Path, tmp_path: Path
) -> None:
    there = tmp_path / "there"
    there.write_text("something of mine")
    name = "a key's name is like example.org/mission: lower-case letters, digits and . - _ / within, at most 100"
    none = "there is no release key in this vault yet: make one with `pourparler release-key new`"
    for words, backup, sentence in [
        (("show",), None, none),
        (("backup", "--out", tmp_path / "new"), BACKUP, none),
        (("forget", "north", "--yes"), None, none),
        (("new", "--name", ""), None, name),
        (("new", "--name", "northern assembly"), None, name),
        (("new", "--name", "nörth"), None, name),
        (("new", "--name", "\x1b[2J"), None, name),
        (("new", "--name", "n" * 101), None, name),
        (("new", "--name", "North"), None, ""),
        (("new", "--name", "north"), None, "this vault has another release key called north: choose another name"),
        (("backup", "--out", there), BACKUP, f"{there} exists already: choose another file with --out"),
        (
            ("backup", "--out", tmp_path / "no" / "b"),
            BACKUP,
            f"{tmp_path / 'no' / 'b'}: No such file or directory",
        ),
        (("backup", "--out", tmp_path / "new"), "short", "a passphrase has at least 8 characters"),
        (("show", "south"), None, "no release key here has this name: see `pourparler release-key list`"),
        (("forget", "north"), None, "nothing was done"),
        (("new", "--name", "south"), None, ""),
        (("show",), None, "there are several release keys: name one (see `pourparler release-key list`)"),
        (("backup", "--out", tmp_path / "new"), BACKUP, "there are several release keys: name one"),
    ]:
        done = run(*words, backup=backup)
        if not sentence:
            assert done.status == 0
            continue
        assert (done.status, done.out) == (2, ""), words
        assert done.errors.splitlines()[-1].startswith(f"pourparler: {sentence}"), done.errors
        assert "Traceback" not in done.errors
        assert "\x1b" not in done.errors
    assert there.read_text() == "something of mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there", "vault"]
    assert kept(directory) == ["north", "south"]


OWNING_ITS_TERMINAL = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from pourparler_clients.cli import run
run()
"""


def at_terminal(directory: Path, *arguments: str | Path, answers: list[tuple[str, str]]) -> tuple[int, str]:
    """One command at a terminal of its own: each question is waited for, then answered. Its status, and the screen."""
    ours, theirs = pty.openpty()
    command = subprocess.Popen(
        [*(sys.executable, "-c", OWNING_ITS_TERMINAL, "release-key"), *map(str, arguments), "--vault", directory],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    screen = b""
    for question, answer in answers:
        start = len(screen)
        while question.encode() not in screen[start:]:
            piece = os.read(ours, 4096)
            assert piece, screen
            screen += piece
        os.write(ours, answer.encode() + b"\n")
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # Linux: the other side is closed
            break
        if not piece:
            break
        screen += piece
    os.close(ours)
    return command.wait(timeout=60), screen.decode().replace("\r\n", "\n")


def test_at_a_terminal_the_passphrase_of_a_backup_is_asked_twice_and_never_shown(
    run: Run, directory: Path, tmp_path: Path
) -> None:
    run("new", "--name", "north")
    file = tmp_path / "north.backup"
    vault = ("Passphrase: ", PASSPHRASE)
    first, second = ("Passphrase of the backup: ", BACKUP), ("The same again: ", BACKUP)
    status, screen = at_terminal(
        directory, "backup", "--out", file, answers=[vault, first, ("The same again: ", "another drawer")]
    )
    assert (status, file.exists()) == (2, False)
    assert screen.endswith("pourparler: the two passphrases differ: nothing was written\n")
    status, screen = at_terminal(directory, "backup", "--out", file, answers=[vault, first, second])
    assert status == 0, screen
    assert PASSPHRASE not in screen
    assert BACKUP not in screen
    assert open_backup(file.read_text(), BACKUP)[1].name == "north"


def test_a_key_is_forgotten_only_when_its_name_is_typed(run: Run, directory: Path) -> None:
    run("new", "--name", "north")

    def answered(typed: str) -> tuple[int, str]:
        answers = [("Passphrase: ", PASSPHRASE), ("type its name: ", typed)]
        return at_terminal(directory, "forget", "north", answers=answers)

    status, screen = answered("yes")
    assert status == 2
    assert "Without a backup nobody can sign with it ever again" in screen
    assert screen.endswith("pourparler: nothing was done\n")
    assert kept(directory) == ["north"]
    status, screen = answered("north")
    assert (status, screen.splitlines()[-1]) == (0, "north is no longer in this vault.")
    assert kept(directory) == []
