"""Pairs of members of one group, to be timed: ours, and AWS's mls-rs through its wheel.

A pair is leaf 0 (who sends and commits) and leaf 1 (who receives) of a warm group: each parent node of its tree is
filled, because the members in the even leaves have committed once. Those others are always ours, so both pairs
work in the same tree. Every commit is applied by both members; bytes go in and out on both sides.
"""

import time
from collections.abc import Iterable

import mls_rs_uniffi as rs

from pourparler_crypto import mls

DAY = 24 * 3600


def bundle(suite: int, name: str) -> mls.KeyPackageBundle:
    """A KeyPackage that anyone may add today."""
    now = int(time.time())
    return mls.make_key_package(suite, name.encode(), lifetime=(now - DAY, now + 30 * DAY))


def bundles(suite: int, number: int) -> list[mls.KeyPackageBundle]:
    """So many of them."""
    return [bundle(suite, f"member {i}") for i in range(number)]


def step(group: mls.Group, commit: bytes) -> mls.Group:
    """Process and apply a commit."""
    staged = group.decrypt(commit)
    if not isinstance(staged, mls.StagedCommit):
        raise TypeError("not a commit")
    return staged.apply()


def warm_up(joined: Iterable[mls.Group]) -> list[bytes]:
    """Let each of these members commit in turn, from the same first epoch; returns the commits."""
    commits: list[bytes] = []
    for newcomer in joined:
        group = newcomer
        for commit in commits:
            group = step(group, commit)
        commits.append(group.stage().commit)
    return commits


class Ours:
    """Two members by the core under test."""

    def __init__(self, suite: int, others: list[mls.KeyPackageBundle]) -> None:
        """A warm group: its creator, and one member for each bundle."""
        self.suite = suite
        self.packages = [other.key_package for other in others]
        self.sender = self.create()
        pending = self.adding
        self.sender = pending.staged.apply()
        welcome, tree = pending.welcome, pending.ratchet_tree
        self.receiver = mls.Group.join(others[0], welcome, ratchet_tree=tree)
        for commit in warm_up(mls.Group.join(other, welcome, ratchet_tree=tree) for other in others[1::2]):
            self.sender, self.receiver = step(self.sender, commit), step(self.receiver, commit)
        self.receive_commit(self.commit())
        host = self.sender
        self.host = host.stage(remove=[max(member.leaf for member in host.members)]).staged.apply()

    def create(self) -> mls.Group:
        """Create a group and add everyone; returns the group, with the commit in ``adding``."""
        group = mls.Group.create(self.suite, b"a group of sixteen", b"creator")
        self.adding = group.stage(add=self.packages, update=False)
        return group

    def start_cold(self) -> None:
        """Between create and cold commit."""
        self.fresh = self.adding.staged.apply()

    def commit_cold(self) -> bytes:
        """Commit in a tree without parents."""
        return self.fresh.stage().commit

    def send(self, data: bytes) -> bytes:
        """One message."""
        return self.sender.encrypt(data)[0]

    def receive(self, message: bytes) -> None:
        """Read it."""
        self.receiver.decrypt(message)

    def commit(self) -> bytes:
        """Commit, and go on to the next epoch."""
        pending = self.sender.stage()
        self.sender = pending.staged.apply()
        return pending.commit

    def settle(self) -> None:
        """Nothing is left to do after commit."""

    def receive_commit(self, commit: bytes) -> None:
        """Process a commit, and go on."""
        self.receiver = step(self.receiver, commit)

    def add(self, package: bytes) -> bytes:
        """Add one member without a path."""
        pending = self.sender.stage(add=[package], update=False)
        self.sender = pending.staged.apply()
        return pending.commit

    def remove_newest(self) -> bytes:
        """Undo an add: back to the same warm tree."""
        newest = max(member.leaf for member in self.sender.members)
        pending = self.sender.stage(remove=[newest])
        self.sender = pending.staged.apply()
        return pending.commit

    def welcome(self, package: bytes) -> tuple[bytes, bytes]:
        """(Welcome, ratchet tree) into a warm group that has N members with the newcomer."""
        pending = self.host.stage(add=[package], update=False)
        if pending.welcome is None or pending.ratchet_tree is None:
            raise RuntimeError("no Welcome")
        return pending.welcome, pending.ratchet_tree

    def make_joiner(self) -> mls.KeyPackageBundle:
        """Someone to be added."""
        self.joiner = bundle(self.suite, "newcomer")
        return self.joiner

    def joiner_package(self) -> bytes:
        """Its KeyPackage."""
        return self.joiner.key_package

    def join(self, welcome: bytes, tree: bytes) -> None:
        """Join."""
        mls.Group.join(self.joiner, welcome, ratchet_tree=tree)


