"""Soundings as a program uses them: `channel.soundings`, and `deal` across channels (DESIGN 4.5; docs/soundings.md).

In a channel that all parties share:

    await channel.soundings.ask(["text one", "text two"], answer_within=86400, collect_within=3600)

Across channels that share no member, by an intermediary whose vaults hold one channel with each side. Parties of each
channel are sides, so there are as many as in all of them together:

    await deal([north, south], ["package 1", "package 2", "package 3"], answer_within=20, collect_within=20, spread=0)

Everybody's devices must be there to go on (`channel.watch()` running, or `channel.sync()` again and again). On a device
that decides for its party:

    channel.soundings.status()            # Asked, or None: .may_answer once it is registered here. Lacking: sync first
    channel.soundings.answer([True, False, True])     # a word on each package; no word is a refusal. No network.

After the close every device of every channel, the intermediary's too, finds the same result by itself:

    channel.soundings.status().result     # None: not known yet; NOT_ALL; or the number of the common package, from 0

Happenings of `watch()` and `sync()`: "sounded", "sounding" (text "ready": it may be answered), "counted" (text: the
number from 1, or empty). All requests to the tally go without a token, each on a connection of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pourparler_crypto.card import Card
from pourparler_crypto.errors import ProtocolError
from pourparler_crypto.sounding import MAX_PARTIES, Answer, Counted, Tally, dealt
from pourparler_policies import payload, sounding, wire
from pourparler_policies.errors import Void
from pourparler_policies.fold import standing
from pourparler_policies.fold.facts import Phase as DevicePhase
from pourparler_policies.sounding import events
from pourparler_policies.sounding.device import Cue, Duty, Stage
from pourparler_policies.sounding.facts import Phase
from pourparler_policies.wire import Problem

from .api import NEVER, Api
from .errors import PourparlerError, Refused, Unreachable, UserError
from .happenings import Happening
from .log import Log
from .outbox import Kind
from .shuttle.pace import PAUSE, Pace
from .soundlog import NONE, UNKNOWN, new_id
from .store import State

if TYPE_CHECKING:
    from .channel import Channel

NOT_ALL: Final = NONE  # a result: not all accept any one package; by whom it failed nobody learns
DAY, HOUR = 86_400, 3600  # seconds

Connect = Callable[[str, bytes | None], Api]


@dataclass(frozen=True, slots=True)
class Asked:
    """A sounding as this device shows it. Nothing here depends on what was answered on this device, or whether."""

    id: bytes
    body: str  # who asked: a party or an intermediary, by its identifier
    count: int  # of packages
    packages: tuple[str, ...]  # their words; none when they cannot be read here any more
    phase: Phase
    stage: Stage
    answer_by: int
    closes: int
    ends: int
    sides: int
    here: int  # how many of the sides are in this channel
    dealt: bool
    second: bool
    may_answer: bool
    may_ask_again: bool
    result: int | None


class Soundings:
    """The soundings of a channel. Methods may be called from several tasks."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._refused = False

    @property
    def _log(self) -> Log:
        return self._channel.log

    def status(self) -> Asked | None:
        """The sounding that is under way, or whose result still stands. Raises Lacking (`Channel.with_halves`)."""
        kept, now = self._log.soundings.kept, self._log.clock()
        live, own = kept.state.live, kept.own
        if live is None or own is None:
            return None
        # By this device's clock: that the time is over must not wait for somebody to say something.
        shown = sounding.settled(kept.state, max(now, kept.state.time)).live or live
        ready = own.stage is Stage.READY and now < own.answer_by
        failed = (live.missed or shown.phase is Phase.LAPSED) and not live.second
        return Asked(
            live.id,
            live.body,
            len(live.digests),
            self._log.soundings.words.all(),
            shown.phase,
            own.stage,
            live.answer_by,
            live.closes,
            live.ends,
            live.sides,
            len(self._log.consent.rules.parties),
            live.dealt,
            live.second,
            ready,
            failed,
            None if kept.result == UNKNOWN else kept.result,
        )

    def left(self) -> int:
        """How many soundings this device's body may still begin, by the charter."""
        own = standing.by_credential(self._log.consent, self._log.row.credential)
        body = standing.body_of(self._log.consent, own) if own is not None else ""
        return sounding.left(self._log.soundings.kept.state, body, self._log.clock())

    async def ask(
        self,
        packages: Sequence[str],
        *,
        answer_within: int = DAY,
        collect_within: int = HOUR,
        again: bool = False,
    ) -> bytes:
        """Asks every party of this channel, without a dealer; returns the sounding's number (16 bytes).

        `packages` are texts; times are seconds. `again`: the last one's line had failed, and the same is asked once
        more. Raises UserError with the reason when it would count for nothing; Unreachable, and then nothing was
        asked.
        """
        async with self._channel.turn:
            await self._channel.catch_up()
            answer_by = self._log.clock() + answer_within
            event = events.Sounded(
                new_id(), _texts(packages), answer_by, answer_by + collect_within, self._again() if again else b""
            )
            self._check(event)
            await self._post(event)
        return event.id

    def answer(self, accepts: Sequence[bool]) -> None:
        """A person's word on each package. It stays on this device, which hands in at its moment whatever was said.

        Given once: an acceptance can be taken back by a word that accepts nothing. Raises UserError.
        """
        self._log.soundings.answer(list(accepts))

    async def follow(self) -> None:
        """Time and the service lead a sounding on; what follows from it is sent at once. Under the turn."""
        channel, log = self._channel, self._log
        if log.row.state is not State.OPEN or not log.soundings.active:
            return
        before = log.soundings.kept
        with log.step():
            happened = log.soundings.follow(channel.clock())
        channel.tell(happened)
        try:
            channel.tell(await visit(log, channel.connect))
        except Unreachable:  # at the next visit
            pass
        except Refused as refusal:
            if refusal.problem in NEVER and not self._refused:
                self._refused = True
                channel.tell([Happening("tally", log.row.cursor, text=str(refusal))])
        with log.step():
            happened = log.soundings.follow(channel.clock())
        channel.tell(happened)
        if log.soundings.kept != before:
            await channel.sending.flush()

    async def recall(self) -> None:
        """Takes back what one's own side has asked, before devices hand in. Raises UserError."""
        async with self._channel.turn:
            await self._channel.catch_up()
            live = self._log.soundings.kept.state.live
            if live is None:
                raise UserError("nothing is being asked here")
            event = events.Recalled(live.id)
            self._check(event)
            await self._post(event)

    def _again(self) -> bytes:
        live = self._log.soundings.kept.state.live
        if live is None:
            raise UserError("there is nothing here that could be asked once more")
        return live.id

    def _check(self, event: events.Event) -> None:
        self._channel.require_open()
        log = self._log
        try:
            log.soundings.judge(log.soundings.kept.state, event, log.row.credential, log.clock())
        except Void as error:
            raise UserError(f"this would count for nothing: {error}") from None

    async def _post(self, event: events.Event) -> None:
        """One entry; under the turn. What fails must not be asked by itself later."""
        log = self._log
        live = log.soundings.kept.state.live
        now, rules = log.clock(), log.soundings.kept.state.rules
        ends = live.ends if live is not None else now
        if isinstance(event, events.Sounded | events.Dealt):
            ends = sounding.ends(rules, event.closes, now)
        life = max(1, ends - now)
        content = payload.encode_events([payload.Sounding.of(event)])
        if isinstance(event, events.Sounded | events.Dealt):
            draft = await self._channel.halves_for(
                lambda: log.lives.add_draft(content, life, now + life, Kind.SOUNDING)
            )
        else:
            with log.step():
                draft = log.store.outbox.add(Kind.SOUNDING, content, life, now + life)
        try:
            await self._channel.catch_up()
        except PourparlerError:
            if log.store.outbox.has(draft) and self._channel.sealer.drop_unsealed(draft):
                raise
            if draft not in log.own_entries.delivered:
                raise Unreachable("it may still be sent, when the service answers again") from None
        if draft not in log.own_entries.delivered and not log.store.outbox.has(draft):
            raise UserError("this was not sent: its time was over, or the service has lost its half of a key")
        if void := log.own_entries.delivered.get(draft):
            raise UserError(f"this counts for nothing: {void}")


