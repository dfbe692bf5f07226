"""Joining (RFC 9420, 12.4.3.1): a newcomer believes nothing that it can check, however well it is signed.

The forged Welcomes are consistent in themselves: secrets, tree hash and confirmation tag follow from the bad tree.
The file is long because it is a table of clauses.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from pourparler_crypto.errors import (
    Malformed,
    NotAcceptable,
    NotAuthentic,
    ProtocolError,
    UnprocessablePath,
    UsageError,
)
from pourparler_crypto.mls import CHARTER, SUPPORTED_SUITES, Group, KeyPackageBundle, make_key_package
from pourparler_crypto.mls.codec import vl
from pourparler_crypto.mls.extensions import Lifetime
from pourparler_crypto.mls.forging import (
    ForgedWelcome,
    Forger,
    LooseTree,
    Twist,
    forge_welcome,
    package_of,
    signed_leaf,
)
from pourparler_crypto.mls.keyschedule import EXTERNAL, RESUMPTION, PskId, ResumptionId
from pourparler_crypto.mls.nodes import KEY_PACKAGE, PARENT_NODE, UPDATE, ParentNode
from pourparler_crypto.mls.suites import CipherSuite, suite_of
from pourparler_crypto.mls.tree import RatchetTree, path_parent
from pourparler_crypto.testing import LIFETIME, Device, Room

SUITE = 1
GROUP = b"the group"


@dataclass
class Scene:
    """A warm group of six, one of whom invites a newcomer to the last place."""

    room: Room
    new: Device
    tree: LooseTree
    suite: CipherSuite

    @property
    def leaf(self) -> int:
        """Where the newcomer is to be."""
        return 6

    def forge(self, **options: object) -> ForgedWelcome:
        options.setdefault("signer_leaf", 0)
        options.setdefault("signer", self.room.members[0].group._state.signer)
        return forge_welcome(self.tree, GROUP, package=package_of(self.new.bundle), **options)  # type: ignore[arg-type]

    def resign(self, member: int, **changes: object) -> None:
        """Give a member another leaf, signed by itself."""
        device = self.room.members[member]
        leaf = self.tree.leaf(member)
        assert leaf is not None
        signer = device.group._state.signer
        self.tree.nodes[2 * member] = signed_leaf(leaf, self.suite, signer, GROUP, member, **changes)


def scene(suite: int = SUITE) -> Scene:
    room = Room(suite, 6, warm=True)
    new = room.newcomer()
    tree = LooseTree.of(room.members[0].group._state.tree)
    tree.add_leaf(package_of(new.bundle).leaf_node)
    return Scene(room, new, LooseTree.of(tree), suite_of(suite))


def join(made: Scene, forged: ForgedWelcome, **options: object) -> Group:
    return Group.join(made.new.bundle, forged.welcome, ratchet_tree=forged.ratchet_tree, **options)  # type: ignore[arg-type]


def rehashed(made: Scene) -> None:
    """Forget all tree hashes, after nodes were changed by hand."""
    made.tree = LooseTree(made.suite, made.tree.nodes)


@pytest.mark.parametrize("suite", SUPPORTED_SUITES)
def test_a_forged_welcome_without_a_fault_is_accepted(suite: int) -> None:
    made = scene(suite)
    forged = made.forge(extensions=((CHARTER, b"x"),))
    group = join(made, forged)
    assert (group.epoch, group.own_leaf, group.tree_hash) == (3, made.leaf, made.tree.tree_hash())
    assert group.extensions == ((CHARTER, b"x"),)
    assert Group.load(group.records()).records() == group.records()


# The tree: 7.1, 7.3, 7.9.2 and unique keys


def copy_key(made: Scene, source: int, target: int) -> None:
    leaf = made.tree.leaf(source)
    assert leaf is not None
    made.resign(target, encryption_key=leaf.encryption_key)


def copy_signature_key(made: Scene) -> None:
    leaf, other = made.tree.leaf(2), made.tree.leaf(3)
    assert leaf is not None
    assert other is not None
    signer = made.room.members[2].group._state.signer
    made.tree.nodes[6] = signed_leaf(other, made.suite, signer, GROUP, 3, signature_key=leaf.signature_key)


def parent(made: Scene, node: int) -> ParentNode:
    found = made.tree.nodes[node]
    assert isinstance(found, ParentNode)
    return found


def change_parent(made: Scene, node: int, **changes: object) -> None:
    old = parent(made, node)
    fields = {
        "encryption_key": old.encryption_key,
        "parent_hash": old.parent_hash,
        "unmerged_leaves": old.unmerged_leaves,
        **changes,
    }
    fresh = ParentNode(**fields)  # type: ignore[arg-type]
    PARENT_NODE.write(fresh)  # fills in raw
    made.tree.nodes[node] = fresh


def swap_parents(made: Scene) -> None:
    nodes = made.tree.nodes
    nodes[1], nodes[5] = nodes[5], nodes[1]


def extra_parent(made: Scene) -> None:
    """A parent that nobody set, above two members, in the place of a right one."""
    public = made.suite.kem.derive(bytes(32))[1]
    made.tree.nodes[5] = path_parent(made.suite, public, parent(made, 5).parent_hash, b"")[0]


TREES: dict[str, tuple[Callable[[Scene], None], str]] = {
    "7.3: one encryption key in two leaves": (lambda s: copy_key(s, 2, 3), "encryption key stands in the tree tw"),
    "7.3: a leaf with a parent's encryption key": (
        lambda s: s.resign(3, encryption_key=parent(s, 1).encryption_key),
        "encryption key stands in the tree twice",
    ),
    "7.3: one encryption key in two parents": (
        lambda s: change_parent(s, 5, encryption_key=parent(s, 1).encryption_key),
        "encryption key stands in the tree twice",
    ),
    "7.3: one signature key in two leaves": (copy_signature_key, "signature key stands in the tree twice"),
    "7.9.2: two parents exchanged": (swap_parents, "parent-hash valid"),
    "7.9.2: a parent that nobody set": (extra_parent, "parent-hash valid"),
    "7.9.2: another parent hash in a parent": (
        lambda s: change_parent(s, 1, parent_hash=bytes(32)),
        "parent-hash valid",
    ),
    "7.9.2: no parent hash in a parent": (lambda s: change_parent(s, 1, parent_hash=b""), "parent-hash valid"),
    "7.9.2: another parent hash in a committer's leaf": (
        lambda s: s.resign(5, source=(3, bytes(32))),
        "parent-hash valid",
    ),
    "7.9.2: a member merged silently (not unmerged at the root)": (
        lambda s: change_parent(s, 7, unmerged_leaves=()),
        "parent-hash valid|withholds",
    ),
    "7.1: a merged member called unmerged": (
        lambda s: change_parent(s, 3, unmerged_leaves=(2,)),
        "parent-hash valid|merged further down",
    ),
    "7.1: an unmerged leaf outside the subtree": (
        lambda s: change_parent(s, 1, unmerged_leaves=(5,)),
        "no member below",
    ),
    "7.1: an unmerged leaf that is blank": (
        lambda s: change_parent(s, 7, unmerged_leaves=(6, 7)),
        "no member below",
    ),
    "7.1: an unmerged leaf far outside the tree": (
        lambda s: change_parent(s, 7, unmerged_leaves=(6, 2**31)),
        "no member below",
    ),
    "7.2: a leaf signed for another place": (
        lambda s: s.tree.nodes.__setitem__(
            6,
            signed_leaf(
                s.tree.leaf(3),  # type: ignore[arg-type]
                s.suite,
                s.room.members[3].group._state.signer,
                GROUP,
                4,
            ),
        ),
        "signature|parent-hash",
    ),
    "7.3: a leaf without the suite in its capabilities": (
        lambda s: s.resign(
            4,
            capabilities=replace(s.tree.leaf(4).capabilities, cipher_suites=(2,), raw=b""),  # type: ignore[union-attr]
        ),
        "cipher suite|parent-hash",
    ),
    "7.3: a leaf whose credential type another does not support": (
        lambda s: s.resign(
            4,
            credential=(2, (b"certificate",)),
            capabilities=replace(s.tree.leaf(4).capabilities, credentials=(1, 2), raw=b""),  # type: ignore[union-attr]
        ),
        "credential type|parent-hash",
    ),
    "7.3: a leaf key of small order": (lambda s: s.resign(4, encryption_key=bytes(32)), "small order|parent-hash"),
    "a parent key of small order": (
        lambda s: change_parent(s, 9, encryption_key=bytes(32)),
        "small order|parent-hash",
    ),
}


@pytest.mark.parametrize("case", TREES)
def test_a_tree_that_is_not_valid_is_refused_though_the_hash_and_the_secrets_agree(case: str) -> None:
    spoil, match = TREES[case]
    made = scene()
    spoil(made)
    rehashed(made)
    with pytest.raises(ProtocolError, match=match) as caught:
        join(made, made.forge())
    assert type(caught.value) in (NotAcceptable, NotAuthentic, Malformed, UnprocessablePath)


def test_a_member_that_was_never_given_a_parents_key_cannot_be_passed_off_as_merged() -> None:
    """7.9.2: the resolution of a child is its setter and the unmerged leaves, no one else."""
    made = scene()
    second = made.room.newcomer()
    made.tree.add_leaf(package_of(second.bundle).leaf_node)
    made.new = second
    assert parent(made, 7).unmerged_leaves == (6, 7)
    rehashed(made)
    join(made, made.forge())  # without the fault it is accepted
    change_parent(made, 7, unmerged_leaves=(7,))
    rehashed(made)
    with pytest.raises(NotAcceptable, match="parent-hash valid"):
        join(made, made.forge())


def test_a_parent_key_to_which_nobody_can_seal_is_refused_though_its_path_was_right() -> None:
    made = scene()
    twist = Twist(path_key=lambda level, key: bytes(32) if level == 1 else key)
    forged_commit = Forger(made.room.members[0].group).commit(twist=twist)
    made.tree = LooseTree.of(forged_commit.following._state.tree)
    made.tree.add_leaf(package_of(made.new.bundle).leaf_node)
    rehashed(made)
    with pytest.raises(Malformed, match="small order"):
        join(made, made.forge())


# The same faults in a tree without parents, where no parent hash can hide them.

FLAT: dict[str, tuple[Callable[[Scene], None], str]] = {
    "7.3: one encryption key in two leaves": (lambda s: copy_key(s, 2, 3), "encryption key stands"),
    "7.3: one signature key in two leaves": (copy_signature_key, "signature key stands"),
    "7.3: a leaf without the suite": (
        lambda s: s.resign(
            4,
            capabilities=replace(s.tree.leaf(4).capabilities, cipher_suites=(2,), raw=b""),  # type: ignore[union-attr]
        ),
        "cipher suite",
    ),
    "7.3: a leaf without the version": (
        lambda s: s.resign(4, capabilities=replace(s.tree.leaf(4).capabilities, versions=(), raw=b"")),  # type: ignore[union-attr]
        "version",
    ),
    "7.3: a leaf without its own credential type": (
        lambda s: s.resign(4, capabilities=replace(s.tree.leaf(4).capabilities, credentials=(), raw=b"")),  # type: ignore[union-attr]
        "own credential type",
    ),
    "7.3: a credential type that another does not support": (
        lambda s: s.resign(
            4,
            credential=(2, (b"certificate",)),
            capabilities=replace(s.tree.leaf(4).capabilities, credentials=(1, 2), raw=b""),  # type: ignore[union-attr]
        ),
        "credential type",
    ),
    "7.3: an extension outside the capabilities": (
        lambda s: s.resign(4, extensions=((0xF555, b""),)),
        "its own extensions",
    ),
    "7.3: a key of small order": (lambda s: s.resign(4, encryption_key=bytes(32)), "small order"),
    "7.3: a leaf that its member did not sign": (
        lambda s: s.tree.nodes.__setitem__(
            8,
            signed_leaf(s.tree.leaf(4), s.suite, s.room.members[3].group._state.signer, GROUP, 4),  # type: ignore[arg-type]
        ),
        "signature",
    ),
    "7.2: an Update's leaf signed for another place": (
        lambda s: s.tree.nodes.__setitem__(
            8,
            signed_leaf(
                s.tree.leaf(4),  # type: ignore[arg-type]
                s.suite,
                s.room.members[4].group._state.signer,
                GROUP,
                5,
                source=(UPDATE, None),
            ),
        ),
        "signature",
    ),
    "7.2: an Update's leaf signed for another group": (
        lambda s: s.tree.nodes.__setitem__(
            8,
            signed_leaf(
                s.tree.leaf(4),  # type: ignore[arg-type]
                s.suite,
                s.room.members[4].group._state.signer,
                b"another",
                4,
                source=(UPDATE, None),
            ),
        ),
        "signature",
    ),
}


@pytest.mark.parametrize("case", FLAT)
def test_a_leaf_that_is_not_valid_is_refused_on_joining(case: str) -> None:
    spoil, match = FLAT[case]
    made = scene()
    made.tree.nodes[1::2] = [None] * len(made.tree.nodes[1::2])
    rehashed(made)
    join(made, made.forge())  # without the fault it is accepted
    spoil(made)
    rehashed(made)
    with pytest.raises(ProtocolError, match=match):
        join(made, made.forge())


def test_requirements_of_the_group_hold_for_every_leaf_and_the_newcomer() -> None:
    made = scene()
    with pytest.raises(NotAcceptable, match="extension that the group uses"):
        join(made, made.forge(extensions=((0xF777, b""),)))
    required = vl(b"\xf1\x11") + vl(b"") + vl(b"")
    with pytest.raises(NotAcceptable, match="extension that the group uses or requires"):
        join(made, made.forge(extensions=((3, required),)))
    with pytest.raises(Malformed):
        join(made, made.forge(extensions=((3, b"\x01"),)))


def test_a_lifetime_in_the_tree_is_judged_only_where_the_time_is_given() -> None:
    made = scene()
    made.tree.nodes[1::2] = [None] * len(made.tree.nodes[1::2])
    made.resign(4, source=(KEY_PACKAGE, Lifetime(1000, 2000)))
    leaf = made.tree.leaf(4)
    assert leaf is not None
    made.tree.nodes[8] = signed_leaf(leaf, made.suite, made.room.members[4].group._state.signer)
    rehashed(made)
    forged = made.forge()
    join(made, forged)
    join(made, forged, now=1500)
    with pytest.raises(NotAcceptable, match="lifetime"):
        join(made, forged, now=2001)


# The GroupInfo


def test_a_group_info_that_its_signer_did_not_sign_is_not_authentic() -> None:
    made = scene()
    with pytest.raises(NotAuthentic, match="signature"):
        join(made, made.forge(signer=made.room.members[1].group._state.signer))


@pytest.mark.parametrize("leaf", [7, 100, 2**32 - 1])
def test_a_group_info_signed_for_a_blank_leaf_is_refused(leaf: int) -> None:
    made = scene()
    with pytest.raises(NotAcceptable, match="signer is no member"):
        join(made, made.forge(signer_leaf=leaf))


def test_a_group_info_signed_in_the_newcomers_own_name_is_refused() -> None:
    made = scene()
    own = made.suite.signer(made.new.bundle.signature_private)
    with pytest.raises(NotAcceptable, match="own name"):
        join(made, made.forge(signer_leaf=made.leaf, signer=own))


def test_a_tree_that_is_not_the_groups_is_refused() -> None:
    made = scene()
    with pytest.raises(NotAcceptable, match="not the group's"):
        join(made, made.forge(tree_hash=bytes(32)))
    forged = made.forge()
    other = Room(SUITE, 6, warm=True).members[0].group.ratchet_tree()
    with pytest.raises(ProtocolError):
        Group.join(made.new.bundle, forged.welcome, ratchet_tree=other)


def test_a_wrong_confirmation_tag_is_not_authentic() -> None:
    made = scene()
    for tag in (bytes(32), b"", bytes(33)):
        with pytest.raises(NotAuthentic, match="confirmation tag"):
            join(made, made.forge(tag=lambda right, tag=tag: tag))


def test_another_version_or_suite_in_the_group_context_is_refused() -> None:
    made = scene()
    for options in ({"version": 2}, {"context_suite": 3}, {"context_suite": 0x1234}):
        with pytest.raises(ProtocolError, match=r"version|suite"):
            join(made, made.forge(**options))


def test_bytes_behind_the_group_info_are_malformed() -> None:
    made = scene()
    with pytest.raises(Malformed):
        join(made, made.forge(group_info=lambda info: info + b"\x00"))


# Whose Welcome it is, and its secrets


def test_a_welcome_for_another_key_package_is_refused() -> None:
    made = scene()
    with pytest.raises(NotAcceptable, match="not for this KeyPackage"):
        join(made, made.forge(ref=bytes(32)))


def test_a_welcome_into_a_tree_without_the_newcomer_is_refused() -> None:
    made = scene()
    made.tree.nodes[12] = made.tree.nodes[13] = None
    change_parent(made, 7, unmerged_leaves=())
    rehashed(made)
    with pytest.raises(ProtocolError, match=r"no member|parent-hash"):
        join(made, made.forge())
    flat = scene()
    flat.tree.nodes[1::2] = [None] * len(flat.tree.nodes[1::2])
    flat.tree.nodes[12] = None
    rehashed(flat)
    with pytest.raises(NotAcceptable, match="this KeyPackage is no member"):
        join(flat, flat.forge())


def test_a_leaf_that_only_resembles_the_newcomers_is_not_its_own() -> None:
    made = scene()
    made.tree.nodes[1::2] = [None] * len(made.tree.nodes[1::2])
    own = made.tree.leaf(6)
    assert own is not None
    signer = made.suite.signer(made.new.bundle.signature_private)
    made.tree.nodes[12] = signed_leaf(own, made.suite, signer, source=(KEY_PACKAGE, Lifetime(0, 2**41)))
    rehashed(made)
    with pytest.raises(NotAcceptable, match="this KeyPackage is no member"):
        join(made, made.forge())


@pytest.mark.parametrize("length", [0, 31, 32, 33])
def test_a_path_secret_that_does_not_fit_the_tree_is_refused(length: int) -> None:
    room = Room(SUITE, 6, warm=True)
    new = room.newcomer()
    pending = room.members[0].stage(add=[new.bundle.key_package])
    group = pending.staged.apply()
    tree = LooseTree.of(group._state.tree)
    forged = forge_welcome(tree, GROUP, 0, group._state.signer, package_of(new.bundle), path_secret=bytes(length))
    with pytest.raises(UnprocessablePath):
        Group.join(new.bundle, forged.welcome, ratchet_tree=forged.ratchet_tree)


def test_a_path_secret_that_is_withheld_is_noticed() -> None:
    room = Room(SUITE, 6, warm=True)
    new = room.newcomer()
    group = room.members[0].stage(add=[new.bundle.key_package]).staged.apply()
    tree = LooseTree.of(group._state.tree)
    forged = forge_welcome(tree, GROUP, 0, group._state.signer, package_of(new.bundle))
    with pytest.raises(UnprocessablePath, match="withholds"):
        Group.join(new.bundle, forged.welcome, ratchet_tree=forged.ratchet_tree)


def test_a_path_secret_for_a_node_without_a_key_is_refused() -> None:
    made = scene()
    made.tree.nodes[1::2] = [None] * len(made.tree.nodes[1::2])
    rehashed(made)
    with pytest.raises(UnprocessablePath):
        join(made, made.forge(path_secret=bytes(32)))


@pytest.mark.parametrize("suite", SUPPORTED_SUITES)
def test_a_welcome_with_psks_opens_only_with_the_right_ones(suite: int) -> None:
    made = scene(suite)
    nonce = bytes(made.suite.hash_length)
    psk = PskId((EXTERNAL, b"id"), nonce)
    forged = made.forge(psks=[(psk, b"right")])
    join(made, forged, psks={b"id": b"right", b"other": b"x"})
    with pytest.raises(NotAuthentic):
        join(made, forged, psks={b"id": b"wrong"})
    with pytest.raises(NotAcceptable, match="not at hand"):
        join(made, forged)


def test_psk_rules_hold_in_a_welcome_too() -> None:
    made = scene()
    psk = PskId((EXTERNAL, b"id"), bytes(32))
    cases = {
        "twice": [(psk, b"x"), (psk, b"x")],
        "nonce": [(PskId((EXTERNAL, b"id"), bytes(16)), b"x")],
        "at hand": [(PskId((RESUMPTION, ResumptionId(1, GROUP, 1)), bytes(32)), b"x")],
        "reinit": [(PskId((RESUMPTION, ResumptionId(2, GROUP, 1)), bytes(32)), b"x")],
    }
    for match, psks in cases.items():
        with pytest.raises(NotAcceptable, match=match):
            join(made, made.forge(psks=psks), psks={b"id": b"x"})


# Usage


def test_a_welcome_without_its_tree_says_so() -> None:
    made = scene()
    with pytest.raises(UsageError, match="tree"):
        Group.join(made.new.bundle, made.forge().welcome)


def test_a_bundle_is_read_back_whole_or_not_at_all() -> None:
    bundle = make_key_package(SUITE, b"x", lifetime=LIFETIME)
    assert KeyPackageBundle.from_bytes(bundle.to_bytes()) == bundle
    other = make_key_package(SUITE, b"y", lifetime=LIFETIME)
    for field in ("init_private", "encryption_private", "signature_private"):
        mixed = replace(bundle, **{field: getattr(other, field)})
        with pytest.raises(UsageError):
            KeyPackageBundle.from_bytes(mixed.to_bytes())
    for cut in (b"", bundle.to_bytes()[:-1], bundle.to_bytes() + b"\x00"):
        with pytest.raises(UsageError):
            KeyPackageBundle.from_bytes(cut)
    assert "init" not in repr(bundle)


@pytest.mark.parametrize("field", ["init_private", "signature_private"])
def test_joining_with_a_private_key_of_another_bundle_fails(field: str) -> None:
    made = scene()
    other = make_key_package(SUITE, b"y", lifetime=LIFETIME)
    forged = made.forge()
    mixed = replace(made.new.bundle, **{field: getattr(other, field)})
    with pytest.raises((UsageError, ProtocolError)):
        Group.join(mixed, forged.welcome, ratchet_tree=forged.ratchet_tree)


def test_a_tree_over_the_cap_or_of_wrong_form_is_malformed() -> None:
    made = scene()
    good = made.tree.to_bytes()
    suite = suite_of(SUITE)
    for bad in (b"", b"\x00", vl(b"\x00"), good + b"\x00", good[:-1], vl(bytes(3))):
        with pytest.raises(Malformed):
            RatchetTree.from_bytes(suite, bad)
    body = good[2:] if good[0] < 0x80 else good[4:]
    assert vl(body) == good
    with pytest.raises(Malformed, match="more than"):
        RatchetTree.from_bytes(suite, vl(bytes(2 * 5000) + body))
    with pytest.raises(Malformed, match="in a parent's place"):
        RatchetTree.from_bytes(suite, vl(b"\x00" + body))
    with pytest.raises(Malformed, match="blank"):
        RatchetTree.from_bytes(suite, vl(body + b"\x00"))


def test_unmerged_leaves_must_rise_strictly() -> None:
    made = scene()
    for leaves in ((6, 6), (6, 3)):
        change_parent(made, 7, unmerged_leaves=leaves)
        rehashed(made)
        with pytest.raises(Malformed, match="rising"):
            join(made, made.forge())
