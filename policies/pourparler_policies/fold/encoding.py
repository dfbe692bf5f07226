"""One value, one encoding: what two members hold alike has the same digest, whatever order they learnt it in.

Type by type, each length-prefixed; fields in the order of their class, mappings and sets sorted by their encoding.
Nothing is decoded from it: it exists to be hashed.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Final

from pourparler_policies.charter.rules import Rules

from .facts import State, Subject

DIGEST_BYTES: Final = 32  # SHA-256
_STATE: Final = b"pourparler state v1"
_SUBJECT: Final = b"pourparler subject v1"


def encode(value: object) -> bytes:
    """Canonical bytes. Raises TypeError for what is no plain data."""
    match value:
        case None:
            return _item(b"n", b"")
        case bool():
            return _item(b"b", bytes([value]))
        case int():
            return _item(b"i", str(value).encode())
        case str():
            return _item(b"s", value.encode())
        case bytes():
            return _item(b"y", value)
        case tuple():
            return _item(b"t", b"".join(map(encode, value)))
        case frozenset():
            return _item(b"f", b"".join(sorted(map(encode, value))))
        case Mapping():
            return _item(b"m", b"".join(sorted(encode(key) + encode(held) for key, held in value.items())))
        case _ if is_dataclass(value) and not isinstance(value, type):
            body = b"".join(encode(getattr(value, field.name)) for field in fields(value))
            return _item(b"d", encode(type(value).__name__) + body)
    raise TypeError(f"{type(value).__name__} has no canonical encoding")


def digest(state: State) -> bytes:
    """SHA-256 of the whole state, 32 bytes: what members confirm to a newcomer."""
    return hashlib.sha256(_STATE + encode(state)).digest()


def subject_digest(rules: Rules, subject: Subject) -> bytes:
    """SHA-256 of a subject under this charter, 32 bytes: what an approval names.

    For an admission that is (body, role, card, charter); under another charter it is another digest.
    """
    return hashlib.sha256(_SUBJECT + encode(rules.charter) + encode(subject)).digest()


def _item(kind: bytes, body: bytes) -> bytes:
    return kind + len(body).to_bytes(4, "big") + body
