"""A vault: opened by its passphrase alone, whole after a power cut at any time, readable by nobody else."""

import itertools
import os
import shutil
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pourparler_clients.device import Device
from pourparler_clients.errors import UserError
from pourparler_clients.examine import files_below, found, traces, vault_pages
from pourparler_clients.testing import CHEAP, PASSPHRASE
from pourparler_clients.vault import DATABASE_NAME, HEADER_NAME, Cost, Vault, unlock

HEADER_BYTES = 4 + 8 + 2 * 88


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made") / "vault"
    Device.create(directory, PASSPHRASE, "Cedar", CHEAP).vault.close()
    return directory


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "vault"))


def test_header_always_holds_two_slots_of_one_size_and_both_look_random(tmp_path: Path) -> None:
    headers = []
    for number in range(3):
        Vault.create(tmp_path / str(number), PASSPHRASE, CHEAP).close()
        headers.append((tmp_path / str(number) / HEADER_NAME).read_bytes())
    assert {len(header) for header in headers} == {HEADER_BYTES}
    assert len({header[:12] for header in headers}) == 1
    slots = [header[start : start + 88] for header in headers for start in (12, 100)]
    assert len(set(slots)) == 6
    for slot in slots:
        assert len(set(slot)) > 50  # of 256 values in 88 random bytes; zeros or a pattern would have few


def test_passphrase_in_either_slot_opens_the_vault(copied: Path) -> None:
    header = (copied / HEADER_NAME).read_bytes()
    (copied / HEADER_NAME).write_bytes(header[:12] + header[100:] + header[12:100])
    Vault.open(copied, PASSPHRASE).close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, HEADER_BYTES - 1), bit=st.integers(0, 7))
def test_altered_header_opens_nothing_or_the_same_vault(place: int, bit: int, made: Path, tmp_path: Path) -> None:
    header = bytearray((made / HEADER_NAME).read_bytes())
    _, key = unlock(made / HEADER_NAME, PASSPHRASE)
    header[place] ^= 1 << bit
    altered = tmp_path / "altered"
    if 4 <= place < 12 and int.from_bytes(header[4:8]) <= 64 and int.from_bytes(header[8:12]) > 256 * 1024:
        return  # a dear cost is allowed, and would make this test dear
    altered.write_bytes(header)
    if place >= 100:  # the slot that nobody uses
        assert unlock(altered, PASSPHRASE)[1] == key
    else:
        with pytest.raises(UserError, match=r"header is damaged|does not open"):
            unlock(altered, PASSPHRASE)


@pytest.mark.parametrize("length", [0, 1, 11, 12, 99, HEADER_BYTES - 1, HEADER_BYTES + 1])
def test_header_of_another_length_is_refused(length: int, copied: Path) -> None:
    header = (copied / HEADER_NAME).read_bytes()
    (copied / HEADER_NAME).write_bytes((header + b"x")[:length])
    with pytest.raises(UserError, match="header is damaged"):
        Vault.open(copied, PASSPHRASE)


@pytest.mark.parametrize(
    ("passes", "memory"), [(0, 8192), (65, 8192), (1, 8191), (1, 2**22 + 1), (2**32 - 1, 2**32 - 1)]
)
def test_cost_beyond_bounds_is_refused_before_it_is_paid(passes: int, memory: int) -> None:
    with pytest.raises(UserError, match="header is damaged"):
        Cost(passes, memory)


@pytest.mark.parametrize("passphrase", ["", "correct horse battery", PASSPHRASE + " ", PASSPHRASE.upper()])
def test_wrong_passphrase_opens_nothing_and_is_in_no_message(passphrase: str, copied: Path) -> None:
    with pytest.raises(UserError) as refusal:
        Vault.open(copied, passphrase)
    assert str(refusal.value) == "this passphrase does not open the vault"
    Vault.open(copied, PASSPHRASE).close()  # and a failed attempt locks nobody out


def test_vault_of_another_header_is_refused(made: Path, copied: Path, tmp_path: Path) -> None:
    Vault.create(tmp_path / "other", PASSPHRASE, CHEAP).close()
    shutil.copy(tmp_path / "other" / HEADER_NAME, copied / HEADER_NAME)
    with pytest.raises(UserError, match="missing or damaged"):
        Vault.open(copied, PASSPHRASE)


