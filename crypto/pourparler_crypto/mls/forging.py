"""For tests only: a member who signs anything. What it sends is authentic, and wrong in exactly one chosen way.

Nothing here validates. A forged commit carries the confirmation tag that follows from its own content, so that a
receiver which skips the broken rule would accept it. No product code imports this module.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from pourparler_crypto.mls.codec import vl
from pourparler_crypto.mls.commitforms import Commit, HpkeCiphertext, UpdatePath, UpdatePathNode
from pourparler_crypto.mls.extensions import Extension, requirements_of
from pourparler_crypto.mls.framing import (
    PRIVATE_MESSAGE,
    PUBLIC_MESSAGE,
    AuthenticatedContent,
    Content,
    membership_input,
    mls_message,
    ratchet_kind,
    seal_private,
    sign_content,
    write_public,
)
from pourparler_crypto.mls.group import Group
from pourparler_crypto.mls.keypackages import KEY_PACKAGE_CODEC, KeyPackage, KeyPackageBundle
from pourparler_crypto.mls.keyschedule import (
    GroupContext,
    PskId,
    confirmed_hash,
    epoch_secrets,
    group_context,
    interim_hash,
    joiner_secret,
    member_secret,
    psk_secret,
    welcome_secret,
)
from pourparler_crypto.mls.nodes import COMMIT as COMMIT_LEAF
from pourparler_crypto.mls.nodes import LeafNode, Node, ParentNode, new_leaf, sign_leaf
from pourparler_crypto.mls.proposals import (
    ADD,
    BY_REFERENCE,
    BY_VALUE,
    GROUP_CONTEXT_EXTENSIONS,
    PSK,
    REMOVE,
    UPDATE,
    Proposal,
    ProposalBy,
)
from pourparler_crypto.mls.state import EpochState
from pourparler_crypto.mls.suites import CipherSuite, Signer, labeled
from pourparler_crypto.mls.tree import RatchetTree, path_parent
from pourparler_crypto.mls.treekem import NodeKey
from pourparler_crypto.mls.welcome import Joiner, seal_welcome, sign_group_info

T = TypeVar("T")

Item = Proposal | bytes  # by value, or the ref of a proposal sent before


class LooseTree(RatchetTree):
    """A tree in which any node may stand anywhere."""

    __slots__ = ()

    def _put(self, node: int, value: Node | None) -> None:
        self.nodes[node] = value

    @classmethod
    def of(cls, tree: RatchetTree) -> "LooseTree":
        """An independent copy."""
        return cls(tree.suite, list(tree.nodes))

    def take_out(self, index: int) -> None:
        """A Remove, also of a leaf that is blank or outside the tree."""
        if 0 <= index < self.leaves:
            self.blank_path(index)
            self.nodes[2 * index] = None


def _same(value: T) -> T:
    return value


def _same_at(level: int, value: T) -> T:
    return value


@dataclass(slots=True)
class Twist:
    """Where a forged commit leaves the honest way. Each function gets the honest value and returns what is sent.

    ``leaf`` is called before the committer's leaf is signed, ``signed_leaf`` after; ``path_key`` and
    ``ciphertexts`` for each level of the path, lowest first; ``secret`` for (level, position in the resolution);
    ``path`` and ``commit`` before the commit is signed.
    """

    leaf: Callable[[LeafNode], LeafNode] = _same
    signed_leaf: Callable[[LeafNode], LeafNode] = _same
    path_key: Callable[[int, bytes], bytes] = _same_at
    secret: Callable[[int, int, bytes], bytes] = lambda level, position, secret: secret
    ciphertexts: Callable[[int, tuple[HpkeCiphertext, ...]], tuple[HpkeCiphertext, ...]] = _same_at
    path: Callable[[UpdatePath], UpdatePath] = _same
    commit: Callable[[Commit], Commit] = _same
    tag: Callable[[bytes], bytes] = _same
    parent_hash: Callable[[bytes], bytes] = _same


@dataclass(slots=True)
class Forged:
    """A forged commit and the group that the forger would be in after it."""

    message: bytes  # MLSMessage
    content: AuthenticatedContent
    following: Group
    joiner_secret: bytes


@dataclass(slots=True)
class _Applied:
    tree: LooseTree
    extensions: tuple[Extension, ...]
    added: list[int] = field(default_factory=list)
    psks: list[PskId] = field(default_factory=list)


class Forger:
    """Speaks for a member, from a copy of its state."""

    def __init__(self, group: Group) -> None:
        """Any member's group, which stays as it is."""
        self.group = Group.load(group.records())

    @property
    def state(self) -> EpochState:
        """The member's secrets."""
        return self.group._state

    # messages

    def sign(
        self,
        content: Content,
        *,
        wire_format: int = PRIVATE_MESSAGE,
        signer: Signer | None = None,
        leaf: int | None = None,
        epoch: int | None = None,
        group_id: bytes | None = None,
        context: bytes | None = None,
        authenticated_data: bytes = b"",
    ) -> AuthenticatedContent:
        """Content with a signature; each part of what is signed can be given."""
        state = self.state
        return sign_content(
            signer or state.signer,
            state.context.raw if context is None else context,
            wire_format,
            state.context.group_id if group_id is None else group_id,
            state.context.epoch if epoch is None else epoch,
            state.own_leaf if leaf is None else leaf,
            content,
            authenticated_data,
        )

    def private(
        self,
        content: AuthenticatedContent,
        *,
        padding: bytes = b"",
        kind: str | None = None,
        leaf: int | None = None,
        generation: int | None = None,
        told_leaf: int | None = None,
    ) -> bytes:
        """MLSMessage(PrivateMessage).

        ``kind`` and ``leaf`` choose another ratchet than the right one, ``told_leaf`` is what the sender data say.
        """
        state = self.state
        step = state.secret_tree.find(
            state.own_leaf if leaf is None else leaf, kind or ratchet_kind(content.content_type), generation
        )
        if leaf is None:
            state.secret_tree.take(step)
        if told_leaf is not None:
            step.leaf = told_leaf
        head = vl(content.group_id) + content.epoch.to_bytes(8)
        before = len(head) + 5 + len(vl(content.authenticated_data)) + 1
        plaintext = content.framed[before:] + content.auth + padding
        return seal_private(
            state.sender_data,
            step,
            os.urandom(4),
            head,
            content.content_type,
            content.authenticated_data,
            plaintext,
        )

    def public(self, content: AuthenticatedContent, *, membership_tag: bytes | None = None) -> bytes:
        """MLSMessage(PublicMessage)."""
        state = self.state
        tag = state.suite.mac(state.membership_key, membership_input(content, state.context.raw))
        return mls_message(
            PUBLIC_MESSAGE, write_public(content, tag if membership_tag is None else membership_tag)
        )

    def send(self, content: Content, wire_format: int = PRIVATE_MESSAGE) -> bytes:
        """Sign and wrap any content."""
        signed = self.sign(content, wire_format=wire_format)
        return self.private(signed) if wire_format == PRIVATE_MESSAGE else self.public(signed)

    # commits

    def _apply(self, items: Iterable[ProposalBy]) -> _Applied:
        tree = LooseTree.of(self.state.tree)
        applied = _Applied(tree, self.state.context.extensions)
        packages: list[KeyPackage] = []
        for item in items:
            kind, body = item.proposal.kind, item.proposal.body
            if kind == REMOVE and isinstance(body, int):
                tree.take_out(body)
            elif kind == UPDATE and isinstance(body, LeafNode):
                author = item.sender[1] or 0
                tree.take_out(author)
                tree.nodes[2 * author] = body
            elif kind == ADD and isinstance(body, KeyPackage):
                packages.append(body)
            elif kind == PSK and isinstance(body, PskId):
                applied.psks.append(body)
            elif kind == GROUP_CONTEXT_EXTENSIONS and isinstance(body, tuple):
                applied.extensions = body
        tree.truncate()
        applied.added = [tree.add_leaf(package.leaf_node) for package in packages]
        return applied

    def commit(
        self,
        items: Sequence[Item] = (),
        *,
        path: bool = True,
        twist: Twist | None = None,
        psks: Callable[[PskId], bytes] | None = None,
        wire_format: int = PRIVATE_MESSAGE,
        signer: Signer | None = None,
    ) -> Forged:
        """A commit of these proposals; ``signer`` signs the new leaf with another key."""
        twist = twist or Twist()
        state, suite = self.state, self.state.suite
        own = state.own_leaf
        known = [
            state.proposals[item] if isinstance(item, bytes) else ProposalBy(item, (1, own)) for item in items
        ]
        applied = self._apply(known)
        commit = Commit(
            tuple((BY_REFERENCE, item) if isinstance(item, bytes) else (BY_VALUE, item) for item in items), None
        )
        commit_secret = suite.zero
        keys = dict(state.keys)
        if path:
            commit.path, commit_secret, path_keys = self._path(applied, twist, signer or state.signer)
            commit.path = twist.path(commit.path)
            keys.update(path_keys)
        content = self.sign(twist.commit(commit), wire_format=wire_format)
        confirmed = confirmed_hash(suite, state.interim_hash, content.confirmed_input)
        context = self._context(applied, confirmed)
        joiner = joiner_secret(suite, state.init_secret, commit_secret, context.raw)
        find = psks or (lambda psk_id: state.find_psk(psk_id, {}))
        mixed = psk_secret(suite, [(psk_id, find(psk_id)) for psk_id in applied.psks])
        secrets = epoch_secrets(suite, member_secret(suite, joiner, mixed), context.raw)
        content.confirmation_tag = twist.tag(suite.mac(secrets.confirmation, confirmed))
        following = EpochState.begin(
            context,
            applied.tree,
            own,
            signer or state.signer,
            keys,
            interim_hash(suite, confirmed, content.confirmation_tag),
            secrets,
            state.resumption_psks,
            requirements_of(()),
        )
        message = self.private(content) if wire_format == PRIVATE_MESSAGE else self.public(content)
        return Forged(message, content, Group(following), joiner)

    def _context(self, applied: _Applied, confirmed: bytes) -> GroupContext:
        old = self.state.context
        return group_context(
            self.state.suite, old.group_id, old.epoch + 1, applied.tree.tree_hash(), confirmed, applied.extensions
        )

    def _path(
        self, applied: _Applied, twist: Twist, signer: Signer
    ) -> tuple[UpdatePath, bytes, dict[int, NodeKey]]:
        state, suite, tree = self.state, self.state.suite, applied.tree
        own = state.own_leaf
        filtered = tree.filtered_direct_path(own)
        receivers = [tree.resolution(copath, applied.added) for _, copath in filtered]
        private, public = suite.kem.generate(os.urandom)
        keys = {2 * own: NodeKey(private, public)}
        secrets, publics = [], []
        secret = os.urandom(suite.hash_length)
        for level, (node, _) in enumerate(filtered):
            node_private, node_public = suite.kem.derive(suite.derive_secret(secret, b"node"))
            keys[node] = NodeKey(node_private, node_public)
            publics.append(twist.path_key(level, node_public))
            secrets.append(secret)
            secret = suite.derive_secret(secret, b"path")
        above = b""
        parents: list[tuple[int, ParentNode]] = []
        for (node, copath), key in zip(reversed(filtered), reversed(publics), strict=True):
            parent, above = path_parent(suite, key, above, tree.tree_hash(copath))
            parents.append((node, parent))
        old = state.tree.leaf(own)
        if old is None:
            raise AssertionError("a member's own leaf is never blank")
        leaf = twist.leaf(
            new_leaf(
                public,
                signer.public,
                old.credential,
                old.capabilities,
                (COMMIT_LEAF, twist.parent_hash(above)),
                old.extensions,
            )
        )
        leaf = twist.signed_leaf(sign_leaf(leaf, suite, signer, state.context.group_id, own))
        tree.merge_path(own, parents, leaf)
        context = self._context(applied, state.context.confirmed_transcript_hash).raw
        nodes = []
        for level, resolution in enumerate(receivers):
            sealed = []
            for position, receiver in enumerate(resolution):
                target = tree.nodes[receiver]
                if target is None:
                    raise AssertionError("a resolution holds no blank node")
                told = twist.secret(level, position, secrets[level])
                key = target.public(suite)
                sealed.append(HpkeCiphertext(*suite.encrypt_with_label(key, b"UpdatePathNode", context, told)))
            nodes.append(UpdatePathNode(publics[level], twist.ciphertexts(level, tuple(sealed))))
        return UpdatePath(leaf, tuple(nodes)), secret, keys


