"""What a person is asked in the midst of a command.

Inside `talk` the answer comes from the reader that talk has: beside it, one of the two would get the line, and what was
typed as an answer could be said to everybody.
"""

import sys
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Final

from ..errors import UserError
from . import locking, texts

Lines = Callable[[], Awaitable[bytes | None]]  # the next line, or None at the end of the input

_lines: Final[ContextVar[Lines | None]] = ContextVar("lines", default=None)


def read_from(lines: Lines) -> None:
    """From now on, in this task, answers are lines from there, and nothing else reads standard input."""
    _lines.set(lines)
    texts.taken = True


def inside_talk() -> bool:
    """Whether somebody else reads standard input."""
    return _lines.get() is not None


async def typed(question: str, otherwise: str) -> str:
    """One line from the person, without blanks around it. Raises UserError(otherwise) where nobody can be asked."""
    if not sys.stdin.isatty():
        raise UserError(otherwise)
    lines = _lines.get()
    if lines is None:
        return await locking.answered(question)
    print(question, end="", flush=True)
    answer = await lines()
    if answer is None:
        raise UserError("there was no answer: nothing was done")
    return answer.decode(errors="replace").strip()
