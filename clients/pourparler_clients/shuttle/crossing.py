"""The one act in which two compartments are open: a message goes from one side's room to another's.

1. Two vaults, two cards, two connections: one vault for both sides would be one search for both, and one card in both
   rooms would tell each side of the other.
2. The text crosses as a parcel, sealed anew for the other room under a fresh id, and leaves after a random delay.
3. What the terms forbid is refused with the reason, before anything is written. `policies/shuttle/crossing.py` says
   in which order the rest happens; whoever repeats the command after a crash goes on where it was.
4. The receiving room is asked first, and once; after a pause the author's. What crosses is then written into the other
   compartment without a word to its service (`pace.py`).
"""

import asyncio
import hashlib
import hmac
import random
from dataclasses import dataclass
from typing import Final

from pourparler_policies.errors import Misuse, Void
from pourparler_policies.shuttle import Item, Said
from pourparler_policies.shuttle.carrying import LONGEST_DELAY, as_put, longest_delay, rounded
from pourparler_policies.shuttle.crossing import Parcel, Step, next_step
from pourparler_policies.shuttle.events import NOTHING, Answer, Carried, Put
from pourparler_policies.shuttle.room import apply

from ..channel import Channel
from ..errors import Lacking, PourparlerError, Unreachable, UserError
from .pace import Pace

_RANDOM = random.SystemRandom()
_LOOK: Final = 1.0  # seconds between looks whether it has left
# Parts of a message's life that may be left of what crosses: its key's half is asked for with all of them.
_PARTS: Final = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class Ready:
    """What would cross: the message, and how the other side would see it until `ends` (Unix seconds)."""

    item: Item
    put: Put
    ends: int


