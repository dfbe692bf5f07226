"""Two processes on two hosts (network namespaces) over one PostgreSQL and one NATS, all of them this run's own."""

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psycopg

from pourparler_policies import wire
from pourparler_service.testing import CONFIG, READY, command, environment, last_words

from .site import FAKETIME, LONGEST_JUMP, Clock

BIN = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"))), None)
NATS = shutil.which("nats-server", path="/usr/sbin:/usr/bin")
POSSIBLE = os.geteuid() == 0 and BIN is not None and NATS is not None and shutil.which("ip") is not None
HOSTS = 2


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Database:
    """A PostgreSQL cluster that can be killed. Durable: nothing of its safety is switched off."""

    def __init__(self, root: Path) -> None:
        self.folder, self.port = root / "postgres", _free_port()
        self._user = pwd.getpwnam("postgres")
        self.folder.mkdir()
        shutil.chown(self.folder, "postgres")
        root.chmod(0o755)
        self._run("initdb", "-D", str(self.folder / "data"), "-A", "trust", "-U", "postgres", "--no-instructions")
        with (self.folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.0.0.0/8 trust\n")
        self.start()
        for name in ("kept", "outside"):
            with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")

    def _run(self, program: str, *words: str) -> None:
        assert BIN is not None
        subprocess.run(
            [BIN / program, *words],
            check=True,
            capture_output=True,
            timeout=90,
            user=self._user.pw_uid,
            group=self._user.pw_gid,
            cwd="/tmp",
        )

    def start(self) -> None:
        options = (
            f"-p {self.port} -c listen_addresses=* -c unix_socket_directories={self.folder} -c max_connections=60"
        )
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-t", "60", "-l", log, "-o", options, "start")

    def stop(self, how: str) -> None:
        """`immediate`: as a crash, with recovery at the next start; `fast`: as an operator restarts it."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", how, "stop")

    def url(self, name: str, host: str = "127.0.0.1") -> str:
        return f"postgresql://postgres@{host}:{self.port}/{name}"


class Host:
    """A network namespace with two cables: one to clients, one to the database and the bus."""

    def __init__(self, root: Path, number: int, database: Database, bus: int) -> None:
        self.name = f"pp{os.getpid() % 10000}-{number}"
        # Two runs at a time on one machine must not meet: the process's number is in the addresses.
        first, second = os.getpid() // 250 % 250, os.getpid() % 250
        self.nets = [f"10.{first}.{second}.{number * 16 + cable * 4}" for cable in (0, 1)]
        self.folder = root / f"host-{number}"
        self.folder.mkdir()
        self.clock = Clock(self.folder)
        _ip("netns", "add", self.name)
        _ip("-n", self.name, "link", "set", "lo", "up")
        for cable in (0, 1):
            outer, inner = f"{self.name}o{cable}", f"{self.name}i{cable}"
            _ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", self.name)
            _ip("addr", "add", f"{self._address(cable, 1)}/30", "dev", outer)
            _ip("-n", self.name, "addr", "add", f"{self._address(cable, 2)}/30", "dev", inner)
            _ip("link", "set", outer, "up")
            _ip("-n", self.name, "link", "set", inner, "up")
        far = self._address(1, 1)
        (self.folder / CONFIG).write_text(
            f'database-url = "{database.url("kept", far)}"\noutside-backups-url = "{database.url("outside", far)}"\n'
            f'bus-url = "nats://{far}:{bus}"\n'
        )
        self.logs: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        self.url = f"http://{self._address(0, 2)}:8470"

    def _address(self, cable: int, end: int) -> str:
        net = self.nets[cable]
        return net[: net.rindex(".") + 1] + str(int(net[net.rindex(".") + 1 :]) + end)

    def start(self, patience: float = 60) -> None:
        """Start, and try again while the database is not there."""
        deadline = time.monotonic() + patience
        where = ["--config", str(self.folder / CONFIG), "--host", self._address(0, 2), "--port", "8470"]
        while True:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.name, *command("serve", *where)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment(**self.clock.variables),
            )
            assert process.stdout is not None
            if process.stdout.readline().startswith(READY):
                self.process = process
                return
            self.logs.append(process.communicate(timeout=30)[1])
            if time.monotonic() > deadline:
                raise AssertionError(f"it does not start: {self.logs[-1]}")
            time.sleep(0.5)

    def end(self, how: signal.Signals) -> None:
        """End the process, and keep what it said."""
        if self.process is not None:
            self.process.send_signal(how)
            self.logs.append(last_words(self.process, 60))
            self.process = None

    def again(self, how: signal.Signals) -> None:
        """It ends and comes back; two of them one after the other are a rolling restart."""
        self.end(how)
        self.start()

    def freeze(self, seconds: float) -> None:
        """It stands still, perhaps with a row locked."""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)
            time.sleep(seconds)
            self.process.send_signal(signal.SIGCONT)

    def cut(self, seconds: float) -> None:
        """Clients reach it, and it reaches neither database nor bus."""
        self.cable("down")
        time.sleep(seconds)
        self.cable("up")

    def jump(self, chance: random.Random) -> None:
        """Its clock alone is wrong."""
        self.clock.jump(chance.randint(-LONGEST_JUMP, LONGEST_JUMP))
        time.sleep(chance.uniform(0.1, 1.0))
        self.clock.jump(0)
        if self.process is not None:  # it ends if it has noticed
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=3)
        self.revive()

    def revive(self) -> None:
        """A process that ended by itself, as one does that finds its database set back, is started by systemd."""
        if self.process is not None and self.process.poll() is not None:
            self.logs.append(self.process.communicate(timeout=30)[1])
            self.process = None
            self.start()

    def cable(self, state: str) -> None:
        """The way to the database and the bus: up or down. Nobody is told; packets are lost."""
        _ip("link", "set", f"{self.name}o1", state)

    def close(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.end(signal.SIGKILL)
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)


class Shared:
    """As `Embedded`, for a service of several processes."""

    name = "PostgreSQL"

    def __init__(self, root: Path) -> None:
        assert NATS is not None
        self.root, self._stack = root, contextlib.ExitStack()
        try:
            self.database = Database(root)
            self._stack.callback(self.database.stop, "immediate")
            self._bus_port = _free_port()
            self._start_bus()
            self.hosts = [Host(root, number, self.database, self._bus_port) for number in range(HOSTS)]
            for host in self.hosts:
                self._stack.callback(host.close)
            # Grants are made and files are read from this side.
            self.data = root / "here"
            self.data.mkdir()
            (self.data / CONFIG).write_text(
                f'database-url = "{self.database.url("kept")}"\n'
                f'outside-backups-url = "{self.database.url("outside")}"\n'
            )
            for host in self.hosts:
                host.start()
        except BaseException:
            self._stack.close()
            raise

    def _start_bus(self) -> None:
        assert NATS is not None
        self._bus = subprocess.Popen(
            [NATS, "-p", str(self._bus_port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._stack.callback(self._stop_bus)

    def _stop_bus(self) -> None:
        self._bus.kill()
        self._bus.wait()

    @property
    def logs(self) -> list[str]:
        return [line for host in self.hosts for line in host.logs]

    @property
    def urls(self) -> list[str]:
        return [host.url for host in self.hosts]

    def acts(self, chance: random.Random) -> dict[str, Callable[[], None]]:
        """What can befall it here, each by its name."""

        def at_one(act: Callable[[Host], None]) -> Callable[[], None]:
            return lambda: act(chance.choice(self.hosts))

        acts = {
            "kill": at_one(lambda host: host.again(signal.SIGKILL)),
            "restart": at_one(lambda host: host.again(signal.SIGTERM)),
            "freeze": at_one(lambda host: host.freeze(chance.uniform(0.1, 3.0))),
            "cut apart": at_one(lambda host: host.cut(chance.uniform(0.5, 6.0))),
            "database crash": lambda: self.crash(chance.uniform(0, 1.0)),
            "database restart": self.restart_database,
            "lost bus": lambda: self.lose_bus(chance.uniform(0.1, 2.0)),
        }
        if FAKETIME is not None:
            acts["clock"] = at_one(lambda host: host.jump(chance))
        return acts

    def restart_database(self) -> None:
        """As an operator does."""
        self.database.stop("fast")
        self.database.start()

    def left(self, ended: Sequence[wire.Append]) -> list[bytes]:
        """Which of these ended entries are still in a row. Files of PostgreSQL are `docs/decisions/0026`'s matter."""
        with psycopg.connect(self.database.url("kept")) as connection:
            rows = {bytes(row[0]) for row in connection.execute("SELECT entry FROM entry")}
        return [one.entry for one in ended if one.entry in rows]

    def crash(self, seconds: float) -> None:
        """The database crashes and comes back."""
        self.database.stop("immediate")
        time.sleep(seconds)
        self.database.start()

    def lose_bus(self, seconds: float) -> None:
        """No wake-ups for a while."""
        self._bus.kill()
        self._bus.wait()
        time.sleep(seconds)
        self._start_bus()

    def settle(self) -> None:
        """Nothing befalls it any more."""
        for host in self.hosts:
            host.cable("up")
            host.clock.jump(0)
            host.revive()

    def latest(self) -> float:
        """The latest time that a clock of a host has shown."""
        return max(max(host.clock.latest, host.clock.now()) for host in self.hosts)

    def close(self) -> None:
        self._stack.close()
