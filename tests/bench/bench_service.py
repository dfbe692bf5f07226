"""The service beside an empty FastAPI relay and bare inserts, in one run: real processes on loopback, 1 KiB entries.

    python tests/bench/bench_service.py [--quick] [--only WORD] [--matrix] [--peers] [--profile]

Every entry that the service acknowledged was durable (SQLite: WAL, synchronous=FULL; PostgreSQL: synchronous_commit);
the relay stores nothing. CPU is user and system time; load runs in a process of its own on the same machine.
"""

import argparse
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a file, it finds its package

from tests.bench.service.cells import Cell, Figures, Load, relay, service
from tests.bench.service.inserts import Inserts, bare
from tests.bench.service.peers import PEERS, Absent
from tests.bench.service.profiling import profile

from pourparler_service.postgres.testing import reachable

ENGINES = ("sqlite", "postgresql")
# Channels in all, and entries that lie there: each a hundred times the one before.
GROWTH = ((10, 1_000), (1_000, 100_000), (10_000, 1_000_000))
BATCHES = (1, 16, 64)
SAMPLES = 600  # entries at the fixed rate: the p99 is then the sixth worst, not the worst


def cells(*, matrix: bool, quick: bool, engines: tuple[str, ...]) -> dict[str, list[Cell]]:
    """What is measured, by the heading under which it stands."""
    found = {"8 channels of 6 devices": [Cell("relay"), *(Cell(engine) for engine in engines)]}
    if "postgresql" in engines and (matrix or not quick):
        found["8 channels of 6 devices"].append(Cell("postgresql", processes=2))
    if not matrix:
        return found
    found["8 channels of 60 devices"] = [replace(one, devices=60) for one in found["8 channels of 6 devices"]]
    growth = GROWTH[:2] if quick else GROWTH
    for engine in engines:
        name = Cell(engine).label
        found[f"{name}: more channels, more stored; the load talks in 8 of them"] = [
            Cell(engine, channels=channels, stored=stored) for channels, stored in growth
        ]
        found[f"{name}: more channels, more stored; the load talks in all of them"] = [
            Cell(engine, channels=channels, stored=stored, spread=True) for channels, stored in growth
        ]
    return found


def table(rows: list[list[str]]) -> str:
    """Markdown; the first row is the head, the first column text."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "| --- |" + " ---: |" * (len(rows[0]) - 1))
    return "\n".join(lines)


HEAD = [
    "entries/s",
    "CPU s per 1,000",
    "its engines'",
    "CPU at the rate",
    "p99 at saturation, ms",
    "p50 at the rate, ms",
    "p99",
    "memory, MB",
    "stored bytes",
]


def row(one: Figures) -> list[str]:
    """A cell's figures."""
    return [
        f"{one.full.rate:,.0f}",
        f"{one.full.own:.3f}",
        f"{one.full.engines:.3f}" if one.full.engines else "–",
        f"{one.fixed.own + one.fixed.engines:.2f}",
        f"{one.full.p99:,.1f}",
        f"{one.fixed.p50:,.1f}",
        f"{one.fixed.p99:,.1f}",
        f"{one.memory:,.0f}",
        f"{one.stored:,.0f}" if one.stored else "–",
    ]


def ratios(named: list[tuple[str, Figures]]) -> str:
    """Each of them beside the first."""
    first = named[0][1]
    rows = [[f"times the {named[0][0]}", "entries/s", "CPU s per 1,000", "with its engines'", "p99 at the rate"]]
    for name, one in named[1:]:
        rows.append(
            [
                name,
                f"{one.full.rate / first.full.rate:.2f}",
                f"{one.full.own / first.full.own:.2f}",
                f"{(one.full.own + one.full.engines) / (first.full.own + first.full.engines):.2f}",
                f"{one.fixed.p99 / first.fixed.p99:.2f}",
            ]
        )
    return table(rows)


def inserts(found: list[Inserts]) -> str:
    """The floor's figures."""
    rows = [["bare inserts", "rows to a commit", "rows/s", "CPU s per 1,000", "PostgreSQL's"]]
    for one in found:
        rows.append(
            [
                Cell(one.engine).label,
                f"{one.batch}",
                f"{one.rate:,.0f}",
                f"{one.cpu:.3f}",
                f"{one.engines:.3f}" if one.engines else "–",
            ]
        )
    return table(rows)


def say(*words: str) -> None:
    """Told as soon as it is known: a whole run takes an hour."""
    print(*words, sep="\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--matrix", action="store_true", help="also 60 devices, and more channels and entries")
    parser.add_argument("--peers", action="store_true", help="beside them Prosody and Synapse, where installed")
    parser.add_argument("--profile", action="store_true", help="where the service's time goes (needs py-spy)")
    parser.add_argument("--quick", action="store_true", help="short parts and a smaller matrix, for a first look")
    parser.add_argument("--seconds", type=float, help="of each measured part (15, quick 4)")
    parser.add_argument("--rate", type=int, default=20, help="entries a second, in all, of the fixed-rate part")
    parser.add_argument("--only", metavar="WORD", help="rows and headings with this word in them")
    parser.add_argument("--dir", type=Path, help="where SQLite's files lie (default: the temporary folder)")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that no server outlives this
    load = Load(args.rate, args.seconds or (4 if args.quick else 15), 0 if args.quick else SAMPLES)
    engines = ENGINES if reachable() else ENGINES[:1]
    say(
        f"1 KiB sealed entries, {load.seconds:g} s a part, fixed rate {load.rate}/s (at least {load.samples} entries), "
        f"{os.cpu_count()} cores, "
        f"{time.strftime('%Y-%m-%d')}, load before: {os.getloadavg()[0]:.2f}"
    )
    if engines == ENGINES[:1]:
        say("", "No PostgreSQL answers here (POURPARLER_TEST_POSTGRES): SQLite alone is measured.")
    if args.profile:
        load = replace(load, samples=0)
        for engine in engines:
            say("", f"### Where the time of {Cell(engine).label} goes", "", profile(Cell(engine), load, args.dir))
        return
    for heading, wanted in cells(matrix=args.matrix, quick=args.quick, engines=engines).items():
        named: list[tuple[str, Figures]] = []
        grows = len({(one.channels, one.stored) for one in wanted}) > 1
        for cell in wanted:
            name = f"{cell.channels:,} channels, {cell.stored:,} entries" if grows else cell.label
            if args.only and args.only.lower() not in f"{heading} {name}".lower():
                continue
            named.append((name, relay(cell, load) if cell.engine == "relay" else service(cell, load, args.dir)))
        if args.peers and heading == "8 channels of 6 devices":
            for name, measure in PEERS.items():
                if args.only and args.only.lower() not in f"{heading} {name}".lower():
                    continue
                try:
                    named.append((name, measure(Cell(name), load)))
                except Absent as reason:
                    say("", f"{name} was not measured: {reason}")
        if not named:
            continue
        say("", f"### {heading}", "", table([["", *HEAD], *([name, *row(one)] for name, one in named)]))
        if len(named) > 1:
            say("", ratios(named))
    if not args.only:
        say(
            "",
            inserts(
                [bare(engine, batch, min(load.seconds, 5), args.dir) for engine in engines for batch in BATCHES]
            ),
        )


if __name__ == "__main__":
    main()
