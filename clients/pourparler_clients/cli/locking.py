"""Locking: after long silence, at a signal, or when told to. And questions, at which a vault may be open.

1. Time in which the machine slept counts: a laptop that was closed in the evening is locked when it is opened.
2. A closed terminal or a `kill` ends a command as Ctrl-C does: the vault is closed in order, and nothing waits in
   its journal.
3. Locked is said when the vault is closed. On a terminal the screen and what can be scrolled back to are wiped first,
   and so is a line that was begun: the shell would take it as a command, and keep it in its history.
4. A question that nobody answers is given up after as long.
"""

import argparse
import asyncio
import select
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FrameType
from typing import Final

from ..errors import UserError
from .texts import emit

PATIENCE: Final = 15 * 60  # seconds: a device left on a table must not stay open for the evening
_LOOK: Final = 1.0  # seconds: so long after it wakes a machine shows what stood there
_TICK: Final = 0.05  # seconds between looks whether something was typed
_NOBODY: Final = "nobody answered: nothing was done, and the vault is closed"
_WIPE: Final = "\x1b[H\x1b[2J\x1b[3J"  # cursor home, the screen, what was scrolled away (ECMA-48, xterm)

Clock = Callable[[], float]


def seconds_of_any_kind() -> float:
    """Seconds of a clock that only goes on, also while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC)


class Patience:
    """How long a person may be silent: `seconds`, sleep of the machine included."""

    def __init__(self, seconds: float, clock: Clock = seconds_of_any_kind) -> None:
        self._clock = clock
        self._end = clock() + seconds

    @property
    def left(self) -> float:
        """Seconds; 0 or less: it is over."""
        return self._end - self._clock()


async def next_of(
    lines: asyncio.Queue[bytes | None], patience: float, clock: Clock = seconds_of_any_kind
) -> bytes | None:
    """The next line. Raises TimeoutError when none came for `patience` seconds."""
    silence = Patience(patience, clock)
    while True:
        line: bytes | None = b""
        came = False
        with suppress(TimeoutError):
            async with asyncio.timeout(min(_LOOK, max(0.0, silence.left))):
                line, came = await lines.get(), True
        if silence.left <= 0:  # also when a line came: who woke the machine need not be who left it
            raise TimeoutError
        if came:
            return line


def asked(question: str, patience: float = PATIENCE) -> str:
    """What a person types at a question, for which a vault is open. Raises EOFError; UserError when nothing came for
    `patience` seconds.
    """
    for _ in _until_typed(question, patience):
        time.sleep(_TICK)
    return _line()


async def answered(question: str, patience: float = PATIENCE) -> str:
    """As `asked`, while other things go on."""
    for _ in _until_typed(question, patience):
        await asyncio.sleep(_TICK)
    return _line()


def _until_typed(question: str, patience: float) -> Iterator[None]:
    """Asks, and goes on until something was typed. Raises UserError when nothing was for `patience` seconds."""
    print(question, end="", flush=True)
    silence = Patience(patience)
    while not select.select([sys.stdin], [], [], 0)[0]:
        if silence.left <= 0:
            raise UserError(_NOBODY)
        yield


def _line() -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.strip()


def lock_at_signals() -> None:
    """A closed terminal and a polite end do what Ctrl-C does. Who has said that one is ignored (nohup) is heard."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            with suppress(ValueError):  # not the main thread: whoever embeds this sees to it
                signal.signal(number, _as_interrupt)


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    if callable(signal.getsignal(signal.SIGINT)):
        signal.raise_signal(signal.SIGINT)  # asyncio has its own way, which lets what was begun end in order
    else:  # ignored, as in the background of a shell
        raise KeyboardInterrupt


def say_locked(arguments: argparse.Namespace) -> None:
    """Once the vault is closed."""
    wipe_screen(arguments)
    emit(arguments, {"event": "locked"}, ["— locked: the passphrase opens it again —"])


def wipe_screen(arguments: argparse.Namespace) -> None:
    """What was shown, and a line that was begun."""
    with suppress(OSError, ValueError, termios.error):
        if sys.stdin.isatty():
            termios.tcflush(sys.stdin, termios.TCIFLUSH)
    if not arguments.json and sys.stdout.isatty():
        print(_WIPE, end="", flush=True)
