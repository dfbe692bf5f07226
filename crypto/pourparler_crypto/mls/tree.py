"""The ratchet tree's public side (RFC 9420, sections 4, 7.4 to 7.9): who is where, and under which keys.

A node is replaced, never changed, and a tree is copied by copying its lists: staging a commit costs a list, not a
group. Tree hashes are kept for each node and forgotten along the paths that change. Encryption and signature keys
are unique in the whole tree at all times.
"""

from collections.abc import Collection, Iterable, Sequence

from pourparler_crypto.errors import Malformed, NotAcceptable, UsageError
from pourparler_crypto.mls import treemath
from pourparler_crypto.mls.codec import UINT32, vector, vl
from pourparler_crypto.mls.limits import MAX_LEAVES
from pourparler_crypto.mls.nodes import OPTIONAL_NODE, LeafNode, Node, ParentNode
from pourparler_crypto.mls.suites import CipherSuite

# optional<Node> ratchet_tree<V>;
RATCHET_TREE_CODEC = vector(OPTIONAL_NODE, at_most=treemath.node_width(MAX_LEAVES))

# Hashes of blank subtrees depend on the hash and the node index only, so they are the same in every group.
_BLANK_HASHES: dict[tuple[str, int], bytes] = {}


def _hash_of(suite: CipherSuite, node: int, value: Node | None, left: bytes, right: bytes) -> bytes:
    """TreeHashInput (RFC 9420, 7.8), hashed; ``left`` and ``right`` are ignored for a leaf."""
    if node & 1:
        head = b"\x02\x00" if value is None else b"\x02\x01" + value.raw
        size = suite.hash_header
        return suite.hash(b"".join((head, size, left, size, right)))
    head = b"\x01" + UINT32.write(node >> 1)
    return suite.hash(head + (b"\x00" if value is None else b"\x01" + value.raw))


def _blank_hash(suite: CipherSuite, node: int) -> bytes:
    key = (suite.hash_name, node)
    found = _BLANK_HASHES.get(key)
    if found is None:
        if node & 1:
            left, right = treemath.children(node)
            found = _hash_of(suite, node, None, _blank_hash(suite, left), _blank_hash(suite, right))
        else:
            found = _hash_of(suite, node, None, b"", b"")
        _BLANK_HASHES[key] = found
    return found


