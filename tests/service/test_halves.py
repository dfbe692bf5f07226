"""Key halves: the same until their end, then gone from every file; in no backup; durable before they are given.

One file, although long: what is promised of one thing, from the request to the bytes on disk.
"""

import random
import secrets
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pourparler_crypto.errors import NotAuthentic
from pourparler_crypto.hours import hour_key, open_text, seal_text
from pourparler_policies import limits, wire
from pourparler_policies.limits import DAY, HOUR, MINUTE, SHORT_STEP
from pourparler_policies.wire import Route
from pourparler_service.caps import Caps
from pourparler_service.database import DataError
from pourparler_service.halves import HalfStore, owner
from pourparler_service.settings import Settings
from pourparler_service.testing import (
    ServerProcess,
    TestDevice,
    b64,
    bearer,
    found_channel,
    problem,
    running,
    threaded,
)

START = 1_800_000_000  # a full hour

pytestmark = pytest.mark.long_on_postgresql


def kept(data: Path) -> bytes:
    return b"".join(one.read_bytes() for one in data.rglob("*") if one.is_file())


def wait_for(holds: Callable[[], bool]) -> None:
    """Until it holds, or the test's timeout strikes."""
    while not holds():
        time.sleep(0.02)


@contextmanager
def service(data: Path, now: list[float], **caps: int) -> Iterator[httpx.Client]:
    with (
        threaded(Settings(data, caps=Caps(**caps), clock=lambda: now[0])) as url,
        httpx.Client(base_url=url, timeout=20) as client,
    ):
        yield client


@pytest.fixture
def now() -> list[float]:
    return [float(START)]


# --- the contract ----------------------------------------------------------------------------------------------


def test_a_half_is_the_same_at_each_asking_and_no_two_are_alike(tmp_path: Path, now: list[float]) -> None:
    with service(tmp_path, now) as client:
        one, other = found_channel(client, tmp_path, 2)
        first = one.halves(client, START + HOUR, 24, HOUR)
        assert one.halves(client, START + HOUR, 24, HOUR) == first
        assert one.halves(client, START + 5 * HOUR, 2, HOUR) == first[4:6]
        assert one.halves(client, START + 5 * HOUR) == [first[4]]  # an end is an end, whatever the step
        of_other = other.halves(client, START + HOUR, 24, HOUR)
        assert len({*first, *of_other}) == 48
        assert {len(half) for half in first} == {32}


def test_ends_that_are_over_are_left_out_and_all_of_them_refused(tmp_path: Path, now: list[float]) -> None:
    with service(tmp_path, now) as client:
        (device,) = found_channel(client, tmp_path)
        halves = device.halves(client, START + 10, 6)
        now[0] += 30
        told = wire.Halves.model_validate_json(device.ask_halves(client, START + 10, 6).content)
        assert (told.first, told.step, told.halves) == (START + 40, 10, halves[3:])
        assert problem(device.ask_halves(client, START + 10, 3)) == "not-found"


def test_nothing_is_made_for_longer_than_the_operator_lets_anything_live(tmp_path: Path, now: list[float]) -> None:
    now[0] += 1  # one second past the hour
    with service(tmp_path, now, longest_life=DAY) as client:
        (device,) = found_channel(client, tmp_path, absence_limit=HOUR)
        assert device.halves(client, START + DAY + HOUR, 1, HOUR)
        assert problem(device.ask_halves(client, START + DAY + HOUR + SHORT_STEP)) == "over-cap"
        assert problem(device.ask_halves(client, START + DAY, 3, HOUR)) == "over-cap"
    with service(tmp_path / "longest", now) as client:
        (device,) = found_channel(client, tmp_path / "longest")
        assert device.halves(client, START + limits.MAX_LIFE + HOUR, 1, HOUR)


def test_a_device_has_a_bounded_number_and_a_refusal_makes_none(tmp_path: Path, now: list[float]) -> None:
    with service(tmp_path, now, halves_a_device=100) as client:
        one, other = found_channel(client, tmp_path, 2)
        halves = one.halves(client, START + 10, 90)
        assert problem(one.ask_halves(client, START + 910, 11)) == "over-cap"
        assert one.halves(client, START + 10, 100)[:90] == halves
        assert problem(one.ask_halves(client, START + 1010)) == "over-cap"
        assert other.halves(client, START + 10, 100)
        now[0] += 500
        wait_for(lambda: halves[49] not in kept(tmp_path))
        assert len(one.halves(client, START + 1010, 50)) == 50


