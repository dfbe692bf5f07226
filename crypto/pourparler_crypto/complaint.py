"""What a device says that alone cannot process a commit: readable without the epoch that the commit began.

The others have gone on and erased the epoch's message keys. A key exported from every epoch for this one purpose is
kept instead; it opens complaints and nothing else. Whoever was a member then could write under it, so the complaint is
also signed with the leaf's key of that epoch (DESIGN 3; research/review-protocol.md, 2).

    magic (4) ‖ epoch (8) ‖ nonce (12) ‖ AES-256-GCM(lp(credential, counter (8), refused, signature)), padded
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pourparler_crypto.encoding import lp, pad, unlp, unpad
from pourparler_crypto.errors import Malformed, NotAuthentic

MAGIC: Final = b"PPC1"  # no MLSMessage begins like this: those begin with a version, 0x0001 (RFC 9420, 6)
EXPORT_LABEL: Final = "pourparler complaint v1"
KEY_LENGTH: Final = 32  # bytes
SIZE: Final = 1024  # bytes, as the smallest entry
_HEAD: Final = len(MAGIC) + 8 + 12
_CREDENTIAL, _ENTRY = 16, 16  # bytes


@dataclass(frozen=True, slots=True)
class Complaint:
    """`refused` is the id (16 bytes) of the entry with the commit; `signature` is of the leaf's key."""

    credential: bytes
    counter: int
    refused: bytes
    signature: bytes = b""

    def signed(self, channel: bytes, epoch: int) -> bytes:
        """What the leaf's key signs, under EXPORT_LABEL as MLS's label (RFC 9420, 5.1.2)."""
        return lp(channel, epoch.to_bytes(8), self.credential, self.counter.to_bytes(8), self.refused)


def is_complaint(sealed: bytes) -> bool:
    """Whether an entry is one, by its first bytes."""
    return sealed.startswith(MAGIC)


def epoch_of(sealed: bytes) -> int:
    """The epoch under whose key it was sealed. Raises Malformed."""
    if len(sealed) != SIZE or not is_complaint(sealed):
        raise Malformed("a complaint has 1,024 bytes")
    return int.from_bytes(sealed[4:12])


def seal(
    key: bytes, channel: bytes, epoch: int, complaint: Complaint, random: Callable[[int], bytes] = os.urandom
) -> bytes:
    """SIZE bytes, under the key (32 bytes) exported from `epoch`."""
    nonce = random(12)
    parts = (complaint.credential, complaint.counter.to_bytes(8), complaint.refused, complaint.signature)
    text = pad(lp(*parts), SIZE - _HEAD - 16)
    head = MAGIC + epoch.to_bytes(8)
    return head + nonce + AESGCM(key).encrypt(nonce, text, head + channel)


def open_(key: bytes, channel: bytes, sealed: bytes) -> Complaint:
    """Opens what `seal` sealed. The signature is still to be checked. Raises Malformed or NotAuthentic."""
    epoch_of(sealed)
    try:
        text = AESGCM(key).decrypt(sealed[12:_HEAD], sealed[_HEAD:], sealed[:12] + channel)
    except InvalidTag:
        raise NotAuthentic("the complaint does not open with this epoch's key") from None
    credential, counter, refused, signature = unlp(unpad(text), 4)
    if len(credential) != _CREDENTIAL or len(counter) != 8 or len(refused) != _ENTRY:
        raise Malformed("a part of the complaint has the wrong size")
    return Complaint(credential, int.from_bytes(counter), refused, signature)
