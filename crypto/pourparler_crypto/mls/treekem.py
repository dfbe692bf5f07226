"""TreeKEM (RFC 9420, 7.4 to 7.6): a committer's fresh path, and what each member learns from it.

A private key lives as long as its node stands unchanged in the tree. Blank, cut or replaced, and the key is
dropped, else healing fails.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from pourparler_crypto.errors import NotAcceptable, ProtocolError, UnprocessablePath
from pourparler_crypto.hpke import PrivateKey
from pourparler_crypto.mls import treemath
from pourparler_crypto.mls.commitforms import HpkeCiphertext, UpdatePath, UpdatePathNode
from pourparler_crypto.mls.extensions import Capabilities, Credential, Extension
from pourparler_crypto.mls.nodes import COMMIT, LeafNode, ParentNode, new_leaf, sign_leaf
from pourparler_crypto.mls.suites import CipherSuite, Signer
from pourparler_crypto.mls.tree import RatchetTree, path_parent

_LABEL = b"UpdatePathNode"

# (tree hash of the new tree) -> encoded provisional GroupContext
MakeContext = Callable[[bytes], bytes]


class NodeKey:
    """The private key of a node, as bytes and, once it was needed, as the library's object."""

    __slots__ = ("_loaded", "private", "public")

    def __init__(self, private: bytes, public: bytes) -> None:
        self.private = private
        self.public = public
        self._loaded: PrivateKey = None

    def load(self, suite: CipherSuite) -> PrivateKey:
        """The key, ready to open with."""
        if self._loaded is None:
            self._loaded = suite.kem.load_private(self.private)
        return self._loaded


PrivateKeys = Mapping[int, NodeKey]  # by node index


@dataclass(slots=True, frozen=True)
class LeafContent:
    """What a member says of itself in its new leaf; the keys and the path come on top."""

    signature_key: bytes
    credential: Credential
    capabilities: Capabilities
    extensions: tuple[Extension, ...]

    @classmethod
    def of(cls, leaf: LeafNode, signature_key: bytes | None = None) -> "LeafContent":
        """The same as in an earlier leaf, with another signature key if one is given."""
        return cls(signature_key or leaf.signature_key, leaf.credential, leaf.capabilities, leaf.extensions)


def current_keys(tree: RatchetTree, keys: PrivateKeys) -> dict[int, NodeKey]:
    """Those of ``keys`` whose node still stands in the tree unchanged (RFC 9420, 7.5, 7.7)."""
    nodes = tree.nodes
    return {
        index: key
        for index, key in keys.items()
        if index < len(nodes) and (node := nodes[index]) is not None and node.encryption_key == key.public
    }


def _climb(suite: CipherSuite, path_secret: bytes) -> tuple[bytes, bytes, bytes]:
    """A node's ``(private, public)`` key and the next path secret, from its path secret (RFC 9420, 7.4)."""
    infos = suite.derive_infos
    node_secret, following = suite.expand_two(path_secret, infos[b"node"], infos[b"path"])
    return *suite.kem.derive(node_secret), following


def _parents(
    tree: RatchetTree, filtered: Sequence[tuple[int, int]], keys: Sequence[bytes]
) -> tuple[list[tuple[int, ParentNode]], bytes]:
    """The path's parent nodes with their parent hashes, root first, and the leaf's parent hash (RFC 9420, 7.9)."""
    above = b""
    parents = []
    for (node, copath), key in zip(reversed(filtered), reversed(keys), strict=True):
        parent, above = path_parent(tree.suite, key, above, tree.tree_hash(copath))
        parents.append((node, parent))
    return parents, above


@dataclass(slots=True, repr=False)
class CreatedPath:
    """A path of one's own, already merged into the tree."""

    path: UpdatePath
    commit_secret: bytes
    keys: dict[int, NodeKey]  # the committer's, of its leaf and of the path
    path_secrets: dict[int, bytes]  # by node index, for newcomers


def create_path(
    tree: RatchetTree,
    leaf_index: int,
    content: LeafContent,
    signer: Signer,
    group_id: bytes,
    make_context: MakeContext,
    random: Callable[[int], bytes],
    added: Collection[int] = (),
) -> CreatedPath:
    """Make a fresh path and merge it into ``tree``, which is changed (RFC 9420, 7.5).

    ``tree`` has the commit's proposals applied; ``added`` are the leaf indices of its newcomers, to whom the path
    is not encrypted. Raises Malformed when a member's key cannot be sealed to.
    """
    suite = tree.suite
    filtered = tree.filtered_direct_path(leaf_index)
    receivers = [tree.resolution(copath, added) for _, copath in filtered]
    leaf_key = NodeKey(*suite.kem.generate(random))
    keys = {2 * leaf_index: leaf_key}
    path_secrets: dict[int, bytes] = {}
    publics = []
    path_secret = random(suite.hash_length)
    for node, _ in filtered:
        path_secrets[node] = path_secret
        private_key, public_key, path_secret = _climb(suite, path_secret)
        keys[node] = NodeKey(private_key, public_key)
        publics.append(public_key)

    parents, leaf_parent_hash = _parents(tree, filtered, publics)
    leaf = new_leaf(
        leaf_key.public,
        content.signature_key,
        content.credential,
        content.capabilities,
        (COMMIT, leaf_parent_hash),
        content.extensions,
    )
    sign_leaf(leaf, suite, signer, group_id, leaf_index)
    tree.merge_path(leaf_index, parents, leaf)

    context = make_context(tree.tree_hash())
    nodes = []
    for (node, _), resolution in zip(filtered, receivers, strict=True):
        ciphertexts = []
        for receiver in resolution:
            target = tree.nodes[receiver]
            if target is None:
                raise AssertionError("a resolution holds no blank node")
            sealed = suite.encrypt_with_label(target.public(suite), _LABEL, context, path_secrets[node])
            ciphertexts.append(HpkeCiphertext(*sealed))
        nodes.append(UpdatePathNode(keys[node].public, tuple(ciphertexts)))
    return CreatedPath(UpdatePath(leaf, tuple(nodes)), path_secret, keys, path_secrets)


