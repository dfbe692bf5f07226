"""The commands, the data directory, restored backups, and what a stolen disk or log shows."""

import asyncio
import os
import secrets
import shutil
import signal
import sqlite3
import stat
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from alembic import command as alembic
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlmodel import SQLModel

from pourparler_policies import limits
from pourparler_policies.wire import Route
from pourparler_service import board, database, tables, writer
from pourparler_service.access import unpad
from pourparler_service.outside import Outside
from pourparler_service.problems import Refusal
from pourparler_service.testing import (
    ServerProcess,
    TestDevice,
    command,
    environment,
    found_channel,
    make_grant,
    running,
)
from pourparler_service.writer import Writer

assert tables  # it registers the tables
pytestmark = pytest.mark.embedded


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(**variables),
    )


def incarnation(url: str) -> str:
    return str(httpx.get(url + Route.SERVICE).json()["incarnation"])


def test_a_second_process_on_the_same_data_is_refused_with_one_sentence(server: ServerProcess, data: Path) -> None:
    told = run("serve", "--data", str(data), "--port", "0")
    assert told.returncode == 2
    assert told.stdout == ""
    assert told.stderr == f"Another service process uses the data directory {data}.\n"
    assert httpx.get(server.url + Route.SERVICE).status_code == 200


@pytest.mark.parametrize(
    "arguments",
    [
        ("--largest-entry", "1"),
        ("--longest-life", "0"),
        ("--devices-a-channel", "1000000"),
        ("--host", "203.0.113.7"),
        ("--press-keys", "no-such-file"),
        ("--press-keys", "README.md"),
    ],
)
def test_what_it_cannot_do_is_said_in_one_sentence(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    told = run("serve", "--data", str(tmp_path), "--port", "0", *arguments)
    assert told.returncode == 2
    assert told.stderr.count("\n") <= 2  # a warning about the address may come first
    assert "Traceback" not in told.stderr


def test_a_second_process_is_refused_though_what_lies_outside_backups_was_exchanged(tmp_path: Path) -> None:
    """As where the two are volumes: with a lock in the second alone both would write one database."""
    with running(tmp_path):
        (tmp_path / "outside-backups").rename(tmp_path / "away")
        told = run("serve", "--data", str(tmp_path), "--port", "0")
    assert (told.returncode, told.stderr) == (2, f"Another service process uses the data directory {tmp_path}.\n")


def test_a_start_that_fails_in_any_way_is_no_clean_stop(tmp_path: Path) -> None:
    """Else nobody would start it again, or know why."""
    with running(tmp_path):
        pass
    tag = tmp_path / "outside-backups" / "CACHEDIR.TAG"
    tag.unlink()
    tag.symlink_to(tmp_path / "nowhere" / "tag")
    with closing(sqlite3.connect(tmp_path / "pourparler.sqlite3")) as rows:
        rows.execute("DROP TABLE docket")
    for _ in range(2):
        told = run("serve", "--data", str(tmp_path), "--port", "0")
        assert (told.returncode, told.stdout) == (2, "")
        assert told.stderr.splitlines()[-1].endswith(".")
        assert "Traceback" not in told.stderr
        tag.unlink(missing_ok=True)


def test_who_holds_the_database_holds_up_nobody_who_only_reads(server: ServerProcess, data: Path) -> None:
    with (
        closing(sqlite3.connect(data / "pourparler.sqlite3", isolation_level=None)) as other,
        httpx.Client(base_url=server.url, timeout=30) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        (device,) = found_channel(client, data)
        other.execute("BEGIN IMMEDIATE")
        sent = pool.submit(device.send, client)
        time.sleep(0.3)
        with httpx.Client(base_url=server.url, timeout=30) as reader:
            for _ in range(3):
                assert device.page(reader).status_code == 200
                time.sleep(0.2)
        assert not sent.done()
        other.execute("ROLLBACK")
        assert sent.result().status_code == 201


def test_a_long_look_into_the_database_holds_up_nobody_who_only_reads(server: ServerProcess, data: Path) -> None:
    """As a backup's: what expires meanwhile leaves the files when it is over, and readers need not wait for that."""
    with (
        closing(sqlite3.connect(data / "pourparler.sqlite3", isolation_level=None)) as other,
        httpx.Client(base_url=server.url, timeout=30) as client,
    ):
        (device,) = found_channel(client, data)
        device.send(client, life=1).raise_for_status()
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM entry").fetchall()
        longest, end = 0.0, time.monotonic() + 2.5
        while (began := time.monotonic()) < end:
            assert device.page(client).status_code == 200
            longest = max(longest, time.monotonic() - began)
            time.sleep(0.05)
        other.execute("ROLLBACK")
    assert longest < database.BUSY / 2000


def test_who_waits_behind_a_log_that_cannot_be_emptied_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that stays, or a full disk; and when it can be, what waited is done."""
    monkeypatch.setattr(writer, "LOCK_PATIENCE", 0.5)

    def emptied(_batch: writer.Batch) -> None:
        _batch.changed(scrub=True)

    async def talk() -> None:
        with database.Database(tmp_path) as held, closing(Outside(held)) as outside:
            one = Writer(held, outside, time.time)
            with monkeypatch.context() as full:
                full.setattr(held, "checkpoint", lambda *, truncate: not truncate)
                late = one.submit(emptied, after_scrub=True)
                await asyncio.sleep(0.2)
                with pytest.raises(Refusal):
                    await asyncio.wait_for(one.submit(board.remember_case(bytes(32), 2**31)), 10)
                assert not late.done()
            await asyncio.wait_for(late, 10)
            await asyncio.wait_for(one.submit(board.remember_case(bytes(32), 2**31)), 10)
            await one.close()

    asyncio.run(talk())


def test_what_is_durable_is_answered_though_the_count_outside_backups_cannot_be_written(tmp_path: Path) -> None:
    async def talk() -> list[int]:
        with database.Database(tmp_path) as held:
            outside = Outside(held)
            full = os.open("/dev/full", os.O_RDWR)
            os.dup2(full, held._mark)
            os.close(full)
            one = Writer(held, outside, time.time)
            act = board.remember_case
            for number in range(3):
                await asyncio.wait_for(one.submit(act(bytes([number]) * 32, 2**31)), 10)
            found = board.remembered_cases(held.write)
            await one.close()
            outside.close()
            return sorted(name[0] for name in found)

    assert asyncio.run(talk()) == [0, 1, 2]


def test_a_data_directory_that_is_a_file_is_refused_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("serve", "grant"):
        told = run(name, "--data", str(tmp_path / "file"))
        assert (told.returncode, told.stderr.count("\n")) == (2, 1)
    (tmp_path / "pourparler.sqlite3").write_bytes(b"this is no database" * 1000)
    for name in ("serve", "grant"):
        told = run(name, "--data", str(tmp_path))
        assert (told.returncode, told.stderr.count("\n")) == (2, 1), told.stderr


def test_caps_may_stand_in_the_environment_and_the_option_wins(tmp_path: Path) -> None:
    server = ServerProcess(
        tmp_path,
        "--longest-life",
        "500",
        variables={"POURPARLER_LONGEST_LIFE": "400", "POURPARLER_LARGEST_ENTRY": "4096"},
    )
    caps = httpx.get(server.url + Route.SERVICE).json()["caps"]
    assert (caps["longest_life"], caps["largest_entry"]) == (500, 4096)
    server.stop()
    told = run("serve", "--data", str(tmp_path), POURPARLER_LARGEST_ENTRY="many")
    assert (told.returncode, told.stderr) == (
        2,
        "POURPARLER_LARGEST_ENTRY must be a whole number of bytes.\n",
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_and_says_nothing_about_anybody(tmp_path: Path, number: int) -> None:
    server = ServerProcess(tmp_path)
    with httpx.Client(base_url=server.url, timeout=20) as client:
        (device,) = found_channel(client, tmp_path)
        device.send(client)
        device.send(client, count=9)
        client.get(device.path(Route.STREAM) + "?after=x", headers=device.headers)
    server.process.send_signal(number)
    out, errors = server.process.communicate(timeout=30)
    assert (server.process.returncode, out, errors) == (0, "", "")
    assert (
        not (tmp_path / "pourparler.sqlite3-wal").exists()
        or not (tmp_path / "pourparler.sqlite3-wal").stat().st_size
    )


def test_it_listens_on_loopback_and_warns_when_told_otherwise(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, "--host", "0.0.0.0")
    _, errors = server.stop()
    assert errors.startswith("Warning: this address can be reached from other machines")
    server = ServerProcess(tmp_path)
    assert server.url.startswith("http://127.0.0.1:")
    assert server.stop() == (0, "")


def test_the_files_are_for_this_user_alone(server: ServerProcess, data: Path) -> None:
    for one in data.rglob("*"):
        assert not stat.S_IMODE(one.stat().st_mode) & 0o077, one


def test_a_grant_is_made_while_the_service_runs_or_before_its_first_start(
    server: ServerProcess, data: Path, tmp_path: Path
) -> None:
    for where in (data, tmp_path):
        assert len(make_grant(where)) == 32
    assert run("grant", "--data", str(data), "--expires", "0").returncode == 2
    assert run("grant", "--data", str(data), "--expires", "1.5").returncode == 0


# --- restored backups ------------------------------------------------------------------------------------------


def backup(data: Path, to: Path) -> None:
    """As an operator does: the database by SQLite's own copy, the rest as the tag of that folder asks."""
    with sqlite3.connect(data / "pourparler.sqlite3") as source, sqlite3.connect(to) as target:
        source.backup(target)
    source.close()
    target.close()


def restore(copy: Path, data: Path) -> None:
    for one in data.glob("pourparler.sqlite3*"):
        one.unlink()
    shutil.copy(copy, data / "pourparler.sqlite3")


def test_a_restart_keeps_the_incarnation(tmp_path: Path) -> None:
    seen = set()
    for _ in range(2):
        with running(tmp_path) as server:
            seen.add(incarnation(server.url))
    assert len(seen) == 1


def test_a_database_that_went_back_in_time_gets_a_new_incarnation(tmp_path: Path) -> None:
    """#12, also within one run of the service: a backup of this morning, restored this evening."""
    data = tmp_path / "data"
    server = ServerProcess(data)
    with httpx.Client(base_url=server.url, timeout=20) as client:
        (device,) = found_channel(client, data)
        backup(data, tmp_path / "copy")
        device.send(client)
        before = incarnation(server.url)
    server.kill()
    restore(tmp_path / "copy", data)
    with running(data) as server:
        after = incarnation(server.url)
        told = httpx.get(server.url + device.path(Route.CHANNEL), headers=device.headers).json()
        assert after != before
        assert told["incarnation"] == after
        assert told["head"] == 0
    with running(data) as server:
        assert incarnation(server.url) == after


def test_a_database_on_a_new_machine_gets_a_new_incarnation(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    with running(old) as server:
        before = incarnation(server.url)
    new.mkdir()
    shutil.copy(old / "pourparler.sqlite3", new / "pourparler.sqlite3")
    with running(new) as server:
        assert incarnation(server.url) != before


def test_the_operator_can_say_that_it_was_restored(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        before = incarnation(server.url)
    with running(tmp_path, "--restored") as server:
        assert incarnation(server.url) != before


def test_a_backup_made_under_load_starts_a_service_that_has_all_that_was_acknowledged_before(
    tmp_path: Path,
) -> None:
    data, copy, new = tmp_path / "data", tmp_path / "copy", tmp_path / "new"
    with running(data) as server, httpx.Client(base_url=server.url, timeout=20) as client:
        (device,) = found_channel(client, data)
        for _ in range(20):
            assert device.send(client).status_code == 201
        stop = threading.Event()
        other = threading.Thread(target=lambda: [device.send(client) for _ in iter(stop.is_set, True)])
        other.start()
        try:
            for _ in range(3):  # the second takes the first one's place
                made = run("backup", "--data", str(data), "--to", str(copy))
                assert made.returncode == 0, made.stderr
        finally:
            stop.set()
            other.join()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert {one.name for one in tmp_path.iterdir()} == {"data", "copy"}
    new.mkdir()
    shutil.copy(copy, new / database.FILE)
    with running(new) as server:
        told = httpx.get(server.url + device.path(Route.CHANNEL), headers=device.headers).json()
        assert told["head"] >= 20


def test_a_backup_is_not_written_into_the_data_and_not_made_of_nothing(tmp_path: Path) -> None:
    empty = run("backup", "--data", str(tmp_path / "none"), "--to", str(tmp_path / "copy"))
    assert (empty.returncode, "no service's database" in empty.stderr) == (2, True)
    with running(tmp_path / "data"):
        for to in (tmp_path / "data" / "copy", tmp_path):
            refused = run("backup", "--data", str(tmp_path / "data"), "--to", str(to))
            assert (refused.returncode, "outside the data directory" in refused.stderr) == (2, True)
        lost = run("backup", "--data", str(tmp_path / "data"), "--to", str(tmp_path / "nowhere" / "copy"))
        assert (lost.returncode, "cannot be written" in lost.stderr) == (2, True)


def test_backup_programs_are_told_to_leave_the_mark_out(server: ServerProcess, data: Path) -> None:
    tag = data / database.OUTSIDE_BACKUPS / "CACHEDIR.TAG"
    assert tag.read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55")


# --- tables ----------------------------------------------------------------------------------------------------


def test_the_migrations_make_the_tables_that_the_code_knows(tmp_path: Path) -> None:
    connection = database.connect(database.open_directory(tmp_path))
    database.migrate(connection)
    assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []
    connection.close()


def test_no_column_joins_an_entry_to_a_device() -> None:
    assert set(tables.ENTRY.c.keys()) == {
        "key", "channel_key", "seq", "entry", "handshake", "received_at", "expires_at", "delete_hash", "digest",
        "key_end",
    }  # fmt: skip
    assert [one.column.table.name for column in tables.ENTRY.c for one in column.foreign_keys] == ["channel"]


def test_the_database_is_set_up_to_be_durable_and_to_forget(tmp_path: Path) -> None:
    connection = database.connect(database.open_directory(tmp_path))
    found = {
        name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
        for name in ("journal_mode", "synchronous", "secure_delete", "foreign_keys", "temp_store")
    }
    connection.close()
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "secure_delete": 1,
        "foreign_keys": 1,
        "temp_store": 2,
    }


def test_a_database_of_the_first_form_learns_how_much_lives_in_each_channel(tmp_path: Path) -> None:
    connection = database.connect(tmp_path / "old.sqlite3")
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    config.attributes["connection"] = connection
    alembic.upgrade(config, "0001")
    raw = database.raw(connection)
    for key in (1, 2):
        raw.execute("INSERT INTO channel VALUES (?, ?, 60, 1, 1, 1)", (key, bytes(16) + bytes([key])))
    raw.execute("INSERT INTO body VALUES (1, zeroblob(1024)), (2, zeroblob(4096)), (3, zeroblob(16384))")
    raw.execute("INSERT INTO vacancy VALUES (3, 16384)")
    raw.execute("INSERT INTO entry VALUES (1, 1, 1, x'00', 0, 1, 2, x'00', x'00')")
    raw.execute("INSERT INTO box VALUES (1, x'00', 1, NULL, x'00', 60, 2)")
    raw.execute("INSERT INTO slot VALUES (1, 0, 2)")
    database.migrate(connection)
    assert raw.execute("SELECT key, stored FROM channel ORDER BY key").fetchall() == [(1, 5120), (2, 0)]
    connection.close()


def test_a_data_directory_of_the_version_before_goes_on_as_it_was_and_its_devices_get_halves(
    tmp_path: Path,
) -> None:
    """Made by the service of the second form: a channel, a device, an entry. It is no restored backup."""
    connection = database.connect(database.open_directory(tmp_path))
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    config.attributes["connection"] = connection
    alembic.upgrade(config, "0002")
    raw, device, now = database.raw(connection), TestDevice(secrets.token_bytes(16)), int(time.time())
    raw.execute("INSERT INTO instance VALUES (1, ?, 7)", (bytes(range(16)),))
    raw.execute("INSERT INTO channel VALUES (1, ?, 86400, 1, 0, ?, 1024)", (device.channel, now))
    raw.execute(
        "INSERT INTO device VALUES (1, 1, ?, ?, 1, 1, ?, NULL, NULL)",
        (device.device, sha256(device.token).digest(), now // 86400),
    )
    raw.execute("INSERT INTO body VALUES (1, zeroblob(1024))")
    raw.execute("INSERT INTO entry VALUES (1, 1, 1, ?, 0, ?, ?, x'00', x'00')", (bytes(16), now, now + 3600))
    connection.close()
    (tmp_path / "outside-backups" / "generation").write_bytes((7).to_bytes(8, "big"))
    end = (now // 3600 + 2) * 3600
    told = []
    for _ in range(2):
        with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=20) as client:
            assert unpad(incarnation(server.url), 16) == bytes(range(16))
            assert [entry["seq"] for entry in device.page(client).json()["entries"]] == [1]
            told.append(device.halves(client, end, 2, 3600))
            device.attach(client, limits.ATTACHMENT_SIZES[0])
    assert told[0] == told[1]
