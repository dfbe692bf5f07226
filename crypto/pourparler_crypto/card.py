"""A card: a device's long-term public key with a name. It can receive; it cannot sign.

A card key is a hybrid KEM key (ML-KEM-768 and X25519) made on and for one device and used only as HPKE recipient,
so that nothing made with it proves anything to a third party (DESIGN 5). The fingerprint covers key and name:
who alters either alters the check digits.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from pourparler_crypto.encoding import lp, unlp
from pourparler_crypto.errors import Malformed
from pourparler_crypto.hpke import MLKEM768_X25519, open_, seal

SECRET_LENGTH = MLKEM768_X25519.private_length  # 32 bytes
PUBLIC_LENGTH = MLKEM768_X25519.public_length  # 1,216 bytes
FINGERPRINT_LENGTH = 32  # bytes
CHECK_DIGITS = 30  # decimal digits, 99 bits: nobody can search for a second card with the same ones
MAX_TEXT = 4096  # characters of an encoded card; a real one has about 1,750

_PREFIX = "pourparler-card:"
_MAX_NAME = 256  # bytes of UTF-8: 64 characters of four bytes


@dataclass(frozen=True, slots=True)
class Card:
    """The public half: `name` as its owner chose it, `public` key of 1,216 bytes."""

    name: str
    public: bytes

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 over key and name, 32 bytes."""
        return hashlib.sha256(lp("pourparler/card/v1", self.public, self.name)).digest()

    @property
    def check_digits(self) -> str:
        """Six groups of five digits to compare aloud, in any language."""
        return check_digits(self.fingerprint)

    def seal(self, info: bytes, plaintext: bytes) -> bytes:
        """HPKE to this card: 1,120 + len(plaintext) + 16 bytes."""
        return seal(MLKEM768_X25519, self.public, info, plaintext)

    def encode(self) -> str:
        """One line of text to give away."""
        body = lp(self.name, self.public)
        body += hashlib.sha256(body).digest()[:4]  # catches a line cut short in copying; the digits do the rest
        return _PREFIX + base64.urlsafe_b64encode(body).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> "Card":
        """Reads what `encode` wrote; white space within is ignored. Raises Malformed with the reason."""
        text = "".join(text.split()) if len(text) <= 2 * MAX_TEXT else text
        if not text.startswith(_PREFIX):
            raise Malformed(f"this is not a card: a card begins with {_PREFIX}")
        if len(text) > MAX_TEXT:
            raise Malformed("this card is longer than any card")
        encoded = text.removeprefix(_PREFIX)
        try:
            body = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise Malformed("this card has characters that do not belong there") from None
        if hashlib.sha256(body[:-4]).digest()[:4] != body[-4:]:
            raise Malformed("this card is incomplete or was altered in copying: ask for it again")
        name, public = unlp(body[:-4], 2)
        if not 0 < len(name) <= _MAX_NAME:
            raise Malformed("the name on this card has an impossible length")
        MLKEM768_X25519.load_public(public)
        try:
            return cls(name.decode(), public)
        except UnicodeDecodeError:
            raise Malformed("the name on this card is not text") from None


@dataclass(frozen=True, slots=True, repr=False)
class CardKey:
    """The secret half: 32 bytes, never shown, never sent."""

    secret: bytes

    @classmethod
    def generate(cls, random: Callable[[int], bytes] = os.urandom) -> "CardKey":
        """A fresh key."""
        return cls(MLKEM768_X25519.generate(random)[0])

    def card(self, name: str) -> Card:
        """The card that goes with this key."""
        return Card(name, MLKEM768_X25519.public_of(self.secret))

    def open(self, info: bytes, sealed: bytes) -> bytes:
        """Opens what `Card.seal` sealed. Raises Malformed or NotAuthentic."""
        return open_(MLKEM768_X25519, self.secret, info, sealed)


def check_digits(fingerprint: bytes) -> str:
    """30 decimal digits of a fingerprint in six groups of five."""
    digits = f"{int.from_bytes(fingerprint) % 10**CHECK_DIGITS:0{CHECK_DIGITS}d}"
    return " ".join(digits[i : i + 5] for i in range(0, CHECK_DIGITS, 5))
