"""The forms of a Commit and its UpdatePath (RFC 9420, 7.6, 12.4)."""

from dataclasses import dataclass
from typing import Any

from pourparler_crypto.mls.codec import OPAQUE, optional, struct, vector
from pourparler_crypto.mls.nodes import LEAF_NODE, LeafNode
from pourparler_crypto.mls.proposals import PROPOSAL_OR_REF


@dataclass(slots=True)
class HpkeCiphertext:
    """struct { opaque kem_output<V>; opaque ciphertext<V>; } HPKECiphertext;."""

    kem_output: bytes
    ciphertext: bytes


HPKE_CIPHERTEXT = struct(HpkeCiphertext, kem_output=OPAQUE, ciphertext=OPAQUE)


@dataclass(slots=True)
class UpdatePathNode:
    """struct { HPKEPublicKey encryption_key; HPKECiphertext encrypted_path_secret<V>; } UpdatePathNode;."""

    encryption_key: bytes
    encrypted_path_secret: tuple[HpkeCiphertext, ...]


@dataclass(slots=True)
class UpdatePath:
    """struct { LeafNode leaf_node; UpdatePathNode nodes<V>; } UpdatePath;."""

    leaf_node: LeafNode
    nodes: tuple[UpdatePathNode, ...]


UPDATE_PATH = struct(
    UpdatePath,
    leaf_node=LEAF_NODE,
    nodes=vector(struct(UpdatePathNode, encryption_key=OPAQUE, encrypted_path_secret=vector(HPKE_CIPHERTEXT))),
)


@dataclass(slots=True)
class Commit:
    """struct { ProposalOrRef proposals<V>; optional<UpdatePath> path; } Commit;."""

    proposals: tuple[tuple[int, Any], ...]  # (BY_VALUE, Proposal) or (BY_REFERENCE, ref)
    path: UpdatePath | None


COMMIT_CODEC = struct(Commit, proposals=vector(PROPOSAL_OR_REF), path=optional(UPDATE_PATH))
