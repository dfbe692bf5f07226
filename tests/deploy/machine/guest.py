"""The machine that is walked: systemd as its first process, and a terminal over ssh.

Either a whole computer, with a kernel of its own in qemu; or, where that is too slow, the same disk in systemd-nspawn:
under this machine's kernel, so that what the kernel forbids is forbidden in truth, but with no limits of memory.
"""

import os
import re
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from .image import Image

BOOT = 600.0  # seconds: an emulated processor is slow
PATIENCE = 1500.0
CHECKOUT = "/usr/local/src/pourparler"
OUTSIDE = "10.0.2.2"  # this machine, as the walked one sees it


class Failed(Exception):
    """A command of the guide did not do what it should; the text has what it said."""


class Guest:
    """Its disk is a copy of the image's, and forgets everything when it is closed."""

    host, port = "127.0.0.1", 22
    whole = True  # a kernel of its own, with every controller
    process: "subprocess.Popen[bytes]"

    def __init__(self, image: Image) -> None:
        self.image, self.work = image, tempfile.TemporaryDirectory(prefix="walk-")
        self.folder = Path(self.work.name)
        self.console = self.folder / "console"

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + BOOT
        while time.monotonic() < deadline and self.process.poll() is None:
            if subprocess.run([*self.ssh(), "true"], check=False, capture_output=True).returncode == 0:
                return
            time.sleep(1)
        raise Failed(f"the machine did not come up:\n{self.console.read_text(errors='replace')[-3000:]}")

    def ssh(self, *options: str) -> list[str]:
        shared = {
            "ControlMaster": "auto", "ControlPath": f"{self.folder}/line", "ControlPersist": "yes",
            "StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null", "LogLevel": "ERROR",
            "ConnectTimeout": "20", "ServerAliveInterval": "30",
        }  # fmt: skip
        named = [word for name, value in shared.items() for word in ("-o", f"{name}={value}")]
        where = ["-i", str(self.image.key), "-p", str(self.port), *options, f"root@{self.host}"]
        return ["ssh", "-F", "none", *named, *where]

    def put(self, files: bytes) -> None:
        """Unpack a tar in the checkout."""
        subprocess.run([*self.ssh(), f"mkdir -p {CHECKOUT} && tar -x -C {CHECKOUT}"], input=files, check=True)

    def type(self, line: str, answers: Mapping[str, str] | None = None) -> str:
        """Type a line at a terminal, in the checkout; what matches a pattern is answered. Raises Failed."""
        status, told = self.try_out(line, answers)
        if status != 0:
            raise Failed(f"status {status} from: {line}\n{told[-4000:]}")
        return told

    def try_out(self, line: str, answers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """The same, and its status."""
        process = subprocess.Popen(
            [*self.ssh("-tt"), f"stty sane; cd {CHECKOUT}\n{line}"],
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
        words = [*self.ssh(), f"cd {CHECKOUT}\n{line}"]
        done = subprocess.run(words, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(f"status {done.returncode} from: {line}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
        return done.stdout

    def reboot(self) -> None:
        which = "cat /proc/sys/kernel/random/boot_id"
        before = self.read(which)
        subprocess.run([*self.ssh(), "systemctl reboot"], check=False, capture_output=True)
        while True:
            self._hang_up()
            time.sleep(3)
            self.wait_until_up()
            if self.read(which) != before:
                return

    def _hang_up(self) -> None:
        subprocess.run([*self.ssh("-O", "exit")], check=False, capture_output=True)

    def close(self) -> None:
        self._hang_up()
        self.process.terminate()
        self.process.wait(120)
        self.work.cleanup()


class Computer(Guest):
    """In qemu."""

    def __init__(self, image: Image, accelerator: str, memory: int = 2048) -> None:
        super().__init__(image)
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            self.port = int(held.getsockname()[1])
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
            env={**os.environ, "TMPDIR": str(self.folder)},
        )  # fmt: skip
        self.wait_until_up()


# A control group tree of its own, of the new kind, whatever this machine has.
_SPAWN = """
mount --make-rprivate /
umount -R /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p /sys/fs/cgroup/{name}
echo $$ > /sys/fs/cgroup/{name}/cgroup.procs
mount -o loop {disk} {root}
status=133  # what it ends with when it is to be started again
while [ $status = 133 ]; do
  status=0
  systemd-nspawn -q -D {root} -b --register=no --keep-unit --machine=operator --console=pipe --resolv-conf=off \\
    --timezone=off --network-namespace-path=/run/netns/{name} --capability=all "--system-call-filter=bpf @keyring" \\
    || status=$?
done
"""


class Container(Guest):
    """In systemd-nspawn."""

    host, whole = "10.0.2.15", False

    def __init__(self, image: Image) -> None:
        super().__init__(image)
        self.name = f"walk{os.getpid()}"
        root, disk = self.folder / "root", self.folder / "disk"
        root.mkdir()
        subprocess.run(["cp", "--sparse=always", image.disk, disk], check=True)
        within = ["ip", "-n", self.name]
        for words in (
            ["ip", "netns", "add", self.name],
            ["ip", "link", "add", self.name, "type", "veth", "peer", "name", "walk0", "netns", self.name],
            ["ip", "address", "add", f"{OUTSIDE}/24", "dev", self.name],
            ["ip", "link", "set", self.name, "up"],
            [*within, "address", "add", f"{self.host}/24", "dev", "walk0"],
            [*within, "link", "set", "walk0", "up"],
            [*within, "link", "set", "lo", "up"],
        ):
            subprocess.run(words, check=True)
        script = _SPAWN.format(name=self.name, disk=disk, root=root)
        with self.console.open("wb") as console:
            self.process = subprocess.Popen(
                ["unshare", "-m", "sh", "-e", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        self.wait_until_up()
        # Its network is made from outside, so nobody within would ever say that it is up.
        self.read("cd / && systemctl mask --now -q systemd-networkd-wait-online")

    def close(self) -> None:
        subprocess.run([*self.ssh(), "systemctl poweroff"], check=False, capture_output=True)
        self._hang_up()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.work.cleanup()
        subprocess.run(["ip", "netns", "delete", self.name], check=False)
