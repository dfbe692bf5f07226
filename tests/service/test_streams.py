"""What a stream promises: every entry once, in order, from the cursor on; and nobody holds up anybody."""

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from pourparler_policies import wire
from pourparler_policies.wire import Route
from pourparler_service.caps import Caps
from pourparler_service.testing import (
    ServerProcess,
    TestDevice,
    body,
    events,
    found_channel,
    problem,
    settings_of,
    threaded,
)


@contextlib.contextmanager
def listening(
    client: httpx.Client, device: TestDevice, after: int = 0, **headers: str
) -> Iterator[Iterator[tuple[str, str, str]]]:
    place = device.path(Route.STREAM)
    with client.stream("GET", place, params={"after": after}, headers={**device.headers, **headers}) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        yield events(stream.iter_lines())


def caught_up(told: Iterator[tuple[str, str, str]]) -> tuple[list[int], wire.Page]:
    """The seqs before `head`, and the head."""
    seen = []
    for name, number, data in told:
        if name == "head":
            return seen, wire.Page.model_validate_json(data[:-1] + ',"entries":[]}')
        seen.append(int(number))
    raise AssertionError("the stream ended")


def test_a_stream_tells_what_was_missed_then_the_head_then_what_comes(client: httpx.Client, data: Path) -> None:
    author, reader = found_channel(client, data, 2)
    for _ in range(3):
        author.send(client)
    with listening(client, reader, after=2) as told, httpx.Client(base_url=client.base_url) as second:
        seen, head = caught_up(told)
        assert seen == [3, 4]
        assert head.head == 4
        assert wire.Service.model_validate_json(second.get(Route.SERVICE).content).incarnation == head.incarnation
        asked = author.append()
        receipt = author.send(second, asked).json()
        name, number, text = next(told)
        entry = wire.Entry.model_validate_json(text)
        assert (name, number, entry.seq) == ("entry", str(receipt["seq"]), receipt["seq"])
        assert (entry.entry, entry.sealed) == (asked.entry, asked.sealed)


def test_a_stream_resumes_after_the_last_event_id(client: httpx.Client, data: Path) -> None:
    (author,) = found_channel(client, data)
    for _ in range(5):
        author.send(client)
    with listening(client, author, after=1, **{"Last-Event-ID": "3"}) as told:
        assert caught_up(told)[0] == [4, 5]
    for wrong in ("x", "-1", "9" * 30, "1.5", "٣"):
        answer = client.get(author.path(Route.STREAM), headers={**author.headers, "Last-Event-ID": wrong.encode()})
        assert problem(answer) == "malformed"


def test_a_newcomers_stream_begins_with_its_add(client: httpx.Client, data: Path) -> None:
    _, newcomer = found_channel(client, data, 2)
    with listening(client, newcomer) as told:
        assert caught_up(told)[0] == [1]
    founder, _, late = found_channel(client, data, 3)
    with listening(client, late) as told:
        assert caught_up(told)[0] == [2]
    with listening(client, founder) as told:
        assert caught_up(told)[0] == [1, 2]


def test_a_newer_stream_of_a_device_ends_the_older(client: httpx.Client, data: Path) -> None:
    (author,) = found_channel(client, data)
    with httpx.Client(base_url=client.base_url, timeout=20) as second, listening(client, author) as older:
        caught_up(older)
        with listening(second, author) as newer:
            caught_up(newer)
            assert list(older) == []
            with httpx.Client(base_url=client.base_url) as third:
                author.send(third)
            assert next(newer)[1] == "1"


def test_a_cursor_ahead_of_the_head_gets_only_what_lies_beyond_it(client: httpx.Client, data: Path) -> None:
    """After a rollback the client sees from `head` that the service is behind it, and reports that."""
    (author,) = found_channel(client, data)
    author.send(client)
    with listening(client, author, after=7) as told:
        seen, head = caught_up(told)
        assert (seen, head.head) == ([], 1)


