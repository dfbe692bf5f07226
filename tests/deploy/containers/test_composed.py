"""`deploy/compose.yaml` as it stands: two services, PostgreSQL, NATS and the proxy, under load and restarts."""

import contextlib
import json
import random
import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from tests.faults.load import Author, Reader, ended

from pourparler_policies.wire import Route
from pourparler_service.testing import TestDevice, b64

from ..front import free_port
from .engine import DEPLOY, NOFILE, NPROC, Engine, compose_command
from .test_image import MOUNTPOINTS, assert_nobody, found

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

SERVICES = ("service-1", "service-2")
OTHERS = ("database", "outside", "bus", "proxy")


class Composed:
    """What compose.yaml says, run from a copy of `deploy`; its ports are others, its limits those of this machine."""

    def __init__(self, engine: Engine, root: Path, command: list[str]) -> None:
        self.engine, self.root, self.tls = engine, root, free_port()
        shutil.copytree(DEPLOY, root, dirs_exist_ok=True)
        text = (root / "compose.yaml").read_text()
        text = text.replace('"443:443"', f'"127.0.0.1:{self.tls}:443"').replace(
            '"80:80"', f'"127.0.0.1:{free_port()}:80"'
        )
        (root / "compose.yaml").write_text(text)
        here = {"ulimits": {"core": 0, "nofile": NOFILE, "nproc": NPROC}}
        (root / "here.yaml").write_text(yaml.safe_dump({"services": dict.fromkeys((*SERVICES, *OTHERS), here)}))
        (root / "tls").mkdir(mode=0o700)
        pair = ["-keyout", root / "tls" / "key.pem", "-out", root / "tls" / "fullchain.pem"]
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "2", *names, *pair],
            check=True,
            capture_output=True,
        )
        self.command = [*command, "-f", "compose.yaml", "-f", "here.yaml"]
        self.run("up", "--detach", "--no-build")
        self.url = f"https://localhost:{self.tls}"
        self.engine.wait(self.serves, "the service answers behind its proxy", 120)

    def run(self, *arguments: str) -> None:
        """Run compose."""
        done = subprocess.run(
            [*self.command, *arguments],
            cwd=self.root,
            env=self.engine.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]

    def serves(self) -> bool:
        """Whether both services listen, and the proxy reaches one."""
        if not all(self.listens(one) for one in SERVICES):
            return False
        try:
            with self.client() as client:
                return client.get(Route.SERVICE).status_code == 200
        except httpx.TransportError:
            return False

    def listens(self, service: str) -> bool:
        """By the health check of compose.yaml."""
        return self.engine.try_podman("healthcheck", "run", name(service)).returncode == 0

    @contextlib.contextmanager
    def away(self, service: str) -> Iterator[None]:
        """Without one service, which was asked to stop and did so in order."""
        self.engine.podman("stop", "--time", "30", name(service))
        try:
            (told,) = json.loads(self.engine.podman("inspect", name(service)))
            assert told["State"]["ExitCode"] == 0
            yield
        finally:
            self.engine.podman("start", name(service))
            self.engine.wait(lambda: self.listens(service), f"{service} is back")

    def sends(self, device: TestDevice) -> bool:
        """Whether an entry is taken, as a client tries: a proxy that finds nobody is asked again."""
        with self.client() as client:
            answer = device.send(client)
        assert answer.status_code in (201, 502, 503, 504), answer.text
        return answer.status_code == 201

    def inside(self, service: str, *command: str) -> str:
        """Run a command in a container."""
        return self.engine.podman("exec", name(service), *command)

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.root / "tls" / "fullchain.pem"))

    def client(self) -> httpx.Client:
        """A client of the proxy."""
        return httpx.Client(base_url=self.url, verify=self.trust, trust_env=False, timeout=20)

    def found(self, devices: int) -> list[TestDevice]:
        """A channel, by a grant of the command in a container."""
        with self.client() as client:
            return found(client, self.inside("service-1", "pourparler", "grant"), devices)


def name(service: str) -> str:
    return f"pourparler_{service}_1"


