"""Requests made to deceive or to weigh down: what is ambiguous is refused whole, what is heavy is bounded."""

import contextlib
import secrets
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from pourparler_policies import limits
from pourparler_policies.wire import Route
from pourparler_service import bodies, connection
from pourparler_service.settings import Settings
from pourparler_service.state import Registry
from pourparler_service.testing import (
    ServerProcess,
    TestDevice,
    b64,
    body,
    found_channel,
    problem,
    running,
    threaded,
)


@contextlib.contextmanager
def line(url: str) -> Iterator[socket.socket]:
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port), 20) as one:
        yield one


def answered(url: str, sent: bytes) -> bytes:
    """All that comes until the server closes, which it must do soon."""
    found = b""
    with line(url) as one, contextlib.suppress(ConnectionError):
        one.sendall(sent)
        while chunk := one.recv(65536):
            found += chunk
    return found


def post(device: TestDevice, content: bytes, *lines: bytes) -> bytes:
    head = [b"POST " + device.path(Route.ENTRIES).encode() + b" HTTP/1.1", b"Host: x"]
    head += [f"{name}: {value}".encode() for name, value in device.headers.items()]
    return b"\r\n".join([*head, *lines]) + b"\r\n\r\n" + content


SMUGGLED = b"GET /v1/service HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"


@pytest.mark.embedded
@pytest.mark.parametrize(
    "lines",
    [
        (b"Content-Length: %d", b"Content-Length: %d"),
        (b"Content-Length: %d", b"Content-Length: 0"),
        (b"Content-Length: 0", b"Content-Length: %d"),
        (b"Content-Length: %d, %d",),
        (b"Content-Length: +%d",),
        (b"Content-Length: -%d",),
        (b"Content-Length: 0x%x",),
        (b"Content-Length: %d 0",),
        (b"Content-Length: 99999999999999999999999",),
        (b"Content-Length : %d",),
        (b"Content-Length: %d", CHUNKED),
        (CHUNKED, b"Content-Length: %d"),
        (CHUNKED, CHUNKED),
        (b"Transfer-Encoding: chunked, identity",),
        (b"Transfer-Encoding: xchunked",),
        (b"Transfer-Encoding: identity, %d",),
        (b"Transfer-Encoding:\x0bchunked",),
        (b"Transfer-Encoding: gzip, chunked",),
        (b"Content-Length: %d", b"X-A: a\x00b"),
        (b"Content-Length: %d", b"X-A: a\rb"),
        (b"Content-Length: %d", b"X A: b"),
        (b"Content-Length: %d", b" folded"),
        (b"Content-Length: %d", b": nothing"),
    ],
    ids=repr,
)
def test_a_request_whose_end_is_doubtful_is_refused_whole_with_all_that_follows(
    server: ServerProcess, client: httpx.Client, data: Path, lines: tuple[bytes, ...]
) -> None:
    """Else the proxy in front could see one request where the service sees two."""
    (device,) = found_channel(client, data)
    asked = body(device.append())
    told = [one % ((len(asked),) * one.count(b"%")) for one in lines]
    for content in (asked + SMUGGLED, b"%x\r\n%b\r\n0\r\n\r\n" % (len(asked), asked) + SMUGGLED):
        found = answered(server.url, post(device, content, *told))
        assert found.count(b"HTTP/1.1 ") <= 1
        assert not found or found.split()[1] in (b"400", b"413", b"415", b"422"), found
        assert b"software" not in found
    assert client.get(device.path(Route.CHANNEL), headers=device.headers).json()["head"] == 0


@pytest.mark.embedded
@pytest.mark.parametrize("size", [b"FFFFFFFFFFFFFFFFF", b"-1", b"0x5", b"5 5", b""])
def test_a_chunk_of_a_doubtful_size_is_refused(
    server: ServerProcess, client: httpx.Client, data: Path, size: bytes
) -> None:
    (device,) = found_channel(client, data)
    found = answered(server.url, post(device, size + b"\r\nabcde\r\n0\r\n\r\n" + SMUGGLED, CHUNKED))
    assert b"software" not in found
    assert b" 201 " not in found


@pytest.mark.embedded
def test_lines_after_a_body_are_refused_and_not_kept(
    server: ServerProcess, client: httpx.Client, data: Path
) -> None:
    """They come without an end: each was kept, thirty times its size."""
    (device,) = found_channel(client, data)
    asked = body(device.append())
    where = urlsplit(server.url)
    with socket.create_connection((where.hostname, where.port), 20) as one:
        one.sendall(post(device, b"%x\r\n%b\r\n0\r\n" % (len(asked), asked), CHUNKED))
        with pytest.raises(ConnectionError):
            for _ in range(200):
                one.sendall(b"A:\r\n" * 10_000)
    assert client.get(device.path(Route.CHANNEL), headers=device.headers).json()["head"] == 0


