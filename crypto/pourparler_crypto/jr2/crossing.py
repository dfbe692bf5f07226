"""Messages of a round between signers who share no channel: sealed from each to each; who carries them sees none.

1. **A fresh key a signer and round** (`hello`), in nobody's name. The round's nonce is a hash of all of them: who was
   handed another key has another sid, and a round that was recorded fits nothing later.
2. **R1 brings a secret for its reader alone**; whatever follows is sealed under the secrets of both directions. So who
   carries can neither read nor make one message in a round whose keys it has not exchanged.
3. **Nothing here proves anything**: no long-term key enters, and either end can make all of it alone.

    nonce = SHA256(lp("jr2/crossing/v1", id, hello_1..hello_n))
    R1    = HPKE(hello_to, info = lp(…, "first", sid, from, to), pad(N_from→to ‖ R1))
    later = XChaCha20-Poly1305 under HKDF-SHA512(N_lo→hi ‖ N_hi→lo, salt = sid, info = lp(…, leg, from, to))

HPKE is base mode, `MLKEM768_X25519`, as in invitations. Every message has a multiple of `STEP` bytes: all that two
signers of two texts say fits one. Who exchanges the keys of both sides plays each to the other with a sid of its own;
it is then in the place of a signer without a release key (`docs/joint-release.md`), and no signature comes of it.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError as SodiumError

from pourparler_crypto.encoding import lp, pad, unlp, unpad
from pourparler_crypto.errors import Malformed, NotAuthentic, UsageError
from pourparler_crypto.hpke import MLKEM768_X25519, open_, seal
from pourparler_crypto.jr2.round import MAX_PARTIES, MIN_PARTIES, pieces

HELLO_LENGTH: Final = MLKEM768_X25519.public_length  # 1,216 bytes
STEP: Final = 2048  # bytes: one size for all that two sides say, so that its size tells no step
MAX_CROSSING: Final = 36 * 1024  # bytes of one message: 32 signers' masks of 32 texts take 34,000
_SECRET: Final = 32  # bytes of N
_NONCE: Final = 24  # bytes, XChaCha20-Poly1305
_OVERHEAD: Final = _NONCE + 16  # bytes: nonce and tag
_HPKE: Final = MLKEM768_X25519.enc_length + 16  # bytes that HPKE adds
_FORM: Final = "jr2/crossing/v1"

Random = Callable[[int], bytes]


def hello(random: Random = os.urandom) -> tuple[bytes, bytes]:
    """A fresh key for one round: 32 bytes to keep, and the message for everybody, `STEP` bytes."""
    private, public = MLKEM768_X25519.generate(random)
    return private, pad(public, STEP)


def key_of(message: bytes) -> bytes:
    """The key (1,216 bytes) in somebody's `hello`. Raises Malformed."""
    if len(message) != STEP:
        raise Malformed("no key for a round has this size")
    public = unpad(message)
    MLKEM768_X25519.load_public(public)
    return public


