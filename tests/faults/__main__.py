"""`make faults`: many runs, each with its seed. A run that fails prints the command that repeats it."""

import argparse
import random
import sys
import time
import traceback
from collections import Counter

from .world import SITES, run


def main() -> int:
    """Status 0 when every run held."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=6.0, help="of faults in a run")
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(2**32), help="of the first run"
    )
    parser.add_argument(
        "--engine", choices=sorted(SITES), default="sqlite", help="postgresql: two processes on two hosts"
    )
    options = parser.parse_args()
    faults: Counter[str] = Counter()
    entries, failed, began = 0, 0, time.monotonic()
    for seed in range(options.seed, options.seed + options.runs):
        try:
            acknowledged, befallen = run(seed, options.seconds, options.engine)
        except Exception:
            failed += 1
            traceback.print_exc()
            again = f"--runs 1 --engine {options.engine} --seconds {options.seconds} --seed {seed}"
            print(f"FAILED: make faults ARGS='{again}'", flush=True)
            continue
        entries, faults = entries + acknowledged, faults + befallen
        told = ", ".join(f"{number} {name}" for name, number in sorted(befallen.items()))
        print(f"seed {seed}: {acknowledged} entries; {told}", flush=True)
    told = ", ".join(f"{number} {name}" for name, number in sorted(faults.items()))
    print(
        f"{options.runs} runs from seed {options.seed}, {failed} failed; {entries} acknowledged entries; {told};"
    )
    print(f"{time.monotonic() - began:.0f} seconds")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
