"""Fetches the service's halves of keys for one channel: what is missing now, and what will be needed soon.

Every method runs under the channel's turn. Raises Unreachable or Refused, and then nothing has changed.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from typing import Final, TypeVar

from pourparler_policies import hours, wire
from pourparler_policies.wire import Problem

from .api import Api
from .errors import Lacking, Refused, Unreachable
from .hours import Block, blocks, blocks_ahead
from .log import Log

T = TypeVar("T")

CONTRADICTION: Final = "the service contradicts itself: tell its operator"


class Fetcher:
    """Halves for one log."""

    def __init__(self, log: Log, api: Api) -> None:
        self._log = log
        self._api = api
        self.lives: set[int] = set()  # seconds: shorter lives than the charter's that people use here

    async def with_halves(self, step: Callable[[], T]) -> T:
        """Does a step of the vault; fetches the halves that it lacks, each once."""
        asked: set[int] = set()
        while True:
            try:
                return step()
            except Lacking as lacking:
                if lacking.end in asked:
                    raise Refused(CONTRADICTION) from None
                asked.add(lacking.end)
                try:
                    await self._ask(blocks([lacking.end]), [lacking.end])
                except Refused as refusal:
                    if refusal.problem is not Problem.OVER_CAP or lacking.end in self._log.store.hours.refused:
                        raise
                    # What can do with an earlier end chooses one; all else lacks the same again.
                    self._log.store.hours.refused.add(lacking.end)
                    asked.discard(lacking.end)

    async def stored(self) -> None:
        """What is missing to open what this device has stored."""
        ends = self._log.store.sealed.lacking(self._log.clock())
        await self._ask(blocks(ends), ends)

    async def again(self) -> None:
        """All that are at hand, anew: if the service has lost its halves and makes others, texts go under those."""
        await self._ask(blocks(self._log.store.hours.at_hand()), [])

    async def ahead(self) -> None:
        """For what will be said and read in the next while, so that it can be stored if the line breaks.

        It is done as far as it goes: nothing waits for it.
        """
        log, held = self._log, self._log.store.hours
        if log.charter.retention.read_offline:
            return
        held.forget(log.clock())
        now = max(log.clock(), log.row.received_at)
        lives = {log.charter.retention.messages, log.lives.longest(), log.lives.once_read(), *self.lives} - {0}
        if log.consent.adjourned > now:
            lives.add(log.consent.adjourned - now)
        if not held.refused:
            lives.add(log.ending.life())
        needed = [hours.end(now + life, life) for life in lives]
        for block in blocks_ahead(now, lives):
            if held.lacking([block.last]):
                with suppress(Unreachable, Refused):
                    await self._ask([block], held.lacking(needed))

    async def _ask(self, wanted: Iterable[Block], needed: list[int]) -> None:
        """Asks for blocks; where the operator does not allow a whole one, only as far as is `needed`."""
        for block in wanted:
            try:
                await self._ask_block(block)
            except Refused as refusal:
                if refusal.problem is not Problem.OVER_CAP:
                    raise
                for end in needed:
                    if block.first <= end <= block.last and (end - block.first) % block.step == 0:
                        await self._ask_block(Block(end, block.step, 1))

    async def _ask_block(self, block: Block) -> None:
        try:
            answer = await self._api.halves(self._log.row.id, wire.AskHalves.model_validate(asdict(block)))
        except Refused as refusal:
            if refusal.problem is not Problem.NOT_FOUND:
                raise
            halves = []
        else:
            halves = answer.halves
            if len(halves) > block.number or answer.first != block.last - (len(halves) - 1) * block.step:
                raise Refused(CONTRADICTION)
        replaced = self._log.store.hours.learn(block, halves)
        if replaced:
            with self._log.step():
                self._log.store.sealed.reseal(replaced)
