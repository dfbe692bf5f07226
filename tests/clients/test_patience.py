"""A device that is left alone locks by a clock that also counts while the machine sleeps; so does an open question."""

import asyncio
import os
import pty
import sys
import time
from collections.abc import Iterator

import pytest

from pourparler_clients.cli.locking import answered, asked, next_of, seconds_of_any_kind
from pourparler_clients.errors import UserError

NIGHT = 8 * 3600.0  # seconds


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The other end of a terminal that is standard input."""
    ours, theirs = pty.openpty()
    terminal = os.fdopen(theirs)
    monkeypatch.setattr(sys, "stdin", terminal)
    yield ours
    os.close(ours)
    terminal.close()


async def test_a_machine_that_slept_through_the_night_is_locked_when_it_wakes() -> None:
    now, lines = [0.0], asyncio.Queue[bytes | None]()
    waiting = asyncio.create_task(next_of(lines, 900, lambda: now[0]))
    await asyncio.sleep(0.05)
    now[0] += NIGHT
    await asyncio.wait({waiting}, timeout=5)
    assert waiting.done()
    with pytest.raises(TimeoutError):
        waiting.result()


async def test_what_is_typed_first_after_such_a_night_is_not_taken() -> None:
    now, lines = [0.0], asyncio.Queue[bytes | None]()
    waiting = asyncio.create_task(next_of(lines, 900, lambda: now[0]))
    await asyncio.sleep(0.05)
    now[0] += NIGHT
    lines.put_nowait(b"who is there?\n")
    with pytest.raises(TimeoutError):
        await waiting


async def test_lines_that_come_in_time_are_taken_and_each_begins_the_time_anew() -> None:
    now, lines = [0.0], asyncio.Queue[bytes | None]()
    for line in (b"one\n", b"two\n", None):
        now[0] += 800
        lines.put_nowait(line)
        assert await next_of(lines, 900, lambda: now[0]) == line
        now[0] += 800


@pytest.mark.skipif(sys.platform != "linux", reason="CLOCK_BOOTTIME is Linux's")
def test_the_clock_of_a_lock_counts_the_sleep_of_the_machine() -> None:
    assert abs(seconds_of_any_kind() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 1


async def test_a_question_that_nobody_answers_is_given_up(keyboard: int) -> None:
    with pytest.raises(UserError, match="the vault is closed"):
        asked("Do you accept? ", 0.2)
    with pytest.raises(UserError, match="the vault is closed"):
        await answered("Do you accept? ", 0.2)


async def test_an_answer_is_taken_and_the_end_of_the_input_is_none(keyboard: int) -> None:
    os.write(keyboard, b" yes \nno\n\x04")
    assert (asked("Do you accept? "), await answered("Do you accept? ")) == ("yes", "no")
    with pytest.raises(EOFError):
        asked("Do you accept? ")
