"""What the engines keep beside the rows: what it joins, and for how long. The threat model lists what is left."""

import secrets
import sqlite3
import time
from hashlib import sha256
from pathlib import Path

import httpx
import psycopg
import pytest

from pourparler_policies import limits, wire
from pourparler_policies.wire import Route
from pourparler_service import database
from pourparler_service.postgres.testing import databases
from pourparler_service.testing import (
    TestRound,
    body,
    found_channel,
    settings_of,
    threaded,
)


def logs(data: Path) -> dict[str, int]:
    """Bytes of every write-ahead log."""
    return {one.name: one.stat().st_size for one in data.rglob("*-wal")}


def frames(log: Path) -> list[list[bytes]]:
    """The pages of each commit in a log that was never begun anew."""
    held = log.read_bytes()
    size = int.from_bytes(held[8:12], "big")
    commits: list[list[bytes]] = [[]]
    for at in range(32, len(held) - size, 24 + size):
        commits[-1].append(held[at + 24 : at + 24 + size])
        if int.from_bytes(held[at + 4 : at + 8], "big"):
            commits.append([])
    return commits


@pytest.mark.embedded
def test_who_sent_what_stands_in_the_log_for_some_seconds_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First that it does stand there: a commit holds the pages of the entry and of its device's row."""
    monkeypatch.setattr(database, "WAL_LIFE", 3600.0)
    with threaded(settings_of(tmp_path)) as url, httpx.Client(base_url=url, timeout=20) as client:
        one, other = found_channel(client, tmp_path, 2)
        time.sleep(1.1)  # so that the log was begun anew
        before = len(frames(tmp_path / "pourparler.sqlite3-wal"))
        for device in (one, other, one):
            asked = device.append(handshake_head=1)
            device.send(client, asked).raise_for_status()
            later = frames(tmp_path / "pourparler.sqlite3-wal")[before - 1 :]
            assert any(asked.entry in b"".join(pages) and device.device in b"".join(pages) for pages in later)
        other.halves(client, (int(time.time()) // limits.HOUR + 2) * limits.HOUR)
        assert all(logs(tmp_path)[name] for name in ("pourparler.sqlite3-wal", "index.sqlite3-wal"))
        monkeypatch.setattr(database, "WAL_LIFE", 0.5)
        deadline = time.monotonic() + 10
        while any(logs(tmp_path).values()):
            assert time.monotonic() < deadline, logs(tmp_path)
            time.sleep(0.1)


def test_control_postgresql_itself_joins_a_devices_last_entry_to_it(postgres: None, tmp_path: Path) -> None:
    """A limit, shown by doing it: each row says which transaction wrote it, and so does the server's log."""
    with (
        databases(tmp_path),
        threaded(settings_of(tmp_path)) as url,
        httpx.Client(base_url=url, timeout=20) as client,
    ):
        devices = found_channel(client, tmp_path, 3)
        head = devices[0].handshake_head
        last = {device.device: device.send(client, handshake_head=head).json()["seq"] for device in devices}
        with psycopg.connect(str(settings_of(tmp_path).database_url)) as operator:
            rows = operator.execute(
                "SELECT d.device, e.seq FROM device d JOIN entry e ON e.xmin = d.xmin"
            ).fetchall()
    assert {bytes(device): seq for device, seq in rows} == last


@pytest.mark.embedded
def test_control_the_order_of_rows_tells_the_order_in_which_packets_came(tmp_path: Path) -> None:
    """A limit, shown by doing it: between which entries a packet came, and so about when. Not from whom."""
    began = int(time.time())
    with threaded(settings_of(tmp_path)) as url, httpx.Client(base_url=url, timeout=20) as client:
        (device,) = found_channel(client, tmp_path)
        held = TestRound(began, window=60)
        held.make(client, device).raise_for_status()
        packets = [secrets.token_bytes(limits.IDEA_PACKET) for _ in range(4)]
        for packet in packets:
            held.send(client, packet).raise_for_status()
            device.send(client).raise_for_status()
        with sqlite3.connect(f"file:{tmp_path}/pourparler.sqlite3?mode=ro", uri=True) as operator:
            told = operator.execute("SELECT digest FROM packet ORDER BY body_key").fetchall()
            lie = operator.execute(
                "SELECT body_key, 'packet' FROM packet UNION SELECT key, 'entry' FROM entry ORDER BY 1"
            ).fetchall()
    assert [digest for (digest,) in told] == [sha256(packet).digest() for packet in packets]
    assert [kind for _, kind in lie] == ["packet", "entry"] * 4


def test_control_rows_tell_who_opened_a_box_and_which_entry_told_of_a_file(place: Path) -> None:
    """Limits, shown by doing it: a box has its device's key, for its quota; a file and its message one end."""
    with threaded(settings_of(place)) as url, httpx.Client(base_url=url, timeout=20) as client:
        one, other = found_channel(client, place, 2)
        opened = wire.CreateBox(box=secrets.token_bytes(16), token_hash=bytes(32), life=limits.HOUR)
        answer = client.post(other.path(Route.BOXES), content=body(opened), headers=other.headers)
        answer.raise_for_status()
        one.send(client, life=7200).raise_for_status()
        one.attach(client, limits.ATTACHMENT_SIZES[0], life=7 * 3600)
        told = one.send(client, life=7 * 3600).json()["seq"]
        boxes = ask(
            place, "SELECT device.device FROM box JOIN device ON device.key = box.device_key WHERE box.life = 3600"
        )
        files = ask(
            place,
            "SELECT entry.seq FROM attachment JOIN entry ON abs(attachment.expires_at - entry.expires_at) < 10"
            " WHERE entry.expires_at - entry.received_at = attachment.life",
        )
    assert other.device in {bytes(device) for (device,) in boxes}
    assert files == [(told,)]


def ask(place: Path, sql: str) -> list[tuple[object, ...]]:
    """As who has the database asks it."""
    url = settings_of(place).database_url
    if url is None:
        with sqlite3.connect(f"file:{place}/pourparler.sqlite3?mode=ro", uri=True) as operator:
            return operator.execute(sql).fetchall()
    with psycopg.connect(url) as connection:
        return connection.execute(sql).fetchall()  # type: ignore[arg-type]