class Crossing:
    """From one room to another. Raises UserError unless the two are apart."""

    def __init__(self, source: Channel, target: Channel, pace: Pace | None = None) -> None:
        if source.log.vault is target.log.vault or source.log.vault.directory == target.log.vault.directory:
            raise UserError(
                "both sides' rooms are in one vault: whoever searches it has both. Make a compartment for each side, "
                "with its own passphrase (`pourparler card new --vault …`), and be invited with that card"
            )
        if source.log.own_card.fingerprint == target.log.own_card.fingerprint or source.id == target.id:
            raise UserError("these are copies of one compartment: a message crosses from one side to another")
        self.source, self.target, self._pace = source, target, pace or Pace()
        self._asked: set[bytes] = set()  # rooms that were folded to their heads for what is readied next
        self._leaves = 0  # when what was let go is due (Unix seconds)

    async def ask_target(self) -> None:
        """Folds the receiving room, and fetches what is needed to write into it later without a connection."""
        target = self.target
        await self._pace.to(target)
        await target.look()
        target.require_open()
        if why := target.sealer.why_not_said():
            raise UserError(f"nothing can be put to that side now: {why}")
        await target.shuttle.room()
        await target.step(self._halves_at_hand)
        self._asked.add(target.id)

    async def ask_source(self) -> None:
        """Folds the author's room, after a pause."""
        await self._pace.to(self.source)
        await self.source.look()
        self.source.require_open()
        self._asked.add(self.source.id)

    async def ready(
        self, item: bytes, text: str, *, regards: bytes = NOTHING, answer: Answer | None = None
    ) -> Ready:
        """How it would look, if the terms and both rooms allow it. Rooms that were not asked for it are asked first."""
        if self.target.id not in self._asked:
            await self.ask_target()
        if self.source.id not in self._asked:
            await self.ask_source()
        self._asked.clear()
        held = await self._held(item)
        parcels, ticket = self.target.shuttle.parcels, self._ticket(item)
        if (
            held.claim == self._claim(item)
            and await self._pace.step(self.target, lambda: parcels.state(ticket)) is Parcel.NONE
        ):
            raise UserError("not carried: it was carried already, and a message is carried once")
        ends = self.source.shuttle.ends(item)
        life = self.target.log.charter.retention.messages
        try:
            if held.claim != self._claim(item):
                next_step(held, self._now(), self._claim(item), Parcel.NONE)
            put = as_put(held, text, ends, life, regards, answer)
        except Misuse as error:
            raise UserError(f"not carried: {error}") from None
        target = self.target
        place = Said(b"\x00" * 16, target.log.row.cursor + 1, target.clock(), target.shuttle.own, put)
        try:
            apply(await self._pace.step(target, target.shuttle.folded), place)
        except Void as error:
            raise UserError(f"not carried: {error}") from None
        ends = min(rounded(ends, life), target.clock() + life)
        if min(put.expires, ends) <= target.clock():
            raise UserError("not carried: too little time is left for an answer")
        return Ready(held, put, ends)

    async def carry(self, ready: Ready, delay: int = LONGEST_DELAY) -> int:
        """Carries it; returns when it leaves this device at the latest (Unix seconds). `delay`: at most so many
        seconds at random, and no more than a quarter of what is left to answer.

        Raises UserError when it was recalled or carried first. Unreachable: the same again goes on where it stopped.
        """
        source, parcels = self.source, self.target.shuttle.parcels
        item, ticket = ready.item.id, self._ticket(ready.item.id)
        step = await self._next(item, ticket)
        if step is Step.BEGIN:
            await self._pace.step(self.target, lambda: parcels.prepare(ticket, ready.put, ready.ends))
            await self._pace.to(source)
            try:
                await source.shuttle.post(Carried(item), number=self._claim(item), waits=False)
            except Unreachable:
                raise
            except PourparlerError:
                await source.look()
                await self._next(item, ticket)  # drops the parcel, with the reason
                raise
            step = await self._next(item, ticket)
        now = self.target.clock()
        longest = longest_delay(ready.put, now, delay)
        leaves = now + round(_RANDOM.uniform(longest / 10, longest))
        if step is Step.LET_LEAVE:
            await self._pace.step(self.target, lambda: parcels.let_leave(ticket, leaves))
            self._leaves = leaves
        return now + longest

    async def stay(self) -> None:
        """Until nothing waits any more to be put to the receiving side: its room is asked when that is due."""
        target = self.target
        while target.shuttle.parcels.count():
            if target.clock() >= self._leaves:
                await self._pace.to(target)
                await target.look()
            await asyncio.sleep(_LOOK)

    async def _next(self, item: bytes, ticket: bytes) -> Step:
        """What is to be done, as of the head of the author's log."""
        parcels = self.target.shuttle.parcels
        state = await self._pace.step(self.target, lambda: parcels.state(ticket))
        try:
            return next_step(await self._held(item), self._now(), self._claim(item), state)
        except Misuse as error:
            await self._pace.step(self.target, lambda: parcels.drop(ticket))
            raise UserError(f"not carried: {error}") from None

    async def _held(self, item: bytes) -> Item:
        room = await self._pace.step(self.source, self.source.shuttle.folded)
        if item not in room:
            raise UserError("this message is not here any more")
        return room[item]

    def _halves_at_hand(self) -> None:
        """Raises Lacking until a text that ends in this room's time, or a part of it, can be sealed."""
        log, now = self.target.log, self.target.clock()
        for part in _PARTS:
            life = max(1, log.charter.retention.messages // part)
            if lacking := log.store.hours.lacking([log.lives.end_of(now + life, life)]):
                raise Lacking(lacking[0])

    def _now(self) -> int:
        return max(self.source.clock(), self.source.log.consent.time)

    def _claim(self, item: bytes) -> bytes:
        return self._digest(b"pourparler shuttle claim", item)[:16]

    def _ticket(self, item: bytes) -> bytes:
        return self._digest(b"pourparler shuttle ticket", item)

    def _digest(self, label: bytes, item: bytes) -> bytes:
        """Known to the author's room's compartment alone: neither a parcel nor a claim tells whose the other is."""
        return hmac.digest(self.source.log.store.hours.secret, label + item, hashlib.sha256)
