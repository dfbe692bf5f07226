"""Everything a member holds in one epoch, and how it becomes flat records.

An EpochState is built whole from checked parts. While its epoch lasts only three things in it move: the secret
tree (a key is used up), the proposals received, and the keys of one's own Updates. Equal states give equal
records.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pourparler_crypto.errors import CryptoError, NotAcceptable, UsageError
from pourparler_crypto.mls.codec import OPAQUE, UINT8, UINT16, UINT32, struct, vector
from pourparler_crypto.mls.extensions import GroupRequirements, requirements_of
from pourparler_crypto.mls.framing import AuthenticatedContent, SenderDataKeys, read_authenticated_content
from pourparler_crypto.mls.keyschedule import (
    EXTERNAL,
    GROUP_CONTEXT,
    EpochSecrets,
    GroupContext,
    PskId,
    ResumptionId,
)
from pourparler_crypto.mls.limits import MAX_RESUMPTION_PSKS
from pourparler_crypto.mls.proposals import Proposal, ProposalBy
from pourparler_crypto.mls.secrettree import SecretTree
from pourparler_crypto.mls.suites import CipherSuite, Signer, suite_of
from pourparler_crypto.mls.tree import RatchetTree
from pourparler_crypto.mls.treekem import NodeKey

Records = dict[str, bytes]

_RECORDS_VERSION = 1


@dataclass(slots=True, repr=False)
class OwnUpdate:
    """The private keys of an Update that this member proposed; ``signature_private`` only if it is new."""

    encryption_private: bytes
    signature_private: bytes | None


@dataclass(slots=True, repr=False)
class EpochState:
    """A member's state in one epoch. Secrets have Nh bytes each."""

    suite: CipherSuite
    context: GroupContext
    tree: RatchetTree
    own_leaf: int
    signer: Signer
    keys: dict[int, NodeKey]  # private keys by node index
    interim_hash: bytes
    sender_data_secret: bytes
    exporter_secret: bytes
    membership_key: bytes
    authenticator: bytes
    init_secret: bytes
    secret_tree: SecretTree
    resumption_psks: dict[int, bytes]  # by epoch, this one included; at most MAX_RESUMPTION_PSKS
    requirements: GroupRequirements
    sender_data: SenderDataKeys
    proposals: dict[bytes, ProposalBy] = field(default_factory=dict)  # by ProposalRef
    proposal_bytes: dict[bytes, bytes] = field(default_factory=dict)  # their AuthenticatedContent
    own_updates: dict[bytes, OwnUpdate] = field(default_factory=dict)  # by ProposalRef

    @classmethod
    def begin(
        cls,
        context: GroupContext,
        tree: RatchetTree,
        own_leaf: int,
        signer: Signer,
        keys: dict[int, NodeKey],
        interim_hash: bytes,
        secrets: EpochSecrets,
        earlier_psks: Mapping[int, bytes],
        requirements: GroupRequirements,
    ) -> "EpochState":
        """The state at the start of an epoch. The secrets that have done their work are not taken over."""
        suite = tree.suite
        psks = {**earlier_psks, context.epoch: secrets.resumption}
        while len(psks) > MAX_RESUMPTION_PSKS:
            del psks[min(psks)]
        return cls(
            suite=suite,
            context=context,
            tree=tree,
            own_leaf=own_leaf,
            signer=signer,
            keys=keys,
            interim_hash=interim_hash,
            sender_data_secret=secrets.sender_data,
            exporter_secret=secrets.exporter,
            membership_key=secrets.membership,
            authenticator=secrets.authenticator,
            init_secret=secrets.init,
            secret_tree=SecretTree.start(suite, tree.leaves, secrets.encryption),
            resumption_psks=psks,
            requirements=requirements,
            sender_data=SenderDataKeys(suite, secrets.sender_data),
        )

    def find_psk(self, psk_id: PskId, external: Mapping[bytes, bytes]) -> bytes:
        """The PSK that an id names (RFC 9420, 8.4). Raises NotAcceptable when it is not at hand."""
        kind, which = psk_id.which
        found = None
        if kind == EXTERNAL and isinstance(which, bytes):
            found = external.get(which)
        elif isinstance(which, ResumptionId) and which.group_id == self.context.group_id:
            found = self.resumption_psks.get(which.epoch)
        if found is None:
            raise NotAcceptable("a pre-shared key that is not at hand")
        return found

    def keep_proposal(self, ref: bytes, content: AuthenticatedContent) -> Records:
        """Remember a proposal sent on its own; returns its record."""
        proposal = content.content
        if not isinstance(proposal, Proposal):
            raise UsageError("not a proposal")
        raw = content.raw
        self.proposals[ref] = ProposalBy(proposal, content.sender, ref)
        self.proposal_bytes[ref] = raw
        return {proposal_record(ref): raw}

    # records

    def records(self) -> Records:
        """The whole state as flat records."""
        header = _Header(
            _RECORDS_VERSION,
            self.suite.number,
            self.own_leaf,
            self.context.raw,
            self.interim_hash,
            self.sender_data_secret,
            self.exporter_secret,
            self.membership_key,
            self.authenticator,
            self.init_secret,
            self.signer.private,
        )
        result = {
            "epoch": _HEADER.write(header),
            "tree": self.tree.to_bytes(),
            "keys": _KEYS.write(tuple(_StoredKey(index, key.private) for index, key in sorted(self.keys.items()))),
            **self.secret_tree.records(),
        }
        result.update((f"psk/{epoch}", psk) for epoch, psk in self.resumption_psks.items())
        result.update((proposal_record(ref), raw) for ref, raw in self.proposal_bytes.items())
        result.update((update_record(ref), write_own_update(own)) for ref, own in self.own_updates.items())
        return dict(sorted(result.items()))

    @classmethod
    def load(cls, records: Mapping[str, bytes]) -> "EpochState":
        """The reverse of records. Raises UsageError when they are damaged or of another version."""
        try:
            return cls._load(records)
        except (CryptoError, KeyError, ValueError) as error:
            raise UsageError(f"damaged group records: {error}") from error

    @classmethod
    def _load(cls, records: Mapping[str, bytes]) -> "EpochState":
        header = _HEADER.decode(records["epoch"], "epoch record")
        if header.version != _RECORDS_VERSION:
            raise UsageError(f"group records of version {header.version}")
        suite = suite_of(header.suite)
        context = GROUP_CONTEXT.decode(header.context, "group context")
        tree = RatchetTree.from_bytes(suite, records["tree"])
        if tree.tree_hash() != context.tree_hash or tree.leaf(header.own_leaf) is None:
            raise UsageError("the tree does not belong to the epoch")
        keys = {}
        for stored in _KEYS.decode(records["keys"], "keys record"):
            node = tree.nodes[stored.node]
            if node is None:
                raise UsageError("a private key of a blank node")
            keys[stored.node] = NodeKey(stored.private, node.encryption_key)
        state = cls(
            suite=suite,
            context=context,
            tree=tree,
            own_leaf=header.own_leaf,
            signer=suite.signer(header.signature_private),
            keys=keys,
            interim_hash=header.interim_hash,
            sender_data_secret=header.sender_data_secret,
            exporter_secret=header.exporter_secret,
            membership_key=header.membership_key,
            authenticator=header.authenticator,
            init_secret=header.init_secret,
            secret_tree=SecretTree.load(suite, tree.leaves, records),
            resumption_psks={int(name[4:]): psk for name, psk in records.items() if name.startswith("psk/")},
            requirements=requirements_of(context.extensions),
            sender_data=SenderDataKeys(suite, header.sender_data_secret),
        )
        for name, value in records.items():
            if name.startswith("proposal/"):
                state.keep_proposal(bytes.fromhex(name[9:]), read_authenticated_content(value))
            elif name.startswith("update/"):
                own = _OWN_UPDATE.decode(value, "record of an Update")
                ref = bytes.fromhex(name[7:])
                state.own_updates[ref] = OwnUpdate(own.encryption_private, own.signature_private or None)
        return state


