"""A channel as a program uses it: fold to the head, say, do, watch.

It is the one door to a channel. Behind it: `pulling.py` folds what the service has, `sending.py` sends what waits,
`dues.py` does what the device owes at every visit, `keeping.py` keeps what is said until then, `watching.py` stays.

The client folds to the head before it shows or sends anything. A line that breaks loses nothing: what was to be
said or done waits in the vault, in order, until the log holds it; what came in and could not be stored for want of the
service's half of a key (`hours.py`) is folded when the half is here. What the device owes by itself (attestation,
votes, removals: `upkeep.py`) goes with every visit to the log.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from typing import Final, TypeVar

from pourparler_policies import payload, wire
from pourparler_policies.admission import Member
from pourparler_policies.errors import Void
from pourparler_policies.fold import subject_digest
from pourparler_policies.fold.events import Approved, Leaving, Proposed
from pourparler_policies.fold.facts import Close, Replace, Subject
from pourparler_policies.payload import Act, Said, Seated, Shortened, Shuttle, check_text
from pourparler_policies.release.decoding import Act as Procedure
from pourparler_policies.wire import Problem

from .api import Api
from .downloads import Downloads
from .dues import Dues
from .ending import AWAY, SAYS_CLOSED
from .errors import Halted, Lacking, PourparlerError, Refused, Unreachable, UserError, Waits
from .fetching import Fetcher
from .happenings import Happening
from .ideas import Ideas
from .keeping import Keeping
from .log import Clock, Log
from .messages import Message
from .onetext import Side
from .outbox import Kind, Outgoing
from .pulling import Pulling
from .releasing import Releases
from .sealing import Admit, Sealer
from .sending import Sending
from .shuttle.room import Shuttles
from .soundings import Soundings
from .store import State
from .uploads import Uploads
from .watching import Watching

Connect = Callable[[str, bytes | None], Api]
T = TypeVar("T")

# What a service says of a channel that has ended, or to a device whose token has.
_GONE: Final = (Problem.CLOSED, Problem.UNAUTHORIZED)


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
        self._news: asyncio.Queue[Happening] = asyncio.Queue()
        self.pulling = Pulling(log, self._api, self._halves, self.tell)
        self.sending = Sending(log, self._api, self._halves, self.sealer, self.pulling, self.tell)
        self._dues = Dues(log, self._api, self.sealer, self.sending, self.uploads)
        self._keeping = Keeping(log, self._halves, self._turn, self.tell)
        self._watching = Watching(self, self.pulling, self._dues, self._news)
        self.releases = Releases(self)
        self.onetext = Side(self)

    @property
    def id(self) -> bytes:
        """The channel's random id, 16 bytes."""
        return self.log.row.id

    @property
    def watched(self) -> bool:
        """Whether `watch` runs: then this device takes part in whatever goes on."""
        return self._watching.running

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
        if self._watching.running:
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
                self.pulling.gone.append(happening.member.device)

    async def catch_up(self) -> None:
        """Folds to the head and sends what waits; under the turn."""
        await self._sync()

    async def renew_keys(self) -> None:
        """A commit by which the log learns what time it is, unless others are faster; under the turn."""
        await self.sending.commit_if_possible(lambda: self.sealer.commit(self.clock()))

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
        draft = await self._keeping.keep(said, waits=waits)
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
        if draft in self.log.own_entries.delivered:
            if self.log.own_entries.delivered[draft]:
                raise UserError(f"this was not said: {self.log.own_entries.delivered[draft]}")
            return
        self.log.check_may_speak()
        if self.log.store.outbox.has(draft):
            raise Waits(self.sealer.why_not_said())
        raise UserError("this was not said: its life was over before it could be sent")

    async def read(self, messages: list[Message], *, opened: bool = False) -> list[Message]:
        """Who shows messages calls this first, and shows what it returns: life after reading begins now.

        A file is read when it is `opened`, not when its name is shown. What cannot be stored under its shorter key now
        is left out: it is read when there is a connection.
        """
        try:
            return self.log.lives.read(messages, opened=opened)
        except Lacking:
            pass
        async with self._turn:
            try:
                return await self._halves.with_halves(lambda: self.log.lives.read(messages, opened=opened))
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
        if draft not in self.log.own_entries.delivered:
            self.log.check_may_send()
            raise Waits("others change the channel now")

    async def set_own_rule(self, messages: int, after_reading: int) -> None:
        """Shorter lives on this device, in seconds; 0: no such rule. Raises UserError, Unreachable."""
        if messages < 0 or after_reading < 0:
            raise UserError("a life is more than no time")
        async with self._turn:
            await self._halves.with_halves(lambda: self.log.lives.set_own_rule(messages, after_reading))
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
                if draft not in self.log.own_entries.delivered:
                    raise Unreachable("it may still be sent, when the service answers again") from None
        void = self.log.own_entries.delivered.get(draft)
        if void:
            raise UserError(f"this counts for nothing: {void}")
        if void is None and not self.pulling.ended:
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
        if not self.log.closing and not self.pulling.ended:
            await self.propose(Close())

    async def refresh_keys(self) -> None:
        """Updates this device's keys now: a thief of an earlier state reads nothing after it."""
        async with self._turn:
            await self._sync(update=False)
            await self.sending.commit(lambda: self.sealer.commit(self.clock()))

    async def seat(self, key_package: bytes, seated: Callable[[], Seated], admit: Admit) -> None:
        """Adds a device; its Welcome goes with the same append. Returns when the log holds the Add.

        `seated` says who it is and on which ground, as of the newest state. Raises UserError when the rules do not
        let it in.
        """
        async with self._turn:
            await self._sync(update=False)
            await self.sending.commit(lambda: self._seal_seat(key_package, seated(), admit))

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
            await self.sending.commit(lambda: self.sealer.commit(self.clock(), remove=credentials))

    async def create_box(self, box: bytes, token: bytes, life: int) -> None:
        """Opens a drop box for an invitation; `token` of 32 bytes gives access, for `life` seconds."""
        token_hash = hashlib.sha256(token).digest()
        await self._api.create_box(self.id, wire.CreateBox(box=box, token_hash=token_hash, life=life))

    def watch(self) -> AsyncIterator[Happening]:
        """What happens, as it happens; reconnects by itself. Ends when the channel does."""
        return self._watching.happenings()

    async def open_texts(self) -> None:
        """Fetches what is missing to read what this device has stored. Raises Unreachable."""
        async with self._turn:
            await self._halves.stored()

    async def _sync(self, *, update: bool = True) -> None:
        self.tell(self.log.expire_ending())
        if self.pulling.reads and self.log.ending.is_out(self.clock()):
            self.pulling.stop(AWAY)
        try:
            await self._sync_with_service(update=update)
        except Refused as refusal:
            if refusal.problem not in _GONE or self.pulling.ended:
                raise
            if self.log.closing:
                # This device has read that the channel ends, and there is nothing more to be read or told.
                with self.log.step():
                    happened = self.log.finish_ending()
                self.tell(happened)
            elif refusal.problem is Problem.CLOSED:
                if self.pulling.reads:
                    self.pulling.stop(SAYS_CLOSED)
            else:
                raise
            await self.pulling.finish_if_ended()

    async def _sync_with_service(self, *, update: bool) -> None:
        if self.log.row.state not in (State.REMOVED, State.CLOSED):
            await self._halves.stored()
            await self._keeping.keep_all()
        if not self._watching.at_head:
            await self.pulling.pull()
        if self.log.row.state is State.HALTED and not self.pulling.ended:
            await self._dues.complain()
        if self.log.row.state is State.OPEN:
            await self._dues.commits()
        if self.log.row.state is State.OPEN and self.log.rounds.all():
            self.tell(await self.ideas.visit())
        if self.log.row.state is State.OPEN:
            if update:
                await self._dues.update()
            await self._dues.end_late_tokens()
            await self._halves.with_halves(self.shuttle.parcels.release)
            await self.sending.flush()
        if self.pulling.reads:
            await self._dues.delete_sent()
            await self._halves.ahead()
        await self.releases.follow()
        await self.soundings.follow()
        if self.pulling.reads:
            self.shuttle.mark()

    def require_open(self) -> None:
        """Raises Halted unless this device may say something here."""
        self.log.check_may_speak()
        if self.log.row.state is not State.OPEN:
            raise Halted(self.log.row.trouble)
