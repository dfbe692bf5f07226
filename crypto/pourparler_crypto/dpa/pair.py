"""Who attests what to whom: two cards, two leaf keys, and the Add that brought them together.

Every byte that a run computes depends on all of it and on the direction, so that nothing fits another channel,
epoch, device, card, attempt or the way back (research/deniability.md, A4).
"""

import hashlib
from dataclasses import dataclass

from pourparler_crypto.card import FINGERPRINT_LENGTH, Card
from pourparler_crypto.encoding import lp, unlp
from pourparler_crypto.errors import UsageError
from pourparler_crypto.sodium import PUBLIC_KEY_LENGTH

MAX_GROUP_ID = 255  # bytes; a channel's is 16 or 32
TREE_HASH_LENGTHS = (32, 48, 64)  # bytes: SHA-256, SHA-384, SHA-512
MAX_ATTEMPT = 255  # one byte
TAG_LENGTH = 16  # bytes by which a message names its run: no secret, so only accidents count


@dataclass(frozen=True, slots=True)
class Context:
    """`ctx`: the epoch that began with the Add which seated the later of the two (DESIGN 5).

    group_id   1 to 255 bytes
    epoch      0 to 2**64 - 1: the one that the commit with the Add began
    tree_hash  32, 48 or 64 bytes: of that epoch's tree

    The group context (charter, transcript) is not repeated here: MLS signs it with each message that carries
    a step (RFC 9420, 6.1, FramedContentTBS).
    """

    group_id: bytes
    epoch: int
    tree_hash: bytes

    def __post_init__(self) -> None:
        if not 1 <= len(self.group_id) <= MAX_GROUP_ID:
            raise UsageError("a group id has 1 to 255 bytes")
        if not 0 <= self.epoch < 2**64:
            raise UsageError("an epoch is a number of 64 bits")
        if len(self.tree_hash) not in TREE_HASH_LENGTHS:
            raise UsageError("a tree hash has 32, 48 or 64 bytes")


@dataclass(frozen=True, slots=True)
class Pair:
    """A pair of devices as one of them sees it. Both must hold equal values, mirrored, or every run fails.

    own, peer            fingerprints of the two cards, 32 bytes
    own_leaf, peer_leaf  Ed25519 signature keys of the two leaves in `context.epoch`, 32 bytes
    attempt              1 to 255: a run that lapsed is begun anew under the next number

    Raises UsageError on a wrong size, and when the two cards or the two leaves are one: a seat that claims one's
    own card is an impostor's, which the caller shows to the person without any run.
    """

    context: Context
    own: bytes
    own_leaf: bytes
    peer: bytes
    peer_leaf: bytes
    attempt: int = 1

    def __post_init__(self) -> None:
        if len(self.own) != FINGERPRINT_LENGTH or len(self.peer) != FINGERPRINT_LENGTH:
            raise UsageError("a card's fingerprint has 32 bytes")
        if len(self.own_leaf) != PUBLIC_KEY_LENGTH or len(self.peer_leaf) != PUBLIC_KEY_LENGTH:
            raise UsageError("a leaf's signature key has 32 bytes")
        if self.own == self.peer or self.own_leaf == self.peer_leaf:
            raise UsageError("a device does not attest itself: two cards and two leaves differ")
        if not 1 <= self.attempt <= MAX_ATTEMPT:
            raise UsageError("attempts are numbered from 1 to 255")

    @property
    def mirrored(self) -> "Pair":
        """The same pair as the peer sees it."""
        return Pair(self.context, self.peer, self.peer_leaf, self.own, self.own_leaf, self.attempt)

    @property
    def is_low(self) -> bool:
        """Whether this side is the `lo` of the formulas: the smaller fingerprint."""
        return self.own < self.peer

    @property
    def ctx(self) -> bytes:
        """`ctx` of the formulas, the attempt included: 29 to 331 bytes and the tree hash's 32, 48 or 64."""
        context = self.context
        return lp(context.group_id, context.epoch.to_bytes(8), context.tree_hash, self.attempt.to_bytes(1))

    @property
    def parties(self) -> tuple[bytes, bytes, bytes, bytes]:
        """`fp_me, fp_p, L_me, L_p`: the order that says who speaks to whom."""
        return self.own, self.peer, self.own_leaf, self.peer_leaf

    @property
    def info(self) -> bytes:
        """HPKE's info of the challenge which this side seals to the peer (DESIGN 5, step 1)."""
        return lp("dpa/v1", "chal", self.ctx, *self.parties)

    def low_high(self, own: bytes, peer: bytes) -> tuple[bytes, bytes]:
        """Two values in the order that both sides share: `lo` first."""
        return (own, peer) if self.is_low else (peer, own)

    def tag(self, run: bytes = b"") -> bytes:
        """16 bytes that name the way from this side to the peer, and the run once both challenges are known."""
        return hashlib.sha256(lp("dpa/v1", "tag", self.ctx, *self.parties, run)).digest()[:TAG_LENGTH]

    def encode(self) -> bytes:
        """For the vault; see `decode`."""
        context = self.context
        return lp(
            context.group_id,
            context.epoch.to_bytes(8),
            context.tree_hash,
            self.own,
            self.own_leaf,
            self.peer,
            self.peer_leaf,
            self.attempt.to_bytes(1),
        )

    @classmethod
    def decode(cls, data: bytes) -> "Pair":
        """What `encode` wrote. Raises Malformed or UsageError on anything else."""
        group_id, epoch, tree_hash, own, own_leaf, peer, peer_leaf, attempt = unlp(data, 8)
        if len(epoch) != 8 or len(attempt) != 1:
            raise UsageError("an epoch has 8 bytes and an attempt one")
        context = Context(group_id, int.from_bytes(epoch), tree_hash)
        return cls(context, own, own_leaf, peer, peer_leaf, attempt[0])


def pair_digits(own: Card, peer: Card) -> tuple[str, str]:
    """What two people compare aloud, the same on both screens: the 30 digits of each card, the smaller card first.

    Two numbers and not one of both cards together: whoever stands in the middle may choose a card on each side,
    and would find two pairs with the same joint number of d digits after about 10**(d/2) tries; to match a
    card's own digits takes 10**d.
    """
    low, high = sorted((own, peer), key=lambda card: card.fingerprint)
    return low.check_digits, high.check_digits
