"""MLS beside the floor of raw primitives and beside mls-rs: medians of one run, in microseconds.

    python tests/bench/bench_mls.py [--quick] [--rounds 25] [--sizes 2,8,32,128] [--suite 1|pq] [--counts]

Ours, mls-rs and both floors take turns within each round, so a machine that slows down slows all of them; each
turn has the same operations in the same order, as often. The sender is leaf 0, the receiver leaf 1: it derives the
whole path of each commit. *Warm*: all parent nodes are filled; *cold*: none is. Adds come without a path, the tree
goes beside the Welcome. Our commit includes applying it; that of mls-rs does not (the wheel applies in a second
call, which is not timed).

Times are CPU time of the process, all threads together, which other work on the machine disturbs least. Ours and
the floors run in one thread; mls-rs verifies and seals in several, so it is compared by the wall clock too.
"""

import argparse
import gc
import os
import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import cryptography
import nacl
from cryptography.hazmat.backends.openssl import backend
from mls_floor import Count, Raw, Sizes, count_operations, derive_hmacs
from mls_peers import Ours, Theirs, bundles

from pourparler_crypto import mls

SUITES = {mls.SUITE_X25519_AES128: "suite 1", mls.SUITE_PQ: "the hybrid suite"}
DATA = os.urandom(1024)
Times = dict[tuple[str, str], list[tuple[int, int]]]  # (operation, who) -> nanoseconds of CPU, of wall

COMMITS = 10  # in a turn; the first of them comes after other work, with cold caches
ONCE = ("add 1", "process add", "join", "create, add N-1", "commit, cold")  # in a turn, in this order

SODIUM, OPENSSL, OURS, THEIRS = "floor, libsodium", "floor, OpenSSL", "ours", "mls-rs"

# operation -> (factor, group size or None for any), of the libsodium floor
TARGETS: dict[str, tuple[float, int | None]] = {
    "send 1 KiB": (1.4, None),
    "receive 1 KiB": (1.4, None),
    "commit, warm": (1.3, 32),
    "process it": (1.3, 32),
}


class Clock:
    """Collects CPU and wall times."""

    def __init__(self) -> None:
        self.times: Times = defaultdict(list)

    def time(self, operation: str, who: str, act: Callable[..., Any], *arguments: Any) -> Any:
        """Call once and note the nanoseconds by both clocks."""
        wall, begin = time.perf_counter_ns(), time.process_time_ns()
        result = act(*arguments)
        end, wall_end = time.process_time_ns(), time.perf_counter_ns()
        self.times[operation, who].append((end - begin, wall_end - wall))
        return result

    def median(self, operation: str, who: str, wall: bool = False, every: int = 1) -> float | None:
        """Microseconds; of the first of each ``every`` times only."""
        times = self.times.get((operation, who), [])[::every]
        return statistics.median(pair[wall] for pair in times) / 1000 if times else None


def run_pair(clock: Clock, who: str, pair: Ours | Theirs, host: Ours, repeats: int) -> None:
    """One round of every operation for one implementation."""
    for _ in range(repeats):
        message = clock.time("send 1 KiB", who, pair.send, DATA)
        clock.time("receive 1 KiB", who, pair.receive, message)
    for _ in range(COMMITS):
        commit = clock.time("commit, warm", who, pair.commit)
        pair.settle()
        clock.time("process it", who, pair.receive_commit, commit)
    pair.make_joiner()
    commit = clock.time("add 1", who, pair.add, pair.joiner_package())
    pair.settle()
    clock.time("process add", who, pair.receive_commit, commit)
    commit = pair.remove_newest()
    pair.settle()
    pair.receive_commit(commit)
    pair.make_joiner()
    clock.time("join", who, pair.join, *host.welcome(pair.joiner_package()))
    clock.time("create, add N-1", who, pair.create)
    pair.start_cold()
    clock.time("commit, cold", who, pair.commit_cold)


def run_floor(clock: Clock, who: str, acts: dict[str, list[Callable[[], object]]], repeats: int) -> None:
    """One round of every operation's raw primitives, in the order of run_pair."""

    def all_of(operation: str) -> None:
        for call in acts[operation]:
            call()

    repeated = ["send 1 KiB", "receive 1 KiB"] * repeats + ["commit, warm", "process it"] * COMMITS
    for operation in (*repeated, *ONCE):
        clock.time(operation, who, all_of, operation)


