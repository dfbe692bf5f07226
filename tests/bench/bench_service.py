"""The service beside an empty FastAPI relay, in one run: real processes on loopback, 1 KiB sealed entries.

    python tests/bench/bench_service.py [--quick] [--channels 8] [--devices 6] [--seconds 15]

Every entry that the service acknowledged was durable (SQLite WAL, synchronous=FULL); the relay stores nothing.
Server CPU is user and system time of the server process; load runs in its own process on the same machine.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from pourparler_service.postgres.testing import databases
from pourparler_service.testing import READY, ServerProcess, b64, found_channel

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
FREE = ("--requests-burst", "1000000000", "--requests-rate", "1000000000")


def cpu(pid: int) -> float:
    """User and system seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid: int) -> float:
    """Resident memory, MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("no VmRSS")


def load(url: str, channels: list[list[dict[str, Any]]], rate: int | None, seconds: float) -> dict[str, Any]:
    """Run the load process."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as plan:
        json.dump({"url": url, "channels": channels, "rate": rate, "seconds": seconds}, plan)
        plan.flush()
        told = subprocess.run(
            [sys.executable, HERE / "load.py", plan.name], capture_output=True, text=True, check=False
        )
    if told.returncode:
        raise RuntimeError(told.stderr)
    return json.loads(told.stdout)


def percentiles(latencies: list[float]) -> tuple[float, float, float]:
    """p50, p95, p99 in milliseconds."""
    cuts = statistics.quantiles(latencies, n=100)
    return cuts[49] * 1e3, cuts[94] * 1e3, cuts[98] * 1e3


def skip_to_head(url: str, channels: list[list[dict[str, Any]]]) -> None:
    """Let the streams of the next part begin where the last one ended. The relay keeps nothing to skip."""
    for channel in channels:
        for device in channel:
            place = f"{url}/v1/channels/{device['channel']}"
            told = httpx.get(place, headers={"Authorization": f"Bearer {device['token']}"})
            device["after"] = told.json()["head"] if told.status_code == 200 else 0


def measure(pid: int, url: str, channels: list[list[dict[str, Any]]], args: argparse.Namespace) -> dict[str, Any]:
    """Warm up, then the fixed rate, then saturation."""
    figures: dict[str, Any] = {}
    for name, rate, seconds in (
        ("warm", None, 2),
        ("fixed", args.rate, args.seconds),
        ("full", None, args.seconds),
    ):
        skip_to_head(url, channels)
        before = cpu(pid)
        got = load(url, channels, rate, seconds)
        spent = cpu(pid) - before
        counts = iter(got["counts"])
        for channel in channels:
            for device in channel:
                device["count"] = next(counts)
        if got["missing"]:
            raise RuntimeError(f"{got['missing']} deliveries never came")
        got["cpu"] = spent / got["accepted"] * 1000
        got["p"] = percentiles(got["latencies"])
        figures[name] = got
    figures["resident"] = resident(pid)
    return figures


def service(args: argparse.Namespace) -> dict[str, Any]:
    """The service's figures."""
    with tempfile.TemporaryDirectory(dir=args.dir) as folder, contextlib.ExitStack() as stack:
        data = Path(folder)
        if args.engine == "postgresql":
            stack.enter_context(databases(data, bus=True))
        server = ServerProcess(data, *FREE)
        try:
            with httpx.Client(base_url=server.url, timeout=30) as client:
                seated = [found_channel(client, data, args.devices) for _ in range(args.channels)]
            channels = [
                [
                    {
                        "channel": b64(one.channel),
                        "token": b64(one.token),
                        "count": one.count,
                        "handshake_head": one.handshake_head,
                    }
                    for one in devices
                ]
                for devices in seated
            ]
            figures = measure(server.process.pid, server.url, channels, args)
            total = sum(figures[name]["accepted"] for name in ("warm", "fixed", "full"))
        finally:
            status, errors = server.stop()
        if status or errors:
            raise RuntimeError(f"the service ended with {status}: {errors}")
        stored = sum(one.stat().st_size for one in data.rglob("*") if one.is_file())
        figures["stored"] = stored / total
        figures["entries"] = total
        return figures


