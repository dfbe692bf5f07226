"""A joint release for 2 to 20 parties: time and bytes of one party, beside the floor of raw libsodium calls.

    python tests/bench/bench_jr2.py [--quick] [--rounds 25] [--sizes 2,3,5,8,10,15,20] [--texts 1] [--bytes 4096]

Every step is timed at the last party, encoding of the state for the vault and of the message included. The
floor is what nobody can do without: the scalar multiplications, point checks, hashes over the text and
signature verifications that the checks of a step consist of. Both take turns within each round; times are CPU
time of the process, in one thread.
"""

import argparse
import gc
import hashlib
import os
import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import nacl

from pourparler_crypto.jr2 import Kind, size
from pourparler_crypto.jr2.group import ED25519, check_point, reduced
from pourparler_crypto.jr2.testing import Desk, desk_of, parties
from pourparler_crypto.sodium import ed25519_keypair, ed25519_sign, ed25519_verify

STEPS = ("R1 commit", "R2 open", "R3 pre-sign", "R3 check", "R4 sign", "R5 deposit", "finish")


class Clock:
    """Milliseconds of CPU by step."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = defaultdict(list)

    def time(self, step: str, act: Callable[..., Any], *arguments: Any) -> Any:
        begin = time.process_time_ns()
        result = act(*arguments)
        self.times[step].append((time.process_time_ns() - begin) / 1e6)
        return result

    def median(self, step: str) -> float:
        return statistics.median(self.times[step])


def ours(clock: Clock, count: int, texts: list[bytes]) -> tuple[Desk, int]:
    """One release; gives the desk and the bytes of the vault's largest state."""
    everyone = parties(count, texts)
    last = everyone[-1]
    messages = [party.begin() for party in everyone[:-1]]
    messages.append(clock.time("R1 commit", last.begin))
    for step in ("R2 open", "R3 pre-sign"):
        answers = [party.receive(messages) or b"" for party in everyone[:-1]]
        answers.append(clock.time(step, last.receive, messages))
        messages = answers
    for party in everyone[:-1]:
        party.receive(messages)
    clock.time("R3 check", last.receive, messages)
    largest = len(last.vault)
    desk = desk_of(everyone[0])
    signed = [party.sign() for party in everyone[:-1]]
    signed.append(clock.time("R4 sign", last.sign))
    for message in signed:
        desk.take_mask(message)
    opened = desk.masks() or []
    shares = [party.receive(opened) or b"" for party in everyone[:-1]]
    shares.append(clock.time("R5 deposit", last.receive, opened))
    clock.time("finish", last.finish, shares)
    for message in shares:
        clock.time("desk: a share", desk.take_share, message)
    clock.time("desk: publish", desk.publish)
    return desk, max(largest, len(last.vault))


class Floor:
    """The raw calls of each step, k texts and n parties."""

    def __init__(self, texts: list[bytes]) -> None:
        self.texts = texts
        self.scalar = reduced(os.urandom(64))
        self.point = ED25519.base(self.scalar)
        self.pair = ed25519_keypair(os.urandom(32))
        self.signatures = [ed25519_sign(self.pair, text) for text in texts]

    def run(self, clock: Clock, n: int) -> None:
        k = len(self.texts)
        clock.time("R1 commit", self.calls, {"base": k})
        clock.time("R2 open", self.calls, {"base": 0})
        clock.time("R3 pre-sign", self.calls, {"valid": k * (n - 1), "base": 2 * k, "hash": k, "add": (n + 1) * k})
        checks = {"valid": 2 * k, "base": k, "times": k, "hash": k, "add": 3 * k}
        clock.time("R3 check", self.calls, {name: (n - 1) * count for name, count in checks.items()})
        clock.time("R4 sign", self.calls, {"base": 0})
        clock.time("R5 deposit", self.calls, {"base": k * (n - 1)})
        clock.time("finish", self.calls, {"base": k * (n - 1), "verify": k * n})

    def calls(self, counts: dict[str, int]) -> None:
        for name, count in counts.items():
            for i in range(count):
                self.one(name, i)

    def one(self, name: str, i: int) -> None:
        text = self.texts[i % len(self.texts)]
        if name == "base":
            ED25519.base(self.scalar)
        elif name == "times":
            ED25519.times(self.scalar, self.point)
        elif name == "add":
            ED25519.plus(self.point, self.point)
        elif name == "valid":
            check_point(self.point)
        elif name == "hash":
            reduced(hashlib.sha512(text).digest())
        else:
            ed25519_verify(self.pair[32:], text, self.signatures[i % len(self.texts)])


def main() -> None:
    """Run and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds: for a look, not for a record")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--sizes", default="2,3,5,8,10,15,20", help="numbers of parties")
    parser.add_argument("--texts", type=int, default=1, help="texts that are completed together")
    parser.add_argument("--bytes", type=int, default=4096, help="length of each text")
    options = parser.parse_args()
    rounds = 3 if options.quick else options.rounds
    texts = [bytes((65 + k,)) * options.bytes for k in range(options.texts)]

    print(f"Python {platform.python_version()}, PyNaCl {nacl.__version__}, {os.cpu_count()} cores; ", end="")
    print(
        f"{options.texts} text of {options.bytes:,} bytes, " if options.texts == 1 else f"{options.texts} texts, ",
        end="",
    )
    print(f"medians of {rounds} rounds, load before: {os.getloadavg()[0]:.2f}.\n")
    sizes = [int(size) for size in options.sizes.split(",")]
    rows, more = [], []
    for n in sizes:
        clock, floor_clock = Clock(), Clock()
        floor = Floor(texts)
        ours(Clock(), n, texts)
        for _ in range(rounds):
            gc.collect()
            desk, vault = ours(clock, n, texts)
            floor.run(floor_clock, n)
        times = [clock.median(step) for step in STEPS]
        total, least = sum(times), sum(floor_clock.median(step) for step in STEPS)
        cells = " | ".join(f"{value:.2f}" for value in [*times, total, least, total / least])
        rows.append(f"| {n} | {cells} |")
        sent = sum(size(kind, options.texts) for kind in Kind)
        publish, share = clock.median("desk: publish"), clock.median("desk: a share")
        held = len(desk.case.encode())
        sizes_of = (sent * (n - 1), held, len(desk.bundle), vault)
        cells = " | ".join(f"{value:,}" for value in sizes_of)
        more.append(f"| {n} | {sent} | {cells} | {share:.2f} | {publish:.2f} |")
    print("Milliseconds of one party:\n")
    print(f"| parties | {' | '.join(STEPS)} | all | floor | all / floor |")
    print("| ---: |" + " ---: |" * (len(STEPS) + 3))
    print("\n".join(rows))
    print("\nBytes, and the desk's milliseconds:\n")
    print("| parties | sent by one | received by one | case | bundle | largest state | ", end="")
    print("desk: a share | desk: publish |")
    print("| ---: |" + " ---: |" * 7)
    print("\n".join(more))


if __name__ == "__main__":
    main()
