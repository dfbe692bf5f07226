"""Our client and AWS's mls-rs, through its wheel, are members of one group and do to each other all that MLS can.

The wheel has suite 1 only, and neither Updates by reference, PSKs nor group context extensions.
"""

import random
import time
from collections.abc import Sequence

import pytest

from pourparler_crypto import mls
from pourparler_crypto.errors import CryptoError, RemovedFromGroup

rs = pytest.importorskip("mls_rs_uniffi", reason="the development dependency agentvault-mls-rs-uniffi is missing")

SUITE = mls.SUITE_X25519_AES128
LABEL, CONTEXT = "interop", b"context"


class Ours:
    """A member by our core."""

    def __init__(self, name: str) -> None:
        self.name = name
        now = int(time.time())
        self.bundle = mls.make_key_package(SUITE, name.encode(), lifetime=(now - 3600, now + 24 * 3600))
        self.package = self.bundle.key_package
        self.removed = False

    def create(self) -> None:
        self.group = mls.Group.create(SUITE, b"mixed group", self.name.encode())

    def join(self, welcome: bytes, tree: bytes | None) -> None:
        self.group = mls.Group.join(self.bundle, welcome, ratchet_tree=tree, now=int(time.time()))

    def send(self, data: bytes) -> bytes:
        return self.group.encrypt(data)[0]

    def read(self, message: bytes) -> bytes:
        result = self.group.decrypt(message)
        assert isinstance(result, mls.ApplicationMessage)
        return result.data

    def leaf_of(self, name: str) -> int:
        return next(member.leaf for member in self.group.members if member.credential == name.encode())

    def commit(
        self,
        add: Sequence["Ours | Theirs"] = (),
        remove: Sequence["Ours | Theirs"] = (),
        beside: bool = True,
        refs: Sequence[bytes] = (),
    ) -> tuple[bytes, bytes | None, bytes | None]:
        pending = self.group.stage(
            add=[member.package for member in add],
            remove=[self.leaf_of(member.name) for member in remove],
            proposals=refs,
            tree_in_welcome=not beside,
        )
        self.pending = pending
        return pending.commit, pending.welcome, pending.ratchet_tree

    def accepted(self) -> None:
        self.group = self.pending.staged.apply()

    def follow(self, commit: bytes) -> None:
        staged = self.group.decrypt(commit)
        assert isinstance(staged, mls.StagedCommit)
        if staged.removes_me:
            self.removed = True
            with pytest.raises(RemovedFromGroup):
                staged.apply()
        else:
            self.group = staged.apply()

    def exported(self) -> bytes:
        return self.group.export(LABEL, CONTEXT, 32)


class Theirs:
    """A member by mls-rs."""

    def __init__(self, name: str, beside: bool = True) -> None:
        self.name = name
        config = rs.client_config_default()
        config.use_ratchet_tree_extension = not beside
        keys = rs.generate_signature_keypair(rs.CipherSuite.CURVE25519_AES128)
        self.client = rs.Client(id=name.encode(), signature_keypair=keys, client_config=config)
        self.package = self.client.generate_key_package_message().to_bytes()
        self.removed = False
        self.identities: dict[str, object] = {}

    def create(self) -> None:
        self.group = self.client.create_group(b"mixed group")

    def join(self, welcome: bytes, tree: bytes | None) -> None:
        given = None if tree is None else rs.RatchetTree(bytes=tree)
        self.group = self.client.join_group(given, rs.Message.from_bytes(welcome)).group

    def send(self, data: bytes) -> bytes:
        return self.group.encrypt_application_message(data).to_bytes()

    def process(self, message: bytes) -> object:
        return self.group.process_incoming_message(rs.Message.from_bytes(message))

    def read(self, message: bytes) -> bytes:
        result = self.process(message)
        assert result.is_application_message()
        self.last_sender = result.sender
        return result.data

    def commit(
        self,
        add: Sequence["Ours | Theirs"] = (),
        remove: Sequence["Ours | Theirs"] = (),
    ) -> tuple[bytes, bytes | None, bytes | None]:
        if add:
            out = self.group.add_members([rs.Message.from_bytes(member.package) for member in add])
        elif remove:
            out = self.group.remove_members([self.identities[member.name] for member in remove])
        else:
            out = self.group.commit()
        self.pending = out.commit_message
        welcome = None if out.welcome_message is None else out.welcome_message.to_bytes()
        tree = None if out.ratchet_tree is None else out.ratchet_tree.bytes
        return out.commit_message.to_bytes(), welcome, tree

    def accepted(self) -> None:
        self.group.process_incoming_message(self.pending)

    def follow(self, commit: bytes) -> None:
        result = self.process(commit)
        assert result.is_commit()
        self.removed = result.effect.is_removed()

    def exported(self) -> bytes:
        return self.group.export_secret(LABEL.encode(), CONTEXT, 32)


Member = Ours | Theirs


class Room:
    """The members, and a service that hands each what the others send."""

    def __init__(self, creator: Member) -> None:
        creator.create()
        self.members = [creator]

    def agree(self) -> None:
        assert len({member.exported() for member in self.members}) == 1

    def talk(self) -> None:
        for sender in self.members:
            message = sender.send(f"from {sender.name}".encode())
            for reader in self.members:
                if reader is not sender:
                    assert reader.read(message) == f"from {sender.name}".encode()
                    if isinstance(reader, Theirs):
                        reader.identities[sender.name] = reader.last_sender

    def commit(
        self, by: Member, add: Sequence[Member] = (), remove: Sequence[Member] = (), **options: object
    ) -> None:
        commit, welcome, tree = by.commit(add=add, remove=remove, **options)  # type: ignore[arg-type]
        for member in self.members:
            if member is not by:
                member.follow(commit)
        by.accepted()
        for newcomer in add:
            assert welcome is not None
            newcomer.join(welcome, tree)
        self.members = [member for member in self.members if member not in remove] + list(add)
        assert all(member.removed for member in remove)
        self.agree()


