"""Commits (RFC 9420, 12.2 to 12.4): from one epoch's state to the next, for the committer and for everyone else.

The current state is never touched: proposals are applied to a copy of the tree, and a new state is built from it
only after every check has passed. What all members can check is checked before what only this device can, so that
a path that is wrong for one subtree is told from a commit that is wrong for all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pourparler_crypto.errors import NotAcceptable, UnprocessablePath, Unsupported
from pourparler_crypto.mls.commitforms import Commit, UpdatePath
from pourparler_crypto.mls.extensions import Extension, GroupRequirements, requirements_of
from pourparler_crypto.mls.framing import PRIVATE_MESSAGE, AuthenticatedContent, sign_content
from pourparler_crypto.mls.keypackages import KeyPackage, check_key_package
from pourparler_crypto.mls.keyschedule import (
    GroupContext,
    confirmed_hash,
    epoch_secrets,
    group_context,
    interim_hash,
    joiner_secret,
    member_secret,
    psk_secret,
    welcome_secret,
)
from pourparler_crypto.mls.limits import MAX_EPOCH
from pourparler_crypto.mls.nodes import (
    COMMIT,
    UPDATE,
    LeafNode,
    check_leaf,
    verify_leaf_signature,
)
from pourparler_crypto.mls.proposals import (
    BY_REFERENCE,
    BY_VALUE,
    GROUP_CONTEXT_EXTENSIONS,
    MEMBER,
    NOBODY,
    Proposal,
    ProposalBy,
    ProposalList,
    check_list,
)
from pourparler_crypto.mls.state import EpochState
from pourparler_crypto.mls.suites import Signer
from pourparler_crypto.mls.tree import RatchetTree
from pourparler_crypto.mls.treekem import (
    LeafContent,
    NodeKey,
    create_path,
    current_keys,
    decrypt_path,
    merge_path,
)
from pourparler_crypto.mls.treemath import common_ancestor
from pourparler_crypto.mls.welcome import Joiner, seal_welcome, sign_group_info


@dataclass(slots=True, repr=False)
class Change:
    """What a commit changes: the new tree and extensions, and who came, went or changed."""

    proposals: ProposalList
    tree: RatchetTree
    extensions: tuple[Extension, ...]
    requirements: GroupRequirements
    added: list[int]  # leaf indices
    path_leaf: LeafNode | None = None  # the committer's new leaf


@dataclass(slots=True, repr=False)
class NextEpoch:
    """A commit that passed every check, and the state it leads to: None when it removes this device, and when its
    path cannot be opened here.
    """

    change: Change
    state: EpochState | None


# Single proposals (RFC 9420, 12.1)


def check_proposal(state: EpochState, item: ProposalBy, now: int | None) -> None:
    """Refuse a proposal sent on its own that no commit could cover, whatever else the commit covers.

    Raises NotAcceptable, Unsupported, Malformed or NotAuthentic. The list it ends up in is checked again.
    """
    check_list([item], NOBODY, state.suite)
    body = item.proposal.body
    if isinstance(body, KeyPackage):
        check_key_package(body, state.suite, None, now)
    elif isinstance(body, LeafNode) and item.sender[1] is not None:
        _check_update(state, item.sender[1], body, None, UPDATE)
    elif isinstance(body, int) and state.tree.leaf(body) is None:
        raise NotAcceptable("a Remove of a leaf that is blank")
    elif item.proposal.kind == GROUP_CONTEXT_EXTENSIONS and isinstance(body, tuple):
        requirements_of(body)


# Applying proposals (RFC 9420, 12.3)


def _check_members(tree: RatchetTree, requirements: GroupRequirements) -> None:
    """Every member supports what the group asks and every credential type in use (RFC 9420, 7.3)."""
    credential_types = set()
    capabilities = {}
    for _, leaf in tree.members():
        credential_types.add(leaf.credential[0])
        capabilities[leaf.capabilities.raw] = leaf.capabilities
    for each in capabilities.values():
        requirements.check(each)
        if not credential_types <= set(each.credentials):
            raise NotAcceptable("a member does not support a credential type that is in use")


def _same_support(old: LeafNode | None, new: LeafNode) -> bool:
    """Whether a leaf supports and uses just what the one it replaces did, so that no member is affected."""
    return (
        old is not None and old.capabilities.raw == new.capabilities.raw and old.credential[0] == new.credential[0]
    )


def _check_update(
    state: EpochState, index: int, leaf: LeafNode, requirements: GroupRequirements | None, source: int
) -> bool:
    """A member's new leaf, from an Update or a Commit; returns whether it supports what the old one did."""
    old = state.tree.leaf(index)
    if old is None:
        raise NotAcceptable("a new leaf for a place that is blank")
    if leaf.encryption_key == old.encryption_key:
        raise NotAcceptable("a new leaf with the old encryption key (RFC 9420, 7.3)")
    same = _same_support(old, leaf)
    check_leaf(leaf, state.suite, requirements, source=source)
    verify_leaf_signature(leaf, state.suite, state.context.group_id, index)
    return same


