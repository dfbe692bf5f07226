"""How a member's first state comes about: creating a group, or joining one by Welcome (RFC 9420, 11, 12.4.3.1).

A newcomer believes nothing: the tree is checked whole, the GroupInfo's signer must be in it, and the confirmation
tag must follow from the secrets.
"""

from collections.abc import Callable, Iterable, Mapping

from pourparler_crypto.errors import NotAcceptable, UnprocessablePath, UsageError
from pourparler_crypto.mls import treemath
from pourparler_crypto.mls.extensions import (
    BASIC,
    RATCHET_TREE,
    Extension,
    GroupRequirements,
    Lifetime,
    check_extension_list,
    find_extension,
    own_capabilities,
    requirements_of,
)
from pourparler_crypto.mls.keypackages import KeyPackage, KeyPackageBundle, read_key_package_message
from pourparler_crypto.mls.keyschedule import (
    EXTERNAL,
    PskId,
    epoch_secrets,
    expand_epoch,
    group_context,
    interim_hash,
    psk_secret,
)
from pourparler_crypto.mls.limits import MAX_PSKS
from pourparler_crypto.mls.nodes import (
    KEY_PACKAGE,
    ParentNode,
    check_leaf,
    new_leaf,
    sign_leaf,
    verify_leaf_signature,
)
from pourparler_crypto.mls.proposals import check_psk
from pourparler_crypto.mls.state import EpochState
from pourparler_crypto.mls.suites import CipherSuite, suite_of
from pourparler_crypto.mls.tree import RatchetTree
from pourparler_crypto.mls.treekem import NodeKey, keys_from_path_secret
from pourparler_crypto.mls.welcome import GroupSecrets, open_group_info, open_group_secrets, read_welcome

# A creator's first leaf has no KeyPackage that others must judge; its first commit replaces it.
_UNLIMITED = (0, 2**64 - 1)


def create_state(
    suite_number: int,
    group_id: bytes,
    credential: bytes,
    extensions: Iterable[Extension],
    extension_types: Iterable[int],
    random: Callable[[int], bytes],
) -> EpochState:
    """A group of one in epoch 0 (RFC 9420, 11)."""
    suite = suite_of(suite_number)
    group_extensions = check_extension_list(extensions)
    private, public = suite.kem.generate(random)
    signer = suite.new_signer(random)
    leaf = new_leaf(
        public,
        signer.public,
        (BASIC, credential),
        own_capabilities(extension_types),
        (KEY_PACKAGE, Lifetime(*_UNLIMITED)),
    )
    sign_leaf(leaf, suite, signer)
    requirements = requirements_of(group_extensions)
    try:
        check_leaf(leaf, suite, requirements)
    except NotAcceptable as error:
        raise UsageError(f"the group's extensions exclude its creator: {error}") from None
    tree = RatchetTree.of_one(suite, leaf)
    context = group_context(suite, group_id, 0, tree.tree_hash(), b"", group_extensions)
    secrets = expand_epoch(suite, random(suite.hash_length))
    tag = suite.mac(secrets.confirmation, b"")
    return EpochState.begin(
        context,
        tree,
        0,
        signer,
        {0: NodeKey(private, public)},
        interim_hash(suite, b"", tag),
        secrets,
        {},
        requirements,
    )


def _find_psks(
    suite: CipherSuite, secrets: GroupSecrets, psks: Mapping[bytes, bytes]
) -> list[tuple[PskId, bytes]]:
    """The PSKs that the Welcome names. A newcomer has no resumption PSK, since it was in no earlier epoch."""
    if len(secrets.psks) > MAX_PSKS:
        raise NotAcceptable(f"a Welcome that names more than {MAX_PSKS} pre-shared keys")
    if len(set(secrets.psks)) != len(secrets.psks):
        raise NotAcceptable("a Welcome that names a PreSharedKeyID twice")
    found = []
    for psk_id in secrets.psks:
        check_psk(psk_id, suite)
        kind, which = psk_id.which
        if kind != EXTERNAL or not isinstance(which, bytes) or which not in psks:
            raise NotAcceptable("a Welcome that needs a pre-shared key that is not at hand")
        found.append((psk_id, psks[which]))
    return found


