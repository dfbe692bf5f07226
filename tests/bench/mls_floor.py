"""The floor under each MLS operation: the raw primitives that RFC 9420 makes it perform, and nothing between them.

The counts below are of the protocol, not of our code: whatever an implementation does beyond them shows as
distance from the floor. Keys that a member holds from before are loaded outside the clock; keys that arrive with
the message and are used by it are loaded inside. HMAC is ``hmac.digest``; an implementation that copies keyed hash
states can pass below. Ed25519 and X25519 public keys come from libsodium or from OpenSSL; all the rest is the same
in both floors. Signatures differ from one time to the next: a processor that has just seen one predicts the
branches of its verification, which helps no implementation.
"""

import hashlib
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from nacl.bindings import crypto_scalarmult_base, crypto_sign, crypto_sign_open, crypto_sign_seed_keypair

Act = Callable[[], object]

NONCE = bytes(12)
SIGNATURES = 64  # as many at least, before an operation verifies the first of them again


@dataclass(frozen=True)
class Sizes:
    """Bytes of what is hashed, signed or sealed, read off the real messages of the run."""

    context: int  # GroupContext
    leaf: int  # LeafNode
    parent: int  # ParentNode
    package: int  # KeyPackage
    commit: int  # the commit's plaintext


@dataclass
class Count:
    """How often an operation needs each primitive."""

    sign: list[int] = field(default_factory=list)  # bytes signed
    verify: list[int] = field(default_factory=list)  # bytes verified, key at hand
    verify_new: list[int] = field(default_factory=list)  # bytes verified, key just arrived
    seal: list[int] = field(default_factory=list)  # AEAD, bytes of plaintext
    open: list[int] = field(default_factory=list)
    hmac: int = 0
    hash: list[int] = field(default_factory=list)
    hpke_seal: int = 0  # to a loaded key
    hpke_open: int = 0  # with a loaded key
    key_load: int = 0  # HPKE public keys that arrived as bytes
    private_load: int = 0
    key_pair: int = 0  # HPKE key pairs computed from a private key (the HMACs of DeriveKeyPair are under hmac)

    def words(self) -> str:
        """For people."""
        parts = [
            (len(self.sign), "sign"),
            (len(self.verify) + len(self.verify_new), "verify"),
            (self.hpke_seal, "HPKE seal"),
            (self.hpke_open, "HPKE open"),
            (self.key_pair, "KEM key pair"),
            (self.key_load, "public key load"),
            (self.private_load, "private key load"),
            (len(self.seal) + len(self.open), "AEAD"),
            (self.hmac, "HMAC"),
            (len(self.hash), "hash"),
        ]
        return ", ".join(f"{number} {name}" for number, name in parts if number)


KEY_SCHEDULE = 14  # joiner 2, member 1, epoch 1, nine epoch secrets, confirmation tag
SEALING = 5  # HMAC: key, nonce and next secret of the ratchet; key and nonce of the sender data
FRAMING = 120  # bytes around content in FramedContentTBS, and labels


def _ratchets(depth: int) -> int:
    """HMACs to a sender's first ratchet of an epoch: both children at each level, then both ratchets."""
    return 2 * depth + 2


