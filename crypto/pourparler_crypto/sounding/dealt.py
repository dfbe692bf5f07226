"""A sounding dealt across channels that share no member: XOR shares of random secrets (DESIGN 4.5; review-protocol, 7).

1. Fresh for every deal: a secret for each package, all shares but the last, and every token. Who has seen one result
   knows that secret; dealt again, it would let a party and the service feign that all accept.
2. The target is a hash of the secret: who knows all shares of the others still cannot hand in what is missing.
3. **Blind to the service and to the other parties, never to the dealer**, who knows every share: it can read each
   answer with the service's help, or from a deal in which it holds all other slots; can feign that all accept; and can
   make it fail by one wrong share. A share's receiver can check nothing of that, and is told so before it answers.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pourparler_crypto.card import Card, CardKey
from pourparler_crypto.encoding import lp, unlp
from pourparler_crypto.errors import Malformed, ProtocolError, UsageError

from .answering import Answer
from .errors import BadDeal
from .tally import (
    MAX_PACKAGES,
    MAX_PARTIES,
    MIN_PARTIES,
    TOKEN_LENGTH,
    VALUE_LENGTH,
    Form,
    Random,
    Tally,
    draw,
    token_hash,
    xor,
    xor_target,
)

SEALING: Final = 1120 + 16  # bytes that sealing to a card adds


@dataclass(frozen=True, slots=True, repr=False)
class Share:
    """One party's part: its token of 32 bytes, 32 bytes for each package."""

    token: bytes
    values: bytes

    def encode(self) -> bytes:
        """40 + 32·packages bytes."""
        return lp(self.token, self.values)

    @classmethod
    def decode(cls, data: bytes) -> "Share":
        """Raises Malformed."""
        token, values = unlp(data, 2)
        if len(token) != TOKEN_LENGTH:
            raise Malformed("this is no share")
        return cls(token, values)

    def seal_to(self, card: Card, tally: Tally) -> bytes:
        """To one card, 1,176 + 32·packages bytes: others of the same channel, and of the same side, do not read it."""
        return card.seal(_info(tally), self.encode())


def deal(
    parties: int, packages: int, opens: int, closes: int, agreed: bytes, random: Random = os.urandom
) -> tuple[Tally, tuple[Share, ...]]:
    """A tally and each party's share. Draws for each party its token and, for each package, 32 bytes.

    The shares of a package are uniform, and so is their XOR, which is nowhere but in the target's hash.
    """
    if not MIN_PARTIES <= parties <= MAX_PARTIES or not 1 <= packages <= MAX_PACKAGES:
        raise UsageError("a sounding of too few or too many parties or packages")
    shares = tuple(
        Share(draw(random, TOKEN_LENGTH), draw(random, VALUE_LENGTH * packages)) for _ in range(parties)
    )
    return tally_of(shares, opens, closes, agreed), shares


def tally_of(shares: Sequence[Share], opens: int, closes: int, agreed: bytes) -> Tally:
    """The tally that goes with these shares."""
    together = bytes(len(shares[0].values))
    for share in shares:
        together = xor(together, share.values)
    targets = tuple(xor_target(together[at : at + VALUE_LENGTH]) for at in range(0, len(together), VALUE_LENGTH))
    slots = tuple(token_hash(share.token) for share in shares)
    return Tally(Form.XOR, slots, targets, opens, closes, agreed)


def agreed(salt: bytes, packages: Sequence[bytes], opens: int, closes: int) -> bytes:
    """What a dealt tally is about, 32 bytes: every side's device makes it of what it was shown.

    `salt` of 32 random bytes goes with the question: the service could try texts without it.
    """
    times = opens.to_bytes(8, "big") + closes.to_bytes(8, "big")
    return hashlib.sha256(lp("pourparler/sounding/dealt/v1", salt, times, *packages)).digest()


def check_deal(tally: Tally, share: Share, parties: int, seen: Iterable[bytes] = ()) -> None:
    """What a share's receiver can check, and no more: see the module's third rule. `seen`: targets and slots of deals
    that came earlier. Raises BadDeal.
    """
    if tally.form is not Form.XOR or len(tally.slots) != parties:
        raise BadDeal("the deal is not among as many sides as it says")
    if len(share.values) != VALUE_LENGTH * len(tally.targets) or token_hash(share.token) not in tally.slots:
        raise BadDeal("the share handed out here belongs to another deal")
    if {*tally.targets, *tally.slots} & set(seen):
        raise BadDeal("the secret or the place of an earlier sounding was dealt again")


def receive(key: CardKey, sealed: bytes, tally: Tally, parties: int, seen: Iterable[bytes] = ()) -> Share:
    """Opens and checks what was sealed to this card. Raises BadDeal."""
    try:
        share = Share.decode(key.open(_info(tally), sealed))
    except BadDeal:
        raise
    except ProtocolError:
        raise BadDeal("what was handed out here cannot be opened with this device's card") from None
    check_deal(tally, share, parties, seen)
    return share


def prepare(tally: Tally, share: Share, random: Random = os.urandom) -> Answer:
    """What a party's device keeps from here on; the share must be erased with it. Draws a filling."""
    return Answer(share.token, tally.filling(random), share.values)


def _info(tally: Tally) -> bytes:
    return lp("pourparler/sounding/share/v1", tally.handle)
