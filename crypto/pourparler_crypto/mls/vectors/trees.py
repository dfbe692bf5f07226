"""Vectors of the ratchet tree and TreeKEM."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from pourparler_crypto.mls.commitforms import UPDATE_PATH
from pourparler_crypto.mls.extensions import requirements_of
from pourparler_crypto.mls.keyschedule import (
    group_context,
)
from pourparler_crypto.mls.nodes import check_leaf, verify_leaf_signature
from pourparler_crypto.mls.proposals import ADD, PROPOSAL, REMOVE, UPDATE
from pourparler_crypto.mls.tree import RatchetTree
from pourparler_crypto.mls.treekem import (
    LeafContent,
    MergedPath,
    NodeKey,
    create_path,
    decrypt_path,
    merge_path,
    open_path_secret,
)
from pourparler_crypto.mls.vectors.common import Entry, VectorMismatch, same, suite_in, unhex


def check_tree_operations(entry: Entry) -> None:
    """One Add, Update or Remove applied to a tree."""
    suite = suite_in(entry)
    tree = RatchetTree.from_bytes(suite, unhex(entry["tree_before"]))
    if "tree_hash_before" in entry:  # early files hold the trees only
        same(tree.tree_hash().hex(), entry["tree_hash_before"], "tree hash before")
    proposal = PROPOSAL.decode(unhex(entry["proposal"]), "proposal")
    body: Any = proposal.body
    if proposal.kind == ADD:
        tree.add_leaf(body.leaf_node)
    elif proposal.kind == UPDATE:
        tree.update_leaves([(entry["proposal_sender"], body)])
    elif proposal.kind == REMOVE:
        tree.remove_leaf(body)
        tree.truncate()
    else:
        raise VectorMismatch("a proposal that does not change the tree")
    same(tree.to_bytes().hex(), entry["tree_after"], "tree after")
    if "tree_hash_after" in entry:
        same(tree.tree_hash().hex(), entry["tree_hash_after"], "tree hash after")
    fresh = RatchetTree.from_bytes(suite, tree.to_bytes())
    same(fresh.tree_hash(), tree.tree_hash(), "tree hash computed anew")


def check_tree_validation(entry: Entry) -> None:
    """Resolutions, tree hashes, parent hashes and leaf signatures of a tree."""
    suite = suite_in(entry)
    raw = unhex(entry["tree"])
    tree = RatchetTree.from_bytes(suite, raw)
    same(tree.to_bytes(), raw, "re-encoded tree")
    same(len(tree.nodes), len(entry["tree_hashes"]), "number of nodes")
    for node in range(len(tree.nodes)):
        same(tree.resolution(node), entry["resolutions"][node], "resolution")
        same(tree.tree_hash(node).hex(), entry["tree_hashes"][node], "tree hash")
    tree.check_unique_keys()
    tree.check_unmerged_leaves()
    tree.check_parent_hashes()
    group_id = unhex(entry["group_id"])
    for index, leaf in tree.members():
        check_leaf(leaf, suite, requirements_of(()))
        verify_leaf_signature(leaf, suite, group_id, index)


def check_treekem(entry: Entry) -> None:
    """Each given path for each member, then a path of our own from each sender."""
    suite = suite_in(entry)
    group_id = unhex(entry["group_id"])
    tree = RatchetTree.from_bytes(suite, unhex(entry["ratchet_tree"]))
    private: dict[int, dict[int, NodeKey]] = {}
    signers = {}
    for case in entry["leaves_private"]:
        index = case["index"]
        key = unhex(case["encryption_priv"])
        keys = {2 * index: NodeKey(key, suite.kem.public_of(key))}
        for path in case["path_secrets"]:
            secret = suite.derive_secret(unhex(path["path_secret"]), b"node")
            keys[path["node"]] = NodeKey(*suite.kem.derive(secret))
        for node, node_key in keys.items():
            value = tree.nodes[node]
            same(value and value.encryption_key, node_key.public, "public key of a private key")
        private[index] = keys
        signers[index] = suite.signer(unhex(case["signature_priv"]))
        leaf = tree.leaf(index)
        same(leaf and leaf.signature_key, signers[index].public, "public key of a signature private key")

    def context(tree_hash: bytes) -> bytes:
        confirmed = unhex(entry["confirmed_transcript_hash"])
        return group_context(suite, group_id, entry["epoch"], tree_hash, confirmed, ()).raw

    for case in entry["update_paths"]:
        sender = case["sender"]
        path = UPDATE_PATH.decode(unhex(case["update_path"]), "UpdatePath")
        same(UPDATE_PATH.write(path).hex(), case["update_path"], "re-encoded UpdatePath")
        verify_leaf_signature(path.leaf_node, suite, group_id, sender)
        after = tree.copy()
        merged = merge_path(after, sender, path)
        same(after.tree_hash().hex(), case["tree_hash_after"], "tree hash after")
        _process_path(case, after, merged, private, context)
        old = tree.leaf(sender)
        if old is None:
            raise VectorMismatch("a path from a blank leaf")
        mine = tree.copy()
        created = create_path(mine, sender, LeafContent.of(old), signers[sender], group_id, context, os.urandom)
        theirs = tree.copy()
        merged = merge_path(theirs, sender, created.path)
        same(theirs.tree_hash(), mine.tree_hash(), "tree hash after a path of our own")
        for index, keys in private.items():
            if index != sender:
                found = decrypt_path(theirs, merged, index, keys, context(theirs.tree_hash()))[1]
                same(found, created.commit_secret, "commit secret of a path of our own")


def _process_path(
    case: Entry,
    tree: RatchetTree,
    merged: MergedPath,
    private: Mapping[int, dict[int, NodeKey]],
    context: Callable[[bytes], bytes],
) -> None:
    for index, keys in private.items():
        if index == case["sender"]:
            continue
        raw = context(tree.tree_hash())
        _, secret = open_path_secret(tree, merged, index, keys, raw)
        same(secret.hex(), case["path_secrets"][index], "path secret")
        same(decrypt_path(tree, merged, index, keys, raw)[1].hex(), case["commit_secret"], "commit secret")
