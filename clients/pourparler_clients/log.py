"""A channel's log folded into this device's state. No network here; what this device adds is sealed in `sealing.py`.

1. Each step is one transaction of the vault: ratchet state, folded state and cursor change together or not at all. A
   text whose key lacks a half is not folded: it stays in the log until the half is here (`hours.py`).
2. One's own entry takes effect at its place in the log, like everybody's.
3. An entry is void only for what every member can check; what this device alone sees (a fork, an old copy, a path
   that only it cannot process) raises an alarm or halts.

Longer than 500 lines: whatever an entry can do happens here, in one transaction. DESIGN 3 (laws of the fold), 4.1, 4.3.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from pourparler_crypto import complaint
from pourparler_crypto.card import CardKey, check_digits
from pourparler_crypto.errors import (
    CryptoError,
    NotAcceptable,
    NotAuthentic,
    OwnMessage,
    ProtocolError,
    UnprocessablePath,
    WrongEpoch,
)
from pourparler_crypto.mls import ApplicationMessage, Group, ReceivedProposal, StagedCommit, verify_signature
from pourparler_crypto.mls.limits import MAX_FORWARD
from pourparler_crypto.stamp import EXPORT_LABEL, KEY_LENGTH, open_stamp
from pourparler_policies import charter, hours, payload, release, wire
from pourparler_policies.admission import procedure_digest
from pourparler_policies.chain import extend
from pourparler_policies.errors import Unknown, Void
from pourparler_policies.filenames import harmless
from pourparler_policies.fold import standing, talk
from pourparler_policies.fold.decoding import decode_commit
from pourparler_policies.fold.events import Complained, Disclosed, Entry
from pourparler_policies.fold.facts import Amend, Phase
from pourparler_policies.fold.facts import State as Consent
from pourparler_policies.payload import Attached, Attesting, Beside, Said, Shortened, Shuttle, Sounding
from pourparler_policies.release.facts import State as Folded
from pourparler_policies.release.relayed import Arranged, Passage

from . import happenings
from .attesting import Attestations
from .ending import AWAY, SPOKEN, Ending
from .errors import Halted, UserError
from .happenings import Happening
from .hours import ALONE
from .judging import Judged, judge_application, judge_commit, roster_of
from .messages import Message, Sent
from .outbox import Kind, Outgoing
from .relayed import Relayed
from .rooms import Rooms
from .rounds import Rounds
from .shuttle.kept import kept as kept_word
from .signing import Signing
from .soundlog import SoundLog
from .store import ChannelStore, Row, State
from .vault import Vault

Clock = Callable[[], int]  # Unix seconds


class _Copied(Exception):
    """What its author signed for another key: an insider's copy. It counts as not authentic, so nothing changes."""


# Phases into which a device's own event leads only when it leaves, or was never attested and withdraws.
_FAREWELL = frozenset({Phase.LEAVING, Phase.STRANDED})

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
    "The others are told so; ask one of them to invite your card again"
)
RESTORED = (
    "the service was restored from a backup: messages may be missing here that others have. Ask them what they "
    "see, then go on with `pourparler resume`"
)
UNKNOWN = "the channel holds something that this version of Pourparler does not know: update it, then go on"
TOLD_OTHERWISE = "it was told another course of events than yours: remove it, and let somebody else invite it"
IMPOSTOR = (
    "somebody was seated with this device's card who is not this device. Nothing more is sent from here; tell the "
    "others, by a way you trust"
)


