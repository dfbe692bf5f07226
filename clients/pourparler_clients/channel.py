"""A channel as a program uses it: fold to the head, say, watch, leave, close.

The client folds to the head before it shows or sends anything. A line that breaks loses nothing: what was to be
said waits in the vault, in order, until the log holds it.
"""

import asyncio
import hashlib
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final

from pourparler_policies import wire
from pourparler_policies.limits import DAY
from pourparler_policies.payload import Closed, Event, Leaving, Said, Seated, check_text
from pourparler_policies.wire import Problem

from .api import Api
from .errors import Halted, PourparlerError, Refused, Stale, Unreachable, UserError, WrongCount
from .log import FORKED, OLD_COPY, RESTORED, SET_BACK, Clock, Happening, Log
from .store import Outgoing, State

Connect = Callable[[str, bytes | None], Api]

MAX_TRIES: Final = 12  # times a handshake is sealed anew before the person is told that the channel is too busy
# Refusals that sending again would not change: the text is given up, and the person is told.
_NEVER: Final = (Problem.OVER_CAP, Problem.TOO_LARGE, Problem.MALFORMED, Problem.ID_REUSED)
_CONTRADICTION: Final = "the service contradicts itself: tell its operator"
# Refusals that pass by themselves: a watching device comes back.
_PASSING: Final = (Problem.BUDGET, Problem.UNAVAILABLE)
RECONNECT: Final = (0.2, 30.0)  # seconds: first and longest pause before a broken stream is opened again