class Theirs:
    """The same by mls-rs. The names of methods mean the same."""

    def __init__(self, others: list[mls.KeyPackageBundle]) -> None:
        self.first, self.second = rs_client("creator"), rs_client("second")
        packages = [self.second.generate_key_package_message().to_bytes()]
        packages += [other.key_package for other in others[1:]]
        self.packages = packages
        self.sender = self.create()
        welcome, tree = self.adding.welcome_message, self.adding.ratchet_tree
        self.sender.process_incoming_message(self.adding.commit_message)
        self.receiver = self.second.join_group(tree, welcome).group
        joined = (mls.Group.join(other, welcome.to_bytes(), ratchet_tree=tree.bytes) for other in others[1::2])
        for commit in warm_up(joined):
            self.sender.process_incoming_message(rs.Message.from_bytes(commit))
            self.receive_commit(commit)
        commit = self.commit()
        self.settle()
        self.receive_commit(commit)

    def create(self) -> rs.Group:
        group = self.first.create_group(None)
        self.adding = group.add_members([rs.Message.from_bytes(package) for package in self.packages])
        self.fresh = group
        self.adding.commit_message.to_bytes()
        if self.adding.welcome_message is not None:
            self.adding.welcome_message.to_bytes()
        return group

    def start_cold(self) -> None:
        self.fresh.process_incoming_message(self.adding.commit_message)

    def commit_cold(self) -> bytes:
        return self.fresh.commit().commit_message.to_bytes()

    def send(self, data: bytes) -> bytes:
        return self.sender.encrypt_application_message(data).to_bytes()

    def receive(self, message: bytes) -> None:
        self.receiver.process_incoming_message(rs.Message.from_bytes(message))

    def commit(self) -> bytes:
        self.pending = self.sender.commit().commit_message
        return self.pending.to_bytes()

    def settle(self) -> None:
        """Apply one's own commit; not timed."""
        self.sender.process_incoming_message(self.pending)

    def receive_commit(self, commit: bytes) -> None:
        self.receiver.process_incoming_message(rs.Message.from_bytes(commit))

    def add(self, package: bytes) -> bytes:
        out = self.sender.add_members([rs.Message.from_bytes(package)])
        self.pending = out.commit_message
        out.welcome_message.to_bytes()
        return self.pending.to_bytes()

    def remove_newest(self) -> bytes:
        self.pending = self.sender.remove_members([self.joiner.signing_identity()]).commit_message
        return self.pending.to_bytes()

    def make_joiner(self) -> rs.Client:
        self.joiner = rs_client(f"newcomer {time.perf_counter_ns()}")
        self.package = self.joiner.generate_key_package_message().to_bytes()
        return self.joiner

    def joiner_package(self) -> bytes:
        return self.package

    def join(self, welcome: bytes, tree: bytes) -> None:
        self.joiner.join_group(rs.RatchetTree(bytes=tree), rs.Message.from_bytes(welcome))


def rs_client(name: str) -> rs.Client:
    """A client of mls-rs that sends the tree beside the Welcome, as ours does."""
    config = rs.client_config_default()
    config.use_ratchet_tree_extension = False
    keys = rs.generate_signature_keypair(rs.CipherSuite.CURVE25519_AES128)
    return rs.Client(id=name.encode(), signature_keypair=keys, client_config=config)
