"""A release key's public half with its name, as a party publishes it: a *press key*.

    example.org/mission+0a1b2c3d+ARIz…         <name>+<key ID, 8 hex digits>+<base64 of 0x01 ‖ 32-byte key>

The form in which keys of signed notes are passed around (C2SP signed-note: key ID = SHA-256(name ‖ 0x0A ‖ 0x01
‖ key)[:4]). Names are what C2SP recommends, a URL without scheme, and narrower here: lower-case ASCII letters,
digits and `. - _ /`, so that no two names look alike. The key ID is four bytes and protects against nothing
but accidents: compare `digits`.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from pourparler_crypto.card import check_digits
from pourparler_crypto.encoding import lp
from pourparler_crypto.errors import Malformed, UsageError
from pourparler_crypto.jr2.group import check_point
from pourparler_crypto.note.refusals import Refusal, Refused

MAX_KEY_NAME: Final = 100  # bytes
MAX_PRESS_KEY: Final = MAX_KEY_NAME + 1 + 8 + 1 + 44  # characters
KEY_ID_LENGTH: Final = 4  # bytes
ED25519_TYPE: Final = b"\x01"  # C2SP signed-note, signature types
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9._/-]*[a-z0-9])?", re.ASCII)


@dataclass(frozen=True)
class PressKey:
    """name: 1 to 100 characters; public: 32 bytes, a valid Ed25519 key. Raises UsageError otherwise."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if len(self.name) > MAX_KEY_NAME or not _NAME.fullmatch(self.name):
            raise UsageError(
                "a key's name is like example.org/mission: lower-case letters, digits and . - _ / within, "
                f"at most {MAX_KEY_NAME} characters"
            )
        try:
            check_point(self.public)
        except Malformed:
            raise UsageError("this is not a valid Ed25519 public key") from None

    @cached_property
    def key_id(self) -> bytes:
        """4 bytes."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519_TYPE + self.public).digest()[:KEY_ID_LENGTH]

    @property
    def digits(self) -> str:
        """30 decimal digits of the public key alone, to compare aloud or in print."""
        return check_digits(hashlib.sha256(lp("pourparler/release-key/v1", self.public)).digest())

    def __str__(self) -> str:
        encoded = base64.b64encode(ED25519_TYPE + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @classmethod
    def parse(cls, text: str) -> "PressKey":
        """Reads what `str` wrote, and nothing else. Raises Refused (KEY)."""
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        if len(text) > MAX_PRESS_KEY:
            raise Refused(Refusal.KEY)
        try:
            body = base64.b64decode(encoded, validate=True)
            key = cls(name, body[1:])
        except (binascii.Error, ValueError):
            raise Refused(Refusal.KEY) from None
        if body[:1] != ED25519_TYPE or key_id != key.key_id.hex() or str(key) != text:
            raise Refused(Refusal.KEY)
        return key