class Channel:
    """One channel on this device. Methods may be called from several tasks; they take turns."""

    def __init__(self, log: Log, connect: Connect, clock: Clock) -> None:
        self.log = log
        self.clock = clock
        self._api = connect(log.row.url, log.row.token)
        self._turn = asyncio.Lock()
        self._checked = False
        self._watched = False
        self._at_head = False  # a stream is open and keeps this device there: no page is asked for
        self._ended = False
        self._gone: list[bytes] = []  # devices that the log has removed, and the service may not know yet
        self._news: asyncio.Queue[Happening] = asyncio.Queue()

    @property
    def id(self) -> bytes:
        """The channel's random id, 16 bytes."""
        return self.log.row.id

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._api.close()

    async def sync(self) -> list[Happening]:
        """Folds the log to its head, then sends what waits.

        Returns what is new since the last call; while `watch` runs, news comes there and nowhere else.
        """
        async with self._turn:
            await self._sync()
        if self._watched:
            return []
        return [self._news.get_nowait() for _ in range(self._news.qsize())]

    async def say(self, text: str, life: int | None = None) -> None:
        """Says a text, off the record, for `life` seconds (at most the terms' life).

        Once this returns, the text is in the log or (Unreachable) waits in the vault and will be sent.
        Raises UserError for a text that cannot be sent, Halted when this device must not send.
        """
        check_text(text)
        longest = self.log.terms.life
        if life is not None and not 1 <= life <= longest:
            raise UserError(f"a message in this channel lives 1 to {longest} seconds")
        self.log.check_may_send()
        said = self._draft(Said(id=os.urandom(16), text=text, life=life or longest), life or longest)
        try:
            async with self._turn:
                await self._sync()
        except Refused as refusal:
            if self.log.store.has_draft(said):
                raise Unreachable(f"{refusal} (the message waits in the vault)") from None
            raise
        if said not in self.log.delivered:
            self.log.check_may_send()
            raise UserError("this was not said: its life was over before it could be sent")

    async def leave(self) -> None:
        """Leaves: the others remove this device; everything of the channel on it is erased."""
        await self._farewell(Leaving())

    async def close_for_all(self) -> None:
        """Ends the channel for everyone: every device erases it."""
        await self._farewell(Closed())

    async def _farewell(self, event: Event) -> None:
        self.log.check_may_send()
        async with self._turn:
            await self._sync()
            if self.log.row.state is State.OPEN:
                draft = self._draft(event, self.log.terms.procedure_life)
                try:
                    await self._sync()
                except PourparlerError:
                    # A farewell that failed must not happen by itself later, when somebody only wanted to read.
                    if self.log.drop_unsealed(draft):
                        raise
                    raise Unreachable("it may still be sent, when the service answers again") from None
        if not self._ended:
            self.log.check_may_send()

    async def refresh_keys(self) -> None:
        """Updates this device's keys now: a thief of an earlier state reads nothing after it."""
        async with self._turn:
            await self._sync(update=False)
            await self.commit(self.log.seal_commit)

    async def seat(
        self, key_package: bytes, seated: Seated, admit: Callable[[bytes, bytes | None], wire.Admit]
    ) -> None:
        """Adds a device; its Welcome goes with the same append. Returns when the log holds the Add."""
        async with self._turn:
            await self._sync(update=False)
            if seated.credential not in self.log.members:
                await self.commit(lambda: self.log.seal_commit(add=key_package, seated=seated, admit=admit))

    async def create_box(self, box: bytes, token: bytes, life: int) -> None:
        """Opens a drop box for an invitation; `token` of 32 bytes gives access, for `life` seconds."""
        token_hash = hashlib.sha256(token).digest()
        await self._api.create_box(self.id, wire.CreateBox(box=box, token_hash=token_hash, life=life))

    async def watch(self) -> AsyncIterator[Happening]:
        """What happens, as it happens; reconnects by itself. Ends when the channel does."""
        pause = RECONNECT[0]
        self._watched = True
        pump = asyncio.create_task(self._pump())
        try:
            while True:
                get = asyncio.create_task(self._news.get())
                done, _ = await asyncio.wait({get, pump}, return_when=asyncio.FIRST_COMPLETED)
                if get in done:
                    pause = RECONNECT[0]
                    yield get.result()
                else:
                    get.cancel()
                    while not self._news.empty():
                        yield self._news.get_nowait()
                    error = pump.exception()
                    passing = isinstance(error, Refused) and error.problem in _PASSING
                    if error is not None and not isinstance(error, Unreachable) and not passing:
                        raise error
                    if not self._reads():
                        return
                    await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 -- jitter, not a secret
                    pause = min(pause * 2, RECONNECT[1])
                    pump = asyncio.create_task(self._pump())
        finally:
            self._watched = False
            pump.cancel()
            with suppress(asyncio.CancelledError, Unreachable, Refused):
                await pump

    async def _pump(self) -> None:
        async with self._turn:
            await self._sync()
        if not self._reads():
            return
        try:
            async for entry in self._api.stream(self.id, self.log.row.cursor):
                if entry is None:
                    self._at_head = True
                    continue
                async with self._turn:
                    self._tell(self.log.fold([entry]))
                    await self._finish_if_ended()
                    if not self._reads():
                        return
        finally:
            self._at_head = False

    def _tell(self, happened: list[Happening]) -> None:
        # At once: what was folded is not folded again, whatever breaks next.
        for happening in happened:
            self._news.put_nowait(happening)
            if happening.kind == "left" and happening.member is not None:
                self._gone.append(happening.member.device)

    def _draft(self, event: Event, life: int) -> int:
        with self.log.step():
            return self.log.store.add_draft(event.model_dump_json().encode(), life, self.clock() + life)

    # Under the turn

    async def _sync(self, *, update: bool = True) -> None:
        if not self._at_head:
            await self._pull()
        if self.log.row.state is State.OPEN:
            await self._remove_leaving()
        if self.log.row.state is State.OPEN:
            if update and self.log.store.waiting() and self._update_due():
                await self._commit_if_possible(self.log.seal_commit)
            await self._flush()

    async def _pull(self) -> None:
        changed = 0
        if not self._checked and self._reads():
            await self._check_service()
        while self._reads():
            row = self.log.row  # a failed step would have read it anew
            page = await self._api.entries(self.id, row.cursor)
            if page.incarnation != row.incarnation:
                changed += 1
                if changed > 1:
                    raise Refused(_CONTRADICTION)
                await self._check_service()
            elif page.head < row.cursor:
                self._stop(SET_BACK)
            else:
                before = row.cursor
                self._tell(self.log.fold(page.entries))
                if page.entries and self.log.row.cursor == before and self._reads():
                    raise Refused(_CONTRADICTION)
                if not page.entries:
                    # Entries at the end may have ended before this device saw them.
                    self.log.skip_to(page.head)
                    break
        await self._finish_if_ended()

    def _reads(self) -> bool:
        return self.log.row.state in (State.OPEN, State.ALARM)

    async def _check_service(self) -> None:
        """Once a connection: is this vault the newest copy, and has the service kept what it accepted?"""
        seen = await self._api.channel(self.id)
        row = self.log.row
        used = {row.count - 1, row.count} if self.log.store.outgoing() else {row.count}
        if seen.count not in used:
            return self._stop(OLD_COPY if seen.count > row.count else SET_BACK)
        if seen.head < row.cursor:
            return self._stop(SET_BACK)
        if seen.incarnation != row.incarnation:
            with self.log.step():
                self.log.row.incarnation = seen.incarnation
            self._alarm(RESTORED)
        self._checked = True
        return None

    def _stop(self, why: str) -> None:
        with self.log.step():
            happened = self.log.halt(why)
        self._tell(happened)

    def _alarm(self, why: str) -> None:
        with self.log.step():
            happened = self.log.alarm(why)
        self._tell(happened)

    async def _flush(self, *, drafts: bool = True) -> None:
        """Sends the entry under way, then draft after draft, each until the log holds it."""
        while self.log.row.state is State.OPEN:
            outgoing = self.log.store.outgoing() or (self.log.seal_next(self.clock()) if drafts else None)
            if outgoing is None:
                break
            if await self._too_late(outgoing):
                continue
            try:
                await self._send(outgoing)
            except Stale:
                await self._catch_up(outgoing)

    async def _too_late(self, outgoing: Outgoing) -> bool:
        """Gives up an entry whose life ended under way, unless the service has it: it would live a second time."""
        if outgoing.draft is None or not self.log.store.draft_ended(outgoing.draft, self.clock()):
            return False
        seen = await self._api.channel(self.id)
        if seen.count != self.log.row.count - 1:
            return False
        self.log.drop_refused(with_draft=True)
        return True

    async def _send(self, outgoing: Outgoing) -> None:
        """Sends one saved entry and folds up to it. Raises Stale after dropping it for a definite refusal."""
        try:
            receipt = await self._api.append(self.id, outgoing.append)
        except Stale:
            self.log.drop_refused()
            raise
        except WrongCount as refusal:
            return self._stop(OLD_COPY if refusal.count >= self.log.row.count else SET_BACK)
        except Refused as refusal:
            # An answer that is no problem document says nothing of what the service did: the entry stays.
            if refusal.problem in _NEVER:
                self.log.drop_refused(with_draft=True)
            elif outgoing.handshake and refusal.problem is not None:
                self.log.drop_refused()
            raise
        if receipt.seq == self.log.row.cursor + 1:
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
            self._tell(self.log.fold([entry]))
            return await self._finish_if_ended()
        await self._pull()
        if self.log.row.state is State.OPEN and self.log.store.outgoing() == outgoing:
            if outgoing.handshake or self.log.row.cursor < receipt.seq:
                # Accepted, it says, and yet not in the log that it shows.
                self._alarm(FORKED)
            else:
                self.log.resolve_ended()
        return None

    async def _catch_up(self, refused: Outgoing) -> None:
        """Folds what made an entry stale. A log that does not show it is not the log that others see."""
        seen = wire.Append.model_validate_json(refused.append).handshake_head
        await self._pull()
        if self.log.row.state is State.OPEN and self.log.row.handshake_head <= seen:
            self._alarm(FORKED)

    async def commit(self, seal: Callable[[], Outgoing]) -> None:
        """Seals and sends a commit, anew on the new head while others are faster."""
        for attempt in range(MAX_TRIES):
            await self._flush(drafts=False)
            self.log.check_may_send()
            outgoing = seal()
            try:
                await self._send(outgoing)
            except Stale:
                await asyncio.sleep(random.uniform(0, 0.05 * 2 ** min(attempt, 6)))  # noqa: S311 -- jitter
                await self._catch_up(outgoing)
            else:
                self.log.check_may_send()
                return
        raise Refused("the others change the channel faster than this line allows: try again in a minute")

    async def _remove_leaving(self) -> None:
        """Whoever sends next commits the removal of those who leave (DESIGN 4.3)."""
        leaving = tuple(c for c, m in self.log.members.items() if m.leaving)
        if not leaving or not self.log.store.waiting():
            return
        await self._commit_if_possible(lambda: self.log.seal_commit(remove=leaving))

    async def _commit_if_possible(self, seal: Callable[[], Outgoing]) -> None:
        """A full budget, or others who are faster, delay a commit; what people said does not wait for it."""
        try:
            await self.commit(seal)
        except Refused as refusal:
            if refusal.problem not in (Problem.BUDGET, None):
                raise
            if self.log.store.outgoing() is not None:
                raise

    def _update_due(self) -> bool:
        elapsed = self.clock() - self.log.row.updated_at
        return elapsed > min(self.log.terms.update, DAY)

    async def _finish_if_ended(self) -> None:
        """After an ending, this device's or another's: the service forgets its token, the vault what has ended."""
        while self._gone and self._reads():
            with suppress(Refused):  # it has ended its token itself, or the voices of the others were enough
                await self._api.ask_revocation(self.id, self._gone[-1])
            self._gone.pop()
        # A halt is no ending: nothing is erased on the service's word.
        if self.log.row.state not in (State.REMOVED, State.CLOSED) or self._ended:
            return
        with suppress(Refused):  # the service may have forgotten it first
            await self._api.end_device(self.id)
        with self.log.vault.transaction():
            self.log.store.delete()
        self.log.vault.empty_journal()
        self._ended = True

    def require_open(self) -> None:
        """Raises Halted unless this device may send here."""
        self.log.check_may_send()
        if self.log.row.state is not State.OPEN:
            raise Halted(self.log.row.trouble)
