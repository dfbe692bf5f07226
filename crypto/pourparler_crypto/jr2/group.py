"""edwards25519 by libsodium: points and scalars as 32 bytes, secret scalars only inside libsodium's calls.

No Python integer ever holds a scalar: its arithmetic takes a time that depends on the value. `Group` is what the
formulas need of a group; tests put a toy group in its place and enumerate every coin.
"""

import hashlib
import hmac
from typing import Final, Protocol, TypeVar

from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_core_ed25519_is_valid_point,
    crypto_core_ed25519_scalar_add,
    crypto_core_ed25519_scalar_mul,
    crypto_core_ed25519_scalar_reduce,
    crypto_core_ed25519_scalar_sub,
    crypto_core_ed25519_sub,
    crypto_scalarmult_ed25519_base_noclamp,
    crypto_scalarmult_ed25519_noclamp,
)
from nacl.exceptions import RuntimeError as SodiumError

from pourparler_crypto import sodium as _sodium  # refuses PyNaCl below 1.6.2 at import (CVE-2025-69277)
from pourparler_crypto.errors import Malformed

POINT_LENGTH: Final = _sodium.PUBLIC_KEY_LENGTH  # bytes, RFC 8032, 5.1.2
SCALAR_LENGTH: Final = 32  # bytes, little endian, below the group's order L
WIDE_LENGTH: Final = 64  # bytes that are reduced mod L: the bias is below 2**-250

S = TypeVar("S")
P = TypeVar("P")


class Group(Protocol[S, P]):
    """A group of prime order, written additively, with a generator G."""

    def base(self, scalar: S) -> P:
        """scalar·G."""

    def times(self, scalar: S, point: P) -> P:
        """scalar·point."""

    def plus(self, left: P, right: P) -> P:
        """Sum of points."""

    def minus(self, left: P, right: P) -> P:
        """Difference of points."""

    def add(self, left: S, right: S) -> S:
        """Sum of scalars."""

    def sub(self, left: S, right: S) -> S:
        """Difference of scalars."""

    def mul(self, left: S, right: S) -> S:
        """Product of scalars."""


class Edwards25519:
    """The prime-order subgroup. Raises Malformed where libsodium refuses (zero scalars, points off the curve)."""

    def base(self, scalar: bytes) -> bytes:
        """scalar·G."""
        try:
            return crypto_scalarmult_ed25519_base_noclamp(scalar)
        except SodiumError:
            raise Malformed("a scalar is zero") from None

    def times(self, scalar: bytes, point: bytes) -> bytes:
        """scalar·point."""
        try:
            return crypto_scalarmult_ed25519_noclamp(scalar, point)
        except SodiumError:
            raise Malformed("a scalar is zero or a point is not of the group") from None

    def plus(self, left: bytes, right: bytes) -> bytes:
        """Sum of points."""
        try:
            return crypto_core_ed25519_add(left, right)
        except SodiumError:
            raise Malformed("a point is not on the curve") from None

    def minus(self, left: bytes, right: bytes) -> bytes:
        """Difference of points."""
        try:
            return crypto_core_ed25519_sub(left, right)
        except SodiumError:
            raise Malformed("a point is not on the curve") from None

    def add(self, left: bytes, right: bytes) -> bytes:
        """Sum of scalars mod L."""
        return crypto_core_ed25519_scalar_add(left, right)

    def sub(self, left: bytes, right: bytes) -> bytes:
        """Difference of scalars mod L."""
        return crypto_core_ed25519_scalar_sub(left, right)

    def mul(self, left: bytes, right: bytes) -> bytes:
        """Product of scalars mod L."""
        return crypto_core_ed25519_scalar_mul(left, right)


ED25519: Final = Edwards25519()


def reduced(wide: bytes) -> bytes:
    """64 bytes mod L."""
    return crypto_core_ed25519_scalar_reduce(wide)


def check_point(data: bytes) -> bytes:
    """The 32 bytes, when they are a canonical point of the prime-order subgroup, not of small order.

    Raises Malformed. A point with a part of small order would pass the equation of R3 and spoil every finished
    signature (research/deniability.md, B10).
    """
    if len(data) != POINT_LENGTH or not crypto_core_ed25519_is_valid_point(data):
        raise Malformed("this is no point of the prime-order group")
    return data


def check_scalar(data: bytes) -> bytes:
    """The 32 bytes, when they are a scalar below L. Raises Malformed (B11); compared in constant time."""
    if len(data) != SCALAR_LENGTH or not hmac.compare_digest(reduced(data + bytes(32)), data):
        raise Malformed("this is no scalar below the group's order")
    return data


def expand(seed: bytes) -> tuple[bytes, bytes]:
    """Secret scalar x mod L and prefix, 32 bytes each, of a stock Ed25519 seed (RFC 8032, 5.1.5).

    x is clamped there and reduced here, so that x·G is the stock public key with the `noclamp` functions (B12).
    """
    digest = bytearray(hashlib.sha512(seed).digest())
    digest[0] &= 0xF8
    digest[31] &= 0x7F
    digest[31] |= 0x40
    return reduced(bytes(digest[:32]) + bytes(32)), bytes(digest[32:])


def challenge(nonce_point: bytes, public: bytes, text: bytes) -> bytes:
    """c = SHA512(R, X, m) mod L, exactly that of RFC 8032, 5.1.7."""
    return reduced(hashlib.sha512(nonce_point + public + text).digest())
