"""A disk with a plain Debian 12, made without a network later: its packages and wheels lie on it, not installed."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from .guide import GUIDE, REPOSITORY, blocks, packages

RELEASE, MIRROR = "bookworm", "http://deb.debian.org/debian"
# What Debian's installer gives a small server, and the way in for the walk.
BASE = (
    "adduser apparmor ca-certificates cron dbus initramfs-tools iproute2 kmod less libpam-systemd"
    " linux-image-cloud-amd64 logrotate openssh-server openssl procps systemd-sysv systemd-timesyncd udev"
)
SIZE = "8G"
WHEELS = "srv/wheels"
FILES = {
    "etc/hostname": "operator\n",
    "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 operator\n::1 localhost\n",
    "etc/fstab": "/dev/vda / ext4 defaults 0 1\n",
    "etc/systemd/network/any.network": "[Match]\nName=e*\n\n[Network]\nDHCP=ipv4\n",
    # So that the guide's commands need no Internet here, no answer "yes", and nobody who leaves a pager.
    "etc/environment": f"PIP_NO_INDEX=1\nPIP_FIND_LINKS=/{WHEELS}\nSYSTEMD_PAGER=cat\nPIP_PROGRESS_BAR=off\n",
    "etc/apt/apt.conf.d/walk": 'APT::Get::Assume-Yes "true";\nDpkg::Use-Pty "false";\n',
    "etc/apt/sources.list": f"deb {MIRROR} {RELEASE} main\ndeb {MIRROR}-security {RELEASE}-security main\n",
    "etc/ssh/sshd_config.d/walk.conf": "PermitRootLogin prohibit-password\nMaxSessions 50\n",
}


def run(*words: str | Path, **options: object) -> None:
    subprocess.run([str(word) for word in words], check=True, **options)  # type: ignore[call-overload]


class Image:
    """`folder` keeps what was made: the disk, the kernel beside it, and the key to come in."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder.absolute(), folder.absolute() / "root"
        self.disk, self.key = self.folder / "disk.ext4", self.folder / "key"
        self.kernel, self.initrd = self.folder / "vmlinuz", self.folder / "initrd.img"

    def make(self) -> None:
        """Make it anew, unless it is there. Needs root, debootstrap, and Debian's and PyPI's registries."""
        if self.disk.exists():
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key)
        run("debootstrap", "--variant=minbase", f"--include={','.join(BASE.split())}", RELEASE, self.root, MIRROR)
        for name, text in FILES.items():
            (self.root / name).write_text(text)
        (self.root / "root" / ".ssh").mkdir(mode=0o700, exist_ok=True)
        shutil.copy(self.key.with_suffix(".pub"), self.root / "root/.ssh/authorized_keys")
        shutil.copy("/etc/resolv.conf", self.root / "etc/resolv.conf")
        within = ("chroot", self.root, "env", "DEBIAN_FRONTEND=noninteractive")
        run(*within, "apt-get", "-q", "update")
        run(*within, "apt-get", "-q", "install", "--download-only", *packages(blocks(GUIDE.read_text())))
        run(*within, "systemctl", "enable", "-q", "systemd-networkd")
        self._wheels()
        (self.root / "etc/machine-id").write_text("")
        (self.root / "etc/resolv.conf").write_text("")
        (boot,) = {one.name.partition("-")[2] for one in (self.root / "boot").glob("vmlinuz-*")}
        shutil.copy(self.root / "boot" / f"vmlinuz-{boot}", self.kernel)
        shutil.copy(self.root / "boot" / f"initrd.img-{boot}", self.initrd)
        part = self.folder / "disk.part"
        run("mke2fs", "-q", "-t", "ext4", "-d", self.root, part, SIZE)
        part.rename(self.disk)
        shutil.rmtree(self.root)

    def _wheels(self) -> None:
        """What pip fetches for the guide's commands: the locked packages, and what builds this one."""
        wheels = self.root / WHEELS
        wheels.mkdir(parents=True)
        build = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["build-system"]["requires"]
        pip = (sys.executable, "-m", "pip", "download", "-q", "--only-binary", ":all:", "-d", wheels)
        for lock in sorted(set(re.findall(r"-r (\S+\.lock)", GUIDE.read_text()))):
            run(*pip, "--require-hashes", "-r", REPOSITORY / lock)
        run(*pip, *build)


def wanting() -> list[str]:
    """The Debian packages that this machine lacks for the walk."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    needed = {"debootstrap": "debootstrap", "qemu-system-x86_64": "qemu-system-x86", "mke2fs": "e2fsprogs"}
    needed |= {"ssh": "openssh-client", "ip": "iproute2", "systemd-nspawn": "systemd-container"}
    return [package for program, package in needed.items() if shutil.which(program, path=path) is None]
