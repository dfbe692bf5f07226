"""KeyPackages (RFC 9420, 10): what a client gives away so that others can add it, and the halves it keeps.

A KeyPackage is for one use. Whoever joined with a bundle erases it.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pourparler_crypto.errors import Malformed, NotAcceptable, NotAuthentic, UsageError
from pourparler_crypto.mls.codec import OPAQUE, UINT16, keeping_raw, struct, vl
from pourparler_crypto.mls.extensions import (
    BASIC,
    EXTENSIONS,
    MLS10,
    Extension,
    GroupRequirements,
    Lifetime,
    own_capabilities,
)
from pourparler_crypto.mls.limits import MAX_LIFETIME, MAX_MESSAGE
from pourparler_crypto.mls.nodes import (
    KEY_PACKAGE,
    LEAF_NODE,
    LeafNode,
    check_leaf,
    new_leaf,
    sign_leaf,
    verify_leaf_signature,
)
from pourparler_crypto.mls.suites import CipherSuite, is_supported, labeled, suite_of

_TBS = b"KeyPackageTBS"
_REF_LABEL = b"MLS 1.0 KeyPackage Reference"
# MLSMessage: version mls10, wire format mls_key_package.
_HEADER = b"\x00\x01\x00\x05"


@dataclass(slots=True, eq=False)
class KeyPackage:
    """What is needed to add a client.

    struct {
        ProtocolVersion version;
        CipherSuite cipher_suite;
        HPKEPublicKey init_key;
        LeafNode leaf_node;
        Extension extensions<V>;
        opaque signature<V>;
    } KeyPackage;
    """

    version: int
    cipher_suite: int
    init_key: bytes
    leaf_node: LeafNode
    extensions: tuple[Extension, ...]
    signature: bytes
    raw: bytes = b""

    def ref(self, suite: CipherSuite) -> bytes:
        """KeyPackageRef (RFC 9420, 5.2), Nh bytes."""
        return suite.ref_hash(_REF_LABEL, self.raw)


KEY_PACKAGE_CODEC = keeping_raw(
    struct(
        KeyPackage,
        version=UINT16,
        cipher_suite=UINT16,
        init_key=OPAQUE,
        leaf_node=LEAF_NODE,
        extensions=EXTENSIONS,
        signature=OPAQUE,
    )
)


def check_key_package(
    package: KeyPackage, suite: CipherSuite, requirements: GroupRequirements | None, now: int | None = None
) -> None:
    """All of RFC 9420, 10.1. Raises NotAcceptable, Malformed or NotAuthentic.

    With ``now``, the lifetime must hold it and must not be longer than MAX_LIFETIME.
    """
    if package.version != MLS10:
        raise NotAcceptable("a KeyPackage of another protocol version")
    if package.cipher_suite != suite.number:
        raise NotAcceptable("a KeyPackage of another cipher suite")
    leaf = package.leaf_node
    check_leaf(leaf, suite, requirements, source=KEY_PACKAGE, now=now)
    lifetime = leaf.lifetime
    if now is not None and lifetime is not None and lifetime.not_after - lifetime.not_before > MAX_LIFETIME:
        raise NotAcceptable("a KeyPackage with a lifetime that is too long")
    if package.init_key == leaf.encryption_key:
        raise NotAcceptable("a KeyPackage whose init key is its encryption key")
    suite.kem.check_public(package.init_key)
    verify_leaf_signature(leaf, suite, b"", 0)
    signed = package.raw[: len(package.raw) - len(vl(package.signature))]
    leaf.verify(suite)(labeled(_TBS, signed), package.signature)


def read_key_package_message(message: bytes) -> KeyPackage:
    """Parse MLSMessage(mls_key_package). Raises Malformed."""
    if message[:4] != _HEADER:
        raise Malformed("not an MLSMessage with a KeyPackage")
    if len(message) > MAX_MESSAGE:
        raise Malformed(f"a KeyPackage longer than {MAX_MESSAGE} bytes")
    return KEY_PACKAGE_CODEC.decode(message[4:], "KeyPackage")


@dataclass(slots=True, frozen=True)
class KeyPackageInfo:
    """What a valid KeyPackage says of its owner."""

    credential: bytes  # the identity of its basic credential
    signature_key: bytes
    ref: bytes  # Nh bytes
    suite: int


def read_key_package(message: bytes, *, suite: int | None = None, now: int | None = None) -> KeyPackageInfo:
    """Read and fully validate MLSMessage(mls_key_package) (RFC 9420, 10.1).

    ``suite`` is the one it must be for (None: any that is supported); with ``now`` (Unix seconds) its lifetime is
    judged too. Raises Malformed, NotAuthentic or NotAcceptable.
    """
    package = read_key_package_message(message)
    if suite is not None and package.cipher_suite != suite:
        raise NotAcceptable("a KeyPackage of another cipher suite")
    if not is_supported(package.cipher_suite):
        raise NotAcceptable("a KeyPackage of a cipher suite that is not supported")
    found = suite_of(package.cipher_suite)
    check_key_package(package, found, None, now)
    if package.leaf_node.credential[0] != BASIC:
        raise NotAcceptable("a KeyPackage whose credential is not a basic one")
    return KeyPackageInfo(
        package.leaf_node.identity, package.leaf_node.signature_key, package.ref(found), found.number
    )


@dataclass(slots=True, frozen=True)
class KeyPackageBundle:
    """A KeyPackage with the private halves of its three keys (each 32 bytes)."""

    key_package: bytes  # MLSMessage(mls_key_package), to give away
    init_private: bytes
    encryption_private: bytes
    signature_private: bytes

    def __repr__(self) -> str:
        return "KeyPackageBundle(...)"  # never the private halves

    def to_bytes(self) -> bytes:
        """Everything, private halves included, for the vault."""
        return _BUNDLE.write(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> "KeyPackageBundle":
        """The reverse of to_bytes. Raises UsageError, also when a private half does not fit the KeyPackage."""
        try:
            bundle = _BUNDLE.decode(data, "KeyPackage bundle")
            bundle.check()
        except (Malformed, NotAuthentic) as error:
            raise UsageError(f"not a KeyPackage bundle: {error}") from None
        return bundle

    def check(self) -> None:
        """Compare each private half with the KeyPackage; raises UsageError when one does not belong to it."""
        package = read_key_package_message(self.key_package)
        suite = suite_of(package.cipher_suite)
        leaf = package.leaf_node
        if (
            suite.kem.public_of(self.init_private) != package.init_key
            or suite.kem.public_of(self.encryption_private) != leaf.encryption_key
            or suite.signer(self.signature_private).public != leaf.signature_key
        ):
            raise UsageError("a private key of the bundle does not belong to its KeyPackage")


_BUNDLE = struct(
    KeyPackageBundle,
    key_package=OPAQUE,
    init_private=OPAQUE,
    encryption_private=OPAQUE,
    signature_private=OPAQUE,
)


def make_key_package(
    suite: int,
    credential: bytes,
    *,
    lifetime: tuple[int, int],
    extension_types: Iterable[int] = (),
    random: Callable[[int], bytes] = os.urandom,
) -> KeyPackageBundle:
    """Make a KeyPackage with fresh keys and a basic credential.

    ``lifetime`` is (not before, not after) in Unix seconds; ``extension_types`` are group context extensions that
    the application understands besides the charter's. Raises UsageError.
    """
    chosen = suite_of(suite)
    if not 0 <= lifetime[0] <= lifetime[1] < 1 << 64:
        raise UsageError("a lifetime is (not before, not after), both Unix seconds")
    init_private, init_key = chosen.kem.generate(random)
    encryption_private, encryption_key = chosen.kem.generate(random)
    signer = chosen.new_signer(random)
    leaf = new_leaf(
        encryption_key,
        signer.public,
        (BASIC, credential),
        own_capabilities(extension_types),
        (KEY_PACKAGE, Lifetime(*lifetime)),
    )
    sign_leaf(leaf, chosen, signer)
    package = KeyPackage(MLS10, suite, init_key, leaf, (), b"")
    unsigned = KEY_PACKAGE_CODEC.write(package)[:-1]  # the empty signature is one byte, its length
    signature = signer.sign(labeled(_TBS, unsigned))
    return KeyPackageBundle(_HEADER + unsigned + vl(signature), init_private, encryption_private, signer.private)
