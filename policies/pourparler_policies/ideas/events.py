"""What the log holds of a round: events of the procedure, in the running hash with all others.

So nobody can be shown another round, or other people in it, than the rest without being noticed.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Called:
    """A round is called for the tick; `about` names the round whose ideas are marked, empty in a round of ideas."""

    id: bytes
    about: bytes
    tick: int
    gather: int
    window: int
    life: int


@dataclass(frozen=True, slots=True)
class Joined:
    """The author's seat takes part with this device; every present device does so by itself, idea or not."""

    id: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """The author's device has the whole list, with its own packets in it."""

    id: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Shown:
    """The author's share of the key, given only after all have seen the same list."""

    id: bytes
    secret: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The round cannot be completed, as the author's device finds, or a person calls it off before anybody joined."""

    id: bytes


Event = Called | Joined | Seen | Shown | Failed
KINDS: Final = (Called, Joined, Seen, Shown, Failed)