@pytest.mark.long_on_postgresql
def test_a_long_absence_is_streamed_from_the_database_in_order(client: httpx.Client, data: Path) -> None:
    """More than the tail in memory holds."""
    (author,) = found_channel(client, data)
    for _ in range(700):
        assert author.send(client).status_code == 201
    with listening(client, author) as told:
        assert caught_up(told)[0] == list(range(1, 701))
    with listening(client, author, after=650) as told:
        assert caught_up(told)[0] == list(range(651, 701))


def test_a_stopping_service_ends_its_streams(place: Path) -> None:
    server = ServerProcess(place)
    with httpx.Client(base_url=server.url, timeout=20) as client:
        (author,) = found_channel(client, place)
        with listening(client, author) as told:
            caught_up(told)
            stopping = threading.Thread(target=server.process.terminate)
            stopping.start()
            assert list(told) == []
            stopping.join()
    assert server.stop() == (0, "")


def test_a_silent_stream_gets_heartbeats(place: Path) -> None:
    with threaded(settings_of(place, heartbeat=0.1)) as url, httpx.Client(base_url=url, timeout=20) as client:
        (author,) = found_channel(client, place)
        with client.stream("GET", author.path(Route.STREAM), headers=author.headers) as stream:
            beats = (line for line in stream.iter_lines() if line.startswith(":"))
            assert [next(beats) for _ in range(3)] == [":"] * 3


def test_a_reader_that_takes_nothing_is_cut_off_and_holds_up_nobody(place: Path) -> None:
    """It costs no memory meanwhile, and comes back with its cursor."""
    settings = settings_of(place, caps=Caps(slow_reader=1), heartbeat=0.2)
    with threaded(settings) as url, httpx.Client(base_url=url, timeout=20) as client:
        author, stuck, reader = found_channel(client, place, 3)
        where = urlsplit(url)
        with socket.create_connection((where.hostname, where.port), 20) as raw:
            told = "".join(
                f"{name}: {value}\r\n" for name, value in {**stuck.headers, "Host": where.netloc}.items()
            )
            raw.sendall(f"GET {stuck.path(Route.STREAM)} HTTP/1.1\r\n{told}\r\n".encode())
            with httpx.Client(base_url=url, timeout=20) as second, listening(second, reader) as news:
                caught_up(news)
                for _ in range(40):  # 20 MB, more than the kernel's buffers hold
                    seq = author.send(client, sealed=bytes(512 * 1024)).json()["seq"]
                    assert next(news)[1] == str(seq)
            time.sleep(2)  # while the server loses its patience; nothing is asserted about how long that takes
            received = 0
            with contextlib.suppress(ConnectionError):
                while chunk := raw.recv(1 << 20):
                    received += len(chunk)
        assert received < 30 * 512 * 1024  # of 40, base64 not counted
        with listening(client, stuck, after=3) as told_again:
            assert len(caught_up(told_again)[0]) == 39


def test_expired_and_deleted_entries_are_streamed_to_nobody(place: Path) -> None:
    now = [1_800_000_000.0]
    with (
        threaded(settings_of(place, clock=lambda: now[0])) as url,
        httpx.Client(base_url=url, timeout=20) as client,
    ):
        author, reader = found_channel(client, place, 2)
        secret = secrets.token_bytes(32)
        short, long = author.append(life=5), author.append(life=50, count=author.count + 2)
        gone = author.append(count=author.count + 3, delete_hash=sha256(secret).digest())
        for one in (short, long, gone):
            assert author.send(client, one).status_code == 201
        asked = wire.Deletion(secret=secret)
        client.post(author.path(Route.DELETION, entry=gone.entry), content=body(asked), headers=author.headers)
        with listening(client, reader, after=1) as told:
            assert caught_up(told)[0] == [2, 3]
        now[0] += 5
        with listening(client, reader, after=1) as told:
            assert caught_up(told)[0] == [3]
