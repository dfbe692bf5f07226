"""What the core hands back: decisions for the caller, and what each call changed in the records.

Whoever gets a result saves its ``changes`` before doing anything else: the message's key is used up. A staged
commit changes nothing but that, until it is applied.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pourparler_crypto.errors import RemovedFromGroup
from pourparler_crypto.mls.commits import NextEpoch
from pourparler_crypto.mls.extensions import Extension
from pourparler_crypto.mls.keyschedule import PskId, export
from pourparler_crypto.mls.nodes import LeafNode
from pourparler_crypto.mls.proposals import ProposalBy
from pourparler_crypto.mls.secrettree import Changes
from pourparler_crypto.mls.state import EpochState

if TYPE_CHECKING:
    from pourparler_crypto.mls.group import Group


class Member(NamedTuple):
    """A member as its leaf shows it."""

    leaf: int  # leaf index
    credential: bytes  # the identity of its basic credential
    signature_key: bytes
    encryption_key: bytes

    @classmethod
    def of(cls, index: int, leaf: LeafNode) -> "Member":
        """The member at a leaf index."""
        return cls(index, leaf.identity, leaf.signature_key, leaf.encryption_key)


@dataclass(slots=True, repr=False)
class ApplicationMessage:
    """Application data from a member."""

    sender: int  # leaf index
    data: bytes
    authenticated_data: bytes
    changes: Changes
    generation: int | None = None  # of the key under which it came


@dataclass(slots=True)
class ReceivedProposal:
    """A proposal sent on its own, kept for a commit that refers to it."""

    sender: int | None  # leaf index; None for an external sender
    proposal: ProposalBy
    ref: bytes  # ProposalRef, Nh bytes
    authenticated_data: bytes
    changes: Changes


class StagedCommit:
    """A commit that passed every check of RFC 9420 and waits for the caller's decision.

    ``sender`` is a leaf index, ``epoch`` the new one, ``generation`` of the key under which it came, None for one's
    own and for a PublicMessage. To refuse it is to drop it, after saving ``changes``.
    """

    __slots__ = (
        "_added",
        "_group",
        "_next",
        "_removed",
        "_updated",
        "authenticated_data",
        "changes",
        "epoch",
        "extensions",
        "generation",
        "has_path",
        "own",
        "proposals",
        "psks",
        "removes_me",
        "sender",
    )

    def __init__(
        self,
        old: EpochState,
        following: NextEpoch,
        sender: int,
        own: bool,
        authenticated_data: bytes,
        changes: Changes,
        generation: int | None = None,
    ) -> None:
        """Made by Group.decrypt and Group.stage."""
        change = following.change
        proposals = change.proposals
        self._next = following
        self._group: Group | None = None
        self.sender = sender
        self.own = own
        self.generation = generation
        self.epoch = old.context.epoch + 1
        self.authenticated_data = authenticated_data
        self.changes = changes
        self.proposals: tuple[ProposalBy, ...] = proposals.all
        self.psks: tuple[PskId, ...] = tuple(proposals.psks)
        self.has_path = change.path_leaf is not None
        self.extensions: tuple[Extension, ...] | None = proposals.extensions
        self.removes_me = following.state is None
        self._added = tuple(zip(change.added, proposals.adds, strict=True))
        self._removed = tuple((index, old.tree.leaf(index)) for index in proposals.removes)
        self._updated = tuple(proposals.updates)
        if change.path_leaf is not None:
            self._updated += ((sender, change.path_leaf),)

    @property
    def added(self) -> tuple[Member, ...]:
        """Who comes in, in the order of the commit."""
        return tuple(Member.of(index, package.leaf_node) for index, package in self._added)

    @property
    def removed(self) -> tuple[Member, ...]:
        """Who goes, as they were."""
        return tuple(Member.of(index, leaf) for index, leaf in self._removed if leaf is not None)

    @property
    def updated(self) -> tuple[Member, ...]:
        """Who has a new leaf, as they will be; the committer too if the commit has a path."""
        return tuple(Member.of(index, leaf) for index, leaf in self._updated)

    def apply(self) -> "Group":
        """The group of the new epoch; the old one stays as it is. Each call gives the same object.

        Raises RemovedFromGroup when the commit removes this device.
        """
        from pourparler_crypto.mls.group import Group  # noqa: PLC0415 -- the two refer to each other

        if self._next.state is None:
            raise RemovedFromGroup("this commit removes this device from the group")
        if self._group is None:
            self._group = Group(self._next.state)
        return self._group

    def export_from_next(self, label: str, context: bytes, length: int) -> bytes:
        """MLS-Exporter in the new epoch, before it is applied. Raises RemovedFromGroup."""
        state = self._next.state
        if state is None:
            raise RemovedFromGroup("this commit removes this device from the group")
        return export(state.suite, state.exporter_secret, label.encode(), context, length)


@dataclass(slots=True)
class PendingCommit:
    """A commit of one's own, to be sent. ``changes`` are of the old epoch and are saved first, whatever follows.

    The Welcome goes out only once the commit was accepted, together with ``ratchet_tree`` if that is not None.
    """

    commit: bytes  # MLSMessage(PrivateMessage)
    welcome: bytes | None  # MLSMessage(Welcome)
    ratchet_tree: bytes | None
    staged: StagedCommit
    changes: Changes
