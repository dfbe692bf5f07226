"""Where the time of a service's process goes, by py-spy: samples of its threads while the load saturates it."""

import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from .cells import Cell, Load, service

# The innermost frame that one of these words fits says what a sample was spent on; the first that fits counts.
KINDS: Final = (
    (
        "waiting for the disk or the database",
        ("sqlite", "psycopg", "fsync", "(postgres/", "places.py", "writer.py"),
    ),
    ("checking and storing an append", ("append.py", "batch.py", "state.py", "storagekeys.py", "halves.py")),
    ("parsing and encoding JSON", ("pydantic", "wire.py", "encoder", "json")),
    ("sending to streams", ("streams.py", "_selector", "transports")),
    ("HTTP", ("httptools", "uvicorn", "starlette", "fastapi", "connection.py", "access.py", "api.py")),
    ("the loop", ("asyncio", "uvloop", "concurrent", "threading")),
)
REST: Final = "the rest"


def profile(cell: Cell, load: Load, place: Path | None = None) -> str:
    """A table of shares, and the ten functions of ours with most. Raises RuntimeError without py-spy."""
    spy = shutil.which("py-spy", path=Path(sys.executable).parent) or shutil.which("py-spy")
    if spy is None:
        raise RuntimeError("py-spy is not there: pip install py-spy")
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        watchers = []

        def watch(pid: int) -> None:
            command = [spy, "record", "-p", str(pid), "-f", "raw", "-o", file.name, "-r", "200", "-t"]
            watchers.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

        def ended() -> None:
            for one in watchers:
                one.send_signal(2)
                one.wait(60)

        figures = service(cell, load, place, watch=watch, ended=ended)
        told = Path(file.name).read_text()
    return shares(told.splitlines()) + f"\n\nUnder the profiler it took {figures.full.rate:,.0f} entries/s."


def shares(stacks: Iterable[str]) -> str:
    """Of py-spy's raw lines: `outer;…;inner count`."""
    kinds: Counter[str] = Counter()
    inner: Counter[str] = Counter()
    for line in stacks:
        stack, _, number = line.rpartition(" ")
        frames = stack.split(";")
        kinds[_kind(frames)] += int(number)
        ours = next((frame for frame in reversed(frames) if "pourparler_" in frame), None)
        if ours is not None:
            inner[ours.partition(":")[0].replace("pourparler_", "") + ")"] += int(number)
    total = sum(kinds.values()) or 1
    rows = ["| what | share of samples |", "| --- | ---: |"]
    rows += [f"| {kind} | {number / total:.0%} |" for kind, number in kinds.most_common()]
    rows += ["", "| innermost function of ours | share of samples |", "| --- | ---: |"]
    rows += [f"| `{name}` | {number / total:.0%} |" for name, number in inner.most_common(10)]
    return "\n".join(rows)


def _kind(frames: list[str]) -> str:
    for frame in reversed(frames):
        for kind, words in KINDS:
            if any(word in frame for word in words):
                return kind
    return REST
