"""Commits that are authentic and wrong (RFC 9420, 7.3, 10.1, 12.1 to 12.4.2): all refuse them, none is split off.

An insider signs what no honest client would. Every other member must refuse it with the same family of error, keep
its epoch and tree, lose one ratchet key at most, and go on. The file is long because it is a table of clauses.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from pourparler_crypto.errors import NotAcceptable, ProtocolError, UnprocessablePath, Unsupported
from pourparler_crypto.mls import CHARTER, SUPPORTED_SUITES, ReceivedProposal, StagedCommit
from pourparler_crypto.mls.codec import vl
from pourparler_crypto.mls.extensions import Capabilities, Lifetime
from pourparler_crypto.mls.forging import (
    Forged,
    Forger,
    Item,
    Twist,
    package_of,
    signed_leaf,
    signed_package,
)
from pourparler_crypto.mls.framing import PUBLIC_MESSAGE
from pourparler_crypto.mls.keypackages import KeyPackage
from pourparler_crypto.mls.keyschedule import EXTERNAL, RESUMPTION, PskId, ResumptionId
from pourparler_crypto.mls.nodes import COMMIT, KEY_PACKAGE, UPDATE, LeafNode, sign_leaf
from pourparler_crypto.mls.proposals import (
    ADD,
    EXTERNAL_INIT,
    GROUP_CONTEXT_EXTENSIONS,
    PSK,
    REINIT,
    REMOVE,
    Proposal,
    ReInit,
)
from pourparler_crypto.mls.proposals import UPDATE as UPDATE_PROPOSAL
from pourparler_crypto.mls.suites import suite_of
from pourparler_crypto.testing import Device, Room

SUITE = 1
SMALL_ORDER = bytes(32)
PSK_SECRET = {b"known": b"a shared secret"}


@pytest.fixture
def room() -> Room:
    return Room(SUITE, 5, warm=True)


def refused_by(device: Device, message: bytes, error: type[ProtocolError], match: str) -> None:
    """One device refuses, and only the used ratchet is gone."""
    before = device.group.records()
    assert before == device.stored
    with pytest.raises(ProtocolError, match=match) as caught:
        device.group.decrypt(message, psks=PSK_SECRET)
    assert type(caught.value) is error
    assert isinstance(caught.value, NotAcceptable)
    changes = caught.value.changes
    assert all(name.startswith(("ratchet/", "secret/")) for name in changes)
    device.save(changes)
    kept = {name: value for name, value in before.items() if not name.startswith(("ratchet/", "secret/"))}
    assert {name: device.stored[name] for name in kept} == kept
    device.reload()


def refused(
    room: Room, forged: Forged | bytes, error: type[ProtocolError] = NotAcceptable, match: str = ""
) -> None:
    """Everyone but the insider (the first member) refuses, and the group goes on working."""
    message = forged if isinstance(forged, bytes) else forged.message
    for device in room.members[1:]:
        refused_by(device, message, error, match or ".")
    room.talk(room.members[-1])
    room.commit(room.members[-1])


def package(device: Device) -> KeyPackage:
    return package_of(device.bundle)


def signer_of(device: Device) -> object:
    return suite_of(device.suite).signer(device.bundle.signature_private)


def add(made: KeyPackage) -> Proposal:
    return Proposal(ADD, made)


def altered(device: Device, **changes: object) -> KeyPackage:
    """Its KeyPackage with other fields, signed anew by its owner."""
    return signed_package(package(device), suite_of(device.suite), signer_of(device), **changes)  # type: ignore[arg-type]


def with_leaf(device: Device, **changes: object) -> KeyPackage:
    """Its KeyPackage with another leaf, all signed anew by its owner."""
    leaf = signed_leaf(package(device).leaf_node, suite_of(device.suite), signer_of(device), **changes)  # type: ignore[arg-type]
    return altered(device, leaf_node=leaf)


def capable(leaf: LeafNode, **changes: object) -> Capabilities:
    return replace(leaf.capabilities, raw=b"", **changes)  # type: ignore[arg-type]


# The kit itself: what it makes without a twist is accepted, so that a refusal is due to the twist.


@pytest.mark.parametrize("suite", SUPPORTED_SUITES)
@pytest.mark.parametrize("wire_format", [1, 2], ids=["public", "private"])
@pytest.mark.parametrize("what", ["empty", "add", "remove", "psk", "extensions", "all"])
def test_a_forged_commit_without_a_fault_is_accepted_by_everyone(suite: int, wire_format: int, what: str) -> None:
    room = Room(suite, 4)
    forger = Forger(room.members[0].group)
    nonce = bytes(suite_of(suite).hash_length)
    items: dict[str, list[Item]] = {
        "empty": [],
        "add": [add(package(room.newcomer()))],
        "remove": [Proposal(REMOVE, 3)],
        "psk": [Proposal(PSK, PskId((EXTERNAL, b"known"), nonce))],
        "extensions": [Proposal(GROUP_CONTEXT_EXTENSIONS, ((CHARTER, b"charter"),))],
    }
    items["all"] = [item for kind in ("add", "psk", "extensions", "remove") for item in items[kind]]
    forged = forger.commit(items[what], wire_format=wire_format, psks=lambda _: PSK_SECRET[b"known"])
    for device in room.members[1:]:
        staged = device.staged(forged.message, psks=PSK_SECRET)
        if not staged.removes_me:
            assert staged.apply().epoch_authenticator == forged.following.epoch_authenticator


# 12.2: the list of proposals


def received(room: Room, message: bytes, author: Device) -> bytes:
    """Hand a proposal to everyone; its ref."""
    results = [device.receive(message) for device in room.others(author)]
    assert all(isinstance(result, ReceivedProposal) for result in results)
    return results[0].ref  # type: ignore[union-attr]


def update_of(room: Room, author: Device) -> bytes:
    return received(room, author.propose(author.group.propose_update()), author)


LISTS: dict[str, tuple[Callable[[Room], Sequence[Item]], str]] = {
    "12.2: an Update by the committer": (
        lambda room: [Proposal(UPDATE_PROPOSAL, fresh_update(room.members[0]))],
        "Update of the committer",
    ),
    "12.2: a Remove of the committer": (
        lambda room: [Proposal(REMOVE, room.members[0].leaf)],
        "Remove of the comm",
    ),
    "12.2: two Removes of one leaf": (lambda room: [Proposal(REMOVE, 2), Proposal(REMOVE, 2)], "of one leaf"),
    "12.2: an Update and a Remove of one leaf": (
        lambda room: [update_of(room, room.members[2]), Proposal(REMOVE, room.members[2].leaf)],
        "of one leaf",
    ),
    "12.2: two Updates of one leaf": (
        lambda room: [update_of(room, room.members[2]), update_of(room, room.members[2])],
        "of one leaf",
    ),
    "12.2: the same client added twice": (
        lambda room: [add(package(new := room.newcomer())), add(package(new))],
        "already in the tree",
    ),
    "12.2: a member added again": (lambda room: [add(package(room.members[2]))], "already in the tree"),
    "12.2: two GroupContextExtensions": (
        lambda room: [Proposal(GROUP_CONTEXT_EXTENSIONS, ())] * 2,
        "two GroupContextExtensions",
    ),
    "12.2: the same PreSharedKeyID twice": (
        lambda room: [Proposal(PSK, PskId((EXTERNAL, b"known"), bytes(32)))] * 2,
        "same PreSharedKeyID",
    ),
    "12.2: an ExternalInit in a regular commit": (
        lambda room: [Proposal(EXTERNAL_INIT, bytes(32))],
        "ExternalInit",
    ),
    "12.1.3: a Remove of a blank leaf": (lambda room: [Proposal(REMOVE, 6)], "blank"),
    "12.1.3: a Remove outside the tree": (lambda room: [Proposal(REMOVE, 2**31)], "blank"),
    "12.1.4: a PSK nonce that is too short": (
        lambda room: [Proposal(PSK, PskId((EXTERNAL, b"known"), bytes(31)))],
        "nonce",
    ),
    "12.1.4: a PSK nonce that is too long": (
        lambda room: [Proposal(PSK, PskId((EXTERNAL, b"known"), bytes(33)))],
        "nonce",
    ),
    "8.4: a PSK that is not at hand": (
        lambda room: [Proposal(PSK, PskId((EXTERNAL, b"unknown"), bytes(32)))],
        "not at hand",
    ),
    "8.6: a resumption PSK of an epoch that is gone": (
        lambda room: [Proposal(PSK, PskId((RESUMPTION, ResumptionId(1, b"the group", 99)), bytes(32)))],
        "not at hand",
    ),
    "8.6: a resumption PSK of another group": (
        lambda room: [Proposal(PSK, PskId((RESUMPTION, ResumptionId(1, b"another", 3)), bytes(32)))],
        "not at hand",
    ),
}


def fresh_update(device: Device, **changes: object) -> LeafNode:
    """A new leaf of a member as an Update carries it."""
    state = device.group._state
    old = state.tree.leaf(device.leaf)
    assert old is not None
    public = state.suite.kem.generate(os.urandom)[1]
    fields = {"encryption_key": public, "source": (UPDATE, None), **changes}
    return signed_leaf(old, state.suite, state.signer, b"the group", device.leaf, **fields)


@pytest.mark.parametrize("case", LISTS)
def test_a_commit_with_an_invalid_list_is_refused_by_all(room: Room, case: str) -> None:
    make, match = LISTS[case]
    items = make(room)
    forged = Forger(room.members[0].group).commit(items, psks=lambda _: b"a shared secret")
    refused(room, forged, match=match)


@pytest.mark.parametrize("case", ["12.1.3: a Remove of a blank leaf", "12.2: two GroupContextExtensions"])
def test_a_public_commit_with_an_invalid_list_changes_nothing_at_all(room: Room, case: str) -> None:
    make, match = LISTS[case]
    forged = Forger(room.members[0].group).commit(make(room), wire_format=PUBLIC_MESSAGE)
    for device in room.members[1:]:
        before = device.group.records()
        with pytest.raises(NotAcceptable, match=match) as caught:
            device.group.decrypt(forged.message)
        assert caught.value.changes == {}
        assert device.group.records() == before


@pytest.mark.parametrize(
    "item",
    [
        Proposal(REINIT, ReInit(b"next", 1, 1, ())),
        Proposal(PSK, PskId((RESUMPTION, ResumptionId(2, b"the group", 0)), bytes(32))),
        Proposal(PSK, PskId((RESUMPTION, ResumptionId(3, b"the group", 0)), bytes(32))),
    ],
    ids=["12.1.5: ReInit", "8.4: a PSK for reinit", "8.4: a PSK for branch"],
)
def test_what_is_left_out_is_refused_as_unsupported(room: Room, item: Proposal) -> None:
    forged = Forger(room.members[0].group).commit([item], psks=lambda _: b"")
    refused(room, forged, Unsupported)


def test_a_commit_refers_only_to_proposals_of_this_epoch(room: Room) -> None:
    ref = update_of(room, room.members[2])
    room.commit(room.members[3])
    forger = Forger(room.members[0].group)
    twist = Twist(commit=lambda commit: replace(commit, proposals=((2, ref),)))
    refused(room, forger.commit(twist=twist), match="not received in this epoch")


def test_the_same_psk_id_with_another_nonce_is_allowed(room: Room) -> None:
    psks = [Proposal(PSK, PskId((EXTERNAL, b"known"), bytes((number,)) * 32)) for number in range(2)]
    forged = Forger(room.members[0].group).commit(psks, psks=lambda _: PSK_SECRET[b"known"])
    for device in room.members[1:]:
        staged = device.staged(forged.message, psks=PSK_SECRET)
        assert staged.apply().epoch_authenticator == forged.following.epoch_authenticator


def test_another_secret_under_the_same_psk_id_is_noticed_by_the_confirmation_tag(room: Room) -> None:
    item = Proposal(PSK, PskId((EXTERNAL, b"known"), bytes(32)))
    forged = Forger(room.members[0].group).commit([item], psks=lambda _: b"another secret")
    refused(room, forged, match="confirmation tag")


def test_a_member_may_be_removed_and_added_again_in_one_commit(room: Room) -> None:
    gone = room.members[2]
    forged = Forger(room.members[0].group).commit([add(package(gone)), Proposal(REMOVE, gone.leaf)])
    for device in room.others(room.members[0], gone):
        assert device.staged(forged.message).apply().epoch_authenticator == forged.following.epoch_authenticator


def test_keys_that_a_removed_member_gives_up_are_free_in_the_same_commit_with_and_without_a_restart() -> None:
    room = Room(SUITE, 4)
    committer, gone, *rest = room.members
    rest[0].reload()
    pending = committer.stage(remove=[gone.leaf], add=[gone.bundle.key_package])
    for device in rest:
        assert device.staged(pending.commit).apply().tree_hash == pending.staged.apply().tree_hash


# 12.4: when a path is needed


@pytest.mark.parametrize("what", ["an empty list", "a Remove", "an Update", "extensions"])
def test_a_commit_without_the_path_that_it_needs_is_refused(room: Room, what: str) -> None:
    items: dict[str, Callable[[], list[Item]]] = {
        "an empty list": list,
        "a Remove": lambda: [Proposal(REMOVE, 2)],
        "an Update": lambda: [update_of(room, room.members[2])],
        "extensions": lambda: [Proposal(GROUP_CONTEXT_EXTENSIONS, ((CHARTER, b"x"),))],
    }
    made = items[what]()
    refused(room, Forger(room.members[0].group).commit(made, path=False), match="needs a path")


@pytest.mark.parametrize("suite", SUPPORTED_SUITES)
def test_adds_and_psks_need_no_path(suite: int) -> None:
    room = Room(suite, 3)
    room.commit(room.members[0], add=[room.newcomer()], psks=PSK_SECRET, update=False)
    room.commit(room.members[3], psks=PSK_SECRET, update=False)
    room.talk(room.members[3])


# 12.4.2, 7.3, 7.6: the path


def key_of(room: Room, member: int) -> bytes:
    return next(m for m in room.members[0].group.members if m.leaf == member).encryption_key


def parent_key(room: Room) -> bytes:
    return next(parent.encryption_key for _, parent in room.members[0].group._state.tree.parents())


def edit_leaf(**changes: object) -> Twist:
    return Twist(leaf=lambda leaf: replace(leaf, **changes))  # type: ignore[arg-type]


def resigned(room: Room, **place: object) -> Twist:
    """The path's leaf is signed for another place or by another key."""
    insider = room.members[0]
    state = insider.group._state

    def sign(leaf: LeafNode) -> LeafNode:
        group_id = place.get("group_id", b"the group")
        index = place.get("index", insider.leaf)
        signer = place.get("signer", state.signer)
        fresh = replace(leaf, signature=b"", raw=b"", loaded=None, verifier=None)
        return sign_leaf(fresh, state.suite, signer, group_id, index)  # type: ignore[arg-type]

    return Twist(signed_leaf=sign)


