"""Tallies of soundings: takes what devices hand in, shows nothing before the close, then one total, and forgets.

1. From its opening on every slot of a tally is full: uniform bytes, which what comes replaces. What is held has one
   length, every change writes all of it anew, and no log line, count or answer says whether anything came.
2. Until the close everybody is told the same few bytes, made when the tally opened.
3. At the close one total is drawn (`pourparler_crypto.sounding.Tally.counted`), the answer is stored, and all that was
   handed in goes in the same transaction, with its key (`casestore.py`, whose files no backup takes).

It is trusted with simultaneity, forgetting and the draw. It could tell the parties apart by what each handed in only
with the help of all of them but one, or of a dealer. A tally that was lost, or that a backup may have brought back, is
told as lost, and never counted: DESIGN 4.5; research/review-protocol.md, 7.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from pourparler_crypto.errors import ProtocolError
from pourparler_crypto.sounding import Tally
from pourparler_policies import limits, wire
from pourparler_policies.wire import Problem, TallyAnswer

from .casestore import CaseStore, Living, name_of
from .database import OUTSIDE_BACKUPS, Database, DataError
from .deadlines import Deadlines
from .lane import FAULTS, Lane
from .openings import Openings
from .problems import Refusal
from .settings import Settings

FOLDER: Final = "tallies"  # in `database.OUTSIDE_BACKUPS`

P = ParamSpec("P")
T = TypeVar("T")


def _encode(reply: wire.Tally) -> bytes:
    return reply.model_dump_json(exclude_none=True).encode()


OPEN: Final = _encode(wire.Tally(answer=TallyAnswer.OPEN))
LOST: Final = _encode(wire.Tally(answer=TallyAnswer.LOST))


@dataclass(slots=True, eq=False)
class LiveTally:
    """A tally before its close. `rows` is what is in every slot, `came` whether a device has put it there."""

    name: bytes
    tally: Tally
    forget_at: int
    rows: list[bytes]
    came: list[bool]

    def encode(self) -> bytes:
        """The stored state: the same length from the opening to the close."""
        return b"".join(bytes([came]) + row for came, row in zip(self.came, self.rows, strict=True))

    @classmethod
    def decode(cls, stored: Living) -> "LiveTally":
        """From the store."""
        tally = Tally.decode(stored.fixed)
        size = 1 + 32 * len(tally.targets)
        parts = [stored.state[at : at + size] for at in range(0, len(stored.state), size)]
        return cls(
            stored.name, tally, stored.forget_at, [one[1:] for one in parts], [bool(one[0]) for one in parts]
        )

    def with_values(self, place: int, values: bytes) -> "LiveTally":
        """After somebody handed in; unchanged when that slot was filled before."""
        if self.came[place]:
            return self
        rows, came = self.rows.copy(), self.came.copy()
        rows[place], came[place] = values, True
        return LiveTally(self.name, self.tally, self.forget_at, rows, came)


class Tallies(Deadlines):
    """All tallies. Its methods run on the event loop, `_do_...` on the tallies' thread."""

    _things = "tallies"

    def __init__(self, settings: Settings, store: CaseStore) -> None:
        self._settings, self._store = settings, store
        self._lane = Lane("a tally")
        self._living: dict[bytes, LiveTally] = {}
        self._openings = Openings(settings, "tallies", "There are at most {} tallies at a time here.")

    async def open(self, request: wire.OpenTally) -> None:
        """A tally, named by its handle. Raises Refusal."""
        try:
            tally = Tally.decode(request.tally)
        except ProtocolError as error:
            raise Refusal(Problem.MALFORMED, f"This is no tally: {error}.") from None
        name, now = name_of(tally.handle), self._now()
        if name in self._living or await self._lane.run(self._store.reply, name) is not None:
            return
        if tally.closes <= now:
            raise Refusal(Problem.MALFORMED, "This tally has closed.")
        longest = self._settings.caps.longest_case
        if tally.closes > now + longest:
            raise Refusal(Problem.OVER_CAP, f"A tally lasts at most {longest} seconds here.")
        self._openings.spend(len(self._living))
        forget_at = -(-(tally.closes + limits.ANSWER_LIFE) // limits.DAY) * limits.DAY
        filled = [tally.filling() for _ in tally.slots]
        await self._lane.run(self._do_open, LiveTally(name, tally, forget_at, filled, [False] * len(filled)))

    async def hand_in(self, handle: bytes, request: wire.HandIn) -> None:
        """What a device hands in. Raises Refusal when there is no such tally, or it does not fit, or too early."""
        name, now = name_of(handle), self._now()
        await self._settle(name, now)
        if name in self._living:
            await self._lane.run(self._do_hand_in, name, request, now)
        elif await self._lane.run(self._store.reply, name) is None:
            raise Refusal(Problem.NOT_FOUND)

    async def reply(self, handle: bytes) -> bytes:
        """What everybody is told, as JSON. Raises Refusal when there is no such tally."""
        name = name_of(handle)
        await self._settle(name, self._now())
        if name in self._living:
            return OPEN
        ended = await self._lane.run(self._store.reply, name)
        if ended is None:
            raise Refusal(Problem.NOT_FOUND)
        return ended

    # --- on the tallies' thread -------------------------------------------------------------------------------

    def _do_open(self, live: LiveTally) -> None:
        if live.name in self._living:
            return
        if len(self._living) >= self._settings.caps.open_cases:
            raise Refusal(Problem.OVER_CAP, "There is no room for another tally.")
        self._store.add(Living(live.name, live.forget_at, live.tally.encode(), live.encode()))
        self._living[live.name] = live

    def _do_hand_in(self, name: bytes, request: wire.HandIn, now: int) -> None:
        live = self._living.get(name)
        if live is None:  # it closed meanwhile: the sender reads the answer
            return
        if now < live.tally.opens:
            raise Refusal(Problem.MALFORMED, "This tally takes nothing yet.")
        try:
            place = live.tally.slot_of(request.slot)
            values = live.tally.check_values(request.values)
        except ProtocolError:
            raise Refusal(Problem.MALFORMED, "This does not fit the tally.") from None
        # Written anew whether it is the first time or not: the time that it takes says nothing.
        after = live.with_values(place, values)
        self._store.rewrite(name, after.encode())
        self._living[name] = after

    # --- the close --------------------------------------------------------------------------------------------

    async def _due(self, now: int) -> list[bytes]:
        return list(self._living)

    async def _forget(self, now: int) -> None:
        await self._lane.run(self._store.forget, now)

    async def _settle(self, name: bytes, now: int) -> None:
        live = self._living.get(name)
        if live is not None and now >= live.tally.closes:
            await self._lane.run(self._do_count, name)

    def _do_count(self, name: bytes) -> None:
        live = self._living.get(name)
        if live is None:
            return
        shown = live.tally.counted(live.rows)
        reply = wire.Tally(answer=TallyAnswer.COUNTED, package=shown.package, value=shown.value)
        self._store.end(name, live.forget_at, _encode(reply))
        del self._living[name]

    # --- start and stop ---------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Take up what stands on the disk, and count what is due. Raises Refusal."""
        await self._lane.submit(self._do_begin)
        await self.once()

    def _do_begin(self) -> None:
        living, lost = self._store.load()
        if self._settings.restored:
            lost += [(one.name, one.forget_at) for one in living]
            living = []
        for name, forget_at in lost:
            self._store.end(name, forget_at, LOST)
        self._living = {one.name: LiveTally.decode(one) for one in living}

    def close(self) -> None:
        """Finish what was asked, and close the store."""
        self._lane.close()
        self._store.close()


def open_tallies(database: Database) -> CaseStore:
    """The store that goes with a database. Raises DataError."""
    folder: Path = database.path.parent / OUTSIDE_BACKUPS / FOLDER
    try:
        return CaseStore(folder)
    except FAULTS as error:
        raise DataError(f"The tallies' files in {folder} cannot be used: {type(error).__name__}.") from error
