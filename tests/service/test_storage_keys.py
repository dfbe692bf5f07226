"""What is said lies at the service under keys that no backup has: a restore loses words, never what was agreed."""

import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from pourparler_policies.limits import BUCKETS, DAY, HOUR, MINUTE, SHORT_STEP
from pourparler_policies.wire import Route
from pourparler_service.examine import kept_entries, open_kept
from pourparler_service.halves import HalfStore
from pourparler_service.settings import Settings
from pourparler_service.storagekeys import OWNER
from pourparler_service.testing import TestDevice, found_channel, problem, threaded

START = 1_800_000_000  # a full hour


@pytest.fixture
def now() -> list[float]:
    return [float(START)]


@contextmanager
def service(data: Path, now: list[float]) -> Iterator[httpx.Client]:
    with (
        threaded(Settings(data, clock=lambda: now[0])) as url,
        httpx.Client(base_url=url, timeout=20) as client,
    ):
        yield client


def keys_of(data: Path) -> dict[int, bytes]:
    store = HalfStore(data / "outside-backups" / "halves")
    try:
        return store.all_of(OWNER)
    finally:
        store.close()


def backup(data: Path, to: Path) -> Path:
    shutil.copytree(data, to, ignore=shutil.ignore_patterns("outside-backups"))
    return to


def test_a_backup_has_what_was_agreed_and_no_word_that_was_said(tmp_path: Path, now: list[float]) -> None:
    data = tmp_path / "data"
    with service(data, now) as client:
        author, reader = found_channel(client, data, 2)
        said = [
            author.append(sealed=os.urandom(size), count=author.count + 1 + n) for n, size in enumerate(BUCKETS)
        ]
        for one in said:
            author.send(client, one).raise_for_status()
        agreed = author.append(handshake=True)
        author.send(client, agreed).raise_for_status()
        file = author.attach(client, BUCKETS[3])
        chunk = os.urandom(BUCKETS[3])
        file.put(client, 0, chunk).raise_for_status()
        assert [one["seq"] for one in reader.page(client, 1).json()["entries"]] == [2, 3, 4, 5, 6, 7, 8]
    copy = backup(data, tmp_path / "copy")
    held = b"".join(one.read_bytes() for one in copy.rglob("*") if one.is_file())
    assert agreed.sealed[100:132] in held
    assert not [one for one in said if one.sealed[500:516] in held or one.sealed[:16] in held]
    assert chunk[5000:5016] not in held
    everything = {held[start : start + 32] for start in range(0, len(held), 32)}
    tried = [one for one in list(everything) if len(one) == 32][:2000]
    assert open_kept([one for one in kept_entries(copy) if not one.handshake], tried) == []
    # The control: with the keys that were left out, all of it opens.
    opened = open_kept(kept_entries(copy), keys_of(data).values())
    assert {one.sealed for one in said} <= set(opened)


def test_who_restores_a_backup_on_another_machine_goes_on_and_has_lost_the_words(
    tmp_path: Path, now: list[float]
) -> None:
    data = tmp_path / "data"
    with service(data, now) as client:
        author, reader = found_channel(client, data, 2)
        agreed = author.send(client, handshake=True, life=DAY).json()["seq"]
        for _ in range(3):
            author.send(client, life=HOUR).raise_for_status()
        last = author.send(client, handshake=True, life=DAY).json()["seq"]
        file = author.attach(client, BUCKETS[3])
        file.put(client, 0, os.urandom(BUCKETS[3])).raise_for_status()
        before = client.get(Route.SERVICE).json()["incarnation"]
        pieces = [piece for one in kept_entries(data) if not one.handshake for piece in one.pieces()]
    copy = backup(data, tmp_path / "copy")
    with service(copy, now) as client:
        assert client.get(Route.SERVICE).json()["incarnation"] != before
        page = reader.page(client, agreed - 1).json()
        assert ([one["seq"] for one in page["entries"]], page["head"]) == ([agreed, last], last)
        assert not [
            piece for path in copy.rglob("*") if path.is_file() for piece in pieces if piece in path.read_bytes()
        ]
        assert problem(file.get(client, 0)) == "unauthorized"
        assert list((copy / "attachments").iterdir()) == []
        seq = author.send(client, life=HOUR).json()["seq"]
        assert [one["seq"] for one in reader.page(client, last).json()["entries"]] == [seq]
        assert author.attach(client, BUCKETS[3]).put(client, 0, os.urandom(BUCKETS[3])).status_code == 204


def test_a_restored_database_beside_its_own_keys_keeps_what_still_lives(tmp_path: Path, now: list[float]) -> None:
    data = tmp_path / "data"
    with service(data, now) as client:
        author, reader = found_channel(client, data, 2)
        author.send(client, life=10)
        lives = author.append(life=DAY)
        author.send(client, lives).raise_for_status()
    copy = backup(data, tmp_path / "copy")
    with service(data, now) as client:
        author.send(client, life=DAY).raise_for_status()
        now[0] += MINUTE
    shutil.copy(copy / "pourparler.sqlite3", data / "pourparler.sqlite3")
    with service(data, now) as client:
        (left,) = reader.page(client, 1).json()["entries"]
        assert left["seq"] == 3


