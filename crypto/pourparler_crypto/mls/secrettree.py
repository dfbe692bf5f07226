"""The secret tree and its ratchets (RFC 9420, section 9): one key for one message, gone once it was used.

A secret from which a key was derived that has been used is not kept, in memory or in the records; what stays is
what the keys not yet used still need. Looking a key up changes nothing: the caller takes the step only after the
message has proved authentic. Going forward is capped, and so are the keys kept for messages that are late.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from pourparler_crypto.errors import KeyUsed, TooFarAhead, UsageError
from pourparler_crypto.mls import treemath
from pourparler_crypto.mls.limits import MAX_FORWARD, MAX_SKIPPED
from pourparler_crypto.mls.suites import NONCE_LENGTH, CipherSuite, Expander, kdf_label

HANDSHAKE = "handshake"
APPLICATION = "application"

LAST_GENERATION = 2**32 - 1

Changes = dict[str, bytes | None]

Key = tuple[bytes, bytes]  # (AEAD key, nonce)


@dataclass(slots=True, repr=False)
class Ratchet:
    """One sender's ratchet for one kind of message."""

    generation: int  # of the next key
    secret: bytes  # ratchet_secret of that generation, Nh bytes
    skipped: dict[int, Key] = field(default_factory=dict)  # rising generations, at most MAX_SKIPPED


@dataclass(slots=True, repr=False)
class Step:
    """A key found for a message, and what taking it will change."""

    key: bytes
    nonce: bytes
    leaf: int
    kind: str
    generation: int
    ratchet: Ratchet  # as it will be
    fresh: "_Fresh | None" = None  # of a leaf whose ratchets did not exist yet


@dataclass(slots=True, repr=False)
class _Fresh:
    other: Ratchet  # the leaf's ratchet of the other kind
    used: tuple[int, ...]  # tree secrets that are consumed
    nodes: dict[int, bytes]  # tree secrets that appear instead


def node_record(node: int) -> str:
    """Name of the record with the tree secret of a node."""
    return f"secret/{node}"


def ratchet_record(leaf: int, kind: str) -> str:
    """Name of the record with a leaf's ratchet."""
    return f"ratchet/{leaf}/{kind}"


