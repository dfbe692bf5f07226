"""One cell of the matrix: a service over one engine, so full, under a load; and an empty relay under the same load."""

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx

from pourparler_service.postgres.testing import administer, databases
from pourparler_service.testing import READY, found_channel, running

from .filling import Seat, fill
from .processes import Spent, cpu, find, memory, tree, tree_cpu

HERE: Final = Path(__file__).parent
FREE: Final = ("--requests-burst", "1000000000", "--requests-rate", "1000000000", "--bytes-a-channel", str(2**40))
LISTENED: Final = 8  # channels that the load talks in, unless it talks in all


@dataclass(frozen=True)
class Cell:
    """`channels` in all, of `devices` each, and `stored` entries before the load begins.

    The load talks in eight channels with everybody listening; `spread`: in all, in turn, and nobody listens.
    """

    engine: str = "sqlite"
    processes: int = 1
    devices: int = 6
    channels: int = LISTENED
    stored: int = 0
    spread: bool = False

    @property
    def label(self) -> str:
        """For a table's row."""
        engine = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "relay": "empty relay"}.get(
            self.engine, self.engine
        )
        processes = f", {self.processes} processes" if self.processes > 1 else ""
        return engine + processes


@dataclass(frozen=True)
class Part:
    """Figures of one load. Latency is from sending to the last device's receiving; spread: to the receipt."""

    accepted: int
    delivered: int
    seconds: float
    own: float  # CPU seconds per 1,000 entries, of the service's processes
    engines: float  # and of PostgreSQL and NATS
    p50: float  # milliseconds
    p95: float
    p99: float

    @property
    def rate(self) -> float:
        """Accepted entries a second."""
        return self.accepted / self.seconds


@dataclass
class Figures:
    """What was measured of a cell."""

    full: Part
    fixed: Part
    memory: float  # MB, of the service's processes, after the load
    stored: float | None = None  # bytes an entry, without what lay there before


@dataclass
class Load:
    """How hard, how long, and how to give back what the last load used up."""

    rate: int
    seconds: float
    samples: int = 0  # at least so many entries at the fixed rate: a p99 is the worst of a hundred

    @property
    def seconds_at_rate(self) -> float:
        """How long the part at the fixed rate is."""
        return max(self.seconds, self.samples / self.rate)

    def run(
        self, urls: list[str], seats: list[list[Seat]], spent: Callable[[], Spent], *, spread: bool
    ) -> tuple[Part, Part]:
        """At saturation, then at the fixed rate, after a short warming up."""
        warm, full = (None, min(2.0, self.seconds)), (None, self.seconds)
        _, fixed, full_part = (
            self._one(urls, seats, spent, spread=spread, rate=rate, seconds=seconds)
            for rate, seconds in (warm, (self.rate, self.seconds_at_rate), full)
        )
        return full_part, fixed

    def _one(
        self,
        urls: list[str],
        seats: list[list[Seat]],
        spent: Callable[[], Spent],
        *,
        spread: bool,
        rate: int | None,
        seconds: float,
    ) -> Part:
        before = spent()
        plan = {
            "urls": urls,
            "channels": [[seat.plan() for seat in channel] for channel in seats],
            "rate": rate,
            "seconds": seconds,
            "listening": not spread,
        }
        got = generate(HERE / "load.py", plan)
        used = spent() - before
        counts = iter(got["counts"])
        for channel in seats:
            now = [next(counts) for _ in channel]
            said = sum(now) - sum(seat.count for seat in channel)
            channel[:] = [
                replace(seat, count=count, after=seat.after + said)
                for seat, count in zip(channel, now, strict=True)
            ]
        return part(got, used)


def part(got: dict[str, Any], used: Spent) -> Part:
    """What a load printed, and what it cost. Raises RuntimeError where something was lost."""
    if got["missing"]:
        raise RuntimeError(f"{got['missing']} deliveries never came")
    cuts = statistics.quantiles(got["latencies"], n=100)
    thousands = got["accepted"] / 1000
    return Part(
        got["accepted"],
        got["delivered"],
        got["seconds"],
        used.own / thousands,
        used.engines / thousands,
        *(cuts[at] * 1e3 for at in (49, 94, 98)),
    )


def generate(script: Path, plan: dict[str, Any]) -> dict[str, Any]:
    """Run a load's own process."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(plan, file)
        file.flush()
        told = subprocess.run([sys.executable, script, file.name], capture_output=True, text=True, check=False)
    if told.returncode:
        raise RuntimeError(told.stderr)
    return dict(json.loads(told.stdout))


def service(
    cell: Cell,
    load: Load,
    place: Path | None = None,
    *,
    watch: Callable[[int], None] | None = None,
    ended: Callable[[], None] | None = None,
) -> Figures:
    """The service's figures in this cell. `place`: where databases of SQLite lie.

    `watch` is given the first process before the load, and `ended` called after it.
    """
    with tempfile.TemporaryDirectory(dir=place) as folder, contextlib.ExitStack() as stack:
        data = Path(folder)
        name = stack.enter_context(databases(data, bus=True)) if cell.engine == "postgresql" else None
        seats = prepared(data, name, cell)
        before = _size(data, name)
        servers = [stack.enter_context(running(data, *FREE)) for _ in range(cell.processes)]
        pids = [one.process.pid for one in servers]
        engines = [*find("postgres"), *find("nats-server")] if name else []

        def spent() -> Spent:
            own = sum(cpu(one) for pid in pids for one in tree(pid))
            return Spent(own, sum(tree_cpu(pid) for pid in engines))

        if watch is not None:
            watch(pids[0])
        talking = seats if cell.spread else seats[:LISTENED]
        full, fixed = load.run([one.url for one in servers], talking, spent, spread=cell.spread)
        if ended is not None:
            ended()
        figures = Figures(full, fixed, sum(map(memory, pids)))
        said = sum(seat.count for channel in seats for seat in channel)
        for one in servers:
            status, errors = one.stop()
            if status or errors:
                raise RuntimeError(f"the service ended with {status}: {errors}")
        if not cell.stored:  # else what was there before is many times what came
            figures.stored = (_size(data, name) - before) / said
        return figures


def prepared(data: Path, name: str | None, cell: Cell) -> list[list[Seat]]:
    """A service's database with this many channels, devices and entries; no process serves from it."""
    with running(data, *FREE) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        (founder,) = found_channel(client, data)
    seat = Seat(founder.channel, founder.token, founder.count, founder.handshake_head)
    return fill(data, name, seat, cell.channels, cell.devices, cell.stored)


def _size(data: Path, name: str | None) -> int:
    if name is None:
        return sum(one.stat().st_size for one in data.rglob("*") if one.is_file())
    administer("CHECKPOINT")
    return sum(int(administer(f"SELECT pg_database_size('{one}')")[0][0]) for one in (name, name + "_apart"))


def relay(cell: Cell, load: Load) -> Figures:
    """The empty relay's figures: it stores nothing and checks nobody."""
    channels = [bytes([number]) * 16 for number in range(cell.channels)]
    seats = [[Seat(one, bytes([place]) * 32) for place in range(cell.devices)] for one in channels]
    with subprocess.Popen([sys.executable, HERE / "relay_floor.py"], stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip().removeprefix(READY) if process.stdout else ""
            full, fixed = load.run([url], seats, lambda: Spent(cpu(process.pid), 0.0), spread=cell.spread)
            return Figures(full, fixed, memory(process.pid))
        finally:
            process.terminate()