class RatchetTree:
    """Nodes in array order (RFC 9420, appendix C); blank nodes are None.

    Attributes are read freely and changed only through the methods.
    """

    __slots__ = ("_hashes", "encryption_keys", "leaves", "nodes", "signature_keys", "suite")

    def __init__(self, suite: CipherSuite, nodes: list[Node | None]) -> None:
        """Take over ``nodes``, a full tree; check_unique_keys has still to be called on a stranger's."""
        self.suite = suite
        self.nodes = nodes
        self.leaves = (len(nodes) + 1) // 2  # a power of two
        self._hashes: list[bytes | None] = [None] * len(nodes)
        self.encryption_keys: set[bytes] = {node.encryption_key for node in nodes if node is not None}
        self.signature_keys: set[bytes] = {leaf.signature_key for _, leaf in self.members()}

    @classmethod
    def of_one(cls, suite: CipherSuite, leaf: LeafNode) -> "RatchetTree":
        """The tree of a group that was just created."""
        return cls(suite, [leaf])

    @classmethod
    def from_bytes(cls, suite: CipherSuite, data: bytes) -> "RatchetTree":
        """Read a ratchet_tree (RFC 9420, 12.4.3.3). Checks its form only. Raises Malformed."""
        nodes = list(RATCHET_TREE_CODEC.decode(data, "ratchet tree"))
        if not nodes or nodes[-1] is None:
            raise Malformed("a ratchet tree that is empty or ends in a blank node")
        for index, node in enumerate(nodes):
            if node is not None and isinstance(node, ParentNode) != bool(index & 1):
                raise Malformed("a ratchet tree with a leaf in a parent's place, or the reverse")
        leaves = 1
        while treemath.node_width(leaves) < len(nodes):
            leaves *= 2
        if leaves > MAX_LEAVES:
            raise Malformed(f"a ratchet tree with more than {MAX_LEAVES} leaves")
        nodes.extend([None] * (treemath.node_width(leaves) - len(nodes)))
        return cls(suite, nodes)

    def to_bytes(self) -> bytes:
        """The ratchet_tree, without the blank nodes after the last member."""
        end = len(self.nodes)
        while self.nodes[end - 1] is None:
            end -= 1
        return RATCHET_TREE_CODEC.write(tuple(self.nodes[:end]))

    def copy(self) -> "RatchetTree":
        """An independent tree that shares the nodes."""
        other = RatchetTree.__new__(RatchetTree)
        other.suite = self.suite
        other.nodes = self.nodes.copy()
        other.leaves = self.leaves
        other._hashes = self._hashes.copy()
        other.encryption_keys = self.encryption_keys.copy()
        other.signature_keys = self.signature_keys.copy()
        return other

    # who is where

    def leaf(self, index: int) -> LeafNode | None:
        """The leaf node with this leaf index; None when it is blank or outside the tree."""
        if not 0 <= index < self.leaves:
            return None
        node = self.nodes[2 * index]
        return node if isinstance(node, LeafNode) else None

    def members(self) -> Iterable[tuple[int, LeafNode]]:
        """(leaf index, leaf node) of every member, from left to right."""
        for index, node in enumerate(self.nodes[::2]):
            if isinstance(node, LeafNode):
                yield index, node

    def parents(self) -> Iterable[tuple[int, ParentNode]]:
        """(node index, parent node) of every parent that is not blank."""
        for index in range(1, len(self.nodes), 2):
            node = self.nodes[index]
            if isinstance(node, ParentNode):
                yield index, node

    def resolution(self, node: int, without: Collection[int] = ()) -> list[int]:
        """Node indices that together cover every member below ``node`` (RFC 9420, 4.1.1).

        ``without`` are leaf indices to leave out: the members added in the same commit (7.5).
        """
        value = self.nodes[node]
        if value is not None:
            if isinstance(value, LeafNode):
                return [] if node >> 1 in without else [node]
            if not value.unmerged_leaves:
                return [node]
            return [node, *(2 * leaf for leaf in value.unmerged_leaves if leaf not in without)]
        if not node & 1:
            return []
        left, right = treemath.children(node)
        return self.resolution(left, without) + self.resolution(right, without)

    def filtered_direct_path(self, leaf: int) -> list[tuple[int, int]]:
        """(node, its child on the copath) for each parent on the leaf's path whose copath child has members."""
        node = 2 * leaf
        above = treemath.direct_path(node, self.leaves)
        beside = treemath.copath(node, self.leaves)
        return [
            (path_node, other)
            for path_node, other in zip(above, beside, strict=True)
            if self.nodes[other] is not None or self.resolution(other)
        ]

    # changes

    def _put(self, node: int, value: Node | None) -> None:
        """Put a node in a place, keeping the key sets; hashes are the caller's business."""
        old = self.nodes[node]
        if old is not None:
            self.encryption_keys.discard(old.encryption_key)
            if isinstance(old, LeafNode):
                self.signature_keys.discard(old.signature_key)
        if value is not None:
            if value.encryption_key in self.encryption_keys:
                raise NotAcceptable("an encryption key that is already in the tree (RFC 9420, 7.3)")
            self.encryption_keys.add(value.encryption_key)
            if isinstance(value, LeafNode):
                if value.signature_key in self.signature_keys:
                    raise NotAcceptable("a signature key that is already in the tree (RFC 9420, 7.3)")
                self.signature_keys.add(value.signature_key)
        self.nodes[node] = value

    def _forget_hashes(self, leaf: int) -> None:
        self._hashes[2 * leaf] = None
        for node in treemath.direct_path(2 * leaf, self.leaves):
            self._hashes[node] = None

    def blank_path(self, leaf: int) -> None:
        """Blank every parent of a leaf."""
        for node in treemath.direct_path(2 * leaf, self.leaves):
            if self.nodes[node] is not None:
                self._put(node, None)
        self._forget_hashes(leaf)

    def update_leaves(self, updates: Sequence[tuple[int, LeafNode]]) -> None:
        """Apply Updates (RFC 9420, 12.1.2), all at once: one may take a key that another gives up.

        Raises NotAcceptable when a key is then in the tree twice.
        """
        for index, _ in updates:
            if self.leaf(index) is None:
                raise NotAcceptable("an Update of a leaf that is blank")
            self.blank_path(index)
            self._put(2 * index, None)
        for index, leaf in updates:
            self._put(2 * index, leaf)

    def remove_leaf(self, index: int) -> None:
        """Apply a Remove (RFC 9420, 12.1.3) without truncating. Raises NotAcceptable for a blank leaf."""
        if self.leaf(index) is None:
            raise NotAcceptable("a Remove of a leaf that is blank")
        self.blank_path(index)
        self._put(2 * index, None)

    def truncate(self) -> None:
        """Cut the tree down to the smallest full one that holds every member (RFC 9420, 7.7)."""
        while self.leaves > 1:
            top = treemath.root(self.leaves)
            if any(node is not None for node in self.nodes[top + 1 :: 2]):
                return
            for node in range(top, len(self.nodes)):
                if self.nodes[node] is not None:
                    self._put(node, None)
            del self.nodes[top:], self._hashes[top:]
            self.leaves //= 2

    def add_leaf(self, leaf: LeafNode) -> int:
        """Apply an Add (RFC 9420, 12.1.1) at the leftmost blank leaf; returns its leaf index.

        Raises NotAcceptable when one of its keys is in the tree, or when the tree is full at MAX_LEAVES.
        """
        index = next((i for i in range(self.leaves) if self.nodes[2 * i] is None), self.leaves)
        if index == self.leaves:
            if self.leaves >= MAX_LEAVES:
                raise NotAcceptable(f"a group has at most {MAX_LEAVES} members")
            self._extend()
        self._put(2 * index, leaf)
        for node in treemath.direct_path(2 * index, self.leaves):
            value = self.nodes[node]
            if isinstance(value, ParentNode):
                unmerged = tuple(sorted((*value.unmerged_leaves, index)))
                fresh = ParentNode(value.encryption_key, value.parent_hash, unmerged)
                fresh.loaded = value.loaded
                _write_raw(fresh)
                self.nodes[node] = fresh
        self._forget_hashes(index)
        return index

    def _extend(self) -> None:
        old = len(self.nodes)
        self.leaves *= 2
        self.nodes.extend([None] * (treemath.node_width(self.leaves) - old))
        self._hashes.append(None)
        # The new right half is blank, so its hashes are known.
        self._hashes.extend(_blank_hash(self.suite, node) for node in range(old + 1, len(self.nodes)))

    def merge_path(self, leaf_index: int, parents: Iterable[tuple[int, ParentNode]], leaf: LeafNode) -> None:
        """Put a commit's leaf and parents in their places, and blank what else there is of the path.

        Raises NotAcceptable when one of their keys is in the tree (RFC 9420, 12.4.2).
        """
        fresh = dict(parents)
        for node in treemath.direct_path(2 * leaf_index, self.leaves):
            value = fresh.get(node)
            if value is not None or self.nodes[node] is not None:
                self._put(node, value)
        self._put(2 * leaf_index, leaf)
        self._forget_hashes(leaf_index)

    # hashes

    def tree_hash(self, node: int | None = None) -> bytes:
        """The tree hash of a node (None: of the root), Nh bytes (RFC 9420, 7.8)."""
        if node is None:
            node = treemath.root(self.leaves)
        found = self._hashes[node]
        if found is None:
            value = self.nodes[node]
            if node & 1:
                left, right = treemath.children(node)
                left_hash = self._hashes[left] or self.tree_hash(left)
                right_hash = self._hashes[right] or self.tree_hash(right)
                found = _hash_of(self.suite, node, value, left_hash, right_hash)
            elif value is None:
                found = _blank_hash(self.suite, node)
            else:
                found = _hash_of(self.suite, node, value, b"", b"")
            self._hashes[node] = found
        return found

    def original_tree_hash(self, node: int, without: Collection[int]) -> bytes:
        """The tree hash of a node as if the leaves ``without`` had never been added (RFC 9420, 7.9)."""
        if not any(treemath.is_under(2 * leaf, node) for leaf in without):
            return self.tree_hash(node)
        value = self.nodes[node]
        if not node & 1:
            return _hash_of(self.suite, node, None, b"", b"")
        left, right = treemath.children(node)
        left_hash = self.original_tree_hash(left, without)
        right_hash = self.original_tree_hash(right, without)
        if isinstance(value, ParentNode):
            unmerged = tuple(leaf for leaf in value.unmerged_leaves if leaf not in without)
            value = ParentNode(value.encryption_key, value.parent_hash, unmerged)
            _write_raw(value)
        return _hash_of(self.suite, node, value, left_hash, right_hash)

    def parent_hash(self, parent: ParentNode, sibling: int) -> bytes:
        """The parent hash that a parent with this copath child gives to its other child (RFC 9420, 7.9)."""
        original = self.original_tree_hash(sibling, parent.unmerged_leaves)
        return path_parent(self.suite, parent.encryption_key, parent.parent_hash, original)[1]

    # what a newcomer checks (RFC 9420, 12.4.3.1)

    def check_unique_keys(self) -> None:
        """No encryption key stands in two nodes, no signature key in two leaves. Raises NotAcceptable."""
        if len(self.encryption_keys) != sum(node is not None for node in self.nodes):
            raise NotAcceptable("an encryption key stands in the tree twice")
        if len(self.signature_keys) != sum(1 for _ in self.members()):
            raise NotAcceptable("a signature key stands in the tree twice")

    def check_unmerged_leaves(self) -> None:
        """Each unmerged leaf is a member below its node, and unmerged at every parent between them."""
        for index, parent in self.parents():
            for leaf in parent.unmerged_leaves:
                if self.leaf(leaf) is None or not treemath.is_under(2 * leaf, index):
                    raise NotAcceptable("an unmerged leaf that is no member below its node")
                for between in treemath.direct_path(2 * leaf, self.leaves):
                    if between == index:
                        break
                    value = self.nodes[between]
                    if isinstance(value, ParentNode) and leaf not in value.unmerged_leaves:
                        raise NotAcceptable("an unmerged leaf that is merged further down")

    def check_parent_hashes(self) -> None:
        """Every parent was set by a member below it (RFC 9420, 7.9.2). Raises NotAcceptable."""
        for index, parent in self.parents():
            left, right = treemath.children(index)
            if self._linked(parent, left, right) == self._linked(parent, right, left):
                raise NotAcceptable("a parent node that is not parent-hash valid")

    def _linked(self, parent: ParentNode, child: int, sibling: int) -> bool:
        """Whether exactly one node D below ``child`` was set in the same path as ``parent``."""
        resolution = self.resolution(child)
        unmerged = {2 * leaf for leaf in parent.unmerged_leaves if treemath.is_under(2 * leaf, child)}
        candidates = [node for node in resolution if node not in unmerged]
        # The unmerged leaves below the child must be the resolution without D, no more and no fewer.
        if len(candidates) != 1 or len(resolution) - 1 != len(unmerged):
            return False
        below = self.nodes[candidates[0]]
        return below is not None and below.parent_hash == self.parent_hash(parent, sibling)


def path_parent(
    suite: CipherSuite, encryption_key: bytes, above: bytes, sibling_hash: bytes
) -> tuple[ParentNode, bytes]:
    """A parent as a path sets it, and the parent hash that the node below it carries (RFC 9420, 7.9), Nh bytes.

    struct {
        HPKEPublicKey encryption_key;
        opaque parent_hash<V>;
        opaque original_sibling_tree_hash<V>;
    } ParentHashInput;
    """
    head = vl(encryption_key) + vl(above)  # ParentNode begins with the same two
    return ParentNode(encryption_key, above, (), head + b"\x00"), suite.hash(head + vl(sibling_hash))


def _write_raw(parent: ParentNode) -> None:
    parent.raw = vl(parent.encryption_key) + vl(parent.parent_hash) + _write_unmerged(parent.unmerged_leaves)


def _write_unmerged(leaves: Sequence[int]) -> bytes:
    return vl(b"".join(map(UINT32.write, leaves)))


def require_member(tree: RatchetTree, index: int) -> LeafNode:
    """The member with this leaf index. Raises UsageError when there is none."""
    leaf = tree.leaf(index)
    if leaf is None:
        raise UsageError(f"no member at leaf {index}")
    return leaf
