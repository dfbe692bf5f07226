"""What a person is told: one clear sentence and what to do. Never a traceback, never a secret.

PourparlerError
├── UserError        you asked for something that cannot be done; nothing has changed
├── Unreachable      the service does not answer; try again, nothing is lost
│   ├── Waits            the channel is not ready for this yet; it is done by itself when it is
│   ├── Lacking          a text cannot be stored or opened: the service has the other half of its key
│   └── Unkept           what was said is in memory only, and gone with the program
├── Refused          the service answered, and said no
│   ├── Stale            a newer handshake entry exists
│   └── WrongCount       another copy of this vault has been used, or the service lost something
├── Spoiled          what came in is not what was announced; nothing of it is kept
└── Halted           this channel must not go on from here (an old copy, a fork, an unknown event)
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # its schemas load what could reach a network, and `pourparler verify` loads nothing that could
    from pourparler_policies.wire import Problem


class PourparlerError(Exception):
    """Base of everything that this package raises on purpose."""


class UserError(PourparlerError):
    """You asked for something that cannot be done. Nothing has changed."""


class Unreachable(PourparlerError):
    """The service does not answer. What you wanted to send waits in the vault."""


class Waits(Unreachable):
    """The channel is not ready for this yet. It waits in the vault, and is done by itself."""


class Lacking(Unreachable):
    """A text cannot be stored or opened without the service's half of its key for this `end`. Nothing has changed."""

    def __init__(self, end: int) -> None:
        super().__init__("the service has the other half of a key that is needed here: connect, and try again")
        self.end = end


class Unkept(Unreachable):
    """What was said could be neither sent nor stored: it is in memory only."""


class Refused(PourparlerError):
    """The service said no; `problem` says why."""

    def __init__(self, message: str, problem: "Problem | None" = None, retry_after: int = 0) -> None:
        super().__init__(message)
        self.problem = problem
        self.retry_after = retry_after  # seconds


class Stale(Refused):
    """A newer handshake entry exists: fold it first, then seal anew."""


class WrongCount(Refused):
    """The service has accepted `count` entries of this device, which is not what the vault says."""

    def __init__(self, message: str, count: int) -> None:
        from pourparler_policies.wire import Problem  # noqa: PLC0415 -- see above

        super().__init__(message, Problem.WRONG_COUNT)
        self.count = count


class Spoiled(PourparlerError):
    """What came in is not what was announced: its author, another member or the service plays false."""


class Halted(PourparlerError):
    """The channel is stopped on this device; the sentence says why and what to do."""
