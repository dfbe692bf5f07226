"""A person's answer on the device that hands it in: what is kept never shows what was said.

1. From the registration on, a device keeps its token, `ready` (what it hands in) and `yes` (what it would hand in for
   an acceptance). Before the person speaks `ready` is uniform: who says nothing declines.
2. An acceptance moves values from `yes` to `ready`; `yes` is uniform afterwards. A refusal makes both uniform. So after
   an answer both are uniform whatever it was, to everybody who does not know all masks of this device.
3. An acceptance can be taken back; a refusal cannot, for nothing is left with which to accept.
4. Nothing is kept once it was handed in.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from pourparler_crypto.encoding import lp, unlp
from pourparler_crypto.errors import Malformed, UsageError

from .tally import TOKEN_LENGTH, VALUE_LENGTH, Random, Tally, pieces


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """What a device keeps between registration and tally: a token of 32 bytes, twice 32 bytes for each package."""

    token: bytes
    ready: bytes
    yes: bytes
    given: bool = False  # whether the person has spoken; not what they said

    def encode(self) -> bytes:
        """45 + 64·packages bytes, whatever was answered."""
        return lp(self.token, self.ready, self.yes) + bytes([self.given])

    @classmethod
    def decode(cls, data: bytes) -> "Answer":
        """Raises Malformed."""
        token, ready, yes = unlp(data[:-1], 3)
        if len(token) != TOKEN_LENGTH or len(ready) != len(yes) or len(ready) % VALUE_LENGTH or data[-1] > 1:
            raise Malformed("this is no answer")
        return cls(token, ready, yes, bool(data[-1]))


def answered(tally: Tally, answer: Answer, accepts: Sequence[bool], random: Random = os.urandom) -> Answer:
    """After a person's word on each package. Draws a filling for `ready` and one for `yes`.

    Raises UsageError for a second word that is no refusal of everything, or of another number of packages.
    """
    if len(accepts) != len(tally.targets):
        raise UsageError("a word on each package")
    if answer.given and any(accepts):
        raise UsageError("this was answered already: an answer can be taken back, and not given again")
    fillings = (pieces(tally.filling(random)), pieces(tally.filling(random)))
    ready = [
        yes if word else other for word, yes, other in zip(accepts, pieces(answer.yes), fillings[0], strict=True)
    ]
    return Answer(answer.token, b"".join(ready), b"".join(fillings[1]), given=True)
