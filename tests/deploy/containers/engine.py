"""A container engine with a store of its own, for what `deploy/` says about containers.

With POURPARLER_WALK_PULL=1 the images that `deploy/` names come from their registry. Otherwise stand-ins of those names
are made from Debian's packages (`bases/`): the interface that `deploy/` uses is the same, what is inside is Debian's.
"""

import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[3]
DEPLOY: Final = ROOT / "deploy"
BASES: Final = Path(__file__).parent / "bases"
PULL: Final = bool(os.environ.get("POURPARLER_WALK_PULL"))
STORE: Final = os.environ.get("POURPARLER_WALK_STORE")  # kept, so that a second walk is short
RUNTIMES: Final = ("crun", "runc")
OLDEST_COMPOSE: Final = (1, 1)
_DEBIAN: Final = "localhost/pourparler-walk/debian"
_PYTHON: Final = re.findall(r"^ARG BASE=(\S+)$", (DEPLOY / "Containerfile").read_text(), re.MULTILINE)[0]
# What a machine needs to reach its package index; files that are not there are left out.
_INDEX: Final = ("/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")


def images() -> dict[str, str]:
    """The images that `deploy/` names, by what stands in for them."""
    (compose,) = yaml.safe_load_all((DEPLOY / "compose.yaml").read_text())
    named = {one["image"] for one in compose["services"].values() if one["image"] != "pourparler"}
    found = {kind: one for kind in ("postgres", "nats", "nginx") for one in named if f"/{kind}:" in one}
    assert set(found.values()) == named
    return {"python": _PYTHON, **found}


def compose_command() -> list[str] | None:
    """podman-compose, new enough to know fixed addresses."""
    for command in ([sys.executable, "-m", "podman_compose"], ["podman-compose"]):
        if command[0] != sys.executable and shutil.which(command[0]) is None:
            continue
        told = subprocess.run([*command, "version"], capture_output=True, text=True, check=False)
        version = re.search(r"podman-composer? version:? +(\d+)\.(\d+)", told.stdout + told.stderr)
        if version and (int(version[1]), int(version[2])) >= OLDEST_COMPOSE:
            return command
    return None


def why_not() -> str | None:
    """What is missing here, in one sentence."""
    if os.geteuid() != 0:
        return "containers are walked as root"
    missing = [one for one in ("podman", "iptables") if shutil.which(one) is None]
    missing += [] if any(shutil.which(one) for one in RUNTIMES) else ["crun or runc"]
    missing += [] if PULL or shutil.which("debootstrap") else ["debootstrap (or POURPARLER_WALK_PULL=1)"]
    return f"no container engine here: needs {', '.join(missing)}" if missing else None


