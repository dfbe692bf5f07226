"""A sounding before there is a channel: "would you meet, on these terms?", sealed to each person's card (DESIGN 4.5).

1. What a card's holder reads at once: the rules and the institution, as the dealer wrote them, without names.
2. The names are sealed under a key that is made of the sounding's secret: nobody has it before the service has shown
   the total, and the total fits only if everybody has said yes. If anybody did not, it is nowhere.
3. It is dealt, so all of `dealt.py`'s third rule holds; the dealer knows the names anyway.
4. It is sealed to a card and no more: whoever takes the card's key later, and kept the file, reads what 1. says, and
   the names if everybody said yes and the total was kept too. And nothing shows who made it: the digits of its handle
   have to be compared with the dealer by a way that one trusts.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from nacl.exceptions import CryptoError as SodiumError
from nacl.secret import Aead

from pourparler_crypto.card import Card, CardKey
from pourparler_crypto.encoding import lp, pad, unlp, unpad
from pourparler_crypto.errors import Malformed, ProtocolError, UsageError

from . import dealt
from .dealt import Share, deal
from .errors import BadDeal
from .tally import VALUE_LENGTH, Counted, Random, Tally, draw, xor

MAX_RULES: Final = 64 * 1024  # bytes of the charter, with names or without
_SIZE: Final = 72 * 1024  # bytes to which each is padded: sizes tell nothing of the names
_NONCE: Final = Aead.NONCE_SIZE  # 24
MAX_SEALED: Final = 2 * _SIZE + 16 * 1024  # bytes of an inquiry to one card


@dataclass(frozen=True, slots=True, repr=False)
class Inquiry:
    """What the holder of one card gets. `address` is the service's; `rules` are without names."""

    tally: Tally
    share: Share
    rules: bytes
    address: bytes
    sealed_names: bytes

    def seal_to(self, card: Card) -> bytes:
        """To one card."""
        rules = pad(self.rules, _SIZE)
        body = lp(self.tally.encode(), self.share.encode(), rules, self.address, self.sealed_names)
        return card.seal(_INFO, body)

    @classmethod
    def open_with(cls, key: CardKey, sealed: bytes) -> "Inquiry":
        """Opens and checks. Raises NotAuthentic when it is sealed to another card, Malformed, BadDeal."""
        if len(sealed) > MAX_SEALED:
            raise Malformed("this is larger than any inquiry")
        tally, share, rules, address, names = unlp(key.open(_INFO, sealed), 5)
        found = cls(Tally.decode(tally), Share.decode(share), unpad(rules), address, names)
        dealt.check_deal(found.tally, found.share, len(found.tally.slots))
        if found.tally.agreed != _agreed(found.rules, found.address, found.sealed_names):
            raise BadDeal("what is asked here is not what the tally is about")
        return found

    def names(self, answer: Counted) -> bytes | None:
        """What was kept back, if everybody said yes by the service's answer; None if not.

        Raises NotTheSum, and BadDeal when the dealer has sealed nothing under it.
        """
        return names_of(self.tally, self.sealed_names, answer)


def names_of(tally: Tally, sealed_names: bytes, answer: Counted) -> bytes | None:
    """As `Inquiry.names`, from what a device keeps of an inquiry that it has answered."""
    if tally.common(answer) is None:
        return None
    nonce, sealed = sealed_names[:_NONCE], sealed_names[_NONCE:]
    try:
        return unpad(Aead(_key(answer.value)).decrypt(sealed, aad=_INFO, nonce=nonce))
    except (SodiumError, ValueError):
        raise BadDeal("everybody said yes, and no names were sealed under that") from None
    except ProtocolError:
        raise BadDeal("everybody said yes, and what was sealed under that is no text") from None


def inquire(
    cards: Sequence[Card],
    rules: bytes,
    names: bytes,
    address: bytes,
    opens: int,
    closes: int,
    random: Random = os.urandom,
) -> tuple[Tally, tuple[bytes, ...]]:
    """The tally, and what goes to each card. `rules` without names, `names` with them: MAX_RULES bytes each.

    Draws a sounding's shares (`dealt.deal`) and 24 bytes. Nothing else of it is to be kept.
    """
    if max(len(rules), len(names)) > MAX_RULES:
        raise UsageError(f"rules have at most {MAX_RULES} bytes")
    if len({card.fingerprint for card in cards}) != len(cards):
        raise UsageError("each side has a card of its own")
    _, shares = deal(len(cards), 1, opens, closes, bytes(32), random)
    secret = bytes(VALUE_LENGTH)
    for share in shares:
        secret = xor(secret, share.values)
    nonce = draw(random, _NONCE)
    sealed_names = bytes(Aead(_key(secret)).encrypt(pad(names, _SIZE), aad=_INFO, nonce=nonce))
    tally = dealt.tally_of(shares, opens, closes, _agreed(rules, address, sealed_names))
    made = (Inquiry(tally, share, rules, address, sealed_names) for share in shares)
    return tally, tuple(one.seal_to(card) for one, card in zip(made, cards, strict=True))


def _key(secret: bytes) -> bytes:
    return hashlib.sha512(lp("pourparler/inquiry/names/v1", secret)).digest()[: Aead.KEY_SIZE]


def _agreed(rules: bytes, address: bytes, sealed_names: bytes) -> bytes:
    """Binds the tally to what is read; the sealed names, which the service never sees, are its salt."""
    return hashlib.sha256(lp("pourparler/inquiry/agreed/v1", rules, address, sealed_names)).digest()


_INFO: Final = b"pourparler/inquiry/v1"
