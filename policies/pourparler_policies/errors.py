"""Two families: the caller misused us (Misuse), or somebody else's entry breaks the rules (Violation).

PolicyError
├── Misuse (also a ValueError)
└── Violation
    ├── Void    every member finds the same: the entry counts for nothing
    ├── Fork    the log shown to us is not the log shown to the author: stop sending
    └── Unknown an event type this version does not know: halt, never skip
"""


class PolicyError(Exception):
    """Anything that policies refuse."""


class Misuse(PolicyError, ValueError):
    """The caller asked for something that the rules do not have."""


class Violation(PolicyError):
    """Somebody else's entry is at fault."""


class Void(Violation):
    """The entry counts for nothing, for a reason that every member can check."""


class Fork(Violation):
    """The author of an entry saw another procedure than this device."""

    def __init__(self) -> None:
        super().__init__("the service has shown us another log than it showed the others")


class Unknown(Violation):
    """An event of a type that this version does not know."""
