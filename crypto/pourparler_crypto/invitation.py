"""An invitation in two legs, so that a card key stolen later opens nothing that was said in it (DESIGN 4.3.3).

Leg one, sealed to the card, holds only an address, a secret and an ephemeral key. The invitee answers with an
ephemeral key of its own; everything that matters (terms, acceptance, welcome) is sealed to ephemeral keys, which
both sides erase. Each step is bound to the secret of leg one and to the step before it: only who could open leg
one can answer, and nothing from another invitation fits.

Sealing is HPKE base mode, `MLKEM768_X25519` with HKDF-SHA384 and AES-256-GCM; texts are padded to a size that
the caller gives.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from pourparler_crypto.card import Card, CardKey
from pourparler_crypto.encoding import lp, pad, unlp, unpad
from pourparler_crypto.errors import Malformed
from pourparler_crypto.hpke import MLKEM768_X25519, open_, seal

SECRET_LENGTH = 32  # bytes
OVERHEAD = MLKEM768_X25519.enc_length + 16 + 4  # bytes that sealing adds: encapsulation, tag, length
_INFO = "pourparler/invitation/v1"
_ADDRESS_SIZE = 2048  # bytes: an ephemeral key (1,216), a secret and an address of any reasonable length


@dataclass(frozen=True, slots=True, repr=False)
class EphemeralKey:
    """A key for one invitation; erased when it ends."""

    private: bytes
    public: bytes

    @classmethod
    def generate(cls, random: Callable[[int], bytes] = os.urandom) -> "EphemeralKey":
        """A fresh key: 32 bytes private, 1,216 bytes public."""
        return cls(*MLKEM768_X25519.generate(random))


@dataclass(frozen=True, slots=True, repr=False)
class Offer:
    """Leg one, opened: where to answer (`address`, up to some 700 bytes), the secret, the inviter's key."""

    address: bytes
    secret: bytes
    inviter: bytes

    def seal_to(self, card: Card) -> bytes:
        """Leg one as the card's owner gets it."""
        return card.seal(lp(_INFO, "offer"), pad(lp(self.address, self.secret, self.inviter), _ADDRESS_SIZE))

    @classmethod
    def open_with(cls, key: CardKey, sealed: bytes) -> "Offer":
        """Opens leg one. Raises NotAuthentic when it was sealed to another card, Malformed when damaged."""
        address, secret, inviter = unlp(unpad(key.open(lp(_INFO, "offer"), sealed)), 3)
        if len(secret) != SECRET_LENGTH:
            raise Malformed("an invitation's secret has 32 bytes")
        MLKEM768_X25519.load_public(inviter)
        return cls(address, secret, inviter)


def seal_step(step: str, secret: bytes, before: bytes, recipient: bytes, text: bytes, size: int) -> bytes:
    """Seals one step (`answer`, `terms`, `acceptance`, `welcome`) to the recipient's ephemeral key.

    `before` is the sealed step that this one replies to (empty for the answer). The result has exactly `size`
    bytes. Raises UsageError when the text does not fit.
    """
    padded = pad(text, size - MLKEM768_X25519.enc_length - 16)
    return seal(MLKEM768_X25519, recipient, _info(step, secret, before), padded)


def open_step(step: str, secret: bytes, before: bytes, own: EphemeralKey, sealed: bytes) -> bytes:
    """Opens one step. Raises NotAuthentic when it belongs to another invitation or another step."""
    return unpad(open_(MLKEM768_X25519, own.private, _info(step, secret, before), sealed))


def _info(step: str, secret: bytes, before: bytes) -> bytes:
    # The secret in HPKE's info goes through its key schedule (RFC 9180, 5.1): without it the key differs.
    return lp(_INFO, step, secret, hashlib.sha256(before).digest())
