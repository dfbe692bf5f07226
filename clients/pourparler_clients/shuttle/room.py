"""The carried messages of one channel, as a program uses them: `channel.shuttle`.

1. A side hands over, frees, recalls and answers; the intermediary puts something to the side. Each is a message of the
   channel: who is in it reads it, and it ends as a message does.
2. What would count for nothing is refused here, with the reason; what lost a race is said when the log tells.
3. Nothing crosses here: `crossing.py`.
"""

import hashlib
import os
import random
from contextlib import suppress
from typing import TYPE_CHECKING

from pourparler_policies.errors import Misuse, Void
from pourparler_policies.payload import Shuttle
from pourparler_policies.shuttle import Author, Event, Item, Phase, Room, Said, author_of, fold
from pourparler_policies.shuttle.carrying import YOUNGER_PART, check_terms, own_idea, own_times
from pourparler_policies.shuttle.events import Answer, Freed, HandedOver, Recalled, Terms
from pourparler_policies.shuttle.room import apply

from ..errors import Lacking, UserError
from ..messages import Message
from ..subjects import code_of
from .desk import mark
from .kept import said
from .parcels import Parcels

if TYPE_CHECKING:
    from ..channel import Channel

_RANDOM = random.SystemRandom()


def code(item: bytes) -> str:
    """Five digits by which a person names a message of this room."""
    return code_of(hashlib.sha256(item).digest())


class Shuttles:
    """What is carried from and to one channel."""

    def __init__(self, channel: "Channel") -> None:
        self._channel = channel
        self.parcels = Parcels(channel.log)

    @property
    def own(self) -> Author:
        """Who this device speaks for. Raises UserError when it has no seat."""
        try:
            return author_of(self._channel.log.consent, self._channel.log.row.credential)
        except Void as error:
            raise UserError(str(error)) from None

    def messages(self) -> list[Message]:
        """The living words on carried messages, in the log's order, as far as their keys are at hand."""
        now = self._channel.clock()
        return [one for one in self._channel.log.store.messages.shown(now) if one.kind == "shuttle"]

    def folded(self) -> Room:
        """As `room`, with the keys at hand. Raises Lacking: a room that opens in part would show what is not so."""
        now = self._channel.clock()
        lacking = self._channel.log.store.sealed.lacking(now)
        if lacking:
            raise Lacking(lacking[0])
        return fold(map(said, self.messages()), max(now, self._channel.log.consent.time))

    def mark(self) -> None:
        """After a visit: what waits is counted later without one. What does not open stays as it was."""
        with suppress(Lacking):
            mark(self._channel.log, self.folded())

    async def room(self) -> Room:
        """The room as of what this device has folded. Raises Unreachable when a part of it does not open."""
        return await self._channel.step(self.folded)

    async def read(self) -> Room:
        """As `room`; who shows it calls this: life after reading begins now."""
        await self.room()
        await self._channel.read(self.messages())
        return await self.room()

    async def find(self, word: str) -> Item:
        """The message that a code names. Raises UserError."""
        found = [item for item in (await self.room()).values() if code(item.id) == word.strip()]
        if len(found) != 1:
            raise UserError("no message here has this code: see `pourparler shuttle`")
        return found[0]

    def ends(self, item: bytes) -> int:
        """When a message ends on this device (Unix seconds)."""
        return next((one.expires_at for one in self.messages() if one.id == item), 0)

    # What a side does

    async def hand(self, text: str, terms: Terms, *, life: int | None = None) -> bytes:
        """Hands a message over, for `life` seconds; returns its id. Raises UserError as `Channel.say` does."""
        return await self._hand(HandedOver(text, terms), life)

    async def answer(
        self, item: bytes, answer: Answer, text: str, terms: Terms, *, life: int | None = None
    ) -> bytes:
        """Answers what was put to this side: to the intermediary, on these terms; returns the answer's id."""
        return await self._hand(HandedOver(text, terms, item, answer), life)

    async def free(self, item: bytes) -> None:
        """Says that the condition of an item is met."""
        await self.post(Freed(item))

    async def recall(self, item: bytes) -> None:
        """Takes an item back. Raises UserError when it was carried first."""
        await self.post(Recalled(item))
        if (held := (await self.room()).get(item)) is not None and held.phase is not Phase.RECALLED:
            raise UserError("it was carried before your recall came: ask the intermediary")

    async def put(self, text: str, until: int, *, hypothetical: bool = False) -> bytes:
        """The intermediary's own idea, put to this side at once; returns its id. It may be answered until `until` (Unix
        seconds) at most.

        It goes the way of what is carried, with times like those: nothing tells whether somebody handed it over.
        """
        channel = self._channel
        await channel.look()
        channel.require_open()
        if why := channel.sealer.why_not_said():
            raise UserError(f"nothing can be put to this side now: {why}")
        now, life = channel.clock(), channel.log.charter.retention.messages
        expires, ends = own_times(now, life, until, _RANDOM.randint(0, life // YOUNGER_PART))
        if expires <= now:
            raise UserError("nothing was put: too little time is left for an answer")
        try:
            put = own_idea(text, expires, hypothetical=hypothetical)
        except Misuse as error:
            raise UserError(str(error)) from None
        self._check(await self.room(), os.urandom(16), put)
        number = await channel.step(lambda: self.parcels.prepare(os.urandom(32), put, ends, leaves=now))
        await channel.look()
        return number

    def _check(self, room: Room, number: bytes, event: Event) -> None:
        """Raises UserError, with the reason, when it would count for nothing."""
        log = self._channel.log
        now = max(self._channel.clock(), log.consent.time)
        try:
            apply(room, Said(number, log.row.cursor + 1, now, self.own, event))
        except Void as error:
            raise UserError(f"this would count for nothing: {error}") from None

    async def _hand(self, event: HandedOver, life: int | None) -> bytes:
        channel = self._channel
        longest = channel.log.charter.retention.messages
        if life is not None and not 1 <= life <= longest:
            raise UserError(f"a message in this channel lives 1 to {longest} seconds")
        now = channel.clock()
        try:
            check_terms(event.terms, now, now + (life or longest))
        except Misuse as error:
            raise UserError(str(error)) from None
        return await self.post(event, life=life)

    async def post(
        self, event: Event, *, life: int | None = None, number: bytes = b"", waits: bool = True
    ) -> bytes:
        """Says something on a carried message; returns its id (16 bytes, random unless `number` is given).

        Without `waits` it is taken back when the line breaks before it was sealed. Raises UserError when it would
        count for nothing, Unreachable as `Channel.say` does.
        """
        channel = self._channel
        await channel.look()
        number = number or os.urandom(16)
        self._check(await self.room(), number, event)
        try:
            shuttle = Shuttle.of(number, life or channel.log.charter.retention.messages, event)
        except Misuse as error:
            raise UserError(str(error)) from None
        await channel.utter(shuttle, waits=waits)
        return number