def apply_proposals(state: EpochState, proposals: ProposalList, now: int | None) -> Change:
    """Apply a valid list to a copy of the tree; single proposals are validated here (RFC 9420, 12.1).

    Raises NotAcceptable, Malformed or NotAuthentic.
    """
    extensions = state.context.extensions
    requirements = state.requirements
    check_everybody = False
    if proposals.extensions is not None:
        extensions = proposals.extensions
        requirements = requirements_of(extensions)
        check_everybody = True
    tree = state.tree.copy()
    # Leaves that go make room for keys that come; Updates and Removes touch different leaves, so the order
    # between them changes nothing in the tree (RFC 9420, 12.3).
    for index in proposals.removes:
        tree.remove_leaf(index)
    for index, leaf in proposals.updates:
        if not _check_update(state, index, leaf, requirements, UPDATE):
            check_everybody = True
    tree.update_leaves(proposals.updates)
    if proposals.removes:
        tree.truncate()
    added = []
    for package in proposals.adds:
        check_key_package(package, state.suite, requirements, now)
        added.append(tree.add_leaf(package.leaf_node))
        check_everybody = True
    if check_everybody:
        _check_members(tree, requirements)
    return Change(proposals, tree, extensions, requirements, added)


def _next_context(state: EpochState, change: Change, confirmed: bytes, tree_hash: bytes) -> GroupContext:
    return group_context(
        state.suite,
        state.context.group_id,
        state.context.epoch + 1,
        tree_hash,
        confirmed,
        change.extensions,
    )


# Processing (RFC 9420, 12.4.2)


def _collect(state: EpochState, commit: Commit, committer: int) -> list[ProposalBy]:
    result = []
    for kind, value in commit.proposals:
        if kind == BY_VALUE:
            result.append(ProposalBy(value, (MEMBER, committer)))
        else:
            known = state.proposals.get(value)
            if known is None:
                raise NotAcceptable("a commit that refers to a proposal not received in this epoch")
            result.append(known)
    return result


def process_commit(
    state: EpochState, content: AuthenticatedContent, psks: Mapping[bytes, bytes], now: int | None
) -> NextEpoch:
    """Everything of RFC 9420, 12.4.2 after the message's own authentication.

    Raises NotAcceptable, Unsupported, UnprocessablePath (with ``seen``), Malformed or NotAuthentic; ``state`` stays as
    it is.
    """
    suite = state.suite
    kind, committer = content.sender
    commit = content.content
    if kind != MEMBER or committer is None or not isinstance(commit, Commit):
        raise Unsupported("external commits are left out (docs/protocol.md)")
    if state.context.epoch >= MAX_EPOCH:
        raise NotAcceptable("a commit after the last epoch")
    proposals = check_list(_collect(state, commit, committer), committer, suite)
    if commit.path is None and proposals.path_required:
        raise NotAcceptable("a commit that needs a path and has none")
    removes_me = state.own_leaf in proposals.removes
    found_psks = [] if removes_me else [(psk, state.find_psk(psk, psks)) for psk in proposals.psks]
    change = apply_proposals(state, proposals, now)
    tree = change.tree
    merged = None
    if commit.path is not None:
        leaf = commit.path.leaf_node
        if not _check_update(state, committer, leaf, change.requirements, COMMIT):
            _check_path_leaf(change, committer, leaf)
        merged = merge_path(tree, committer, commit.path, change.added)
        change.path_leaf = leaf
    if removes_me:
        return NextEpoch(change, None)

    keys, signer = _own_keys(state, change)
    tree_hash = tree.tree_hash()
    commit_secret = suite.zero
    path_keys: dict[int, NodeKey] = {}
    if merged is not None:
        provisional = _next_context(state, change, state.context.confirmed_transcript_hash, tree_hash)
        try:
            path_keys, commit_secret = decrypt_path(tree, merged, state.own_leaf, keys, provisional.raw)
        except UnprocessablePath as error:
            error.seen = NextEpoch(change, None)
            raise
    keys = {**current_keys(tree, keys), **path_keys}
    confirmed = confirmed_hash(suite, state.interim_hash, content.confirmed_input)
    context = _next_context(state, change, confirmed, tree_hash)
    joiner = joiner_secret(suite, state.init_secret, commit_secret, context.raw)
    member = member_secret(suite, joiner, psk_secret(suite, found_psks))
    secrets = epoch_secrets(suite, member, context.raw)
    suite.check_mac(secrets.confirmation, confirmed, content.confirmation_tag, "confirmation tag")
    next_state = EpochState.begin(
        context,
        tree,
        state.own_leaf,
        signer,
        keys,
        interim_hash(suite, confirmed, content.confirmation_tag),
        secrets,
        state.resumption_psks,
        change.requirements,
    )
    return NextEpoch(change, next_state)


def _check_path_leaf(change: Change, committer: int, leaf: LeafNode) -> None:
    """The committer's new leaf supports something else than its old one: compare it with every member."""
    types = {leaf.credential[0]}
    for index, member in change.tree.members():
        if index == committer:
            continue
        types.add(member.credential[0])
        if leaf.credential[0] not in member.capabilities.credentials:
            raise NotAcceptable("a member does not support a credential type that is in use")
    if not types <= set(leaf.capabilities.credentials):
        raise NotAcceptable("a member does not support a credential type that is in use")


