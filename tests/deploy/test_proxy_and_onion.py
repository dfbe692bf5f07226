"""The proxy's and Tor's files are run: nginx before a real service, and Tor over its own configuration."""

import contextlib
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pourparler_policies.wire import Route
from pourparler_service.connection import MAX_HEAD
from pourparler_service.testing import ServerProcess, found_channel

from .front import NGINX, OPENSSL, Front

DEPLOY = Path(__file__).parents[2] / "deploy"
TOR = shutil.which("tor", path="/usr/sbin:/usr/bin:/sbin:/bin")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("service"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def front(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    if NGINX is None or OPENSSL is None:
        pytest.skip("nginx is not installed (Debian: nginx-light)")
    front = Front(tmp_path_factory.mktemp("front"), server.url)
    yield front
    front.close()


def test_talk_through_the_proxy_is_as_without_and_a_stream_is_not_held_back(
    front: Front, server: ServerProcess
) -> None:
    with front.client() as client:
        (device,) = found_channel(client, server.data)
        stream = device.path(Route.STREAM)
        heard: list[float] = []
        listening = threading.Event()

        def listen() -> None:
            with client.stream("GET", f"{stream}?after=0", headers=device.headers) as answer:
                listening.set()
                for line in answer.iter_lines():
                    if line.startswith("event: entry"):
                        heard.append(time.monotonic())
                        return

        reader = threading.Thread(target=listen)
        reader.start()
        assert listening.wait(20), "the stream's head came"
        with front.client() as other:
            assert device.send(other).status_code == 201
        reader.join(10)  # a proxy that buffers would hold it back until the next sign of life, 15 seconds away
        assert heard


def test_largest_request_passes_and_a_larger_one_does_not(front: Front, server: ServerProcess) -> None:
    with front.client() as client:
        for size, refused_by_proxy in ((1536 * 1024, False), (1536 * 1024 + 1, True)):
            answer = client.post(Route.CHANNELS, content=bytes(size), headers={"Content-Type": "application/json"})
            assert (answer.headers["content-type"] == "text/html") is refused_by_proxy
            assert answer.status_code in (401, 413, 422)


def test_plain_http_is_sent_to_tls(front: Front) -> None:
    answer = httpx.get(f"http://127.0.0.1:{front.plain}/board", trust_env=False)
    assert (answer.status_code, answer.headers["location"].startswith("https://")) == (301, True)


def test_the_board_keeps_its_policy_behind_the_proxy(front: Front) -> None:
    with front.client() as client:
        board = client.get("/board")
    assert "default-src 'none'" in board.headers["content-security-policy"]
    assert board.headers["strict-transport-security"]


def test_nothing_of_who_came_is_written_anywhere(front: Front, server: ServerProcess) -> None:
    with front.client() as client:
        (device,) = found_channel(client, server.data)
        client.get("/none-such", headers=device.headers)
        client.get("/" + "x" * MAX_HEAD)
    written = [one for one in front.root.rglob("*.log") if one.stat().st_size]
    assert not [one for one in written if b"127.0.0.1" in one.read_bytes() or b"GET" in one.read_bytes()]
    assert not [*(front.root / "temp").glob("*")]


def test_a_machine_that_is_gone_is_passed_over_and_does_not_even_refuse(
    server: ServerProcess, tmp_path: Path
) -> None:
    if NGINX is None or OPENSSL is None:
        pytest.skip("nginx is not installed (Debian: nginx-light)")
    with socket.create_server(("127.0.0.1", 0), backlog=0) as gone, contextlib.ExitStack() as full:
        for _ in range(3):  # its queue is full: from now on it does not answer, as a machine without power
            one = full.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(gone.getsockname())
        front = Front(tmp_path, f"http://127.0.0.1:{gone.getsockname()[1]}", server.url)
        full.callback(front.close)
        with front.client() as client:
            began = time.monotonic()
            assert [client.get(Route.SERVICE).status_code for _ in range(4)] == [200] * 4
            assert [client.post(Route.CHANNELS, content=b"{}").status_code for _ in range(2)] == [401] * 2
            assert time.monotonic() - began < 10


def test_tor_takes_the_onion_services_lines(tmp_path: Path) -> None:
    if TOR is None:
        pytest.skip("tor is not installed (Debian: tor)")
    lines = (DEPLOY / "tor" / "torrc").read_text().replace("/var/lib/tor/pourparler", str(tmp_path / "onion"))
    (tmp_path / "torrc").write_text(lines + f"\nDataDirectory {tmp_path}/data\n")
    done = subprocess.run(
        [
            TOR,
            "--verify-config",
            "-f",
            tmp_path / "torrc",
            "--ignore-missing-torrc",
            "--defaults-torrc",
            "/dev/null",
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    assert "Configuration was valid" in done.stdout
    assert not re.search(r"deprecated|unrecognized|ignor", done.stdout, re.IGNORECASE), done.stdout