def bench(suite: int, members: int, rounds: int, repeats: int) -> tuple[Clock, dict[str, Count]]:
    """All operations at one size."""
    hybrid = suite == mls.SUITE_PQ
    others = bundles(suite, members - 1)
    pairs: dict[str, Ours | Theirs] = {OURS: (ours := Ours(suite, others))}
    if suite == mls.SUITE_X25519_AES128:
        pairs[THEIRS] = Theirs(others)

    warm = ours.commit()
    ours.receive_commit(warm)
    package = len(others[0].key_package)
    public, digest = (1216, 48) if hybrid else (32, 32)
    sizes = Sizes(
        context=len(ours.sender.group_id) + 2 * digest + 20,
        leaf=package - public - 80 + digest,
        parent=public + digest + 8,
        package=package,
        commit=len(warm) - 150,
    )
    counts = count_operations(members, sizes, derive_hmacs(hybrid))
    floors = {}
    for who, sodium in ((SODIUM, True), (OPENSSL, False)):
        raw = Raw(hybrid, sodium)
        floors[who] = {operation: raw.acts(count) for operation, count in counts.items()}

    turns: list[Callable[[Clock], None]] = []
    for who, pair in pairs.items():
        turns.append(lambda clock, who=who, pair=pair: run_pair(clock, who, pair, ours, repeats))
    for who, acts in floors.items():
        turns.append(lambda clock, who=who, acts=acts: run_floor(clock, who, acts, repeats))

    for turn in turns:  # once without counting
        turn(Clock())
    clock = Clock()
    for number in range(rounds):
        gc.collect()
        gc.disable()
        try:
            for offset in range(len(turns)):
                turns[(number + offset) % len(turns)](clock)
        finally:
            gc.enable()
    return clock, counts


def ratio(part: float | None, whole: float | None) -> str:
    """Two digits, or a dash."""
    return "–" if part is None or not whole else f"{part / whole:.2f}"


def number(value: float | None) -> str:
    """Microseconds for the table."""
    if value is None:
        return "–"
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def main() -> None:
    """Run and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds: for a look, not for a record")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--sizes", default="2,8,32,128", help="members, powers of two")
    parser.add_argument("--suite", choices=("1", "pq"), help="only this one")
    parser.add_argument("--counts", action="store_true", help="list each operation's primitives for every size")
    options = parser.parse_args()
    rounds, repeats = (5, 10) if options.quick else (options.rounds, 20)
    sizes = [int(size) for size in options.sizes.split(",")]
    if any(size < 2 or size & (size - 1) for size in sizes):
        parser.error("sizes are powers of two, from 2 on")
    chosen = {"1": [mls.SUITE_X25519_AES128], "pq": [mls.SUITE_PQ]}.get(options.suite, list(SUITES))

    print(f"Python {platform.python_version()}, cryptography {cryptography.__version__}", end="")
    print(f" ({backend.openssl_version_text()}), PyNaCl {nacl.__version__}, {os.cpu_count()} cores;", end="")
    print(f" medians in µs of CPU time, {rounds} interleaved rounds, load before: {os.getloadavg()[0]:.2f}.\n")
    missed: list[str] = []
    listed: dict[str, Count] = {}
    cold: list[str] = []
    for suite in chosen:
        print(f"### {SUITES[suite]}\n")
        print("| operation | N | ours | libsodium floor | OpenSSL floor | mls-rs | ", end="")
        print("ours / floor | ours / mls-rs | by wall |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
        rows: dict[str, list[str]] = defaultdict(list)
        for members in sizes:
            clock, counts = bench(suite, members, rounds, repeats)
            if members == (32 if 32 in sizes else sizes[-1]):
                listed = listed or counts
                for operation in ("commit, warm", "process it"):
                    firsts = [clock.median(operation, who, every=COMMITS) for who in (OURS, SODIUM)]
                    words = f"{number(firsts[0])} µs, floor {number(firsts[1])}, {ratio(*firsts)}"
                    cold.append(f"{SUITES[suite]}, {operation}: {words}")
            for operation, count in counts.items():
                ours, theirs = clock.median(operation, OURS), clock.median(operation, THEIRS)
                sodium, openssl = clock.median(operation, SODIUM), clock.median(operation, OPENSSL)
                cells = map(number, (ours, sodium, openssl, theirs))
                wall = ratio(clock.median(operation, OURS, wall=True), clock.median(operation, THEIRS, wall=True))
                ratios = " | ".join((ratio(ours, sodium), ratio(ours, theirs), wall))
                rows[operation].append(f"| {operation} | {members} | {' | '.join(cells)} | {ratios} |")
                if options.counts:
                    rows[operation].append(f"<!-- {operation}, N = {members}: {count.words()} -->")
                factor, size = TARGETS.get(operation, (0.0, 0))
                if factor and size in (None, members) and ours and sodium and ours > factor * sodium:
                    missed.append(f"{SUITES[suite]}, {operation}, N = {members}: {ours / sodium:.2f} > {factor}")
                if (ours and theirs and ours >= theirs) or (theirs and float(wall) >= 1):
                    share = f"{ratio(ours, theirs)} by CPU, {wall} by wall"
                    missed.append(f"{SUITES[suite]}, {operation}, N = {members}: behind mls-rs, {share}")
        for lines in rows.values():
            print("\n".join(lines), flush=True)
        print()
    size = 32 if 32 in sizes else sizes[-1]
    print(f"What the floor counts, at N = {size} ({SUITES[chosen[0]]}):\n")
    for operation, count in listed.items():
        print(f"- {operation}: {count.words()}")
    print(f"\nThe first of each turn's {COMMITS} alone, after other work and with cold caches, at N = {size}:\n")
    for line in cold:
        print(f"- {line}")
    print("\nTargets missed: " + ("none." if not missed else ""))
    for miss in missed:
        print(f"- {miss}")


if __name__ == "__main__":
    main()