def count_operations(members: int, sizes: Sizes, derive_hmacs: int) -> dict[str, Count]:
    """What each operation needs in a group of so many members (a power of two).

    The sender is leaf 0 and the receiver leaf 1, which derives the whole path: the dearest place to be.
    """
    depth = members.bit_length() - 1
    data = 1024 + FRAMING + sizes.context
    signed = sizes.commit + FRAMING + sizes.context
    plain = sizes.commit + 140
    chain = depth * (2 + derive_hmacs)  # a level: node secret, next path secret, DeriveKeyPair
    path_hashes = [sizes.parent + 64] * depth + [sizes.leaf] + [sizes.parent + 70] * depth
    transcript = [signed, 64]
    leaf_tbs = sizes.leaf + 40
    info = sizes.context + 140

    def committed(levels: int, seals: int) -> Count:
        return Count(
            sign=[leaf_tbs, signed],
            seal=[plain, 12],
            hmac=chain + KEY_SCHEDULE + SEALING + _ratchets(depth),
            hash=path_hashes + transcript,
            hpke_seal=seals,
            key_pair=levels + 1,
        )

    # After create and add no parent exists: a path seals each level to every leaf beside it.
    grown = members.bit_length()  # depth once a member more is in
    add_signed = sizes.package + FRAMING + sizes.context
    add_plain = sizes.package + 140
    add_hashes = [sizes.leaf] + [sizes.parent + 70] * grown + [add_signed, 64]
    return {
        "send 1 KiB": Count(sign=[data], seal=[1100, 12], hmac=SEALING),
        "receive 1 KiB": Count(verify=[data], open=[1116, 28], hmac=SEALING),
        "commit, warm": committed(depth, depth),
        "process it": Count(
            verify=[leaf_tbs, signed],
            open=[plain + 16, 28],
            hmac=chain + KEY_SCHEDULE + SEALING + _ratchets(depth),
            hash=path_hashes + transcript,
            hpke_open=1,
            key_pair=depth,
        ),
        "commit, cold": committed(depth, members - 1),
        "add 1": Count(
            sign=[add_signed, info],
            verify_new=[leaf_tbs, sizes.package],
            seal=[add_plain, 12, info],
            hmac=KEY_SCHEDULE + SEALING + _ratchets(depth) + 3,
            hash=[*add_hashes, sizes.package],
            hpke_seal=1,
            key_load=1,
        ),
        "process add": Count(
            verify=[add_signed],
            verify_new=[leaf_tbs, sizes.package],
            open=[add_plain + 16, 28],
            hmac=KEY_SCHEDULE + SEALING + _ratchets(depth),
            hash=add_hashes,
        ),
        "join": Count(
            verify_new=[info] + [leaf_tbs] * members,
            open=[info + 16],
            # welcome secret, key, nonce; member, epoch, nine secrets, confirmation tag
            hmac=3 + 12,
            # every node's tree hash, every parent's parent hash, the KeyPackage's ref, the interim hash
            hash=[sizes.leaf] * members + [sizes.parent + 70] * (2 * (members - 1)) + [sizes.package, 64],
            hpke_open=1,
            private_load=1,
        ),
        "create, add N-1": Count(
            sign=[leaf_tbs, add_signed - sizes.package + (members - 1) * sizes.package, info],
            verify_new=[leaf_tbs, sizes.package] * (members - 1),
            seal=[(members - 1) * sizes.package + 140, 12, info],
            hmac=10 + KEY_SCHEDULE + SEALING + _ratchets(0) + 3,
            hash=[sizes.leaf] * members
            + [70] * (members - 1)
            + [sizes.package] * (members - 1)
            + [(members - 1) * sizes.package, 64],
            hpke_seal=members - 1,
            key_load=members - 1,
            key_pair=1,
        ),
    }