def floor(args: argparse.Namespace) -> dict[str, Any]:
    """The relay's figures."""
    process = subprocess.Popen([sys.executable, HERE / "relay_floor.py"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip().removeprefix(READY)
        channels = [
            [
                {"channel": b64(os.urandom(16)), "token": b64(os.urandom(32)), "count": 0, "handshake_head": 0}
                for _ in range(args.devices)
            ]
            for _ in range(args.channels)
        ]
        for channel in channels:
            for device in channel:
                device["channel"] = channel[0]["channel"]
        return measure(process.pid, url, channels, args)
    finally:
        process.terminate()
        process.wait(10)


def table(ours: dict[str, Any], relay: dict[str, Any]) -> str:
    """Both, and the ratio, as markdown."""
    rows = [("", "service", "empty relay", "ratio")]

    def row(name: str, mine: float, theirs: float | None, form: str = "{:,.0f}") -> None:
        ratio = f"{mine / theirs:.2f}" if theirs else "-"
        rows.append((name, form.format(mine), form.format(theirs) if theirs is not None else "-", ratio))

    for name, label in (("full", "at saturation"),):
        rate = [one[name]["accepted"] / one[name]["seconds"] for one in (ours, relay)]
        row(f"accepted entries a second, {label}", rate[0], rate[1])
        rate = [one[name]["delivered"] / one[name]["seconds"] for one in (ours, relay)]
        row(f"delivered entries a second, {label}", rate[0], rate[1])
    for name, label in (("full", "at saturation"), ("fixed", "at the fixed rate")):
        row(f"server CPU seconds per 1,000 entries, {label}", ours[name]["cpu"], relay[name]["cpu"], "{:.3f}")
    for name, label in (("fixed", "at the fixed rate"), ("full", "at saturation")):
        for index, cut in enumerate(("p50", "p95", "p99")):
            row(f"{cut}, sent to received by every device, {label}, ms", ours[name]["p"][index],
                relay[name]["p"][index], "{:.2f}")  # fmt: skip
    row("resident memory, MB", ours["resident"], relay["resident"])
    row("stored bytes an entry (1,024 sealed)", ours["stored"], None)
    lines = ["| " + " | ".join(one) + " |" for one in rows]
    lines.insert(1, "| --- | ---: | ---: | ---: |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--quick", action="store_true", help="a short run, for a first look")
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--devices", type=int, default=6, help="a channel")
    parser.add_argument("--seconds", type=float, default=15, help="of each measured part")
    parser.add_argument("--rate", type=int, default=20, help="entries a second, in all, of the fixed-rate part")
    parser.add_argument(
        "--dir", type=Path, help="where the database lies (default: the system's temporary folder)"
    )
    parser.add_argument("--only", choices=("service", "relay"), help="one of the two, for profiling")
    args = parser.parse_args()
    if args.quick:
        args.seconds = 4
    print(
        f"{args.channels} channels of {args.devices} devices, 1 KiB sealed entries, {args.seconds:g} s a part, "
        f"fixed rate {args.rate}/s, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}\n"
    )
    nothing = {"full": {}, "fixed": {}}
    relay = floor(args) if args.only != "service" else nothing
    ours = service(args) if args.only != "relay" else nothing
    for name, one in (("service", ours), ("relay", relay)):
        if args.only == name:
            full = one["full"]
            print(
                f"{full['accepted'] / full['seconds']:.0f}/s, CPU {full['cpu']:.3f}, p {full['p']}, "
                f"fixed {one['fixed']['p']}"
            )
    if args.only is None:
        print(table(ours, relay))
        if ours["entries"]:
            print(f"\n{ours['entries']:,} entries stored; every acknowledged one was durable before its receipt.")


if __name__ == "__main__":
    main()
