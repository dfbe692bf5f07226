"""A channel as a program uses it: fold to the head, say, do, watch.

It is longer than 500 lines, for it is the one door to a channel: halves of keys are fetched in `fetching.py`.

The client folds to the head before it shows or sends anything. A line that breaks loses nothing: what was to be
said or done waits in the vault, in order, until the log holds it; what came in and could not be stored for want of the
service's half of a key (`hours.py`) is folded when the half is here. What the device owes by itself (attestation,
votes, removals: `upkeep.py`) goes with every visit to the log.
"""

import asyncio
import hashlib
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final, TypeVar

from pourparler_crypto.mls.limits import MAX_FORWARD
from pourparler_policies import payload, wire
from pourparler_policies.admission import Member
from pourparler_policies.errors import Void
from pourparler_policies.fold import subject_digest
from pourparler_policies.fold.events import Approved, Leaving, Proposed
from pourparler_policies.fold.facts import Close, Replace, Subject
from pourparler_policies.payload import Act, Said, Seated, Shortened, Shuttle, check_text
from pourparler_policies.release.decoding import Act as Procedure
from pourparler_policies.wire import Problem

from .api import NEVER, Api
from .downloads import Downloads
from .ending import AWAY, SAYS_CLOSED
from .errors import (
    Halted,
    Lacking,
    PourparlerError,
    Refused,
    Stale,
    Unkept,
    Unreachable,
    UserError,
    Waits,
    WrongCount,
)
from .fetching import CONTRADICTION, Fetcher
from .happenings import Happening
from .ideas import Ideas
from .log import FORKED, OLD_COPY, RESTORED, SET_BACK, Clock, Log
from .messages import Message
from .onetext import Side
from .outbox import Kind, Outgoing
from .releasing import Releases
from .sealing import Admit, Sealer
from .shuttle.room import Shuttles
from .soundings import Soundings
from .store import State
from .upkeep import due_charter, due_presence, due_removals
from .uploads import Uploads

Connect = Callable[[str, bytes | None], Api]
T = TypeVar("T")

_GOODBYE: Final = 5.0  # seconds that a device waits for the service when a channel has ended
MAX_TRIES: Final = 12  # times a handshake is sealed anew before the person is told that the channel is too busy
_NO_KEY: Final = (
    "the service has no key yet for so late an end: if this device's clock is fast, set it and try again"
)
# What a service says of a channel that has ended, or to a device whose token has.
_GONE: Final = (Problem.CLOSED, Problem.UNAUTHORIZED)
# Refusals that pass by themselves: a watching device comes back.
_PASSING: Final = (Problem.BUDGET, Problem.UNAVAILABLE)
RECONNECT: Final = (0.2, 30.0)  # seconds: first and longest pause before a broken stream is opened again
TEND: Final = 5.0  # seconds between looks at what a watching device owes: votes and lapsed runs come due by time
IN_VAIN: Final = 60  # seconds before a device tries again what did not count, for its clock seems to be fast
JITTER: Final = 0.3  # seconds within which one of several watching devices is first to do what all of them owe


