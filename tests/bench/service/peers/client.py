"""What the load clients of the peers have alike.

Each is a device for the load that talks to our own service (tests/bench/service/load.py), so that pace, posters,
latencies and losses are counted by the same code. An entry is a text: 1,024 random bytes in base64, as our wire
carries them, and behind a mark the entry's id; so an id that was read means that the text before it has come.

The server's CPU is read by the load itself when everybody listens and again when the last entry has come: logging in
is dearer here than with us, and not what is compared. (Our service's figures include its devices' connecting.)
"""

import asyncio
import json
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import uvloop
from tests.bench.service.load import Load, Talking, b64
from tests.bench.service.processes import tree_cpu

MARK: Final = b"~entry~"  # in no base64, XML name or token
ID: Final = 24  # bytes of an entry's id in base64
PATIENCE: Final = 30.0  # seconds, for any one answer


class Peer(Talking, Protocol):
    """A device that can go on in the next load where it stopped in this one."""

    def state(self) -> dict[str, Any]: ...


def drawn() -> bytes:
    """A new entry's id."""
    return b64(os.urandom(16)).encode()


def marks(data: bytes) -> Iterator[tuple[bytes, int]]:
    """The ids of the entries whose texts are in `data`, each with the place where it ends."""
    at = 0
    while (found := data.find(MARK, at)) >= 0:
        at = found + len(MARK) + ID
        if at > len(data):
            return
        yield data[at - ID : at], at


class PeerLoad(Load):
    """The load, over a peer's devices."""

    def __init__(self, plan: dict[str, Any], device: Callable[[Load, dict[str, Any], str], Peer]) -> None:
        self.pid = plan["pid"]
        self.peers: list[Peer] = []
        self.spent = 0.0

        def made(load: Load, one: dict[str, Any], url: str) -> Talking:
            self.peers.append(device(load, one, url))
            return self.peers[-1]

        super().__init__(plan, made)

    async def connected(self) -> deque[tuple[Any, deque[Talking]]]:
        free = await super().connected()
        self.spent = tree_cpu(self.pid)
        return free

    async def run(self) -> dict[str, Any]:
        got = await super().run()
        return got | {"spent": tree_cpu(self.pid) - self.spent, "states": [one.state() for one in self.peers]}


def main(device: Callable[[Load, dict[str, Any], str], Peer]) -> None:
    """Run the plan that the command line names; print its figures."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(PeerLoad(plan, device).run())))
