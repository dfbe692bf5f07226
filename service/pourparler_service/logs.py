"""What the service writes to its log: a line a record, which names nobody.

Our own messages are written to be read. A library's message is written for its developers: what it fills in, its
exceptions and their stacks hold addresses, statements and the values in them. Of such a one its kind is told.
"""

import logging
import sys


class Terse(logging.Formatter):
    """Our messages as they are; of any other the level, the logger, and what it says without what it fills in."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        own = record.name.startswith("pourparler")
        said = record.getMessage() if own else f"{record.name}: {record.msg}"
        lines = said.splitlines() or [""]
        error = record.exc_info[0] if record.exc_info else None
        return f"{record.levelname} {lines[0]}" + (f" ({error.__name__})" if error is not None else "")


def begin() -> None:
    """Log warnings and worse to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Terse())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
