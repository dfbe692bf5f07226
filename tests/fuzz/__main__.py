"""`make fuzz`: a coverage-guided fuzzer (atheris) on every parser in turn; what breaks one is kept in the corpus."""

import argparse
import hashlib
import os
import subprocess
import sys
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def _one(name: str, seconds: int) -> None:
    import atheris

    with atheris.instrument_imports(include=["pourparler_crypto", "pourparler_policies"]):
        from tests.fuzz.parsers import LARGEST, parsers

        parser = next(one for one in parsers() if one.name == name)  # this is what imports the parsers

    def tried(data: bytes) -> None:
        try:
            parser(data)
        except BaseException:
            folder = CORPUS / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ("broke-" + hashlib.sha256(data).hexdigest()[:16])).write_bytes(data)
            raise

    found = Path(os.environ["POURPARLER_FUZZ_FOUND"]) / name
    found.mkdir(parents=True, exist_ok=True)
    seeds = [str(CORPUS / name)] if (CORPUS / name).is_dir() else []
    limits = [
        f"-max_total_time={seconds}",
        f"-max_len={LARGEST}",
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *limits, str(found), *seeds], tried)
    atheris.Fuzz()


def main() -> int:
    """Status 0 when nothing broke."""
    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    options.add_argument("--seconds", type=int, default=30, help="for each parser")
    options.add_argument("--only", default="", help="parsers whose name holds this")
    options.add_argument("--one", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.one:
        _one(chosen.one, chosen.seconds)
        return 0
    from tests.fuzz.parsers import parsers

    broken = []
    for parser in parsers():
        if chosen.only not in parser.name:
            continue
        command = [sys.executable, "-m", "tests.fuzz", "--one", parser.name, "--seconds", str(chosen.seconds)]
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            env={"POURPARLER_FUZZ_FOUND": ".hypothesis/fuzz", **os.environ},
        )
        print(f"{parser.name}: {'BROKEN' if done.returncode else 'held'}", flush=True)
        if done.returncode:
            broken.append(parser.name)
            print(done.stderr[-3000:], flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
