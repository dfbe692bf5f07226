"""Tallies of several processes: as at the shared desk, every step under the lock of its row, and nothing remembered."""

from pourparler_crypto.errors import ProtocolError
from pourparler_crypto.sounding import Tally
from pourparler_policies import wire
from pourparler_policies.wire import Problem

from ..casestore import Living, name_of
from ..lane import Lane
from ..problems import Refusal
from ..settings import Settings
from ..tally import LOST, OPEN, LiveTally, Tallies
from .cases import SharedCases
from .engine import FAULTS, retried


class SharedTallies(Tallies):
    """All tallies, of all processes. The lane's thread holds at most one of them at a time, in `_living`."""

    _store: SharedCases  # type: ignore[assignment]

    def __init__(self, settings: Settings, store: SharedCases) -> None:
        super().__init__(settings, store)  # type: ignore[arg-type]
        self._lane = Lane("a tally", FAULTS)

    async def open(self, request: wire.OpenTally) -> None:
        """A tally, named by its handle. Raises Refusal."""
        try:
            name = name_of(Tally.decode(request.tally).handle)
        except ProtocolError as error:
            raise Refusal(Problem.MALFORMED, f"This is no tally: {error}.") from None
        if await self._lane.run(self._store.told, name) is None:
            await super().open(request)

    async def hand_in(self, handle: bytes, request: wire.HandIn) -> None:
        """What a device hands in. Raises Refusal when there is no such tally, or it does not fit, or too early."""
        name, now = name_of(handle), self._now()
        await self._settle(name, now)
        there = await self._lane.run(self._do_hand_in_locked, name, request, now)
        if not there and await self._ended(name) is None:
            raise Refusal(Problem.NOT_FOUND)

    async def _ended(self, name: bytes) -> bytes | None:
        return await self._lane.run(self._store.reply, name)

    async def reply(self, handle: bytes) -> bytes:
        """What everybody is told, as JSON. Raises Refusal when there is no such tally."""
        name = name_of(handle)
        await self._settle(name, self._now())
        told = await self._lane.run(self._store.told, name)
        if told is not None:
            return bytes(told[0])
        ended = await self._ended(name)
        if ended is None:
            raise Refusal(Problem.NOT_FOUND)
        return ended

    # --- on the tallies' thread -------------------------------------------------------------------------------

    def _do_open(self, live: LiveTally) -> None:
        case = Living(live.name, live.forget_at, live.tally.encode(), live.encode())
        most = self._settings.caps.open_cases
        retried(self._store.links, lambda: self._store.add(case, OPEN, live.tally.closes, most))

    def _do_hand_in_locked(self, name: bytes, request: wire.HandIn, now: int) -> bool:
        def work() -> bool:
            with self._store.locked(name) as found:
                self._living = {} if found is None else {name: LiveTally.decode(found[0])}
                self._do_hand_in(name, request, now)
            return found is not None

        return retried(self._store.links, work)

    # --- the close --------------------------------------------------------------------------------------------

    async def _due(self, now: int) -> list[bytes]:
        return await self._lane.run(self._store.due, now)

    async def _settle(self, name: bytes, now: int) -> None:
        told = await self._lane.run(self._store.told, name)
        if told is not None and told[1] <= now:
            await self._lane.run(self._do_count_locked, name)

    def _do_count_locked(self, name: bytes) -> None:
        def work() -> None:
            with self._store.locked(name) as found:
                self._living = {} if found is None else {name: LiveTally.decode(found[0])}
                self._do_count(name)

        retried(self._store.links, work)

    # --- start ------------------------------------------------------------------------------------------------

    def _do_begin(self) -> None:
        if self._settings.restored:
            for name, forget_at in self._store.living():
                self._store.lose(name, forget_at, LOST)