class Engine:
    """Podman over a store in `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.environment = {
            **os.environ,
            "CONTAINERS_CONF": str(root / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(root / "storage.conf"),
        }
        (root / "storage.conf").write_text(
            f'[storage]\ndriver="overlay"\nrunroot="{root}/run"\ngraphroot="{root}/graph"\n'
        )
        self.runtime = self._choose()
        for kind, name in images().items():
            self._base(kind, name)

    def _choose(self) -> str:
        """A machine's control groups may suit one runtime and not another."""
        for runtime in (one for one in RUNTIMES if shutil.which(one)):
            self._configure(runtime)
            first = self._pulled(_PYTHON) if PULL else self._debian()
            if self.try_podman("run", "--rm", "--network=none", *self.limits, first, "true").returncode == 0:
                return runtime
        pytest.skip("no container can be run here: neither crun nor runc starts one")

    def _configure(self, runtime: str) -> None:
        (self.root / "containers.conf").write_text(
            f'[containers]\ndefault_ulimits=["nofile={NOFILE}:{NOFILE}","nproc={NPROC}:{NPROC}"]\n'
            f'log_driver="k8s-file"\n[network]\nnetwork_backend="netavark"\nnetwork_config_dir="{self.root}/networks"\n'
            f'[engine]\ncgroup_manager="cgroupfs"\nevents_logger="file"\nruntime="{runtime}"\n'
            f'tmp_dir="{self.root}/tmp"\n'
        )

    @property
    def limits(self) -> list[str]:
        """A machine may lack the right to raise limits, which Podman does unless told."""
        return ["--ulimit", f"nofile={NOFILE}:{NOFILE}", "--ulimit", f"nproc={NPROC}:{NPROC}"]

    def try_podman(self, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run podman; its status may say that it failed."""
        return subprocess.run(
            ["podman", *arguments],
            check=False,
            **{"capture_output": True, "text": True, "env": self.environment, **options},
        )

    def podman(self, *arguments: str | Path, **options: Any) -> str:
        """Run podman, and return what it prints."""
        done = self.try_podman(*arguments, **options)
        assert done.returncode == 0, f"podman {arguments[0]}: {done.stderr[-3000:]}"
        return done.stdout

    def build(self, tag: str, context: Path, *options: str | Path) -> None:
        """Build an image."""
        limits = [f"--ulimit=nofile={NOFILE}:{NOFILE}", f"--ulimit=nproc={NPROC}:{NPROC}"]
        self.podman("build", "--quiet", "--network=host", *limits, *options, "--tag", tag, context)

    def build_service(self, tag: str, checkout: Path, *options: str) -> None:
        """Build what `deploy/Containerfile` says, with this machine's way to its package index."""
        mounts = [f"--volume={one}:{one}:ro" for one in _INDEX if Path(one).exists()]
        self.build(tag, checkout, "--file", checkout / "deploy" / "Containerfile", *mounts, *options)

    def _there(self, name: str) -> bool:
        return self.try_podman("image", "exists", name).returncode == 0

    def _pulled(self, name: str) -> str:
        if not self._there(name):
            self.podman("pull", "--quiet", name)
        return name

    def _debian(self) -> str:
        if not self._there(_DEBIAN):
            system = self.root / "debian"
            subprocess.run(
                ["debootstrap", "--variant=minbase", "bookworm", system], check=True, capture_output=True
            )
            with subprocess.Popen(["tar", "-C", system, "-c", "."], stdout=subprocess.PIPE) as packed:
                self.podman("import", "-", _DEBIAN, stdin=packed.stdout)
            shutil.rmtree(system)
        return _DEBIAN

    def _base(self, kind: str, name: str) -> None:
        """An image that `deploy/` names: pulled, or its stand-in."""
        if PULL:
            self._pulled(name)
        elif not self._there(name):
            self.build(name, BASES, "--build-arg", f"DEBIAN={self._debian()}", "--target", kind)

    def logs(self, container: str) -> str:
        """Everything that a container wrote."""
        done = self.try_podman("logs", container)
        return done.stdout + done.stderr

    def wait(self, there: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Until `there`, or fail saying what did not come."""
        deadline = time.monotonic() + seconds
        while not there():
            assert time.monotonic() < deadline, f"within {seconds:.0f} seconds: {what}"
            time.sleep(0.2)

    def close(self) -> None:
        """Nothing of it stays, but a store that was asked for."""
        self.try_podman("rm", "--all", "--force", "--time", "5", "--volumes")
        self.try_podman("volume", "prune", "--force")
        self.try_podman("network", "prune", "--force")
        self.try_podman("image", "unmount", "--all")
        if not STORE:
            self.try_podman("rmi", "--all", "--force")
            self.try_podman("unmount", "--all")
            for mounted in reversed(_mounts(self.root)):
                subprocess.run(["umount", "--lazy", mounted], check=False, capture_output=True)
            shutil.rmtree(self.root, ignore_errors=True)


NOFILE: Final = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 20000)
NPROC: Final = 4096


def _mounts(below: Path) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [line.split()[1] for line in lines if line.split()[1].startswith(str(below))]