@pytest.fixture(scope="module")
def composed(engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    command = compose_command()
    if command is None:
        pytest.skip("needs podman-compose 1.1 or newer: `make walk-containers` installs it")
    composed = Composed(engine, tmp_path_factory.mktemp("deploy"), command)
    yield composed
    composed.run("down", "--volumes")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_runs_as_nobody_with_nothing(composed: Composed, service: str) -> None:
    assert_nobody(composed.inside(service, "sh", "-c", "cat /proc/[0-9]*/status"))
    (told,) = json.loads(composed.engine.podman("inspect", name(service)))
    assert told["HostConfig"]["ReadonlyRootfs"]
    assert told["HostConfig"]["Memory"] == 1 << 30


@pytest.mark.parametrize("other", OTHERS)
def test_no_other_container_keeps_a_right_that_it_does_not_need(composed: Composed, other: str) -> None:
    listed = composed.engine.podman("top", name(other), "capeff", "user", "comm").splitlines()[1:]
    lasting = {line.split()[0] for line in listed if "master" not in line and "root" not in line}
    assert lasting <= {"none"}
    (compose,) = yaml.safe_load_all((DEPLOY / "compose.yaml").read_text())
    given = {one for line in listed for one in line.split()[0].split(",")} - {"none"}
    assert given <= set(compose["services"][other].get("cap_add", ()))


def test_the_program_finds_nothing_wrong_with_where_it_runs(composed: Composed) -> None:
    for service in SERVICES:
        told = composed.inside(service, "pourparler", "serve", "--check", "--port", "0")
        assert told == "Nothing is wrong with these settings.\n"


def test_only_the_services_reach_the_databases_and_they_reach_nothing_else(composed: Composed) -> None:
    def reaches(service: str, host: str, port: int) -> bool:
        line = f"import socket; socket.create_connection(('{host}', {port}), 3)"
        return composed.engine.try_podman("exec", name(service), "python", "-c", line).returncode == 0

    assert reaches("service-1", "database", 5432)
    assert reaches("service-1", "outside", 5432)
    assert not reaches("service-1", "192.0.2.1", 443)
    for service in SERVICES:  # no way out: neither network has a gateway
        assert not [
            line
            for line in composed.inside(service, "cat", "/proc/net/route").splitlines()
            if "\t00000000\t" in line[:20]
        ]
    networks = {
        one: set(json.loads(composed.engine.podman("inspect", name(one)))[0]["NetworkSettings"]["Networks"])
        for one in ("proxy", "database", "outside", "bus")
    }
    assert not networks.pop("proxy") & set.union(*networks.values())


def test_a_rolling_restart_behind_the_proxy_loses_nothing(composed: Composed) -> None:
    devices = composed.found(3)
    authors = [Author(one, lambda: composed.url, random.Random(one.device), composed.trust) for one in devices]
    reader = Reader(devices[0], lambda: composed.url, composed.trust)
    for one in (*authors, reader):
        one.start()
    for service in SERVICES:
        time.sleep(2)
        before = sum(len(author.receipts) for author in authors)
        with composed.away(service):
            time.sleep(3)
            assert sum(len(author.receipts) for author in authors) > before, "the other one serves meanwhile"
    time.sleep(2)
    expected = ended(authors, 30)
    assert not [wrong for author in authors for wrong in author.wrong]
    assert len(expected) > 20
    composed.engine.wait(lambda: expected.items() <= dict(reader.seen).items(), "the reader has everything", 30)
    reader.ending.set()
    reader.join(30)
    assert len({seq for seq, _ in reader.seen}) == len(reader.seen)


def test_each_service_is_found_by_the_proxy_again_when_the_other_is_away(composed: Composed) -> None:
    (device,) = composed.found(1)
    for service in SERVICES:
        with composed.away(service):
            composed.engine.wait(lambda: composed.sends(device), f"an entry is taken without {service}", 15)


def test_an_upgrade_as_the_guide_says_it_replaces_one_service_and_touches_nothing_else(composed: Composed) -> None:
    def ids() -> dict[str, str]:
        return {
            one: json.loads(composed.engine.podman("inspect", name(one)))[0]["Id"] for one in (*SERVICES, *OTHERS)
        }

    guide = (DEPLOY.parent / "docs" / "guides" / "operator.md").read_text()
    told = re.search(r"`(up [^`]*--force-recreate) service-1`", guide)
    assert told
    (device,) = composed.found(1)
    for service in SERVICES:
        before = ids()
        composed.run(*told[1].split(), service)
        composed.engine.wait(lambda: composed.sends(device), f"an entry is taken while {service} is new", 10)
        composed.engine.wait(lambda one=service: composed.listens(one), f"{service} is there")  # type: ignore[misc]
        after = ids()
        assert {one for one in after if after[one] != before[one]} == {service}
        time.sleep(5)


def test_a_wake_up_comes_from_the_other_service_over_the_bus(composed: Composed) -> None:
    (device,) = composed.found(1)
    heard: list[str] = []
    for service in SERVICES:
        line = (
            "import sys, urllib.request as r; "
            f"s = r.urlopen(r.Request('http://127.0.0.1:8470{device.path(Route.STREAM)}?after=' + sys.argv[1],"
            f" headers={device.headers!r}), timeout=20); print('open', flush=True);"
            " print(next(one for one in s if one.startswith(b'event: entry')), flush=True)"
        )
        with subprocess.Popen(
            ["podman", "exec", name(service), "python", "-c", line, str(device.count)],
            env=composed.engine.environment,
            stdout=subprocess.PIPE,
            text=True,
        ) as listening:
            assert listening.stdout is not None
            assert listening.stdout.readline() == "open\n"
            with composed.client() as client:
                assert device.send(client).status_code == 201
            heard.append(listening.communicate(timeout=30)[0])
    assert all("entry" in one for one in heard)


def test_a_database_that_starts_again_brings_no_service_down_for_good(composed: Composed) -> None:
    (device,) = composed.found(1)
    for database in ("database", "outside"):
        began = time.monotonic()
        composed.engine.podman("restart", "--time", "60", name(database))
        assert time.monotonic() - began < 30, "it was asked to stop, and not killed"
        assert "not properly shut down" not in composed.engine.logs(name(database))
        composed.engine.wait(composed.serves, f"the services are back after {database}", 90)
        composed.engine.wait(lambda: composed.sends(device), f"an entry is taken after {database}", 60)


def test_a_copy_of_the_first_database_is_made_by_pg_dump(composed: Composed) -> None:
    (device,) = composed.found(1)
    dumped = composed.inside("database", "pg_dump", "--username", "pourparler", "pourparler")
    assert device.channel.hex() in dumped


def test_no_log_names_a_channel_a_device_a_token_an_address_or_a_request(composed: Composed) -> None:
    """Last, when everything above has happened."""
    devices = composed.found(2)
    with composed.client() as client:
        for device in devices:
            client.get("/none-such", headers=device.headers)
            entry = device.append()
            assert device.send(client, entry).status_code == 201
            device.send(client, entry)  # again, as after a broken line
            device.send(client, device.append(count=1))
    twice = "CREATE TEMP TABLE t (a text UNIQUE); INSERT INTO t VALUES ('CANARY'); INSERT INTO t VALUES ('CANARY')"
    for database in ("database", "outside"):  # a fault, as a defect of ours might bring one about
        asked = ["psql", "--username=pourparler", "--dbname=postgres", "--command", twice]
        assert composed.engine.try_podman("exec", name(database), *asked).returncode == 1
    secret = {"CANARY"} | {b64(x) for one in devices for x in (one.channel, one.device, one.token)}
    secret |= {x.hex() for one in devices for x in (one.channel, one.device, one.token)}
    # As whom the proxy sees people here, and as whom the services see the proxy.
    (seen,) = json.loads(composed.engine.podman("inspect", name("proxy")))
    networks = seen["NetworkSettings"]["Networks"].values()
    clients = {told[key] for told in networks for key in ("Gateway", "IPAddress")} - {""}
    assert len(clients) >= 3
    for service in (*SERVICES, *OTHERS):
        written = composed.engine.logs(name(service))
        assert not [one for one in secret if one in written], service
        assert not re.search(r"GET|POST|127\.0\.0\.1:\d", written), f"{service}: {written}"
        assert not [one for one in clients if one in written], f"{service}: {written}"
        assert "Traceback" not in written
        assert not re.search(r"\b(STATEMENT|DETAIL|CONTEXT)\b", written), f"{service}: {written[-4000:]}"


def test_nothing_is_written_in_a_container_outside_its_volumes(composed: Composed) -> None:
    for service in (*SERVICES, "bus", "proxy"):
        changed = composed.engine.podman("diff", name(service)).splitlines()
        assert not [one for one in changed if one[2:] not in MOUNTPOINTS | PROXY_MOUNTPOINTS], (service, changed)


PROXY_MOUNTPOINTS = {
    "/etc/nginx", "/etc/nginx/conf.d", "/etc/nginx/conf.d/default.conf", "/etc/nginx/conf.d/pourparler-upstream.conf",
    "/etc/pourparler", "/etc/pourparler/tls",
}  # fmt: skip
