"""From pre-signatures to plain Ed25519 signatures, verified by the two stock verifiers that this package has."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pourparler_crypto.errors import NotAuthentic
from pourparler_crypto.jr2.formulas import finish
from pourparler_crypto.jr2.group import ED25519, POINT_LENGTH, SCALAR_LENGTH
from pourparler_crypto.jr2.round import Round, pieces
from pourparler_crypto.jr2.wire import PRESIGNATURE_LENGTH
from pourparler_crypto.sodium import ed25519_verify

SIGNATURE_LENGTH: Final = POINT_LENGTH + SCALAR_LENGTH  # bytes


@dataclass(frozen=True, slots=True)
class Completed:
    """One text with the signature (64 bytes) of every party, in the order of `keys`. All of them verify."""

    text: bytes
    keys: tuple[bytes, ...]
    signatures: tuple[bytes, ...]


def parts(body: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """(R, D, ŝ) of each text, out of the body of R3."""
    return [(one[:32], one[32:64], one[64:]) for one in pieces(body, PRESIGNATURE_LENGTH)]


def verify(public: bytes, text: bytes, signature: bytes) -> None:
    """A stock signature under both libraries. Raises NotAuthentic, or Malformed for a key of another size."""
    ed25519_verify(public, text, signature)
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, text)
    except InvalidSignature:
        raise NotAuthentic("the signature does not verify") from None


def completed(
    about: Round,
    presignatures: Sequence[bytes],
    masks: Sequence[Sequence[bytes]],
    shares: Sequence[Sequence[bytes]],
) -> tuple[Completed, ...]:
    """σ_j = (R_j, ŝ_j + d_j + y) of each text and party. Raises NotAuthentic when one does not verify.

    presignatures  bodies of R3, [party - 1]; masks: d, [party - 1][text]; shares: y, [signer - 1][text]
    """
    result = []
    for k, text in enumerate(about.texts):
        y = reduce(ED25519.add, (share[k] for share in shares))
        signatures = []
        for public, body, mask in zip(about.keys, presignatures, masks, strict=True):
            nonce_point, _, response = parts(body)[k]
            signature = nonce_point + finish(ED25519, response=response, mask=mask[k], share=y)
            verify(public, text, signature)
            signatures.append(signature)
        result.append(Completed(text, about.keys, tuple(signatures)))
    return tuple(result)
