"""What this device adds to a log: sealed and saved before it is sent, and resent byte for byte.

1. One entry is under way at a time; it is sealed anew only after a definite refusal, and its key stays used up.
2. What the others would hold void is not sent: it is judged here as it will be there.
3. First what the person does, then what the device owes (`upkeep.py`), then what the person takes back, or says.

DESIGN 4.1 (#21), 4.2. No network here.
"""

import hashlib
import os
from collections.abc import Callable

from pourparler_crypto.mls import CHARTER
from pourparler_crypto.stamp import seal_stamp
from pourparler_policies import payload, release, wire
from pourparler_policies.errors import Void
from pourparler_policies.fold import talk
from pourparler_policies.fold.encoding import encode as canonical
from pourparler_policies.fold.events import Commit
from pourparler_policies.limits import BUCKETS
from pourparler_policies.payload import Act, Attached, Attesting, Envelope, Event, Seated
from pourparler_policies.release.decoding import Act as Procedure
from pourparler_policies.release.events import entry

from .errors import UserError
from .happenings import Happening
from .judging import judge_commit
from .log import Log
from .outbox import Draft, Kind, Outgoing
from .upkeep import due_acts

LOST = "a message that waited here can no longer be read: the service has lost its half of its key. Say it again"
UNASKED = "what was to be asked here can no longer be read: the service has lost its half of its key. Ask it again"

Admit = Callable[[bytes, bytes | None, Commit], wire.Admit]  # Welcome, tree, what the commit does


def bucket_for(size: int) -> int:
    """The smallest bucket (bytes) that holds `size`. Raises UserError beyond the largest."""
    for bucket in BUCKETS:
        if size <= bucket:
            return bucket
    raise UserError("this is too large to be sent")


