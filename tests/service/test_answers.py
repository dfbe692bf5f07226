"""Large answers that nobody takes, and streams that end before they began: neither weighs on the service."""

import contextlib
import resource
import secrets
import socket
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.bench.service.processes import cpu

from pourparler_policies import limits
from pourparler_policies.wire import Route
from pourparler_service import answers
from pourparler_service.app import DOCUMENT
from pourparler_service.connection import MOST_DESCRIPTORS
from pourparler_service.pages import Pages
from pourparler_service.testing import (
    ServerProcess,
    TestDevice,
    b64,
    found_channel,
    problem,
    running,
    settings_of,
    threaded,
)

MB = 1024**2


def asking(path: str, headers: dict[str, str]) -> bytes:
    told = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "x", **headers}.items())
    return f"GET {path} HTTP/1.1\r\n{told}\r\n".encode()


def stuck(url: str, asked: bytes, stack: contextlib.ExitStack) -> socket.socket:
    """Asks, and takes nothing."""
    where = urlsplit(url)
    one = stack.enter_context(socket.socket())
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.connect((where.hostname, where.port))
    one.sendall(asked)
    return one


def filled(client: httpx.Client, device: TestDevice) -> None:
    """So that a page has 5.6 MB."""
    for _ in range(9):
        device.send(client, sealed=secrets.token_bytes(limits.MAX_SEALED)).raise_for_status()


def resident(server: ServerProcess) -> int:
    told = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(told.partition("VmRSS:")[2].split()[0]) * 1024


@pytest.mark.long_on_postgresql
def test_a_member_that_takes_no_answer_fills_neither_the_memory_nor_its_channels_share(place: Path) -> None:
    """Sixty pages are asked for and not taken; another device of the channel reads meanwhile."""
    with (
        running(place) as server,
        httpx.Client(base_url=server.url, timeout=30) as client,
        contextlib.ExitStack() as stack,
    ):
        device, other = found_channel(client, place, 2)
        filled(client, device)
        before = resident(server)
        asked = asking(device.path(Route.ENTRIES), device.headers)
        held = [stuck(server.url, asked, stack) for _ in range(60)]
        told = [status(one) for one in held]
        assert told.count(200) <= answers.A_TOKEN // limits.MAX_PAGE_BYTES
        assert told.count(429) == 60 - told.count(200)
        assert resident(server) - before < 100 * MB
        assert len(other.page(client, after=1).json()["entries"]) == 8
        for one in held:
            one.close()
        deadline = time.monotonic() + 20
        while device.page(client).status_code != 200:  # what is not taken any more is not counted any more
            assert time.monotonic() < deadline
            time.sleep(0.1)


def status(one: socket.socket) -> int:
    one.settimeout(30)
    return int(one.recv(12).split()[1])


@pytest.mark.long_on_postgresql
def test_an_answers_share_is_one_however_its_token_and_its_place_are_written(place: Path) -> None:
    """`=`, and the letters of `Bearer`, may be written in many ways."""
    with (
        threaded(settings_of(place)) as url,
        httpx.Client(base_url=url, timeout=30) as client,
        contextlib.ExitStack() as stack,
    ):
        (device,) = found_channel(client, place)
        filled(client, device)
        path = device.path(Route.ENTRIES)
        odd = path.replace(b64(device.channel), b64(device.channel) + "%3D%3D")
        words = ("Bearer", "bearer", "BEARER", "bEARER")
        told = [
            status(stuck(url, asking(at, {"Authorization": f"{word} {b64(device.token)}{end}"}), stack))
            for word in words
            for at in (path, odd)
            for end in ("", "=")
        ]
        assert told.count(200) <= answers.A_TOKEN // limits.MAX_PAGE_BYTES


