"""A service that faults can befall: processes, disk, clock. All of it is real; nothing is injected into the code."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pourparler_policies import wire
from pourparler_policies.limits import HOUR
from pourparler_service.examine import kept_entries
from pourparler_service.testing import ServerProcess

FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
LONGEST_JUMP = 3 * HOUR  # seconds
_DISK = 64  # MiB


class Disk:
    """A disk of its own that can be filled; only root can make one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.own = folder, os.geteuid() == 0
        folder.mkdir()
        if self.own:
            mounted = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={_DISK}m", "tmpfs", folder], check=False, capture_output=True
            )
            self.own = mounted.returncode == 0

    def fill(self) -> None:
        with (self.folder / "ballast").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(65536))
            except OSError:
                pass

    def free(self) -> None:
        (self.folder / "ballast").unlink(missing_ok=True)

    def close(self) -> None:
        if self.own:
            subprocess.run(["umount", "--lazy", self.folder], check=True)


class Clock:
    """The service's wall clock, ahead of ours by `ahead` seconds (libfaketime; monotonic time is left alone)."""

    def __init__(self, root: Path) -> None:
        self.file, self.ahead, self.latest = root / "clock", 0, time.time()
        self.file.write_text("+0")

    @property
    def variables(self) -> dict[str, str]:
        if FAKETIME is None:
            return {}
        return {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }

    def jump(self, seconds: int) -> None:
        self.latest = max(self.latest, self.now())
        self.ahead = seconds
        new = self.file.with_suffix(".new")
        new.write_text(f"{seconds:+d}")
        new.replace(self.file)

    def now(self) -> float:
        """What the service's clock shows."""
        return time.time() + self.ahead


class Embedded:
    """One process over SQLite, the default."""

    name = "SQLite"

    def __init__(self, root: Path) -> None:
        self.disk, self.clock, self.root = Disk(root / "disk"), Clock(root), root
        self.data = self.disk.folder / "data"
        self.logs: list[str] = []
        self._start()

    def _start(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                self.server = ServerProcess(self.data, variables=self.clock.variables)
            except RuntimeError as error:  # for instance while the disk is full
                self.logs.append(str(error))
                if time.monotonic() > deadline:
                    raise
                self.disk.free()
            else:
                return

    @property
    def urls(self) -> list[str]:
        return [self.server.url]

    def acts(self, chance: random.Random) -> dict[str, Callable[[], None]]:
        """What can befall it here, each by its name."""
        acts: dict[str, Callable[[], None]] = {
            "kill": self.kill,
            "restart": self.restart,
            "freeze": lambda: self.freeze(chance.uniform(0.1, 2.0)),
        }
        if self.disk.own:
            acts["full disk"] = lambda: self._fill(chance)
        if FAKETIME is not None:
            acts["clock"] = lambda: self._jump(chance)
        return acts

    def _fill(self, chance: random.Random) -> None:
        self.disk.fill()
        time.sleep(chance.uniform(0.1, 1.0))
        if chance.random() < 0.3:
            self.kill()
        self.disk.free()

    def _jump(self, chance: random.Random) -> None:
        self.clock.jump(chance.randint(-LONGEST_JUMP, LONGEST_JUMP))
        time.sleep(chance.uniform(0.1, 1.0))
        if chance.random() < 0.3:
            self.kill()
        if chance.random() < 0.7:
            self.clock.jump(0)

    def settle(self) -> None:
        """Nothing befalls it any more."""
        self.disk.free()
        self.clock.jump(0)

    def latest(self) -> float:
        """The latest time that the service's clock has shown."""
        return max(self.clock.latest, self.clock.now())

    def left(self, ended: Sequence[wire.Append]) -> list[bytes]:
        """Which of these ended entries are still in a row or a file."""
        rows, files = {one.entry for one in kept_entries(self.data)}, self.files()
        return [one.entry for one in ended if one.entry in rows or one.sealed[100:132] in files]

    def kill(self) -> None:
        """As a power cut would end it; then it comes back."""
        self.server.kill()
        self._start()

    def restart(self) -> None:
        """As an operator does."""
        status, errors = self.server.stop()
        self.logs.append(errors)
        if status:
            raise AssertionError(f"the service stopped with status {status}")
        self._start()

    def freeze(self, seconds: float) -> None:
        """It stands still: a machine that swaps, a paused guest."""
        self.server.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.server.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        try:
            self.logs.append(self.server.stop()[1])
        finally:
            self.disk.close()

    def files(self) -> bytes:
        """Every byte in every file of the data directory."""
        return b"".join(one.read_bytes() for one in sorted(self.data.rglob("*")) if one.is_file())
