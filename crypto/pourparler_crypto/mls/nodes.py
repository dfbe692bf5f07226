"""Leaf and parent nodes of the ratchet tree (RFC 9420, 7.1, 7.2) and what makes a leaf valid by itself (7.3).

Nodes are never changed once built: a change puts a new node in the old one's place, so a staged tree can share
all others with the current one. Each keeps the bytes it was read from, since these are hashed and signed.
"""

from dataclasses import dataclass, field
from typing import Any

from pourparler_crypto.errors import Malformed, NotAcceptable, UsageError
from pourparler_crypto.hpke import PublicKey
from pourparler_crypto.mls.codec import (
    NOTHING,
    OPAQUE,
    UINT8,
    UINT32,
    UINT32S,
    Codec,
    keeping_raw,
    optional,
    struct,
    tagged,
    vl,
)
from pourparler_crypto.mls.extensions import (
    CAPABILITIES,
    CREDENTIAL,
    DEFAULT_EXTENSIONS,
    EXTENSIONS,
    LIFETIME,
    MLS10,
    Capabilities,
    Credential,
    Extension,
    GroupRequirements,
    Lifetime,
)
from pourparler_crypto.mls.suites import CipherSuite, Signer, Verify, labeled

# LeafNodeSource
KEY_PACKAGE = 1
UPDATE = 2
COMMIT = 3

_SOURCES = {KEY_PACKAGE: "a KeyPackage", UPDATE: "an Update", COMMIT: "a Commit"}

_LEAF_NODE_TBS = b"LeafNodeTBS"


@dataclass(slots=True, eq=False)
class ParentNode:
    """A key that every member below it holds, except the unmerged leaves.

    struct {
        HPKEPublicKey encryption_key;
        opaque parent_hash<V>;
        uint32 unmerged_leaves<V>;
    } ParentNode;
    """

    encryption_key: bytes
    parent_hash: bytes
    unmerged_leaves: tuple[int, ...]  # leaf indices, strictly rising
    raw: bytes = b""
    loaded: PublicKey = None

    def check_public(self, suite: CipherSuite) -> None:
        """Raise Malformed unless the encryption key is one."""
        if self.loaded is None:
            self.loaded = suite.kem.check_public(self.encryption_key)

    def public(self, suite: CipherSuite) -> PublicKey:
        """The encryption key, ready to seal to."""
        if self.loaded is None:
            self.loaded = suite.kem.load_public(self.encryption_key)
        return self.loaded


def _read_unmerged(data: bytes, at: int) -> tuple[tuple[int, ...], int]:
    leaves, at = UINT32S.read(data, at)
    if any(leaves[i] >= leaves[i + 1] for i in range(len(leaves) - 1)):
        raise Malformed("unmerged leaves are not strictly rising (RFC 9420, 7.1)")
    return leaves, at


PARENT_NODE = keeping_raw(
    struct(
        ParentNode,
        encryption_key=OPAQUE,
        parent_hash=OPAQUE,
        unmerged_leaves=Codec(_read_unmerged, UINT32S.write),
    )
)


@dataclass(slots=True, eq=False)
class LeafNode:
    """A member's place in the tree, signed by that member.

    struct {
        HPKEPublicKey encryption_key;
        SignaturePublicKey signature_key;
        Credential credential;
        Capabilities capabilities;
        LeafNodeSource leaf_node_source;
        select (LeafNode.leaf_node_source) {
            case key_package: Lifetime lifetime;
            case update:      struct{};
            case commit:      opaque parent_hash<V>;
        };
        Extension extensions<V>;
        opaque signature<V>;
    } LeafNode;
    """

    encryption_key: bytes
    signature_key: bytes
    credential: Credential
    capabilities: Capabilities
    source: tuple[int, Any]  # (leaf_node_source, Lifetime | None | parent hash)
    extensions: tuple[Extension, ...]
    signature: bytes
    raw: bytes = b""
    loaded: PublicKey = None
    verifier: Verify | None = field(default=None, repr=False)

    @property
    def lifetime(self) -> Lifetime | None:
        """Only of a leaf that came in a KeyPackage."""
        kind, value = self.source
        return value if kind == KEY_PACKAGE else None

    @property
    def parent_hash(self) -> bytes:
        """Only of a leaf that came in a Commit; else empty."""
        kind, value = self.source
        return value if kind == COMMIT else b""

    @property
    def identity(self) -> bytes:
        """The identity of a basic credential; empty for any other type."""
        value = self.credential[1]
        return value if isinstance(value, bytes) else b""

    def check_public(self, suite: CipherSuite) -> None:
        """Raise Malformed unless the encryption key is one."""
        if self.loaded is None:
            self.loaded = suite.kem.check_public(self.encryption_key)

    def public(self, suite: CipherSuite) -> PublicKey:
        """The encryption key, ready to seal to."""
        if self.loaded is None:
            self.loaded = suite.kem.load_public(self.encryption_key)
        return self.loaded

    def verify(self, suite: CipherSuite) -> Verify:
        """The signature key, ready to verify."""
        if self.verifier is None:
            self.verifier = suite.load_verifier(self.signature_key)
        return self.verifier

    def signed_part(self, group_id: bytes, leaf_index: int) -> bytes:
        """LeafNodeTBS: without group and place when it comes from a KeyPackage (RFC 9420, 7.2)."""
        part = self.raw[: len(self.raw) - len(vl(self.signature))]
        if self.source[0] == KEY_PACKAGE:
            return part
        return part + vl(group_id) + UINT32.write(leaf_index)


