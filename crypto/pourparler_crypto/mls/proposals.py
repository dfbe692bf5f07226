"""Proposals (RFC 9420, 12.1) and the list that a commit covers (12.2): their forms and the rules of the list.

What a single proposal says is checked where it is applied, against the tree and the extensions it then meets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pourparler_crypto.errors import NotAcceptable, Unsupported
from pourparler_crypto.mls.codec import OPAQUE, UINT8, UINT16, UINT32, Codec, keeping_raw, struct, tagged
from pourparler_crypto.mls.extensions import EXTENSIONS, Extension
from pourparler_crypto.mls.keypackages import KEY_PACKAGE_CODEC, KeyPackage
from pourparler_crypto.mls.keyschedule import APPLICATION, PSK_ID, RESUMPTION, PskId, ResumptionId
from pourparler_crypto.mls.limits import MAX_PSKS
from pourparler_crypto.mls.nodes import LEAF_NODE, LeafNode
from pourparler_crypto.mls.suites import CipherSuite

# ProposalType
ADD = 0x0001
UPDATE = 0x0002
REMOVE = 0x0003
PSK = 0x0004
REINIT = 0x0005
EXTERNAL_INIT = 0x0006
GROUP_CONTEXT_EXTENSIONS = 0x0007

NAMES = {
    ADD: "add",
    UPDATE: "update",
    REMOVE: "remove",
    PSK: "psk",
    REINIT: "reinit",
    EXTERNAL_INIT: "external_init",
    GROUP_CONTEXT_EXTENSIONS: "group_context_extensions",
}

# Without a path they could not evict or heal (RFC 9420, 12.4).
PATH_REQUIRED = frozenset((UPDATE, REMOVE, EXTERNAL_INIT, GROUP_CONTEXT_EXTENSIONS))

# What a sender outside the group may propose (RFC 9420, 12.1.8).
ALLOWED_EXTERNAL = frozenset((ADD, REMOVE, PSK, REINIT, GROUP_CONTEXT_EXTENSIONS))

# SenderType
MEMBER = 1
EXTERNAL = 2
NEW_MEMBER_PROPOSAL = 3
NEW_MEMBER_COMMIT = 4

# In place of a committer's leaf index, where there is no committer yet.
NOBODY = -1

Sender = tuple[int, int | None]  # (sender_type, leaf index or index among the external senders)


@dataclass(slots=True, frozen=True)
class ReInit:
    """struct { opaque group_id<V>; ProtocolVersion version; CipherSuite; Extension extensions<V>; } ReInit;."""

    group_id: bytes
    version: int
    cipher_suite: int
    extensions: tuple[Extension, ...]


REINIT_CODEC = struct(ReInit, group_id=OPAQUE, version=UINT16, cipher_suite=UINT16, extensions=EXTENSIONS)

Body = KeyPackage | LeafNode | int | PskId | ReInit | bytes | tuple[Extension, ...]

# struct { ProposalType proposal_type; select (Proposal.proposal_type) { ... }; } Proposal;
CASES: dict[int, Codec[Any]] = {
    ADD: KEY_PACKAGE_CODEC,
    UPDATE: LEAF_NODE,
    REMOVE: UINT32,
    PSK: PSK_ID,
    REINIT: REINIT_CODEC,
    EXTERNAL_INIT: OPAQUE,
    GROUP_CONTEXT_EXTENSIONS: EXTENSIONS,
}


@dataclass(slots=True, eq=False)
class Proposal:
    """A proposal and the bytes it was read from."""

    kind: int
    body: Body
    raw: bytes = b""


_PROPOSAL = tagged(UINT16, CASES, "proposal type")


def _read_proposal(data: bytes, at: int) -> tuple[Proposal, int]:
    (kind, body), at = _PROPOSAL.read(data, at)
    return Proposal(kind, body), at


PROPOSAL = keeping_raw(Codec(_read_proposal, lambda value: _PROPOSAL.write((value.kind, value.body))))


@dataclass(slots=True, eq=False)
class ProposalBy:
    """A proposal with who made it; ``ref`` when it was sent on its own."""

    proposal: Proposal
    sender: Sender
    ref: bytes | None = None


# struct { ProposalOrRefType type; select (...) { case proposal: Proposal; case reference: ProposalRef; }; }
BY_VALUE = 1
BY_REFERENCE = 2
PROPOSAL_OR_REF = tagged(UINT8, {BY_VALUE: PROPOSAL, BY_REFERENCE: OPAQUE}, "ProposalOrRef type")


@dataclass(slots=True)
class ProposalList:
    """A commit's proposals by kind, in the order of the list; valid as a list."""

    all: tuple[ProposalBy, ...]
    adds: list[KeyPackage]
    updates: list[tuple[int, LeafNode]]  # (leaf index of the proposal's sender, its new leaf)
    removes: list[int]
    psks: list[PskId]
    extensions: tuple[Extension, ...] | None
    path_required: bool