PATHS: dict[str, tuple[Callable[[Room], Twist], str]] = {
    "12.4.2: one node too few": (
        lambda room: Twist(path=lambda path: replace(path, nodes=path.nodes[:-1])),
        "length",
    ),
    "12.4.2: one node too many": (
        lambda room: Twist(path=lambda path: replace(path, nodes=(*path.nodes, path.nodes[-1]))),
        "length",
    ),
    "12.4.2: no node": (lambda room: Twist(path=lambda path: replace(path, nodes=())), "length"),
    "7.6: a ciphertext too few": (
        lambda room: Twist(ciphertexts=lambda level, sealed: sealed[1:] if level == 0 else sealed),
        "exactly its resolution",
    ),
    "7.6: a ciphertext too many": (
        lambda room: Twist(ciphertexts=lambda level, sealed: (*sealed, sealed[0]) if level == 1 else sealed),
        "exactly its resolution",
    ),
    "12.4.2: another member's key on the path": (
        lambda room: Twist(path_key=lambda level, key: key_of(room, 2) if level == 0 else key),
        "already in the tree",
    ),
    "12.4.2: a parent's key on the path": (
        lambda room: Twist(path_key=lambda level, key: parent_key(room) if level == 1 else key),
        "already in the tree",
    ),
    "12.4.2: one key twice on the path": (
        lambda room: Twist(path_key=lambda level, key: b"\x09" * 32 if level < 2 else key),
        "already in the tree",
    ),
    "7.3: the leaf with another member's key": (
        lambda room: edit_leaf(encryption_key=key_of(room, 3)),
        "already in the tree",
    ),
    "7.3: the leaf with its old key": (
        lambda room: edit_leaf(encryption_key=key_of(room, 0)),
        "old encryption key",
    ),
    "7.3: the leaf with another member's signature key": (
        lambda room: edit_leaf(signature_key=room.members[3].group._state.signer.public),
        "signature",
    ),
    "7.2: a leaf from a KeyPackage": (
        lambda room: edit_leaf(source=(KEY_PACKAGE, Lifetime(0, 2**40))),
        "not meant for a Commit",
    ),
    "7.2: a leaf from an Update": (lambda room: edit_leaf(source=(UPDATE, None)), "not meant for a Commit"),
    "7.3: a leaf signed for another place": (lambda room: resigned(room, index=3), "signature"),
    "7.3: a leaf signed for another group": (lambda room: resigned(room, group_id=b"another"), "signature"),
    "7.3: a leaf signed by someone else": (
        lambda room: resigned(room, signer=room.members[2].group._state.signer),
        "signature",
    ),
    "7.9: a wrong parent hash in the leaf": (
        lambda room: Twist(parent_hash=lambda right: bytes(len(right))),
        "parent hash",
    ),
    "7.9: no parent hash in the leaf": (lambda room: Twist(parent_hash=lambda right: b""), "parent hash"),
    "7.3: a leaf whose capabilities lack the suite": (
        lambda room: Twist(leaf=lambda leaf: replace(leaf, capabilities=capable(leaf, cipher_suites=(3,)))),
        "lack the protocol version or the cipher suite",
    ),
    "7.3: a leaf whose capabilities lack the version": (
        lambda room: Twist(leaf=lambda leaf: replace(leaf, capabilities=capable(leaf, versions=()))),
        "lack the protocol version or the cipher suite",
    ),
    "7.3: a leaf whose capabilities lack its credential": (
        lambda room: Twist(leaf=lambda leaf: replace(leaf, capabilities=capable(leaf, credentials=(2,)))),
        "its own credential type",
    ),
    "7.3: a leaf with an extension that its capabilities lack": (
        lambda room: edit_leaf(extensions=((0xF111, b""),)),
        "its own extensions",
    ),
    "7.3: a credential type that the others do not support": (
        lambda room: Twist(
            leaf=lambda leaf: replace(
                leaf,
                credential=(2, (b"certificate",)),
                capabilities=capable(leaf, credentials=(1, 2)),
            )
        ),
        "credential type",
    ),
    "12.4.2: a path key that is no public key": (
        lambda room: Twist(path_key=lambda level, key: SMALL_ORDER if level == 1 else key),
        "small order",
    ),
    "12.4.2: a path key of the wrong length": (
        lambda room: Twist(path_key=lambda level, key: key[:-1] if level == 1 else key),
        "32 bytes",
    ),
    "7.3: a leaf key that is no public key": (lambda room: edit_leaf(encryption_key=SMALL_ORDER), "small order"),
    "12.4.2: a wrong confirmation tag": (
        lambda room: Twist(tag=lambda tag: bytes(len(tag))),
        "confirmation tag",
    ),
    "12.4.2: an empty confirmation tag": (lambda room: Twist(tag=lambda tag: b""), "confirmation tag"),
}