async def deal(
    channels: Sequence[Channel],
    packages: Sequence[str],
    *,
    answer_within: int = DAY,
    collect_within: int = HOUR,
    spread: float = PAUSE,
    again: bool = False,
) -> None:
    """Asks every party of several channels, in each of which this device is an intermediary's.

    The channels are visited, then asked in random order, with a pause of up to `spread` seconds, and at least a fifth
    of it, whenever it goes from one to another. Nothing of the deal is kept. Raises UserError when it would count for
    nothing in one of them, and then nothing was asked; Unreachable when a line broke on the way: it was asked in some,
    and fails unless it is asked again.
    """
    if len({channel.id for channel in channels}) != len(channels) or len(channels) < 2:
        raise UserError("a deal goes across two channels or more: in one channel, ask without a dealer")
    pace = Pace(spread)
    for channel in channels:
        await pace.to(channel)
        await channel.sync()
    places = [(channel, party, cards) for channel in channels for party, cards in _sides(channel.log)]
    if len(places) > MAX_PARTIES:
        raise UserError(f"a sounding has at most {MAX_PARTIES} sides")
    texts = _texts(packages)
    answer_by = max(channel.clock() for channel in channels) + answer_within
    closes = answer_by + collect_within
    salt = new_id() + new_id()
    tally, shares = dealt.deal(
        len(places), len(texts), answer_by, closes, dealt.agreed(salt, texts, answer_by, closes)
    )
    made: list[tuple[Channel, events.Dealt]] = []
    for channel in channels:
        sealed = {
            card.fingerprint: share.seal_to(card, tally)
            for share, (where, _, cards) in zip(shares, places, strict=True)
            if where is channel
            for card in cards
        }
        number = channel.soundings._again() if again else b""
        event = events.Dealt(new_id(), texts, answer_by, closes, len(places), salt, tally.encode(), sealed, number)
        channel.soundings._check(event)
        made.append((channel, event))
    random.SystemRandom().shuffle(made)
    for channel, event in made:
        await pace.to(channel)
        async with channel.turn:
            await channel.soundings._post(event)


