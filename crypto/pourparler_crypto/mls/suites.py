"""Cipher suites (RFC 9420, 5.1): every cryptographic function of the protocol goes through one of these objects.

Suites 1, 2 and 3 are the RFC's. The default is ``MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519`` of
draft-ietf-mls-pq-ciphersuites under the private-use number 0xF07A until IANA assigns one; the number is bound to
exactly this definition: KEM 0x647a, HKDF-SHA384, AES-256-GCM, SHA-384, Ed25519.

Labels are whole here: what is signed, expanded or sealed carries "MLS 1.0 " and its purpose.
"""

import hashlib
import hmac
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from pourparler_crypto import hpke
from pourparler_crypto.errors import Malformed, NotAuthentic, UsageError
from pourparler_crypto.keyed import IPAD, OPAD, hmac_digest
from pourparler_crypto.mls.codec import vl
from pourparler_crypto.mls.limits import MAX_EXPORT
from pourparler_crypto.sodium import (
    PUBLIC_KEY_LENGTH,
    SEED_LENGTH,
    ed25519_keypair,
    ed25519_sign,
    ed25519_verify,
)

SUITE_X25519_AES128 = 0x0001
SUITE_P256_AES128 = 0x0002
SUITE_X25519_CHACHA = 0x0003
SUITE_PQ = 0xF07A

NONCE_LENGTH = 12  # bytes, AEAD.Nn of every suite

_PREFIX = b"MLS 1.0 "
# DeriveSecret's labels in RFC 9420, 7.4 and 8
_DERIVED = (
    b"authentication",
    b"confirm",
    b"encryption",
    b"exporter",
    b"external",
    b"init",
    b"membership",
    b"node",
    b"path",
    b"resumption",
    b"sender data",
    b"welcome",
)

Verify = Callable[[bytes, bytes], None]  # (message, signature); raises NotAuthentic
Aead = AESGCM | ChaCha20Poly1305


@lru_cache(maxsize=64)
def _label(label: bytes) -> bytes:
    return vl(_PREFIX + label)


def kdf_label(label: bytes, context: bytes, length: int) -> bytes:
    """KDFLabel (RFC 9420, 8) with the counter byte of HKDF's first block behind it."""
    return length.to_bytes(2) + _label(label) + vl(context) + b"\x01"


def labeled(label: bytes, content: bytes) -> bytes:
    """SignContent and EncryptContext (RFC 9420, 5.1.2, 5.1.3): the label, then the content."""
    return _label(label) + vl(content)


class Signer(ABC):
    """A signature key pair. ``public`` and ``private`` are bytes as the RFC and its vectors encode them."""

    __slots__ = ("private", "public")

    public: bytes
    private: bytes

    @abstractmethod
    def sign(self, message: bytes) -> bytes:
        """Sign; returns the signature in the suite's encoding."""


class _Ed25519Signer(Signer):
    __slots__ = ("_keypair",)

    def __init__(self, seed: bytes) -> None:
        self._keypair = ed25519_keypair(seed)
        self.private = seed
        self.public = self._keypair[SEED_LENGTH:]

    def sign(self, message: bytes) -> bytes:
        return ed25519_sign(self._keypair, message)


class _EcdsaSigner(Signer):
    """ECDSA over P-256 with SHA-256, DER-encoded; nonces are deterministic (RFC 6979)."""

    __slots__ = ("_key",)

    _ALGORITHM = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)

    def __init__(self, private: bytes) -> None:
        self._key: ec.EllipticCurvePrivateKey = hpke.P256.load_private(private)
        self.private = private
        self.public = hpke.P256.public_of(private)

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message, self._ALGORITHM)


def _load_ed25519(public: bytes) -> Verify:
    if len(public) != PUBLIC_KEY_LENGTH:
        raise Malformed("an Ed25519 public key has 32 bytes")

    def verify(message: bytes, signature: bytes) -> None:
        ed25519_verify(public, message, signature)

    return verify


def _load_ecdsa(public: bytes) -> Verify:
    key = hpke.P256.load_public(public)
    algorithm = ec.ECDSA(hashes.SHA256())

    def verify(message: bytes, signature: bytes) -> None:
        try:
            key.verify(signature, message, algorithm)
        except InvalidSignature:
            raise NotAuthentic("the signature does not verify") from None

    return verify


