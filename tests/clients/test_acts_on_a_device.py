"""Clearing a device, changing its passphrase, locking: each does what it says, whatever instant the power goes."""

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pourparler_clients import vault as vaults
from pourparler_clients.demo.journey import search
from pourparler_clients.device import Device
from pourparler_clients.errors import UserError
from pourparler_clients.examine import files_below, found, vault_pages
from pourparler_clients.store import ChannelStore
from pourparler_clients.testing import CHEAP, PASSPHRASE, Commands, channel_row
from pourparler_clients.vault import DATABASE_NAME, HEADER_NAME, Vault, clear, unlock

NEW = "another horse battery staple"
TITLE = "Winter wheat prices"


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    commands = Commands(tmp_path_factory.mktemp("commands"))
    yield commands
    commands.close()


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    directory = tmp_path / "place" / "vault"
    Device.create(directory, PASSPHRASE, "Cedar", CHEAP).vault.close()
    opened = Vault.open(directory, PASSPHRASE)
    with opened.transaction():
        ChannelStore(opened, bytes(16)).insert(channel_row(bytes(16), TITLE))
    opened.close()
    return directory


def titles(directory: Path, passphrase: str) -> list[str]:
    device = Device.open(directory, passphrase)
    found_titles = [channel.log.charter.title for channel in device.channels()]
    device.vault.close()
    return found_titles


class Cut(BaseException):
    """The power is gone."""


