"""The proxy's and Tor's files are run: nginx before a real service, and Tor over its own configuration."""

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

DEPLOY = Path(__file__).parents[2] / "deploy"
NGINX, TOR, OPENSSL = (
    shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") for name in ("nginx", "tor", "openssl")
)


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


class Front:
    """nginx with the file of `deploy`, its ports and paths for this test."""

    def __init__(self, root: Path, service: int) -> None:
        assert NGINX is not None
        self.root, self.tls, self.plain = root, free_port(), free_port()
        pair = ["-keyout", root / "key.pem", "-out", root / "fullchain.pem"]
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        subprocess.run(
            [str(OPENSSL), "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "2", *names, *pair],
            check=True,
            capture_output=True,
        )
        site = "".join(one.read_text() for one in sorted((DEPLOY / "nginx").glob("*.conf")))
        site = re.sub(r"listen \[::\]:\d+[^;]*;", "", site)
        site = site.replace("listen 443", f"listen 127.0.0.1:{self.tls}").replace(
            "listen 80", f"listen 127.0.0.1:{self.plain}"
        )
        site = site.replace("127.0.0.1:8470", f"127.0.0.1:{service}").replace("/etc/pourparler/tls", str(root))
        temporary = "".join(
            f"{kind}_temp_path {root}/temp;\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (root / "site.conf").write_text(site)
        (root / "nginx.conf").write_text(
            f"daemon off; pid {root}/pid; error_log {root}/main.log; events {{ }}\n"
            f"http {{ access_log {root}/access.log; {temporary} include {root}/site.conf; }}"
        )
        self.process = subprocess.Popen([NGINX, "-c", root / "nginx.conf", "-p", root], stderr=subprocess.PIPE)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not (root / "pid").exists():
            time.sleep(0.05)
        self.url = f"https://localhost:{self.tls}"

    def client(self) -> httpx.Client:
        import ssl

        trust = ssl.create_default_context(cafile=str(self.root / "fullchain.pem"))
        return httpx.Client(base_url=self.url, verify=trust, trust_env=False, timeout=20)

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=20)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("service"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def front(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    if NGINX is None or OPENSSL is None:
        pytest.skip("nginx is not installed (Debian: nginx-light)")
    front = Front(tmp_path_factory.mktemp("front"), int(server.url.rpartition(":")[2]))
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