class Expander:
    """HKDF-Expand of one block under one secret, for many labels.

    The two keyed hash states of HMAC (RFC 2104) are made once and copied for each label, which takes a third of
    the time of a fresh HMAC; for two labels CipherSuite.expand_two is faster. The states are as secret as the key:
    drop the object where the key is dropped.
    """

    __slots__ = ("_copy_inner", "_copy_outer")

    def __init__(self, suite: "CipherSuite", secret: bytes) -> None:
        key = secret.ljust(suite.block_length, b"\x00")
        self._copy_inner = suite.new_hash(key.translate(IPAD)).copy
        self._copy_outer = suite.new_hash(key.translate(OPAD)).copy

    def expand(self, info: bytes) -> bytes:
        """One block (Nh bytes) of HKDF-Expand; ``info`` comes from kdf_label."""
        inner = self._copy_inner()
        inner.update(info)
        outer = self._copy_outer()
        outer.update(inner.digest())
        digest: bytes = outer.digest()
        return digest


class CipherSuite:
    """One suite: sizes in bytes and the functions of RFC 9420, sections 5 and 8."""

    __slots__ = (
        "_signer",
        "aead",
        "block_length",
        "derive_infos",
        "hash_header",
        "hash_length",
        "hash_name",
        "hpke",
        "kem",
        "key_length",
        "load_verifier",
        "name",
        "new_hash",
        "number",
        "signature_seed_length",
        "zero",
    )

    def __init__(
        self,
        number: int,
        name: str,
        suite_hpke: hpke.Hpke,
        hash_name: str,
        aead: type[AESGCM] | type[ChaCha20Poly1305],
        key_length: int,
        signer: type[_Ed25519Signer] | type[_EcdsaSigner],
        load_verifier: Callable[[bytes], Verify],
    ) -> None:
        self.number = number
        self.name = name
        self.hpke = suite_hpke
        self.kem = suite_hpke.kem
        self.hash_name = hash_name
        self.new_hash: Callable[..., Any] = getattr(hashlib, hash_name)
        self.hash_length: int = self.new_hash().digest_size
        self.hash_header = bytes((self.hash_length,))  # the length header of a hash in the codec
        self.block_length: int = self.new_hash().block_size
        self.aead: Callable[[bytes], Aead] = aead
        self.key_length = key_length
        self._signer = signer
        self.load_verifier = load_verifier
        self.signature_seed_length = 32
        self.zero = bytes(self.hash_length)
        self.derive_infos = {label: kdf_label(label, b"", self.hash_length) for label in _DERIVED}

    # hash, MAC and KDF

    def hash(self, data: bytes) -> bytes:
        """Hash(data), Nh bytes."""
        digest: bytes = self.new_hash(data).digest()
        return digest

    def mac(self, key: bytes, data: bytes) -> bytes:
        """MAC(key, data): HMAC with the suite's hash, Nh bytes."""
        return hmac_digest(self.hash_name, key, data)

    def check_mac(self, key: bytes, data: bytes, tag: bytes, what: str) -> None:
        """Compare in constant time. Raises NotAuthentic, naming ``what``."""
        if not hmac.compare_digest(self.mac(key, data), tag):
            raise NotAuthentic(f"the {what} does not verify")

    def extract(self, salt: bytes, ikm: bytes) -> bytes:
        """KDF.Extract(salt, ikm), Nh bytes."""
        return hmac_digest(self.hash_name, salt, ikm)

    def expand_with_label(self, secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
        """ExpandWithLabel (RFC 9420, 8); ``length`` bytes, as many blocks as it takes."""
        if not 0 <= length <= MAX_EXPORT:
            raise UsageError(f"one expansion gives at most {MAX_EXPORT} bytes")
        info = kdf_label(label, context, length)
        output = block = hmac_digest(self.hash_name, secret, info)
        info = info[:-1]
        counter = 2
        while len(output) < length:
            block = hmac_digest(self.hash_name, secret, block + info + bytes((counter,)))
            output += block
            counter += 1
        return output[:length]

    def expand_two(self, secret: bytes, first: bytes, second: bytes) -> tuple[bytes, bytes]:
        """HKDF-Expand of one block (Nh bytes) for each of two labels; the infos come from kdf_label."""
        key = secret.ljust(self.block_length, b"\x00")
        inner, outer = key.translate(IPAD), key.translate(OPAD)
        new_hash = self.new_hash
        return (
            new_hash(outer + new_hash(inner + first).digest()).digest(),
            new_hash(outer + new_hash(inner + second).digest()).digest(),
        )

    def derive_info(self, label: bytes) -> bytes:
        """The KDFLabel of DeriveSecret for one label; those of the protocol are made once."""
        return self.derive_infos.get(label) or kdf_label(label, b"", self.hash_length)

    def derive_secret(self, secret: bytes, label: bytes) -> bytes:
        """DeriveSecret (RFC 9420, 8), Nh bytes."""
        return hmac_digest(self.hash_name, secret, self.derive_info(label))

    def ref_hash(self, label: bytes, value: bytes) -> bytes:
        """RefHash (RFC 9420, 5.2); ``label`` is already complete."""
        return self.hash(vl(label) + vl(value))

    # signatures

    def signer(self, private: bytes) -> Signer:
        """A signature key pair from its private key (32 bytes). Raises UsageError on a wrong one."""
        return self._signer(private)

    def new_signer(self, random: Callable[[int], bytes]) -> Signer:
        """A fresh signature key pair from ``signature_seed_length`` random bytes."""
        if self._signer is _EcdsaSigner:
            # Through the KEM's derivation, which picks a scalar without bias from any seed.
            return self._signer(hpke.P256.derive(random(self.signature_seed_length))[0])
        return self._signer(random(self.signature_seed_length))

    # public-key encryption

    def encrypt_with_label(
        self, public: hpke.PublicKey, label: bytes, context: bytes, plaintext: bytes
    ) -> tuple[bytes, bytes]:
        """EncryptWithLabel (RFC 9420, 5.1.3) to a loaded key: ``(kem_output, ciphertext)``."""
        return self.hpke.seal(public, labeled(label, context), plaintext)

    def decrypt_with_label(
        self, private: hpke.PrivateKey, label: bytes, context: bytes, kem_output: bytes, ciphertext: bytes
    ) -> bytes:
        """DecryptWithLabel with a loaded key. Raises Malformed or NotAuthentic."""
        return self.hpke.open(private, labeled(label, context), kem_output, ciphertext)

    # AEAD

    def seal(self, key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        """AEAD.Seal; 16 bytes longer than the plaintext."""
        return self.aead(key).encrypt(nonce, plaintext, aad)

    def open(self, key: bytes, nonce: bytes, ciphertext: bytes, aad: bytes) -> bytes:
        """AEAD.Open. Raises NotAuthentic."""
        try:
            return self.aead(key).decrypt(nonce, ciphertext, aad)
        except InvalidTag:
            raise NotAuthentic("the ciphertext does not open") from None


_SUITES = {
    suite.number: suite
    for suite in (
        CipherSuite(
            SUITE_X25519_AES128,
            "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
            hpke.X25519_AES128,
            "sha256",
            AESGCM,
            16,
            _Ed25519Signer,
            _load_ed25519,
        ),
        CipherSuite(
            SUITE_P256_AES128,
            "MLS_128_DHKEMP256_AES128GCM_SHA256_P256",
            hpke.P256_AES128,
            "sha256",
            AESGCM,
            16,
            _EcdsaSigner,
            _load_ecdsa,
        ),
        CipherSuite(
            SUITE_X25519_CHACHA,
            "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519",
            hpke.X25519_CHACHA,
            "sha256",
            ChaCha20Poly1305,
            32,
            _Ed25519Signer,
            _load_ed25519,
        ),
        CipherSuite(
            SUITE_PQ,
            "MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519",
            hpke.MLKEM768_X25519_AES256,
            "sha384",
            AESGCM,
            32,
            _Ed25519Signer,
            _load_ed25519,
        ),
    )
}

SUPPORTED_SUITES = tuple(_SUITES)


def is_supported(number: int) -> bool:
    """Whether this client has the suite with this number."""
    return number in _SUITES


def suite_of(number: int) -> CipherSuite:
    """The suite with this number. Raises UsageError when it is not one of SUPPORTED_SUITES."""
    try:
        return _SUITES[number]
    except KeyError:
        raise UsageError(f"cipher suite {number:#06x} is not supported") from None
