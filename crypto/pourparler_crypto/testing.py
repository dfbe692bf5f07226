"""Members of one MLS group on perfect wires, each with its state stored as records: what tests begin with.

A device saves the changes of every call before it goes on, as a real client does, and its stored records are
compared with the group's own again and again. No product code imports this module.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from pourparler_crypto.mls import (
    ApplicationMessage,
    Changes,
    Group,
    KeyPackageBundle,
    PendingCommit,
    ReceivedProposal,
    Records,
    StagedCommit,
    make_key_package,
)

LIFETIME = (0, 2**40)  # Unix seconds; wide, since most tests judge no time


def saved(records: Records, changes: Changes) -> Records:
    """The records after these changes."""
    result = dict(records)
    for name, value in changes.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = value
    return result


class Device:
    """A member and its store."""

    def __init__(self, name: str, suite: int, **options: Any) -> None:
        self.name = name
        self.suite = suite
        self.bundle: KeyPackageBundle = make_key_package(suite, name.encode(), lifetime=LIFETIME, **options)
        self.group: Group
        self.stored: Records = {}

    @property
    def leaf(self) -> int:
        """Its leaf index."""
        return self.group.own_leaf

    def enter(self, group: Group) -> None:
        """Begin a new epoch: all stored records are replaced."""
        self.group = group
        self.stored = group.records()

    def save(self, changes: Changes) -> None:
        """Store what changed, and check that this is all that changed."""
        self.stored = saved(self.stored, changes)
        if self.stored != self.group.records():
            raise AssertionError("the changes do not lead to the group's records")

    def reload(self) -> None:
        """Forget the group and load it from the store."""
        self.group = Group.load(self.stored)

    def send(self, data: bytes, **options: Any) -> bytes:
        """A message, saved before it is sent."""
        message, changes = self.group.encrypt(data, **options)
        self.save(changes)
        return message

    def receive(self, message: bytes, **options: Any) -> ApplicationMessage | ReceivedProposal | StagedCommit:
        """Anything, saved."""
        result = self.group.decrypt(message, **options)
        self.save(result.changes)
        return result

    def read(self, message: bytes) -> bytes:
        """An application message's data."""
        result = self.receive(message)
        if not isinstance(result, ApplicationMessage):
            raise TypeError("not an application message")
        return result.data

    def staged(self, commit: bytes, **options: Any) -> StagedCommit:
        """A commit, not yet applied."""
        result = self.receive(commit, **options)
        if not isinstance(result, StagedCommit):
            raise TypeError("not a commit")
        return result

    def stage(self, **options: Any) -> PendingCommit:
        """A commit of its own, not yet applied."""
        pending = self.group.stage(**options)
        self.save(pending.changes)
        return pending

    def propose(self, proposed: tuple[bytes, Changes]) -> bytes:
        """Save what a propose_… method returned; gives the message."""
        message, changes = proposed
        self.save(changes)
        return message


class Room:
    """Everyone in the group, agreeing."""

    def __init__(self, suite: int, size: int = 1, *, warm: bool = False, **options: Any) -> None:
        """A group of ``size``; ``warm``: everyone has committed once. Options go to Group.create."""
        self.suite = suite
        self.count = 1
        first = Device("0", suite)
        first.enter(Group.create(suite, b"the group", b"0", **options))
        self.members = [first]
        if size > 1:
            types = options.get("extension_types", ())
            self.commit(first, add=[self.newcomer(extension_types=types) for _ in range(size - 1)])
        if warm:
            for member in list(self.members):
                self.commit(member)

    def newcomer(self, **options: Any) -> Device:
        """Someone with a KeyPackage."""
        device = Device(str(self.count), self.suite, **options)
        self.count += 1
        return device

    def others(self, *but: Device) -> list[Device]:
        """Everyone except these."""
        return [member for member in self.members if member not in but]

    def deliver(self, commit: bytes, to: Iterable[Device], **options: Any) -> list[Device]:
        """Apply a commit on these devices; returns whom it removed."""
        removed = []
        for device in to:
            staged = device.staged(commit, **options)
            if staged.removes_me:
                removed.append(device)
            else:
                device.enter(staged.apply())
        self.members = [member for member in self.members if member not in removed]
        return removed

    def commit(
        self,
        by: Device,
        *,
        add: Sequence[Device] = (),
        remove: Sequence[Device] = (),
        psks: dict[bytes, bytes] | None = None,
        **options: Any,
    ) -> list[Device]:
        """Stage, deliver, apply, welcome; returns whom the commit removed. All agree afterwards."""
        pending = by.stage(
            add=[device.bundle.key_package for device in add],
            remove=[device.leaf for device in remove],
            psks=psks or {},
            **options,
        )
        known = {**(psks or {}), **options.get("known_psks", {})}
        removed = self.deliver(pending.commit, self.others(by), psks=known)
        by.enter(pending.staged.apply())
        for device in add:
            if pending.welcome is None:
                raise AssertionError("no Welcome")
            tree = pending.ratchet_tree
            device.enter(Group.join(device.bundle, pending.welcome, ratchet_tree=tree, psks=known))
            self.members.append(device)
        self.agree()
        return removed

    def agree(self) -> None:
        """Everyone is in the same epoch with the same secrets and the same tree."""
        views = {
            (
                member.group.epoch,
                member.group.epoch_authenticator,
                member.group.export("agree", b"", 32),
                member.group.tree_hash,
                member.group.ratchet_tree(),
            )
            for member in self.members
        }
        if len(views) != 1:
            raise AssertionError("the members disagree")

    def talk(self, sender: Device, data: bytes = b"hello") -> None:
        """One message that everyone reads."""
        message = sender.send(data)
        for reader in self.others(sender):
            if reader.read(message) != data:
                raise AssertionError("another text was read than was sent")