@pytest.mark.long_on_postgresql
def test_strangers_and_tenants_have_shares_of_their_own(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here of one and a half documents: who holds them keeps the document from strangers, and nothing from members."""
    with (
        threaded(settings_of(place)) as url,
        httpx.Client(base_url=url, timeout=30) as client,
        contextlib.ExitStack() as stack,
    ):
        (device,), (calm,) = found_channel(client, place), found_channel(client, place)
        for one in (device, calm):
            filled(client, one)
        size = len(device.page(client).content)
        monkeypatch.setattr(answers, "A_PLACE", size * 3 // 2)
        monkeypatch.setattr(answers, "A_TOKEN", 10 * size)
        assert status(stuck(url, asking(device.path(Route.ENTRIES), device.headers), stack)) == 200
        assert problem(device.page(client)) == "unavailable"
        assert calm.page(client).status_code == 200
        assert client.get(DOCUMENT).status_code == 200
        assert device.page(client, limit=1, after=8).status_code == 200, "the rest of its share"
        monkeypatch.setattr(answers, "ALL", size * 3 // 2)
        assert problem(calm.page(client)) == "unavailable"


@pytest.mark.embedded
def test_a_channel_that_asks_for_many_pages_at_once_waits_and_not_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, takes = Pages._read, 0.1

    def slow(*about: Any) -> Any:
        time.sleep(takes)
        return read(*about)

    monkeypatch.setattr(Pages, "_read", slow)
    with threaded(settings_of(tmp_path)) as url, httpx.Client(base_url=url, timeout=30) as client:
        (device,), (calm,) = found_channel(client, tmp_path), found_channel(client, tmp_path)
        for one in (device, calm):  # more than is kept at hand
            for _ in range(3):
                one.send(client, sealed=secrets.token_bytes(limits.MAX_SEALED)).raise_for_status()
        asked = asking(device.path(Route.ENTRIES) + "?limit=1", device.headers)
        with contextlib.ExitStack() as stack:
            many = [stuck(url, asked, stack) for _ in range(16)]
            assert status(many[0]) == 200
            began = time.monotonic()
            assert calm.page(client, limit=1).status_code == 200
            assert time.monotonic() - began < 8 * takes
            assert [status(one) for one in many[1:]] == [200] * 15


@pytest.mark.embedded
def test_the_services_document_costs_no_more_than_other_answers(
    server: ServerProcess, client: httpx.Client
) -> None:
    """Written anew for everybody who asks, it would take the service from all the others."""

    def cost(path: str) -> float:
        before = cpu(server.process.pid)
        for _ in range(300):
            client.get(path).raise_for_status()
        return cpu(server.process.pid) - before

    client.get(DOCUMENT)
    assert cost(DOCUMENT) < 3 * cost(Route.SERVICE) + 0.05


@pytest.mark.embedded
def test_idle_connections_make_room_for_who_asks_and_files_can_be_opened(tmp_path: Path) -> None:
    """Also for a service to which the system gives few, and beside a stream, which stays."""
    with (
        running(tmp_path) as server,
        httpx.Client(base_url=server.url, timeout=20) as client,
        contextlib.ExitStack() as stack,
    ):
        (device,) = found_channel(client, tmp_path)
        file = device.attach(client, limits.ATTACHMENT_SIZES[0])
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (256, 256))
        where = urlsplit(server.url)
        stream = stack.enter_context(socket.create_connection((where.hostname, where.port), 20))
        stream.sendall(asking(device.path(Route.STREAM), device.headers))
        assert stream.recv(12).endswith(b" 200")
        for number in range(500):
            one = stack.enter_context(socket.create_connection((where.hostname, where.port), 20))
            if number % 3:
                one.sendall(b"GET /" if number % 2 else asking(Route.SERVICE, {}))
        with httpx.Client(base_url=server.url, timeout=20) as fresh:
            assert device.send(fresh).status_code == 201
            assert file.put(fresh, 0, bytes(file.size)).status_code == 204
        assert b"event: entry" in everything_until(stream, b"event: entry")
        assert server.stop() == (0, "")


def everything_until(one: socket.socket, mark: bytes) -> bytes:
    found = b""
    while mark not in found:
        chunk = one.recv(65536)
        assert chunk, "it was cut off"
        found += chunk
    return found


@pytest.mark.embedded
def test_the_service_takes_as_many_descriptors_as_the_system_gives(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    try:
        server = ServerProcess(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    taken = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[0]
    server.stop()
    assert taken == min(hard, MOST_DESCRIPTORS)


@pytest.mark.long_on_postgresql
def test_a_stream_that_ends_before_it_began_is_no_fault(
    server: ServerProcess, client: httpx.Client, data: Path
) -> None:
    """A newer stream of its device ends it; many at once end each other at every instant."""
    (device,) = found_channel(client, data)
    asked = asking(device.path(Route.STREAM), device.headers)
    told: list[bytes] = []

    def again() -> None:
        where = urlsplit(server.url)
        for _ in range(25):
            with socket.create_connection((where.hostname, where.port), 20) as one:
                one.sendall(asked)
                told.append(one.recv(12))

    threads = [threading.Thread(target=again) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.split()[1] for answer in told} <= {b"200", b"429"}
