"""The image of `deploy/Containerfile`: what is in it, and how it runs with no rights and nowhere to write."""

import contextlib
import json
import re
import secrets
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from pourparler_policies import limits, wire
from pourparler_policies.wire import Route
from pourparler_service.access import unpad
from pourparler_service.testing import TestDevice, bearer, events, seat

from ..front import free_port
from .conftest import CANARY, PRIVATE
from .engine import DEPLOY, ROOT, Engine, images

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

CONFINED = [
    *("--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
    *("--memory=1g", "--memory-swap=1g", "--ulimit=core=0", "--init"),
]
PACKAGES = ("crypto", "policies", "service", "clients")


@contextlib.contextmanager
def mounted(engine: Engine, image: str) -> Iterator[Path]:
    """The files of an image."""
    yield Path(engine.podman("image", "mount", image).strip())
    engine.podman("image", "unmount", image)


def pinned(lock: str) -> set[str]:
    """Names in a lock file that are for this platform, as their folders are called."""
    lines = re.findall(r"^([a-z0-9-]+)==\S+(?: ; (.*?))? \\$", (DEPLOY / lock).read_text(), re.MULTILINE)
    return {name.replace("-", "_") for name, where in lines if "win32'" not in where or "!=" in where}


def test_the_build_sees_the_packages_and_no_key_vault_or_history(
    engine: Engine, checkout: Path, image: str
) -> None:
    engine.build_service("pourparler-build", checkout, "--target", "build")
    with mounted(engine, "localhost/pourparler-build") as root:
        seen = {str(one.relative_to(root / "src")) for one in (root / "src").rglob("*") if one.is_file()}
    assert {f"{one}/pourparler_{one}/__init__.py" for one in PACKAGES} <= seen
    assert not seen & set(PRIVATE)
    folders = "|".join(f"{one}/pourparler_{one}/.+" for one in PACKAGES)
    assert not [
        one
        for one in seen
        if not re.fullmatch(rf"{folders}|pyproject\.toml|README\.md|LICENSE|deploy/\w+\.lock", one)
    ]


def test_the_image_holds_what_runs_and_nothing_that_builds_tests_or_was_left_over(
    engine: Engine, image: str
) -> None:
    with mounted(engine, image) as root:
        (site,) = (root / "opt/pourparler/lib").glob("python3.*/site-packages")
        held = {re.sub(r"[-.]", "_", re.split(r"-\d", one.name)[0].lower()) for one in site.glob("*.dist-info")}
        assert held == pinned("service.lock") | {"pourparler"}
        assert (site / f"pourparler-{version('pourparler')}.dist-info").exists()
        assert not [one for one in ("src", "build", "wheel") if (root / one).exists()]
        tools = [
            root / where / one for where in ("usr/bin", "usr/local/bin") for one in ("gcc", "cc", "make", "git")
        ]
        assert not [one for one in tools if one.exists()]
        assert not (root / "root/.cache").exists()
        for one in (*(root / "opt").rglob("*"), *(root / "data").rglob("*"), *(root / "tmp").rglob("*")):
            assert "pip" not in one.name.split("-")[0].split(".")
            if one.is_file() and not one.is_symlink():
                assert CANARY.encode() not in one.read_bytes()
                assert one.stat().st_mode & 0o6022 == 0, f"{one}: others may write to it, or it gives rights"


def test_the_program_adds_little_to_its_base(engine: Engine, image: str) -> None:
    def size(name: str) -> int:
        return int(json.loads(engine.podman("image", "inspect", name))[0]["Size"])

    added = size(image) - size(images()["python"])
    print(f"the image adds {added / 1e6:.0f} MB to its base")
    assert added < 200_000_000


def assert_nobody(status: str) -> None:
    """Of every process in a container, as /proc tells it."""
    told = [line.split(":\t") for line in status.splitlines() if ":\t" in line]
    assert {"pourparler"} <= {value for key, value in told if key == "Name"}
    assert {value for key, value in told if key in ("Uid", "Gid")} == {"8470\t8470\t8470\t8470"}
    assert {int(value, 16) for key, value in told if key.startswith("Cap")} == {0}
    assert {value for key, value in told if key == "NoNewPrivs"} == {"1"}


class Alone:
    """One container over two volumes, as the Containerfile's last lines say."""

    def __init__(self, engine: Engine, image: str) -> None:
        self.engine, self.image, self.port = engine, image, free_port()
        self.name = "alone-" + secrets.token_hex(4)
        self.volumes = [f"{self.name}-data:/data", f"{self.name}-outside:/data/outside-backups"]
        self.start()

    def start(self) -> None:
        """Start it, until it listens."""
        volumes = [f"--volume={one}" for one in self.volumes]
        where = [f"--publish=127.0.0.1:{self.port}:8470", f"--name={self.name}", *self.engine.limits]
        self.engine.podman("run", "--detach", *where, *CONFINED, *volumes, self.image, "--data", "/data")
        self.engine.wait(lambda: "listening on" in self.engine.logs(self.name), "it listens")

    def inside(self, *command: str) -> str:
        """Run a command in it."""
        return self.engine.podman("exec", self.name, *command)

    def client(self) -> httpx.Client:
        """A client of it."""
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=20)

    def found(self, client: httpx.Client, devices: int) -> list[TestDevice]:
        """A channel, by a grant of the command in the container."""
        return found(client, self.inside("pourparler", "grant", "--data", "/data"), devices)


