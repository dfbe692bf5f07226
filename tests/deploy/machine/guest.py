"""The machine that is walked: a real kernel, systemd as its first process, and a terminal over ssh."""

import os
import re
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from .image import Image

BOOT = 600.0  # seconds: an emulated processor is slow
PATIENCE = 1200.0
CHECKOUT = "/root/pourparler"


class Failed(Exception):
    """A command of the guide did not do what it should; the text has what it said."""


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


class Guest:
    """Its disk is the image's, and forgets everything when it is closed."""

    def __init__(self, image: Image, accelerator: str, memory: int = 2048) -> None:
        self.work = tempfile.TemporaryDirectory(prefix="walk-")
        self.port, self.console = _free_port(), Path(self.work.name) / "console"
        self.image = image
        network = f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22"
        self.process = subprocess.Popen(
            [
                "qemu-system-x86_64", "-accel", accelerator, "-cpu", "max", "-smp", "2", "-m", str(memory),
                "-nodefaults", "-display", "none", "-serial", f"file:{self.console}",
                "-kernel", image.kernel, "-initrd", image.initrd, "-append", "root=/dev/vda rw console=ttyS0 quiet",
                "-drive", f"file={image.disk},format=raw,if=virtio,snapshot=on",
                "-netdev", network, "-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci",
            ],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": self.work.name},
        )  # fmt: skip
        self.wait_until_up()

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + BOOT
        while time.monotonic() < deadline:
            done = subprocess.run([*self.ssh(), "true"], check=False, capture_output=True)
            if done.returncode == 0:
                return
            if self.process.poll() is not None:
                break
            time.sleep(2)
        raise Failed(f"the machine did not come up:\n{self.console.read_text(errors='replace')[-3000:]}")

    def ssh(self, *options: str) -> list[str]:
        shared = {
            "ControlMaster": "auto", "ControlPath": f"{self.work.name}/line", "ControlPersist": "yes",
            "StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null", "LogLevel": "ERROR",
            "ConnectTimeout": "20", "ServerAliveInterval": "30",
        }  # fmt: skip
        named = [word for name, value in shared.items() for word in ("-o", f"{name}={value}")]
        where = ["-i", str(self.image.key), "-p", str(self.port), *options, "root@127.0.0.1"]
        return ["ssh", "-F", "none", *named, *where]

    def put(self, files: bytes, folder: str = CHECKOUT) -> None:
        """Unpack a tar there."""
        subprocess.run([*self.ssh(), f"mkdir -p {folder} && tar -x -C {folder}"], input=files, check=True)

    def type(self, line: str, answers: Mapping[str, str] | None = None) -> str:
        """Type a line at a terminal, in the checkout; what matches a pattern is answered. Raises Failed."""
        status, told = self.try_out(line, answers)
        if status != 0:
            raise Failed(f"status {status} from: {line}\n{told[-4000:]}")
        return told

    def try_out(self, line: str, answers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """The same, and its status."""
        process = subprocess.Popen(
            [*self.ssh("-tt"), f"cd {CHECKOUT}\n{line}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        told, answered, deadline = "", 0, time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if not select.select([process.stdout], [], [], 1)[0]:
                continue
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                return process.wait(60), told
            told += data.decode(errors="replace").replace("\r", "")
            for pattern, answer in (answers or {}).items():
                if found := re.search(pattern, told[answered:]):
                    answered += found.end()
                    process.stdin.write(answer.encode())
                    process.stdin.flush()
        process.kill()
        raise Failed(f"no end of: {line}\n{told[-4000:]}")

    def start(self, line: str) -> "subprocess.Popen[str]":
        """Begin a command that goes on meanwhile."""
        words = [*self.ssh(), f"cd {CHECKOUT}\n{line}"]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def read(self, line: str) -> str:
        """What a command prints, without a terminal. Raises Failed."""
        done = subprocess.run([*self.ssh(), f"cd {CHECKOUT}\n{line}"], check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(f"status {done.returncode} from: {line}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def reboot(self) -> None:
        before = self.read("cat /proc/sys/kernel/random/boot_id")
        subprocess.run([*self.ssh(), "systemctl reboot"], check=False, capture_output=True)
        subprocess.run([*self.ssh("-O", "exit")], check=False, capture_output=True)
        while True:
            time.sleep(3)
            self.wait_until_up()
            if self.read("cat /proc/sys/kernel/random/boot_id") != before:
                return

    def close(self) -> None:
        subprocess.run([*self.ssh("-O", "exit")], check=False, capture_output=True)
        self.process.terminate()
        self.process.wait(30)
        self.work.cleanup()