@pytest.mark.parametrize("beside", [True, False], ids=["tree beside the Welcome", "tree in the Welcome"])
def test_they_create_and_we_join_talk_and_update(beside: bool) -> None:
    room = Room(theirs := Theirs("theirs", beside))
    room.commit(theirs, add=[ours := Ours("ours")])
    room.talk()
    for by in (ours, theirs, ours, ours, theirs):
        room.commit(by)
        room.talk()


@pytest.mark.parametrize("beside", [True, False], ids=["tree beside the Welcome", "tree in the Welcome"])
def test_we_create_and_they_join_talk_and_update(beside: bool) -> None:
    room = Room(ours := Ours("ours"))
    room.commit(ours, add=[theirs := Theirs("theirs")], beside=beside)
    room.talk()
    for by in (theirs, ours, theirs, theirs, ours):
        room.commit(by)
        room.talk()


def test_we_remove_them_and_they_learn_that_they_are_out() -> None:
    room = Room(ours := Ours("ours"))
    gone, stays = Theirs("gone"), Theirs("stays")
    room.commit(ours, add=[gone, stays])
    room.talk()
    room.commit(ours, remove=[gone])
    message = ours.send(b"without them")
    assert stays.read(message) == b"without them"
    with pytest.raises(rs.Error):
        gone.read(message)


def test_they_remove_us_and_we_learn_that_we_are_out() -> None:
    room = Room(theirs := Theirs("theirs"))
    gone, stays = Ours("gone"), Ours("stays")
    room.commit(theirs, add=[gone, stays])
    room.talk()  # the wheel names whom it removes by a sender it has heard
    room.commit(theirs, remove=[gone])
    message = theirs.send(b"without us")
    assert stays.read(message) == b"without us"
    with pytest.raises(CryptoError):
        gone.read(message)


def test_the_removed_come_back_with_a_new_key_package() -> None:
    room = Room(ours := Ours("ours"))
    room.commit(ours, add=[theirs := Theirs("theirs"), second := Ours("second")])
    room.talk()
    room.commit(theirs, remove=[second])
    room.commit(theirs, add=[Ours("second")])
    room.talk()
    room.commit(ours, remove=[theirs])
    room.commit(ours, add=[Theirs("theirs")])
    room.talk()


def test_each_reads_the_other_out_of_order() -> None:
    room = Room(ours := Ours("ours"))
    room.commit(ours, add=[theirs := Theirs("theirs")])
    for sender, reader in ((ours, theirs), (theirs, ours)):
        messages = [sender.send(bytes([number])) for number in range(8)]
        for number in (3, 0, 7, 1, 6, 2, 5, 4):
            assert reader.read(messages[number]) == bytes([number])


def test_proposals_by_reference_are_understood_both_ways() -> None:
    room = Room(ours := Ours("ours"))
    room.commit(ours, add=[theirs := Theirs("theirs")])

    newcomer = Ours("newcomer")
    (proposal,) = theirs.group.propose_add_members([rs.Message.from_bytes(newcomer.package)])
    received = ours.group.decrypt(proposal.to_bytes())
    assert isinstance(received, mls.ReceivedProposal)
    commit, welcome, tree = ours.commit(refs=[received.ref])
    theirs.follow(commit)
    ours.accepted()
    assert welcome is not None
    newcomer.join(welcome, tree)
    room.members.append(newcomer)
    room.agree()

    other = Theirs("other")
    proposal, _ = ours.group.propose_add(other.package)
    assert theirs.process(proposal).is_received_proposal()
    assert isinstance(newcomer.group.decrypt(proposal), mls.ReceivedProposal)
    commit, welcome, tree = theirs.commit()
    for member in (ours, newcomer):
        member.follow(commit)
    theirs.accepted()
    assert welcome is not None
    other.join(welcome, tree)
    room.members.append(other)
    room.agree()

    proposal, _ = ours.group.propose_update(new_signature_key=True)
    for member in (theirs, other):
        assert member.process(proposal).is_received_proposal()
    newcomer.group.decrypt(proposal)
    commit, _, _ = theirs.commit()
    for member in (ours, newcomer, other):
        member.follow(commit)
    theirs.accepted()
    room.agree()
    room.talk()


@pytest.mark.parametrize("seed", range(4))
def test_a_mixed_group_agrees_through_a_random_history(seed: int) -> None:
    dice = random.Random(seed)
    creator: Member = Ours("0") if seed % 2 else Theirs("0")
    room = Room(creator)
    number = 1
    for _ in range(30):
        by = dice.choice(room.members)
        others = [member for member in room.members if member is not by]
        act = dice.choice(("add", "add", "remove", "update", "update"))
        if act == "add" and len(room.members) < 10:
            kinds = dice.choices((Ours, Theirs), k=dice.randint(1, 3))
            room.commit(by, add=[kind(str(number + i)) for i, kind in enumerate(kinds)])
            number += len(kinds)
        elif act == "remove" and len(others) > 1:
            room.talk()
            room.commit(by, remove=dice.sample(others, dice.randint(1, 2)))
        else:
            room.commit(by)
    room.talk()