def found(client: httpx.Client, grant: str, devices: int) -> list[TestDevice]:
    """A channel of so many devices, by this grant."""
    told = unpad(grant.strip(), limits.TOKEN_BYTES)
    assert told is not None
    founder = TestDevice(secrets.token_bytes(limits.ID_BYTES))
    headers = {**founder.headers, **bearer(told)}
    client.post(Route.CHANNELS, content=founder.create(), headers=headers).raise_for_status()
    return [founder, *seat(client, founder, devices - 1)]


@pytest.fixture(scope="module")
def alone(engine: Engine, image: str) -> Alone:
    return Alone(engine, image)


def test_its_process_is_nobody_has_no_rights_and_can_write_to_its_volumes_alone(alone: Alone) -> None:
    assert_nobody(alone.inside("sh", "-c", "cat /proc/[0-9]*/status"))
    assert alone.inside("sh", "-c", "ulimit -c").strip() == "0"
    found = alone.inside("sh", "-c", "find / -xdev -writable ! -type l 2>/dev/null; true").split()
    assert set(found) <= {"/data"}
    assert alone.inside(
        "sh", "-c", "test -w /data && test -w /data/outside-backups && stat -c %a:%u:%g /data"
    ) == ("700:8470:8470\n")


def test_talk_goes_through_it_and_leaves_nothing_outside_its_volumes(alone: Alone) -> None:
    with alone.client() as client:
        first, second = alone.found(client, 2)
        heard = threading.Event()

        def listen() -> None:
            path = f"{first.path(Route.STREAM)}?after=0"
            with alone.client() as other, other.stream("GET", path, headers=first.headers) as stream:
                for name, _, data in events(stream.iter_lines()):
                    if name == "entry" and wire.Entry.model_validate_json(data).entry == sent.entry:
                        heard.set()
                        return

        sent = second.append()
        reader = threading.Thread(target=listen, daemon=True)
        reader.start()
        assert second.send(client, sent).status_code == 201
        assert heard.wait(20)
        size = limits.ATTACHMENT_CHUNK
        assert second.attach(client, size).put(client, 0, secrets.token_bytes(size)).status_code == 204
    changed = alone.engine.podman("diff", alone.name).splitlines()
    assert not [one for one in changed if one[2:] not in MOUNTPOINTS], changed


# Where the engine itself puts what it mounts.
MOUNTPOINTS = {
    "/etc",
    "/run",
    "/run/.containerenv",
    "/etc/mtab",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/hostname",
}


def test_the_health_check_of_compose_tells_a_service_from_none(alone: Alone) -> None:
    check = re.search(r'test: \["CMD", (.*)\]', (DEPLOY / "compose.yaml").read_text())
    assert check
    command = json.loads(f"[{check[1]}]")
    assert alone.engine.try_podman("exec", alone.name, *command).returncode == 0
    elsewhere = [one.replace(":8470", ":8471") for one in command]
    assert alone.engine.try_podman("exec", alone.name, *elsewhere).returncode != 0


def test_asked_to_stop_it_ends_its_streams_forgets_nothing_and_has_not_failed(alone: Alone) -> None:
    with alone.client() as client:
        (device,) = alone.found(client, 1)
        assert device.send(client).status_code == 201
        ended, listening = threading.Event(), threading.Event()

        def listen() -> None:
            with (
                alone.client() as other,
                other.stream("GET", device.path(Route.STREAM), headers=device.headers) as s,
            ):
                listening.set()
                for _ in s.iter_lines():
                    pass
                ended.set()

        threading.Thread(target=listen, daemon=True).start()
        assert listening.wait(20)
    began = time.monotonic()
    alone.engine.podman("stop", "--time", "30", alone.name)
    took = time.monotonic() - began
    assert took < 10, "Docker kills after ten seconds unless told otherwise"
    assert alone.engine.podman("inspect", "--format", "{{.State.ExitCode}}", alone.name).strip() == "0"
    assert ended.wait(5), "the stream came to its end, and was not cut"
    lines = alone.engine.logs(alone.name).splitlines()
    assert [one for one in lines if not one.startswith("Warning: this address")] == [
        "listening on http://0.0.0.0:8470"
    ]
    alone.engine.podman("rm", alone.name)
    alone.start()
    with alone.client() as client:
        page = wire.Page.model_validate_json(device.page(client).content)
    assert [one.seq for one in page.entries][-1:] == [device.count]


def test_asked_to_stop_before_it_listens_it_stops(engine: Engine, image: str) -> None:
    for pause in (0.1, 0.5, 1.0):
        name = "young-" + secrets.token_hex(4)
        engine.podman("run", "--detach", f"--name={name}", *engine.limits, *CONFINED, image, "--data", "/data")
        time.sleep(pause)
        began = time.monotonic()
        engine.podman("stop", "--time", "30", name)
        assert time.monotonic() - began < 10
        assert "Traceback" not in engine.logs(name)
        engine.podman("rm", "--volumes", name)


def test_without_a_volume_it_says_so_in_a_sentence(engine: Engine, image: str) -> None:
    done = engine.try_podman("run", "--rm", *engine.limits, *CONFINED, image, "--data", "/elsewhere")
    assert done.returncode == 2
    told = [one for one in done.stderr.splitlines() if not one.startswith("Warning: this address")]
    assert len(told) == 1, told
    assert told[0].endswith(".")
    assert "Traceback" not in done.stderr


def test_the_checkout_that_was_built_is_this_one(engine: Engine, image: str) -> None:
    with mounted(engine, image) as root:
        (site,) = (root / "opt/pourparler/lib").glob("python3.*/site-packages")
        for one in PACKAGES:
            for file in (ROOT / one / f"pourparler_{one}").rglob("*"):
                if file.is_file() and "__pycache__" not in file.parts:
                    inside = site / file.relative_to(ROOT / one)
                    assert inside.read_bytes() == file.read_bytes()
