"""A peer's server as a process of this run: started in a folder of its own, measured under the load, and ended."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ..cells import Cell, Figures, Load, Part, generate, part
from ..processes import Spent, memory

LINE: Final = 60  # seconds in which a server has begun to listen
END: Final = 30  # seconds in which it has ended
WARM: Final = 2.0  # seconds, as for the service


def port() -> int:
    """A port of the loopback interface that was free a moment ago."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], where: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The server that this command starts, once it listens at port `where`; it has ended when the block is left.

    Raises RuntimeError with what it printed where it does not begin to listen.
    """
    printed = folder / "printed.log"
    with printed.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        late = time.monotonic() + LINE
        while not _listens(where):
            if process.poll() is not None or time.monotonic() > late:
                raise RuntimeError(f"{command[0]} did not begin to listen: {printed.read_text()[-2000:]}")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(where: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", where), 1):
        return True
    return False


def measured(
    cell: Cell, load: Load, script: Path, groups: list[list[dict[str, Any]]], where: int, pid: int
) -> tuple[Figures, int]:
    """The same parts as the service's: a warming up, the fixed rate, saturation. And how many entries were said.

    `groups` holds what the script must know of each device; where the load ends, it says where the next goes on.
    """
    if (len(groups), {len(one) for one in groups}) != (cell.channels, {cell.devices}):
        raise ValueError("other groups than the cell's")
    parts: list[Part] = []
    said = 0
    warm, full = (None, min(WARM, load.seconds)), (None, load.seconds)
    for rate, seconds in (warm, (load.rate, load.seconds_at_rate), full):
        plan = {
            "urls": [f"http://127.0.0.1:{where}"],
            "channels": groups,
            "rate": rate,
            "seconds": seconds,
            "listening": True,
            "pid": pid,
        }
        got = generate(script, plan)
        states = iter(got["states"])
        groups = [[one | next(states) for one in group] for group in groups]
        parts.append(part(got, Spent(got["spent"], 0.0)))
        said += got["accepted"]
    _, fixed, full = parts
    return Figures(full, fixed, memory(pid)), said


def size(folder: Path) -> int:
    """Bytes of all files in it."""
    return sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())