class Channel:
    """One channel on this device. Methods may be called from several tasks; they take turns."""

    def __init__(self, log: Log, connect: Connect, clock: Clock) -> None:
        self.log = log
        self.sealer = Sealer(log)
        self.soundings = Soundings(self)
        self.clock = clock
        self._connect = connect
        self._api = connect(log.row.url, log.row.token)
        self._halves = Fetcher(log, self._api)
        self.uploads = Uploads(self)
        self.downloads = Downloads(self)
        self.shuttle = Shuttles(self)
        self.ideas = Ideas(self, connect)
        self._turn = asyncio.Lock()
        self._checked = False
        self._watched = False
        self._at_head = False  # a stream is open and keeps this device there: no page is asked for
        self._ended = False
        self._handshakes_at = 0  # when the service's budget may let this device change something again
        self._reconvened = 0  # the end of the recess after which this device has renewed its keys
        self._dropped: set[bytes] = set()  # late devices whose tokens this device has asked to end
        self._gone: list[bytes] = []  # devices that the log has removed, and the service may not know yet
        self._news: asyncio.Queue[Happening] = asyncio.Queue()
        self._owes = asyncio.Event()
        self._unkept: list[
            tuple[Said | Shuttle, int]
        ] = []  # said while no key was at hand, until when (Unix seconds)
        self.releases = Releases(self)
        self.onetext = Side(self)

    @property
    def id(self) -> bytes:
        """The channel's random id, 16 bytes."""
        return self.log.row.id

    @property
    def watched(self) -> bool:
        """Whether `watch` runs: then this device takes part in whatever goes on."""
        return self._watched

    @property
    def api(self) -> Api:
        """This device's connection; used under the turn."""
        return self._api

    async def with_halves(self, step: Callable[[], T]) -> T:
        """Does a step of the vault, with the halves of keys that it lacks. Raises Unreachable, Refused."""
        try:
            return step()
        except Lacking:
            async with self._turn:
                return await self.halves_for(step)

    async def halves_for(self, step: Callable[[], T]) -> T:
        """The same for who has the turn."""
        return await self._halves.with_halves(step)

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

    async def look(self) -> None:
        """Folds to the head; what is new is told at the next `sync`."""
        async with self._turn:
            await self._sync()

    async def step(self, act: Callable[[], T]) -> T:
        """As `with_halves`, but always in turn: what was read before holds for what is done. Raises Unreachable."""
        async with self._turn:
            return await self.halves_for(act)

    # What a feature's class uses (`releasing.py`)

    @property
    def turn(self) -> asyncio.Lock:
        """Held while anything of this channel is read, changed or sent."""
        return self._turn

    @property
    def connect(self) -> Connect:
        """Opens a connection to a service, with a token or without."""
        return self._connect

    def draft(self, events: list[payload.Event], life: int, kind: Kind = Kind.ACT) -> int:
        """Keeps what is to be sent with the next visit, for `life` seconds; returns its number."""
        with self.log.step():
            return self.log.store.outbox.add(kind, payload.encode_events(events), life, self.clock() + life)

    def tell(self, happened: list[Happening]) -> None:
        """News for the person."""
        # At once: what was folded is not folded again, whatever breaks next.
        for happening in happened:
            self._news.put_nowait(happening)
            if happening.kind == "left" and happening.member is not None:
                self._gone.append(happening.member.device)

    async def catch_up(self) -> None:
        """Folds to the head and sends what waits; under the turn."""
        await self._sync()

    async def renew_keys(self) -> None:
        """A commit by which the log learns what time it is, unless others are faster; under the turn."""
        await self._commit_if_possible(lambda: self.sealer.commit(self.clock()))

    async def say(self, text: str, life: int | None = None) -> None:
        """Says a text, off the record, for `life` seconds (at most what the charter says).

        Once this returns, the text is in the log. Unreachable and Waits: it waits in the vault and will be sent;
        Unkept: it could not even be stored, and waits in memory. Raises UserError for a text that cannot be sent,
        Halted when this device must not send.
        """
        check_text(text)
        longest = self.log.charter.retention.messages
        if life is not None and not 1 <= life <= longest:
            raise UserError(f"a message in this channel lives 1 to {longest} seconds")
        await self.utter(Said(id=os.urandom(16), text=text, life=life or longest))

    async def utter(self, said: Said | Shuttle, *, waits: bool = True) -> None:
        """Says what `say` says, or a word on a carried message. Raises as `say` does; without `waits`, what was not
        sealed when the line broke is taken back.
        """
        self.log.check_may_speak()
        self._halves.lives.add(said.life)
        draft = await self._keep(said, waits=waits)
        try:
            await self.deliver(draft)
        except Unreachable:
            if not waits and self.log.store.outbox.has(draft):
                self.sealer.drop_unsealed(draft)
            raise

    async def deliver(self, draft: int) -> None:
        """Sends until the log holds this draft of a message; see `say`."""
        try:
            async with self._turn:
                await self._sync()
        except Refused as refusal:
            if self.log.store.outbox.has(draft):
                raise Unreachable(f"{refusal} (the message waits in the vault)") from None
            raise
        if draft in self.log.delivered:
            if self.log.delivered[draft]:
                raise UserError(f"this was not said: {self.log.delivered[draft]}")
            return
        self.log.check_may_speak()
        if self.log.store.outbox.has(draft):
            raise Waits(self.sealer.why_not_said())
        raise UserError("this was not said: its life was over before it could be sent")

    async def _keep(self, said: Said | Shuttle, *, waits: bool) -> int:
        """Stores what is to be said; returns the draft's number. Raises Unkept."""
        content, until = payload.encode_events([said]), self.clock() + said.life
        try:
            return self.log.add_draft(content, said.life, until)
        except Lacking:
            pass
        try:
            async with self._turn:
                return await self._halves.with_halves(lambda: self.log.add_draft(content, said.life, until))
        except Refused as refusal:
            raise UserError(_NO_KEY if refusal.problem is Problem.OVER_CAP else str(refusal)) from None
        except Unreachable:
            if not waits:
                raise
            self._unkept.append((said, until))
            raise Unkept(
                "there is no connection, and no key under which the message could be kept: it is in memory only, "
                "and is lost when this program ends before the connection is back"
            ) from None

    async def read(self, messages: list[Message], *, opened: bool = False) -> list[Message]:
        """Who shows messages calls this first, and shows what it returns: life after reading begins now.

        A file is read when it is `opened`, not when its name is shown. What cannot be stored under its shorter key now
        is left out: it is read when there is a connection.
        """
        try:
            return self.log.read(messages, opened=opened)
        except Lacking:
            pass
        async with self._turn:
            try:
                return await self._halves.with_halves(lambda: self.log.read(messages, opened=opened))
            except (Unreachable, Refused):
                return []

    async def shorten(self, seq: int, life: int) -> None:
        """Gives an own message `life` seconds since it was received, 0: it ends now, everywhere and at the service.

        Returns when the log holds that. Raises UserError when it is not an own message, or lives shorter already.
        Unreachable: it waits in the vault, and is done when the service answers.
        """
        message = next(
            (one for one in self.log.store.messages.shown(self.clock()) if one.seq == seq and one.own), None
        )
        if message is None or message.sender != self.log.row.credential:
            raise UserError("this is not a message of yours that is alive here")
        if message.received_at + life >= message.expires_at:
            raise UserError("it does not live longer than that anyway")
        self.log.check_may_send()
        shorter: list[payload.Event] = [Shortened(id=message.id, life=life)]
        draft = self.draft(shorter, self.log.charter.retention.procedure, Kind.SHORTENED)
        async with self._turn:
            await self._sync()
        if draft not in self.log.delivered:
            self.log.check_may_send()
            raise Waits("others change the channel now")

    async def set_own_rule(self, messages: int, after_reading: int) -> None:
        """Shorter lives on this device, in seconds; 0: no such rule. Raises UserError, Unreachable."""
        if messages < 0 or after_reading < 0:
            raise UserError("a life is more than no time")
        async with self._turn:
            await self._halves.with_halves(lambda: self.log.set_own_rule(messages, after_reading))
            await self._halves.ahead()

    def may_miss(self, life: int) -> list[Member]:
        """Who has been away for longer than a message of `life` seconds would wait for them, as far as one can know.

        A device that comes by renews its keys as often as the charter says; that is how it is heard of.
        """
        now, period = self.clock(), self.log.charter.retention.keys
        others = (member for member in self.log.members.values() if member.credential != self.log.row.credential)
        return [member for member in others if now - member.heard > life + 2 * period]

    async def do(self, *events: Procedure) -> None:
        """Does what these events of the procedure say, all in one entry; each has its rule in docs/consent.md.

        Returns when the log holds them and they count. Raises UserError when they would not, or did not, count;
        Unreachable when the service does not answer: they are taken back then, unless they may have been sent.
        """
        await self._do(lambda: [*events])

    async def _do(self, choose: Callable[[], list[Procedure]]) -> None:
        """As `do`; what to do is chosen when the log is folded to its head."""
        self.log.check_may_send()
        async with self._turn:
            await self._sync()
            self.log.check_may_send()
            events = choose()
            if not events:
                return
            try:
                self.sealer.check_acts(events, self.clock())
            except Void as error:
                raise UserError(f"this would count for nothing: {error}") from None
            acts: list[payload.Event] = [Act.of(number, event) for number, event in enumerate(events, 1)]
            draft = self.draft(acts, self.log.charter.retention.procedure)
            try:
                await self._sync()
            except PourparlerError:
                # An act that failed must not happen by itself later, when somebody only wanted to read.
                if self.log.store.outbox.has(draft) and self.sealer.drop_unsealed(draft):
                    raise
                if draft not in self.log.delivered:
                    raise Unreachable("it may still be sent, when the service answers again") from None
        void = self.log.delivered.get(draft)
        if void:
            raise UserError(f"this counts for nothing: {void}")
        if void is None and not self._ended:
            self.log.check_may_send()

    async def propose(self, subject: Subject, *, confirm: bool | None = False) -> bytes:
        """Puts a subject on the table and approves it, as far as that is still to be done; returns its digest (32
        bytes).

        `confirm`: the approval is subject to confirmation from home; None: this seat does not approve.
        """
        digest = b""

        def choose() -> list[Procedure]:
            nonlocal digest
            state = self.log.consent
            digest = subject_digest(state.rules, subject)
            held, own = state.open.get(digest), state.devices.get(self.log.own_card.fingerprint)
            events: list[Procedure] = [] if held is not None else [Proposed(subject)]
            given = held.approvals.get(own.seat) if held is not None and own is not None else None
            if confirm is not None and given is not (not confirm):  # else it would cost a handshake for nothing
                events.append(Approved(digest, confirm))
            return events

        await self._do(choose)
        return digest

    async def leave(self) -> None:
        """Leaves: the others remove this device; everything of the channel on it is erased."""
        await self.do(Leaving())

    async def close_for_all(self) -> None:
        """Asks everybody to end the channel: when every party that is here has approved, every device erases it."""
        async with self._turn:
            await self._sync()
        if not self.log.closing and not self._ended:
            await self.propose(Close())

    async def refresh_keys(self) -> None:
        """Updates this device's keys now: a thief of an earlier state reads nothing after it."""
        async with self._turn:
            await self._sync(update=False)
            await self.commit(lambda: self.sealer.commit(self.clock()))

    async def seat(self, key_package: bytes, seated: Callable[[], Seated], admit: Admit) -> None:
        """Adds a device; its Welcome goes with the same append. Returns when the log holds the Add.

        `seated` says who it is and on which ground, as of the newest state. Raises UserError when the rules do not
        let it in.
        """
        async with self._turn:
            await self._sync(update=False)
            await self.commit(lambda: self._seal_seat(key_package, seated(), admit))

    def _seal_seat(self, key_package: bytes, seated: Seated, admit: Admit) -> Outgoing:
        # A replaced card's leaf goes with the commit that seats its successor (docs/consent.md, 3).
        held = self.log.consent.open.get(seated.digest)
        old = held.subject.old if held is not None and isinstance(held.subject, Replace) else b""
        device = self.log.consent.devices.get(old)
        gone = (device.credential,) if device is not None and device.credential else ()
        return self.sealer.commit(self.clock(), add=key_package, seated=seated, admit=admit, remove=gone)

    async def remove(self, *credentials: bytes) -> None:
        """Takes leaves out of the group: devices that nobody has attested, or that have to go. Raises UserError."""
        async with self._turn:
            await self._sync(update=False)
            await self.commit(lambda: self.sealer.commit(self.clock(), remove=credentials))

    async def create_box(self, box: bytes, token: bytes, life: int) -> None:
        """Opens a drop box for an invitation; `token` of 32 bytes gives access, for `life` seconds."""
        token_hash = hashlib.sha256(token).digest()
        await self._api.create_box(self.id, wire.CreateBox(box=box, token_hash=token_hash, life=life))

    async def watch(self) -> AsyncIterator[Happening]:
        """What happens, as it happens; reconnects by itself. Ends when the channel does."""
        pause = RECONNECT[0]
        self._watched = True
        pump = asyncio.create_task(self._pump())
        attending = asyncio.create_task(self.ideas.attend(TEND))
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
            for task in (attending, pump):
                task.cancel()
                with suppress(asyncio.CancelledError, Unreachable, Refused):
                    await task

    async def _pump(self) -> None:
        async with self._turn:
            await self._sync()
        if not self._reads():
            return
        tending = asyncio.create_task(self._tend())
        try:
            async for entry in self._api.stream(self.id, self.log.row.cursor):
                if entry is None:
                    self._at_head = True
                    self._owes.set()
                    continue
                async with self._turn:
                    await self._fold([entry])
                    await self._finish_if_ended()
                    if self.log.row.state is State.HALTED:
                        await self._send_complaint()
                    if not self._reads():
                        return
                self._owes.set()
        finally:
            self._at_head = False
            tending.cancel()
            with suppress(asyncio.CancelledError, PourparlerError):
                await tending

    async def _tend(self) -> None:
        """While the stream is open: what the device owes, soon after each entry, and from time to time."""
        while self._reads():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._owes.wait(), self.ideas.pause(TEND))
                await asyncio.sleep(random.uniform(0, JITTER))  # noqa: S311 -- jitter, not a secret
            self._owes.clear()
            if self._at_head:
                async with self._turn:
                    with suppress(Unreachable, Refused):  # the stream will break too, or the budget fills again
                        await self._sync()

    # Under the turn

    async def _fold(self, entries: list[wire.Entry]) -> None:
        self.tell(await self._halves.with_halves(lambda: self.log.fold(entries)))

    async def open_texts(self) -> None:
        """Fetches what is missing to read what this device has stored. Raises Unreachable."""
        async with self._turn:
            await self._halves.stored()

    async def _keep_all_unkept(self) -> None:
        try:
            await self._halves.with_halves(self._keep_unkept)
        except Refused as refusal:
            if refusal.problem is not Problem.OVER_CAP:
                raise
            self._unkept.pop(0)
            self.tell([Happening("refused", self.log.row.cursor, text=_NO_KEY)])

    def _keep_unkept(self) -> None:
        """What was said while no key was at hand is stored as soon as one is."""
        while self._unkept:
            said, until = self._unkept[0]
            left = min(said.life, until - self.clock())
            try:
                if left > 0:
                    self.log.add_draft(payload.encode_events([said]), left, until)
            except UserError as error:
                self.tell([Happening("refused", self.log.row.cursor, text=str(error))])
            self._unkept.pop(0)

    async def _sync(self, *, update: bool = True) -> None:
        self.tell(self.log.expire_ending())
        if self._reads() and self.log.ending.is_out(self.clock()):
            self._stop(AWAY)
        try:
            await self._sync_with_service(update=update)
        except Refused as refusal:
            if refusal.problem not in _GONE or self._ended:
                raise
            if self.log.closing:
                # This device has read that the channel ends, and there is nothing more to be read or told.
                with self.log.step():
                    happened = self.log.finish_ending()
                self.tell(happened)
            elif refusal.problem is Problem.CLOSED:
                if self._reads():
                    self._stop(SAYS_CLOSED)
            else:
                raise
            await self._finish_if_ended()

    async def _sync_with_service(self, *, update: bool) -> None:
        if self.log.row.state not in (State.REMOVED, State.CLOSED):
            await self._halves.stored()
            await self._keep_all_unkept()
        if not self._at_head:
            await self._pull()
        if self.log.row.state is State.HALTED and not self._ended:
            await self._send_complaint()
        if self.log.row.state is State.OPEN:
            await self._owed_commits()
        if self.log.row.state is State.OPEN and self.log.rounds.all():
            self.tell(await self.ideas.visit())
        if self.log.row.state is State.OPEN:
            if update and self._update_due():
                await self._commit_if_possible(lambda: self.sealer.commit(self.clock()))
            await self._end_late_tokens()
            await self._halves.with_halves(self.shuttle.parcels.release)
            await self.flush()
        if self._reads():
            await self._delete_sent()
            await self._halves.ahead()
        await self.releases.follow()
        await self.soundings.follow()

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
                    raise Refused(CONTRADICTION)
                await self._check_service()
            elif page.head < row.cursor:
                self._stop(SET_BACK)
            else:
                before = row.cursor
                await self._fold(page.entries)
                if page.entries and self.log.row.cursor == before and self._reads():
                    raise Refused(CONTRADICTION)
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
        used = {row.count - 1, row.count} if self.log.store.outbox.outgoing() else {row.count}
        if seen.count not in used:
            return self._stop(OLD_COPY if seen.count > row.count else SET_BACK)
        if seen.head < row.cursor:
            return self._stop(SET_BACK)
        if seen.incarnation != row.incarnation:
            await self._halves.again()
            with self.log.step():
                self.log.row.incarnation = seen.incarnation
            self._alarm(RESTORED)
        self._checked = True
        return None

    def _stop(self, why: str) -> None:
        with self.log.step():
            happened = self.log.halt(why)
        self.tell(happened)

    def _alarm(self, why: str) -> None:
        with self.log.step():
            happened = self.log.alarm(why)
        self.tell(happened)

    async def flush(self, *, drafts: bool = True) -> None:
        """Sends the entry under way, then draft after draft, each until the log holds it."""
        while self.log.row.state is State.OPEN:
            outgoing = self.log.store.outbox.outgoing()
            if outgoing is None and drafts:
                outgoing, happened = await self._halves.with_halves(
                    lambda: self.sealer.next(self.clock(), owed=self.clock() >= self._handshakes_at)
                )
                self.tell(happened)
            if outgoing is None:
                break
            if await self._too_late(outgoing):
                continue
            try:
                self.log.owed_in_vain = False
                await self._send(outgoing)
                if self.log.owed_in_vain:  # by the log's time it is too early: it would be void again at once
                    self._handshakes_at = self.clock() + IN_VAIN
            except Stale:
                await self._catch_up(outgoing)
            except Refused as refusal:
                # What the device owes by itself waits for the budget; what people say does not wait for it.
                if refusal.problem is not Problem.BUDGET or outgoing.kind is not Kind.ACT or outgoing.draft:
                    raise
                self._handshakes_at = self.clock() + max(1, refusal.retry_after)

    async def _too_late(self, outgoing: Outgoing) -> bool:
        """Gives up an entry whose life ended under way, unless the service has it: it would live a second time."""
        if outgoing.draft is None or not self.log.store.outbox.is_over(outgoing.draft, self.clock()):
            return False
        seen = await self._api.channel(self.id)
        if seen.count != self.log.row.count - 1:
            return False
        self.sealer.drop_refused(with_draft=True)
        return True

    async def _send(self, outgoing: Outgoing) -> None:
        """Sends one saved entry and folds up to it. Raises Stale after dropping it for a definite refusal."""
        try:
            receipt = await self._api.append(self.id, outgoing.append)
        except Stale:
            self.sealer.drop_refused()
            raise
        except WrongCount as refusal:
            return self._stop(OLD_COPY if refusal.count >= self.log.row.count else SET_BACK)
        except Refused as refusal:
            # An answer that is no problem document says nothing of what the service did: the entry stays.
            if refusal.problem in NEVER:
                self.sealer.drop_refused(with_draft=True)
            elif outgoing.handshake and refusal.problem is not None:
                self.sealer.drop_refused()
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
            await self._fold([entry])
            return await self._finish_if_ended()
        await self._pull()
        if self.log.row.state is State.OPEN and self.log.store.outbox.outgoing() == outgoing:
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
            await self.flush(drafts=False)
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

    async def _owed_commits(self) -> None:
        """Leaves that have to go, a charter that every party has approved, a sign of being there (DESIGN 4.3)."""
        if self.clock() < self._handshakes_at or self.log.store.outbox.outgoing() is not None or self.log.closing:
            return
        if due_removals(self.log, self.clock()):
            await self._commit_if_possible(
                lambda: self.sealer.commit(self.clock(), remove=due_removals(self.log, self.clock()))
            )
        if self.log.row.state is State.OPEN and due_charter(self.log, self.clock()):
            await self._commit_if_possible(
                lambda: self.sealer.commit(self.clock(), charter=due_charter(self.log, self.clock()))
            )
        if self.log.row.state is State.OPEN and due_presence(self.log, self.clock()):
            await self._commit_if_possible(lambda: self.sealer.commit(self.clock()))

    async def _send_complaint(self) -> None:
        """A device that alone cannot process a commit says so, under a key of the epoch that it shares."""
        sealed = self.log.store.own_complaint()
        if not sealed:
            return
        seen = await self._api.channel(self.id)
        append = wire.Append(
            entry=hashlib.sha256(b"complaint" + sealed).digest()[:16],  # the same at every try
            handshake=True,
            sealed=sealed,
            life=self.log.charter.retention.procedure,
            delete_hash=os.urandom(32),
            handshake_head=seen.handshake_head,
            count=seen.count + 1,
        )
        try:
            await self._api.append(self.id, append.model_dump_json().encode())
        except (Stale, WrongCount):
            return  # at the next visit
        except Refused as refusal:
            if refusal.problem is Problem.BUDGET:
                return
            if refusal.problem is not Problem.ID_REUSED:  # which says that the log holds it: an answer was lost
                raise
        with self.log.step():
            self.log.row.count = append.count
            self.log.store.save_complaint(b"")

    async def _commit_if_possible(self, seal: Callable[[], Outgoing]) -> None:
        """A full budget, or others who are faster, delay a commit; what people said does not wait for it."""
        try:
            await self.commit(seal)
        except UserError:  # others were faster: nothing is left to do
            return
        except Refused as refusal:
            if refusal.problem not in (Problem.BUDGET, None):
                raise
            if self.log.store.outbox.outgoing() is not None:
                raise
            self._handshakes_at = self.clock() + max(1, refusal.retry_after)

    async def _delete_sent(self) -> None:
        """Own entries that were taken back, or erased with their session, end at the service too; so do own files."""
        await self.uploads.delete_due()
        for sent in self.log.store.messages.due_deletions(self.clock()):
            try:
                await self._api.delete(self.id, sent.entry, sent.secret)
            except Refused as refusal:
                if refusal.problem is not Problem.NOT_FOUND:
                    return  # at the next visit
            with self.log.step():
                self.log.store.messages.drop_sent(sent.seq)

    def _update_due(self) -> bool:
        """On the charter's schedule: before something is said, somewhat later by itself; and once after a recess."""
        if self.log.closing:
            return False
        if self.log.group.next_generation() > MAX_FORWARD // 2:  # beyond MAX_FORWARD nobody would read it
            return True
        row, now, recess = self.log.row, self.clock(), self.log.consent.recess
        if row.updated_at < recess <= now and self._reconvened != recess:
            self._reconvened = recess  # a clock that is fast must not make it again and again
            return True
        # Not all at the same moment; each device always as much later.
        period = self.log.charter.retention.keys
        later = 0 if self.log.store.outbox.waiting() else period * row.credential[0] // 1024
        return now - row.updated_at > period + later

    async def _end_late_tokens(self) -> None:
        """Devices that nobody waits for at the end of a channel: their access to what lies at the service ends too."""
        for credential in self.log.ending.late(self.clock()) if self.log.closing else ():
            member = self.log.members.get(credential)
            if member is not None and credential not in self._dropped:
                with suppress(Refused):  # it is gone already
                    await self._api.ask_revocation(self.id, member.device)
                self._dropped.add(credential)

    async def _finish_if_ended(self) -> None:
        """After an ending, this device's or another's: the vault forgets the channel, then the service its token."""
        while self._gone and self._reads():
            with suppress(Refused):  # it has ended its token itself, or the voices of the others were enough
                await self._api.ask_revocation(self.id, self._gone[-1])
            self._gone.pop()
        # A halt is no ending: nothing is erased on the service's word.
        if self.log.row.state not in (State.REMOVED, State.CLOSED) or self._ended:
            return
        # Erased first, announced second: whoever takes the device now finds nothing, whatever the line does. Of a
        # channel that all have ended no more than its place is left here by now; while the line is there the service is
        # told before that goes too, so that a crash between leaves nothing at the service for weeks.
        self._ended = True
        if self.log.row.state is State.CLOSED:
            with suppress(Refused, Unreachable, TimeoutError):
                async with asyncio.timeout(_GOODBYE):
                    await self._api.end_device(self.id)
        with self.log.vault.transaction():
            self.log.store.delete()
        self.log.vault.empty_journal()
        if self.log.row.state is State.CLOSED:
            return
        with suppress(Refused, Unreachable):  # else the token ends when it has idled, or by the others' voices
            await self._api.end_device(self.id)

    def require_open(self) -> None:
        """Raises Halted unless this device may say something here."""
        self.log.check_may_speak()
        if self.log.row.state is not State.OPEN:
            raise Halted(self.log.row.trouble)
