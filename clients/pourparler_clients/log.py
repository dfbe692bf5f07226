"""A channel's log folded into this device's state. No network here; what this device adds is sealed in `sealing.py`.

1. Each step is one transaction of the vault: ratchet state, folded state and cursor change together or not at all. A
   text whose key lacks a half is not folded: it stays in the log until the half is here (`hours.py`).
2. One's own entry takes effect at its place in the log, like everybody's.
3. An entry is void only for what every member can check; what this device alone sees (a fork, an old copy, a path
   that only it cannot process) raises an alarm or halts.

What an entry of another says is read in `entries.py`, what became of an own one in `ownentries.py`; `lives.py` keeps
messages as long as the rules say, `complaints.py` hears who cannot follow. DESIGN 3 (laws of the fold), 4.1, 4.3.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pourparler_crypto import complaint
from pourparler_crypto.card import CardKey, check_digits
from pourparler_crypto.errors import (
    NotAcceptable,
    OwnMessage,
    ProtocolError,
    UnprocessablePath,
    WrongEpoch,
)
from pourparler_crypto.mls import Group, ReceivedProposal, StagedCommit
from pourparler_crypto.stamp import EXPORT_LABEL, KEY_LENGTH
from pourparler_policies import charter, payload, wire
from pourparler_policies.admission import procedure_digest
from pourparler_policies.chain import extend
from pourparler_policies.errors import Unknown, Void
from pourparler_policies.fold.events import Disclosed
from pourparler_policies.fold.facts import Amend, Phase
from pourparler_policies.fold.facts import State as Consent
from pourparler_policies.payload import Attached, Attesting, Beside, Said, Shortened, Shuttle, Sounding
from pourparler_policies.release.facts import State as Folded
from pourparler_policies.release.relayed import Arranged, Passage

from . import happenings
from .attesting import Attestations
from .complaints import Complaints
from .ending import AWAY, SPOKEN, Ending
from .entries import Copied, Entries
from .errors import Halted, UserError
from .happenings import Happening
from .judging import Judged, roster_of
from .lives import Lives
from .outbox import Outgoing
from .ownentries import OwnEntries
from .relayed import Relayed
from .rooms import Rooms
from .rounds import Rounds
from .signing import Signing
from .soundlog import SoundLog
from .store import ChannelStore, Row, State
from .troubles import FORKED, IMPOSTOR, OLD_COPY, TOLD_OTHERWISE, UNKNOWN, UNPROCESSABLE
from .vault import Vault

Clock = Callable[[], int]  # Unix seconds

# Phases into which a device's own event leads only when it leaves, or was never attested and withdraws.
_FAREWELL = frozenset({Phase.LEAVING, Phase.STRANDED})


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
        self._keys_ended = False
        self._reload()
        self.entries = Entries(self)
        self.own_entries = OwnEntries(self)
        self.complaints = Complaints(self)
        self.lives = Lives(self)
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
        if self.rounds.ended(self.clock()) or self.rounds.packs.ended(self.clock()):
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
            happened += self.own_entries.fold(entry, outgoing)
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
        earlier, row.received_at = row.received_at, max(row.received_at, entry.received_at)
        if self._folded is not None and earlier < self.consent.adjourned <= row.received_at:
            self.lives.end_session()
        return happened

    def _fold_other(self, entry: wire.Entry) -> list[Happening]:
        if complaint.is_complaint(entry.sealed):
            return self.complaints.fold(entry)
        try:
            received = self.group.decrypt(entry.sealed)
        except UnprocessablePath as error:
            return self._fold_unprocessable(entry, error)
        except NotAcceptable as error:
            self.store.change_records(error.changes)
            return []
        except OwnMessage as error:
            # Under a key whose number it does not name it is what an insider sealed anew, and void for everybody.
            return self.halt(OLD_COPY) if self.entries.key_of(error) == error.generation else []
        except WrongEpoch as error:
            # A log that lacks somebody's commit looks like this. Every member of an honest log sees the same.
            return self.alarm(FORKED) if error.epoch > self.group.epoch else []
        except ProtocolError:
            return []
        if isinstance(received, ReceivedProposal):  # by itself: the product has none, and keeps none
            self.store.change_records({k: v for k, v in received.changes.items() if not k.startswith("proposal/")})
            self._group = None
            return []
        author = self.entries.credential(received.sender)
        happened: list[Happening] = []
        try:
            envelope = self.entries.read(entry, received)
            happened = self._compare(entry, envelope, author)  # also of what is void: a fork shows in it first
            judged = self.entries.judge(entry, received, envelope)
        except Copied:
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
            return happened + self.begin_epoch(entry, judged, received.apply())
        return happened + self.apply(entry, judged, author, None)

    def _fold_unprocessable(self, entry: wire.Entry, error: UnprocessablePath) -> list[Happening]:
        """Only this device cannot open the commit: a complaint, unless it is void for everybody anyway."""
        try:
            if error.commit is not None:
                self.entries.judge(entry, error.commit, self.entries.read(entry, error.commit))
        except Unknown:
            return self.halt(UNKNOWN)
        except Copied:
            return []
        except (Void, ProtocolError):
            self.store.change_records(error.changes)
            return []
        self.complaints.save(entry.entry)
        return self.halt(UNPROCESSABLE)

    def begin_epoch(self, entry: wire.Entry, judged: Judged, following: Group) -> list[Happening]:
        """A commit takes effect."""
        before, old = self.consent, self.members
        self._group = following
        self.erased()
        self.store.replace_records(following.records())
        self.store.add_complaint_key(following.epoch, self.complaints.key())
        self.members = roster_of(judged, old, following)
        self.store.save_members(self.members.values())
        self.settle(judged.state)
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
        return happened + self.lives.release()

    def _amend(self, before: Consent, charter_hash: bytes) -> None:
        for held in before.open.values():
            if isinstance(held.subject, Amend):
                amended = charter.decode(held.subject.charter)
                if amended.hash == charter_hash:
                    self.charter, self.row.charter = amended, held.subject.charter
                    self.lives.apply_rules()

    def settle(self, state: Folded) -> None:
        """Another folded state, and what goes with it; in a transaction."""
        if self._folded is not None and state.papers.keys() != self._folded.papers.keys():
            parts = (self.signing.kept, self.relayed.kept)
            held = frozenset(kept.own.text for kept in parts if kept is not None)
            self._keys_ended |= self.signing.papers.keep_to(state, held) > 0
        before, self._folded = self._folded, state
        self.store.save_folded(state)
        self.rounds.changed(before.round if before is not None else None, state.round)
        self.ending.note(state.consent)

    def apply(
        self, entry: wire.Entry, judged: Judged, sender: bytes, outgoing: Outgoing | None
    ) -> list[Happening]:
        """What an application entry says; `outgoing` when it is this device's own."""
        event = judged.envelope.events[0]
        if isinstance(event, Said | Attached | Shuttle):
            return self.lives.fold_message(entry, event, sender, outgoing)
        if isinstance(event, Attesting):
            return self._attest(entry, judged.envelope.events, sender)
        if isinstance(event, Beside):
            beside = event.event
            if isinstance(beside, Arranged | Passage):
                return self.relayed.fold_passage(entry, beside, sender)
            return self.signing.fold_beside(entry, beside, sender)
        if isinstance(event, Shortened):
            return self.lives.fold_shorter(entry, judged.envelope.events, sender)
        if isinstance(event, Sounding):
            return self.soundings.receive(entry, event.event, sender, outgoing.draft if outgoing else None)
        before = self.consent
        self.settle(judged.state)
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
        if self.consent.adjourned != before.adjourned:
            self.lives.adjourn()
        return happened + self.lives.release()

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

    def _compare(self, entry: wire.Entry, envelope: payload.Envelope, author: bytes) -> list[Happening]:
        # The service takes an entry only from who has seen its newest handshake: an older stamp is of somebody from
        # whom it has kept back the rest.
        if (envelope.seq, envelope.chain) != (self.chain.seq, self.chain.head):
            if not self.entries.attested(author):
                # An impostor could stop everybody by it, and a newcomer whose inviter lied to it cannot help it.
                return [Happening("warned", entry.seq, member=self.members[author], text=TOLD_OTHERWISE)]
            # It may be the author that lies, and not the service: people must know whom to ask.
            name = self.members[author].name if author in self.members else "somebody"
            return self.alarm(f"{FORKED}; it was noticed in what {name} sent")
        return []

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
