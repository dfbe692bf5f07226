"""A channel's log folded into this device's state, and what this device adds to it. No network here.

1. Each step is one transaction of the vault: ratchet state, outbox and cursor change together or not at all.
2. An entry is saved before it is sent, and resent byte for byte; sealed anew only after a definite refusal.
3. One's own entry takes effect at its place in the log, like everybody's.
4. An entry is void only for what every member can check; what this device alone sees (a fork, an old copy, a path
   that only it cannot process) raises an alarm or halts.

DESIGN 3 (laws of the fold), 4.1. Longer than most files: folding and sealing move one state under one rule of
transactions, and would each need the other's inside.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from pourparler_crypto.card import check_digits
from pourparler_crypto.errors import (
    NotAcceptable,
    OwnMessage,
    ProtocolError,
    TooFarAhead,
    UnprocessablePath,
    WrongEpoch,
)
from pourparler_crypto.mls import ApplicationMessage, Group, ReceivedProposal, StagedCommit
from pourparler_crypto.mls.proposals import NAMES
from pourparler_crypto.stamp import EXPORT_LABEL, KEY_LENGTH, open_stamp, seal_stamp
from pourparler_policies import admission, payload, wire
from pourparler_policies.admission import Member
from pourparler_policies.chain import extend
from pourparler_policies.errors import Fork, Unknown, Void
from pourparler_policies.limits import BUCKETS
from pourparler_policies.payload import Envelope, Leaving, Said, Seated
from pourparler_policies.terms import Terms

from .errors import Halted, UserError
from .store import ChannelStore, Draft, Message, Outgoing, Row, State
from .vault import Vault

Clock = Callable[[], int]  # Unix seconds

OLD_COPY = (
    "this vault is an older copy: another copy of it has been used since. Nothing more is sent from here; "
    "use the newer copy, or clear this one and ask to be seated again"
)
SET_BACK = (
    "the service has lost entries that it had accepted (restored from a backup?). Nothing more is sent from here; "
    "ask the others what they see, and the operator what happened"
)
FORKED = (
    "the service shows you another course of events than it shows others. Nothing more is sent from here; compare "
    "the channel's digits (`pourparler who`) with the others by voice"
)
UNPROCESSABLE = (
    "a change of the channel's keys cannot be opened on this device, though others may open it. "
    "Ask to be seated again"
)
TOO_FAR = (
    "a member has sent more than this device can catch up with in one epoch, and others may have read it. "
    "Ask to be seated again"
)
RESTORED = (
    "the service was restored from a backup: messages may be missing here that others have. Ask them what they "
    "see, then go on with `pourparler resume`"
)
UNKNOWN = "the channel holds something that this version of Pourparler does not know: update it, then go on"


@dataclass(frozen=True, slots=True)
class Happening:
    """Something for the person: `kind` is said, seated, left, removed, closed, alarm or halted."""

    kind: str
    seq: int = 0
    message: Message | None = None
    member: Member | None = None
    text: str = ""


def bucket_for(size: int) -> int:
    """The smallest bucket (bytes) that holds `size`. Raises UserError beyond the largest."""
    for bucket in BUCKETS:
        if size <= bucket:
            return bucket
    raise UserError("this is too large to be sent")


class Log:
    """One channel in the vault. `group` and the rest mirror the vault; a failed step reads them anew."""

    def __init__(self, vault: Vault, channel: bytes, clock: Clock) -> None:
        self.vault = vault
        self.clock = clock
        self.store = ChannelStore(vault, channel)
        self.delivered: set[int] = set()  # drafts that the log was seen to hold, since this object was made
        self._reload()

    def _reload(self) -> None:
        row = self.store.row()
        if row is None:
            raise UserError("this channel is not in the vault")
        self.row: Row = row
        self.terms = Terms.decode(row.terms)
        self.chain = self.store.chain()
        self.members = self.store.members()
        self._group: Group | None = None

    @property
    def group(self) -> Group:
        """The MLS group as of `row.cursor`."""
        if self._group is None:
            self._group = Group.load(self.store.records())
        return self._group

    @contextmanager
    def step(self) -> Iterator[None]:
        """One transaction; memory follows the vault whatever happens."""
        try:
            with self.vault.transaction():
                yield
                self.store.save(self.row)
        except BaseException:
            self._reload_quietly()
            raise

    def _reload_quietly(self) -> None:
        # The channel may just have been erased by the step that failed to say so; then nothing is left to mirror.
        if self.store.row() is not None:
            self._reload()

    # Folding

    def fold(self, entries: list[wire.Entry]) -> list[Happening]:
        """Folds entries in the log's order, in one transaction. Entries at or before the cursor are skipped."""
        happened: list[Happening] = []
        with self.step():
            for entry in entries:
                if self.row.state not in (State.OPEN, State.ALARM):
                    break
                if entry.seq > self.row.cursor:
                    happened += self._fold_one(entry)
        if any(entry.handshake for entry in entries):
            self.vault.empty_journal()  # the ended epoch's keys must not stay in it
        return happened

    def _fold_one(self, entry: wire.Entry) -> list[Happening]:
        row = self.row
        happened: list[Happening] = []
        if entry.received_at < row.received_at:
            happened += self.alarm(FORKED)
        outgoing = self.store.outgoing()
        if outgoing is not None and outgoing.entry == entry.entry:
            happened += self._fold_own(entry, outgoing)
        else:
            happened += self._fold_other(entry)
        if row.state is State.HALTED:
            return happened
        # An ending has erased the chain with the rest.
        if entry.handshake and row.state in (State.OPEN, State.ALARM):
            value = extend(
                self.chain.head,
                seq=entry.seq,
                entry=entry.entry,
                received_at=entry.received_at,
                handshake=entry.handshake,
                sealed=entry.sealed,
                roster=admission.roster_digest(self.members.values()),
            )
            self.chain.append(entry.seq, value)
            self.store.add_point(entry.seq, value)
            row.handshake_head = entry.seq
        row.missed += entry.seq - row.cursor - 1
        row.cursor = entry.seq
        row.received_at = max(row.received_at, entry.received_at)
        return happened

    def _fold_own(self, entry: wire.Entry, outgoing: Outgoing) -> list[Happening]:
        if _append(outgoing).sealed != entry.sealed or outgoing.handshake != entry.handshake:
            return self.alarm(FORKED)
        if not outgoing.envelope:  # its life was over before it came here
            self.delivered.update(() if outgoing.draft is None else (outgoing.draft,))
            self.store.drop_outgoing(with_draft=True)
            return []
        envelope = payload.decode(outgoing.envelope)
        if outgoing.draft is None:
            self.store.replace_records(self.store.records(pending=True))
            self.store.drop_records(pending=True)
            self._group = None
            self.row.updated_at = min(entry.received_at, self.clock())  # a lying service must not put it off
            happened = self._seat(entry.seq, envelope)
        else:
            self.delivered.add(outgoing.draft)
            happened = self._apply(entry, envelope, self.row.credential, outgoing.delete_secret)
        self.store.drop_outgoing(with_draft=True)
        return happened

    def _fold_other(self, entry: wire.Entry) -> list[Happening]:
        try:
            received = self.group.decrypt(entry.sealed)
        except UnprocessablePath:
            return self.halt(UNPROCESSABLE)
        except NotAcceptable as error:
            self.store.change_records(error.changes)
            return []
        except OwnMessage:
            return self.halt(OLD_COPY)
        except TooFarAhead:  # others, who read what lies between, can open it
            return self.halt(TOO_FAR)
        except WrongEpoch as error:
            # A log that lacks somebody's commit looks like this. Every member of an honest log sees the same.
            return self.alarm(FORKED) if error.epoch > self.group.epoch else []
        except ProtocolError:
            return []
        if isinstance(received, ReceivedProposal):  # by itself: the product has none
            self.store.change_records(received.changes)
            return []
        try:
            envelope = self._read(entry, received)
        except Unknown:
            self._group = None  # its key stays in the vault, for the version that can read it
            return self.halt(UNKNOWN)
        except (Void, ProtocolError):
            self.store.change_records(received.changes)
            return []
        self.store.change_records(received.changes)
        happened = self._compare(envelope, self._credential(received.sender))
        if isinstance(received, StagedCommit):
            return happened + self._fold_commit(entry, received, envelope)
        return happened + self._apply(entry, envelope, self._credential(received.sender), None)

    def _read(self, entry: wire.Entry, received: ApplicationMessage | StagedCommit) -> Envelope:
        """What an authentic entry says, if every member may count it. Raises Unknown, Void or ProtocolError.

        The flag stands on commits and on the procedure's messages: so the chain, and what a Welcome says of the
        members, hold at the handshake head, and no such entry can come between a commit's sealing and its place.
        """
        if isinstance(received, ApplicationMessage):
            envelope = payload.decode_application(received.data)
            if entry.handshake != envelope.procedure:
                raise Void("the entry's flag contradicts its content")
            return envelope
        if not entry.handshake:
            raise Void("the entry's flag contradicts its content")
        envelope = payload.decode(open_stamp(self._stamp_key(), received.authenticated_data))
        self._judge(received, envelope)
        return envelope

    def _judge(self, staged: StagedCommit, envelope: Envelope) -> None:
        commit = admission.Commit(
            committer=self._credential(staged.sender),
            proposals=tuple(NAMES[kept.proposal.kind] for kept in staged.proposals),
            added=tuple(member.credential for member in staged.added),
            removed=tuple(member.credential for member in staged.removed),
            updated=tuple((self._credential(m.leaf), m.credential) for m in staged.updated),
            events=envelope.events,
        )
        admission.judge(commit, self.members)

    def _fold_commit(self, entry: wire.Entry, staged: StagedCommit, envelope: Envelope) -> list[Happening]:
        if staged.removes_me:
            return self._end(State.REMOVED, Happening("removed", entry.seq))
        self._group = staged.apply()
        self.store.replace_records(self._group.records())
        return self._seat(entry.seq, envelope)

    def _seat(self, seq: int, envelope: Envelope) -> list[Happening]:
        """The roster after a commit, from the group's members and the events that explain the new ones."""
        present = {member.credential for member in self.group.members}
        happened = [Happening("left", seq, member=m) for c, m in self.members.items() if c not in present]
        members = {c: m for c, m in self.members.items() if c in present}
        for event in envelope.events:
            if isinstance(event, Seated):
                member = Member(event.credential, event.device, event.name, event.fingerprint)
                members[event.credential] = member
                happened.append(Happening("seated", seq, member=member))
        self.members = members
        self.store.save_members(members.values())
        return happened

    def _apply(
        self, entry: wire.Entry, envelope: Envelope, sender: bytes, delete_secret: bytes | None
    ) -> list[Happening]:
        """What an application entry says."""
        event = envelope.events[0]
        if isinstance(event, Said):
            message = Message(
                seq=entry.seq,
                sender=sender,
                id=event.id,
                text=event.text,
                received_at=entry.received_at,
                # The shortest rule wins: what the author said, what the terms say, what the service said. A time
                # in the future, as a lying service may give, makes nothing live longer by this device's clock.
                expires_at=min(
                    entry.expires_at,
                    min(entry.received_at, self.clock()) + min(event.life, self.terms.life),
                ),
                own=delete_secret is not None,
                entry=entry.entry,
                delete_secret=delete_secret,
            )
            if not self.store.add_message(message):
                return []
            return [Happening("said", entry.seq, message, self.members.get(sender))]
        if isinstance(event, Leaving):
            member = replace(self.members[sender], leaving=True)
            self.members[sender] = member
            self.store.save_members(self.members.values())
            if delete_secret is not None:
                return self._end(State.REMOVED, Happening("removed", entry.seq))
            return [Happening("leaving", entry.seq, member=member)]
        return self._end(State.CLOSED, Happening("closed", entry.seq, member=self.members.get(sender)))

    def _compare(self, envelope: Envelope, author: bytes) -> list[Happening]:
        try:
            self.chain.compare(envelope.seq, envelope.chain)
        except Fork:
            # It may be the author that lies, and not the service: people must know whom to ask.
            name = self.members[author].name if author in self.members else "somebody"
            return self.alarm(f"{FORKED}; it was noticed in what {name} sent")
        return []

    def _credential(self, leaf: int) -> bytes:
        return next(member.credential for member in self.group.members if member.leaf == leaf)

    # Endings

    def alarm(self, text: str) -> list[Happening]:
        """Stops sending; reading goes on."""
        if self.row.state is not State.OPEN:
            return []
        self.row.state, self.row.trouble = State.ALARM, text
        return [Happening("alarm", self.row.cursor, text=text)]

    def halt(self, text: str) -> list[Happening]:
        """Stops everything on this device, for this channel."""
        self.row.state, self.row.trouble = State.HALTED, text
        return [Happening("halted", self.row.cursor, text=text)]

    def _end(self, state: State, happening: Happening) -> list[Happening]:
        """Keys, texts and names go at once; the row stays until the service has been told."""
        self.row.state = state
        for pending in (False, True):
            self.store.drop_records(pending=pending)
        self.store.erase_contents()
        self._group = None
        self.members = {}
        return [happening]

    def resume(self) -> None:
        """Ends an alarm after people have compared digits, or a halt that a newer version can go on from.

        Raises UserError when there is neither.
        """
        row = self.row
        if row.state is not State.ALARM and not (row.state is State.HALTED and row.trouble == UNKNOWN):
            raise UserError("there is no alarm in this channel that could be ended here")
        with self.step():
            self.row.state, self.row.trouble = State.OPEN, ""

    def forget_missed(self) -> None:
        """The person has been told how many entries ended unread."""
        with self.step():
            self.row.missed = 0

    def epoch_digits(self) -> str:
        """30 digits of the epoch and the procedure, the same on every device that sees the same channel."""
        if self.row.state not in (State.OPEN, State.ALARM):
            return ""
        return check_digits(hashlib.sha256(self.group.epoch_authenticator + self.chain.head).digest())

    # Sealing

    def seal_next(self, now: int) -> Outgoing | None:
        """Seals the oldest draft and saves it for sending. None when nothing waits."""
        self.check_may_send()
        draft = self.store.next_draft()
        while draft is not None and draft.expires_at <= now:
            with self.step():
                self.store.drop_draft(draft.number)
            draft = self.store.next_draft()
        if draft is None:
            return None
        with self.step():
            return self._seal_draft(draft)

    def _seal_draft(self, draft: Draft) -> Outgoing:
        event = payload.decode_event(draft.event)
        envelope = Envelope(seq=self.chain.seq, chain=self.chain.head, events=[event])
        data = payload.encode(envelope)
        sealed, changes = self.group.encrypt(data, pad_to=bucket_for)
        self.store.change_records(changes)
        flag = envelope.procedure
        return self._put(sealed, data, handshake=flag, life=draft.life, draft=draft.number, admit=None)

    def seal_commit(
        self,
        *,
        add: bytes | None = None,
        seated: Seated | None = None,
        admit: Callable[[bytes, bytes | None], wire.Admit] | None = None,
        remove: tuple[bytes, ...] = (),
    ) -> Outgoing:
        """Stages and saves a commit: an Add (with whom it seats), removals, or only this device's new keys.

        `admit` gets the Welcome and says what goes to the service in the same append. The epoch that follows
        waits in the vault until the log holds the commit.
        """
        self.check_may_send()
        if self.store.outgoing() is not None:
            raise RuntimeError("an entry is under way: send it first")
        events: list[payload.Event] = [seated] if seated is not None else []
        envelope = Envelope(seq=self.chain.seq, chain=self.chain.head, events=events)
        stamp = payload.encode(envelope)
        leaves = [member.leaf for member in self.group.members if member.credential in remove]
        with self.step():
            pending = self.group.stage(
                add=[add] if add is not None else [],
                remove=leaves,
                update=True,
                new_signature_key=True,
                authenticated_data=seal_stamp(self._stamp_key(), stamp),
                pad_to=bucket_for,
            )
            try:
                self._judge(pending.staged, envelope)  # as the others will: what they hold void must not be sent
            except Void as error:
                raise UserError(f"the others would refuse this: {error}") from None
            self.store.change_records(pending.changes)
            self.store.replace_records(pending.staged.apply().records(), pending=True)
            return self._put(
                pending.commit,
                stamp,
                handshake=True,
                life=self.terms.procedure_life,
                draft=None,
                admit=admit(pending.welcome, pending.ratchet_tree) if admit and pending.welcome else None,
            )

    def _put(
        self,
        sealed: bytes,
        envelope: bytes,
        *,
        handshake: bool,
        life: int,
        draft: int | None,
        admit: wire.Admit | None,
    ) -> Outgoing:
        secret = os.urandom(32)
        append = wire.Append(
            entry=os.urandom(16),
            handshake=handshake,
            sealed=sealed,
            life=life,
            delete_hash=hashlib.sha256(secret).digest(),
            handshake_head=self.row.handshake_head,
            count=self.row.count + 1,
            admit=admit,
        )
        self.row.count = append.count
        outgoing = Outgoing(append.entry, append.model_dump_json().encode(), handshake, envelope, draft, secret)
        self.store.put_outgoing(outgoing)
        return outgoing

    def drop_refused(self, *, with_draft: bool = False) -> None:
        """The entry under way was definitely refused. Its keys stay used up; its draft waits on, or goes too."""
        with self.step():
            self.store.drop_outgoing(with_draft=with_draft)
            self.store.drop_records(pending=True)
            self.row.count -= 1

    def drop_unsealed(self, draft: int) -> bool:
        """Takes a draft back. False when it is already sealed and perhaps sent."""
        outgoing = self.store.outgoing()
        if outgoing is not None and outgoing.draft == draft:
            return False
        with self.step():
            self.store.drop_draft(draft)
        return True

    def resolve_ended(self) -> None:
        """The entry under way was accepted, and ended before this device could fold it."""
        outgoing = self.store.outgoing()
        if outgoing is not None and outgoing.draft is not None:
            self.delivered.add(outgoing.draft)
        with self.step():
            self.store.drop_outgoing(with_draft=True)
            self.row.missed = max(0, self.row.missed - 1)

    def skip_to(self, head: int) -> None:
        """The log's newest entries have ended: the cursor moves past them."""
        if head > self.row.cursor:
            with self.step():
                self.row.missed += head - self.row.cursor
                self.row.cursor = head

    def check_may_send(self) -> None:
        """Raises Halted when this device must not send in this channel."""
        if self.row.state in (State.ALARM, State.HALTED):
            raise Halted(self.row.trouble)
        if self.row.state is State.REMOVED:
            raise Halted("this device is no longer in the channel")
        if self.row.state is State.CLOSED:
            raise Halted("this channel has been closed")

    def _stamp_key(self) -> bytes:
        return self.group.export(EXPORT_LABEL, b"", KEY_LENGTH)


def _append(outgoing: Outgoing) -> wire.Append:
    return wire.Append.model_validate_json(outgoing.append)