@dataclass(slots=True, repr=False)
class MergedPath:
    """A path of someone else, checked as far as all members can and merged into the tree."""

    path: UpdatePath
    sender: int
    filtered: list[tuple[int, int]]
    receivers: list[list[int]]  # node indices that each parent's secret is sealed to


def merge_path(tree: RatchetTree, sender: int, path: UpdatePath, added: Collection[int] = ()) -> MergedPath:
    """Check a commit's path against the tree with its proposals applied, and merge it (RFC 9420, 12.4.2).

    The leaf node itself has been validated before. ``tree`` is changed. Raises NotAcceptable or Malformed.
    """
    suite = tree.suite
    filtered = tree.filtered_direct_path(sender)
    if len(path.nodes) != len(filtered):
        raise NotAcceptable("a path whose length is not that of the sender's filtered direct path")
    receivers = [tree.resolution(copath, added) for _, copath in filtered]
    for node, resolution in zip(path.nodes, receivers, strict=True):
        if len(node.encrypted_path_secret) != len(resolution):
            raise NotAcceptable("a path node that is not encrypted to exactly its resolution")
    fresh = [path.leaf_node.encryption_key, *(node.encryption_key for node in path.nodes)]
    if len(set(fresh)) != len(fresh) or not tree.encryption_keys.isdisjoint(fresh):
        raise NotAcceptable("a path with a key that is already in the tree")

    parents, leaf_parent_hash = _parents(tree, filtered, fresh[1:])
    for _, parent in parents:
        parent.check_public(suite)
    if path.leaf_node.parent_hash != leaf_parent_hash:
        raise NotAcceptable("a path whose leaf has the wrong parent hash")
    tree.merge_path(sender, parents, path.leaf_node)
    return MergedPath(path, sender, filtered, receivers)


def _derive_upwards(
    suite: CipherSuite,
    tree: RatchetTree,
    nodes: Sequence[int],
    path_secret: bytes,
) -> tuple[dict[int, NodeKey], bytes]:
    """Key pairs of ``nodes``, lowest first, and the secret after the last.

    Raises UnprocessablePath unless each fits the public key that stands in the tree.
    """
    if len(path_secret) != suite.hash_length:
        raise UnprocessablePath("a path secret of the wrong length")
    keys = {}
    for index in nodes:
        private, public, path_secret = _climb(suite, path_secret)
        node = tree.nodes[index]
        if node is None or node.encryption_key != public:
            raise UnprocessablePath("a path secret that does not fit the public keys of its path")
        keys[index] = NodeKey(private, public)
    return keys, path_secret


def open_path_secret(
    tree: RatchetTree, merged: MergedPath, own_leaf: int, keys: PrivateKeys, context: bytes
) -> tuple[list[int], bytes]:
    """The path secret sealed to this member, and the nodes that it and its successors belong to, lowest first.

    ``context`` is the encoded provisional GroupContext. Raises UnprocessablePath.
    """
    suite = tree.suite
    own_node = 2 * own_leaf
    level = next(i for i, (_, copath) in enumerate(merged.filtered) if treemath.is_under(own_node, copath))
    resolution = merged.receivers[level]
    position = next((i for i, node in enumerate(resolution) if node in keys), None)
    if position is None:
        raise UnprocessablePath("no key of this device opens its part of the path")
    sealed = merged.path.nodes[level].encrypted_path_secret[position]
    private = keys[resolution[position]].load(suite)
    try:
        path_secret = suite.decrypt_with_label(private, _LABEL, context, sealed.kem_output, sealed.ciphertext)
    except ProtocolError:
        raise UnprocessablePath("the path secret meant for this device does not open") from None
    return [node for node, _ in merged.filtered[level:]], path_secret


def decrypt_path(
    tree: RatchetTree, merged: MergedPath, own_leaf: int, keys: PrivateKeys, context: bytes
) -> tuple[dict[int, NodeKey], bytes]:
    """This member's new path keys and the commit secret (RFC 9420, 7.5). Raises UnprocessablePath."""
    nodes, path_secret = open_path_secret(tree, merged, own_leaf, keys, context)
    return _derive_upwards(tree.suite, tree, nodes, path_secret)


def keys_from_path_secret(
    tree: RatchetTree, own_leaf: int, signer_leaf: int, path_secret: bytes
) -> dict[int, NodeKey]:
    """A newcomer's path keys from the path secret in its Welcome (RFC 9420, 12.4.3.1).

    Raises UnprocessablePath when one does not fit the tree.
    """
    start = treemath.common_ancestor(2 * own_leaf, 2 * signer_leaf)
    filtered = [node for node, _ in tree.filtered_direct_path(signer_leaf)]
    if start not in filtered:
        raise UnprocessablePath("a path secret for a node that has no key")
    nodes = filtered[filtered.index(start) :]
    return _derive_upwards(tree.suite, tree, nodes, path_secret)[0]
