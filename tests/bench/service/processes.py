"""What processes use, as the kernel tells: CPU seconds, and memory that is theirs."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Spent:
    """CPU seconds of the service's own processes, and of the engines that it needs."""

    own: float
    engines: float

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(self.own - other.own, self.engines - other.engines)


def cpu(pid: int, *, dead_children: bool = False) -> float:
    """User and system seconds of a process, with those of its children that have ended if they are asked for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if dead_children else 13])) / TICKS


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    return found


def tree_cpu(pid: int) -> float:
    """CPU seconds of a process and all that descend from it, ended ones too."""
    spent = 0.0
    for one in tree(pid):
        try:
            spent += cpu(one, dead_children=True)
        except FileNotFoundError:
            continue
    return spent


def memory(pid: int) -> float:
    """Memory of a process and its descendants in MB, what they share counted once (proportional set size)."""
    kilobytes = 0
    for one in tree(pid):
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                kilobytes += int(line.split()[1])
    return kilobytes * 1024 / 1e6


def find(name: str) -> list[int]:
    """Processes of this name whose parent has another one: of a server, the one that began."""
    told = subprocess.run(["pgrep", "-x", name], capture_output=True, text=True, check=False)
    pids = [int(one) for one in told.stdout.split()]
    return [one for one in pids if _parent(one) not in pids]


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
