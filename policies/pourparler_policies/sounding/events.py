"""What devices post about a sounding. Nothing here says, or follows from, what a person answers.

All of it is posted by devices by themselves, but `Sounded`, `Dealt` and `Recalled`, which are a person's. Messages are
those of `pourparler_crypto.sounding`, opaque here. `id` is 16 random bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pourparler_policies.errors import Void
from pourparler_policies.fold.decoding import decode
from pourparler_policies.limits import KIB

MAX_EVENT: Final = 224 * KIB  # bytes: eight texts of MAX_TEXTS together, and a share for each of 64 cards


@dataclass(frozen=True, slots=True)
class Sounded:
    """A question without a dealer, to every party of this channel. `packages` are texts in UTF-8; times are Unix
    seconds: people answer until `answer_by`, devices hand in until `closes`. `again`: the one whose line had failed.
    """

    id: bytes
    packages: tuple[bytes, ...]
    answer_by: int
    closes: int
    again: bytes = b""


@dataclass(frozen=True, slots=True)
class Dealt:
    """A question that an intermediary deals across channels, to `sides` parties in all of them together.

    `tally` is that of `pourparler_crypto.sounding`, `salt` (32 bytes) goes into what it is about, `shares` the
    sealed share for each card (fingerprint) of this channel that decides for its party; cards of one party get the
    same share.
    """

    id: bytes
    packages: tuple[bytes, ...]
    answer_by: int
    closes: int
    sides: int
    salt: bytes
    tally: bytes
    shares: Mapping[bytes, bytes]
    again: bytes = b""


@dataclass(frozen=True, slots=True)
class Taking:
    """The author's device takes its party's place: the first one does. Without a dealer, `message` is its
    commitment; dealt, it is empty.
    """

    id: bytes
    message: bytes = b""


@dataclass(frozen=True, slots=True)
class Opening:
    """Opens the commitment, once every party's is there."""

    id: bytes
    message: bytes


@dataclass(frozen=True, slots=True)
class Missed:
    """The author's device could not hand in what it had, whatever that was: it may be asked once more."""

    id: bytes


@dataclass(frozen=True, slots=True)
class Counted:
    """The service's answer, as a device saw that it fits: each reader checks it."""

    id: bytes
    package: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Recalled:
    """The body that asked takes the question back, before devices begin to hand in."""

    id: bytes


Event = Sounded | Dealt | Taking | Opening | Missed | Counted | Recalled


def decode_event(data: bytes) -> Event:
    """At most MAX_EVENT bytes in canonical form. Raises Unknown or Void."""
    event: Any = decode(Event, data, MAX_EVENT)
    if len(event.id) != ID_BYTES:
        raise Void("a sounding has a number of 16 bytes")
    made: Event = event
    return made


ID_BYTES: Final = 16
