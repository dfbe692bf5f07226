"""Run official MLS test vectors: python tests/crypto/run_mls_vectors.py DIR_OR_FILES…

Prints a line for each file and the sum; exits with 1 if anything failed, with 2 if called wrongly. Entries of
other cipher suites, and those that use what is left out of the RFC (docs/protocol.md), count as unsupported.
"""

import json
import sys
from pathlib import Path

from pourparler_crypto.mls.vectors import Report, check_entries


def files_of(arguments: list[str]) -> list[Path]:
    files: list[Path] = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            files.extend(sorted(path.rglob("*.json")))
        elif path.is_file():
            files.append(path)
        else:
            raise FileNotFoundError(f"{argument}: no such file or directory")
    return files


def run_file(path: Path) -> Report:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return Report(failed=1, failures=["not a JSON file"])
    if isinstance(entries, dict):
        entries = [entries]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return Report(failed=1, failures=["not a list of vectors"])
    return check_entries(entries)


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    try:
        files = files_of(arguments)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    if not files:
        print("no .json files there", file=sys.stderr)
        return 2
    passed = failed = 0
    for path in files:
        report = run_file(path)
        passed += report.passed
        failed += report.failed
        print(
            f"{path.name}: {report.passed} passed, {report.failed} failed, {report.unsupported} unsupported",
            flush=True,
        )
        for failure in report.failures[:10]:
            print(f"    {failure}", file=sys.stderr)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