@pytest.mark.parametrize("case", PATHS)
def test_a_commit_with_an_invalid_path_is_refused_by_all(room: Room, case: str) -> None:
    make, match = PATHS[case]
    refused(room, Forger(room.members[0].group).commit(twist=make(room)), match=match)


def test_a_leaf_signed_with_the_key_it_steals_is_refused_all_the_same(room: Room) -> None:
    """The thief of another member's signature key cannot stand in the tree twice."""
    stolen = room.members[3].group._state.signer
    refused(room, Forger(room.members[0].group).commit(signer=stolen), match="signature key that is already")


@pytest.mark.parametrize(
    "bad", [b"\x02" + bytes(32), b"\x02" + bytes(64), b"\x04" + bytes(64), b"\x04" + b"\xff" * 64]
)
def test_a_path_key_that_is_no_uncompressed_point_is_refused_in_suite_2(bad: bytes) -> None:
    room = Room(2, 4, warm=True)
    twist = Twist(path_key=lambda level, key: bad if level == 1 else key)
    refused(room, Forger(room.members[0].group).commit(twist=twist), match="P-256")


@pytest.mark.parametrize(
    "bad", [bytes(1215), b"\xff" * 1216, bytes(1216)], ids=["short", "not reduced", "zero point"]
)
def test_a_path_key_that_is_no_hybrid_key_is_refused_in_the_hybrid_suite(bad: bytes) -> None:
    room = Room(0xF07A, 4, warm=True)
    twist = Twist(path_key=lambda level, key: bad if level == 1 else key)
    refused(room, Forger(room.members[0].group).commit(twist=twist), match="hybrid|ML-KEM|small order")