class Sealer:
    """Seals for one log."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def next(self, now: int, *, owed: bool = True) -> tuple[Outgoing | None, list[Happening]]:
        """Seals what comes next and saves it for sending; None when nothing can be sent now.

        Without `owed` only what people do and say, and attestation: the service's budget is spent. The second part
        tells of acts that have become void since they were meant. Raises Halted, and Lacking when a draft's key is not
        at hand.
        """
        log = self._log
        log.check_may_send()
        happened = self._drop_void_acts(now)
        draft = log.store.outbox.next(Kind.ACT)
        if draft is not None:
            return self._seal_acts(self._events(draft), draft), happened
        acts = due_acts(log, now) if owed else []
        if acts:
            return self._seal_acts(acts, None), happened
        steps = self._steps(now)
        if steps:
            return self._seal([*steps], Kind.ATTESTING, log.charter.retention.procedure, None), happened
        beside = log.signing.beside() or log.relayed.beside()
        if beside is not None and beside[1] > now:
            return self._seal([beside[0]], Kind.BESIDE, beside[1] - now, None), happened
        sounding = log.soundings.due(now) if log.soundings.active else None
        if sounding is not None:
            return self._seal([sounding[0]], Kind.SOUNDING, sounding[1], None), happened
        self._drop_ended(now)
        draft = log.store.outbox.next(Kind.SOUNDING)
        if draft is not None and not draft.content:
            return None, [*happened, self._drop_lost(draft, UNASKED)]
        if draft is not None:
            return self._seal(payload.decode_events(draft.content), Kind.SOUNDING, draft.life, draft), happened
        draft = log.store.outbox.next(Kind.SHORTENED)
        if draft is not None:
            events = payload.decode_events(draft.content)
            # It lives as long as the procedure: who comes back is not told that it "expired unread".
            return self._seal(events, Kind.SHORTENED, log.charter.retention.procedure, draft), happened
        draft = self._next_said()
        if draft is not None and not draft.content:
            return None, [*happened, self._drop_lost(draft, LOST)]
        if draft is not None:
            life = min(draft.life, log.charter.retention.messages) if draft.kind is Kind.SAID else draft.life
            if draft.kind is Kind.SAID:
                life = log.lives.until(now, life)  # the service needs nobody's visit to end it then
            events = payload.decode_events(draft.content)
            if isinstance(events[0], Attached):
                # It lies at the service since its room was made: what tells of it ends when it does, not later.
                life = max(1, min(life, draft.expires_at - now))
                events = [events[0].model_copy(update={"life": life})]
            return self._seal(events, draft.kind, life, draft), happened
        return None, happened

    def _steps(self, now: int) -> list[Attesting]:
        log = self._log
        if not log.attestations.wanting(now):
            return []
        with log.step():
            return log.attestations.due(log.consent, log.members, now)

    def why_not_said(self) -> str:
        """Why a message cannot be sent now, empty when it can."""
        try:
            talk.check_said(self._log.consent, self._log.row.credential)
        except Void as error:
            return str(error)
        return ""

    def _drop_ended(self, now: int) -> None:
        if self._log.store.outbox.has_ended(now):
            with self._log.step():
                self._log.store.outbox.drop_ended(now)

    def _drop_lost(self, draft: Draft, why: str) -> Happening:
        with self._log.step():
            self._log.store.outbox.drop(draft.number)
        return Happening("refused", self._log.row.cursor, text=why)

    def _next_said(self) -> Draft | None:
        log = self._log
        if self.why_not_said():
            return None
        return log.store.outbox.next(Kind.BESIDE) or log.store.outbox.next(Kind.SAID)

    def _drop_void_acts(self, now: int) -> list[Happening]:
        log, happened = self._log, []
        while (draft := log.store.outbox.next(Kind.ACT)) is not None:
            try:
                self.check_acts(self._events(draft), now)
            except Void as error:
                with log.step():
                    log.store.outbox.drop(draft.number)
                log.own_entries.delivered[draft.number] = str(error)
                happened.append(Happening("refused", log.row.cursor, text=str(error)))
            else:
                break
        return happened

    def check_acts(self, acts: list[Procedure], now: int) -> None:
        """Raises Void when this device's next events would count for nothing."""
        log = self._log
        state = log.folded
        for number, act in enumerate(acts, self._counter() + 1):
            state = release.apply(state, entry(log.row.cursor + 1, now, log.row.credential, act, number))

    def _counter(self) -> int:
        device = self._log.consent.devices.get(self._log.own_card.fingerprint)
        return device.counter if device is not None else 0

    @staticmethod
    def _events(draft: Draft) -> list[Procedure]:
        return [event.event for event in payload.decode_events(draft.content) if isinstance(event, Act)]

    def _seal_acts(self, acts: list[Procedure], draft: Draft | None) -> Outgoing:
        events: list[Event] = [Act.of(number, act) for number, act in enumerate(acts, self._counter() + 1)]
        return self._seal(events, Kind.ACT, self._log.charter.retention.procedure, draft)

    def _seal(self, events: list[Event], kind: Kind, life: int, draft: Draft | None) -> Outgoing:
        log = self._log
        key = log.group.next_generation()
        envelope = Envelope(seq=log.chain.seq, chain=log.chain.head, key=key, events=events)
        data = payload.encode(envelope)
        with log.step():
            sealed, changes = log.group.encrypt(data, pad_to=bucket_for)
            log.store.change_records(changes)
            number = draft.number if draft is not None else None
            return self._put(kind, sealed, data, handshake=envelope.procedure, life=life, draft=number)

    def commit(
        self,
        now: int,
        *,
        add: bytes | None = None,
        seated: Seated | None = None,
        admit: Admit | None = None,
        remove: tuple[bytes, ...] = (),
        charter: bytes | None = None,
    ) -> Outgoing:
        """Stages and saves a commit: an Add (with whom it seats), removals, another charter's hash, or only new keys.

        `admit` says what goes to the service with the Welcome, in the same append. The epoch that follows waits in
        the vault until the log holds the commit. Raises UserError when the others would hold it void.
        """
        log = self._log
        log.check_may_send()
        if log.store.outbox.outgoing() is not None:
            raise RuntimeError("an entry is under way: send it first")
        events: list[Event] = [seated] if seated is not None else []
        key = log.group.next_generation(handshake=True)
        envelope = Envelope(seq=log.chain.seq, chain=log.chain.head, key=key, events=events)
        stamp = payload.encode(envelope)
        leaves = [member.leaf for member in log.group.members if member.credential in remove]
        with log.step():
            pending = log.group.stage(
                add=[add] if add is not None else [],
                remove=leaves,
                update=True,
                new_signature_key=True,
                extensions=[(CHARTER, charter)] if charter is not None else None,
                authenticated_data=seal_stamp(log.stamp_key(), stamp),
                pad_to=bucket_for,
            )
            place = (log.row.cursor + 1, now)
            try:
                judged = judge_commit(log.folded, log.members, log.group, pending.staged, envelope, *place)
            except Void as error:
                raise UserError(f"the others would refuse this: {error}") from None
            if judged.commit is None:
                raise TypeError("a commit is judged as one")
            log.store.change_records(pending.changes)
            log.store.replace_records(pending.staged.apply().records(), pending=True)
            outgoing = self._put(
                Kind.COMMIT,
                pending.commit,
                stamp,
                handshake=True,
                life=log.charter.retention.procedure,
                draft=None,
                admit=admit(pending.welcome, pending.ratchet_tree, judged.commit)
                if admit and pending.welcome
                else None,
                commit=canonical(judged.commit),
            )
        log.own_entries.commit_sealed = (outgoing.entry, now)
        return outgoing

    def _put(
        self,
        kind: Kind,
        sealed: bytes,
        envelope: bytes,
        *,
        handshake: bool,
        life: int,
        draft: int | None,
        admit: wire.Admit | None = None,
        commit: bytes = b"",
    ) -> Outgoing:
        row, secret = self._log.row, os.urandom(32)
        append = wire.Append(
            entry=os.urandom(16),
            handshake=handshake,
            sealed=sealed,
            life=life,
            delete_hash=hashlib.sha256(secret).digest(),
            handshake_head=row.handshake_head,
            count=row.count + 1,
            admit=admit,
        )
        row.count = append.count
        outgoing = Outgoing(
            append.entry, kind, append.model_dump_json().encode(), handshake, envelope, draft, secret, commit
        )
        self._log.store.outbox.put_outgoing(outgoing)
        return outgoing

    def drop_refused(self, *, with_draft: bool = False) -> None:
        """The entry under way was definitely refused. Its keys stay used up; its draft waits on, or goes too."""
        log = self._log
        with log.step():
            log.store.outbox.drop_outgoing(with_draft=with_draft)
            log.store.drop_records(pending=True)
            log.row.count -= 1

    def drop_unsealed(self, draft: int) -> bool:
        """Takes a draft back. False when it is already sealed and perhaps sent."""
        log = self._log
        outgoing = log.store.outbox.outgoing()
        if outgoing is not None and outgoing.draft == draft:
            return False
        with log.step():
            log.store.outbox.drop(draft)
        return True
