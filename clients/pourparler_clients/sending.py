"""What this device has to send, until the log holds it: the entry under way, drafts, commits.

Every method runs under the channel's turn. An entry is saved before it is sent, and resent byte for byte until the
service has said what became of it.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Final

from pourparler_policies import wire
from pourparler_policies.wire import Problem

from .api import NEVER, Api
from .errors import Refused, Stale, UserError, WrongCount
from .fetching import Fetcher
from .happenings import Happening
from .log import Log
from .outbox import Kind, Outgoing
from .pulling import Pulling
from .sealing import Sealer
from .store import State
from .troubles import FORKED, OLD_COPY, SET_BACK

MAX_TRIES: Final = 12  # times a handshake is sealed anew before the person is told that the channel is too busy
IN_VAIN: Final = 60  # seconds before a device tries again what did not count, for its clock seems to be fast


class Sending:
    """Sends one channel's entries, one at a time."""

    def __init__(
        self,
        log: Log,
        api: Api,
        halves: Fetcher,
        sealer: Sealer,
        pulling: Pulling,
        tell: Callable[[list[Happening]], None],
    ) -> None:
        self._log = log
        self._api = api
        self._halves = halves
        self._sealer = sealer
        self._pulling = pulling
        self._tell = tell
        self.handshakes_at = 0  # when the service's budget may let this device change something again

    async def flush(self, *, drafts: bool = True) -> None:
        """Sends the entry under way, then draft after draft, each until the log holds it."""
        while self._log.row.state is State.OPEN:
            outgoing = self._log.store.outbox.outgoing()
            if outgoing is None and drafts:
                outgoing, happened = await self._halves.with_halves(
                    lambda: self._sealer.next(self._log.clock(), owed=self._log.clock() >= self.handshakes_at)
                )
                self._tell(happened)
            if outgoing is None:
                break
            if await self._too_late(outgoing):
                continue
            try:
                self._log.own_entries.in_vain = False
                await self.send(outgoing)
                if (
                    self._log.own_entries.in_vain
                ):  # by the log's time it is too early: it would be void again at once
                    self.handshakes_at = self._log.clock() + IN_VAIN
            except Stale:
                await self._catch_up(outgoing)
            except Refused as refusal:
                # What the device owes by itself waits for the budget; what people say does not wait for it.
                if refusal.problem is not Problem.BUDGET or outgoing.kind is not Kind.ACT or outgoing.draft:
                    raise
                self.handshakes_at = self._log.clock() + max(1, refusal.retry_after)

    async def _too_late(self, outgoing: Outgoing) -> bool:
        """Gives up an entry whose life ended under way, unless the service has it: it would live a second time."""
        if outgoing.draft is None or not self._log.store.outbox.is_over(outgoing.draft, self._log.clock()):
            return False
        seen = await self._api.channel(self._log.row.id)
        if seen.count != self._log.row.count - 1:
            return False
        self._sealer.drop_refused(with_draft=True)
        return True

    async def send(self, outgoing: Outgoing) -> None:
        """Sends one saved entry and folds up to it. Raises Stale after dropping it for a definite refusal."""
        try:
            receipt = await self._api.append(self._log.row.id, outgoing.append)
        except Stale:
            self._sealer.drop_refused()
            raise
        except WrongCount as refusal:
            return self._pulling.stop(OLD_COPY if refusal.count >= self._log.row.count else SET_BACK)
        except Refused as refusal:
            # An answer that is no problem document says nothing of what the service did: the entry stays.
            if refusal.problem in NEVER:
                self._sealer.drop_refused(with_draft=True)
            elif outgoing.handshake and refusal.problem is not None:
                self._sealer.drop_refused()
            raise
        if receipt.seq == self._log.row.cursor + 1:
            # Nothing lies between: this is the next entry of the log, and the vault knows its bytes.
            append = wire.Append.model_validate_json(outgoing.append)
            entry = wire.Entry(
                seq=receipt.seq,
                entry=append.entry,
                handshake=append.handshake,
                sealed=append.sealed,
                received_at=receipt.received_at,
                expires_at=receipt.expires_at,
            )
            await self._pulling.fold([entry])
            return await self._pulling.finish_if_ended()
        await self._pulling.pull()
        if self._log.row.state is State.OPEN and self._log.store.outbox.outgoing() == outgoing:
            if outgoing.handshake or self._log.row.cursor < receipt.seq:
                # Accepted, it says, and yet not in the log that it shows.
                self._pulling.alarm(FORKED)
            else:
                self._log.own_entries.resolve_ended()
        return None

    async def _catch_up(self, refused: Outgoing) -> None:
        """Folds what made an entry stale. A log that does not show it is not the log that others see."""
        seen = wire.Append.model_validate_json(refused.append).handshake_head
        await self._pulling.pull()
        if self._log.row.state is State.OPEN and self._log.row.handshake_head <= seen:
            self._pulling.alarm(FORKED)

    async def commit(self, seal: Callable[[], Outgoing]) -> None:
        """Seals and sends a commit, anew on the new head while others are faster."""
        for attempt in range(MAX_TRIES):
            await self.flush(drafts=False)
            self._log.check_may_send()
            outgoing = seal()
            try:
                await self.send(outgoing)
            except Stale:
                await asyncio.sleep(random.uniform(0, 0.05 * 2 ** min(attempt, 6)))  # noqa: S311 -- jitter
                await self._catch_up(outgoing)
            else:
                self._log.check_may_send()
                return
        raise Refused("the others change the channel faster than this line allows: try again in a minute")

    async def commit_if_possible(self, seal: Callable[[], Outgoing]) -> None:
        """A full budget, or others who are faster, delay a commit; what people said does not wait for it."""
        try:
            await self.commit(seal)
        except UserError:  # others were faster: nothing is left to do
            return
        except Refused as refusal:
            if refusal.problem not in (Problem.BUDGET, None):
                raise
            if self._log.store.outbox.outgoing() is not None:
                raise
            self.handshakes_at = self._log.clock() + max(1, refusal.retry_after)
