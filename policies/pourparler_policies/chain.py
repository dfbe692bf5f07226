"""The running hash over a channel's procedure: two members who see different procedures notice it.

Every sealed entry carries (seq, running hash) of the procedure and handshake entries before it, as its author
saw them. A mismatch is a fork alarm: it stops sending. It never makes an entry void, because not every member
could check that (DESIGN 3, 4.1).
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

from .errors import Fork

HASH_BYTES = 32
# A message may be sealed by somebody whose view lags; 1,024 procedure entries are weeks of a lively channel.
KEPT = 1024  # points

_LABEL = b"pourparler chain v1"


def extend(
    previous: bytes, *, seq: int, entry: bytes, received_at: int, handshake: bool, sealed: bytes, roster: bytes
) -> bytes:
    """Running hash (32 bytes) after one more procedure entry.

    `previous` has 32 bytes; `roster` (32 bytes) is the digest of the roster after the entry: a newcomer who was
    told other members than the rest is noticed at its first message, or at theirs.
    """
    digest = hashlib.sha256(sealed).digest()
    head = seq.to_bytes(8, "big") + entry + received_at.to_bytes(8, "big") + bytes([handshake])
    return hashlib.sha256(_LABEL + previous + head + digest + roster).digest()


def genesis(channel: bytes) -> bytes:
    """Running hash (32 bytes) of a channel in which nothing has happened."""
    return hashlib.sha256(_LABEL + b" genesis" + channel).digest()


@dataclass(slots=True)
class Chain:
    """The points (seq, hash) that this device has seen, newest last."""

    points: OrderedDict[int, bytes] = field(default_factory=OrderedDict)

    @property
    def seq(self) -> int:
        """Seq of the newest procedure entry."""
        return next(reversed(self.points))

    @property
    def head(self) -> bytes:
        """Running hash (32 bytes) at `seq`."""
        return self.points[self.seq]

    def append(self, seq: int, value: bytes) -> None:
        """Adds a newer point and forgets points older than the last `KEPT`."""
        self.points[seq] = value
        while len(self.points) > KEPT:
            self.points.popitem(last=False)

    def compare(self, seq: int, value: bytes) -> None:
        """Compares the point that an entry's author saw with one's own.

        Raises Fork when the author saw another procedure than this device, or one that this device never saw.
        A point older than what is kept cannot be compared and passes.
        """
        if seq < next(iter(self.points)):
            return
        if self.points.get(seq) != value:
            raise Fork
