"""This device's part in a joint release: the tables of `release/device.py` with JR2 under them. No network here.

1. A stage is saved with what it holds in the transaction that saw its cue, before anything that it owes is sent; what
   is owed is the same bytes until the stage changes.
2. What a stage does not hold is erased in the transaction that enters it.
3. Rounds run by themselves, for who has initialled this revision and has the words and the key; only a person signs.
4. A message that JR2 refuses bars this device from the case. It proves nothing about anybody.
5. The text is in no stage: it lies with its paper, under keys that end with it (`papers.py`). What this device owes,
   and what its person may take back, goes on without it (`jr2/veil.py`).
6. What others send changes nothing before it is checked: masks and locks that do not fit are dropped as they come.

DESIGN 6.2; docs/release.md, docs/joint-release.md. `deskwork.py` visits the desk.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pourparler_crypto import jr2
from pourparler_crypto.encoding import lp, unlp
from pourparler_crypto.errors import CryptoError, ProtocolError
from pourparler_crypto.jr2 import Case as Listed
from pourparler_crypto.jr2 import (
    Deposited,
    Incomplete,
    Round,
    Signed,
    Terms,
    check_mask,
    check_share,
    unveil,
    veil,
)
from pourparler_crypto.jr2 import State as Jr2
from pourparler_crypto.note import Audience, Communique, assemble, check_round, parallel
from pourparler_crypto.releasekey import ReleaseKey
from pourparler_policies import wire
from pourparler_policies.fold.decoding import decode
from pourparler_policies.fold.encoding import encode as canonical
from pourparler_policies.fold.standing import by_credential
from pourparler_policies.payload import Beside
from pourparler_policies.release import device, events, standing
from pourparler_policies.release.device import Cue, Duty, Own, Stage
from pourparler_policies.release.facts import Answer, Case, Paper, Phase

from . import releasekeys
from .errors import UserError
from .happenings import Happening
from .papers import Papers
from .signingsteps import FURTHER, HOW, as_kind, erased
from .store import State

if TYPE_CHECKING:
    from .log import Log

_MAX_OWN: Final = 4096  # bytes
_MASKS, _LOCK = 1, 2  # bits of `Kept.sent`
_STEPS: Final = 16  # stages that one fold may lead through: more than there are


class Faulty(Exception):
    """A signer (a number from 1) whose message names another one."""

    def __init__(self, party: int) -> None:
        super().__init__("a message in another signer's name")
        self.party = party


@dataclass(frozen=True, slots=True)
class Kept:
    """The row of `schema.signing`. `masks` is every d (R4 of all, `lp`), or this device's own when it withdraws: then
    `state` is the case's lists, which are no secret and by which it knows what the others show.
    """

    own: Own
    line: int
    state: bytes = b""
    masks: bytes = b""
    heard: bytes = b""
    handle: bytes = b""
    bundle: bytes = b""
    sent: int = 0

    @property
    def jr2(self) -> Jr2:
        """The state that waits for the next step, without its text (`Signing.whole`)."""
        return unveil(self.state)

    @property
    def message(self) -> bytes:
        """This party's newest message, the same bytes again. Raises TypeError where a person is awaited."""
        state = self.jr2
        if isinstance(state, jr2.Ready):
            raise TypeError("a device whose person may sign owes nothing")
        return state.message