@pytest.mark.embedded
@pytest.mark.parametrize(
    "first",
    [
        b"GET /v1/service HTTP/1.1\n",
        b"GET /v1/service HTTP/1.1 \r\nX\r\n",
        b"GET  /v1/service HTTP/1.1\r\n",
        b"GET /v1/\xff\xfe HTTP/1.1\r\n",
        b"GET /v1/\x00service HTTP/1.1\r\n",
        b"CONNECT example.org:80 HTTP/1.1\r\n",
        b"get /v1/service HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n",
    ],
    ids=repr,
)
def test_a_first_line_of_another_form_gets_no_service(
    server: ServerProcess, client: httpx.Client, first: bytes
) -> None:
    found = answered(server.url, first + b"Host: x\r\nConnection: close\r\n\r\n")
    assert b"Traceback" not in found
    assert b"Internal" not in found
    if b" 200 " in found:
        assert first.startswith((b"GET /v1/service HTTP/1.1", b"GET  /v1/service"))
    assert client.get(Route.SERVICE).status_code == 200


@pytest.mark.embedded
def test_a_request_to_speak_another_protocol_is_answered_in_this_one(server: ServerProcess) -> None:
    for other in (b"websocket", b"h2c"):
        asked = b"GET /v1/service HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: " + other + b"\r\n\r\n"
        with line(server.url) as one:
            one.sendall(asked)
            assert one.recv(65536).split()[1] == b"200"


def test_no_encoding_of_a_body_is_undone(server: ServerProcess, client: httpx.Client, data: Path) -> None:
    """A few hundred bytes could become gigabytes."""
    (device,) = found_channel(client, data)
    for encoding in ("gzip", "deflate", "br", "zstd", "identity, gzip", "GZIP", "x-gzip", "unknown"):
        headers = {**device.headers, "Content-Encoding": encoding}
        answer = client.post(device.path(Route.ENTRIES), content=body(device.append()), headers=headers)
        assert (answer.status_code, problem(answer)) == (415, "media-type")
    asked = body(device.append())
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(asked), asked)
    for coding in (b"gzip, chunked", b"deflate, gzip, chunked"):
        found = answered(server.url, post(device, chunk, b"Transfer-Encoding: " + coding))
        assert found.split()[1] == b"415"
    assert device.page(client).json()["head"] == 0


def test_an_append_that_meets_a_fault_of_ours_gets_a_problem_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with threaded(Settings(tmp_path)) as url, httpx.Client(base_url=url, timeout=20) as client:
        (device,) = found_channel(client, tmp_path)

        async def broken(_self: Registry, _channel: bytes) -> None:
            raise ZeroDivisionError(b64(device.token))

        monkeypatch.setattr(Registry, "find", broken)
        monkeypatch.setattr(Registry, "fresh", broken)
        for answer in (device.send(client), device.page(client)):
            assert (answer.status_code, problem(answer)) == (503, "unavailable")


# --- weight ----------------------------------------------------------------------------------------------------


