"""This device's own entries at their place in the log: they take effect there, like everybody's, or are void."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pourparler_crypto.mls import Group
from pourparler_policies import payload, release, wire
from pourparler_policies.errors import Unknown, Void
from pourparler_policies.fold.decoding import decode_commit
from pourparler_policies.fold.events import Entry
from pourparler_policies.payload import Attesting

from .happenings import Happening
from .judging import Judged, judge_application
from .outbox import Kind, Outgoing
from .troubles import FORKED, UNKNOWN

if TYPE_CHECKING:
    from .log import Log


class OwnEntries:
    """What became of what one log's device has sent."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.delivered: dict[int, str] = {}  # drafts that the log was seen to hold, and why one counts for nothing
        # The newest own commit of this process: its entry's id, and when by its clock.
        self.commit_sealed = (b"", 0)
        self.in_vain = False  # what this device owed by itself did not count: its clock may be fast

    def fold(self, entry: wire.Entry, outgoing: Outgoing) -> list[Happening]:
        """The entry under way has come to its place in the log; in the fold's transaction."""
        if wire.Append.model_validate_json(outgoing.append).sealed != entry.sealed or (
            outgoing.handshake != entry.handshake
        ):
            return self._log.alarm(FORKED)
        said = self._log.store.outbox.envelope(outgoing)
        self._log.store.outbox.drop_outgoing(with_draft=True)
        if not said:  # its life was over before it came here
            self._deliver(outgoing)
            return []
        envelope = payload.decode(said)
        if outgoing.kind is Kind.COMMIT:
            return self._fold_commit(entry, envelope, outgoing.commit)
        author = self._log.row.credential
        try:
            self._log.ending.check_renewed(author, entry.received_at)
            judged = judge_application(self._log.folded, envelope, author, entry.seq, entry.received_at)
        except Void as error:
            self._deliver(outgoing, str(error))
            self.in_vain |= outgoing.draft is None
            return [Happening("refused", entry.seq, text=str(error))] if outgoing.draft is not None else []
        except Unknown:
            return self._log.halt(UNKNOWN)
        void = next((void for _, _, void in judged.acts if void), "")
        self._deliver(outgoing, void)
        self.in_vain |= bool(void) and outgoing.draft is None
        return self._log.apply(entry, judged, author, outgoing)

    def _fold_commit(self, entry: wire.Entry, envelope: payload.Envelope, commit: bytes) -> list[Happening]:
        following = Group.load(self._log.store.records(pending=True))
        self._log.store.drop_records(pending=True)
        does = decode_commit(commit)
        try:
            self._log.ending.check_renewed(self._log.row.credential, entry.received_at)
            after = release.apply(
                self._log.folded, Entry(entry.seq, entry.received_at, self._log.row.credential, does)
            )
            judged = Judged(envelope, after, does)
        except Void:  # for instance a notice that had not passed by the service's clock: void for everybody
            return []
        self._log.ending.retire(self._log.group.signature_seed)
        # By this device's own clock; after a crash by the service's, which may lie, but must not put it off.
        sealed, at = self.commit_sealed
        self._log.row.updated_at = min(at if sealed == entry.entry else entry.received_at, self._log.clock())
        return self._log.begin_epoch(entry, judged, following)

    def resolve_ended(self) -> None:
        """The entry under way was accepted, and ended before this device could fold it."""
        outgoing = self._log.store.outbox.outgoing()
        with self._log.step():
            if outgoing is not None:
                self._deliver(outgoing)
                if outgoing.kind is Kind.ATTESTING:
                    events = payload.decode(outgoing.envelope).events
                    self._log.attestations.sent(event for event in events if isinstance(event, Attesting))
            self._log.store.outbox.drop_outgoing(with_draft=True)
            self._log.row.missed = max(0, self._log.row.missed - 1)

    def _deliver(self, outgoing: Outgoing, void: str = "") -> None:
        if outgoing.draft is not None:
            self.delivered[outgoing.draft] = void
