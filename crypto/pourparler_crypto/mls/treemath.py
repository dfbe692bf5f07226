"""Array-based trees (RFC 9420, appendix C): always full, 2^d leaves in the even places, parents in the odd ones.

A *leaf index* counts leaves, a *node index* counts places: leaf L stands at node 2 L.

              3
        .-----+-----.
        1           5
      .-+-.       .-+-.
      0   2       4   6      nodes
      0   1       2   3      leaves
"""

from functools import lru_cache

from pourparler_crypto.errors import UsageError


def level(node: int) -> int:
    """Height above the leaves: the number of trailing one bits."""
    return (~node & (node + 1)).bit_length() - 1


def node_width(leaves: int) -> int:
    """Number of nodes over so many leaves."""
    return 2 * leaves - 1 if leaves else 0


def root(leaves: int) -> int:
    """Node index of the root over ``leaves`` leaves (a power of two)."""
    return leaves - 1


def left(node: int) -> int:
    """Left child. Raises UsageError for a leaf, which has none."""
    height = level(node)
    if height == 0:
        raise UsageError("a leaf has no children")
    return node ^ (1 << (height - 1))


def right(node: int) -> int:
    """Right child. Raises UsageError for a leaf, which has none."""
    height = level(node)
    if height == 0:
        raise UsageError("a leaf has no children")
    return node ^ (3 << (height - 1))


@lru_cache(maxsize=4096)
def children(node: int) -> tuple[int, int]:
    """Left and right child. Raises UsageError for a leaf, which has none."""
    return left(node), right(node)


def parent(node: int, leaves: int) -> int:
    """Parent of a node. Raises UsageError for the root, which has none."""
    if node == root(leaves):
        raise UsageError("the root has no parent")
    height = level(node)
    return (node | (1 << height)) & ~(1 << (height + 1))


def sibling(node: int, leaves: int) -> int:
    """The other child of the node's parent. Raises UsageError for the root."""
    above = parent(node, leaves)
    return right(above) if node < above else left(above)


@lru_cache(maxsize=4096)
def direct_path(node: int, leaves: int) -> tuple[int, ...]:
    """The node's ancestors, from its parent up to the root."""
    path = []
    top = root(leaves)
    while node != top:
        node = parent(node, leaves)
        path.append(node)
    return tuple(path)


@lru_cache(maxsize=4096)
def copath(node: int, leaves: int) -> tuple[int, ...]:
    """The sibling of the node and of each ancestor below the root, in that order."""
    steps = (node, *direct_path(node, leaves)[:-1]) if node != root(leaves) else ()
    return tuple(sibling(step, leaves) for step in steps)


def is_under(node: int, ancestor: int) -> bool:
    """Whether ``node`` lies in the subtree of ``ancestor`` (a node lies in its own)."""
    span = (1 << level(ancestor)) - 1
    return ancestor - span <= node <= ancestor + span


def common_ancestor(leaf: int, other: int) -> int:
    """The lowest node above two different leaves, all three as node indices."""
    height = (leaf ^ other).bit_length()
    return ((leaf >> height) << height) | ((1 << (height - 1)) - 1)