# A path that is wrong for one subtree only (16.12)


@pytest.mark.parametrize("suite", SUPPORTED_SUITES)
@pytest.mark.parametrize(
    "how", ["another secret", "a short secret", "a secret and a zero", "garbage", "a short encapsulation"]
)
def test_a_path_wrong_for_one_subtree_is_noticed_by_exactly_its_members(suite: int, how: str) -> None:
    room = Room(suite, 8, warm=True)
    before = room.members[5].group.tree_hash
    # Leaf 0's path: level 0 is sealed to leaf 1, level 1 to leaves 2 and 3, level 2 to leaves 4 to 7.
    victims = room.members[2:4]

    def garble(level: int, sealed: tuple[object, ...]) -> tuple[object, ...]:
        if level != 1:
            return sealed
        if how == "garbage":
            return tuple(replace(each, ciphertext=bytes(len(each.ciphertext))) for each in sealed)  # type: ignore[attr-defined,type-var]
        return tuple(replace(each, kem_output=each.kem_output[:-1]) for each in sealed)  # type: ignore[attr-defined,type-var]

    def lie(level: int, position: int, secret: bytes) -> bytes:
        if level != 1:
            return secret
        # HMAC pads a key with zeros: a secret with one behind it gives the same keys.
        return {"another secret": bytes(len(secret)), "a short secret": secret[:-1]}.get(how, secret + b"\x00")

    twist = Twist(secret=lie) if "secret" in how else Twist(ciphertexts=garble)  # type: ignore[arg-type]
    forged = Forger(room.members[0].group).commit(twist=twist)
    for device in room.members[1:]:
        if device in victims:
            refused_by(device, forged.message, UnprocessablePath, "path")
            assert device.group.tree_hash == before
        else:
            group = device.staged(forged.message).apply()
            assert group.epoch_authenticator == forged.following.epoch_authenticator


