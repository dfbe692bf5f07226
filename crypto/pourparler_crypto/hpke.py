"""HPKE base mode (RFC 9180) on ``cryptography``; keys are bytes outside and ready objects inside.

Every key and every encapsulation is checked for its exact length before a library sees it. Key pairs are derived
as the drafts demand, from a seed the caller gives; encapsulation draws its own randomness, because the library
takes none. The hybrid KEM is 0x647a (ML-KEM-768 with X25519) of draft-ietf-hpke-pq: it stays safe while one of
its halves does.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pourparler_crypto.errors import Malformed, NotAuthentic, UsageError
from pourparler_crypto.keyed import hmac_digest
from pourparler_crypto.sodium import x25519_public

# Keys as the library's objects. Private ones are secrets: whoever holds one drops it with its bytes.
PrivateKey = Any
PublicKey = Any

_VERSION = b"HPKE-v1"
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_TAG_LENGTH = 16  # bytes, all three AEADs

# Encodings of points of small order, with the top bit, which X25519 ignores, clear and set. RFC 9180, 7.1.4 makes
# encapsulation to them fail; refusing them when a key is read keeps such a key out of a tree, where it would stop
# every later commit.
_X25519_SMALL_ORDER = frozenset(
    (value | top_bit).to_bytes(32, "little")
    for top_bit in (0, 1 << 255)
    for value in (
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        2**255 - 20,
        2**255 - 19,
        2**255 - 18,
    )
)


class Kem(ABC):
    """A key encapsulation mechanism: sizes in bytes, key generation, loading with every check."""

    name: str
    enc_length: int
    public_length: int
    private_length: int

    @abstractmethod
    def derive(self, ikm: bytes) -> tuple[bytes, bytes]:
        """DeriveKeyPair(ikm) of RFC 9180, 7.1.3: ``(private, public)`` as bytes."""

    def generate(self, random: Callable[[int], bytes]) -> tuple[bytes, bytes]:
        """A fresh key pair ``(private, public)`` from ``private_length`` random bytes."""
        return self.derive(random(self.private_length))

    @abstractmethod
    def public_of(self, private: bytes) -> bytes:
        """The public key of a private key. Raises UsageError on a wrong size."""

    @abstractmethod
    def load_public(self, public: bytes) -> PublicKey:
        """The key as an object that can seal. Raises Malformed unless it is a valid public key."""

    def check_public(self, public: bytes) -> PublicKey | None:
        """Refuse what load_public refuses; returns the loaded key where checking takes loading, else None."""
        return self.load_public(public)

    @abstractmethod
    def load_private(self, private: bytes) -> PrivateKey:
        """The key as an object that can open. Raises UsageError unless it is a valid private key."""


# The pads of HMAC-SHA256 (RFC 2104) under the empty salt, which is a key of zeros
_INNER_PAD = b"\x36" * 64
_OUTER_PAD = b"\x5c" * 64


def _labeled_extract(suite_id: bytes, label: bytes, ikm: bytes) -> bytes:
    """LabeledExtract with an empty salt (RFC 9180, 4)."""
    inner = hashlib.sha256(_INNER_PAD + _VERSION + suite_id + label + ikm).digest()
    return hashlib.sha256(_OUTER_PAD + inner).digest()


def _labeled_expand(suite_id: bytes, prk: bytes, label: bytes, info: bytes) -> bytes:
    return hmac_digest("sha256", prk, b"\x00\x20" + _VERSION + suite_id + label + info + b"\x01")


def _refuse_small_order(point: bytes) -> None:
    if point in _X25519_SMALL_ORDER:
        raise Malformed("an X25519 public key of small order")


# An ML-KEM-768 encapsulation key: 768 coefficients of 12 bits, little-endian (1152 bytes), then a seed (32). Two
# coefficients make a lane of 24 bits; adding 2**12 - q to one carries into bit 12 exactly when it is q or more.
_LANES = sum(1 << (24 * lane) for lane in range(384))
_COEFFICIENT = 0xFFF * _LANES
_TO_CARRY = (0x1000 - 3329) * _LANES
_CARRY = 0x1000 * _LANES


def _refuse_unreduced(public: bytes) -> None:
    """The modulus check of FIPS 203, 7.2, for all coefficients at once."""
    packed = int.from_bytes(public[:1152], "little")
    even, odd = packed & _COEFFICIENT, (packed >> 12) & _COEFFICIENT
    if ((even + _TO_CARRY) | (odd + _TO_CARRY)) & _CARRY:
        raise Malformed("not an ML-KEM-768 encapsulation key")


class _X25519(Kem):
    name = "DHKEM(X25519, HKDF-SHA256)"
    enc_length = public_length = private_length = 32
    _suite_id = b"KEM\x00\x20"

    def _derive_private(self, ikm: bytes) -> bytes:
        prk = _labeled_extract(self._suite_id, b"dkp_prk", ikm)
        return _labeled_expand(self._suite_id, prk, b"sk", b"")

    def derive(self, ikm: bytes) -> tuple[bytes, bytes]:
        private = self._derive_private(ikm)
        return private, x25519_public(private)

    def public_of(self, private: bytes) -> bytes:
        return x25519_public(private)

    def check_public(self, public: bytes) -> PublicKey | None:
        if len(public) != 32:
            raise Malformed("an X25519 public key has 32 bytes")
        _refuse_small_order(public)
        return None

    def load_public(self, public: bytes) -> PublicKey:
        self.check_public(public)
        return X25519PublicKey.from_public_bytes(public)

    def load_private(self, private: bytes) -> PrivateKey:
        if len(private) != 32:
            raise UsageError("an X25519 private key has 32 bytes")
        return X25519PrivateKey.from_private_bytes(private)


class _P256(Kem):
    name = "DHKEM(P-256, HKDF-SHA256)"
    enc_length = public_length = 65
    private_length = 32
    _suite_id = b"KEM\x00\x10"

    def derive(self, ikm: bytes) -> tuple[bytes, bytes]:
        # RFC 9180, 7.1.3: candidates until one is a scalar; the bit mask of P-256 is 0xff.
        prk = _labeled_extract(self._suite_id, b"dkp_prk", ikm)
        for counter in range(256):
            private = _labeled_expand(self._suite_id, prk, b"candidate", bytes((counter,)))
            if 0 < int.from_bytes(private) < _P256_ORDER:
                return private, self.public_of(private)
        raise UsageError("no P-256 key pair from this input")  # probability below 2**-8000

    def public_of(self, private: bytes) -> bytes:
        key = self.load_private(private)
        public: bytes = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return public

    def load_public(self, public: bytes) -> PublicKey:
        # The library would take compressed points too; RFC 9420, 5.1.1 allows uncompressed ones only.
        if len(public) != 65 or public[0] != 4:
            raise Malformed("a P-256 public key has 65 bytes and begins with 04")
        try:
            return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
        except ValueError:
            raise Malformed("not a point of P-256") from None

    def load_private(self, private: bytes) -> PrivateKey:
        if len(private) != 32:
            raise UsageError("a P-256 private key has 32 bytes")
        try:
            return ec.derive_private_key(int.from_bytes(private), ec.SECP256R1())
        except ValueError:
            raise UsageError("not a scalar of P-256") from None


class _MlKem768X25519(Kem):
    """Private key: a 32-byte seed. Public key: ML-KEM encapsulation key (1184) ‖ X25519 point (32)."""

    name = "MLKEM768-X25519"
    enc_length = 1120
    public_length = 1216
    private_length = 32
    _suite_id = b"KEM\x64\x7a"

    @staticmethod
    def _expand(seed: bytes) -> tuple[bytes, bytes]:
        expanded = hashlib.shake_256(seed).digest(96)
        return expanded[:64], expanded[64:]

    def derive(self, ikm: bytes) -> tuple[bytes, bytes]:
        # draft-ietf-hpke-pq: LabeledDerive over SHAKE256, no KDF id in the suite id, then the seed's expansion.
        labeled = ikm + _VERSION + self._suite_id + b"\x00\x0dDeriveKeyPair" + b"\x00\x20"
        seed = hashlib.shake_256(labeled).digest(32)
        return seed, self.public_of(seed)

    def public_of(self, private: bytes) -> bytes:
        if len(private) != 32:
            raise UsageError("a hybrid private key has 32 bytes")
        mlkem_seed, scalar = self._expand(private)
        encapsulation = MLKEM768PrivateKey.from_seed_bytes(mlkem_seed).public_key().public_bytes_raw()
        return encapsulation + x25519_public(scalar)

    @staticmethod
    def _refuse_form(public: bytes) -> None:
        if len(public) != 1216:
            raise Malformed("a hybrid public key has 1216 bytes")
        _refuse_small_order(public[1184:])

    def check_public(self, public: bytes) -> PublicKey | None:
        # Loading expands the key's matrix, which a key that is only kept does not need.
        self._refuse_form(public)
        _refuse_unreduced(public)
        return None

    def load_public(self, public: bytes) -> PublicKey:
        self._refuse_form(public)
        try:
            return MLKEM768X25519PublicKey(
                MLKEM768PublicKey.from_public_bytes(public[:1184]),
                X25519PublicKey.from_public_bytes(public[1184:]),
            )
        except ValueError:
            raise Malformed("not an ML-KEM-768 encapsulation key") from None

    def load_private(self, private: bytes) -> PrivateKey:
        if len(private) != 32:
            raise UsageError("a hybrid private key has 32 bytes")
        mlkem_seed, scalar = self._expand(private)
        return MLKEM768X25519PrivateKey(
            MLKEM768PrivateKey.from_seed_bytes(mlkem_seed), X25519PrivateKey.from_private_bytes(scalar)
        )


X25519: Kem = _X25519()
P256: Kem = _P256()
MLKEM768_X25519: Kem = _MlKem768X25519()


class Hpke:
    """One HPKE suite: a KEM with its KDF and AEAD. Works on loaded keys, for callers that keep them."""

    __slots__ = ("_decrypt", "_enc_length", "_encrypt", "kem")

    def __init__(self, kem: Kem, library_kem: KEM, kdf: KDF, aead: AEAD) -> None:
        suite = Suite(library_kem, kdf, aead)
        self.kem = kem
        self._enc_length = kem.enc_length
        self._encrypt = suite.encrypt
        self._decrypt = suite.decrypt

    def seal(self, public: PublicKey, info: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
        """SealBase with empty aad; returns ``(enc, ciphertext)``. Raises Malformed on a bad point."""
        try:
            sealed = self._encrypt(plaintext, public, info)
        except ValueError:
            raise Malformed("cannot encapsulate to this public key") from None
        return sealed[: self._enc_length], sealed[self._enc_length :]

    def open(self, private: PrivateKey, info: bytes, enc: bytes, ciphertext: bytes) -> bytes:
        """OpenBase with empty aad. Raises Malformed on wrong sizes, NotAuthentic if it does not open."""
        # The library checks enc ‖ ciphertext only as a whole, so the cut is checked here.
        if len(enc) != self._enc_length:
            raise Malformed(f"an encapsulated key has {self._enc_length} bytes here")
        if len(ciphertext) < _TAG_LENGTH:
            raise Malformed("an HPKE ciphertext holds at least its tag")
        try:
            return self._decrypt(enc + ciphertext, private, info)
        except (InvalidTag, ValueError):
            raise NotAuthentic("the HPKE ciphertext does not open") from None


X25519_AES128 = Hpke(X25519, KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)
X25519_CHACHA = Hpke(X25519, KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
P256_AES128 = Hpke(P256, KEM.P256, KDF.HKDF_SHA256, AEAD.AES_128_GCM)
MLKEM768_X25519_AES256 = Hpke(MLKEM768_X25519, KEM.MLKEM768_X25519, KDF.HKDF_SHA384, AEAD.AES_256_GCM)

_OF_KEM = {id(hpke.kem): hpke for hpke in (X25519_AES128, P256_AES128, MLKEM768_X25519_AES256)}


def _suite_of(kem: Kem) -> Hpke:
    try:
        return _OF_KEM[id(kem)]
    except KeyError:
        raise UsageError("not one of this module's KEM objects") from None


def seal(kem: Kem, public: bytes, info: bytes, plaintext: bytes) -> bytes:
    """Seal to a public key; returns enc ‖ ciphertext (``enc_length`` + len(plaintext) + 16 bytes).

    The hybrid KEM goes with HKDF-SHA384 and AES-256-GCM, the others with HKDF-SHA256 and AES-128-GCM.
    Raises Malformed unless ``public`` is a valid key.
    """
    hpke = _suite_of(kem)
    return b"".join(hpke.seal(kem.load_public(public), info, plaintext))


def open_(kem: Kem, private: bytes, info: bytes, sealed: bytes) -> bytes:
    """Open enc ‖ ciphertext. Raises Malformed when too short, NotAuthentic if it does not open."""
    hpke = _suite_of(kem)
    if len(sealed) < kem.enc_length + _TAG_LENGTH:
        raise Malformed("too short for an HPKE ciphertext")
    return hpke.open(kem.load_private(private), info, sealed[: kem.enc_length], sealed[kem.enc_length :])
