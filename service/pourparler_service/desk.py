"""The desk: takes what the parties deposit, shows nothing until all of it is there, and publishes (DESIGN 6.3).

It is trusted with four things and nothing else: simultaneity, forgetting, one answer for all, and time. What it may
say and must delete stands in `pourparler_policies.release.desk`; here the values are held, checked and stored. Every
change is durable before it is answered, and made on one thread in the order of the requests. Who asks is told bytes
that were made when the case last changed: nothing that is told is computed from how many deposits there are.

After a restart all cases stand as they stood. A case that the database remembers (`tables.DeskCase`) and the store
does not have was lost, and has lapsed. When the operator says that the data come from a backup, nobody can know
whether the store went back too and what had been deleted came back with it: then every living case lapses.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, ParamSpec, TypeVar

from sqlalchemy import Connection

from pourparler_crypto.encoding import lp, unlp
from pourparler_crypto.errors import CryptoError, ProtocolError
from pourparler_crypto.jr2 import Case, Kind, check_mask, check_share, complete, peek, size
from pourparler_crypto.note import Audience, Note, assemble, check_parallel
from pourparler_policies import limits, wire
from pourparler_policies.release import desk as table
from pourparler_policies.release.desk import Desk as Phase
from pourparler_policies.release.desk import Held
from pourparler_policies.wire import CaseAnswer, Problem

from . import board
from .casestore import CaseStore, Living, name_of
from .deadlines import Deadlines
from .lane import FAULTS, Lane
from .openings import Openings
from .problems import Refusal
from .settings import Settings
from .writer import Writer

P = ParamSpec("P")
T = TypeVar("T")

_FINAL: Final = frozenset(phase for phase, steps in table.DESK.items() if not steps)
_PHASES: Final = (Phase.OPEN, Phase.SPOILT, Phase.COMPLETE, Phase.FULL)  # by their byte in the stored state


@dataclass(slots=True, eq=False)
class LiveCase:
    """A case that has not ended. Values are whole messages of R4 and R5, by party."""

    name: bytes
    case: Case
    forget_at: int
    held: Held
    masks: dict[int, bytes] = field(default_factory=dict)
    shares: dict[int, bytes] = field(default_factory=dict)
    publishing: bool = False  # begun: nothing else ends the case any more
    reply: bytes = b""

    def __post_init__(self) -> None:
        self.reply = self.told()

    def told(self) -> bytes:
        """What everybody is told."""
        answer = CaseAnswer(self.held.answer.value)
        shown = answer is CaseAnswer.COMPLETE
        return _encode(wire.Case(answer=answer, masks=_in_order(self.masks) if shown else None))

    def encode(self) -> bytes:
        """The stored state: the same length from the opening to the end, one place for each party and step."""
        places = [bytes([_PHASES.index(self.held.phase)])]
        for kind, messages in ((Kind.MASK, self.masks), (Kind.SHARE, self.shares)):
            length = size(kind, self.case.texts)
            for party in range(1, self.case.parties + 1):
                message = messages.get(party)
                places.append(bytes([message is not None]) + (message or bytes(length)))
        return b"".join(places)

    @classmethod
    def decode(cls, stored: Living) -> "LiveCase":
        """From the store."""
        case = Case.decode(unlp(stored.fixed, 3)[0])
        found: dict[Kind, dict[int, bytes]] = {Kind.MASK: {}, Kind.SHARE: {}}
        at = 1
        for kind, messages in found.items():
            length = size(kind, case.texts)
            for party in range(1, case.parties + 1):
                if stored.state[at]:
                    messages[party] = stored.state[at + 1 : at + 1 + length]
                at += 1 + length
        masks, shares = found[Kind.MASK], found[Kind.SHARE]
        held = replace(
            _held(case),
            phase=_PHASES[stored.state[0]],
            masks=frozenset(party - 1 for party in masks),
            locks=frozenset(party - 1 for party in shares),
        )
        return cls(stored.name, case, stored.forget_at, held, masks, shares)


def _case(request: wire.OpenCase) -> Case:
    """Checked: a large case has thousands of points, so not on the event loop. Raises Refusal."""
    try:
        case = Case.decode(request.case)
        case.check_bundle(request.bundle)
    except ProtocolError as error:
        raise Refusal(Problem.MALFORMED, f"This is no case: {error}.") from None
    return case


def _held(case: Case) -> Held:
    """The case as the table sees it: nothing has been deposited. Its signers are numbered from 0."""
    terms = case.terms
    stop_by = 0 if terms.stop_before is None else max(0, terms.not_before - terms.stop_before)
    return Held(case.parties, terms.sign_by, terms.deposit_by, terms.not_before, stop_by)


def _encode(reply: wire.Case) -> bytes:
    return reply.model_dump_json(exclude_none=True).encode()


LAPSED: Final = _encode(wire.Case(answer=CaseAnswer.LAPSED))
STOPPED: Final = _encode(wire.Case(answer=CaseAnswer.STOPPED))


def _in_order(messages: dict[int, bytes]) -> list[bytes]:
    return [messages[party] for party in sorted(messages)]


def _fixed(case: Case, bundle: bytes, length: int) -> bytes:
    """The case with its bundle, or with none, in the length that it has with it."""
    return lp(case.encode(), bundle, bytes(length - len(bundle)))


class Desk(Deadlines):
    """All cases. Its methods run on the event loop, `_do_…` on the desk's thread."""

    _things = "cases"

    def __init__(
        self,
        settings: Settings,
        store: CaseStore,
        writer: Writer,
        faults: tuple[type[Exception], ...] = FAULTS,
    ) -> None:
        self._settings, self._store, self._writer = settings, store, writer
        self._lane = Lane("the desk", faults)
        self._cases: dict[bytes, LiveCase] = {}
        self._settling = asyncio.Lock()
        self._openings = Openings(settings, "cases", "The desk has at most {} cases at a time here.")

    # --- what is asked ----------------------------------------------------------------------------------------

    async def open(self, request: wire.OpenCase) -> None:
        """A case with its bundle. Raises Refusal."""
        case = await self._lane.run(_case, request)
        name, now = name_of(case.handle), self._now()
        if await self._known(name):
            return
        if case.terms.sign_by <= now:
            raise Refusal(Problem.MALFORMED, "The sign deadline is over.")
        longest = self._settings.caps.longest_case
        if case.terms.not_before > now + longest:
            raise Refusal(Problem.OVER_CAP, f"A case lasts at most {longest} seconds here.")
        self._openings.spend(len(self._cases))
        forget_at = -(-(case.terms.not_before + limits.ANSWER_LIFE) // limits.DAY) * limits.DAY
        await self._lane.run(self._do_open, LiveCase(name, case, forget_at, _held(case)), request)
        await self._writer.submit(board.remember_case(name, forget_at))

    async def _known(self, name: bytes) -> bool:
        return name in self._cases or await self._lane.run(self._store.reply, name) is not None

    async def deposit(self, handle: bytes, message: bytes) -> None:
        """R4 or R5. Raises Refusal when there is no such case, or the message does not fit it."""
        await self._act(handle, message, self._do_deposit)

    async def withdraw(self, handle: bytes, message: bytes) -> None:
        """R4, by which its party withdraws. Raises Refusal."""
        await self._act(handle, message, self._do_withdraw)

    async def stop(self, handle: bytes, message: bytes) -> None:
        """R5, by which its party stops a complete case. Raises Refusal."""
        await self._act(handle, message, self._do_stop)

    async def reply(self, handle: bytes) -> bytes:
        """What the desk says, as JSON. Raises Refusal when it knows no such case."""
        name = name_of(handle)
        await self._settle(name, self._now())
        live = self._cases.get(name)
        if live is not None:
            return live.reply
        ended = await self._lane.run(self._store.reply, name)
        if ended is None:
            raise Refusal(Problem.NOT_FOUND)
        return ended

    async def _act(self, handle: bytes, message: bytes, do: Callable[[LiveCase, bytes, int], None]) -> None:
        name, now = name_of(handle), self._now()
        await self._settle(name, now)
        if name in self._cases:
            await self._lane.run(self._do_checked, name, do, message, now)
        elif await self._lane.run(self._store.reply, name) is None:
            raise Refusal(Problem.NOT_FOUND)

    # --- on the desk's thread ---------------------------------------------------------------------------------

    def _do_open(self, live: LiveCase, request: wire.OpenCase) -> None:
        if live.name in self._cases:
            return
        if len(self._cases) >= self._settings.caps.open_cases:
            raise Refusal(Problem.OVER_CAP, "The desk has no room for another case.")
        fixed = self._as_fixed(live.case, request.bundle)
        self._store.add(Living(live.name, live.forget_at, fixed, live.encode()))
        self._cases[live.name] = live

    @staticmethod
    def _as_fixed(case: Case, bundle: bytes) -> bytes:
        return _fixed(case, bundle, len(bundle))

    def _do_checked(
        self, name: bytes, do: Callable[[LiveCase, bytes, int], None], message: bytes, now: int
    ) -> None:
        live = self._cases.get(name)
        if live is None:  # it ended meanwhile: the sender reads the answer
            return
        try:
            do(live, message, now)
        except ProtocolError:
            # Whatever is wrong with it, the refusal is the same; and what is checked is not what others deposited.
            raise Refusal(Problem.MALFORMED, "This message does not fit the case.") from None

    def _do_deposit(self, live: LiveCase, message: bytes, now: int) -> None:
        if peek(message).kind is Kind.SHARE:
            share = check_share(live.case, message)
            self._change(live, table.deposit(live.held, share.party - 1, now), shares={share.party: message})
        else:
            mask = check_mask(live.case, message)
            self._change(live, table.sign(live.held, mask.party - 1, now), masks={mask.party: message})

    def _do_withdraw(self, live: LiveCase, message: bytes, now: int) -> None:
        mask = check_mask(live.case, message)
        # Under a new key whether it is the first or not: nobody learns from the time that it takes who withdrew.
        held = table.withdraw(live.held, mask.party - 1, now)
        self._change(live, held, anew=held.phase is Phase.SPOILT)

    def _do_stop(self, live: LiveCase, message: bytes, now: int) -> None:
        share = check_share(live.case, message)
        if not live.publishing:
            self._change(live, table.stop(live.held, share.party - 1, now))

    def _change(
        self,
        live: LiveCase,
        held: Held,
        masks: dict[int, bytes] | None = None,
        shares: dict[int, bytes] | None = None,
        *,
        anew: bool = False,
    ) -> None:
        """Store, then show. What came is kept only if the table says so; all is written anew in any case."""
        if held.phase in _FINAL:
            if held.phase is not Phase.PUBLISHED:  # that is `_publish`'s
                self._end(live, held.phase)
            return
        after = LiveCase(
            live.name,
            live.case,
            live.forget_at,
            held,
            {party: one for party, one in (live.masks | (masks or {})).items() if party - 1 in held.masks},
            {party: one for party, one in (live.shares | (shares or {})).items() if party - 1 in held.locks},
            live.publishing,
        )
        if anew:
            length = sum(map(len, unlp(self._store.fixed(live.name), 3)[1:]))
            self._store.replace(live.name, _fixed(live.case, b"", length), after.encode())
        else:
            self._store.rewrite(live.name, after.encode())
        self._cases[live.name] = after

    def _end(self, live: LiveCase, phase: Phase) -> None:
        self._store.end(live.name, live.forget_at, STOPPED if phase is Phase.STOPPED else LAPSED)
        del self._cases[live.name]

    # --- deadlines --------------------------------------------------------------------------------------------

    async def _due(self, now: int) -> list[bytes]:
        return list(self._cases)

    async def _forget(self, now: int) -> None:
        # The database first: what it remembers and the desk does not have counts as lost.
        await self._writer.submit(board.forget_cases(now))
        await self._lane.run(self._store.forget, now)

    async def _settle(self, name: bytes, now: int) -> None:
        """Do to a case what the time demands, before anything else is done with it. Raises Refusal."""
        live = self._cases.get(name)
        if live is None or table.tick(live.held, now) is live.held:
            return
        async with self._settling:
            phase = await self._lane.run(self._do_settle, name, now)
            if phase is Phase.PUBLISHED:
                await self._publish(name, now)

    def _do_settle(self, name: bytes, now: int) -> Phase | None:
        live = self._cases.get(name)
        if live is None:
            return None
        phase = table.tick(live.held, now).phase
        if phase is Phase.PUBLISHED:
            live.publishing = True
        elif phase is Phase.LAPSED:
            self._end(live, phase)
        return phase

    async def _publish(self, name: bytes, now: int) -> None:
        """The board's rows in one transaction of the database; then the case ends with every y shown.

        A crash between the two leaves a case that is still full and due: the next start does this again, and the
        board takes each text once.
        """
        live = self._cases[name]
        notes = await self._lane.run(self._notes, live)
        posted = await self._writer.submit(board.post(notes, now, self._settings.caps.board_bytes))
        reply = self._published(live, notes if posted else [])
        await self._lane.run(self._do_published, live, reply, notes if posted else [], now)

    @staticmethod
    def _published(live: LiveCase, notes: Sequence[Note]) -> bytes:
        """The last answer: every y, and which texts are on the board."""
        return _encode(
            wire.Case(
                answer=CaseAnswer.PUBLISHED,
                masks=_in_order(live.masks),
                shares=_in_order(live.shares),
                board=[note.communique.digest for note in notes],
            )
        )

    def _do_published(self, live: LiveCase, reply: bytes, notes: Sequence[Note], now: int) -> None:
        self._store.end(live.name, live.forget_at, reply, [note.encode() for note in notes], now)
        del self._cases[live.name]

    def _notes(self, live: LiveCase) -> list[Note]:
        """Completed, every signature verified; none when it is not for the board.

        A bundle that does not open or complete was sealed so by every signer, since its hash is in the handle: the
        board gets nothing then, every y is shown as for any case, and the signers complete it themselves.
        """
        case, bundle = live.case, unlp(self._store.fixed(live.name), 3)[1]
        masks = [check_mask(case, message) for message in live.masks.values()]
        shares = [check_share(case, message) for message in live.shares.values()]
        try:
            notes = list(assemble(complete(case, bundle, masks, shares)))
            check_parallel([note.communique for note in notes])
        except CryptoError:
            return []
        feet = [note.communique.foot for note in notes]
        if any(foot.audience is not Audience.BOARD or foot.not_before != case.terms.not_before for foot in feet):
            return []
        keys = self._settings.press_keys
        if keys is not None and any(keys.name_of(one.key) is None for foot in feet for one in foot.signatories):
            return []
        return notes

    # --- start and stop ---------------------------------------------------------------------------------------

    async def begin(self, connection: Connection) -> None:
        """Bring the store and the database together, and end what is due. Raises Refusal."""
        now = self._now()
        remembered = {name: at for name, at in board.remembered_cases(connection).items() if at > now}
        await self._lane.submit(self._do_begin, remembered)
        await self._writer.submit(board.remember_cases(self._store.names()))
        for at, notes in self._store.posted():
            await self._writer.submit(board.post([Note.parse(one) for one in notes], at, None))
        await self.once()

    def _do_begin(self, remembered: dict[bytes, int]) -> None:
        living, lost = self._store.load()
        here = {name for name, _ in self._store.names()}
        lost += [(name, at) for name, at in remembered.items() if name not in here]
        if self._settings.restored:
            lost += [(one.name, one.forget_at) for one in living]
            living = []
        for name, forget_at in lost:
            self._store.end(name, forget_at, LAPSED)
        self._cases = {one.name: LiveCase.decode(one) for one in living}

    def close(self) -> None:
        """Finish what was asked, and close the store."""
        self._lane.close()
        self._store.close()
