"""Ideas without a name, as a program uses them: `channel.ideas`. What goes to the service, when, and over which line.

1. Every device that takes part sends equally many packets, each in the window after the tick at a random moment, each
   on a connection of its own, under the round's token. What is sent again is the same bytes, on another connection.
2. Room is made, and the log is written, by whoever takes part, whether they have an idea or not.
3. They go by this device's clock alone. A service that breaks or stalls a device's line to the channel, where it knows
   whose it is, must not be able to tell by the delay which packets are that device's: so nothing here waits for it.
4. Nothing is fetched or shown before the window is over; a list counts only as `rounds.py` says.

DESIGN 4.4, #13; docs/ideas.md.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pourparler_policies import wire
from pourparler_policies.ideas import content, events
from pourparler_policies.ideas.acts import present_seats
from pourparler_policies.ideas.content import Ballot, Tally
from pourparler_policies.ideas.device import Duty, Stage
from pourparler_policies.ideas.facts import LEAST_SEATS, ROUND_BYTES, Round
from pourparler_policies.limits import MINUTE
from pourparler_policies.wire import Problem

from .errors import Lacking, PourparlerError, Refused, Unreachable, UserError
from .happenings import Happening
from .ideatexts import BALLOT, MARKED, OWN, SHOWN, Opened, Text
from .rounds import Kept

if TYPE_CHECKING:
    from .api import Api
    from .channel import Channel

GATHER: Final = 10 * MINUTE  # seconds in which devices join, unless the caller says otherwise
WINDOW: Final = 2 * MINUTE  # seconds in which packets are sent
_PATIENCE: Final = 45.0  # seconds for one packet, also over a fresh circuit of Tor; then again, on another one
_GRACE: Final = 5 * MINUTE  # seconds after the window in which a service whose clock is slower shows nothing yet
SPREAD: Final = 1.0  # seconds over which packets of one second are spread: clocks here have whole ones
_ALONE: Final = frozenset({Duty.SEAL, Duty.SEND})
_STEPS: Final = 16  # duties that one visit does without the log: more than there are


@dataclass(frozen=True, slots=True)
class Listed:
    """A list of ideas as it is shown. `mine`: the ballot that waits here for a round of marks."""

    opened: Opened
    ideas: tuple[str, ...]
    tally: Tally | None
    mine: Ballot


class Ideas:
    """Rounds of ideas in one channel. Everything that touches the network runs under the channel's turn."""

    def __init__(self, channel: Channel, connect: Callable[[str, bytes | None], Api]) -> None:
        self._channel = channel
        self._connect = connect
        self.spread = SPREAD
        self._apart = False  # packets are sent by `attend`, whatever the channel does
        self.attends: bool | None = None  # whether this device joins; None: while it is being watched

    @property
    def live(self) -> Round | None:
        """The round that lives in the log."""
        return self._channel.log.folded.round

    # What a person does

    async def call(
        self, tick: int, *, about: bytes = b"", gather: int = GATHER, window: int = WINDOW, life: int | None = None
    ) -> bytes:
        """Calls a round whose packets go out at `tick` (Unix seconds); `about`: the list that is marked in it.

        Returns its number. Raises UserError as `Channel.do` does.
        """
        log = self._channel.log
        if not log.folded.ideas.allowed:
            raise UserError("the charter has no ideas without a name: `attribution.ideas` would have to be true")
        round_, longest = os.urandom(ROUND_BYTES), log.folded.ideas.longest
        await self._channel.do(events.Called(round_, about, tick, gather, window, life or longest))
        return round_

    async def call_off(self) -> None:
        """Ends the live round; what waits for it waits for another."""
        if self.live is None:
            raise UserError("there is no round of ideas now")
        await self._channel.do(events.Failed(self.live.id))

    async def add(self, text: str, *, least: int = LEAST_SEATS) -> int:
        """Keeps an idea for the next round in which at least `least` seats take part; returns its number here.

        Nothing of it leaves this device before, nor anything that says that it is there. Raises UserError,
        Unreachable when it cannot be stored.
        """
        log, written = self._channel.log, content.write_idea(text)
        if not log.folded.ideas.allowed:
            raise UserError("the charter has no ideas without a name: `attribution.ideas` would have to be true")
        if least < LEAST_SEATS:
            raise UserError(f"an idea goes out where at least {LEAST_SEATS} take part")
        life = log.charter.retention.messages
        return await self._kept(lambda: self._keep(OWN, written, life, least=least))

    async def mark(self, round_: bytes, marks: frozenset[int], groups: Mapping[str, frozenset[int]]) -> None:
        """This person's marks and groups for a list, in place of earlier ones, for the next round of marks on it."""
        count = len(await self._texts(SHOWN, round_))
        opened = next((one for one in self._channel.log.rounds.texts.lists() if one.round == round_), None)
        if opened is None or not count:
            raise UserError("there is no such list of ideas here")
        written = content.write_ballot(Ballot(marks, groups), count)
        life = max(1, opened.expires_at - self._channel.clock())
        await self._kept(lambda: self._keep_ballot(round_, written, life))

    def _keep(self, kind: str, written: bytes, life: int, *, round_: bytes = b"", least: int = 0) -> int:
        log = self._channel.log
        expires_at = log.clock() + life
        end = log.lives.end_of(max(expires_at, log.row.received_at + life), life)
        return log.rounds.texts.add(kind, written, end, expires_at, round_=round_, least=least)

    def _keep_ballot(self, round_: bytes, written: bytes, life: int) -> int:
        log = self._channel.log
        log.erased()
        log.vault.execute(
            "DELETE FROM idea_text WHERE channel = ? AND kind = ? AND round = ?", log.row.id, BALLOT, round_
        )
        return self._keep(BALLOT, written, life, round_=round_)

    async def _kept(self, keep: Callable[[], int]) -> int:
        if self._channel.log.closing:
            raise UserError("this channel is being ended for everybody: nothing is said in it any more")

        def step() -> int:
            with self._channel.log.step():
                return keep()

        return await self._channel.with_halves(step)

    async def drop(self, number: int) -> None:
        """Takes an own idea back, as long as no round has it."""
        await self._channel.with_halves(
            lambda: self._in_a_step(lambda: self._channel.log.rounds.texts.drop(number))
        )

    async def again(self, number: int) -> None:
        """Puts an idea into the next round though somebody may have read it in one that broke off."""
        await self._channel.with_halves(
            lambda: self._in_a_step(lambda: self._channel.log.rounds.texts.again(number))
        )

    def _in_a_step(self, act: Callable[[], object]) -> None:
        with self._channel.log.step():
            act()

    # What a person sees

    async def own(self) -> list[Text]:
        """Ideas of this person that wait."""
        return await self._texts(OWN, None)

    async def lists(self) -> list[Listed]:
        """Lists that have opened here, the newest first. Life after reading begins with this."""
        texts, found = self._channel.log.rounds.texts, []

        def read(opened: Opened) -> Opened:
            with self._channel.log.step():
                return texts.read(opened)

        for one in texts.lists():
            opened = await self._channel.with_halves(lambda one=one: read(one))  # type: ignore[misc]
            ideas = tuple(text.text.decode() for text in await self._texts(SHOWN, opened.round))
            ballots = await self._channel.with_halves(lambda of=opened.round: texts.ballots(of))  # type: ignore[misc]
            marked = await self._texts(MARKED, opened.round)
            waiting = [
                content.read_ballot(text.text, len(ideas)) for text in await self._texts(BALLOT, opened.round)
            ]
            tally = content.tally(ballots, len(ideas)) if marked else None
            found.append(Listed(opened, ideas, tally, waiting[0] if waiting else Ballot()))
        return found

    async def _texts(self, kind: str, round_: bytes | None) -> list[Text]:
        return await self._channel.with_halves(lambda: self._channel.log.rounds.texts.of(kind, round_))

    def seats(self) -> tuple[int, int]:
        """How many seats take part in the live round, and how many are present."""
        held = self.live
        return len(held.parts) if held is not None else 0, len(present_seats(self._channel.log.consent))

    # What the device does by itself

    def pause(self, longest: float) -> float:
        """Seconds until something is due here, at most `longest`."""
        log = self._channel.log
        if log.row.state != "open" or not (kept := log.rounds.all()):
            return longest
        now, moments = log.clock(), []
        for one in kept:
            held = log.rounds.round_of(one)
            if held is not None:
                moments += [held.begins, (held.doors + held.tick) // 2, held.tick, held.closes]
                moments += log.rounds.packs.unsent(one.own.id)
        ahead = [moment - now for moment in moments if moment > now]
        return max(0.05, min([longest, *ahead]))

    async def attend(self, longest: float) -> None:
        """Seals and sends when it is time, until it is cancelled; looks at least every `longest` seconds. It needs no
        turn: each step in the vault is one that nothing interrupts.
        """
        self._apart = True
        try:
            while True:
                await asyncio.sleep(self.pause(longest))
                if self._channel.log.row.state == "open":
                    for kept, duty in self._channel.log.rounds.due(self._channel.clock()):
                        if duty in _ALONE:
                            with suppress(PourparlerError, OSError):
                                await self._alone(kept, duty)
        finally:
            self._apart = False

    async def _alone(self, kept: Kept, duty: Duty) -> None:
        if duty is Duty.SEND:
            return await self._send(kept)
        rounds, now = self._channel.log.rounds, self._channel.clock()
        try:
            self._in_a_step(lambda: rounds.seal(kept, now))
        except Lacking:  # what waits here cannot be opened now: it waits on, and as much is sent as ever
            self._in_a_step(lambda: rounds.seal(kept, now, empty=True))
        return None

    async def visit(self) -> list[Happening]:
        """Does what is due now; the channel has been folded to its head, and writes to the log what follows."""
        happened: list[Happening] = []
        for _ in range(_STEPS):
            before = self._channel.log.rounds.all()
            for kept, duty in self._channel.log.rounds.due(self._channel.clock()):
                if (duty is Duty.JOIN and not self._stays()) or (duty in _ALONE and self._apart):
                    continue
                happened += await self._do(kept, duty)
            if self._channel.log.rounds.all() == before:
                break
        return happened

    def _stays(self) -> bool:
        """A device that looks in and is gone at the tick would end the round for all: so only who stays joins."""
        return self._channel.watched if self.attends is None else self.attends

    async def _do(self, kept: Kept, duty: Duty) -> list[Happening]:
        log, now = self._channel.log, self._channel.clock()
        match duty:
            case Duty.MAKE_ROOM:
                await self._make_room(kept)
            case Duty.JOIN:
                await self._join(kept)
            case Duty.SEAL:
                try:
                    await self._channel.halves_for(lambda: self._in_a_step(lambda: log.rounds.seal(kept, now)))
                except Refused:
                    self._in_a_step(lambda: log.rounds.seal(kept, now, empty=True))
            case Duty.SEND:
                # The halves are here, unless the program was closed since it sealed.
                await self._channel.halves_for(lambda: log.rounds.packets(kept.own.id))
                await self._send(kept)
            case Duty.FETCH:
                packets = await self._fetch(kept)
                if packets is not None:
                    await self._keep_list(kept, packets)
            case Duty.OPEN:
                return await self._open(kept)
            case _:
                with log.step():
                    return log.rounds.step(kept, duty)
        return []

    async def _join(self, kept: Kept) -> None:
        """Takes part, with the half at hand under which its packets will lie: at the tick nothing waits for it."""
        log = self._channel.log
        held = log.rounds.round_of(kept)
        if held is not None:
            with suppress(Refused):  # then its packets hold nothing
                await self._channel.halves_for(lambda: log.rounds.packs.check_ready(held))
        self._in_a_step(lambda: log.rounds.step(kept, Duty.JOIN))

    async def _keep_list(self, kept: Kept, packets: list[bytes]) -> None:
        rounds = self._channel.log.rounds
        try:
            await self._channel.halves_for(lambda: self._in_a_step(lambda: rounds.fetched(kept, packets)))
        except Refused:  # the service gives no half for its end: what cannot be kept is not seen
            self._in_a_step(lambda: rounds.step(kept, Duty.FAIL))

    async def _make_room(self, kept: Kept) -> None:
        log = self._channel.log
        held = log.rounds.round_of(kept)
        if held is None:
            return
        handle = log.rounds.handle(kept, held)
        request = wire.CreateRound(
            round=handle,
            token_hash=hashlib.sha256(kept.token).digest(),
            opens_at=held.tick,
            window=held.window,
            places=held.places,
            life=held.life,
        )
        try:
            await self._channel.api.create_round(log.row.id, request)
        except Unreachable:
            return
        except Refused as refusal:
            if refusal.problem not in (Problem.OVER_CAP, Problem.CLOSED, Problem.MALFORMED, Problem.ID_REUSED):
                return
            with log.step():
                log.rounds.step(kept, Duty.FAIL)
            return
        with log.step():
            log.rounds.room(kept, handle)

    async def _send(self, kept: Kept) -> None:
        now = self._channel.clock()
        due = [(place, packet) for place, packet, at, sent in self._channel.log.rounds.packets(kept.own.id)
               if not sent and at <= now]  # fmt: skip
        await asyncio.gather(*(self._send_one(kept, place, packet) for place, packet in due))

    async def _send_one(self, kept: Kept, place: int, packet: bytes) -> None:
        log, done = self._channel.log, False
        await asyncio.sleep(random.uniform(0, self.spread))  # noqa: S311 -- spread, not a secret
        with suppress(Unreachable, Refused, TimeoutError):
            async with self._connect(log.row.url, kept.token) as api, asyncio.timeout(_PATIENCE):
                await api.send_packet(kept.handle, packet)
            done = True
        with log.step():
            if done:
                log.rounds.sent(kept.own.id, place)
            else:
                log.rounds.put_off(kept.own.id, place, self._channel.clock() + random.randint(1, 5))  # noqa: S311

    async def _fetch(self, kept: Kept) -> list[bytes] | None:
        """The list; None while the service does not have it yet. Empty: it never will."""
        log, now = self._channel.log, self._channel.clock()
        try:
            async with self._connect(log.row.url, kept.token) as api:
                return (await api.packets(kept.handle)).packets
        except Unreachable:
            return None
        except Refused as refusal:
            held = log.rounds.round_of(kept)
            early = held is None or now < held.closes + _GRACE
            return None if refusal.problem is Problem.NOT_FOUND and early else []

    async def _open(self, kept: Kept) -> list[Happening]:
        log = self._channel.log
        packets: list[bytes] | None = []
        if kept.own.stage is Stage.CALLED:  # it took no part, and has yet to fetch the list
            held = kept.opened
            handle = log.rounds.handle(kept, held) if held is not None else b""
            packets = await self._fetch(Kept(kept.own, kept.key, kept.token, handle=handle, held=kept.held))
            if packets is None:
                return []

        def step() -> list[Happening]:
            with log.step():
                if kept.own.stage is Stage.CALLED:
                    return log.rounds.open(kept, packets or [], self._channel.clock())
                known = log.rounds.packs.list_of(kept.own.id)
                if not known:  # its ideas have ended before it could open them
                    return log.rounds.step(kept, Duty.ERASE)
                return log.rounds.open(kept, known, self._channel.clock())

        return await self._channel.halves_for(step)


def draft_text(listed: Listed, title: str, least_marks: int = 0) -> str:
    """A list as a draft: the most marked first, under the headings that people gave. No number, no mark, no name.

    Raises UserError when nothing is left.
    """
    marks = listed.tally.marks if listed.tally is not None else {}
    groups = listed.tally.groups if listed.tally is not None else {}
    chosen = [n for n in range(1, len(listed.ideas) + 1) if marks.get(n, 0) >= least_marks]
    chosen.sort(key=lambda number: (-marks.get(number, 0), number))
    if not chosen:
        raise UserError("no idea of this list has so many marks")
    parts, placed = [f"# {title}"], set[int]()
    for name, (members, _) in sorted(groups.items(), key=lambda group: (-group[1][1], group[0])):
        here = [number for number in chosen if number in members - placed]
        placed |= set(here)
        if here:
            parts.append(_part(name, [listed.ideas[number - 1] for number in here]))
    rest = [listed.ideas[number - 1] for number in chosen if number not in placed]
    if rest:
        parts.append(_part("Further ideas" if placed else "", rest))
    return "\n\n".join(parts) + "\n"


def _part(name: str, ideas: list[str]) -> str:
    points = "\n".join("- " + "\n  ".join(idea.splitlines()) for idea in ideas)
    return f"## {name}\n\n{points}" if name else points