def _own_keys(state: EpochState, change: Change) -> tuple[Mapping[int, NodeKey], Signer]:
    """This member's keys, with those that its own Update brings if it is committed.

    Those of nodes that are no more are still among them, and in no resolution: current_keys drops them at the end.
    """
    keys: Mapping[int, NodeKey] = state.keys
    signer = state.signer
    for item in change.proposals.all:
        own = state.own_updates.get(item.ref) if item.ref is not None else None
        leaf = item.proposal.body
        if own is not None and isinstance(leaf, LeafNode):
            keys = {**keys, 2 * state.own_leaf: NodeKey(own.encryption_private, leaf.encryption_key)}
            if own.signature_private is not None:
                signer = state.suite.signer(own.signature_private)
    return keys, signer


# Creating (RFC 9420, 12.4.1)


@dataclass(slots=True, repr=False)
class CreatedCommit:
    """A commit of one's own, not yet encrypted, and where it leads."""

    content: AuthenticatedContent
    next: NextEpoch
    welcome: bytes | None  # MLSMessage(Welcome)


@dataclass(slots=True, repr=False)
class CommitPlan:
    """What the committer wants."""

    by_value: Sequence[Proposal]
    by_reference: Sequence[bytes]  # ProposalRefs
    with_path: bool
    new_signer: Signer | None
    authenticated_data: bytes
    welcome_extensions: Callable[[RatchetTree], tuple[Extension, ...]]


def create_commit(
    state: EpochState,
    plan: CommitPlan,
    psks: Mapping[bytes, bytes],
    random: Callable[[int], bytes],
    now: int | None,
) -> CreatedCommit:
    """Build a commit and the state after it; ``state`` stays as it is.

    Raises what process_commit raises, since the list is held to the same rules.
    """
    suite = state.suite
    own = state.own_leaf
    commit = Commit(
        (
            *((BY_REFERENCE, ref) for ref in plan.by_reference),
            *((BY_VALUE, proposal) for proposal in plan.by_value),
        ),
        None,
    )
    proposals = check_list(_collect(state, commit, own), own, suite)
    found_psks = [(psk, state.find_psk(psk, psks)) for psk in proposals.psks]
    change = apply_proposals(state, proposals, now)
    tree = change.tree
    keys, signer = _own_keys(state, change)
    commit_secret = suite.zero
    path_keys: dict[int, NodeKey] = {}
    path_secrets: dict[int, bytes] = {}
    if plan.with_path or proposals.path_required or plan.new_signer is not None:
        leaf = state.tree.leaf(own)
        if leaf is None:
            raise AssertionError("a member's own leaf is never blank")
        signer = plan.new_signer or signer

        def provisional(tree_hash: bytes) -> bytes:
            old = state.context.confirmed_transcript_hash
            return _next_context(state, change, old, tree_hash).raw

        created = create_path(
            tree,
            own,
            LeafContent.of(leaf, signer.public),
            signer,
            state.context.group_id,
            provisional,
            random,
            change.added,
        )
        commit.path = UpdatePath(created.path.leaf_node, created.path.nodes)
        change.path_leaf = created.path.leaf_node
        commit_secret, path_secrets, path_keys = created.commit_secret, created.path_secrets, created.keys
    keys = {**current_keys(tree, keys), **path_keys}

    content = sign_content(
        state.signer,
        state.context.raw,
        PRIVATE_MESSAGE,
        state.context.group_id,
        state.context.epoch,
        own,
        commit,
        plan.authenticated_data,
    )
    confirmed = confirmed_hash(suite, state.interim_hash, content.confirmed_input)
    context = _next_context(state, change, confirmed, tree.tree_hash())
    joiner = joiner_secret(suite, state.init_secret, commit_secret, context.raw)
    member = member_secret(suite, joiner, psk_secret(suite, found_psks))
    secrets = epoch_secrets(suite, member, context.raw)
    content.confirmation_tag = suite.mac(secrets.confirmation, confirmed)
    welcome = None
    if change.added:
        info = sign_group_info(context, plan.welcome_extensions(tree), content.confirmation_tag, own, signer)
        welcome = seal_welcome(
            suite,
            joiner,
            welcome_secret(suite, member),
            tuple(proposals.psks),
            info,
            [
                _joiner(state, package, index, path_secrets)
                for package, index in zip(proposals.adds, change.added, strict=True)
            ],
        )
    next_state = EpochState.begin(
        context,
        tree,
        own,
        signer,
        keys,
        interim_hash(suite, confirmed, content.confirmation_tag),
        secrets,
        state.resumption_psks,
        change.requirements,
    )
    return CreatedCommit(content, NextEpoch(change, next_state), welcome)


def _joiner(state: EpochState, package: KeyPackage, index: int, path_secrets: Mapping[int, bytes]) -> Joiner:
    ancestor = common_ancestor(2 * index, 2 * state.own_leaf)
    return Joiner(
        package.ref(state.suite),
        state.suite.kem.load_public(package.init_key),
        path_secrets.get(ancestor),
    )