# structures that do not come from a commit


def package_of(bundle: KeyPackageBundle) -> KeyPackage:
    """The KeyPackage of a bundle, parsed."""
    return KEY_PACKAGE_CODEC.decode(bundle.key_package[4:], "KeyPackage")


def signed_package(package: KeyPackage, suite: CipherSuite, signer: Signer, **changes: Any) -> KeyPackage:
    """A KeyPackage with other values in some fields, signed anew."""
    unsigned = replace(package, **{**changes, "signature": b"", "raw": b""})
    part = KEY_PACKAGE_CODEC.write(unsigned)[:-1]
    signature = signer.sign(labeled(b"KeyPackageTBS", part))
    return replace(unsigned, signature=signature, raw=part + vl(signature))


def signed_leaf(
    leaf: LeafNode,
    suite: CipherSuite,
    signer: Signer,
    group_id: bytes = b"",
    index: int = 0,
    **changes: Any,
) -> LeafNode:
    """A leaf with other values in some fields, signed anew."""
    fresh = replace(leaf, **{"loaded": None, "verifier": None, **changes, "signature": b"", "raw": b""})
    return sign_leaf(fresh, suite, signer, group_id, index)


def package_message(package: KeyPackage) -> bytes:
    """MLSMessage(mls_key_package)."""
    return b"\x00\x01\x00\x05" + package.raw