@pytest.mark.parametrize(
    ("first", "number", "step"),
    [
        (START + 5, 1, 10),
        (-10, 1, 10),
        (START, 0, 10),
        (START, limits.MAX_HALVES + 1, 10),
        (START, 1, 30),
        (wire.LAST_TIME + 10, 1, 10),
    ],
)
def test_what_is_no_run_of_ends_is_malformed(
    client: httpx.Client, data: Path, first: int, number: int, step: int
) -> None:
    (device,) = found_channel(client, data)
    assert problem(device.ask_halves(client, first, number, step)) == "malformed"


def test_only_the_devices_own_token_gets_its_halves(client: httpx.Client, data: Path) -> None:
    one, other = found_channel(client, data, 2)
    (stranger,) = found_channel(client, data)
    end = (int(time.time()) // 10 + 100) * 10
    half = one.halves(client, end)
    assert other.halves(client, end) != half
    for token in (stranger.token, secrets.token_bytes(32)):
        one_with = TestDevice(one.channel, one.device, token)
        assert problem(one_with.ask_halves(client, end)) == "unauthorized"


def test_the_answer_is_kept_by_no_cache(client: httpx.Client, data: Path) -> None:
    (device,) = found_channel(client, data)
    assert device.ask_halves(client, (int(time.time()) // 10 + 100) * 10).headers["cache-control"] == "no-store"


# --- destroyed on time -----------------------------------------------------------------------------------------


def test_a_vault_copied_before_the_end_opens_nothing_after_it(tmp_path: Path, now: list[float]) -> None:
    """The attack of #1: device off, vault copied with its passphrase, the server seized too, after the end."""
    with service(tmp_path, now) as client:
        (device,) = found_channel(client, tmp_path)
        vault_half, end, text = secrets.token_bytes(32), START + HOUR, b"We could live with that."
        (half,) = device.halves(client, end)
        sealed = seal_text(hour_key(vault_half, half, device.channel, end), text, device.channel, 1, end)

        def search() -> list[bytes]:
            """Every string of 32 bytes in any file of the service, tried as the missing half."""
            files = kept(tmp_path)
            tried = {files[place : place + 32] for place in range(len(files) - 31)}
            found = []
            for candidate in tried:
                try:
                    key = hour_key(vault_half, candidate, device.channel, end)
                    found.append(open_text(key, sealed, device.channel, 1, end))
                except NotAuthentic:
                    continue
            return found

        assert search() == [text]  # before the end the attack works
        now[0] = end
        wait_for(lambda: half not in kept(tmp_path))
        assert search() == []
        now[0] = START  # a clock set back brings nothing back
        assert problem(device.ask_halves(client, end)) == "not-found"


@pytest.mark.slow
def test_on_a_real_clock_halves_leave_the_files_at_their_end_and_the_later_ones_stay(tmp_path: Path) -> None:
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=20) as client:
        (device,) = found_channel(client, tmp_path)
        end = (int(time.time()) // 10 + 1) * 10
        gone, stays = device.halves(client, end, 2)
        assert gone in kept(tmp_path)
        wait_for(lambda: gone not in kept(tmp_path))
        assert end <= time.time()
        assert stays in kept(tmp_path)
        assert device.halves(client, end, 2) == [stays]


def test_what_ended_while_the_service_was_off_is_gone_before_it_serves(tmp_path: Path, now: list[float]) -> None:
    with service(tmp_path, now) as client:
        (device,) = found_channel(client, tmp_path)
        gone, stays = device.halves(client, START + HOUR, 2, HOUR)
    now[0] += HOUR
    with service(tmp_path, now) as client:
        assert gone not in kept(tmp_path)
        assert device.halves(client, START + 2 * HOUR) == [stays]


def test_a_clock_set_back_makes_no_destroyed_half_anew_not_even_after_a_restart(
    tmp_path: Path, now: list[float]
) -> None:
    with service(tmp_path, now) as client:
        (device,) = found_channel(client, tmp_path)
        (half,) = device.halves(client, START + MINUTE)
        now[0] += MINUTE
        wait_for(lambda: half not in kept(tmp_path))
    now[0] = START
    with service(tmp_path, now) as client:
        for end in (START + 10, START + MINUTE):
            assert problem(device.ask_halves(client, end)) == "not-found"
        assert device.halves(client, START + MINUTE + 10)


def test_a_kill_in_the_middle_of_destroying_leaves_nothing_after_the_restart(tmp_path: Path) -> None:
    """The slot is overwritten, the index still names it: what was destroyed is never handed out as a half."""
    store = HalfStore(tmp_path / "halves")
    whose = owner(bytes(16), bytes(32))
    gone, stays = store.ask(whose, [START + 10, START + 20], START, 10)
    store._write(0, bytes(32))  # and here the power fails
    store.close()
    store = HalfStore(tmp_path / "halves")
    with pytest.raises(OSError, match="destroyed"):
        store.ask(whose, [START + 10], START, 10)
    store.destroy_ended(START + 10)
    assert store.ask(whose, [START + 10, START + 20], START, 10) == [stays]
    assert gone not in kept(tmp_path)
    store.close()


def test_the_place_of_a_destroyed_half_is_used_again(tmp_path: Path) -> None:
    store = HalfStore(tmp_path / "halves")
    whose, sizes = owner(bytes(16), bytes(32)), set()
    for round_ in range(20):
        ends = [START + 1000 * round_ + 10 * n for n in range(100)]
        halves = store.ask(whose, ends, ends[0] - 1, 100)
        files = kept(tmp_path)
        assert all(half in files for half in halves)
        store.destroy_ended(ends[-1])
        files = kept(tmp_path)
        assert not [half for half in halves if half in files]
        sizes.add((tmp_path / "halves" / "halves").stat().st_size)
    assert len(sizes) == 1
    store.close()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 2), st.integers(0, 40), st.integers(1, 12)),
        st.tuples(st.just("wait"), st.integers(-20, 100), st.just(0), st.just(0)),
        st.tuples(st.just("forget"), st.integers(0, 2), st.just(0), st.just(0)),
        st.tuples(st.just("reopen"), st.just(0), st.just(0), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_any_history_leaves_exactly_the_living_halves_and_brings_none_back(
    steps: list[tuple[str, int, int, int]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store, now = HalfStore(folder / "halves"), START
        living: dict[tuple[bytes, int], bytes] = {}
        gone: set[bytes] = set()
        over = 0  # the latest end that was destroyed
        for kind, number, start, count in steps:
            whose = owner(bytes(16), bytes([number % 3]) * 32)
            if kind == "ask":
                ends = [now - now % 10 + 10 * (start + n) for n in range(count)]
                told = store.ask(whose, ends, now, 1000)
                for end, half in zip(ends[count - len(told) :], told, strict=True):
                    assert end > max(now, over)
                    assert living.setdefault((whose, end), half) == half
                    assert half not in gone
            elif kind == "wait":
                now += number  # backwards too
                store.destroy_ended(now)
                over = max([over, *(end for _, end in living if end <= now)])
                gone |= {half for (_, end), half in living.items() if end <= now}
                living = {place: half for place, half in living.items() if place[1] > now}
            elif kind == "forget":
                store.destroy_of([whose])
                gone |= {half for (of, _), half in living.items() if of == whose}
                living = {place: half for place, half in living.items() if place[0] != whose}
            else:
                store.close()
                store = HalfStore(folder / "halves")
        files = kept(folder)
        store.close()
        assert all(half in files for half in living.values())
        assert not [half for half in gone if half in files]


def test_whose_halves_they_were_goes_with_them(tmp_path: Path) -> None:
    """Many devices come and go: a database that balances its pages must keep no copy of who was there."""
    store = HalfStore(tmp_path / "halves")
    chance = random.Random(7)
    owners = [secrets.token_bytes(32) for _ in range(200)]
    gone: set[bytes] = set()
    for whose in owners:
        store.ask(whose, [START + HOUR * (n + 1) for n in range(chance.randint(1, 60))], START, 1000)
        if chance.random() < 0.7:
            left = chance.choice(owners[: owners.index(whose) + 1])
            store.destroy_of([left])
            gone.add(left)
    store.destroy_ended(START + 30 * HOUR)
    store.close()
    files = kept(tmp_path)
    assert not [whose for whose in gone if whose in files]
    assert all(whose in files for whose in set(owners) - gone)
    store = HalfStore(tmp_path / "halves")
    assert len(store.ask(owners[-1], [START + 100 * HOUR], START, 1000)) == 1
    store.close()


# --- with the token --------------------------------------------------------------------------------------------


@pytest.mark.embedded
def test_halves_end_with_their_token(client: httpx.Client, data: Path) -> None:
    """By its own wish, by the others' vote, and as the channel's last."""
    devices = found_channel(client, data, 4)
    end = (int(time.time()) // 3600 + 10) * 3600
    halves = [device.halves(client, end, 3, HOUR) for device in devices]
    leaves, put_out, *others = devices
    assert client.delete(leaves.path(Route.OWN_DEVICE), headers=leaves.headers).status_code == 204
    files = kept(data)
    assert not [half for half in halves[0] if half in files]
    assert problem(leaves.ask_halves(client, end)) == "unauthorized"
    place = Route.REVOCATION.format(channel=b64(put_out.channel), device=b64(put_out.device))
    told = [client.post(place, headers=device.headers).status_code for device in others]
    assert told == [202, 204]
    files = kept(data)
    assert not [half for half in halves[1] if half in files]
    assert all(half in files for half in halves[2] + halves[3])
    for device in others:
        assert client.delete(device.path(Route.OWN_DEVICE), headers=device.headers).status_code == 204
    files = kept(data)
    assert not [half for mine in halves for half in mine if half in files]


def test_halves_of_an_idle_token_end_with_it(tmp_path: Path, now: list[float]) -> None:
    with service(tmp_path, now) as client:
        idle, busy = found_channel(client, tmp_path, 2, absence_limit=DAY)
        (gone,), (stays,) = (one.halves(client, START + 30 * DAY) for one in (idle, busy))
        now[0] += 1.5 * DAY
        assert busy.page(client).status_code == 200
        now[0] += DAY
        wait_for(lambda: gone not in kept(tmp_path))
        assert busy.halves(client, START + 30 * DAY) == [stays]


def test_nobody_destroys_anothers_halves_by_seating_its_token_in_a_channel_of_their_own(
    client: httpx.Client, data: Path
) -> None:
    """The inviter knows the hash of the token that it seats. With halves by token hash alone this attack works."""
    (victim,) = found_channel(client, data)
    (mallory,) = found_channel(client, data)
    end = (int(time.time()) // 3600 + 10) * 3600
    half = victim.halves(client, end)
    twin = TestDevice(mallory.channel, token=victim.token)  # only the hash is sent
    box = secrets.token_bytes(16)
    opened = wire.CreateBox(box=box, token_hash=sha256(b"box").digest(), life=HOUR)
    made = client.post(mallory.path(Route.BOXES), content=opened.model_dump_json(), headers=mallory.headers)
    assert made.status_code == 204
    assert mallory.send(client, mallory.admit(twin, box)).status_code == 201
    place = Route.REVOCATION.format(channel=b64(mallory.channel), device=b64(twin.device))
    assert client.post(place, headers=mallory.headers).status_code == 204
    assert victim.halves(client, end) == half


def test_a_kill_between_the_end_of_a_token_and_of_its_halves_leaves_none_after_the_restart(
    tmp_path: Path, now: list[float]
) -> None:
    with service(tmp_path, now) as client:
        gone, stays = found_channel(client, tmp_path, 2)
        (half,), (other,) = (one.halves(client, START + HOUR) for one in (gone, stays))
    with sqlite3.connect(tmp_path / "pourparler.sqlite3") as database:  # the token's end is durable, and no more
        database.execute("DELETE FROM device WHERE device = ?", (gone.device,))
    database.close()
    assert half in kept(tmp_path)
    with service(tmp_path, now) as client:
        assert half not in kept(tmp_path)
        assert stays.halves(client, START + HOUR) == [other]


# --- backups and losses ----------------------------------------------------------------------------------------


def backup(data: Path, to: Path) -> None:
    """As backup programs copy a folder: without what carries the tag."""

    def tagged(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if (Path(folder) / name / "CACHEDIR.TAG").exists()]

    shutil.copytree(data, to, ignore=tagged)


def test_no_half_is_in_a_backup_and_none_comes_back_with_one(tmp_path: Path, now: list[float]) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    with service(data, now) as client:
        (device,) = found_channel(client, data)
        halves = device.halves(client, START + HOUR, 3, HOUR)
        assert problem(device.ask_halves(client, START)) == "not-found"
    backup(data, copy)
    files = kept(copy)
    assert device.channel in files  # it is a backup
    assert not [half for half in halves if half in files]
    now[0] += HOUR
    with service(copy, now) as client:  # restored on a new machine, an hour later
        assert problem(device.ask_halves(client, START + HOUR)) == "not-found"
        assert not {*device.halves(client, START + 2 * HOUR, 2, HOUR)} & {*halves}


def test_a_restored_database_keeps_the_halves_of_whom_it_knows_and_of_nobody_else(
    tmp_path: Path, now: list[float]
) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    with service(data, now) as client:
        (old,) = found_channel(client, data)
        gone, stays = old.halves(client, START + HOUR, 2, HOUR)
    backup(data, copy)
    with service(data, now) as client:
        (new,) = found_channel(client, data)
        (strange,) = new.halves(client, START + 2 * HOUR)
        before = client.get(Route.SERVICE).json()["incarnation"]
        now[0] += HOUR
        wait_for(lambda: gone not in kept(data))
    shutil.copy(copy / "pourparler.sqlite3", data / "pourparler.sqlite3")
    now[0] = START  # and its clock was set back with it
    with service(data, now) as client:
        assert client.get(Route.SERVICE).json()["incarnation"] != before
        assert strange not in kept(data)
        assert problem(new.ask_halves(client, START + 2 * HOUR)) == "unauthorized"
        assert problem(old.ask_halves(client, START + HOUR)) == "not-found"
        assert old.halves(client, START + 2 * HOUR) == [stays]


def test_an_operator_who_says_restored_takes_no_living_half_and_brings_none_back(
    tmp_path: Path, now: list[float]
) -> None:
    with service(tmp_path, now) as client:
        (device,) = found_channel(client, tmp_path)
        gone, stays = device.halves(client, START + HOUR, 2, HOUR)
        before = client.get(Route.SERVICE).json()["incarnation"]
    now[0] += HOUR
    with (
        threaded(Settings(tmp_path, restored=True, clock=lambda: now[0])) as url,
        httpx.Client(base_url=url, timeout=20) as client,
    ):
        assert client.get(Route.SERVICE).json()["incarnation"] != before
        assert gone not in kept(tmp_path)
        assert device.halves(client, START + HOUR, 2, HOUR) == [stays]


def test_an_old_copy_of_the_store_itself_is_purged_before_it_serves(tmp_path: Path, now: list[float]) -> None:
    """Somebody backed it up after all. What has ended since does not come back through the service."""
    data, copy = tmp_path / "data", tmp_path / "copy"
    with service(data, now) as client:
        (device,) = found_channel(client, data)
        gone, stays = device.halves(client, START + HOUR, 2, HOUR)
    shutil.copytree(data, copy)
    now[0] += HOUR
    with service(copy, now) as client:
        assert gone not in kept(copy)
        assert problem(device.ask_halves(client, START + HOUR)) == "not-found"
        assert device.halves(client, START + 2 * HOUR) == [stays]


@pytest.mark.parametrize("lost", ["folder", "another"])
def test_who_loses_the_store_gets_a_new_incarnation_and_new_halves(
    tmp_path: Path, now: list[float], lost: str
) -> None:
    data, folder = tmp_path / "data", tmp_path / "data" / "outside-backups" / "halves"
    with service(data, now) as client:
        (device,) = found_channel(client, data)
        halves = device.halves(client, START + HOUR, 3, HOUR)
        before = client.get(Route.SERVICE).json()["incarnation"]
    shutil.rmtree(folder)
    if lost == "another":
        HalfStore(folder).close()
    with service(data, now) as client:
        after = client.get(Route.SERVICE).json()["incarnation"]
        told = wire.Halves.model_validate_json(device.ask_halves(client, START + HOUR, 3, HOUR).content)
        assert before != after
        assert b64(told.incarnation) == after.rstrip("=")
        assert not {*halves} & {*told.halves}
    with service(data, now) as client:
        assert client.get(Route.SERVICE).json()["incarnation"] == after
        assert device.halves(client, START + HOUR, 3, HOUR) == told.halves


@pytest.mark.parametrize("damage", ["halves", "index.sqlite3", "cut", "header"])
def test_a_damaged_store_is_left_as_it_is_for_the_operator_to_decide(
    tmp_path: Path, now: list[float], damage: str
) -> None:
    """Beginning anew by itself would destroy what may yet be saved."""
    data, folder = tmp_path / "data", tmp_path / "data" / "outside-backups" / "halves"
    with service(data, now) as client:
        (device,) = found_channel(client, data)
        halves = device.halves(client, START + HOUR, 3, HOUR)
    good = (folder / "halves").read_bytes()
    shutil.copytree(folder, tmp_path / "good")
    if damage == "cut":
        (folder / "halves").write_bytes(good[:-1])
    elif damage == "header":
        (folder / "halves").write_bytes(bytes(32) + good[32:])
    else:
        (folder / damage).unlink()
    with pytest.raises(DataError, match=r"are damaged\. Without that folder .* is lost\."):
        HalfStore(folder)
    left = kept(folder)
    assert damage == "halves" or halves[0] in left
    shutil.rmtree(folder)
    shutil.move(tmp_path / "good", folder)
    with service(data, now) as client:
        assert device.halves(client, START + HOUR, 3, HOUR) == halves


def test_a_kill_in_the_middle_of_the_first_start_is_no_damage(tmp_path: Path) -> None:
    for written in (b"", b"pourparler", b"pourparler half\x01" + bytes(16)):
        folder = tmp_path / str(len(written))
        folder.mkdir()
        (folder / "halves").write_bytes(written)
        HalfStore(folder).close()


def test_a_store_that_cannot_be_read_is_told_in_one_sentence(tmp_path: Path) -> None:
    with running(tmp_path):
        pass
    index = tmp_path / "outside-backups" / "halves" / "index.sqlite3"
    good = index.read_bytes()
    index.write_bytes(b"this is no database" * 1000)
    with pytest.raises(RuntimeError, match=r"index\.sqlite3 cannot be opened"):
        ServerProcess(tmp_path)
    index.write_bytes(good)
    with sqlite3.connect(index) as later:
        later.execute("PRAGMA user_version=2")
    later.close()
    with pytest.raises(RuntimeError, match="another version"):
        ServerProcess(tmp_path)


def test_no_half_given_out_is_lost_by_a_kill(tmp_path: Path) -> None:
    """Kill the real process while devices ask. Each half that a device got is the one that it gets again."""
    got: dict[tuple[int, int], bytes] = {}
    server = ServerProcess(tmp_path)
    end = (int(time.time()) // 3600 + 100) * 3600
    with httpx.Client(base_url=server.url, timeout=20) as client:
        devices = found_channel(client, tmp_path, 2)

    def ask(number: int, url: str) -> None:
        try:
            with httpx.Client(base_url=url, timeout=20) as client:
                while True:
                    known = sum(1 for who, _ in got if who == number)
                    if known > 3000:
                        return
                    for place, half in enumerate(devices[number].halves(client, end + known * 60, 20, MINUTE)):
                        got[number, known + place] = half
        except (httpx.TransportError, AssertionError):
            return

    for pause in (0.1, 0.25, 0.4):
        threads = [threading.Thread(target=ask, args=(number, server.url)) for number in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(pause)
        server.kill()
        for thread in threads:
            thread.join()
        server = ServerProcess(tmp_path)
    assert got
    with httpx.Client(base_url=server.url, timeout=20) as client:
        for number, device in enumerate(devices):
            mine = [half for (who, _), half in sorted(got.items()) if who == number]
            again: list[bytes] = []
            while len(again) < len(mine):
                again += device.halves(client, end + len(again) * 60, 1000, MINUTE)
            assert again[: len(mine)] == mine
    assert server.stop() == (0, "")


def test_a_full_disk_refuses_and_makes_nothing(tmp_path: Path) -> None:
    import resource

    data = tmp_path
    server = ServerProcess(data)
    with httpx.Client(base_url=server.url, timeout=20) as client:
        (device,) = found_channel(client, data)
        end = (int(time.time()) // 3600 + 100) * 3600
        first = device.halves(client, end, 10, HOUR)
        # No file of the process may grow: for it the disk is full.
        pid = server.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1024, before[1]))
        assert problem(device.ask_halves(client, end + 100 * HOUR, 1000, HOUR)) == "unavailable"
        assert device.halves(client, end, 10, HOUR) == first
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        assert device.halves(client, end, 10, HOUR) == first
        assert len(device.halves(client, end + 100 * HOUR, 1000, HOUR)) == 1000
    server.stop()


def test_the_token_of_a_device_is_needed_and_nothing_else_opens(client: httpx.Client, data: Path) -> None:
    (device,) = found_channel(client, data)
    path, good = device.path(Route.HALVES), {"Content-Type": "application/json"}
    asked = wire.AskHalves(first=0, step=10, number=1).model_dump_json()
    assert problem(client.post(path, content=asked, headers=good)) == "unauthorized"
    assert problem(client.post(path, content=asked, headers={**good, **bearer(bytes(32))})) == "unauthorized"