def test_nothing_readable_is_in_any_file(tmp_path: Path) -> None:
    device = Device.create(tmp_path / "vault", PASSPHRASE, "Heron-of-the-north", CHEAP)
    text = "The delegation arrives on Tuesday."
    with device.vault.transaction():
        device.vault.execute("CREATE TABLE jotted (text TEXT)")
        device.vault.execute("INSERT INTO jotted VALUES (?)", text)
    words = [text, "Heron-of-the-north", PASSPHRASE, "CREATE TABLE", "SQLite format 3"]
    secret = device.vault.row("SELECT secret FROM card")
    assert secret is not None
    needles = {piece for word in words for piece in traces(word)} | {secret[0]}
    image = Path(shutil.copytree(tmp_path / "vault", tmp_path / "image"))  # with its journal
    assert (image / (DATABASE_NAME + "-wal")).stat().st_size > 0
    assert found(needles, files_below(image)) == set()
    pages = list(vault_pages(image, PASSPHRASE))
    assert found({text.encode(), b"Heron-of-the-north", secret[0]}, pages) == {
        text.encode(),
        b"Heron-of-the-north",
        secret[0],
    }
    assert found(set(traces(PASSPHRASE)), pages) == set()
    device.vault.close()


def test_files_are_for_their_owner_alone(made: Path) -> None:
    assert made.stat().st_mode & 0o077 == 0
    assert (made / HEADER_NAME).stat().st_mode & 0o077 == 0


def test_copy_taken_at_any_moment_opens_and_holds_every_committed_step(tmp_path: Path) -> None:
    """As after a power cut: the files are copied while another thread commits."""
    vault = Vault.create(tmp_path / "vault", PASSPHRASE, CHEAP)
    # A checkpoint between the copies of two files would show them as no power cut leaves them.
    vault._db.execute("PRAGMA wal_autocheckpoint = 0")
    with vault.transaction():
        vault.execute("CREATE TABLE step (number INTEGER PRIMARY KEY, one BLOB, two BLOB)")
    committed = [0]
    stop = threading.Event()
    images: list[tuple[Path, int, int]] = []

    def copy() -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            before = committed[0]
            image = tmp_path / f"image-{number}"
            image.mkdir()
            for name in (HEADER_NAME, DATABASE_NAME, DATABASE_NAME + "-wal"):
                shutil.copyfile(vault.directory / name, image / name)
            images.append((image, before, committed[0]))

    thread = threading.Thread(target=copy)
    thread.start()
    for number in range(1, 301):
        data = os.urandom(700)
        with vault.transaction():
            vault.execute("INSERT INTO step VALUES (?, ?, x'')", number, data)
            vault.execute("UPDATE step SET two = one WHERE number = ?", number)
        committed[0] = number
    stop.set()
    thread.join()
    vault.close()
    assert len(images) > 10
    for image, before, after in images[:: max(1, len(images) // 40)]:
        opened = Vault.open(image, PASSPHRASE)
        rows = opened.rows("SELECT number, one = two FROM step ORDER BY number")
        assert rows == [(number, 1) for number in range(1, len(rows) + 1)]
        assert before <= len(rows) <= after + 1
        opened.close()


def test_transaction_that_fails_leaves_nothing(copied: Path) -> None:
    vault = Vault.open(copied, PASSPHRASE)
    with pytest.raises(ZeroDivisionError), vault.transaction():
        vault.execute("UPDATE clock SET high = 99")
        raise ZeroDivisionError
    assert vault.row("SELECT high FROM clock") != (99,)
    with pytest.raises(RuntimeError, match="needs a transaction"):
        vault.execute("UPDATE clock SET high = 99")
    with vault.transaction(), pytest.raises(RuntimeError, match="do not nest"), vault.transaction():
        pass
    vault.close()


def test_second_process_is_refused_also_while_a_vault_is_made(copied: Path, tmp_path: Path) -> None:
    first = Vault.open(copied, PASSPHRASE)
    with pytest.raises(UserError, match="another process"):
        Vault.open(copied, PASSPHRASE)
    first.close()
    Vault.open(copied, PASSPHRASE).close()
    with pytest.raises(UserError, match="not empty"):
        Vault.create(copied, PASSPHRASE, CHEAP)
    with pytest.raises(UserError, match="at least 8"):
        Vault.create(tmp_path / "new", "seven77", CHEAP)
    assert not (tmp_path / "new").exists()