def cut_at(step: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Cuts the power at the n-th call that changes a file; the list names the calls that were made."""
    made: list[str] = []

    def counted(name: str, call: object) -> object:
        def do(*arguments: object, **options: object) -> object:
            if len(made) == step:
                raise Cut(name)
            made.append(name)
            return call(*arguments, **options)  # type: ignore[operator]

        return do

    for place, name in (
        (os, "pwrite"),
        (os, "fsync"),
        (os, "write"),
        (Path, "unlink"),
        (Path, "rename"),
        (Path, "rmdir"),
    ):
        monkeypatch.setattr(place, name, counted(name, getattr(place, name)))
    return made


def test_clearing_needs_no_passphrase_and_leaves_nothing(vault: Path, commands: Commands) -> None:
    key = unlock(vault / HEADER_NAME, PASSPHRASE)[1][0]
    refused = commands("clear", "--vault", vault)
    assert (refused.status, refused.errors.splitlines()[-1]) == (2, "pourparler: nothing was done")
    assert titles(vault, PASSPHRASE) == [TITLE]
    done = commands("clear", "--yes", "--vault", vault)
    assert (done.status, done.out) == (0, f"Nothing of Pourparler is left in {vault}.\n")
    assert not vault.exists()
    assert len(key) == 32
    again = commands("clear", "--yes", "--vault", vault)
    assert again.status == 2
    assert "no vault" in again.errors


@pytest.mark.parametrize(
    ("act", "elsewhere", "below"),
    [
        pytest.param(shutil.rmtree, False, True, id="deleted as usual: the blocks are still there"),
        pytest.param(lambda vault: vault.rename(vault.with_name("letters")), True, True, id="moved"),
        pytest.param(clear, False, False, id="cleared"),
    ],
)
def test_search_of_what_a_vault_left_finds_nothing_only_when_it_was_cleared(
    vault: Path, act: Callable[[Path], object], elsewhere: bool, below: bool
) -> None:
    left = search(vault, vault.parent, lambda: act(vault))
    assert (left.before, left.pieces > 200, left.files) == (2, True, 0)
    assert (left.elsewhere, left.below) == (left.pieces if elsewhere else 0, left.pieces if below else 0)


def test_clearing_takes_only_what_is_ours(vault: Path) -> None:
    (vault / "letter.txt").write_text("mine")
    assert clear(vault) is False
    assert [path.name for path in vault.iterdir()] == ["letter.txt"]


def test_clearing_tells_when_another_program_still_has_the_vault_open(vault: Path, commands: Commands) -> None:
    opened = Vault.open(vault, PASSPHRASE)
    done = commands("clear", "--yes", "--vault", vault)
    assert done.status == 1
    assert "another program still has it open" in done.out
    assert not vault.exists()
    opened._db.close()


def test_power_cut_while_clearing_leaves_the_vault_whole_or_nothing_that_opens(
    vault: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, seen = (vault / HEADER_NAME).read_bytes(), set()
    _, (key,) = unlock(vault / HEADER_NAME, PASSPHRASE)
    pages = list(vault_pages(vault, PASSPHRASE))
    assert found([TITLE.encode()], pages)
    for step in itertools.count():
        place = tmp_path / str(step) / "vault"
        shutil.copytree(vault, place)
        with monkeypatch.context() as power:
            made = cut_at(step, power)
            try:
                clear(place)
            except Cut:
                pass
            else:
                break
        if (place / HEADER_NAME).exists() and (place / HEADER_NAME).read_bytes() == header:
            seen.add("whole")
            assert titles(place, PASSPHRASE) == [TITLE]
        else:
            seen.add("gone")
            with pytest.raises(UserError):
                Vault.open(place, PASSPHRASE)
            assert not found([key, header[12:100], header[100:]], files_below(place))
        if place.exists() and any(place.iterdir()):
            clear(place)  # the person does it again
        assert not place.exists() or not any(place.iterdir())
    assert {"whole", "gone"} == seen
    assert {"pwrite", "fsync", "unlink", "rmdir"} <= set(made)


def test_a_new_passphrase_comes_with_a_new_key_and_the_old_one_opens_nothing(
    vault: Path, tmp_path: Path, commands: Commands
) -> None:
    old_header = (vault / HEADER_NAME).read_bytes()
    old_key = unlock(vault / HEADER_NAME, PASSPHRASE)[1][0]
    opened = Vault.open(vault, PASSPHRASE)
    opened.change_passphrase(NEW, CHEAP)
    with opened.transaction():  # the vault goes on as it is open
        ChannelStore(opened, bytes(16)).delete()
        ChannelStore(opened, bytes([1]) * 16).insert(channel_row(bytes([1]) * 16, TITLE))
    with pytest.raises(UserError, match="another process"):
        Vault.open(vault, NEW)
    opened.close()
    assert titles(vault, NEW) == [TITLE]
    with pytest.raises(UserError, match="does not open"):
        Vault.open(vault, PASSPHRASE)
    assert len(unlock(vault / HEADER_NAME, NEW)[1]) == 1
    assert unlock(vault / HEADER_NAME, NEW)[1][0] != old_key
    # Whoever copied the header before and knows the old passphrase has an old key, and the file is under another.
    (vault / HEADER_NAME).write_bytes(old_header)
    with pytest.raises(UserError, match="damaged"):
        Vault.open(vault, PASSPHRASE)


def test_the_old_headers_bytes_are_overwritten_where_they_lay(vault: Path, tmp_path: Path) -> None:
    os.link(vault / HEADER_NAME, tmp_path / "old header")  # another name for the same bytes on the disk
    before = (tmp_path / "old header").read_bytes()
    opened = Vault.open(vault, PASSPHRASE)
    opened.change_passphrase(NEW, CHEAP)
    opened.close()
    after = (tmp_path / "old header").read_bytes()
    assert len(after) == len(before)
    assert not found([before[12:44], before[44:100]], [after])


def test_passphrases_that_are_too_short_change_nothing(vault: Path) -> None:
    opened = Vault.open(vault, PASSPHRASE)
    with pytest.raises(UserError, match="at least 8"):
        opened.change_passphrase("short", CHEAP)
    opened.close()
    assert titles(vault, PASSPHRASE) == [TITLE]


def test_power_cut_while_the_passphrase_changes_leaves_the_old_one_or_the_new_one(
    vault: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens, two_slots = [], 0
    for step in itertools.count():
        place = tmp_path / str(step)
        shutil.copytree(vault, place)
        opened, image = Vault.open(place, PASSPHRASE), tmp_path / f"{step}-image"
        with monkeypatch.context() as power:
            cut_at(step, power)
            for name in ("_rekey", "_replace_header"):
                whole = getattr(opened, name)

                def then_cut(argument: bytes, whole: object = whole, vault: Vault = opened) -> None:
                    whole(argument)  # type: ignore[operator]
                    os.fsync(vault._lock)  # one more instant at which the power may go

                power.setattr(opened, name, then_cut)
            try:
                opened.change_passphrase(NEW, CHEAP)
            except Cut:
                shutil.copytree(place, image)
            else:
                opened.close()
                break
        opened._db.close()
        os.close(opened._lock)
        header = (image / HEADER_NAME).read_bytes()
        try:
            two_slots += len(unlock(image / HEADER_NAME, NEW)[1]) == 2
        except UserError:
            assert len(header) == 188
        working = []
        for passphrase in (PASSPHRASE, NEW):
            try:
                assert titles(image, passphrase) == [TITLE]
                working.append(passphrase)
            except UserError:
                continue
        assert len(working) == 1
        assert (
            len(unlock(image / HEADER_NAME, working[0])[1]) == 1
        )  # whatever was begun has been brought to its end
        opens.append(working[0])
    assert opens == sorted(opens, key=[PASSPHRASE, NEW].index)
    assert set(opens) == {PASSPHRASE, NEW}
    assert two_slots > 0


def test_the_command_changes_the_passphrase(vault: Path) -> None:
    ends = [os.pipe(), os.pipe()]
    for (_, writing), passphrase in zip(ends, (PASSPHRASE, NEW), strict=True):
        os.write(writing, passphrase.encode() + b"\n")
        os.close(writing)
    old, new = (reading for reading, _ in ends)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pourparler_clients.cli", "passphrase", "--vault", str(vault)),
            *("--passphrase-fd", str(old), "--new-passphrase-fd", str(new)),
        ],
        capture_output=True,
        pass_fds=(old, new),
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done
    assert done.stdout.startswith(b"Changed.")
    told = b" ".join(done.stderr.split())  # before it is done
    assert b"cannot be undone" in told
    assert b"Who forgets the new one loses everything" in told
    assert titles(vault, NEW) == [TITLE]
    for descriptor in (old, new):
        os.close(descriptor)


def test_nothing_readable_of_the_vault_is_left_beside_it(vault: Path) -> None:
    opened = Vault.open(vault, PASSPHRASE)
    opened.change_passphrase(NEW, CHEAP)
    opened.close()
    assert {path.name for path in vault.iterdir()} == {HEADER_NAME, DATABASE_NAME}
    assert vaults._HEADER == 188


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("clear",), ("will be erased", "cannot be undone", "your places\nstay")),
        (("leave",), ("on this device is erased", "cannot be undone", "the others stay")),
        (("leave", "--here"), ("on this device", "cannot be undone", "your place stays")),
        (("close",), ("every device erases it", "cannot be undone", "can prove who said it")),
    ],
)
def test_each_act_says_who_loses_what_and_whether_it_can_be_undone_and_does_nothing_without_a_yes(
    words: tuple[str, ...], told: tuple[str, ...], vault: Path, commands: Commands
) -> None:
    done = commands(*words, "--vault", vault, passphrase=None if words == ("clear",) else PASSPHRASE)
    assert done.status == 2
    assert done.errors.splitlines()[-1] == "pourparler: nothing was done"
    for one in told:
        assert one in done.errors, done.errors
    assert titles(vault, PASSPHRASE) == [TITLE]


def test_power_cut_while_a_channel_is_erased_here_leaves_it_whole_or_nothing_of_it(
    vault: Path, tmp_path: Path
) -> None:
    """`leave --here`, and what every device does at the end of a channel: one transaction of the vault."""
    seen = set()
    for step in range(4):
        place = Path(shutil.copytree(vault, tmp_path / str(step)))
        opened, image = Vault.open(place, PASSPHRASE), tmp_path / f"{step}-image"
        whole, steps = opened._commit, itertools.count()

        def cut(
            whole: Callable[[], None] = whole,
            steps: Iterator[int] = steps,
            step: int = step,
            place: Path = place,
            image: Path = image,
        ) -> None:
            if next(steps) == step // 2 and not image.exists():
                if step % 2:
                    whole()
                shutil.copytree(place, image)
                if not step % 2:
                    whole()
            else:
                whole()

        opened._commit = cut  # type: ignore[method-assign]
        with opened.transaction():
            ChannelStore(opened, bytes(16)).delete()
        opened.empty_journal()
        opened.close()
        if image.exists():
            left = titles(image, PASSPHRASE)
            seen.add(tuple(left))
            assert left in ([TITLE], [])
        assert titles(place, PASSPHRASE) == []
    assert seen == {(TITLE,), ()}
