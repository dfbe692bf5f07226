"""A release key: a party's long-lived Ed25519 key, published elsewhere beforehand, used for joint releases only.

The secret half has no `sign`: alone it signs nothing, in this program. Public text form, names and the encrypted
backup are in `pourparler_crypto.note`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

from pourparler_crypto.errors import UsageError
from pourparler_crypto.sodium import SEED_LENGTH, ed25519_keypair


@dataclass(frozen=True, slots=True, repr=False)
class ReleaseKey:
    """The secret half: a stock Ed25519 seed (RFC 8032, 5.1.5), 32 bytes."""

    seed: bytes

    def __post_init__(self) -> None:
        if len(self.seed) != SEED_LENGTH:
            raise UsageError("a release key is a seed of 32 bytes")

    @classmethod
    def generate(cls, random: Callable[[int], bytes] = os.urandom) -> "ReleaseKey":
        """A fresh key."""
        return cls(random(SEED_LENGTH))

    @property
    def public(self) -> bytes:
        """32 bytes."""
        return ed25519_keypair(self.seed)[SEED_LENGTH:]
