"""A service that faults can befall: processes, disk, clock. All of it is real; nothing is injected into the code."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

from pourparler_service.testing import ServerProcess

FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
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
        self._lock = threading.Lock()
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
    def url(self) -> str:
        return self.server.url

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
