"""Who may read and write: tokens, their end, and what a stranger learns (nothing)."""

import base64
import secrets
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from pourparler_policies import limits, wire
from pourparler_policies.wire import Route
from pourparler_service.caps import Caps
from pourparler_service.examine import kept_entries
from pourparler_service.grants import issue, issue_by
from pourparler_service.settings import Settings
from pourparler_service.testing import (
    TestDevice,
    b64,
    bearer,
    body,
    events,
    everything_kept,
    found_channel,
    make_grant,
    problem,
    seat,
    settings_of,
    threaded,
)


def revoke(client: httpx.Client, voter: TestDevice, target: TestDevice) -> httpx.Response:
    return client.post(voter.path(Route.REVOCATION, device=target.device), headers=voter.headers)


def leave(client: httpx.Client, device: TestDevice) -> httpx.Response:
    return client.delete(device.path(Route.OWN_DEVICE), headers=device.headers)


def test_every_stranger_gets_the_same_bytes(client: httpx.Client, data: Path) -> None:
    """Wrong token, ended token, other channel's token, no such channel or box: one answer."""
    device, gone = found_channel(client, data, 2)
    (other,) = found_channel(client, data)
    assert leave(client, gone).status_code == 204
    known, unknown = device.path(Route.ENTRIES), TestDevice(secrets.token_bytes(16)).path(Route.ENTRIES)
    box = Route.BOX_SLOT.format(box=b64(secrets.token_bytes(16)), slot=0)
    tries = [
        client.get(known),
        client.get(known, headers=bearer(secrets.token_bytes(32))),
        client.get(known, headers=bearer(other.token)),
        client.get(known, headers=bearer(gone.token)),
        client.get(known, headers={"Authorization": "Basic " + b64(device.token)}),
        client.get(known, headers={"Authorization": "Bearer " + b64(device.token)[:-1]}),
        client.get(unknown, headers=bearer(device.token)),
        client.get("/v1/channels/not-an-id/entries", headers=bearer(device.token)),
        client.get(box, headers=bearer(secrets.token_bytes(32))),
        client.get(device.path(Route.STREAM), headers=bearer(gone.token)),
        client.delete(Route.BOX.format(box=b64(secrets.token_bytes(16))), headers=bearer(secrets.token_bytes(32))),
        client.post(Route.CHANNELS, content=device.create(), headers=other.headers),
        client.post(known, content=b"not even JSON", headers=bearer(gone.token)),
    ]
    assert {answer.status_code for answer in tries} == {401}
    assert len({answer.content for answer in tries}) == 1
    assert len({(answer.headers["www-authenticate"], answer.headers["content-type"]) for answer in tries}) == 1


def test_no_token_is_stored(client: httpx.Client, data: Path) -> None:
    devices = found_channel(client, data, 3)
    devices[0].send(client)
    grant = make_grant(data)
    kept = everything_kept(data)
    assert sha256(devices[0].token).digest() in kept
    assert sha256(grant).digest() in kept
    assert not [one for one in devices if one.token in kept]
    assert grant not in kept


@pytest.mark.embedded
def test_what_is_stored_does_not_say_which_device_sent_an_entry(client: httpx.Client, data: Path) -> None:
    devices = found_channel(client, data, 3)
    receipts = [device.send(client).json() for device in devices]
    with closing(sqlite3.connect(f"file:{data / 'pourparler.sqlite3'}?mode=ro", uri=True)) as database:
        seqs = {row[0] for row in database.execute("SELECT seq FROM entry")}
        rows = database.execute("SELECT * FROM device WHERE last_mark IS NOT NULL").fetchall()
    assert {receipt["seq"] for receipt in receipts} <= seqs
    for receipt in receipts:
        plain = b"".join(receipt[name].to_bytes(8) for name in ("seq", "received_at", "expires_at"))
        for value in (value for row in rows for value in row if isinstance(value, bytes)):
            assert plain not in value
            assert plain[:8] not in value