def _sides(log: Log) -> list[tuple[str, list[Card]]]:
    """Each party of a channel, with the cards of its present devices that decide for it. Raises UserError."""
    consent, found = log.consent, []
    by_card = {member.fingerprint: member for member in log.members.values()}
    for party in consent.rules.parties:
        seats = {seat.id for seat in standing.deciders(consent, party)}
        cards = [
            Card(by_card[one.card].name, by_card[one.card].public)
            for one in consent.devices.values()
            if one.seat in seats and one.phase is DevicePhase.PRESENT and one.card in by_card
        ]
        if not cards:
            raise UserError("a party has nobody here who could answer for it")
        found.append((party, cards))
    return found


def _texts(packages: Sequence[str]) -> tuple[bytes, ...]:
    found = []
    for text in packages:
        payload.check_text(text)
        found.append(text.strip().encode())
    return tuple(found)


# --- visits to the tally --------------------------------------------------------------------------------------------


async def visit(log: Log, connect: Connect) -> list[Happening]:
    """What this device owes the service now, and what follows from its answers. The same for every answer.

    Raises Unreachable, or Refused when the service says no for good.
    """
    kept, now = log.soundings.kept, log.clock()
    own = kept.own
    if own is None or not kept.tally:
        return []
    handle = Tally.decode(kept.tally).handle
    if Duty.BRING in own.owes and not own.brought and now < own.closes:
        await _bring(log, connect, kept.tally)
    if Duty.HAND_IN in own.owes and own.moment <= now < own.closes:
        await _hand_in(log, connect, kept.tally, handle)
    if Duty.ASK in own.owes and now >= own.closes and kept.result == UNKNOWN:
        return await _ask(log, connect, handle)
    return []


async def _bring(log: Log, connect: Connect, tally: bytes) -> None:
    async with connect(log.row.url, None) as api:
        await api.open_tally(tally)
    with log.step():
        log.soundings.brought()


async def _hand_in(log: Log, connect: Connect, tally: bytes, handle: bytes) -> None:
    held = Answer.decode(log.soundings.kept.secret)
    try:
        async with connect(log.row.url, None) as api:
            await api.hand_in(handle, held.token, held.ready)
        async with connect(log.row.url, None) as api:
            told = await api.tally(handle)
    except Refused as refusal:
        if refusal.problem is Problem.NOT_FOUND:  # it lost the tally: it is brought again at the next visit
            with log.step():
                log.soundings.unbrought()
        elif refusal.problem is not Problem.MALFORMED:  # by its clock it is too early: at the next visit
            raise
        return
    if told.answer is wire.TallyAnswer.OPEN:  # still open after it had it: so it was in time
        with log.step():
            log.soundings.enter(Cue.HANDED)


async def _ask(log: Log, connect: Connect, handle: bytes) -> list[Happening]:
    try:
        async with connect(log.row.url, None) as api:
            told = await api.tally(handle)
    except Refused as refusal:
        if refusal.problem is not Problem.NOT_FOUND:
            raise
        told = wire.Tally(answer=wire.TallyAnswer.LOST)
    if told.answer is wire.TallyAnswer.OPEN:
        return []
    with log.step():
        if told.answer is wire.TallyAnswer.LOST or told.package is None or told.value is None:
            log.soundings.enter(Cue.LOST)
            return []
        try:
            return log.soundings.counted(Counted(told.package, told.value))
        except ProtocolError:
            return []