@pytest.mark.parametrize(("life", "step"), [(MINUTE, SHORT_STEP), (2 * HOUR, MINUTE), (2 * DAY, HOUR)])
def test_a_key_ends_with_the_texts_of_devices_at_the_first_round_instant_after_the_expiry(
    life: int, step: int, tmp_path: Path, now: list[float]
) -> None:
    now[0] += 1
    with service(tmp_path, now) as client:
        (author,) = found_channel(client, tmp_path, absence_limit=20 * DAY)
        expires_at = author.send(client, life=life).json()["expires_at"]
    end = -(-expires_at // step) * step
    (key,) = keys_of(tmp_path).values()
    assert {*keys_of(tmp_path)} == {end}
    now[0] = end
    with service(tmp_path, now):
        assert keys_of(tmp_path) == {}
    assert key not in b"".join(one.read_bytes() for one in tmp_path.rglob("*") if one.is_file())


def test_entries_share_a_key_and_no_two_are_stored_alike(tmp_path: Path, now: list[float]) -> None:
    with service(tmp_path, now) as client:
        (author,) = found_channel(client, tmp_path)
        for _ in range(4):
            author.send(client, sealed=bytes(BUCKETS[0]), life=HOUR).raise_for_status()
    stored = [one.stored for one in kept_entries(tmp_path)]
    assert len({one[:12] for one in stored}) == len({one[12:] for one in stored}) == 4
    assert len(keys_of(tmp_path)) == 1


def test_a_clock_that_went_back_finds_a_key_that_is_not_over(tmp_path: Path, now: list[float]) -> None:
    with service(tmp_path, now) as client:
        (author,) = found_channel(client, tmp_path)
        now[0] += HOUR
        author.send(client, life=10).raise_for_status()
    now[0] = START - HOUR
    with service(tmp_path, now) as client:
        receipt = author.send(client, life=10).json()
        assert receipt["received_at"] == START + HOUR  # a channel's time does not go back
    (other_data := tmp_path / "other").mkdir()
    now[0] = START
    with service(other_data, now) as client:
        (first,) = found_channel(client, other_data)
        now[0] += HOUR
        first.send(client, life=10).raise_for_status()
        now[0] -= HOUR
        (second,) = found_channel(client, other_data)
        told = second.send(client, life=10).json()
        assert told["expires_at"] == START + 10
        assert [one["seq"] for one in second.page(client).json()["entries"]] == [told["seq"]]
    assert min(keys_of(other_data)) > START + HOUR


def test_a_page_passes_over_what_has_lost_its_key_to_what_lives(tmp_path: Path, now: list[float]) -> None:
    """An empty page says that nothing lives up to the head."""
    with service(tmp_path, now) as client:
        author, reader = found_channel(client, tmp_path, 2)
        for life in (2 * HOUR, 2 * HOUR, DAY):
            last = author.send(client, life=life).json()["seq"]
    with sqlite3.connect(tmp_path / "pourparler.sqlite3") as connection:
        connection.execute("UPDATE entry SET key_end = key_end - 1 WHERE seq < ? AND NOT handshake", (last,))
    connection.close()
    with service(tmp_path, now) as client:
        assert [one["seq"] for one in reader.page(client, 1, 1).json()["entries"]] == [last]


def test_what_was_stored_before_there_were_keys_is_served_as_it_is(tmp_path: Path, now: list[float]) -> None:
    with service(tmp_path, now) as client:
        author, reader = found_channel(client, tmp_path, 2)
        author.send(client, life=HOUR).raise_for_status()
        file = author.attach(client, BUCKETS[3])
    plain, chunk = secrets.token_bytes(BUCKETS[0]), os.urandom(BUCKETS[3])
    with sqlite3.connect(tmp_path / "pourparler.sqlite3") as connection:
        connection.execute("UPDATE attachment SET key_end = NULL")
        connection.execute(
            "UPDATE body SET bytes = ? WHERE key = (SELECT key FROM entry WHERE NOT handshake)", (plain,)
        )
        connection.execute("UPDATE entry SET key_end = NULL")
    connection.close()
    with service(tmp_path, now) as client:
        (entry,) = reader.page(client, 1).json()["entries"]
        assert entry["sealed"].encode() == _text(plain)
        file.put(client, 0, chunk).raise_for_status()
        assert (tmp_path / "attachments" / file.attachment.hex()).read_bytes()[: len(chunk)] == chunk
        assert file.get(client, 0).content == chunk


def _text(data: bytes) -> bytes:
    import base64

    return base64.urlsafe_b64encode(data)


def test_of_many_who_say_something_at_once_all_are_stored_under_the_one_new_key(
    tmp_path: Path, now: list[float]
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with service(tmp_path, now) as client:
        devices = found_channel(client, tmp_path, 6)

        def say(device: TestDevice) -> int:
            with httpx.Client(base_url=client.base_url, timeout=20) as own:
                return device.send(own, life=HOUR).status_code

        with ThreadPoolExecutor(6) as pool:
            assert set(pool.map(say, devices)) == {201}
        assert len(devices[0].page(client, 5).json()["entries"]) >= 6
    assert len(keys_of(tmp_path)) == 1