def test_a_token_ends_when_more_than_half_of_the_others_asked(client: httpx.Client, data: Path) -> None:
    """#27: two voices of four are not enough, three are."""
    target, *others = found_channel(client, data, 5)
    assert revoke(client, others[0], target).status_code == 202
    assert revoke(client, others[1], target).status_code == 202
    assert revoke(client, others[1], target).status_code == 202  # the same voice again counts once
    assert target.page(client).status_code == 200
    assert revoke(client, others[2], target).status_code == 204
    assert target.page(client).status_code == 401
    assert target.send(client).status_code == 401
    assert problem(revoke(client, others[3], target)) == "not-found"
    assert others[0].page(client).status_code == 200


def test_one_of_three_ends_nobodys_token_and_one_of_two_does(client: httpx.Client, data: Path) -> None:
    rogue, second, third = found_channel(client, data, 3)
    for target in (second, third):
        for _ in range(2):
            assert revoke(client, rogue, target).status_code == 202
        assert target.page(client).status_code == 200
    assert leave(client, third).status_code == 204
    assert revoke(client, rogue, second).status_code == 204
    assert second.page(client).status_code == 401


def test_the_voice_of_an_ended_device_is_gone(client: httpx.Client, data: Path) -> None:
    target, *others = found_channel(client, data, 6)
    assert revoke(client, others[0], target).status_code == 202
    assert leave(client, others[0]).status_code == 204
    assert revoke(client, others[1], target).status_code == 202
    assert revoke(client, others[2], target).status_code == 202  # two of four
    assert revoke(client, others[3], target).status_code == 204


def test_who_was_admitted_after_a_vote_is_one_of_the_others(client: httpx.Client, data: Path) -> None:
    target, first, second = found_channel(client, data, 3)
    assert revoke(client, first, target).status_code == 202
    (newcomer,) = seat(client, target, 1)
    assert revoke(client, second, target).status_code == 204  # two of three
    assert newcomer.page(client).status_code == 200


def test_nobody_votes_on_oneself_or_in_another_channel(client: httpx.Client, data: Path) -> None:
    device, peer = found_channel(client, data, 2)
    (stranger,) = found_channel(client, data)
    assert problem(revoke(client, device, device)) == "malformed"
    assert (
        client.post(peer.path(Route.REVOCATION, device=device.device), headers=stranger.headers).status_code == 401
    )
    assert problem(revoke(client, stranger, peer)) == "not-found"
    assert peer.page(client).status_code == 200


def test_a_revoked_devices_stream_ends_at_once(client: httpx.Client, data: Path, server: object) -> None:
    target, other = found_channel(client, data, 2)
    with client.stream("GET", target.path(Route.STREAM), headers=target.headers) as stream:
        told = events(stream.iter_lines())
        while next(told)[0] != "head":
            pass
        with httpx.Client(base_url=client.base_url) as second:
            assert revoke(second, other, target).status_code == 204
            assert other.send(second).status_code == 201
        assert list(told) == []


def test_the_last_device_to_go_takes_the_channel_with_it(client: httpx.Client, data: Path) -> None:
    first, second = found_channel(client, data, 2)
    sealed = secrets.token_bytes(1024)
    first.send(client, sealed=sealed)
    assert leave(client, first).status_code == 204
    assert leave(client, second).status_code == 204
    kept = everything_kept(data)
    assert sealed[:16] not in kept
    assert first.channel not in kept