def proposal_record(ref: bytes) -> str:
    """Name of the record with a proposal."""
    return f"proposal/{ref.hex()}"


def update_record(ref: bytes) -> str:
    """Name of the record with the private keys of one's own Update."""
    return f"update/{ref.hex()}"


def write_own_update(own: OwnUpdate) -> bytes:
    """The private keys of one's own Update as a record."""
    return _OWN_UPDATE.write(OwnUpdate(own.encryption_private, own.signature_private or b""))


_OWN_UPDATE = struct(OwnUpdate, encryption_private=OPAQUE, signature_private=OPAQUE)


@dataclass(slots=True, repr=False)
class _Header:
    version: int
    suite: int
    own_leaf: int
    context: bytes
    interim_hash: bytes
    sender_data_secret: bytes
    exporter_secret: bytes
    membership_key: bytes
    authenticator: bytes
    init_secret: bytes
    signature_private: bytes


_HEADER = struct(
    _Header,
    version=UINT8,
    suite=UINT16,
    own_leaf=UINT32,
    context=OPAQUE,
    interim_hash=OPAQUE,
    sender_data_secret=OPAQUE,
    exporter_secret=OPAQUE,
    membership_key=OPAQUE,
    authenticator=OPAQUE,
    init_secret=OPAQUE,
    signature_private=OPAQUE,
)


@dataclass(slots=True, repr=False)
class _StoredKey:
    node: int
    private: bytes


_KEYS = vector(struct(_StoredKey, node=UINT32, private=OPAQUE))