# 10.1, 7.3, 12.1.1: Adds


ADDS: dict[str, tuple[Callable[[Device, Room], KeyPackage], str]] = {
    "10.1: another version": (lambda new, room: altered(new, version=2), "version"),
    "10.1: another suite": (lambda new, room: altered(new, cipher_suite=3), "cipher suite"),
    "10.1: a key package of another suite": (lambda new, room: package(Device("x", 3)), "cipher suite"),
    "10.1: init key and encryption key the same": (
        lambda new, room: altered(new, init_key=package(new).leaf_node.encryption_key),
        "init key",
    ),
    "10.1: an init key of small order": (lambda new, room: altered(new, init_key=SMALL_ORDER), "small order"),
    "10.1: an init key of the wrong length": (lambda new, room: altered(new, init_key=bytes(31)), "32 bytes"),
    "10.1: a signature by someone else": (
        lambda new, room: signed_package(package(new), suite_of(SUITE), room.members[2].group._state.signer),
        "signature",
    ),
    "7.2: a leaf from an Update": (lambda new, room: with_leaf(new, source=(UPDATE, None)), "not meant for"),
    "7.2: a leaf from a Commit": (lambda new, room: with_leaf(new, source=(COMMIT, bytes(32))), "not meant for"),
    "7.3: a leaf signed by someone else": (
        lambda new, room: altered(
            new,
            leaf_node=signed_leaf(package(new).leaf_node, suite_of(SUITE), room.members[2].group._state.signer),
        ),
        "signature",
    ),
    "7.3: a member's encryption key": (
        lambda new, room: with_leaf(new, encryption_key=key_of(room, 2)),
        "encryption key that is already",
    ),
    "7.3: a parent's encryption key": (
        lambda new, room: with_leaf(new, encryption_key=parent_key(room)),
        "encryption key that is already",
    ),
    "7.3: an encryption key of small order": (
        lambda new, room: with_leaf(new, encryption_key=SMALL_ORDER),
        "small order",
    ),
    "7.3: capabilities without the suite": (
        lambda new, room: with_leaf(new, capabilities=capable(package(new).leaf_node, cipher_suites=(2, 3))),
        "cipher suite",
    ),
    "7.3: capabilities without the version": (
        lambda new, room: with_leaf(new, capabilities=capable(package(new).leaf_node, versions=(7,))),
        "version",
    ),
    "7.3: capabilities without its credential type": (
        lambda new, room: with_leaf(new, capabilities=capable(package(new).leaf_node, credentials=())),
        "credential",
    ),
    "7.3: an extension outside its capabilities": (
        lambda new, room: with_leaf(new, extensions=((0xF222, b"x"),)),
        "its own extensions",
    ),
    "7.3: a credential type that a member does not support": (
        lambda new, room: with_leaf(
            new,
            credential=(2, (b"cert",)),
            capabilities=capable(package(new).leaf_node, credentials=(1, 2)),
        ),
        "credential type",
    ),
    "7.3: no support for a credential type in use": (
        lambda new, room: with_leaf(
            new,
            credential=(2, (b"cert",)),
            capabilities=capable(package(new).leaf_node, credentials=(2,)),
        ),
        "credential type",
    ),
}


