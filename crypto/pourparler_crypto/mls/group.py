"""A group as one member sees it in one epoch: send, receive, commit, and nothing observable on a bad message.

Three outcomes for what comes in. Not authentic: an error, and nothing has changed. Authentic but not acceptable:
an error that carries the used-up ratchet key as ``changes``. Acceptable: a result with its ``changes``; a commit
is only staged, and the caller's policy decides. The next epoch is another Group; this one is then forgotten.
Longer than 500 lines: it is the one surface of the library.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from pourparler_crypto.errors import (
    Malformed,
    NotAcceptable,
    NotAuthentic,
    OwnMessage,
    ProtocolError,
    UnprocessablePath,
    Unsupported,
    UsageError,
    WrongEpoch,
    WrongGroup,
)
from pourparler_crypto.mls.codec import vl, write_length
from pourparler_crypto.mls.commits import (
    CommitPlan,
    check_proposal,
    create_commit,
    process_commit,
)
from pourparler_crypto.mls.extensions import RATCHET_TREE, Extension, check_extension_list
from pourparler_crypto.mls.framing import (
    APPLICATION,
    PRIVATE_MESSAGE,
    PROPOSAL_CONTENT,
    PUBLIC_MESSAGE,
    REUSE_GUARD_LENGTH,
    AuthenticatedContent,
    membership_input,
    open_private,
    open_sender_data,
    ratchet_kind,
    read_header,
    read_private,
    read_public,
    seal_private,
    sign_application,
    sign_content,
    signature_input,
    signed_head,
)
from pourparler_crypto.mls.joining import create_state, join_state
from pourparler_crypto.mls.keypackages import KeyPackageBundle, check_key_package, read_key_package_message
from pourparler_crypto.mls.keyschedule import (
    APPLICATION as APPLICATION_PSK,
)
from pourparler_crypto.mls.keyschedule import EXTERNAL as EXTERNAL_PSK
from pourparler_crypto.mls.keyschedule import RESUMPTION, PskId, ResumptionId, export
from pourparler_crypto.mls.limits import MAX_PROPOSALS
from pourparler_crypto.mls.nodes import UPDATE as UPDATE_LEAF
from pourparler_crypto.mls.nodes import new_leaf, sign_leaf
from pourparler_crypto.mls.proposals import (
    ADD,
    ALLOWED_EXTERNAL,
    EXTERNAL,
    GROUP_CONTEXT_EXTENSIONS,
    MEMBER,
    PSK,
    REMOVE,
    UPDATE,
    Body,
    Proposal,
    ProposalBy,
)
from pourparler_crypto.mls.results import (
    ApplicationMessage,
    Member,
    PendingCommit,
    ReceivedProposal,
    StagedCommit,
)
from pourparler_crypto.mls.secrettree import APPLICATION as APPLICATION_RATCHET
from pourparler_crypto.mls.secrettree import HANDSHAKE, Changes
from pourparler_crypto.mls.state import EpochState, OwnUpdate, Records, update_record, write_own_update
from pourparler_crypto.mls.suites import labeled, suite_of
from pourparler_crypto.mls.tree import RatchetTree, require_member

Random = Callable[[int], bytes]
Padding = Callable[[int], int]  # from a message's length in bytes to the one it shall have
NO_PSKS: Mapping[bytes, bytes] = {}


class Group:
    """One epoch of a group. Not safe for use by two threads at once."""

    __slots__ = ("_head", "_signed_head", "_state")

    def __init__(self, state: EpochState) -> None:
        """Use create, join or load."""
        self._state = state
        self._head = vl(state.context.group_id) + state.context.epoch.to_bytes(8)
        self._signed_head = signed_head(PRIVATE_MESSAGE, self._head, state.own_leaf)

    # beginnings

    @classmethod
    def create(
        cls,
        suite: int,
        group_id: bytes,
        credential: bytes,
        *,
        extensions: Sequence[Extension] = (),
        extension_types: Iterable[int] = (),
        random: Random = os.urandom,
    ) -> "Group":
        """A new group of one, in epoch 0 (RFC 9420, 11).

        ``extensions`` are the group context's (type, data); ``extension_types`` those that the application
        understands besides the charter's. Raises UsageError.
        """
        return cls(create_state(suite, group_id, credential, extensions, extension_types, random))

    @classmethod
    def join(
        cls,
        bundle: KeyPackageBundle,
        welcome: bytes,
        *,
        ratchet_tree: bytes | None = None,
        psks: Mapping[bytes, bytes] = NO_PSKS,
        now: int | None = None,
    ) -> "Group":
        """Join by MLSMessage(Welcome) (RFC 9420, 12.4.3.1).

        ``ratchet_tree`` is needed when the Welcome does not hold it; ``psks`` are external PSKs by id; with
        ``now`` (Unix seconds) the lifetimes in the tree are judged too. That the group id is new to this device
        is the caller's to check, and so is erasing the bundle. Raises NotAcceptable, NotAuthentic, Malformed,
        UsageError.
        """
        return cls(join_state(bundle, welcome, ratchet_tree, psks, now))

    @classmethod
    def load(cls, records: Mapping[str, bytes]) -> "Group":
        """The reverse of records. Raises UsageError when they are damaged."""
        return cls(EpochState.load(records))

    def records(self) -> Records:
        """The whole state, secrets included, as flat records; equal states give equal records."""
        return self._state.records()

    # what it is

    @property
    def group_id(self) -> bytes:
        """The group's id."""
        return self._state.context.group_id

    @property
    def epoch(self) -> int:
        """The epoch's number."""
        return self._state.context.epoch

    @property
    def own_leaf(self) -> int:
        """This member's leaf index."""
        return self._state.own_leaf

    @property
    def suite(self) -> int:
        """The cipher suite's number."""
        return self._state.suite.number

    @property
    def epoch_authenticator(self) -> bytes:
        """Nh bytes that are equal for two members only if they agree on everything (RFC 9420, 8.7)."""
        return self._state.authenticator

    @property
    def extensions(self) -> tuple[Extension, ...]:
        """The group context's extensions as (type, data)."""
        return self._state.context.extensions

    @property
    def tree_hash(self) -> bytes:
        """The root's tree hash, Nh bytes."""
        return self._state.context.tree_hash

    @property
    def members(self) -> tuple[Member, ...]:
        """The members by rising leaf index."""
        return tuple(Member.of(index, leaf) for index, leaf in self._state.tree.members())

    def member(self, leaf: int) -> Member:
        """The member at a leaf index. Raises UsageError when there is none."""
        return Member.of(leaf, require_member(self._state.tree, leaf))

    def ratchet_tree(self) -> bytes:
        """The public tree, to go with a Welcome that does not hold it (RFC 9420, 12.4.3.3)."""
        return self._state.tree.to_bytes()

    def export(self, label: str, context: bytes, length: int) -> bytes:
        """MLS-Exporter (RFC 9420, 8.5): ``length`` bytes for a purpose outside MLS."""
        state = self._state
        return export(state.suite, state.exporter_secret, label.encode(), context, length)

    def sign(self, label: str, content: bytes) -> bytes:
        """SignWithLabel by this member's leaf key, for the application's own labels (RFC 9420, 5.1.2)."""
        return self._state.signer.sign(labeled(label.encode(), content))

    @property
    def signature_seed(self) -> bytes:
        """The private key of this member's leaf, 32 bytes: for who discloses it when it signs nothing any more."""
        return self._state.signer.private

    # sending

    def next_generation(self, *, handshake: bool = False) -> int:
        """The number of the key that seals what this member sends next: of `encrypt`, or of `stage`."""
        kind = HANDSHAKE if handshake else APPLICATION_RATCHET
        return self._state.secret_tree.find(self._state.own_leaf, kind).generation

    def encrypt(
        self,
        data: bytes,
        *,
        authenticated_data: bytes = b"",
        pad_to: int | Padding = 0,
        random: Random = os.urandom,
    ) -> tuple[bytes, Changes]:
        """Application data as MLSMessage(PrivateMessage), and the changes to save before it is sent.

        A message shorter than ``pad_to`` bytes (or than what ``pad_to`` makes of its length) is padded to exactly
        that (to one or two more where no length header fits). Raises UsageError.
        """
        signature, encoded = sign_application(
            self._state.signer, self._state.context.raw, self._signed_head, authenticated_data, data
        )
        plaintext = encoded + vl(signature)
        return self._seal(APPLICATION, authenticated_data, plaintext, pad_to, random)

    def _seal(
        self,
        content_type: int,
        authenticated_data: bytes,
        plaintext: bytes,
        pad_to: int | Padding,
        random: Random,
    ) -> tuple[bytes, Changes]:
        """Encrypt signed content with the next key of one's own ratchet, which is thereby used up."""
        state = self._state
        if pad_to:
            plaintext = plaintext.ljust(self._padded(len(plaintext), authenticated_data, pad_to), b"\x00")
        step = state.secret_tree.find(state.own_leaf, ratchet_kind(content_type))
        message = seal_private(
            state.sender_data,
            step,
            random(REUSE_GUARD_LENGTH),
            self._head,
            content_type,
            authenticated_data,
            plaintext,
        )
        return message, state.secret_tree.take(step)

    def _padded(self, length: int, authenticated_data: bytes, pad_to: int | Padding) -> int:
        """Bytes of plaintext that make a message as long as ``pad_to`` says."""
        # 4 MLSMessage header, 1 content type, 29 sealed sender data with its length
        before = 34 + len(self._head) + len(vl(authenticated_data))
        ciphertext = length + 16
        if callable(pad_to):
            pad_to = pad_to(before + len(write_length(ciphertext)) + ciphertext)
        # the ciphertext with its length header of 2 bytes, or of 4 from 0x4000 on
        room = pad_to - before
        return (room - 2 if room - 2 < 0x4000 else max(room - 4, 0x4000)) - 16

    # receiving

    def decrypt(
        self, message: bytes, *, psks: Mapping[bytes, bytes] = NO_PSKS, now: int | None = None
    ) -> ApplicationMessage | ReceivedProposal | StagedCommit:
        """Open an MLSMessage(PrivateMessage or PublicMessage) of this epoch.

        ``psks`` are external PSKs by id, for commits that use them; with ``now`` (Unix seconds) the lifetimes of
        added KeyPackages are judged too. Raises Malformed, NotAuthentic, WrongGroup, WrongEpoch, KeyUsed,
        TooFarAhead or OwnMessage when nothing has changed, and NotAcceptable (with ``changes``) when the message
        was authentic.
        """
        wire_format = read_header(message)
        if wire_format == PRIVATE_MESSAGE:
            content, changes, generation = self._open_private(message)
        elif wire_format == PUBLIC_MESSAGE:
            content, changes, generation = self._open_public(message), {}, None
        else:
            raise Malformed("not a message to a group")
        sender = content.sender[1]
        if content.content_type == APPLICATION and isinstance(content.content, bytes) and sender is not None:
            return ApplicationMessage(sender, content.content, content.authenticated_data, changes, generation)
        try:
            if content.content_type == PROPOSAL_CONTENT:
                return self._receive_proposal(content, changes, now)
            if sender is None:
                raise Unsupported("external commits are left out (docs/protocol.md)")
            following = process_commit(self._state, content, psks, now)
        except NotAcceptable as error:
            error.changes = changes
            if isinstance(error, UnprocessablePath) and error.seen is not None and sender is not None:
                data = content.authenticated_data
                error.commit = StagedCommit(self._state, error.seen, sender, False, data, changes, generation)
            raise
        except ProtocolError as error:
            raise NotAcceptable(f"an authentic message that is not acceptable: {error}", changes) from error
        return StagedCommit(self._state, following, sender, False, content.authenticated_data, changes, generation)

    def _check_place(self, group_id: bytes, epoch: int) -> None:
        context = self._state.context
        if group_id != context.group_id:
            raise WrongGroup("a message for another group")
        if epoch != context.epoch:
            raise WrongEpoch("a message of an earlier or later epoch", epoch)

    def _open_private(self, message: bytes) -> tuple[AuthenticatedContent, Changes, int]:
        state = self._state
        private = read_private(message, 4)
        self._check_place(private.group_id, private.epoch)
        leaf_index, generation, reuse_guard = open_sender_data(state.sender_data, private)
        leaf = state.tree.leaf(leaf_index)
        if leaf is None:
            raise NotAuthentic("a message from a leaf that is blank")
        # One's own leaf: a key already used is a replay (KeyUsed); an authentic message beyond it means that
        # another copy of this state has gone on.
        step = state.secret_tree.find(leaf_index, ratchet_kind(private.content_type), generation)
        content = open_private(state.suite, private, step, reuse_guard)
        leaf.verify(state.suite)(signature_input(content, state.context.raw), content.signature)
        if leaf_index == state.own_leaf:
            raise _own_message(content, generation)
        return content, state.secret_tree.take(step), generation

    def _open_public(self, message: bytes) -> AuthenticatedContent:
        state = self._state
        public = read_public(message, 4)
        content = public.content
        self._check_place(content.group_id, content.epoch)
        if content.content_type == APPLICATION:
            raise Malformed("application data in a PublicMessage (RFC 9420, 6)")
        kind, index = content.sender
        if kind == MEMBER and index is not None:
            leaf = state.tree.leaf(index)
            if leaf is None:
                raise NotAuthentic("a message from a leaf that is blank")
            tbm = membership_input(content, state.context.raw)
            state.suite.check_mac(state.membership_key, tbm, public.membership_tag, "membership tag")
            verify = leaf.verify(state.suite)
        elif kind == EXTERNAL and index is not None:
            senders = state.requirements.external_senders
            if index >= len(senders):
                raise NotAuthentic("a message from an external sender that the group does not list")
            proposal = content.content
            if not isinstance(proposal, Proposal) or proposal.kind not in ALLOWED_EXTERNAL:
                raise Malformed("not what an external sender may send (RFC 9420, 12.1.8)")
            verify = state.suite.load_verifier(senders[index].signature_key)
        else:
            raise Unsupported("external commits and proposals by newcomers are left out (docs/protocol.md)")
        verify(signature_input(content, state.context.raw), content.signature)
        # Only now: anyone can write this leaf's number on a message.
        if kind == MEMBER and index == state.own_leaf:
            raise _own_message(content, None)
        return content

    def _receive_proposal(
        self, content: AuthenticatedContent, changes: Changes, now: int | None
    ) -> ReceivedProposal:
        state = self._state
        if len(state.proposals) >= MAX_PROPOSALS:
            raise NotAcceptable(f"more than {MAX_PROPOSALS} proposals in one epoch")
        ref = content.proposal_ref(state.suite)
        if isinstance(content.content, Proposal):
            check_proposal(state, ProposalBy(content.content, content.sender, ref), now)
        changes = {**changes, **state.keep_proposal(ref, content)}
        kind, index = content.sender
        sender = index if kind == MEMBER else None
        return ReceivedProposal(sender, state.proposals[ref], ref, content.authenticated_data, changes)

    # committing

    def stage(
        self,
        *,
        add: Sequence[bytes] = (),
        remove: Sequence[int] = (),
        update: bool = True,
        new_signature_key: bool = False,
        extensions: Sequence[Extension] | None = None,
        psks: Mapping[bytes, bytes] = NO_PSKS,
        resumption_epochs: Sequence[int] = (),
        proposals: Sequence[bytes] = (),
        known_psks: Mapping[bytes, bytes] = NO_PSKS,
        authenticated_data: bytes = b"",
        pad_to: int | Padding = 0,
        tree_in_welcome: bool = False,
        random: Random = os.urandom,
        now: int | None = None,
    ) -> PendingCommit:
        """Make a commit. This group stays in its epoch; only the handshake key is used up, for good.

        ``add`` are MLSMessages with KeyPackages, ``remove`` leaf indices, ``extensions`` the group context's
        whole new list, ``psks`` external PSKs by id to be mixed in, ``resumption_epochs`` epochs whose
        resumption PSK is mixed in, ``proposals`` refs of proposals received in this epoch (``known_psks``: the
        external PSKs they name). Who adds gives ``now`` (Unix seconds), since an expired KeyPackage must not be
        used (RFC 9420, 7.3). Without ``update`` the path is left out where the RFC allows it; a new
        signature key needs one. Raises UsageError, or a ProtocolError when what came from others is not
        acceptable.
        """
        state = self._state
        suite = state.suite
        by_value: list[Proposal] = []
        if extensions is not None:
            by_value.append(_proposal(GROUP_CONTEXT_EXTENSIONS, check_extension_list(extensions)))
        if len(set(remove)) != len(remove):
            raise UsageError("a member to be removed is named twice")
        for index in remove:
            require_member(state.tree, index)
            if index == state.own_leaf:
                raise UsageError("a member cannot commit its own removal (RFC 9420, 12.2)")
            by_value.append(_proposal(REMOVE, index))
        by_value.extend(_proposal(ADD, read_key_package_message(package)) for package in add)
        for psk_id in psks:
            nonce = random(suite.hash_length)
            by_value.append(_proposal(PSK, PskId((EXTERNAL_PSK, psk_id), nonce)))
        for epoch in resumption_epochs:
            nonce = random(suite.hash_length)
            which = ResumptionId(APPLICATION_PSK, state.context.group_id, epoch)
            by_value.append(_proposal(PSK, PskId((RESUMPTION, which), nonce)))

        def in_welcome(tree: RatchetTree) -> tuple[Extension, ...]:
            return ((RATCHET_TREE, tree.to_bytes()),) if tree_in_welcome else ()

        plan = CommitPlan(
            by_value,
            tuple(proposals),
            update,
            suite.new_signer(random) if new_signature_key else None,
            authenticated_data,
            in_welcome,
        )
        created = create_commit(state, plan, {**known_psks, **psks}, random, now)
        commit, changes = self._send(created.content, pad_to, random)
        staged = StagedCommit(state, created.next, state.own_leaf, True, authenticated_data, changes)
        tree = created.next.change.tree
        beside = tree.to_bytes() if created.welcome is not None and not tree_in_welcome else None
        return PendingCommit(commit, created.welcome, beside, staged, changes)

    def _send(self, content: AuthenticatedContent, pad_to: int | Padding, random: Random) -> tuple[bytes, Changes]:
        # FramedContent ends with the encoded content, which is all that the wrapping needs of it.
        head = len(self._head) + 5 + len(vl(content.authenticated_data)) + 1
        plaintext = content.framed[head:] + content.auth
        return self._seal(content.content_type, content.authenticated_data, plaintext, pad_to, random)

    # proposing

    def propose_add(self, key_package: bytes) -> tuple[bytes, Changes]:
        """Propose to add the owner of an MLSMessage(KeyPackage). Raises what read_key_package raises."""
        package = read_key_package_message(key_package)
        check_key_package(package, self._state.suite, self._state.requirements)
        return self._propose(ADD, package)

    def propose_remove(self, leaf: int) -> tuple[bytes, Changes]:
        """Propose to remove the member at a leaf index, oneself included. Raises UsageError."""
        require_member(self._state.tree, leaf)
        return self._propose(REMOVE, leaf)

    def propose_extensions(self, extensions: Sequence[Extension]) -> tuple[bytes, Changes]:
        """Propose the group context's whole new list of extensions. Raises UsageError."""
        return self._propose(GROUP_CONTEXT_EXTENSIONS, check_extension_list(extensions))

    def propose_psk(self, psk_id: bytes, *, random: Random = os.urandom) -> tuple[bytes, Changes]:
        """Propose to mix in the external PSK with this id."""
        nonce = random(self._state.suite.hash_length)
        return self._propose(PSK, PskId((EXTERNAL_PSK, psk_id), nonce))

    def propose_update(
        self, *, new_signature_key: bool = False, random: Random = os.urandom
    ) -> tuple[bytes, Changes]:
        """Propose a new leaf of one's own, for someone else to commit."""
        state = self._state
        suite = state.suite
        private, public = suite.kem.generate(random)
        signer = suite.new_signer(random) if new_signature_key else state.signer
        old = require_member(state.tree, state.own_leaf)
        leaf = new_leaf(
            public, signer.public, old.credential, old.capabilities, (UPDATE_LEAF, None), old.extensions
        )
        sign_leaf(leaf, suite, signer, state.context.group_id, state.own_leaf)
        message, changes = self._propose(UPDATE, leaf, random=random)
        ref = next(bytes.fromhex(name[9:]) for name in changes if name.startswith("proposal/"))
        own = OwnUpdate(private, signer.private if new_signature_key else None)
        state.own_updates[ref] = own
        changes[update_record(ref)] = write_own_update(own)
        return message, changes

    def _propose(self, kind: int, body: Body, random: Random = os.urandom) -> tuple[bytes, Changes]:
        state = self._state
        content = sign_content(
            state.signer,
            state.context.raw,
            PRIVATE_MESSAGE,
            state.context.group_id,
            state.context.epoch,
            state.own_leaf,
            _proposal(kind, body),
        )
        message, changes = self._send(content, 0, random)
        changes.update(state.keep_proposal(content.proposal_ref(state.suite), content))
        return message, changes


def verify_signature(suite: int, public: bytes, label: str, content: bytes, signature: bytes) -> None:
    """Checks what `Group.sign` made with the leaf key ``public``. Raises NotAuthentic, Malformed, UsageError."""
    suite_of(suite).load_verifier(public)(labeled(label.encode(), content), signature)


def _own_message(content: AuthenticatedContent, generation: int | None) -> OwnMessage:
    handshake = content.content_type != APPLICATION
    data = content.content if isinstance(content.content, bytes) else content.authenticated_data
    return OwnMessage("a message of this leaf that this state has not sent", data, generation, handshake=handshake)


def _proposal(kind: int, body: Body) -> Proposal:
    return Proposal(kind, body)
