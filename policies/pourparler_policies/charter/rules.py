"""What the fold needs of a charter, as plain data. No rule here, or anywhere, looks at a party's name or place."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

POLICY_VERSION: Final = 1  # the rules of the fold; a charter pins them, so that an upgrade splits no channel
MAX_CHARTER: Final = 64 * 1024  # bytes of UTF-8: an amendment travels in one entry


class Role(StrEnum):
    """What a person is inside a body. Only HEAD and DELEGATE decide for a party."""

    HEAD = "head"
    DELEGATE = "delegate"
    ASSISTANT = "assistant"  # prepares
    INTERPRETER = "interpreter"  # prepares
    INTERMEDIARY = "intermediary"  # of an intermediary; no vote


DECIDING: Final = frozenset({Role.HEAD, Role.DELEGATE})
HEAD_DECIDES: Final = 0  # a decision rule; k >= 1 means k of the head and the delegates


@dataclass(frozen=True, slots=True, order=True)
class Named:
    """A card that the charter names: `card` is its fingerprint, 32 bytes."""

    body: str
    role: Role
    card: bytes


@dataclass(frozen=True, slots=True)
class Rules:
    """What the fold needs of a charter. `charter` is its hash, 32 bytes; times are seconds."""

    charter: bytes
    parties: Mapping[str, int]  # party: its decision rule, HEAD_DECIDES or k
    intermediaries: frozenset[str]
    founding: frozenset[Named]
    seats: int  # a party may have
    intermediary_seats: int
    devices: int  # a seat may have, 1 or 2
    absence: int  # seconds that a device may be silent
    notice: int  # seconds between a vote of absence and its effect
    longest_recess: int  # seconds
    recall: bool  # whether a party may call its own people back by itself
    version: int = POLICY_VERSION

    @property
    def bodies(self) -> frozenset[str]:
        """Parties and intermediaries."""
        return frozenset(self.parties) | self.intermediaries
