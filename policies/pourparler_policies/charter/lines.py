"""Where in a TOML text each key stands, and every line that is no TOML: tomllib stops at the first error and tells
no lines of keys.

The text is cut into statements (a table's head, or a key with its value over as many lines as it needs); each is
judged by tomllib alone, so that what this module accepts and what tomllib accepts are the same.
"""

import tomllib
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any, Final

Path = tuple[str | int, ...]

MAX_VALUE_LINES: Final = 60  # lines of one value: a long text in three quotes, a list with one entry a line
MAX_BROKEN: Final = 30  # lines that are told: nobody mends more at once, and a hostile text costs no more
_REFUSED: Final = (ValueError, RecursionError)  # TOMLDecodeError is a ValueError; so is a number of 5,000 digits


@dataclass(slots=True)
class Located:
    """`document` as tomllib gives it, the line (from 1) of each path, and lines that are no TOML with the
    reason.
    """

    document: dict[str, Any] = field(default_factory=dict)
    lines: dict[Path, int] = field(default_factory=dict)
    broken: list[tuple[int, str]] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """The line of a path, or of the nearest thing around it; 1 when there is none."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def locate(text: str) -> Located:
    """Reads a TOML text statement by statement."""
    located = Located()
    rows = text.replace("\r\n", "\n").split("\n")  # as tomllib does
    good: list[str] = []
    table: Path = ()
    at = 0
    while at < len(rows) and len(located.broken) < MAX_BROKEN:
        taken, parsed, reason = _statement(rows, at)
        statement = "\n".join(rows[at : at + taken])
        if parsed is None:
            located.broken.append((at + 1, reason))
        elif rows[at].lstrip().startswith("["):
            table = _enter(located, parsed, at + 1, array=rows[at].lstrip().startswith("[["))
            good.append(statement)
        else:
            for path in _paths(parsed):
                located.lines.setdefault(table + path, at + 1)
            good.append(statement)
        at += taken
    if not located.broken:
        try:
            located.document = tomllib.loads(text)
        except _REFUSED as error:  # statements that contradict each other: a key or table twice
            located.broken.append(_twice(good, str(error)))
    return located


def _statement(rows: list[str], at: int) -> tuple[int, dict[str, Any] | None, str]:
    """How many lines the statement at `at` takes, and what it says, or why it is none."""
    reason = ""
    continues = "=" in rows[at] and any(mark in rows[at] for mark in ('"""', "'''", "[", "{"))
    for taken in range(1, (MAX_VALUE_LINES if continues else 1) + 1):
        if at + taken > len(rows):
            break
        try:
            return taken, tomllib.loads("\n".join(rows[at : at + taken])), ""
        except _REFUSED as error:
            reason = reason or str(error).partition(" (at ")[0].partition(";")[0]
    return 1, None, reason


def _enter(located: Located, parsed: dict[str, Any], line: int, *, array: bool) -> Path:
    """The path of a table's head. A further entry of an array of tables counts up."""
    path: Path = ()
    inner: Any = parsed
    while isinstance(inner, dict) and inner:
        key = next(iter(inner))
        path += (key,)
        inner = inner[key]
        located.lines.setdefault(path, line)
    if array:
        index = 0
        while (*path, index) in located.lines:
            index += 1
        path += (index,)
        located.lines[path] = line
    return path


def _paths(parsed: Any) -> list[Path]:
    if isinstance(parsed, dict):
        return [(key, *rest) for key, value in parsed.items() for rest in [(), *_paths(value)]]
    return []


def _twice(statements: list[str], reason: str) -> tuple[int, str]:
    """The line of the first statement that contradicts what stands before it, by halving."""

    def fails(count: int) -> bool:
        try:
            tomllib.loads("\n".join(statements[:count]))
        except _REFUSED:
            return True
        return False

    first = bisect_left(range(len(statements) + 1), True, key=fails)
    if first > len(statements):
        return 1, reason
    line = 1 + sum(statement.count("\n") + 1 for statement in statements[: first - 1])
    return line, "this key or table stands here for the second time"
