"""Soundings as a channel's log leads them on, and this device's part in one. No network here.

1. A stage is saved with what it holds in the transaction that saw its cue, before anything that it owes is sent.
2. Who takes part is the first device of each party that decides; it does so by itself, so nothing that it posts or
   hands in, and no time at which it does, follows from what its person says.
3. A person's word is written to the vault and nowhere else, over what stood there, in the same size.
4. What others post changes nothing before it is checked; what does not fit bars this device from the sounding.
5. The packages' words lie apart (`soundwords.py`), and nothing here needs them.

DESIGN 4.5; docs/soundings.md. `soundings.py` is what a program uses, and goes to the service.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pourparler_crypto import sounding as crypto
from pourparler_crypto.card import CardKey
from pourparler_crypto.errors import CryptoError, ProtocolError
from pourparler_crypto.sounding import About, Answer, Begun, Counted, Tally, common, dealt
from pourparler_policies import payload, sounding
from pourparler_policies.charter.rules import DECIDING
from pourparler_policies.errors import Void
from pourparler_policies.fold import standing
from pourparler_policies.fold.encoding import encode as canonical
from pourparler_policies.sounding import device, events
from pourparler_policies.sounding.device import Cue, Duty, Own, Stage
from pourparler_policies.sounding.facts import Phase, Sounding, State, decode_state

from .errors import UserError
from .happenings import Happening
from .soundwords import SoundWords
from .store import State as Open

if TYPE_CHECKING:
    from pourparler_policies import wire

    from .log import Log

UNKNOWN, NONE = -2, -1  # results: else the number of the common package, from 0
_STEPS: Final = 12  # stages that one fold may lead through: more than there are
_IN_VAIN: Final = 60  # seconds before what counted for nothing is tried again: this device's clock may be fast


@dataclass(frozen=True, slots=True)
class Kept:
    """The row of `schema.sounding`."""

    state: State
    own: Own | None = None
    secret: bytes = b""
    tally: bytes = b""
    result: int = UNKNOWN
    value: bytes = b""


class SoundLog:
    """The soundings of one log."""

    def __init__(self, log: Log, key: CardKey) -> None:
        self._log, self._key = log, key
        self.words = SoundWords(log)
        self._in_vain_until = 0
        self._at_fault = ""  # in whose name came what does not fit, until it was told

    @property
    def kept(self) -> Kept:
        """What this device keeps, under the charter's rules as they are."""
        row = self._log.vault.row(
            "SELECT state, own, secret, tally, result, value FROM sounding WHERE channel = ?", self._log.row.id
        )
        rules = sounding.sounding_rules(self._log.charter)
        if row is None:
            return Kept(sounding.opened(rules))
        state = sounding.with_rules(decode_state(row[0]), rules)
        return Kept(state, device.decode_own(row[1]) if row[1] else None, *row[2:])

    def _save(self, kept: Kept) -> None:
        self._log.vault.execute(
            "INSERT OR REPLACE INTO sounding VALUES (?, ?, ?, ?, ?, ?, ?)",
            self._log.row.id,
            canonical(kept.state),
            canonical(kept.own) if kept.own is not None else b"",
            kept.secret,
            kept.tally,
            kept.result,
            kept.value,
        )
        live = kept.state.live
        self.words.keep_to(live.id if live is not None else b"")

    @property
    def active(self) -> bool:
        """Whether there is anything to be watched."""
        query = "SELECT 1 FROM sounding WHERE channel = ? AND length(own) > 0"
        return self._log.vault.row(query, self._log.row.id) is not None

    @property
    def party(self) -> str:
        """This device's party; empty for an intermediary's."""
        own = standing.by_credential(self._log.consent, self._log.row.credential)
        body = standing.body_of(self._log.consent, own) if own is not None else ""
        return body if body in self._log.consent.rules.parties else ""

    # What the log says

    def receive(self, entry: wire.Entry, event: events.Event, sender: bytes, draft: int | None) -> list[Happening]:
        """One event, in a transaction. `draft`: its number, when it is this device's own and its person meant it."""
        kept, author = self.kept, self._log.members.get(sender)
        try:
            state = self.judge(kept.state, event, sender, entry.received_at)
        except Void as error:
            if sender == self._log.row.credential:
                if draft is None:
                    self._in_vain_until = self._log.clock() + _IN_VAIN
                else:
                    self._log.own_entries.delivered[draft] = str(error)
            return []
        kept = replace(kept, state=state)
        happened: list[Happening] = []
        if isinstance(event, events.Sounded | events.Dealt):
            self.words.keep(entry, event, state.live.ends if state.live is not None else 0)
            kept = self._joined(kept)
            happened.append(Happening("sounded", entry.seq, member=author))
        elif isinstance(event, events.Recalled):
            happened.append(Happening("recalled", entry.seq, member=author))
        elif isinstance(event, events.Counted):
            kept, told = self._shown(kept, Counted(event.package, event.value))
            happened += told
            if told or kept.result == event.package:
                kept = replace(kept, value=b"")
        self._save(kept)
        return happened + self.advance(self._log.clock())

    def judge(self, state: State, event: events.Event, sender: bytes, at: int) -> State:
        """The state after an event, with what only cryptography can judge of it. Raises Void."""
        marks: tuple[bytes, ...] = ()
        if isinstance(event, events.Dealt):
            marks = _check_dealt(event)
        return sounding.apply(state, self._log.consent, sender, event, at, marks)

    def _joined(self, kept: Kept) -> Kept:
        """A new question: this device takes part if its seat decides for a party, else it waits for the result."""
        live = kept.state.live
        if live is None:
            return kept
        self._log.erased()
        consent = self._log.consent
        own = standing.by_credential(consent, self._log.row.credential)
        takes = bool(self.party) and own is not None and consent.seats[own.seat].role in DECIDING
        if live.dealt:
            takes = takes and self._log.own_card.fingerprint in live.shares
        moment = random.SystemRandom().randint(live.answer_by, (live.answer_by + live.closes) // 2)
        secret = b""
        if takes and not live.dealt:
            secret = crypto.common.begin(self._about(live), self._number(self.party)).encode()
        return Kept(kept.state, device.joined(live, moment, takes=takes), secret, live.tally)

    def _about(self, live: Sounding) -> About:
        return About(live.number, live.sides, len(live.digests))

    def _number(self, party: str) -> int:
        """A party's place, from 1. After a change of the charter it may be another: then nothing fits, and it fails."""
        return sorted(self._log.consent.rules.parties).index(party) + 1

    # Steps

    def follow(self, now: int) -> list[Happening]:
        """As far as log and time lead; in a transaction. Nothing where this channel is not open."""
        return self.advance(now) if self._log.row.state is Open.OPEN and self.active else []

    def advance(self, now: int) -> list[Happening]:
        """Follows log and time as far as they lead; in a transaction."""
        happened: list[Happening] = []
        for _ in range(_STEPS):
            kept = self.kept
            if kept.own is None:
                break
            state = sounding.settled(kept.state, self._log.row.received_at)
            cue = device.watch(kept.own, state.live, self.party, self._log.row.credential)
            cue = cue or device.due(kept.own, now)
            if cue is None and kept.result != UNKNOWN and Cue.COUNTED in device.STEPS[kept.own.stage]:
                cue = Cue.COUNTED
            if cue is None or not self._enter(kept, cue):
                break
            after = self.kept.own
            if after is not None and after.stage in (Stage.READY, Stage.BARRED):
                happened.append(Happening("sounding", self._log.row.cursor, text=str(after.stage)))
        self._watching()
        if self._at_fault:
            happened.append(Happening("unsound", self._log.row.cursor, text=self._at_fault))
            self._at_fault = ""
        return happened

    def _watching(self) -> None:
        """Whoever does not answer works the tally out of the log too, to know the result by itself."""
        kept = self.kept
        live = kept.state.live
        if kept.own is None or kept.own.stage is not Stage.WATCHING or kept.tally or live is None:
            return
        if live.phase in (Phase.ASKING, Phase.COLLECTING, Phase.CLOSED):
            try:
                self._save(replace(kept, tally=self._registered(live).encode()))
            except CryptoError as error:
                self._at_fault = self._named(error)
                self._enter(kept, Cue.LOST)

    def _named(self, error: CryptoError) -> str:
        """In whose name what does not fit came."""
        if isinstance(error, crypto.Unregistered):
            live = self.kept.state.live
            party = (
                self._log.charter.parties.get(sorted(live.takers)[error.party - 1]) if live is not None else None
            )
            return party.name if party is not None else "somebody"
        return "the intermediary who dealt it" if isinstance(error, crypto.BadDeal) else "all together"

    def _enter(self, kept: Kept, cue: Cue) -> bool:
        """Follows a cue, with the step of cryptography under it. False when the stage stays."""
        if kept.own is None:
            return False
        own = device.follow(kept.own, cue)
        if own == kept.own:
            return False
        try:
            after = self._entered(replace(kept, own=own), own, cue)
        except CryptoError as error:
            self._at_fault = self._named(error)
            return cue is not Cue.UNSOUND and self._enter(kept, Cue.UNSOUND)
        if not own.holds:
            after = replace(after, secret=b"")
            self._log.erased()
        if own.stage is Stage.OVER:
            after = Kept(sounding.settled(kept.state, self._log.clock()))
        self._save(after)
        return True

    def _entered(self, kept: Kept, own: Own, cue: Cue) -> Kept:
        live = kept.state.live
        if live is None:
            return kept
        if cue is Cue.ALL_COMMITTED:
            common.check_commitments([live.takers[party].message for party in sorted(live.takers)])
        if cue is not Cue.REGISTERED:
            return kept
        self._log.erased()
        if live.dealt:
            tally = Tally.decode(live.tally)
            sealed = live.shares[self._log.own_card.fingerprint]
            share = dealt.receive(self._key, sealed, tally, live.sides)
            return replace(kept, tally=live.tally, secret=dealt.prepare(tally, share).encode())
        tally, begun = self._registered(live), Begun.decode(kept.secret)
        openings = [live.takers[party].opening for party in sorted(live.takers)]
        answer = common.prepare(self._about(live), begun, tally, openings)
        return replace(kept, tally=tally.encode(), secret=answer.encode())

    def _registered(self, live: Sounding) -> Tally:
        takers = [live.takers[party] for party in sorted(live.takers)]
        return common.registered(
            self._about(live),
            [taker.message for taker in takers],
            [taker.opening for taker in takers],
            live.answer_by,
            live.closes,
        )

    # A person's word, and what follows from the service's answers

    def answer(self, accepts: list[bool]) -> None:
        """A person's word on each package; it stays on this device until the tally. Raises UserError."""
        kept, now = self.kept, self._log.clock()
        if kept.own is None or kept.own.stage is not Stage.READY:
            raise UserError("there is nothing to answer on this device now: see `pourparler sound status`")
        if now >= kept.own.answer_by:
            raise UserError("the time to answer is over")
        if len(accepts) != len(Tally.decode(kept.tally).targets):
            raise UserError("say something about each package")
        held = Answer.decode(kept.secret)
        if held.given and any(accepts):
            raise UserError("you have answered this already: you can still take it back, with --none")
        with self._log.step():
            made = crypto.answered(Tally.decode(kept.tally), held, accepts)
            self._save(replace(kept, secret=made.encode()))
            self._log.erased()

    def brought(self) -> None:
        """The service has the tally; in a transaction."""
        kept = self.kept
        if kept.own is not None:
            self._save(replace(kept, own=replace(kept.own, brought=True)))

    def unbrought(self) -> None:
        """The service knows no such tally; in a transaction."""
        kept = self.kept
        if kept.own is not None:
            self._save(replace(kept, own=replace(kept.own, brought=False)))

    def enter(self, cue: Cue) -> None:
        """What the service's answer means for this device; in a transaction."""
        self._enter(self.kept, cue)

    def counted(self, answer: Counted) -> list[Happening]:
        """The service's answer after the close, in a transaction. Raises NotTheSum."""
        kept, happened = self._shown(self.kept, answer)
        self._save(kept)
        self._enter(kept, Cue.COUNTED)
        return happened

    def _shown(self, kept: Kept, answer: Counted) -> tuple[Kept, list[Happening]]:
        """A result counts when it fits; that nothing fits is believed until something does."""
        if not kept.tally:
            return kept, []
        try:
            found = Tally.decode(kept.tally).common(answer)
        except ProtocolError:
            return kept, []
        if found is None:
            if kept.result != UNKNOWN:
                return kept, []
            return replace(kept, result=NONE), [Happening("counted", self._log.row.cursor, text="")]
        if kept.result >= 0:
            return kept, []
        told = Happening("counted", self._log.row.cursor, text=str(found + 1))
        return replace(kept, result=found, value=answer.value), [told]

    # What is owed

    def due(self, now: int) -> tuple[payload.Sounding, int] | None:
        """What this device owes the channel: the entry, and its life in seconds. The same for every answer."""
        kept = self.kept
        live = sounding.settled(kept.state, min(now, kept.state.time)).live
        if kept.own is None or live is None or now < self._in_vain_until:
            return None
        for event in self._owed(kept, kept.own, live):
            try:
                self.judge(kept.state, event, self._log.row.credential, now)
            except Void:
                continue
            return payload.Sounding.of(event), max(1, live.ends - now)
        return None

    def _owed(self, kept: Kept, own: Own, live: Sounding) -> list[events.Event]:
        made: list[events.Event] = []
        taker = live.takers.get(self.party)
        if Duty.TAKE in own.owes and taker is None:
            message = b"" if live.dealt else Begun.decode(kept.secret).commitment(self._about(live))
            made.append(events.Taking(live.id, message))
        if Duty.OPEN in own.owes and taker is not None and not taker.opening:
            made.append(events.Opening(live.id, Begun.decode(kept.secret).opening()))
        if Duty.TELL in own.owes and not live.missed:
            made.append(events.Missed(live.id))
        if kept.value:
            made.append(events.Counted(live.id, kept.result, kept.value))
        return made

    def ends(self, now: int) -> bool:
        """Whether by this device's own clock something is over that it still keeps."""
        own = self.kept.own
        return own is not None and device.due(own, now) is not None

    def expire(self, now: int) -> None:
        """Erases that by this device's clock, whatever the log says and in whatever state the channel is."""
        if not self.ends(now):
            return
        with self._log.step():
            for _ in range(_STEPS):
                kept = self.kept
                cue = device.due(kept.own, now) if kept.own is not None else None
                if cue is None or not self._enter(kept, cue):
                    return


def _check_dealt(event: events.Dealt) -> tuple[bytes, ...]:
    """That a deal's tally is about what is asked here; its targets and slots. Raises Void."""
    try:
        tally = Tally.decode(event.tally)
    except ProtocolError:
        raise Void("this is no deal") from None
    agreed = dealt.agreed(event.salt, event.packages, event.answer_by, event.closes)
    about = (tally.form, tally.opens, tally.closes, len(tally.slots), len(tally.targets), tally.agreed)
    wanted = (crypto.Form.XOR, event.answer_by, event.closes, event.sides, len(event.packages), agreed)
    if about != wanted or len(event.salt) != len(tally.agreed):
        raise Void("the dealer's tally is about something else than is asked here")
    return (*tally.targets, *tally.slots)


def new_id() -> bytes:
    """16 random bytes."""
    return os.urandom(sounding.ID_BYTES)