LEAF_NODE = keeping_raw(
    struct(
        LeafNode,
        encryption_key=OPAQUE,
        signature_key=OPAQUE,
        credential=CREDENTIAL,
        capabilities=CAPABILITIES,
        source=tagged(UINT8, {KEY_PACKAGE: LIFETIME, UPDATE: NOTHING, COMMIT: OPAQUE}, "leaf node source"),
        extensions=EXTENSIONS,
        signature=OPAQUE,
    )
)

Node = LeafNode | ParentNode

# struct { NodeType node_type; select (Node.node_type) { case leaf: LeafNode; case parent: ParentNode; }; } Node;
_NODE = tagged(UINT8, {1: LEAF_NODE, 2: PARENT_NODE}, "node type")


def _write_node(node: Node) -> bytes:
    return b"\x01" + LEAF_NODE.write(node) if isinstance(node, LeafNode) else b"\x02" + PARENT_NODE.write(node)


def _read_node(data: bytes, at: int) -> tuple[Node, int]:
    (_, node), at = _NODE.read(data, at)
    return node, at


OPTIONAL_NODE: Codec[Node | None] = optional(Codec[Node](_read_node, _write_node))


def sign_leaf(
    leaf: LeafNode, suite: CipherSuite, signer: Signer, group_id: bytes = b"", leaf_index: int = 0
) -> LeafNode:
    """Fill in the signature of a leaf just built (its own ``signature`` empty)."""
    unsigned = LEAF_NODE.write(leaf)
    part = unsigned[:-1]  # the empty signature is one byte, its length
    place = b"" if leaf.source[0] == KEY_PACKAGE else vl(group_id) + UINT32.write(leaf_index)
    leaf.signature = signer.sign(labeled(_LEAF_NODE_TBS, part + place))
    leaf.raw = part + vl(leaf.signature)
    return leaf


def verify_leaf_signature(leaf: LeafNode, suite: CipherSuite, group_id: bytes, leaf_index: int) -> None:
    """Check a leaf's signature; group and place count unless it comes from a KeyPackage. Raises NotAuthentic."""
    message = labeled(_LEAF_NODE_TBS, leaf.signed_part(group_id, leaf_index))
    leaf.verify(suite)(message, leaf.signature)


def check_leaf(
    leaf: LeafNode,
    suite: CipherSuite,
    requirements: GroupRequirements | None,
    *,
    source: int | None = None,
    now: int | None = None,
) -> None:
    """Everything of RFC 9420, 7.3 that the leaf alone decides, except its signature.

    ``requirements`` are the group's (None outside a group), ``source`` the leaf_node_source that its place calls
    for (None in a tree, where each may stand). Raises NotAcceptable, or Malformed for a key that is none.
    """
    if source is not None and leaf.source[0] != source:
        raise NotAcceptable(f"a leaf node that is not meant for {_SOURCES[source]}")
    capabilities = leaf.capabilities
    if MLS10 not in capabilities.versions or suite.number not in capabilities.cipher_suites:
        raise NotAcceptable("a leaf whose capabilities lack the protocol version or the cipher suite")
    if leaf.credential[0] not in capabilities.credentials:
        raise NotAcceptable("a leaf whose capabilities lack its own credential type")
    for kind, _ in leaf.extensions:
        if kind not in DEFAULT_EXTENSIONS and kind not in capabilities.extensions:
            raise NotAcceptable("a leaf whose capabilities lack one of its own extensions")
    if requirements is not None:
        requirements.check(capabilities)
    if now is not None:
        check_lifetime(leaf, now)
    leaf.check_public(suite)
    leaf.verify(suite)


def check_lifetime(leaf: LeafNode, now: int) -> None:
    """Raise NotAcceptable when the leaf came in a KeyPackage and ``now`` lies outside its lifetime."""
    lifetime = leaf.lifetime
    if lifetime is not None and not lifetime.not_before <= now <= lifetime.not_after:
        raise NotAcceptable("a KeyPackage used outside its lifetime")


def new_leaf(
    encryption_key: bytes,
    signature_key: bytes,
    credential: Credential,
    capabilities: Capabilities,
    source: tuple[int, Any],
    extensions: tuple[Extension, ...] = (),
) -> LeafNode:
    """An unsigned leaf; sign_leaf completes it."""
    if source[0] not in _SOURCES:
        raise UsageError("no such leaf node source")
    return LeafNode(encryption_key, signature_key, credential, capabilities, source, extensions, b"")