class Raw:
    """The primitives of one suite, over libsodium or over OpenSSL for Ed25519 and X25519 public keys."""

    def __init__(self, hybrid: bool, sodium: bool) -> None:
        self.hybrid = hybrid
        self.sodium = sodium
        self.hash_name = "sha384" if hybrid else "sha256"
        self.new_hash = hashlib.sha384 if hybrid else hashlib.sha256
        self.key = os.urandom(32 if hybrid else 16)
        self.secret = os.urandom(48 if hybrid else 32)
        self.path_secret = self.secret
        self.info = os.urandom(40)
        seed = os.urandom(32)
        self.verify_key, self.sign_pair = crypto_sign_seed_keypair(seed)
        self.sign_key = Ed25519PrivateKey.from_private_bytes(seed)
        self.loaded_verify_key = Ed25519PublicKey.from_public_bytes(self.verify_key)
        self.private_bytes = os.urandom(32)
        self.hpke_info = os.urandom(200)
        if hybrid:
            self.suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA384, AEAD.AES_256_GCM)
        else:
            self.suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)
        self.public_bytes = self.key_pair()
        self.private = self.load_private()
        self.public = self.load_public()
        self.sealed = self.suite.encrypt(self.path_secret, self.public, self.hpke_info)

    def load_private(self) -> object:
        """An HPKE private key from its bytes."""
        if not self.hybrid:
            return X25519PrivateKey.from_private_bytes(self.private_bytes)
        mlkem_seed, scalar = self.expand()
        return MLKEM768X25519PrivateKey(
            MLKEM768PrivateKey.from_seed_bytes(mlkem_seed), X25519PrivateKey.from_private_bytes(scalar)
        )

    def expand(self) -> tuple[bytes, bytes]:
        """ML-KEM seed and X25519 scalar of a hybrid private key, which is a seed (draft-ietf-hpke-pq, X-Wing).

        Whoever computes the public key or opens has to expand it, so it counts with every key pair and load.
        """
        expanded = hashlib.shake_256(self.private_bytes).digest(96)
        return expanded[:64], expanded[64:]

    def load_public(self) -> object:
        """An HPKE public key from its bytes."""
        point = X25519PublicKey.from_public_bytes(self.public_bytes[-32:])
        if not self.hybrid:
            return point
        return MLKEM768X25519PublicKey(MLKEM768PublicKey.from_public_bytes(self.public_bytes[:1184]), point)

    def key_pair(self) -> bytes:
        """The public key of an HPKE private key."""
        mlkem_seed, scalar = self.expand() if self.hybrid else (b"", self.private_bytes)
        if self.sodium:
            point = crypto_scalarmult_base(scalar)
        else:
            point = X25519PrivateKey.from_private_bytes(scalar).public_key().public_bytes_raw()
        if not self.hybrid:
            return point
        return MLKEM768PrivateKey.from_seed_bytes(mlkem_seed).public_key().public_bytes_raw() + point

    def sign(self, size: int) -> Act:
        """Sign so many bytes."""
        message, pair, key = os.urandom(size), self.sign_pair, self.sign_key
        return (lambda: crypto_sign(message, pair)) if self.sodium else (lambda: key.sign(message))

    def verify(self, size: int, arrived: bool, different: int) -> Act:
        """Verify so many bytes, ``different`` messages in turn; OpenSSL has to load a key that just arrived."""
        public, loaded = self.verify_key, self.loaded_verify_key
        messages = [os.urandom(size) for _ in range(different)]
        following = cycle([(crypto_sign(message, self.sign_pair)[:64], message) for message in messages]).__next__

        def by_sodium() -> None:
            signature, message = following()
            crypto_sign_open(signature + message, public)

        def by_openssl() -> None:
            signature, message = following()
            key = Ed25519PublicKey.from_public_bytes(public) if arrived else loaded
            key.verify(signature, message)

        return by_sodium if self.sodium else by_openssl

    def acts(self, count: Count) -> list[Act]:
        """Every call that a count stands for."""
        key, secret, info, name = self.key, self.secret, self.info, self.hash_name
        acts: list[Act] = [self.sign(size) for size in count.sign]
        different = SIGNATURES // max(1, len(count.verify) + len(count.verify_new)) + 1
        acts += [self.verify(size, False, different) for size in count.verify]
        acts += [self.verify(size, True, different) for size in count.verify_new]
        for size in count.seal:
            plaintext = os.urandom(size)
            acts.append(lambda plaintext=plaintext: AESGCM(key).encrypt(NONCE, plaintext, info))
        for size in count.open:
            ciphertext = AESGCM(key).encrypt(NONCE, os.urandom(max(0, size - 16)), info)
            acts.append(lambda ciphertext=ciphertext: AESGCM(key).decrypt(NONCE, ciphertext, info))
        acts += [lambda: hmac.digest(secret, info, name)] * count.hmac
        for size in count.hash:
            hashed = os.urandom(size)
            acts.append(lambda hashed=hashed: self.new_hash(hashed).digest())
        suite, public, private, sealed = self.suite, self.public, self.private, self.sealed
        path_secret, hpke_info = self.path_secret, self.hpke_info
        acts += [lambda: suite.encrypt(path_secret, public, hpke_info)] * count.hpke_seal
        acts += [lambda: suite.decrypt(sealed, private, hpke_info)] * count.hpke_open
        acts += [self.load_public] * count.key_load
        acts += [self.load_private] * count.private_load
        acts += [self.key_pair] * count.key_pair
        return acts


# HMACs (X25519: LabeledExtract, LabeledExpand) in DeriveKeyPair; the hybrid KEM has one SHAKE256, counted as such,
# besides the one that expands the private key (Raw.expand).
def derive_hmacs(hybrid: bool) -> int:
    """HMACs, or calls as dear, in one DeriveKeyPair."""
    return 1 if hybrid else 2