def test_a_page_that_its_reader_does_not_take_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page has megabytes, and a device may ask for many."""
    monkeypatch.setattr(connection, "ANSWER_PATIENCE", 1.0)
    with threaded(Settings(tmp_path)) as url, httpx.Client(base_url=url, timeout=20) as client:
        (device,) = found_channel(client, tmp_path)
        for _ in range(9):
            device.send(client, sealed=secrets.token_bytes(limits.MAX_SEALED)).raise_for_status()
        lines = (f"GET {device.path(Route.ENTRIES)} HTTP/1.1", "Host: x")
        asked = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in device.headers.items())]) + "\r\n\r\n"
        where = urlsplit(url)
        with socket.socket() as stuck:
            stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stuck.connect((where.hostname, where.port))
            stuck.sendall(asked.encode())
            time.sleep(4)
            left = 0  # what the kernel had taken of it
            while chunk := stuck.recv(65536):
                left += len(chunk)
            assert left < limits.MAX_PAGE_BYTES, "it was held"
        slow = slowly(url, asked.encode())
        assert slow.startswith(b"HTTP/1.1 200 ")
        assert slow.endswith(b"]}")


@pytest.mark.embedded
def test_a_request_that_comes_before_the_last_was_answered_ends_the_connection_and_is_not_done(
    server: ServerProcess, client: httpx.Client, data: Path
) -> None:
    """Also behind a stream, which is answered for as long as it lasts."""
    (device,) = found_channel(client, data)
    headers = "".join(f"{name}: {value}\r\n" for name, value in device.headers.items())
    stream = f"GET {device.path(Route.STREAM)} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode()
    asked = body(device.append())
    for first in (stream, post(device, asked, b"Content-Length: %d" % len(asked))):
        again = body(device.append(count=2))
        answered(server.url, first + post(device, again, b"Content-Length: %d" % len(again)))
    assert client.get(device.path(Route.CHANNEL), headers=device.headers).json()["head"] <= 1
    assert client.get(Route.SERVICE).status_code == 200


def slowly(url: str, asked: bytes) -> bytes:
    """Who takes a little at a time gets all of it."""
    found = b""
    where = urlsplit(url)
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        one.connect((where.hostname, where.port))
        one.sendall(asked)
        while b"]}" not in found[-4:]:
            chunk = one.recv(65536)
            assert chunk, "it was cut off"
            found += chunk
            time.sleep(0.01)
    return found


def test_large_bodies_of_strangers_have_a_limit_together_and_small_ones_are_taken_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "MOST_UNDER_WAY", 2 * 1024 * 1024)
    large = limits.MAX_REQUEST_BODY
    head = f"POST {Route.DESK} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {large}\r\n\r\n"
    with (
        threaded(Settings(tmp_path)) as url,
        httpx.Client(base_url=url, timeout=20) as client,
        contextlib.ExitStack() as stack,
    ):
        (device,) = found_channel(client, tmp_path)
        held = []
        for _ in range(4):
            one = stack.enter_context(line(url))
            with contextlib.suppress(ConnectionError):
                one.sendall(head.encode() + b" " * (large - 1))
            held.append(one)
            time.sleep(0.2)
        refused = 0
        for one in held:
            one.settimeout(1)
            with contextlib.suppress(TimeoutError, ConnectionError):
                refused += one.recv(65536).startswith(b"HTTP/1.1 503 ")
        assert refused >= 2
        assert device.send(client).status_code == 201
        for one in held:
            one.close()
        deadline = time.monotonic() + 20
        sealed = secrets.token_bytes(limits.MAX_SEALED)
        while device.send(client, sealed=sealed).status_code != 201:
            assert time.monotonic() < deadline


@pytest.mark.slow
@pytest.mark.long_on_postgresql
def test_a_tenant_that_floods_does_not_take_the_service_from_another(engine: str, place: Path) -> None:
    """Sixteen connections ask for large entries as fast as they can: a pace holds each of their devices."""
    burst, rate, devices, seconds = 5, 1, 4, 4.0
    with running(place) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        flooding = found_channel(client, place, devices)
        first = flooding[0].send(client, sealed=secrets.token_bytes(limits.MAX_SEALED)).json()["seq"]
        (calm,) = found_channel(client, place)
    with running(place, "--requests-burst", str(burst), "--requests-rate", str(rate)) as server:
        served, refused, began = [0], [0], time.monotonic()
        until = time.monotonic() + seconds

        def flood(device: TestDevice) -> None:
            with httpx.Client(base_url=server.url, timeout=60) as own:
                while time.monotonic() < until:
                    answer = device.page(own, after=first - 1, limit=1)
                    (served if answer.status_code == 200 else refused)[0] += 1
                    assert answer.status_code in (200, 429)

        threads = [threading.Thread(target=flood, args=(device,)) for device in flooding for _ in range(4)]
        for thread in threads:
            thread.start()
        taken = []
        with httpx.Client(base_url=server.url, timeout=60) as own:
            while time.monotonic() < until:
                answer = calm.send(own)
                assert answer.status_code == 201
                taken.append(answer.elapsed.total_seconds())
                time.sleep(0.5)
        for thread in threads:
            thread.join()
        elapsed = time.monotonic() - began
    taken.sort()
    print(
        f"{engine}: {served[0]} pages of 512 KiB served, {refused[0]} refused; the other waited"
        f" {statistics.median(taken) * 1000:.0f} ms in the middle, {taken[-1] * 1000:.0f} ms at most"
    )
    assert refused[0]
    assert served[0] <= devices * (burst + rate * elapsed)
    assert statistics.median(taken) < 1
