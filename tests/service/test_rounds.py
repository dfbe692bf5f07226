"""Rounds of ideas at the service: packets of one size under the round's token, shown all at once, tied to nobody."""

import base64
import json
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from pourparler_policies import limits
from pourparler_policies.limits import DAY, HOUR, IDEA_PACKET
from pourparler_policies.wire import Route
from pourparler_service import tables
from pourparler_service.caps import Caps
from pourparler_service.testing import (
    TestDevice,
    TestRound,
    bearer,
    body,
    found_channel,
    problem,
    settings_of,
    threaded,
)

START = 1_800_000_000
TICK = START + 600


def packet() -> bytes:
    return secrets.token_bytes(IDEA_PACKET)


@contextmanager
def service(data: Path, now: list[float], **caps: int) -> Iterator[httpx.Client]:
    with (
        threaded(replace(settings_of(data), caps=Caps(**caps), clock=lambda: now[0])) as url,
        httpx.Client(base_url=url, timeout=20) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def now() -> list[float]:
    return [float(START)]


@pytest.fixture(scope="module")
def place(data: Path) -> Path:
    return data


@pytest.fixture(scope="module")
def client(place: Path, now: list[float]) -> Iterator[httpx.Client]:
    with service(place, now) as one:
        yield one


@pytest.fixture
def device(client: httpx.Client, place: Path, now: list[float]) -> TestDevice:
    now[0] = float(START)
    return found_channel(client, place)[0]


@pytest.fixture
def held(client: httpx.Client, device: TestDevice) -> TestRound:
    one = TestRound(TICK)
    assert one.make(client, device).status_code == 204
    return one


def test_nothing_is_shown_before_the_window_is_over_and_then_everything_by_its_hash(
    client: httpx.Client, held: TestRound, now: list[float]
) -> None:
    empty = held.get(client)
    assert (empty.status_code, problem(empty)) == (404, "not-found")
    now[0] = TICK
    sent = [packet() for _ in range(5)]
    for one in sent:
        assert held.send(client, one).status_code == 204
        still = held.get(client)
        # The same bytes as when nothing was there: not even how many there are shows.
        assert (still.status_code, still.content) == (empty.status_code, empty.content)
    now[0] = TICK + held.window
    assert held.packets(client) == sorted(sent, key=lambda one: sha256(one).digest())


def test_packets_are_taken_from_the_tick_until_the_window_is_over_and_not_one_more(
    client: httpx.Client, held: TestRound, now: list[float]
) -> None:
    early = held.send(client, packet())
    assert (early.status_code, problem(early), early.headers["Retry-After"]) == (429, "budget", "600")
    now[0] = TICK + held.window - 1
    kept = packet()
    assert held.send(client, kept).status_code == 204
    now[0] += 1
    late = held.send(client, packet())
    assert (late.status_code, problem(late)) == (410, "closed")
    assert held.send(client, kept).status_code == 204  # an answer was lost: the same bytes again
    assert held.packets(client) == [kept]


def test_the_same_packet_again_takes_no_place_and_one_too_many_is_refused(
    client: httpx.Client, device: TestDevice, now: list[float]
) -> None:
    held = TestRound(TICK, places=2)
    held.make(client, device)
    now[0] = TICK
    first, second = packet(), packet()
    for one in (first, first, second, first, second):
        assert held.send(client, one).status_code == 204
    full = held.send(client, packet())
    assert (full.status_code, problem(full)) == (403, "over-cap")
    now[0] = TICK + held.window
    assert set(held.packets(client)) == {first, second}


def test_only_the_rounds_token_opens_it_a_devices_does_not(
    client: httpx.Client, device: TestDevice, held: TestRound, now: list[float]
) -> None:
    now[0] = TICK
    for token in (device.token, secrets.token_bytes(32)):
        for answer in (held.send(client, packet(), token), held.get(client, token)):
            assert (answer.status_code, problem(answer)) == (401, "unauthorized")
    nowhere = TestRound(TICK)
    assert held.get(client, secrets.token_bytes(32)).content == nowhere.get(client).content
    assert client.post(held.path, content=b"{}").status_code == 401


def test_every_answer_ends_its_connection_so_that_no_two_packets_share_one(
    client: httpx.Client, held: TestRound, now: list[float]
) -> None:
    now[0] = TICK
    answers = [held.send(client, packet()), held.send(client, packet(), secrets.token_bytes(32)), held.get(client)]
    assert {answer.headers["connection"] for answer in answers} == {"close"}


@pytest.mark.parametrize("size", [0, 1, IDEA_PACKET - 1, IDEA_PACKET + 1, 1024, 16384])
def test_a_packet_of_another_size_is_malformed(
    client: httpx.Client, held: TestRound, now: list[float], size: int
) -> None:
    now[0] = TICK
    headers = {**bearer(held.token), "Content-Type": "application/json"}
    body = json.dumps({"sealed": base64.urlsafe_b64encode(bytes(size)).decode()})
    answer = client.post(held.path, content=body, headers=headers)
    assert (answer.status_code, problem(answer)) == (422, "malformed")


def test_everybody_asks_for_the_same_room_and_another_wish_is_no_harm(
    client: httpx.Client, device: TestDevice, held: TestRound
) -> None:
    assert held.make(client, device).status_code == 204
    for change in ({"places": 8}, {"window": 61}, {"life": HOUR + 1}, {"token_hash": bytes(32)}):
        answer = held.make(client, device, **change)
        assert (answer.status_code, problem(answer)) == (409, "id-reused")
    # Under its own hash a wrong wish is another round, and takes nothing from this one.
    assert TestRound(TICK, places=1).make(client, device).status_code == 204


def test_room_is_made_by_a_device_of_the_channel_and_within_the_operators_caps(
    tmp_path: Path,
) -> None:
    now = [float(START)]
    with service(tmp_path, now, rounds_a_channel=2, longest_life=40 * DAY, longest_absence=DAY) as client:
        device, stranger = found_channel(client, tmp_path)[0], TestDevice(secrets.token_bytes(16))
        stranger.channel = device.channel
        assert TestRound(TICK).make(client, stranger).status_code == 401
        refused = {
            "closed": TestRound(START - 60),
            "over-cap": TestRound(START + limits.MAX_AHEAD + 1),
        }
        for name, one in refused.items():
            assert problem(one.make(client, device)) == name
        assert problem(TestRound(TICK, life=41 * DAY).make(client, device)) == "over-cap"
        first, second, third = TestRound(TICK, life=60), TestRound(TICK), TestRound(TICK)
        assert [first.make(client, device).status_code, second.make(client, device).status_code] == [204, 204]
        assert problem(third.make(client, device)) == "over-cap"
        now[0] = TICK + first.window + first.life + 1
        third.opens_at = int(now[0])
        assert third.make(client, device).status_code == 204


def test_packets_are_gone_from_every_file_when_the_rounds_life_is_over(tmp_path: Path) -> None:
    now = [float(START)]
    mark = secrets.token_bytes(16)

    def kept() -> bytes:
        return b"".join(one.read_bytes() for one in tmp_path.rglob("*") if one.is_file())

    with service(tmp_path, now) as client:
        device = found_channel(client, tmp_path)[0]
        held = TestRound(START, life=60)
        held.make(client, device)
        for _ in range(3):
            held.send(client, secrets.token_bytes(IDEA_PACKET - 16) + mark)
        with sqlite3.connect(tmp_path / "pourparler.sqlite3") as connection:
            bodies = connection.execute("SELECT bytes FROM body JOIN packet ON body_key = body.key").fetchall()
        connection.close()
        assert len(bodies) == 3
        stored = [body[start : start + 16] for (body,) in bodies for start in range(0, IDEA_PACKET, 256)]
        assert all(piece in kept() for piece in stored)
        assert mark not in kept()  # it lies there under a storage key
        now[0] = START + held.window
        assert len(held.packets(client)) == 3
        now[0] += 60
        assert held.get(client).status_code == 401
        while any(piece in kept() for piece in stored):  # the purger comes by once a second
            time.sleep(0.05)


def test_a_round_ends_with_its_channel(
    client: httpx.Client, device: TestDevice, held: TestRound, now: list[float]
) -> None:
    now[0] = TICK
    held.send(client, packet())
    assert client.delete(device.path(Route.OWN_DEVICE), headers=device.headers).status_code == 204
    assert held.send(client, packet()).status_code == 401


def test_a_channel_that_is_full_has_no_room_for_a_round(tmp_path: Path) -> None:
    now = [float(START)]
    with service(tmp_path, now, bytes_a_channel=4 * limits.MAX_SEALED) as client:
        device = found_channel(client, tmp_path)[0]
        for size in (*[limits.MAX_SEALED] * 3, limits.BUCKETS[0]):
            entry = device.append(sealed=secrets.token_bytes(size))
            client.post(device.path(Route.ENTRIES), content=body(entry), headers=device.headers).raise_for_status()
            device.count += 1
        assert TestRound(TICK, places=9).make(client, device).status_code == 204
        assert problem(TestRound(TICK, places=96, life=60).make(client, device)) == "over-cap"


def test_what_is_stored_joins_no_packet_to_a_device_or_a_moment() -> None:
    assert set(tables.PACKET.columns.keys()) == {"round_key", "digest", "body_key"}
    assert not {"device", "device_key", "voter_key"} & set(tables.ROUND.columns.keys())


def test_what_was_acknowledged_is_there_after_a_restart(tmp_path: Path) -> None:
    now, sent, held = [float(START)], packet(), TestRound(START)
    with service(tmp_path, now) as client:
        device = found_channel(client, tmp_path)[0]
        held.make(client, device)
        assert held.send(client, sent).status_code == 204
    now[0] = START + held.window
    with service(tmp_path, now) as client:
        assert held.packets(client) == [sent]