class Signing:
    """The one live case of a channel, as this device has it."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.papers = Papers(log.store, self._log.lives.end_of)
        self.faulty = ""  # the party in whose name something came that could not be checked; for its person, once

    @property
    def kept(self) -> Kept | None:
        """What this device keeps of a case; None when it takes no part."""
        row = self._log.vault.row(
            "SELECT own, line, state, masks, heard, handle, bundle, sent FROM signing WHERE channel = ?",
            self._log.row.id,
        )
        if row is None:
            return None
        return Kept(decode(Own, row[0], _MAX_OWN), *row[1:])

    def save(self, kept: Kept) -> None:
        """Saves a stage; inside a transaction."""
        self._log.vault.execute(
            "INSERT OR REPLACE INTO signing VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            self._log.row.id,
            canonical(kept.own),
            kept.line,
            kept.state,
            kept.masks,
            kept.heard,
            kept.handle,
            kept.bundle,
            kept.sent,
        )

    def drop(self) -> None:
        """Nothing of a case is left."""
        for table in ("signing", "lock"):
            self._log.vault.execute(f"DELETE FROM {table} WHERE channel = ?", self._log.row.id)  # noqa: S608

    @property
    def active(self) -> bool:
        """Whether there is anything to be watched."""
        return self._log.folded.case is not None or self.kept is not None

    # What the log and time say

    def fold_beside(
        self, entry: wire.Entry, event: events.Words | events.Remark | events.Masks | events.Lock, sender: bytes
    ) -> list[Happening]:
        """What travels beside the procedure: words and remarks, masks and locks; in a transaction."""
        log = self._log
        match event:
            case events.Words():
                if self.papers.keep(log.folded, event, entry.seq, entry.received_at, entry.expires_at):
                    return [Happening("text", entry.seq, member=log.members.get(sender), digest=event.paper)]
            case events.Remark():
                self.papers.remark(log.folded, event, entry.seq, sender, entry.received_at, entry.expires_at)
                return [Happening("remarked", entry.seq, member=log.members.get(sender), text=event.text)]
            case events.Masks() | events.Lock():
                if sender == log.row.credential:
                    self.posted(event)
                else:
                    self._receive(event, sender)
        return []

    def _receive(self, event: events.Masks | events.Lock, sender: bytes) -> None:
        """What somebody posted beside the log. What does not fit is nothing: any member could post it."""
        kept = self.kept
        if kept is None or event.nonce != kept.own.nonce:
            return
        if isinstance(event, events.Masks):
            if not kept.heard and self._fits(kept, event.masks):
                self.save(replace(kept, heard=event.masks))
        elif self._opens(kept, event.lock):
            self._log.vault.execute(
                "INSERT OR REPLACE INTO lock VALUES (?, ?, ?, ?)",
                self._log.row.id,
                sender,
                event.nonce,
                event.lock,
            )

    def follow(self, now: int, *, silent: bool = False) -> list[Happening]:
        """Takes part where this person has agreed, and follows log and time as far as they lead; in a transaction.

        Nothing happens unless the channel is open. `silent`: the desk was asked just now and gave no answer that is
        final. Before that no lock is passed on: the release may have been stopped.
        """
        if self._log.row.state is not State.OPEN or self._log.ended or not self.active:
            return []
        happened = self._finish_from_locks(now)
        self._take_part(now)
        for _ in range(_STEPS):
            kept, state = self.kept, self._log.folded
            if kept is None:
                break
            cue = device.watch(kept.own, state, sound=True, opened=bool(kept.heard))
            cue = cue or device.due(kept.own, now, state.consent.time if silent else 0)
            if cue is None or not self._enter(kept, cue, now):
                break
            if self.faulty:
                named, self.faulty = self._log.charter.parties.get(self.faulty), ""
                text = named.name if named is not None else "somebody"
                happened.append(Happening("unchecked", self._log.row.cursor, text=text))
            happened.append(self._stage())
        return happened

    def _stage(self) -> Happening:
        kept = self.kept
        return Happening("release", self._log.row.cursor, text=str(kept.own.stage if kept is not None else "over"))

    def ends(self, now: int) -> bool:
        """Whether by this device's own clock something is over that it still keeps."""
        kept = self.kept
        return kept is not None and device.due(kept.own, now, 0) is not None

    def expire(self, now: int) -> None:
        """Erases that, whatever the log says and whether there is a service or not."""
        if self.ends(now):
            with self._log.step():
                self._expire(now)

    def _expire(self, now: int) -> None:
        for _ in range(_STEPS):
            kept = self.kept
            cue = device.due(kept.own, now, 0) if kept is not None else None
            if kept is None or cue is None or not self._enter(kept, cue, now):
                return

    def act(self, cue: Cue, now: int) -> None:
        """A person's act: sign, withdraw, agree, refuse, stop; in a transaction. Raises UserError with the reason."""
        kept = self.kept
        if kept is None:
            raise UserError("this device takes no part in a signing appointment now")
        device.act(kept.own, cue, self._log.folded, now)  # raises Misuse with the reason
        self._enter(kept, cue, now)

    def heard(self, answer: Answer, masks: Sequence[bytes], shares: Sequence[bytes], now: int) -> list[Happening]:
        """The desk's answer, in a transaction. "Complete" and "published" count only when everything fits."""
        kept = self.kept
        cue = device.heard(answer, self._log.folded)
        if kept is None or cue is None:
            return []
        if masks and not kept.heard:
            joined = lp(*masks)
            if not self._fits(kept, joined):
                return []
            kept = replace(kept, heard=joined)
            self.save(kept)
        if cue is Cue.PUBLISHED:
            if kept.own.stage in (Stage.SIGNED, Stage.WAITING):
                self._enter(kept, Cue.COMPLETE, now)
                kept = self.kept or kept
            if kept.own.stage not in (Stage.COMPLETE, Stage.STOPPING, Stage.UNLOCKED) or not self.finish(shares):
                return []
        return [self._stage()] if self._enter(kept, cue, now) else []

    def finish(self, shares: Sequence[bytes]) -> bool:
        """Completes the note from every share. False when one is missing or does not fit; in a transaction."""
        kept = self.kept
        if kept is None or not isinstance(kept.jr2, Deposited):
            return False
        try:
            state = as_kind(Deposited, kept, self.whole(kept))
        except UserError:
            return False  # the text is over, or lost: the board, or another signer, has the note
        try:
            notes = assemble(jr2.finish(state, shares))
        except CryptoError:
            return False
        paper = next((p for p in self._log.folded.papers.values() if p.text.digest == kept.own.text), None)
        expires = paper.expires if paper is not None else kept.own.ends
        for note in notes:
            self.papers.keep_note(kept.own.text, note.encode(), expires, note.communique.foot.copy)
        return True

    def _finish_from_locks(self, now: int) -> list[Happening]:
        """The hour has come, the desk is silent, and every signer has passed its lock on; in a transaction."""
        kept = self.kept
        if kept is None or kept.own.stage is not Stage.UNLOCKED:
            return []
        rows = self._log.vault.rows(
            "SELECT share FROM lock WHERE channel = ? AND nonce = ?", self._log.row.id, kept.own.nonce
        )
        if rows and self.finish([row[0] for row in rows]) and self._enter(kept, Cue.PUBLISHED, now):
            return [self._stage()]
        return []

    def whole(self, kept: Kept) -> Jr2:
        """The state with its texts. Raises UserError when they are not here any more, Lacking when their key is not."""
        held = self.papers.words(kept.own.text)
        if held is None:
            raise UserError("the words of this text are not on this device any more")
        return unveil(kept.state, tuple(one.text for one in parallel(Communique.parse(held[1]))))

    def bundle(self, kept: Kept) -> bytes:
        """For the desk, the same bytes as every signer's. Raises as `whole`."""
        state = self.whole(kept)
        if isinstance(state, jr2.Ready | Signed | Deposited):
            return state.bundle
        raise TypeError("a case is opened when every pre-signature is checked")

    def owed(self, kept: Kept) -> frozenset[Duty]:
        """What this device sends now, of all that its stage owes."""
        return device.owed(kept.own, self._log.folded)

    def moment(self) -> int:
        """The next one (Unix seconds) that the log's time has to reach before this device can go on; 0 for none."""
        case, kept = self._log.folded.case, self.kept
        if case is None:
            return 0
        if case.phase in (Phase.APPOINTED, Phase.COMMITTING):
            return case.opens if kept is None and self._agreed(case) else 0
        if kept is None or case.phase is not Phase.FROZEN:
            return 0
        if kept.own.stage is Stage.COMPLETE:
            return kept.own.not_before
        return 0 if case.awaited else case.deposit_by

    def case(self) -> bytes | None:
        """The case for the desk, once every pre-signature is checked."""
        kept = self.kept
        if kept is None or not kept.state:
            return None
        if kept.own.stage is Stage.WITHDRAWN:
            return kept.state
        state = kept.jr2
        return None if isinstance(state, jr2.Committed | jr2.Opened | jr2.Presigned) else state.case.encode()

    # What is owed

    def acts(self) -> list[events.Event]:
        """Events of the procedure that this device owes the channel now."""
        kept, case = self.kept, self._log.folded.case
        if kept is None or case is None:
            return []
        own, owes = kept.own, kept.own.owes
        signer = case.signers.get(own.seat) if case.nonce == own.nonce else None
        if Duty.FIRST in owes and signer is None:
            return [events.First(own.nonce, kept.line if kept.line != FURTHER else None, kept.message)]
        if signer is None:
            return []
        made: list[events.Event] = []
        if Duty.SECOND in owes and not signer.second:
            made.append(events.Second(own.nonce, kept.message))
        if Duty.THIRD in owes and not signer.third:
            made.append(events.Third(own.nonce, kept.message))
        if Duty.RELAY in owes and kept.sent & _MASKS and not signer.complete:
            made.append(events.Completed(own.nonce))
        if Duty.TELL in owes and own.answer is not None and signer.answer != own.answer:
            made.append(events.Told(own.nonce, own.answer))
        return made

    def beside(self) -> tuple[Beside, int, int] | None:
        """What this device owes beside the procedure: the entry, when it ends (Unix seconds), and its bit in `sent`."""
        kept, case = self.kept, self._log.folded.case
        if kept is None or case is None or case.nonce != kept.own.nonce:
            return None
        own = kept.own
        if Duty.RELAY in own.owes and not kept.sent & _MASKS and kept.masks:
            return Beside.of(events.Masks(own.nonce, kept.masks)), own.ends, _MASKS
        if Duty.UNLOCK in self.owed(kept) and not kept.sent & _LOCK:
            return Beside.of(events.Lock(own.nonce, kept.message)), own.ends, _LOCK
        return None

    def posted(self, event: events.Masks | events.Lock) -> None:
        """The log holds what `beside` gave; in a transaction."""
        kept = self.kept
        if kept is not None and event.nonce == kept.own.nonce:
            self.save(replace(kept, sent=kept.sent | (_MASKS if isinstance(event, events.Masks) else _LOCK)))

    # Steps

    def _take_part(self, now: int) -> None:
        case, kept = self._log.folded.case, self.kept
        if case is None or case.phase in (Phase.REVEALING, Phase.PREPARING, Phase.FROZEN):
            return
        if not case.opens <= self._log.folded.consent.time or not case.opens <= now < case.sign_by:
            return
        if kept is not None and not self._superseded(kept, case):
            return
        own, paper = by_credential(self._log.consent, self._log.row.credential), self._agreed(case)
        if own is None or paper is None:
            return
        nonce = case.nonce if case.phase is Phase.COMMITTING and case.nonce else os.urandom(32)
        try:
            communique = self.papers.communique(paper)
            stop = case.not_before - case.stop_by if case.stop_by else None
            terms = Terms(case.sign_by, case.deposit_by, case.not_before, stop)
            copies = parallel(communique)
            private = communique.foot.audience is not Audience.BOARD
            about = Round(nonce, tuple(one.text for one in copies), communique.keys, terms, private)
            check_round(about, copies)
        except (UserError, CryptoError):
            return  # no words: somebody else's device signs, or nobody's
        line, key = self._line(case, own.seat, communique.keys)
        if key is not None:
            state = jr2.commit(about, key)
        elif standing.awaits_further(self._log.folded, case, own):
            state = jr2.commit_further(about)
        else:
            return
        self.save(Kept(device.joined(case, own.seat, nonce), line, veil(state)))

    def _line(self, case: Case, seat: bytes, keys: Sequence[bytes]) -> tuple[int, ReleaseKey | None]:
        """The line for which this device signs, and its key; no key where another of its party holds that line."""
        try:
            line, key = self.own_line(keys)
        except UserError:
            return FURTHER, None
        other = any(signer.line == line and held != seat for held, signer in case.signers.items())
        return (FURTHER, None) if other else (line, key)

    def _agreed(self, case: Case) -> Paper | None:
        """The paper of a case, if this seat has initialled it for good."""
        own = by_credential(self._log.consent, self._log.row.credential)
        paper = self._log.folded.papers.get(case.paper)
        return paper if own is not None and paper is not None and paper.initials.get(own.seat) is True else None

    def _superseded(self, kept: Kept, case: Case) -> bool:
        """Whether what is kept is of another case, or of a round that never came to the log."""
        own = kept.own
        if (own.text, own.sign_by) != (case.text.digest, case.sign_by):
            return not own.unfinished
        if own.stage in (Stage.CLEARED, Stage.BARRED):
            return False  # who withdrew, or was shown something that does not fit, takes no part in this one again
        return own.stage is Stage.COMMITTED and case.nonce not in (b"", own.nonce) and own.nonce not in case.spent

    def line(self) -> int:
        """The line of signature of this device's party in the case: its own, or that of its party's key. Raises
        UserError.
        """
        kept, case = self.kept, self._log.folded.case
        if kept is None or case is None or kept.line != FURTHER:
            return kept.line if kept is not None else 0
        own = case.signers.get(kept.own.seat)
        if own is None:
            raise UserError("the round is void: nothing can be signed now")
        party = own.party
        return next(s.line for s in case.signers.values() if s.party == party and s.line is not None)

    def own_line(self, keys: Sequence[bytes]) -> tuple[int, ReleaseKey]:
        """The line of signature for which this device holds the key. Raises UserError."""
        for line, public in enumerate(keys):
            found = releasekeys.by_public(self._log.vault, public)
            if found is not None:
                return line, found.key
        raise UserError("no release key of this text's signatories is in this vault")

    def _enter(self, kept: Kept, cue: Cue, now: int) -> bool:
        """Follows a cue, with JR2's step under it. False when the stage stays."""
        own = device.follow(kept.own, cue, now)
        if own == kept.own:
            return False
        try:
            after = HOW.get(own.stage, erased)(self, kept, own)
        except (ProtocolError, Incomplete, UserError, Faulty) as error:
            # A signer's message is nothing that fits, or another's again; or the key was forgotten since.
            if cue is Cue.UNSOUND:
                raise
            if isinstance(error, Faulty | jr2.PartyFault):
                self.faulty = self._party(error.party)
            return self._enter(kept, Cue.UNSOUND, now)
        if not own.holds >= kept.own.holds:
            self._log.erased()
        if own.stage is Stage.CLEARED:
            self.drop()
        else:
            self.save(after)
        return True

    def _fits(self, kept: Kept, joined: bytes) -> bool:
        """Whether these are every d of the case."""
        try:
            if kept.own.stage is Stage.WITHDRAWN:
                case = Listed.decode(kept.state)
                shown = [check_mask(case, mask).party for mask in unlp(joined, case.parties)]
                return len(set(shown)) == case.parties
            state = unveil(kept.state)
            if not isinstance(state, Signed):
                return False
            jr2.deposit(state, unlp(joined, state.signers))
        except CryptoError:
            return False
        return True

    @staticmethod
    def _opens(kept: Kept, lock: bytes) -> bool:
        """Whether this is some signer's y and rho."""
        try:
            state = unveil(kept.state)
            if not isinstance(state, Signed | Deposited):
                return False
            check_share(state.case, lock)
        except CryptoError:
            return False
        return True

    def signers(self, part: str) -> tuple[list[bytes], list[bytes]]:
        """What the parties' devices have sent in one part of the round (first, second or third), and what their
        further signers, each in the order of their numbers. Raises Faulty when one speaks in another's name.
        """
        case = self._log.folded.case
        signers = case.signers if case is not None else {}
        further = sorted(seat for seat, signer in signers.items() if signer.line is None)
        count = len(signers) - len(further)
        lines: dict[int, bytes] = {}
        for seat, signer in signers.items():
            message = getattr(signer, part)
            place = signer.line if signer.line is not None else count + further.index(seat)
            number = 0 if signer.line is None and part == "first" else place + 1
            try:
                if jr2.peek(message).party != number:
                    raise Faulty(place + 1)
            except ProtocolError:
                raise Faulty(place + 1) from None
            lines[place] = message
        ordered = [lines[place] for place in sorted(lines)]
        return ordered[:count], ordered[count:]

    def _party(self, number: int) -> str:
        """The party whose signer has this number (from 1) in JR2."""
        case = self._log.folded.case
        signers = case.signers if case is not None else {}
        further = sorted(seat for seat, signer in signers.items() if signer.line is None)
        for seat, signer in signers.items():
            place = signer.line if signer.line is not None else len(signers) - len(further) + further.index(seat)
            if place + 1 == number:
                return signer.party
        return ""