def check_tree(tree: RatchetTree, group_id: bytes, requirements: GroupRequirements, now: int | None) -> None:
    """Everything a newcomer verifies about a tree (RFC 9420, 12.4.3.1). Raises NotAcceptable or NotAuthentic."""
    tree.check_unique_keys()
    tree.check_unmerged_leaves()
    tree.check_parent_hashes()
    credential_types = set()
    capabilities = {}
    for _, leaf in tree.members():
        check_leaf(leaf, tree.suite, requirements, now=now)
        credential_types.add(leaf.credential[0])
        capabilities[leaf.capabilities.raw] = leaf.capabilities
    if any(not credential_types <= set(each.credentials) for each in capabilities.values()):
        raise NotAcceptable("a member does not support a credential type that is in use")
    # One after the other: two threads gain a third on a quiet machine and lose on a busy one.
    for index, leaf in tree.members():
        verify_leaf_signature(leaf, tree.suite, group_id, index)
    for _, parent in tree.parents():
        parent.check_public(tree.suite)


def _check_own_path(tree: RatchetTree, own_leaf: int, keys: Mapping[int, NodeKey]) -> None:
    """The newcomer holds the key of each parent above it, or is unmerged there (RFC 9420, 4.2, 12.4.3.1)."""
    for node in treemath.direct_path(2 * own_leaf, tree.leaves):
        parent = tree.nodes[node]
        if isinstance(parent, ParentNode) and own_leaf not in parent.unmerged_leaves and node not in keys:
            raise UnprocessablePath("a Welcome that withholds a path secret")


def _own_leaf(tree: RatchetTree, package: KeyPackage) -> int:
    for index, leaf in tree.members():
        if leaf.raw == package.leaf_node.raw:
            return index
    raise NotAcceptable("a Welcome to a group in which this KeyPackage is no member")


def join_state(
    bundle: KeyPackageBundle,
    message: bytes,
    ratchet_tree: bytes | None,
    psks: Mapping[bytes, bytes],
    now: int | None,
) -> EpochState:
    """Join by MLSMessage(Welcome). Raises NotAcceptable, NotAuthentic or Malformed."""
    package = read_key_package_message(bundle.key_package)
    suite = suite_of(package.cipher_suite)
    signer = suite.signer(bundle.signature_private)
    if signer.public != package.leaf_node.signature_key:
        raise UsageError("a private key of the bundle does not belong to its KeyPackage")
    welcome = read_welcome(message)
    if welcome.cipher_suite != suite.number:
        raise NotAcceptable("a Welcome for another cipher suite")
    secrets = open_group_secrets(suite, welcome, package.ref(suite), bundle.init_private)
    found_psks = _find_psks(suite, secrets, psks)
    info, member = open_group_info(suite, welcome, secrets.joiner_secret, psk_secret(suite, found_psks))
    context = info.group_context
    if context.cipher_suite != suite.number or context.version != package.version:
        raise NotAcceptable("a GroupInfo of another cipher suite or protocol version")

    tree_bytes = find_extension(info.extensions, RATCHET_TREE)
    if tree_bytes is None:
        tree_bytes = ratchet_tree
    if tree_bytes is None:
        raise UsageError("this Welcome comes without the ratchet tree, which must be given beside it")
    tree = RatchetTree.from_bytes(suite, tree_bytes)
    signer_leaf = tree.leaf(info.signer)
    if signer_leaf is None:
        raise NotAcceptable("a GroupInfo whose signer is no member")
    info.verify(suite, signer_leaf)
    if tree.tree_hash() != context.tree_hash:
        raise NotAcceptable("a ratchet tree that is not the group's")
    requirements = requirements_of(context.extensions)
    check_tree(tree, context.group_id, requirements, now)

    own_leaf = _own_leaf(tree, package)
    if own_leaf == info.signer:
        raise NotAcceptable("a GroupInfo signed in this device's own name")
    keys = {2 * own_leaf: NodeKey(bundle.encryption_private, package.leaf_node.encryption_key)}
    if secrets.path_secret is not None:
        keys.update(keys_from_path_secret(tree, own_leaf, info.signer, secrets.path_secret.path_secret))
    _check_own_path(tree, own_leaf, keys)
    epoch = epoch_secrets(suite, member, context.raw)
    confirmed = context.confirmed_transcript_hash
    suite.check_mac(epoch.confirmation, confirmed, info.confirmation_tag, "confirmation tag")
    return EpochState.begin(
        context,
        tree,
        own_leaf,
        signer,
        keys,
        interim_hash(suite, confirmed, info.confirmation_tag),
        epoch,
        {},
        requirements,
    )