def test_of_a_closed_channel_nothing_is_left_but_that_its_id_is_refused_and_that_expires(tmp_path: Path) -> None:
    """Entries, halves, attachments, boxes and tokens are in no file; nobody, with whatever token or grant, gets in."""
    now = [1_800_000_000.0]
    with (
        threaded(Settings(tmp_path, clock=lambda: now[0])) as url,
        httpx.Client(base_url=url, timeout=20) as client,
    ):
        first, second = found_channel(client, tmp_path, 2, absence_limit=10 * limits.DAY)
        sealed, room = secrets.token_bytes(1024), secrets.token_bytes(16)
        chunk, secret = secrets.token_bytes(65536), secrets.token_bytes(32)
        assert first.send(client, sealed=sealed, handshake=True, life=20 * limits.DAY).status_code == 201
        asked = body(wire.AskHalves(first=int(now[0]) // 3600 * 3600 + 7200, step=3600, number=4))
        halves = client.post(first.path(Route.HALVES), content=asked, headers=first.headers).json()["halves"]
        made = client.post(
            first.path(Route.ATTACHMENTS),
            content=body(
                wire.CreateAttachment(
                    attachment=room,
                    size=65536,
                    life=limits.DAY,
                    token_hash=sha256(secret).digest(),
                    delete_hash=secrets.token_bytes(32),
                )
            ),
            headers=first.headers,
        )
        assert made.status_code == 204
        place = Route.ATTACHMENT_CHUNK.format(attachment=b64(room), chunk=0)
        put = client.put(
            place, content=chunk, headers={**bearer(secret), "Content-Type": "application/octet-stream"}
        )
        assert put.status_code == 204

        def kept() -> bytes:
            return b"".join(one.read_bytes() for one in sorted(tmp_path.rglob("*")) if one.is_file())

        traces = [first.channel, sealed[:16], sha256(chunk).digest(), room, sha256(first.token).digest()]
        traces += [base64.urlsafe_b64decode(half) for half in halves]
        assert all(trace in kept() for trace in traces)
        assert leave(client, first).status_code == 204
        assert second.page(client).status_code == 200  # one alone takes nothing from the other
        assert sealed[:16] in kept()
        assert leave(client, second).status_code == 204
        wait_for(lambda: not any(trace in kept() for trace in traces))
        with closing(sqlite3.connect(f"file:{tmp_path / 'pourparler.sqlite3'}?mode=ro", uri=True)) as database:
            ((name, _),) = database.execute("SELECT * FROM closed").fetchall()
            tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            assert not any(
                any(body) for (body,) in database.execute("SELECT bytes FROM body")
            )  # places, overwritten
            rest = {table: database.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0] for table in tables}
        assert name not in (first.channel, sha256(first.channel).digest())
        others = ("closed", "instance", "alembic_version", "grant", "vacancy", "body")
        assert {table for table, rows in rest.items() if rows} <= set(others)

        for device in (first, second, TestDevice(first.channel)):
            for answer in (device.page(client), device.send(client)):
                assert (answer.status_code, problem(answer)) == (410, "closed")
        assert create(client, TestDevice(first.channel), issue(tmp_path)[0]).status_code == 410
        now[0] += 14 * limits.DAY
        wait_for(lambda: first.page(client).status_code == 401)
        assert create(client, TestDevice(first.channel), issue(tmp_path)[0]).status_code == 201


def test_a_token_that_idled_past_the_absence_limit_ends(place: Path) -> None:
    now = [1_800_000_000.0]
    with (
        threaded(settings_of(place, clock=lambda: now[0])) as url,
        httpx.Client(base_url=url, timeout=20) as client,
    ):
        active, idle = found_channel(client, place, 2, absence_limit=10 * limits.DAY)
        for _ in range(10):
            now[0] += limits.DAY
            assert active.page(client).status_code == 200
        assert idle.page(client).status_code == 200  # never before its limit: and this was a use
        for _ in range(12):
            now[0] += limits.DAY
            assert active.page(client).status_code == 200
        assert idle.page(client).status_code == 401
        assert idle.send(client).status_code == 401
        assert active.send(client, life=limits.MAX_LIFE).status_code == 201


def test_the_rows_of_idle_tokens_and_of_channels_without_any_are_deleted(tmp_path: Path) -> None:
    now = [1_800_000_000.0]
    with (
        threaded(Settings(tmp_path, clock=lambda: now[0])) as url,
        httpx.Client(base_url=url, timeout=20) as client,
    ):
        (device,) = found_channel(client, tmp_path, absence_limit=limits.DAY)
        sealed = secrets.token_bytes(1024)
        assert device.send(client, sealed=sealed, life=limits.MAX_LIFE).status_code == 201

        def kept() -> bytes:
            return b"".join(one.read_bytes() for one in tmp_path.rglob("*") if one.is_file())

        assert device.channel in kept()
        (entry,) = kept_entries(tmp_path)
        assert entry.pieces()[1] in kept()
        now[0] += 3 * limits.DAY
        wait_for(lambda: not [one for one in (device.channel, *entry.pieces()) if one in kept()])


def wait_for(holds: Callable[[], bool]) -> None:
    """Wait until it holds; a test that never ends is stopped by its timeout."""
    while not holds():
        time.sleep(0.1)


@pytest.mark.embedded
def test_only_a_day_is_kept_of_a_devices_last_use(client: httpx.Client, data: Path) -> None:
    import sqlite3

    (device,) = found_channel(client, data)
    device.page(client)
    with sqlite3.connect(data / "pourparler.sqlite3") as database:
        row = database.execute("SELECT * FROM device WHERE device = ?", (device.device,)).fetchone()
    now = int(time.time())
    assert now // limits.DAY in row
    assert not [one for one in row if isinstance(one, int) and abs(one - now) < limits.DAY]


def test_a_device_that_asks_too_fast_is_slowed_and_the_others_are_not(place: Path) -> None:

    slow = settings_of(place, caps=Caps(requests_burst=20, requests_rate=1))
    with threaded(slow) as url, httpx.Client(base_url=url, timeout=20) as client:
        busy, calm = found_channel(client, place, 2)
        answers = [busy.page(client) for _ in range(30)]
        assert {200, 429} == {answer.status_code for answer in answers}
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert problem(refused) == "budget"
        assert int(refused.headers["retry-after"]) >= 1
        assert calm.page(client).status_code == 200


def test_a_clock_that_is_set_back_keeps_no_device_waiting_until_it_has_caught_up(place: Path) -> None:
    now = [time.time()]
    settings = replace(settings_of(place, caps=Caps(requests_burst=4, requests_rate=1)), clock=lambda: now[0])
    with threaded(settings) as url, httpx.Client(base_url=url, timeout=20) as client:
        (device,) = found_channel(client, place)
        while device.page(client).status_code == 200:
            pass
        now[0] -= limits.HOUR
        assert problem(device.page(client)) == "budget"
        now[0] += 2
        assert device.page(client).status_code == 200


# --- grants ----------------------------------------------------------------------------------------------------


def create(client: httpx.Client, device: TestDevice, grant: bytes, **options: int) -> httpx.Response:
    return client.post(
        Route.CHANNELS, content=device.create(**options), headers={**device.headers, **bearer(grant)}
    )


def test_a_grant_creates_one_channel_and_its_repetition_is_harmless(client: httpx.Client, data: Path) -> None:
    grant = make_grant(data)
    device = TestDevice(secrets.token_bytes(16))
    first = create(client, device, grant)
    assert first.status_code == 201
    device.send(client)
    again = wire.Channel.model_validate_json(create(client, device, grant).content)
    assert (again.head, again.count) == (1, 1)
    for thief in (
        TestDevice(secrets.token_bytes(16)),
        TestDevice(device.channel),
        TestDevice(device.channel, device.device),
    ):
        answer = create(client, thief, grant)
        assert (answer.status_code, problem(answer)) == (403, "grant-used")
        assert thief.page(client).status_code == 401


def test_a_channels_id_is_not_given_twice(client: httpx.Client, data: Path) -> None:
    (device,) = found_channel(client, data)
    intruder = TestDevice(device.channel)
    assert problem(create(client, intruder, issue_by(settings_of(data))[0])) == "id-reused"
    assert intruder.page(client).status_code == 401


def test_a_refused_creation_leaves_the_grant_good(client: httpx.Client, data: Path) -> None:
    (taken,) = found_channel(client, data)
    grant = issue_by(settings_of(data))[0]
    assert problem(create(client, TestDevice(taken.channel), grant)) == "id-reused"
    assert create(client, TestDevice(secrets.token_bytes(16)), grant).status_code == 201


def test_a_grant_lapses(place: Path) -> None:
    now = [time.time()]
    with (
        threaded(settings_of(place, clock=lambda: now[0])) as url,
        httpx.Client(base_url=url, timeout=20) as client,
    ):
        early, late = issue_by(settings_of(place), 2, days=1)
        assert create(client, TestDevice(secrets.token_bytes(16)), early).status_code == 201
        now[0] += 2 * limits.DAY
        assert create(client, TestDevice(secrets.token_bytes(16)), late).status_code == 401


def test_nothing_else_accepts_a_grant_or_a_token_in_its_place(client: httpx.Client, data: Path) -> None:
    (device,) = found_channel(client, data)
    grant = issue_by(settings_of(data))[0]
    assert client.get(device.path(Route.CHANNEL), headers=bearer(grant)).status_code == 401
    assert create(client, TestDevice(secrets.token_bytes(16)), device.token).status_code == 401


# --- deleting early --------------------------------------------------------------------------------------------


def delete(client: httpx.Client, device: TestDevice, entry: bytes, secret: bytes) -> httpx.Response:
    asked = wire.Deletion(secret=secret)
    return client.post(device.path(Route.DELETION, entry=entry), content=body(asked), headers=device.headers)


def test_only_the_delete_secret_deletes(client: httpx.Client, data: Path) -> None:
    """#14: no device can destroy another's words, not even with a valid token."""
    author, other = found_channel(client, data, 2)
    secret = secrets.token_bytes(32)
    asked = author.append(delete_hash=sha256(secret).digest())
    seq = author.send(client, asked).json()["seq"]
    for device, tried in ((other, secrets.token_bytes(32)), (author, other.token), (other, asked.delete_hash)):
        assert problem(delete(client, device, asked.entry, tried)) == "not-found"
    assert [one["seq"] for one in other.page(client, seq - 1).json()["entries"]] == [seq]
    assert delete(client, author, asked.entry, secret).status_code == 204
    assert other.page(client, seq - 1).json()["entries"] == []
    assert other.page(client, seq - 1).json()["head"] == seq
    assert problem(delete(client, author, asked.entry, secret)) == "not-found"
    kept = everything_kept(data)
    assert asked.sealed[:16] not in kept


def test_a_deleted_entrys_retry_gets_its_receipt_and_does_not_bring_it_back(
    client: httpx.Client, data: Path
) -> None:
    (author,) = found_channel(client, data)
    secret = secrets.token_bytes(32)
    asked = author.append(delete_hash=sha256(secret).digest())
    receipt = author.send(client, asked)
    delete(client, author, asked.entry, secret)
    assert author.send(client, asked).content == receipt.content
    assert author.page(client).json()["entries"] == []


@pytest.mark.parametrize("count", [1, 3])
def test_a_deletion_leaves_a_gap_that_readers_step_over(client: httpx.Client, data: Path, count: int) -> None:
    author, reader = found_channel(client, data, 2)
    secret = secrets.token_bytes(32)
    gone = [author.append(delete_hash=sha256(secret).digest(), count=author.count + 1 + n) for n in range(count)]
    for one in gone:
        author.send(client, one)
    last = author.send(client).json()["seq"]
    for one in gone:
        assert delete(client, author, one.entry, secret).status_code == 204
    assert [one["seq"] for one in reader.page(client, last - count - 1).json()["entries"]] == [last]
