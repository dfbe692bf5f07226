"""Authentic garbage: an insider signs mangled bytes; whatever they are, the answer is one of our errors.

The dice are seeded, so that a failure comes back.
"""

import random
from dataclasses import replace

import pytest

from pourparler_crypto.errors import CryptoError, NotAcceptable, ProtocolError
from pourparler_crypto.mls import CHARTER, Group
from pourparler_crypto.mls.codec import vl
from pourparler_crypto.mls.forging import Forger, LooseTree, forge_welcome, package_of
from pourparler_crypto.mls.keyschedule import EXTERNAL, PskId
from pourparler_crypto.mls.proposals import ADD, GROUP_CONTEXT_EXTENSIONS, PSK, REMOVE, Proposal
from pourparler_crypto.mls.suites import labeled, suite_of
from pourparler_crypto.mls.tree import RatchetTree
from pourparler_crypto.testing import Room

SUITES = pytest.mark.parametrize("suite", [1, 2, 0xF07A])
PSKS = {b"known": b"secret"}
TIMES = 250


def mangled(data: bytes, dice: random.Random) -> bytes:
    """One to three small changes, which do not cancel out."""
    result = bytearray(data)
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(result))
        how = dice.randrange(6)
        if how == 0:
            result[at] ^= 1 << dice.randrange(8)
        elif how == 1:
            result[at] = dice.choice((0, 1, 2, 3, 0x3F, 0x40, 0x7F, 0x80, 0xFF))
        elif how == 2:
            del result[at : at + dice.randint(1, 8)]
        elif how == 3:
            result[at:at] = dice.randbytes(dice.randint(1, 8))
        elif how == 4:
            result[at : at + 4] = dice.randbytes(4)
        else:
            end = at + dice.randint(1, 40)
            result[at:at] = result[at:end]
        if not result:
            result = bytearray(1)
    return mangled(data, dice) if result == data else bytes(result)


@SUITES
def test_a_mangled_commit_signed_by_a_member_is_refused_and_costs_a_ratchet_at_most(suite: int) -> None:
    dice = random.Random(suite)
    room = Room(suite, 5, warm=True)
    insider, reader, *_ = room.members
    forger = Forger(insider.group)
    state = forger.state
    items = [
        Proposal(ADD, package_of(room.newcomer().bundle)),
        Proposal(REMOVE, 3),
        Proposal(PSK, PskId((EXTERNAL, b"known"), bytes(suite_of(suite).hash_length))),
        Proposal(GROUP_CONTEXT_EXTENSIONS, ((CHARTER, b"charter"),)),
    ]
    base = forger.commit(items, psks=lambda _: PSKS[b"known"]).content
    head = len(vl(b"the group")) + 8 + 5 + 1 + 1  # group id, epoch, sender, authenticated data, content type
    before = {
        name: value
        for name, value in reader.group.records().items()
        if not name.startswith(("ratchet/", "secret/"))
    }
    outcomes = set()
    for _ in range(TIMES):
        framed = base.framed[:head] + mangled(base.framed[head:], dice)
        content = replace(base, framed=framed)
        signature = state.signer.sign(labeled(b"FramedContentTBS", content.tbs(state.context.raw)))
        message = forger.private(replace(content, signature=signature))
        with pytest.raises(ProtocolError) as caught:
            reader.group.decrypt(message, psks=PSKS)
        outcomes.add(type(caught.value))
        if isinstance(caught.value, NotAcceptable):
            reader.save(caught.value.changes)
        assert reader.stored == reader.group.records()
    assert before.items() <= reader.stored.items()
    assert NotAcceptable in outcomes  # some got as far as the rules
    room.commit(room.members[2])


@SUITES
def test_a_mangled_proposal_signed_by_a_member_is_refused_or_harmless(suite: int) -> None:
    dice = random.Random(suite)
    room = Room(suite, 4, warm=True)
    insider, reader, *_ = room.members
    forger = Forger(insider.group)
    state = forger.state
    update = insider.propose(insider.group.propose_update())
    base = reader.group.decrypt(update).proposal.proposal  # type: ignore[union-attr]
    signed = forger.sign(base)
    head = len(signed.framed) - len(base.raw)
    for _ in range(TIMES):
        content = replace(signed, framed=signed.framed[:head] + mangled(base.raw, dice))
        signature = state.signer.sign(labeled(b"FramedContentTBS", content.tbs(state.context.raw)))
        try:
            reader.group.decrypt(forger.private(replace(content, signature=signature)))
        except ProtocolError:
            continue
    Group.load(reader.group.records())
    reader.stored = reader.group.records()
    insider.group = Group.load(insider.stored)
    room.commit(room.members[2])


@SUITES
def test_a_mangled_group_info_signed_by_a_member_is_refused(suite: int) -> None:
    dice = random.Random(suite)
    room = Room(suite, 4, warm=True)
    new = room.newcomer()
    signer = room.members[0].group._state.signer
    tree = LooseTree.of(room.members[0].group._state.tree)
    tree.add_leaf(package_of(new.bundle).leaf_node)
    package = package_of(new.bundle)

    def spoil(info: bytes) -> bytes:
        at = len(info) - len(vl(signer.sign(b"")))  # an Ed25519 signature has one length; ECDSA's differ by little
        part = mangled(info[:at], dice)
        return part + vl(signer.sign(labeled(b"GroupInfoTBS", part)))

    tree_bytes = tree.to_bytes()
    forged = forge_welcome(tree, b"the group", 0, signer, package)
    Group.join(new.bundle, forged.welcome, ratchet_tree=tree_bytes)
    for _ in range(TIMES):
        forged = forge_welcome(tree, b"the group", 0, signer, package, group_info=spoil)
        with pytest.raises(CryptoError):
            Group.join(new.bundle, forged.welcome, ratchet_tree=tree_bytes)


@SUITES
def test_a_mangled_tree_with_the_right_hash_and_secrets_is_refused(suite: int) -> None:
    dice = random.Random(suite)
    room = Room(suite, 5, warm=True)
    new = room.newcomer()
    signer = room.members[0].group._state.signer
    tree = LooseTree.of(room.members[0].group._state.tree)
    tree.add_leaf(package_of(new.bundle).leaf_node)
    good = tree.to_bytes()
    body = good[4:] if good[0] >= 0x80 else good[2:]
    parsed = 0
    while parsed < 60:
        altered = vl(mangled(body, dice))
        try:
            spoilt = LooseTree(suite_of(suite), list(RatchetTree.from_bytes(suite_of(suite), altered).nodes))
        except ProtocolError:
            continue
        parsed += 1
        if spoilt.to_bytes() == good:
            continue
        forged = forge_welcome(spoilt, b"the group", 0, signer, package_of(new.bundle))
        with pytest.raises(CryptoError):
            Group.join(new.bundle, forged.welcome, ratchet_tree=altered)


def test_random_bytes_are_no_message_welcome_or_key_package() -> None:
    dice = random.Random(5)
    room = Room(1, 2)
    reader = room.members[1]
    for _ in range(2000):
        data = b"\x00\x01\x00" + bytes((dice.randint(1, 5),)) + dice.randbytes(dice.randrange(80))
        with pytest.raises(ProtocolError):
            reader.group.decrypt(data)
        with pytest.raises(ProtocolError):
            Group.join(room.newcomer().bundle if dice.random() < 0.01 else reader.bundle, data)
    assert reader.group.records() == reader.stored
