"""What this device owes at every visit to the service: commits, a complaint, the end of what is to end there.

Every method runs under the channel's turn. What is due, `upkeep.py` says; what of it waits to be sealed as an entry,
`sealing.py` takes up.
"""

import hashlib
import os
from contextlib import suppress

from pourparler_crypto.mls.limits import MAX_FORWARD
from pourparler_policies import wire
from pourparler_policies.wire import Problem

from .api import Api
from .errors import Refused, Stale, WrongCount
from .log import Log
from .sealing import Sealer
from .sending import Sending
from .store import State
from .upkeep import due_charter, due_presence, due_removals
from .uploads import Uploads


class Dues:
    """Does what one channel's device owes."""

    def __init__(self, log: Log, api: Api, sealer: Sealer, sending: Sending, uploads: Uploads) -> None:
        self._log = log
        self._api = api
        self._sealer = sealer
        self._sending = sending
        self._uploads = uploads
        self._reconvened = 0  # the end of the recess after which this device has renewed its keys
        self._dropped: set[bytes] = set()  # late devices whose tokens this device has asked to end

    async def commits(self) -> None:
        """Leaves that have to go, a charter that every party has approved, a sign of being there (DESIGN 4.3)."""
        if (
            self._log.clock() < self._sending.handshakes_at
            or self._log.store.outbox.outgoing() is not None
            or self._log.closing
        ):
            return
        if due_removals(self._log, self._log.clock()):
            await self._sending.commit_if_possible(
                lambda: self._sealer.commit(self._log.clock(), remove=due_removals(self._log, self._log.clock()))
            )
        if self._log.row.state is State.OPEN and due_charter(self._log, self._log.clock()):
            await self._sending.commit_if_possible(
                lambda: self._sealer.commit(self._log.clock(), charter=due_charter(self._log, self._log.clock()))
            )
        if self._log.row.state is State.OPEN and due_presence(self._log, self._log.clock()):
            await self._sending.commit_if_possible(lambda: self._sealer.commit(self._log.clock()))

    async def update(self) -> None:
        """New keys for this device, if it is time for them."""
        if self._update_due():
            await self._sending.commit_if_possible(lambda: self._sealer.commit(self._log.clock()))

    def _update_due(self) -> bool:
        """On the charter's schedule: before something is said, somewhat later by itself; and once after a recess."""
        if self._log.closing:
            return False
        if self._log.group.next_generation() > MAX_FORWARD // 2:  # beyond MAX_FORWARD nobody would read it
            return True
        row, now, recess = self._log.row, self._log.clock(), self._log.consent.recess
        if row.updated_at < recess <= now and self._reconvened != recess:
            self._reconvened = recess  # a clock that is fast must not make it again and again
            return True
        # Not all at the same moment; each device always as much later.
        period = self._log.charter.retention.keys
        later = 0 if self._log.store.outbox.waiting() else period * row.credential[0] // 1024
        return now - row.updated_at > period + later

    async def complain(self) -> None:
        """A device that alone cannot process a commit says so, under a key of the epoch that it shares."""
        sealed = self._log.store.own_complaint()
        if not sealed:
            return
        seen = await self._api.channel(self._log.row.id)
        append = wire.Append(
            entry=hashlib.sha256(b"complaint" + sealed).digest()[:16],  # the same at every try
            handshake=True,
            sealed=sealed,
            life=self._log.charter.retention.procedure,
            delete_hash=os.urandom(32),
            handshake_head=seen.handshake_head,
            count=seen.count + 1,
        )
        try:
            await self._api.append(self._log.row.id, append.model_dump_json().encode())
        except (Stale, WrongCount):
            return  # at the next visit
        except Refused as refusal:
            if refusal.problem is Problem.BUDGET:
                return
            if refusal.problem is not Problem.ID_REUSED:  # which says that the log holds it: an answer was lost
                raise
        with self._log.step():
            self._log.row.count = append.count
            self._log.store.save_complaint(b"")

    async def delete_sent(self) -> None:
        """Own entries that were taken back, or erased with their session, end at the service too; so do own files."""
        await self._uploads.delete_due()
        for sent in self._log.store.messages.due_deletions(self._log.clock()):
            try:
                await self._api.delete(self._log.row.id, sent.entry, sent.secret)
            except Refused as refusal:
                if refusal.problem is not Problem.NOT_FOUND:
                    return  # at the next visit
            with self._log.step():
                self._log.store.messages.drop_sent(sent.seq)

    async def end_late_tokens(self) -> None:
        """Devices that nobody waits for at the end of a channel: their access to what lies at the service ends too."""
        for credential in self._log.ending.late(self._log.clock()) if self._log.closing else ():
            member = self._log.members.get(credential)
            if member is not None and credential not in self._dropped:
                with suppress(Refused):  # it is gone already
                    await self._api.ask_revocation(self._log.row.id, member.device)
                self._dropped.add(credential)
