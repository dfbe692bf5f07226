"""Texts at rest: sealed under keys of which the vault has one half and the service the other (DESIGN 4.4, #1).

1. No text is in the vault's file in another form, not even inside the file's encryption.
2. The service's halves are in memory only, while the vault is open, for as long as a text may need them.
3. They are asked for in whole blocks, the same for every text that ends in one: that tells the service how far
   ahead a device's texts live, not when any of them ends.
4. Where a charter lets people read without a connection the key is the vault's alone: then a copy of the vault
   opens a text also after its time.

No network here: what is missing is raised as `Lacking`, and `fetching.py` asks the service for it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pourparler_crypto.errors import CryptoError
from pourparler_crypto.hours import HALF_LENGTH, hour_key, open_text, seal_text
from pourparler_policies import hours
from pourparler_policies.limits import HOUR, LONG_STEP, MIDDLE_STEP, MINUTE, SHORT_STEP

from .errors import Lacking

# The end of a text whose key is the vault's alone: no half belongs to it.
ALONE: Final = 0
_NO_HALF: Final = bytes(HALF_LENGTH)  # RFC 5869, 2.2: the salt of who has none
# What is sealed in a channel is named by a number, and opens under no other one. Each kind has a space of its own, for
# numbers below 2**58: messages lie in the lowest by their seq (at most wire.MAX_SEQ), all others above it.
SPACE: Final = 1 << 58
DRAFT: Final = 1 * SPACE  # by its number
IDEA: Final = 2 * SPACE  # texts of a round of ideas (rounds.py)
SEED: Final = 3 * SPACE  # a leaf's old key (ending.py)
WORDS: Final = 4 * SPACE  # of a paper's revision, by the seq of their entry
REMARK: Final = 5 * SPACE  # by its seq
NOTE: Final = 6 * SPACE  # by 6 bytes of its name
SOUNDED: Final = 7 * SPACE  # packages of a sounding, by the seq of their entry
PACKET: Final = 8 * SPACE  # of a round of ideas, by 6 bytes of its name and one for the place (ideapackets.py)

# Ends in a block, by how far apart they lie: 8 days, 4 hours, a quarter of an hour; 11 KB an answer at most.
_IN_BLOCK: Final = {LONG_STEP: 192, MIDDLE_STEP: 240, SHORT_STEP: 90}
# Seconds for which a device that loses its connection can still seal what is said and read.
AHEAD: Final = {LONG_STEP: 24 * HOUR, MIDDLE_STEP: 4 * HOUR, SHORT_STEP: 15 * MINUTE}


@dataclass(frozen=True, slots=True)
class Block:
    """A run of ends that is asked for as one: `number` of them, `step` seconds apart, from `first` on."""

    first: int
    step: int
    number: int

    @property
    def last(self) -> int:
        """Its last end, Unix seconds."""
        return self.first + (self.number - 1) * self.step


def block_of(end: int, step: int) -> Block:
    """The block of ends of this step in which an end lies."""
    span = step * _IN_BLOCK[step]
    return Block((end - step) // span * span + step, step, _IN_BLOCK[step])


def blocks(ends: Iterable[int]) -> list[Block]:
    """The blocks in which these ends lie, each once, in order."""
    steps = (LONG_STEP, MIDDLE_STEP, SHORT_STEP)
    found = {block_of(end, next(step for step in steps if end % step == 0)) for end in ends}
    return sorted(found, key=lambda block: (block.first, block.step))


def blocks_ahead(now: int, lives: Iterable[int]) -> list[Block]:
    """The blocks for texts of these lives (seconds) that are said or read from `now` on, for a while."""
    found = {
        block_of(hours.end(moment + life, life), hours.step(life)): None
        for life in lives
        for moment in (now, now + AHEAD[hours.step(life)])
    }
    return list(found)


class Hours:
    """The halves of one channel that are at hand, and what is sealed under them."""

    def __init__(self, channel: bytes, vault_half: bytes) -> None:
        self._channel = channel
        self._vault_half = vault_half  # 32 bytes; empty when the channel is not in the vault
        self._halves: dict[int, bytes] = {}
        self.over = 0  # ends up to this one are over, as the service has said
        self.refused: set[int] = set()  # ends that are later than the operator allows

    @property
    def secret(self) -> bytes:
        """The vault's half, 32 random bytes that nobody else has: also the key of digests that only it can make."""
        return self._vault_half

    def has(self, end: int) -> bool:
        """Whether texts of this end can be sealed and opened now."""
        return end == ALONE or end in self._halves

    def at_hand(self) -> dict[int, bytes]:
        """The halves in memory (32 bytes each), by their ends."""
        return dict(self._halves)

    def is_over(self, end: int) -> bool:
        """Whether the service has destroyed its half: nothing can be stored under it any more."""
        return end != ALONE and end <= self.over and end not in self._halves

    def lacking(self, ends: Iterable[int]) -> list[int]:
        """Those of these ends whose half is not at hand and not over."""
        return sorted({end for end in ends if not self.has(end) and not self.is_over(end)})

    def learn(self, block: Block, halves: Sequence[bytes]) -> dict[int, bytes]:
        """Halves of the last ends of a block; those before them are over.

        Returns the halves that were at hand and are replaced: the service has lost its own and made others.
        """
        gone = block.number - len(halves)
        if gone:
            self.over = max(self.over, block.first + (gone - 1) * block.step)
        fresh = {block.first + (gone + place) * block.step: half for place, half in enumerate(halves)}
        replaced = {end: self._halves[end] for end in fresh if self._halves.get(end, fresh[end]) != fresh[end]}
        self._halves |= fresh
        return replaced

    def forget(self, now: int) -> None:
        """Halves whose end has come go from memory too."""
        for end in [end for end in self._halves if end <= now]:
            del self._halves[end]

    def seal(self, text: bytes, number: int, end: int) -> bytes:
        """`text` as it is stored, 40 bytes longer. Raises Lacking."""
        return seal_text(self._key(end), text, self._channel, number, end)

    def open(self, sealed: bytes, number: int, end: int, half: bytes | None = None) -> bytes:
        """What `seal` took, under another `half` if given. Raises Lacking, also when the service has another half."""
        try:
            return open_text(self._key(end, half), sealed, self._channel, number, end)
        except CryptoError:
            raise Lacking(end) from None

    def find(self, sealed: bytes, number: int, end: int) -> bytes | None:
        """As `open`; None when its time is over, or the service has lost its half: it opens never again. Raises
        Lacking.
        """
        if self.is_over(end):
            return None
        try:
            return self.open(sealed, number, end)
        except Lacking:
            if self.has(end):
                return None
            raise

    def _key(self, end: int, half: bytes | None = None) -> bytes:
        half = half or (_NO_HALF if end == ALONE else self._halves.get(end))
        if half is None or not self._vault_half:
            raise Lacking(end)
        return hour_key(self._vault_half, half, self._channel, end)