class SecretTree:
    """All message keys of one epoch."""

    __slots__ = ("_info", "_leaves", "_nodes", "_ratchets", "_suite", "_turn_info")

    def __init__(self, suite: CipherSuite, leaves: int, nodes: dict[int, bytes]) -> None:
        """A tree over so many leaves (a power of two) with the secrets of some nodes (by node index)."""
        self._suite = suite
        self._leaves = leaves
        self._nodes = nodes
        self._ratchets: dict[tuple[int, str], Ratchet] = {}
        self._info, self._turn_info = _infos(suite.hash_length, suite.key_length)

    @classmethod
    def start(cls, suite: CipherSuite, leaves: int, encryption_secret: bytes) -> "SecretTree":
        """The tree of a new epoch."""
        return cls(suite, leaves, {treemath.root(leaves): encryption_secret})

    # finding a key

    def _expand(self, leaf: int) -> tuple[dict[str, Ratchet], tuple[int, ...], dict[int, bytes]]:
        """Both ratchets of a leaf from the tree: (ratchets, consumed nodes, new nodes). Changes nothing."""
        if not 0 <= leaf < self._leaves:
            raise UsageError("a leaf outside the secret tree")
        node = 2 * leaf
        path = (node, *treemath.direct_path(node, self._leaves))
        beside = treemath.copath(node, self._leaves)
        suite, info = self._suite, self._info
        start = next((i for i, above in enumerate(path) if above in self._nodes), None)
        if start is None:
            raise KeyUsed("the secrets of this sender are gone")
        secret = self._nodes[path[start]]
        fresh: dict[int, bytes] = {}
        for i in range(start, 0, -1):
            left, right = suite.expand_two(secret, info["left"], info["right"])
            if path[i - 1] < path[i]:
                secret, fresh[beside[i - 1]] = left, right
            else:
                fresh[beside[i - 1]], secret = left, right
        handshake, application = suite.expand_two(secret, info[HANDSHAKE], info[APPLICATION])
        ratchets = {HANDSHAKE: Ratchet(0, handshake), APPLICATION: Ratchet(0, application)}
        return ratchets, (path[start],), fresh

    def _turn(self, secret: bytes, generation: int) -> tuple[bytes, bytes, bytes]:
        """(key, nonce, next ratchet secret) of a generation (RFC 9420, 9.1)."""
        key_info, nonce_info, secret_info = self._turn_info
        tail = b"\x04" + generation.to_bytes(4) + b"\x01"
        expand = Expander(self._suite, secret).expand
        return (
            expand(key_info + tail)[: self._suite.key_length],
            expand(nonce_info + tail)[:NONCE_LENGTH],
            expand(secret_info + tail),
        )

    def find(self, leaf: int, kind: str, generation: int | None = None) -> Step:
        """The key of a generation (None: of the next one). Changes nothing.

        Raises KeyUsed for one that is gone, TooFarAhead past MAX_FORWARD, UsageError at the ratchet's end.
        """
        ratchet = self._ratchets.get((leaf, kind))
        fresh = None
        if ratchet is None:
            ratchets, used, nodes = self._expand(leaf)
            ratchet = ratchets[kind]
            fresh = _Fresh(ratchets[APPLICATION if kind == HANDSHAKE else HANDSHAKE], used, nodes)
        next_generation = ratchet.generation
        if generation is None:
            generation = next_generation
        if generation == next_generation:
            if generation > LAST_GENERATION:
                raise UsageError("the ratchet is at its end: a commit is needed")
            key, nonce, secret = self._turn(ratchet.secret, generation)
            after = Ratchet(generation + 1, secret, ratchet.skipped)
            return Step(key, nonce, leaf, kind, generation, after, fresh)
        if generation < next_generation:
            found = ratchet.skipped.get(generation)
            if found is None:
                raise KeyUsed("this message's key was used, or dropped as too old")
            skipped = {number: key for number, key in ratchet.skipped.items() if number != generation}
            after = Ratchet(next_generation, ratchet.secret, skipped)
            return Step(found[0], found[1], leaf, kind, generation, after, fresh)
        if generation - next_generation > MAX_FORWARD:
            raise TooFarAhead(f"a message more than {MAX_FORWARD} keys ahead")
        skipped = dict(ratchet.skipped)
        secret = ratchet.secret
        for number in range(next_generation, generation):
            key, nonce, secret = self._turn(secret, number)
            if generation - number <= MAX_SKIPPED:
                skipped[number] = (key, nonce)
        while len(skipped) > MAX_SKIPPED:
            del skipped[next(iter(skipped))]
        key, nonce, secret = self._turn(secret, generation)
        return Step(key, nonce, leaf, kind, generation, Ratchet(generation + 1, secret, skipped), fresh)

    def take(self, step: Step) -> Changes:
        """Use the key up; returns what changed in the records."""
        self._ratchets[step.leaf, step.kind] = step.ratchet
        changes: Changes = {ratchet_record(step.leaf, step.kind): _write_ratchet(step.ratchet)}
        fresh = step.fresh
        if fresh is not None:
            other_kind = APPLICATION if step.kind == HANDSHAKE else HANDSHAKE
            self._ratchets[step.leaf, other_kind] = fresh.other
            changes[ratchet_record(step.leaf, other_kind)] = _write_ratchet(fresh.other)
            for node in fresh.used:
                del self._nodes[node]
                changes[node_record(node)] = None
            for node, secret in fresh.nodes.items():
                self._nodes[node] = secret
                changes[node_record(node)] = secret
        return changes

    # records

    def records(self) -> dict[str, bytes]:
        """Every record of the tree."""
        result = {node_record(node): secret for node, secret in self._nodes.items()}
        for (leaf, kind), ratchet in self._ratchets.items():
            result[ratchet_record(leaf, kind)] = _write_ratchet(ratchet)
        return result

    @classmethod
    def load(cls, suite: CipherSuite, leaves: int, records: Mapping[str, bytes]) -> "SecretTree":
        """The reverse of records; other records are ignored. Raises UsageError on damaged ones."""
        tree = cls(suite, leaves, {})
        try:
            for name, value in records.items():
                if name.startswith("secret/"):
                    tree._nodes[int(name[7:])] = value
                elif name.startswith("ratchet/"):
                    _, leaf, kind = name.split("/")
                    tree._ratchets[int(leaf), kind] = _read_ratchet(suite, value)
        except ValueError:
            raise UsageError("a damaged record of the secret tree") from None
        return tree


@lru_cache
def _infos(hash_length: int, key_length: int) -> tuple[dict[str, bytes], tuple[bytes, bytes, bytes]]:
    """The constant KDFLabels of the tree, and those of a ratchet up to their context (uint32 generation)."""
    tree = {
        HANDSHAKE: kdf_label(b"handshake", b"", hash_length),
        APPLICATION: kdf_label(b"application", b"", hash_length),
        "left": kdf_label(b"tree", b"left", hash_length),
        "right": kdf_label(b"tree", b"right", hash_length),
    }
    turn = (
        kdf_label(b"key", b"", key_length)[:-2],
        kdf_label(b"nonce", b"", NONCE_LENGTH)[:-2],
        kdf_label(b"secret", b"", hash_length)[:-2],
    )
    return tree, turn


def _write_ratchet(ratchet: Ratchet) -> bytes:
    """Uint64 generation, then the secret, then uint32 generation, key and nonce of each skipped one."""
    head = ratchet.generation.to_bytes(8) + ratchet.secret
    if not ratchet.skipped:
        return head
    parts = [head]
    for generation, (key, nonce) in ratchet.skipped.items():
        parts += (generation.to_bytes(4), key, nonce)
    return b"".join(parts)


def _read_ratchet(suite: CipherSuite, data: bytes) -> Ratchet:
    start = 8 + suite.hash_length
    size = 4 + suite.key_length + NONCE_LENGTH
    if len(data) < start or (len(data) - start) % size:
        raise UsageError("a damaged record of a ratchet")
    skipped = {}
    for at in range(start, len(data), size):
        middle = at + 4 + suite.key_length
        skipped[int.from_bytes(data[at : at + 4])] = (data[at + 4 : middle], data[middle : at + size])
    return Ratchet(int.from_bytes(data[:8]), data[8:start], skipped)