@dataclass(frozen=True, slots=True, repr=False)
class Crossing:
    """One signer's ends of its ways to all others. Parties are numbered from 1; own slots are empty."""

    private: bytes
    party: int
    keys: tuple[bytes, ...]
    drawn: tuple[bytes, ...]
    received: tuple[bytes, ...]

    @classmethod
    def begin(cls, private: bytes, party: int, keys: Sequence[bytes], random: Random = os.urandom) -> Self:
        """When the keys of all are here, one's own at its place. Raises UsageError, Malformed when two are equal."""
        if not MIN_PARTIES <= len(keys) <= MAX_PARTIES or not 1 <= party <= len(keys):
            raise UsageError("a joint release has 2 to 32 parties, and this is one of them")
        if MLKEM768_X25519.public_of(private) != keys[party - 1]:
            raise UsageError("the key at this party's place is not its own")
        if len(set(keys)) != len(keys):
            raise Malformed("two signers have the same key for this round: one was copied on the way")
        drawn = tuple(b"" if number == party else random(_SECRET) for number in range(1, len(keys) + 1))
        return cls(private, party, tuple(keys), drawn, (b"",) * len(keys))

    def nonce(self, arrangement: bytes) -> bytes:
        """The round's nonce, 32 bytes: fresh if one signer's key is, and nobody's to choose."""
        return hashlib.sha256(lp(_FORM, arrangement, *self.keys)).digest()

    def seal_first(self, sid: bytes, to: int, message: bytes) -> bytes:
        """R1 for one reader, with the secret of this direction."""
        text = self.drawn[self._other(to) - 1] + message
        info = lp(_FORM, "first", sid, bytes((self.party, to)))
        return seal(MLKEM768_X25519, self.keys[to - 1], info, pad(text, _size(len(text), _HPKE) - _HPKE))

    def open_first(self, sid: bytes, author: int, sealed: bytes) -> tuple[bytes, Self]:
        """R1 of another signer, and the ends from now on. Raises NotAuthentic, Malformed."""
        info = lp(_FORM, "first", sid, bytes((self._other(author), self.party)))
        _check_size(sealed)
        text = unpad(open_(MLKEM768_X25519, self.private, info, sealed))
        if len(text) <= _SECRET:
            raise Malformed("a message of a joint release is cut short")
        received = (*self.received[: author - 1], text[:_SECRET], *self.received[author:])
        return text[_SECRET:], replace(self, received=received)

    def seal(self, leg: str, sid: bytes, to: int, message: bytes, random: Random = os.urandom) -> bytes:
        """Any later message for one reader."""
        key, nonce = self._key(leg, sid, self.party, to), random(_NONCE)
        padded = pad(message, _size(len(message), _OVERHEAD) - _OVERHEAD)
        return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(padded, None, nonce, key)

    def open_(self, leg: str, sid: bytes, author: int, sealed: bytes) -> bytes:
        """What another signer has sealed. Raises NotAuthentic, Malformed; UsageError before its R1 is open."""
        key = self._key(leg, sid, author, self.party)
        _check_size(sealed)
        try:
            padded = crypto_aead_xchacha20poly1305_ietf_decrypt(sealed[_NONCE:], None, sealed[:_NONCE], key)
        except SodiumError:
            raise NotAuthentic("a message of this round was altered, or belongs elsewhere") from None
        return unpad(padded)

    def _key(self, leg: str, sid: bytes, author: int, to: int) -> bytes:
        other = self._other(to if author == self.party else author)
        drawn, received = self.drawn[other - 1], self.received[other - 1]
        if not received:
            raise UsageError("nothing can be sealed or opened before the other's R1 is open")
        both = drawn + received if self.party < other else received + drawn
        info = lp(_FORM, leg, bytes((author, to)))
        return HKDF(algorithm=SHA512(), length=32, salt=sid, info=info).derive(both)

    def _other(self, party: int) -> int:
        if party == self.party or not 1 <= party <= len(self.keys):
            raise UsageError("a message goes from one signer to another one of the same text")
        return party

    def encode(self) -> bytes:
        """For the vault."""
        secrets = [b"".join(one or bytes(_SECRET) for one in row) for row in (self.drawn, self.received)]
        present = bytes(bool(one) for one in self.received)
        return lp(_FORM, self.private, bytes((self.party,)), b"".join(self.keys), *secrets, present)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """What `encode` wrote. Raises Malformed."""
        form, private, party, keys, drawn, received, present = unlp(data, 7)
        rows = pieces(keys, HELLO_LENGTH), pieces(drawn, _SECRET), pieces(received, _SECRET)
        count = len(rows[0])
        if form != _FORM.encode() or {*map(len, rows), len(present)} != {count} or len(private) != _SECRET:
            raise Malformed("these are no ends of a crossing")
        if len(party) != 1 or not 1 <= party[0] <= count:
            raise Malformed("no party of this crossing has this number")
        drew = tuple(b"" if number == party[0] else one for number, one in enumerate(rows[1], 1))
        took = tuple(one if there else b"" for one, there in zip(rows[2], present, strict=True))
        return cls(private, party[0], rows[0], drew, took)


def _size(length: int, overhead: int) -> int:
    """The next multiple of STEP that holds it, with its length."""
    size = -(-(length + 4 + overhead) // STEP) * STEP
    if size > MAX_CROSSING:
        raise UsageError("no message of a joint release is as large as this")
    return size


def _check_size(sealed: bytes) -> None:
    if not 0 < len(sealed) <= MAX_CROSSING or len(sealed) % STEP:
        raise Malformed("no message of a joint release that crosses has this size")
