"""Large answers that nobody takes, and streams that end before they began: neither weighs on the service."""

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from pourparler_policies import limits
from pourparler_policies.wire import Route
from pourparler_service import answers
from pourparler_service.app import DOCUMENT
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


@pytest.mark.slow
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


def test_the_services_document_costs_no_more_than_other_answers(client: httpx.Client) -> None:
    """Written anew for everybody who asks it would take the service from all the others."""

    def fastest(path: str) -> float:
        return min(client.get(path).elapsed.total_seconds() for _ in range(20))

    client.get(DOCUMENT)
    assert fastest(DOCUMENT) < 4 * fastest(Route.SERVICE) + 0.001


def test_a_stream_that_ends_before_it_began_is_no_fault(server: ServerProcess, client: httpx.Client, data: Path) -> None:
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


