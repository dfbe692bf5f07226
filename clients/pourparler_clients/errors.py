"""What a person is told: one clear sentence and what to do. Never a traceback, never a secret.

PourparlerError
├── UserError        you asked for something that cannot be done; nothing has changed
├── Unreachable      the service does not answer; try again, nothing is lost
│   └── Waits            the channel is not ready for this yet; it is done by itself when it is
├── Refused          the service answered, and said no
│   ├── Stale            a newer handshake entry exists
│   └── WrongCount       another copy of this vault has been used, or the service lost something
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


class Halted(PourparlerError):
    """The channel is stopped on this device; the sentence says why and what to do."""