def check_psk(psk: PskId, suite: CipherSuite) -> None:
    """A single PreSharedKey proposal (RFC 9420, 12.1.4)."""
    if len(psk.nonce) != suite.hash_length:
        raise NotAcceptable("a PSK nonce of the wrong length")
    which = psk.which[1]
    if psk.which[0] == RESUMPTION and isinstance(which, ResumptionId) and which.usage != APPLICATION:
        raise Unsupported("a resumption PSK for reinit or branch, outside of one")


def check_list(proposals: Sequence[ProposalBy], committer: int, suite: CipherSuite) -> ProposalList:
    """Validate the list of a regular commit (RFC 9420, 12.2) as far as it does not need the tree.

    Raises NotAcceptable, or Unsupported for a ReInit.
    """
    result = ProposalList(tuple(proposals), [], [], [], [], None, not proposals)
    touched: set[int] = set()
    psks_seen: set[PskId] = set()
    extensions_seen = False
    for item in proposals:
        kind, body = item.proposal.kind, item.proposal.body
        result.path_required |= kind in PATH_REQUIRED
        if item.sender[0] == EXTERNAL and kind not in ALLOWED_EXTERNAL:
            raise NotAcceptable("a proposal that no external sender may make")
        if kind == ADD and isinstance(body, KeyPackage):
            result.adds.append(body)
        elif kind == UPDATE and isinstance(body, LeafNode):
            author = item.sender[1]
            if item.sender[0] != MEMBER or author is None:
                raise NotAcceptable("an Update that does not come from a member")
            if author == committer:
                raise NotAcceptable("an Update of the committer itself")
            if author in touched:
                raise NotAcceptable("two Updates or Removes of one leaf")
            touched.add(author)
            result.updates.append((author, body))
        elif kind == REMOVE and isinstance(body, int):
            if body == committer:
                raise NotAcceptable("a Remove of the committer itself")
            if body in touched:
                raise NotAcceptable("two Updates or Removes of one leaf")
            touched.add(body)
            result.removes.append(body)
        elif kind == PSK and isinstance(body, PskId):
            check_psk(body, suite)
            if body in psks_seen:
                raise NotAcceptable("two proposals of the same PreSharedKeyID")
            psks_seen.add(body)
            if len(psks_seen) > MAX_PSKS:
                raise NotAcceptable(f"more than {MAX_PSKS} pre-shared keys")
            result.psks.append(body)
        elif kind == GROUP_CONTEXT_EXTENSIONS and isinstance(body, tuple):
            if extensions_seen:
                raise NotAcceptable("two GroupContextExtensions proposals")
            extensions_seen = True
            result.extensions = body
        elif kind == REINIT:
            raise Unsupported("reinitialization is left out (docs/protocol.md)")
        else:
            raise NotAcceptable("an ExternalInit in a regular commit")
    return result
