"""On PostgreSQL too: past its time nothing opens; what is kept outside backups is in none; a restore is noticed."""

import os
import secrets
import subprocess
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from sqlalchemy import text

from pourparler_policies.limits import BUCKETS, DAY, HOUR
from pourparler_policies.wire import Route
from pourparler_service.checking import look
from pourparler_service.database import DataError, migrate
from pourparler_service.grants import issue_by
from pourparler_service.postgres.engine import engine
from pourparler_service.postgres.partitions import over_at, partition_of
from pourparler_service.postgres.testing import SERVER, administer, databases
from pourparler_service.settings import Settings
from pourparler_service.storagekeys import OWNER
from pourparler_service.testing import (
    CONFIG,
    ServerProcess,
    command,
    environment,
    found_channel,
    problem,
    settings_of,
    threaded,
)

START = 1_800_000_000 + 1  # a second past a full hour


@pytest.fixture
def place(postgres: None, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    with databases(tmp_path) as name:
        yield tmp_path, name


@pytest.fixture
def now() -> list[float]:
    return [float(START)]


@contextmanager
def service(data: Path, now: list[float], **settings: object) -> Iterator[httpx.Client]:
    with (
        threaded(settings_of(data, clock=lambda: now[0], **settings)) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        yield client


def wait_for(holds: Callable[[], bool]) -> None:
    """Until it holds, or the test's timeout strikes."""
    while not holds():
        time.sleep(0.05)


def partitions(name: str) -> set[str]:
    found = administer("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'body'::regclass", name)
    return {row[0] for row in found}


def dump(name: str) -> bytes:
    told = subprocess.run(
        ["pg_dump", "--inserts", f"{SERVER}/{name}"], check=True, capture_output=True, timeout=60
    )
    return told.stdout


def test_what_is_over_is_not_served_its_key_is_destroyed_and_its_partition_dropped(
    place: tuple[Path, str], now: list[float]
) -> None:
    data, name = place
    with service(data, now) as client:
        author, reader = found_channel(client, data, 2)
        for life in (60, 2 * HOUR, 3 * DAY):
            author.send(client, life=life).raise_for_status()
        file = author.attach(client, BUCKETS[3], life=60)
        file.put(client, 0, os.urandom(BUCKETS[3])).raise_for_status()
        (half,) = author.halves(client, START - 1 + HOUR)
        assert len(partitions(name)) >= 4
        now[0] += 60
        assert [one["seq"] for one in reader.page(client, 1).json()["entries"]] == [3, 4]
        assert problem(file.get(client, 0)) == "unauthorized"

        def living() -> int:
            return int(administer("SELECT count(*) FROM entry WHERE NOT handshake", name)[0][0])

        wait_for(lambda: living() == 2)
        keys = "SELECT count(*) FROM half WHERE owner = '\\x" + OWNER.hex() + "'"
        now[0] = START - 1 + 70  # the end of what lived a minute
        wait_for(lambda: administer(keys, name + "_apart") == [(2,)])
        now[0] = START - 1 + HOUR
        assert problem(author.ask_halves(client, START - 1 + HOUR)) == "not-found"
        wait_for(lambda: administer(f"SELECT FROM half WHERE half = '\\x{half.hex()}'", name + "_apart") == [])
        gone = f"body_{partition_of(START + 60, 60)}"
        assert gone in partitions(name)
        now[0] = START + 2 * HOUR
    with service(data, now) as client:
        wait_for(lambda: gone not in partitions(name))
        assert [one["seq"] for one in reader.page(client, 1).json()["entries"]] == [4]
        # What is new goes into partitions that are there again.
        author.send(client, life=60).raise_for_status()
        assert [one["seq"] for one in reader.page(client, 1).json()["entries"]] == [4, 5]


@pytest.mark.parametrize("life", [1, 60, HOUR, DAY - 1, DAY, 30 * DAY])
def test_a_partition_lasts_as_long_as_anything_in_it_and_little_longer(life: int) -> None:
    for until in range(START, START + 3 * DAY, 1801):
        assert until < over_at(partition_of(until, life)) <= until + (HOUR if life < DAY else DAY)


def test_a_dump_has_no_word_and_no_half_and_who_restores_it_elsewhere_keeps_what_was_agreed(
    place: tuple[Path, str], now: list[float], tmp_path: Path
) -> None:
    data, name = place
    with service(data, now) as client:
        author, reader = found_channel(client, data, 2)
        agreed = author.append(handshake=True)
        seq = author.send(client, agreed).json()["seq"]
        said = author.append(life=DAY)
        author.send(client, said).raise_for_status()
        file = author.attach(client, BUCKETS[3])
        chunk = os.urandom(BUCKETS[3])
        file.put(client, 0, chunk).raise_for_status()
        (half,) = author.halves(client, START - 1 + HOUR)
        before = client.get(Route.SERVICE).json()["incarnation"]
    held = dump(name)
    assert agreed.sealed.hex().encode() in held
    assert not [
        one for one in (said.sealed[:32], said.sealed[500:532], half, chunk[:32]) if one.hex().encode() in held
    ]
    with databases(tmp_path / "elsewhere") as other:
        subprocess.run(
            ["psql", "-q", "-v", "ON_ERROR_STOP=1", f"{SERVER}/{other}"],
            input=held, check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        with service(tmp_path / "elsewhere", now, restored=True) as client:
            assert client.get(Route.SERVICE).json()["incarnation"] != before
            page = reader.page(client, seq - 1).json()
            assert ([one["seq"] for one in page["entries"]], page["head"]) == ([seq], seq + 1)
            assert problem(file.get(client, 0)) == "unauthorized"
            assert author.send(client, life=HOUR, handshake_head=seq).json()["seq"] == seq + 2
        assert administer("SELECT count(*) FROM entry WHERE NOT handshake AND seq < " + str(seq + 2), other) == [
            (0,)
        ]


def test_a_database_that_was_put_back_under_a_running_process_is_noticed(place: tuple[Path, str]) -> None:
    data, name = place
    server = ServerProcess(data)
    with httpx.Client(base_url=server.url, timeout=30) as client:
        (author,) = found_channel(client, data)
        before = client.get(Route.SERVICE).json()["incarnation"]
        time.sleep(2)  # until what was done is counted
        noted = administer("SELECT generation FROM store", name + "_apart")[0][0]
        administer("UPDATE instance SET generation = 0", name)
    server.process.wait(30)
    assert server.process.returncode == 2
    assert "restored" in server.stop()[1]
    with threaded(settings_of(data)) as again, httpx.Client(base_url=again, timeout=30) as client:
        assert client.get(Route.SERVICE).json()["incarnation"] != before
        author.send(client).raise_for_status()
    assert administer("SELECT generation FROM store", name + "_apart")[0][0] > noted


def test_a_restart_is_no_restore_and_halves_stay_the_same(place: tuple[Path, str]) -> None:
    data, _ = place
    end = int(time.time()) // HOUR * HOUR + 2 * HOUR
    told = []
    for _ in range(2):
        with threaded(settings_of(data)) as url, httpx.Client(base_url=url, timeout=30) as client:
            if not told:
                (author,) = found_channel(client, data)
            author.send(client).raise_for_status()
            told.append((client.get(Route.SERVICE).json()["incarnation"], author.halves(client, end)))
            time.sleep(1.5)  # so that the change was counted
    assert told[0] == told[1]


def test_data_of_an_earlier_form_is_brought_forward(postgres: None, tmp_path: Path) -> None:
    with databases(tmp_path) as name:
        made = engine(f"{SERVER}/{name}")
        token, channel, sealed = secrets.token_bytes(32), secrets.token_bytes(16), secrets.token_bytes(BUCKETS[0])
        with made.connect() as connection:
            migrate(connection, "0004")
            from hashlib import sha256

            values = {
                "c": channel,
                "t": sha256(token).digest(),
                "s": sealed,
                "x": bytes(32),
                "e": int(time.time()),
            }
            for statement in (
                "INSERT INTO channel (channel, absence_limit, head, handshake_head, received_at, stored)"
                " VALUES (:c, 86400, 1, 0, :e, 1024)",
                "INSERT INTO device (channel_key, device, token_hash, first_seq, accepted, last_day)"
                " VALUES (1, :c, :t, 1, 1, :e / 86400)",
                "INSERT INTO body (key, bytes) VALUES (1, :s)",
                "INSERT INTO entry VALUES (1, 1, 1, :c, false, :e, :e + 3600, :x, :x)",
            ):
                connection.execute(text(statement), values)
        made.dispose()
        with threaded(settings_of(tmp_path)) as url, httpx.Client(base_url=url, timeout=30) as client:
            from pourparler_service.testing import TestDevice

            device = TestDevice(channel, channel, token, count=1)
            (entry,) = device.page(client).json()["entries"]
            import base64

            assert base64.urlsafe_b64decode(entry["sealed"]) == sealed
            assert device.send(client).json()["seq"] == 2
        assert "body_0" in partitions(name)


# --- configurations --------------------------------------------------------------------------------------------


def test_check_says_in_sentences_what_is_wrong(place: tuple[Path, str], tmp_path: Path) -> None:
    url = f"{SERVER}/{place[1]}"
    told = look(settings_of(place[0]))  # a test's two databases are on one server
    assert [one for one in told if one.startswith("Both databases are on one server")]
    assert [one for one in told if "set wal_recycle = off" in one]
    same = look(Settings(database_url=url, outside_url=url, bus_url="nats://127.0.0.1:1"))
    assert [one for one in same if "same database" in one]
    assert [one for one in same if one.startswith("NATS does not answer")]
    secret = "swordfish"
    away = look(Settings(database_url=f"postgresql://nobody:{secret}@127.0.0.1:1/x", outside_url="nonsense"))
    assert away[0].startswith("The database: PostgreSQL cannot be used")
    assert away[1].startswith("The database outside backups: The address of the database")
    assert secret not in " ".join(away)
    assert look(Settings(tmp_path / "new")) == []
    assert not (tmp_path / "new").exists()
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open").chmod(0o755)
    assert "can be read by others" in look(Settings(tmp_path / "open"))[0]


def test_check_by_command_makes_nothing_and_has_a_status(tmp_path: Path) -> None:
    for options, status in (("--data", str(tmp_path / "new")), 0), (("--data", str(tmp_path / "no" / "where")), 2):
        told = subprocess.run(
            command("serve", "--check", "--port", "0", *options),
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            env=environment(),
        )
        assert (told.returncode, told.stderr) == (status, "")
        assert told.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ('nonsense = "1"', (), "a setting that does not exist: nonsense"),
        ("= 1", (), "is no TOML"),
        ("data = 1.5", (), "neither a text nor a whole number"),
        ("largest-entry = 1", ("--data", "x"), "largest_entry must lie between"),
        ('database-url = "postgresql://h/x"', (), "go together"),
        ('database-url = "postgresql://h/x"\ndata = "x"', (), "not both"),
        ('bus-url = "nats://h"', ("--data", "x"), "goes with --database-url"),
        ("", (), "Say where things are kept"),
        ('database-url = "mysql://h/x"\noutside-backups-url = "mysql://h/y"', (), "begins with postgresql://"),
        ('database-url = "x"\noutside-backups-url = "y"', (), "is no URL"),
    ],
)
def test_a_wrong_configuration_is_refused_in_one_sentence(
    text: str, options: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    (tmp_path / CONFIG).write_text(text)
    given = {options[0].removeprefix("--"): options[1]} if options else {}
    with pytest.raises((ValueError, DataError), match=said):
        engine(Settings.from_options(Namespace(config=tmp_path / CONFIG, **given), {}).database_url or "")


def test_an_option_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text('data = "file"\nslow-reader = 7\nopen-cases = 8')
    environ = {"POURPARLER_DATA": "environment", "POURPARLER_OPEN_CASES": "9"}
    found = Settings.from_options(Namespace(config=tmp_path / CONFIG), environ)
    assert (found.data, found.caps.slow_reader, found.caps.open_cases) == (Path("environment"), 7, 9)
    assert Settings.from_options(Namespace(config=tmp_path / CONFIG, data="option"), environ).data == Path(
        "option"
    )


def test_a_grant_before_the_first_start_says_what_to_do(place: tuple[Path, str]) -> None:
    with pytest.raises(DataError, match="start the service once"):
        issue_by(settings_of(place[0]))


def test_the_other_database_must_not_be_the_same(place: tuple[Path, str], tmp_path: Path) -> None:
    url = f"{SERVER}/{place[1]}"
    (tmp_path / "same").mkdir()
    (tmp_path / "same" / CONFIG).write_text(f'database-url = "{url}"\noutside-backups-url = "{url}"\n')
    with pytest.raises(RuntimeError, match="a database of its own"):
        ServerProcess(tmp_path / "same")


def test_a_server_that_is_away_is_said_in_one_sentence(tmp_path: Path) -> None:
    away = "postgresql://127.0.0.1:1/x"
    (tmp_path / CONFIG).write_text(f'database-url = "{away}"\noutside-backups-url = "{away}"\n')
    with pytest.raises(RuntimeError, match=r"did not start: PostgreSQL cannot be used: [^\n]*$"):
        ServerProcess(tmp_path)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(away, connect_timeout=2)


def test_a_closed_channel_is_refused_by_every_process_until_that_is_forgotten(
    place: tuple[Path, str], now: list[float]
) -> None:
    data, name = place
    with service(data, now) as one, service(data, now) as two:
        pair = found_channel(one, data, 2)
        for device in pair:
            assert device.page(two).status_code == 200
            assert one.delete(device.path(Route.OWN_DEVICE), headers=device.headers).status_code == 204
        assert administer("SELECT count(*) FROM channel", name) == [(0,)]
        for client in (one, two):
            assert {problem(device.page(client)) for device in pair} == {"closed"}
            assert {problem(device.send(client)) for device in pair} == {"closed"}
        now[0] += 30 * DAY
        wait_for(lambda: problem(pair[0].page(two)) == "unauthorized")