@pytest.mark.parametrize("case", ADDS)
def test_an_add_of_an_invalid_key_package_is_refused_by_all(room: Room, case: str) -> None:
    make, match = ADDS[case]
    made = make(room.newcomer(), room)
    refused(room, Forger(room.members[0].group).commit([add(made)]), match=match)


@pytest.mark.parametrize("case", ADDS)
def test_an_honest_committer_refuses_an_invalid_key_package_too(room: Room, case: str) -> None:
    make, _ = ADDS[case]
    made = make(room.newcomer(), room)
    member = room.members[1]
    before = member.group.records()
    with pytest.raises(ProtocolError):
        member.group.stage(add=[b"\x00\x01\x00\x05" + made.raw])
    assert member.group.records() == before


def test_a_lifetime_is_judged_only_where_the_time_is_given(room: Room) -> None:
    made = with_leaf(room.newcomer(), source=(KEY_PACKAGE, Lifetime(1000, 2000)))
    forged = Forger(room.members[0].group).commit([add(made)])
    for now in (999, 2001):
        reader = room.members[1]
        before = reader.group.records()
        with pytest.raises(NotAcceptable, match="lifetime"):
            Forger(reader.group).group.decrypt(forged.message, now=now)
        assert reader.group.records() == before
    for now, device in zip((1000, 2000, None), room.members[1:], strict=False):
        device.staged(forged.message, now=now)


