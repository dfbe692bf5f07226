"""What all checks of test vectors share."""

from collections.abc import Mapping
from typing import Any

from pourparler_crypto.errors import CryptoError
from pourparler_crypto.mls.suites import CipherSuite, suite_of

Entry = Mapping[str, Any]


class VectorMismatch(CryptoError):
    """A vector and this implementation disagree."""


def same(found: object, expected: object, what: str) -> None:
    """Raise VectorMismatch, naming ``what``, unless both are equal."""
    if found != expected:
        raise VectorMismatch(f"{what} differs")


def unhex(text: str) -> bytes:
    """The bytes of a hexadecimal string."""
    return bytes.fromhex(text)


def suite_in(entry: Entry) -> CipherSuite:
    """The suite of an entry; without one it is the mandatory suite, as early files took for granted."""
    return suite_of(entry.get("cipher_suite", 1))