class Log:
    """One channel in the vault. `group` and the rest mirror the vault; a failed step reads them anew."""

    def __init__(self, vault: Vault, channel: bytes, clock: Clock) -> None:
        self.vault = vault
        self.clock = clock
        self.store = ChannelStore(vault, channel)
        self.rooms = Rooms(vault, channel)
        name, secret = vault.row("SELECT name, secret FROM card") or ("", bytes(32))
        key = CardKey(secret)
        self.own_card = key.card(name)
        self.attestations = Attestations(self.store, key, self.own_card)
        self.delivered: dict[int, str] = {}  # drafts that the log was seen to hold, and why one counts for nothing
        # The newest own commit of this process: its entry's id, and when by its clock.
        self.commit_sealed = (b"", 0)
        self._keys_ended = False
        self.owed_in_vain = False  # what this device owed by itself did not count: its clock may be fast
        self._reload()
        self.signing = Signing(self)
        self.relayed = Relayed(self)
        self.soundings = SoundLog(self, key)
        self.rounds = Rounds(self)
        self.ending = Ending(self)

    def _reload(self) -> None:
        row = self.store.row()
        if row is None:
            raise UserError("this channel is not in the vault")
        self.row: Row = row
        self.charter = charter.decode(row.charter)
        self.chain = self.store.chain()
        self.members = self.store.members()
        self._folded = self.store.folded()
        self._group: Group | None = None

    @property
    def group(self) -> Group:
        """The MLS group as of `row.cursor`."""
        if self._group is None:
            self._group = Group.load(self.store.records())
        return self._group

    @property
    def ended(self) -> bool:
        """Whether the channel's contents have been erased."""
        return self._folded is None

    @property
    def consent(self) -> Consent:
        """Who is in the channel, by whose leave, as of `row.cursor`. Raises Halted as `folded` does."""
        return self.folded.consent

    @property
    def folded(self) -> Folded:
        """Consent and release as of `row.cursor`. Raises Halted when the channel's contents have been erased."""
        if self._folded is None:
            raise Halted("this channel has ended")
        return self._folded

    @contextmanager
    def step(self) -> Iterator[None]:
        """One transaction; memory follows the vault whatever happens."""
        try:
            with self.vault.transaction():
                yield
                self.store.save(self.row)
                # A copy that is taken now, and opened with its clock set back, is no younger than this.
                self.vault.execute("UPDATE clock SET high = max(high, ?)", self.clock())
        except BaseException:
            self._keys_ended = False
            self._reload_quietly()
            raise
        if self._keys_ended:
            self._keys_ended = False
            self.vault.empty_journal()  # what was erased must not stay in it

    def erased(self) -> None:
        """The transaction under way erases keys or texts: the journal is emptied after it."""
        self._keys_ended = True

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
            happened += self.signing.follow(self.clock()) + self.relayed.follow(self.clock())
            happened += self.soundings.follow(self.clock())
        return happened

    def expire_rounds(self) -> None:
        """By this device's clock alone, in whatever state the channel is, rounds of ideas that are over are erased."""
        if self.rounds.ended(self.clock()):
            with self.step():
                self.rounds.expire(self.clock())

    def expire_ending(self) -> list[Happening]:
        """By this device's clock alone, in whatever state the channel is: an end that was agreed is not put off."""
        if self._folded is None or not self.ending.over(self.clock()):
            return []
        with self.step():
            return self.finish_ending()

    def finish_ending(self) -> list[Happening]:
        """The agreed end is over; in a transaction."""
        return self._end(State.CLOSED, Happening("closed", self.row.cursor))

    def _fold_one(self, entry: wire.Entry) -> list[Happening]:
        row = self.row
        happened: list[Happening] = []
        if entry.received_at < row.received_at:
            happened += self.alarm(FORKED)
        outgoing = self.store.outbox.outgoing()
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
                roster=procedure_digest(self.folded, self.members.values(), self.store.complaint_keys()),
            )
            self.chain.append(entry.seq, value)
            self.store.add_point(entry.seq, value)
            row.handshake_head = entry.seq
        row.missed += entry.seq - row.cursor - 1
        row.cursor = entry.seq
        row.received_at = max(row.received_at, entry.received_at)
        return happened

    def _fold_own(self, entry: wire.Entry, outgoing: Outgoing) -> list[Happening]:
        if wire.Append.model_validate_json(outgoing.append).sealed != entry.sealed or (
            outgoing.handshake != entry.handshake
        ):
            return self.alarm(FORKED)
        said = self.store.outbox.envelope(outgoing)
        self.store.outbox.drop_outgoing(with_draft=True)
        if not said:  # its life was over before it came here
            self._deliver(outgoing)
            return []
        envelope = payload.decode(said)
        if outgoing.kind is Kind.COMMIT:
            return self._fold_own_commit(entry, envelope, outgoing.commit)
        author = self.row.credential
        try:
            self.ending.check_renewed(author, entry.received_at)
            judged = judge_application(self.folded, envelope, author, entry.seq, entry.received_at)
        except Void as error:
            self._deliver(outgoing, str(error))
            self.owed_in_vain |= outgoing.draft is None
            return [Happening("refused", entry.seq, text=str(error))] if outgoing.draft is not None else []
        except Unknown:
            return self.halt(UNKNOWN)
        void = next((void for _, _, void in judged.acts if void), "")
        self._deliver(outgoing, void)
        self.owed_in_vain |= bool(void) and outgoing.draft is None
        return self._apply(entry, judged, author, outgoing)

    def _deliver(self, outgoing: Outgoing, void: str = "") -> None:
        if outgoing.draft is not None:
            self.delivered[outgoing.draft] = void

    def _fold_own_commit(self, entry: wire.Entry, envelope: payload.Envelope, commit: bytes) -> list[Happening]:
        following = Group.load(self.store.records(pending=True))
        self.store.drop_records(pending=True)
        does = decode_commit(commit)
        try:
            self.ending.check_renewed(self.row.credential, entry.received_at)
            after = release.apply(self.folded, Entry(entry.seq, entry.received_at, self.row.credential, does))
            judged = Judged(envelope, after, does)
        except Void:  # for instance a notice that had not passed by the service's clock: void for everybody
            return []
        self.ending.retire(self.group.signature_seed)
        # By this device's own clock; after a crash by the service's, which may lie, but must not put it off.
        sealed, at = self.commit_sealed
        self.row.updated_at = min(at if sealed == entry.entry else entry.received_at, self.clock())
        return self._begin_epoch(entry, judged, following)

    def _fold_other(self, entry: wire.Entry) -> list[Happening]:
        if complaint.is_complaint(entry.sealed):
            return self._fold_complaint(entry)
        try:
            received = self.group.decrypt(entry.sealed)
        except UnprocessablePath as error:
            return self._fold_unprocessable(entry, error)
        except NotAcceptable as error:
            self.store.change_records(error.changes)
            return []
        except OwnMessage as error:
            # Under a key whose number it does not name it is what an insider sealed anew, and void for everybody.
            return self.halt(OLD_COPY) if self._key_of(error) == error.generation else []
        except WrongEpoch as error:
            # A log that lacks somebody's commit looks like this. Every member of an honest log sees the same.
            return self.alarm(FORKED) if error.epoch > self.group.epoch else []
        except ProtocolError:
            return []
        if isinstance(received, ReceivedProposal):  # by itself: the product has none, and keeps none
            self.store.change_records({k: v for k, v in received.changes.items() if not k.startswith("proposal/")})
            self._group = None
            return []
        author = self._credential(received.sender)
        happened: list[Happening] = []
        try:
            envelope = self._read(entry, received)
            happened = self._compare(entry, envelope, author)  # also of what is void: a fork shows in it first
            judged = self._judge(entry, received, envelope)
        except _Copied:
            self._group = None  # its key is still its author's to use
            return []
        except Unknown:
            self._group = None  # its key stays in the vault, for the version that can read it
            return happened + self.halt(UNKNOWN)
        except (Void, ProtocolError):
            self.store.change_records(received.changes)
            return happened
        self.store.change_records(received.changes)
        if isinstance(received, StagedCommit):
            if received.removes_me:
                return happened + self._end(State.REMOVED, Happening("removed", entry.seq))
            return happened + self._begin_epoch(entry, judged, received.apply())
        return happened + self._apply(entry, judged, author, None)

    def _read(self, entry: wire.Entry, received: ApplicationMessage | StagedCommit) -> payload.Envelope:
        """What an authentic entry says. Raises _Copied, Unknown, Void or ProtocolError.

        The flag stands on commits and on the procedure's events: so the chain, and what a Welcome says of the
        members, hold at the handshake head, and no such entry can come between a commit's sealing and its place.
        """
        if received.generation is None:
            raise Void("entries travel as PrivateMessage")
        if received.generation > MAX_FORWARD:  # for who is behind it is TooFarAhead
            raise Void("an epoch has no more keys than a member who was away can skip")
        with self._unknown_from(received.sender):
            if isinstance(received, ApplicationMessage):
                envelope = payload.decode_application(received.data)
            else:
                envelope = payload.decode_commit(open_stamp(self.stamp_key(), received.authenticated_data))
        if envelope.key != received.generation:
            raise _Copied
        if entry.handshake != (envelope.procedure or isinstance(received, StagedCommit)):
            raise Void("the entry's flag contradicts its content")
        return envelope

    def _judge(
        self, entry: wire.Entry, received: ApplicationMessage | StagedCommit, envelope: payload.Envelope
    ) -> Judged:
        """What an authentic entry does, if every member may count it. Raises Unknown, Void or ProtocolError."""
        author, place = self._credential(received.sender), (entry.seq, entry.received_at)
        self.ending.check_renewed(author, entry.received_at)
        with self._unknown_from(received.sender):
            if isinstance(received, ApplicationMessage):
                return judge_application(self.folded, envelope, author, *place)
            return judge_commit(self.folded, self.members, self.group, received, envelope, *place)

    @contextmanager
    def _unknown_from(self, sender: int) -> Iterator[None]:
        """Void instead of Unknown from who is not attested: it has no say in any version, and so halts nobody."""
        try:
            yield
        except Unknown:
            if self._attested(self._credential(sender)):
                raise
            raise Void("what an unattested device says counts for nothing but attestation") from None

    def _attested(self, credential: bytes) -> bool:
        device = standing.by_credential(self.consent, credential)
        return device is not None and device.phase is Phase.PRESENT

    def _key_of(self, own: OwnMessage) -> int | None:
        """The number of the message key that an entry of this leaf names; None when it is no entry of this client."""
        try:
            data = open_stamp(self.stamp_key(), own.data) if own.handshake else own.data
            return payload.decode(data).key
        except Unknown:
            return own.generation  # a newer version has written it, from another copy
        except (Void, ProtocolError):
            return None

    def _fold_unprocessable(self, entry: wire.Entry, error: UnprocessablePath) -> list[Happening]:
        """Only this device cannot open the commit: a complaint, unless it is void for everybody anyway."""
        try:
            if error.commit is not None:
                self._judge(entry, error.commit, self._read(entry, error.commit))
        except Unknown:
            return self.halt(UNKNOWN)
        except _Copied:
            return []
        except (Void, ProtocolError):
            self.store.change_records(error.changes)
            return []
        self.complain(entry.entry)
        return self.halt(UNPROCESSABLE)

    def _begin_epoch(self, entry: wire.Entry, judged: Judged, following: Group) -> list[Happening]:
        """A commit takes effect."""
        before, old = self.consent, self.members
        self._group = following
        self.erased()
        self.store.replace_records(following.records())
        self.store.add_complaint_key(following.epoch, self.complaint_key())
        self.members = roster_of(judged, old, following)
        self.store.save_members(self.members.values())
        self._settle(judged.state)
        if judged.state.consent.rules.charter != before.rules.charter:
            self._amend(before, judged.state.consent.rules.charter)
        for credential in old.keys() - self.members.keys():
            self.attestations.drop(credential)
        for credential in self.members.keys() - old.keys():
            self.attestations.meet(following, self.row.credential, self.members[credential], self.consent)
        own = self.consent.devices.get(self.own_card.fingerprint)
        happened = [
            *happenings.of_states(entry.seq, before, self.consent, old, self.members, self.own_card.fingerprint)
        ]
        if own is None or own.credential != self.row.credential:
            happened += self.alarm(IMPOSTOR)
        return happened + self._release()

    def _amend(self, before: Consent, charter_hash: bytes) -> None:
        for held in before.open.values():
            if isinstance(held.subject, Amend):
                amended = charter.decode(held.subject.charter)
                if amended.hash == charter_hash:
                    self.charter, self.row.charter = amended, held.subject.charter
                    self.apply_rules()

    def _settle(self, state: Folded) -> None:
        if self._folded is not None and state.papers.keys() != self._folded.papers.keys():
            parts = (self.signing.kept, self.relayed.kept)
            held = frozenset(kept.own.text for kept in parts if kept is not None)
            self._keys_ended |= self.signing.papers.keep_to(state, held) > 0
        before, self._folded = self._folded, state
        self.store.save_folded(state)
        self.rounds.changed(before.round if before is not None else None, state.round)
        self.ending.note(state.consent)

    def _apply(
        self, entry: wire.Entry, judged: Judged, sender: bytes, outgoing: Outgoing | None
    ) -> list[Happening]:
        """What an application entry says; `outgoing` when it is this device's own."""
        event = judged.envelope.events[0]
        if isinstance(event, Said | Attached | Shuttle):
            return self._add_message(entry, event, sender, outgoing)
        if isinstance(event, Attesting):
            return self._attest(entry, judged.envelope.events, sender)
        if isinstance(event, Beside):
            beside = event.event
            if isinstance(beside, Arranged | Passage):
                return self.relayed.fold_passage(entry, beside, sender)
            return self.signing.fold_beside(entry, beside, sender)
        if isinstance(event, Shortened):
            return self._shorten(entry, judged.envelope.events, sender)
        if isinstance(event, Sounding):
            return self.soundings.receive(entry, event.event, sender, outgoing.draft if outgoing else None)
        before = self.consent
        self._settle(judged.state)
        happened: list[Happening] = []
        author = self.members.get(sender)
        states = [*(state for _, state, _ in judged.acts[1:]), judged.state]
        for (act, earlier, void), later in zip(judged.acts, states, strict=True):
            if not void:
                happened += happenings.of_act(entry.seq, author, act, earlier, later)
            elif outgoing is not None and outgoing.draft is not None:
                happened.append(Happening("refused", entry.seq, text=void))
        happened += happenings.of_states(
            entry.seq, before, self.consent, self.members, self.members, self.own_card.fingerprint
        )
        if self.consent.closed:
            return self._end(State.CLOSED, Happening("closed", entry.seq, member=author))
        own = self.consent.devices.get(self.own_card.fingerprint)
        if outgoing is not None and (own is None or own.phase in _FAREWELL):
            return self._end(State.REMOVED, Happening("removed", entry.seq))
        for act, _, void in judged.acts:
            if outgoing is not None and isinstance(act, Disclosed) and not void:
                self.ending.published(act.seeds)
        if self.consent.closing and not before.closing:
            self.store.erase_spoken(SPOKEN)
            self.erased()
            return happened
        if self.consent.erased > before.erased:
            self.store.messages.erase_up_to(self.consent.erased)
            self.rounds.texts.erase()
            self.erased()
        return happened + self._release()

    def _add_message(
        self, entry: wire.Entry, event: Said | Attached | Shuttle, sender: bytes, outgoing: Outgoing | None
    ) -> list[Happening]:
        # The shortest rule wins: what the author said, what the charter says, what the service said. A time in the
        # future, as a lying service may give, makes nothing live longer by this device's clock.
        life = min(event.life, self.longest_life())
        expires_at = min(entry.expires_at, min(entry.received_at, self.clock()) + life)
        end = self.end_of(min(entry.expires_at, entry.received_at + life), life)
        if expires_at <= self.clock() or self.store.hours.is_over(end):
            self.row.missed += outgoing is None
            return []
        own = outgoing is not None
        held = not talk.may_show(self.consent, self.own_card.fingerprint)
        kind = "shuttle" if isinstance(event, Shuttle) else "said"
        attached = event if isinstance(event, Attached) else None
        place = (end, entry.received_at, expires_at)
        message = Message(
            *(entry.seq, sender, event.id, self._text(event, sender), *place),
            own=own,
            held=held,
            attached=attached,
            kind=kind,
        )
        sent = Sent(entry.seq, entry.entry, outgoing.delete_secret, entry.expires_at) if outgoing else None
        kept = self.store.messages.add(message, sent)
        if attached is not None and own:
            self.rooms.posted(attached.attachment, entry.seq)
        if not kept or message.held:
            return []
        return [Happening(kind, entry.seq, message, self.members.get(sender))]

    def _text(self, event: Said | Attached | Shuttle, sender: bytes) -> str:
        """As a message's row has it."""
        match event:
            case Said():
                return event.text
            case Attached():
                return harmless(event.name)
            case Shuttle():
                return kept_word(self.consent, sender, event.event)

    # Shorter lives

    def longest_life(self) -> int:
        """How long a message lives here at most (seconds): the charter's rule, or this device's own if shorter."""
        longest = self.charter.retention.messages
        return min(longest, self.store.messages.own_rule()[0] or longest)

    def life_once_read(self) -> int:
        """How long a message lives here once it was shown (seconds): the shorter rule; 0 when there is none."""
        rules = (self.charter.retention.after_reading, self.store.messages.own_rule()[1])
        return min((rule for rule in rules if rule), default=0)

    def read(self, messages: list[Message], *, opened: bool = False) -> list[Message]:
        """Who shows messages calls this first, and shows what it returns: their life after reading begins now.

        That is saved, under the shorter key, before anybody sees the text. What is gone meanwhile is left out. A file
        is read when it is `opened`, not when its name is shown. Raises Lacking.
        """
        life, now = self.life_once_read(), self.clock()
        alive = self.store.messages.places(now)
        messages = [
            replace(message, expires_at=alive[message.seq][0], end=alive[message.seq][1])
            for message in messages
            if message.seq in alive
        ]
        late = [
            message
            for message in messages
            if life and message.expires_at > now + life and (opened or message.attached is None)
        ]
        if late:
            end = self.end_of(max(now, self.row.received_at) + life, life)
            with self.step():
                for message in late:
                    self._let_live(message, now + life, end)
        return [
            message if message not in late else replace(message, expires_at=now + life) for message in messages
        ]

    def _let_live(self, message: Message, expires_at: int, end: int) -> None:
        """The shorter of two lives, and of two keys the one that ends earlier. `message` as it is stored now."""
        if end == ALONE:
            end = message.end
        elif message.end != ALONE:
            end = min(message.end, end)
        self.erased()
        if expires_at <= self.clock() or self.store.hours.is_over(end):
            self.store.messages.erase(message.seq)
        else:
            self.store.messages.shorten(message, min(message.expires_at, expires_at), end)

    def apply_rules(self) -> None:
        """What is stored obeys the rules as they are now, where they are stricter than before. Raises Lacking."""
        life, offline = self.longest_life(), self.charter.retention.read_offline
        for message in self.store.messages.living(self.clock()):
            expires_at = min(message.received_at + life, message.expires_at)
            if expires_at < message.expires_at or (message.end == ALONE and not offline):
                self._let_live(message, expires_at, self.end_of(expires_at, life))
        self.rounds.texts.apply_rules()

    def set_own_rule(self, messages: int, after_reading: int) -> None:
        """This device's own lives, in seconds; 0: no such rule. Raises Lacking, and then nothing changes."""
        with self.step():
            self.store.messages.save_own_rule(messages, after_reading)
            self.apply_rules()

    def _shorten(self, entry: wire.Entry, shorter: list[payload.Event], sender: bytes) -> list[Happening]:
        happened: list[Happening] = []
        for event in shorter:
            found = self.store.messages.find(sender, event.id) if isinstance(event, Shortened) else None
            if not isinstance(event, Shortened) or found is None:
                continue
            seq, received_at = found
            expires_at = min(received_at, self.clock()) + event.life
            if sender == self.row.credential:
                self.store.messages.delete_sent(seq, received_at + event.life)
            message = self.store.messages.one(seq)
            if message is not None and expires_at < message.expires_at:
                self._let_live(message, expires_at, self.end_of(expires_at, max(1, event.life)))
                happened.append(Happening("shortened", entry.seq, message, self.members.get(sender)))
        return happened

    def end_of(self, expires_at: int, life: int) -> int:
        """When the key is destroyed of a text that expires at `expires_at` (Unix seconds) after `life` seconds.

        By the log's time, not by this device's clock: a wrong one must not cost messages that others can read.
        """
        return ALONE if self.charter.retention.read_offline else hours.end(expires_at, life)

    def draft_end(self, life: int, expires_at: int) -> int:
        """The end under which a text is kept that waits to be sent, of this life (seconds)."""
        return self.end_of(max(expires_at, self.row.received_at + life), life)

    def add_draft(self, content: bytes, life: int, expires_at: int, kind: Kind = Kind.SAID) -> int:
        """Keeps a message or words of a paper (payload.encode_events) to be sent; returns the draft's number. Raises
        Lacking or UserError.
        """
        end = self.draft_end(life, expires_at)
        if self.store.hours.is_over(end):
            raise UserError("this device's clock is too slow for so short a life: set it, or choose a longer life")
        with self.step():
            return self.store.outbox.add(kind, content, life, expires_at, end)

    def _release(self) -> list[Happening]:
        """What was held back while somebody was unattested is shown once nobody is."""
        if not talk.may_show(self.consent, self.own_card.fingerprint):
            return []
        return [
            Happening(message.kind, message.seq, message, self.members.get(message.sender))
            for message in self.store.messages.release(self.clock())
        ]

    def _attest(self, entry: wire.Entry, steps: list[payload.Event], sender: bytes) -> list[Happening]:
        mine = [event for event in steps if isinstance(event, Attesting)]
        if sender == self.row.credential:
            self.attestations.sent(mine)
            return []
        peer = self.members[sender]
        warnings = [
            warning
            for step in mine
            if step.peer == self.row.credential
            for warning in self.attestations.receive(peer, step.step, self.consent, self.clock())
        ]
        return [Happening("warned", entry.seq, member=peer, text=warning.text) for warning in warnings]

    # Complaints

    def complaint_key(self) -> bytes:
        """The key (32 bytes) under which a member of this epoch may complain later."""
        return self.group.export(complaint.EXPORT_LABEL, b"", complaint.KEY_LENGTH)

    def complain(self, refused: bytes) -> None:
        """Saves a complaint about the entry `refused` (its id): this device alone cannot process its commit."""
        device = self.consent.devices.get(self.own_card.fingerprint)
        counter = (device.counter if device is not None else 0) + 1
        made = complaint.Complaint(self.row.credential, counter, refused)
        signature = self.group.sign(complaint.EXPORT_LABEL, made.signed(self.row.id, self.group.epoch))
        made = complaint.Complaint(self.row.credential, counter, refused, signature)
        self.store.save_complaint(complaint.seal(self.complaint_key(), self.row.id, self.group.epoch, made))

    def _fold_complaint(self, entry: wire.Entry) -> list[Happening]:
        try:
            epoch = complaint.epoch_of(entry.sealed)
            key = self.store.complaint_keys().get(epoch)
            if key is None or not entry.handshake:
                return []
            said = complaint.open_(key, self.row.id, entry.sealed)
            member = self.members.get(said.credential)
            if member is None:
                return []
            # Who cannot follow has renewed nothing since: its key is the newest. Older ones may have been disclosed.
            self._check_complaint(said, epoch, member.keys[-1:])
        except CryptoError:
            return []
        before = self.consent
        place = Entry(entry.seq, entry.received_at, said.credential, Complained(), said.counter)
        self._settle(release.step(self.folded, place).state)
        return [
            *happenings.of_states(
                entry.seq, before, self.consent, self.members, self.members, self.own_card.fingerprint
            )
        ]

    def _check_complaint(self, said: complaint.Complaint, epoch: int, keys: tuple[bytes, ...]) -> None:
        for key in reversed(keys):
            try:
                verify_signature(
                    self.group.suite, key, complaint.EXPORT_LABEL, said.signed(self.row.id, epoch), said.signature
                )
            except ProtocolError:
                continue
            return
        raise NotAuthentic("the complaint is not signed by a key that this device's leaf has had")

    def _compare(self, entry: wire.Entry, envelope: payload.Envelope, author: bytes) -> list[Happening]:
        # The service takes an entry only from who has seen its newest handshake: an older stamp is of somebody from
        # whom it has kept back the rest.
        if (envelope.seq, envelope.chain) != (self.chain.seq, self.chain.head):
            if not self._attested(author):
                # An impostor could stop everybody by it, and a newcomer whose inviter lied to it cannot help it.
                return [Happening("warned", entry.seq, member=self.members[author], text=TOLD_OTHERWISE)]
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
        self.erased()
        for pending in (False, True):
            self.store.drop_records(pending=pending)
        self.store.erase_contents()
        self._group = None
        self._folded = None
        self.members = {}
        return [happening]

    def resume(self) -> None:
        """Ends an alarm after people have compared digits, or a halt that a newer version can go on from.

        Raises UserError when there is neither.
        """
        row = self.row
        if row.state is not State.ALARM and not (row.state is State.HALTED and row.trouble in (UNKNOWN, AWAY)):
            raise UserError("there is no alarm in this channel that could be ended here")
        with self.step():
            if row.trouble == AWAY:  # its clock was wrong: it has not been away
                self.row.updated_at = self.clock()
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

    def resolve_ended(self) -> None:
        """The entry under way was accepted, and ended before this device could fold it."""
        outgoing = self.store.outbox.outgoing()
        with self.step():
            if outgoing is not None:
                self._deliver(outgoing)
                if outgoing.kind is Kind.ATTESTING:
                    events = payload.decode(outgoing.envelope).events
                    self.attestations.sent(event for event in events if isinstance(event, Attesting))
            self.store.outbox.drop_outgoing(with_draft=True)
            self.row.missed = max(0, self.row.missed - 1)

    def skip_to(self, head: int) -> None:
        """The log's newest entries have ended: the cursor moves past them."""
        if head > self.row.cursor:
            with self.step():
                self.row.missed += head - self.row.cursor
                self.row.cursor = head

    @property
    def closing(self) -> bool:
        """Whether the channel is being ended for everybody: nothing is said or changed in it any more."""
        return self._folded is not None and self._folded.consent.closing > 0

    def check_may_speak(self) -> None:
        """Raises Halted when nothing is said in this channel any more."""
        self.check_may_send()
        if self.closing:
            raise Halted("this channel is being ended for everybody: nothing is said in it any more")

    def check_may_send(self) -> None:
        """Raises Halted when this device must not send in this channel."""
        if self.row.state in (State.ALARM, State.HALTED):
            raise Halted(self.row.trouble)
        if self.row.state is State.REMOVED:
            raise Halted("this device is no longer in the channel")
        if self.row.state is State.CLOSED:
            raise Halted("this channel has been closed")

    def stamp_key(self) -> bytes:
        """The key (32 bytes) that seals what a commit of this epoch explains."""
        return self.group.export(EXPORT_LABEL, b"", KEY_LENGTH)