def test_a_newcomer_without_support_for_the_groups_extension_is_refused() -> None:
    charter = ((CHARTER, b"charter"),)
    room = Room(SUITE, 3, extensions=charter)
    made = with_leaf(new := room.newcomer(), capabilities=capable(package(new).leaf_node, extensions=()))
    refused(room, Forger(room.members[0].group).commit([add(made)]), match="extension that the group uses")


# 12.1.7, 11.1: group context extensions


def required(
    extensions: Sequence[int] = (), proposals: Sequence[int] = (), credentials: Sequence[int] = ()
) -> bytes:
    return b"".join(
        vl(b"".join(kind.to_bytes(2) for kind in kinds)) for kinds in (extensions, proposals, credentials)
    )


EXTENSIONS = {
    "13.4: a type that a member does not support": ((0xF333, b""), "does not support an extension"),
    "11.1: a required extension": ((3, required(extensions=(0xF333,))), "does not support an extension"),
    "11.1: a required proposal": ((3, required(proposals=(0xF333,))), "does not support a proposal type"),
    "11.1: a required credential": ((3, required(credentials=(2,))), "does not support a credential type"),
    "11.1: required_capabilities cut short": ((3, b"\x00\x00"), "cut short"),
    "11.1: bytes behind required_capabilities": ((3, required() + b"\x00"), "follow"),
    "12.1.8.1: external_senders cut short": ((5, b"\x05\x00"), "cut short"),
}


@pytest.mark.parametrize("case", EXTENSIONS)
def test_group_context_extensions_that_a_member_cannot_meet_are_refused_by_all(room: Room, case: str) -> None:
    extension, match = EXTENSIONS[case]
    forger = Forger(room.members[0].group)
    refused(room, forger.commit([Proposal(GROUP_CONTEXT_EXTENSIONS, (extension,))]), match=match)


def test_default_types_need_not_be_listed_to_be_required(room: Room) -> None:
    asked = (3, required(extensions=(1, 2, 3, 4, 5), proposals=(1, 2, 3, 4, 5, 6, 7), credentials=(1,)))
    room.commit(room.members[1], extensions=[asked])
    assert room.members[0].group.extensions == (asked,)
    room.commit(room.members[2], extensions=[])
    assert room.members[0].group.extensions == ()