@dataclass(slots=True)
class ForgedWelcome:
    """A Welcome into a group that nobody need be in."""

    welcome: bytes
    ratchet_tree: bytes
    group: GroupContext


def forge_welcome(
    tree: RatchetTree,
    group_id: bytes,
    signer_leaf: int,
    signer: Signer,
    package: KeyPackage,
    *,
    epoch: int = 3,
    extensions: tuple[Extension, ...] = (),
    tree_hash: bytes | None = None,
    confirmed: bytes | None = None,
    tag: Callable[[bytes], bytes] = _same,
    group_info: Callable[[bytes], bytes] = _same,
    path_secret: bytes | None = None,
    psks: Sequence[tuple[PskId, bytes]] = (),
    version: int = 1,
    context_suite: int | None = None,
    ref: bytes | None = None,
) -> ForgedWelcome:
    """A Welcome for one KeyPackage, whose secrets and confirmation tag follow from any tree at all."""
    suite = tree.suite
    context = GroupContext(
        version,
        suite.number if context_suite is None else context_suite,
        group_id,
        epoch,
        tree.tree_hash() if tree_hash is None else tree_hash,
        os.urandom(suite.hash_length) if confirmed is None else confirmed,
        extensions,
    )
    joiner = os.urandom(suite.hash_length)
    member = member_secret(suite, joiner, psk_secret(suite, psks))
    secrets = epoch_secrets(suite, member, context.raw)
    confirmation = tag(suite.mac(secrets.confirmation, context.confirmed_transcript_hash))
    info = group_info(sign_group_info(context, (), confirmation, signer_leaf, signer))
    welcome = seal_welcome(
        suite,
        joiner,
        welcome_secret(suite, member),
        tuple(psk_id for psk_id, _ in psks),
        info,
        [Joiner(package.ref(suite) if ref is None else ref, suite.kem.load_public(package.init_key), path_secret)],
    )
    return ForgedWelcome(welcome, tree.to_bytes(), context)


__all__ = [
    "Forged",
    "ForgedWelcome",
    "Forger",
    "LooseTree",
    "Twist",
    "forge_welcome",
    "package_message",
    "package_of",
    "signed_leaf",
    "signed_package",
]