def test_a_newcomer_is_measured_by_the_extensions_of_the_same_commit(room: Room) -> None:
    made = with_leaf(new := room.newcomer(), capabilities=capable(package(new).leaf_node, extensions=()))
    items = [add(made), Proposal(GROUP_CONTEXT_EXTENSIONS, ((CHARTER, b"x"),))]
    refused(room, Forger(room.members[0].group).commit(items), match="extension that the group uses")


def test_the_extensions_of_a_commit_are_shown_before_it_is_applied(room: Room) -> None:
    pending = room.members[1].stage(extensions=[(CHARTER, b"new")])
    staged = room.members[2].staged(pending.commit)
    assert staged.extensions == ((CHARTER, b"new"),)
    assert room.members[2].group.extensions == ()
    assert staged.apply().extensions == ((CHARTER, b"new"),)


# 12.1.2, 7.3: Updates sent on their own


UPDATES: dict[str, tuple[Callable[[Device, Room], LeafNode], str]] = {
    "7.3: the old encryption key": (
        lambda who, room: fresh_update(who, encryption_key=key_of(room, who.leaf)),
        "old encryption key",
    ),
    "7.2: a leaf from a KeyPackage": (
        lambda who, room: fresh_update(who, source=(KEY_PACKAGE, Lifetime(0, 2**40))),
        "not meant for an Update",
    ),
    "7.2: a leaf from a Commit": (
        lambda who, room: fresh_update(who, source=(COMMIT, b"")),
        "not meant for an Up",
    ),
    "7.3: signed for another leaf": (
        lambda who, room: signed_leaf(
            fresh_update(who), suite_of(SUITE), who.group._state.signer, b"the group", who.leaf + 1
        ),
        "signature",
    ),
    "7.3: a key of small order": (lambda who, room: fresh_update(who, encryption_key=SMALL_ORDER), "small order"),
}


@pytest.mark.parametrize("case", UPDATES)
def test_an_invalid_update_is_refused_when_it_comes(room: Room, case: str) -> None:
    make, match = UPDATES[case]
    insider = room.members[0]
    message = Forger(insider.group).send(Proposal(UPDATE_PROPOSAL, make(insider, room)))
    refused(room, message, match=match)


def test_an_update_that_takes_another_members_key_is_refused_with_its_commit(room: Room) -> None:
    insider, committer = room.members[0], room.members[1]
    forger = Forger(insider.group)
    leaf = fresh_update(insider, encryption_key=key_of(room, 3))
    content = forger.sign(Proposal(UPDATE_PROPOSAL, leaf))
    message = forger.private(content)
    for device in room.members[1:]:
        device.receive(message)
    ref = content.proposal_ref(suite_of(SUITE))
    with pytest.raises(NotAcceptable, match="already in the tree"):
        committer.group.stage(proposals=[ref])
    forged = Forger(committer.group).commit([ref])
    for device in room.members[2:]:
        refused_by(device, forged.message, NotAcceptable, "already in the tree")
    room.commit(room.members[3])


def test_an_update_is_applied_to_the_leaf_of_its_author_and_not_of_the_committer(room: Room) -> None:
    author, committer = room.members[3], room.members[1]
    ref = update_of(room, author)
    old = {member.leaf: member.encryption_key for member in author.group.members}
    room.commit(committer, proposals=[ref])
    new = {member.leaf: member.encryption_key for member in author.group.members}
    assert {leaf for leaf in old if old[leaf] != new[leaf]} == {author.leaf, committer.leaf}
    room.talk(author)
    room.commit(author)


# A commit whose content is not what it says


def test_a_commit_that_parses_but_holds_an_unknown_proposal_type_changes_nothing(room: Room) -> None:
    insider, reader = room.members[:2]
    forger = Forger(insider.group)
    content = forger.sign(Proposal(REMOVE, 2))
    content.framed = content.framed[:-6] + b"\x12\x34" + content.framed[-4:]
    before = reader.group.records()
    with pytest.raises(ProtocolError, match="unknown proposal type"):
        reader.group.decrypt(forger.private(content))
    assert reader.group.records() == before


def test_every_forged_commit_stages_on_its_own_before_anything_is_believed(room: Room) -> None:
    """The control of this file: an honest commit by the same forger is staged, shown and applied."""
    forged = Forger(room.members[0].group).commit([Proposal(REMOVE, 3)])
    staged = room.members[1].staged(forged.message)
    assert isinstance(staged, StagedCommit)
    assert [member.leaf for member in staged.removed] == [3]
    assert staged.sender == 0
    assert not staged.own
