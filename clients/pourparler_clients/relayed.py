"""This device's part in a release whose signers share no channel (`release/relayed.py`), with JR2 sealed under it.

1. Stages, duties and what is erased are those of any release (`signing.py`); only where messages come from differs: not
   from a log that all read, but sealed from each other signer to this one (`jr2/crossing.py`).
2. It begins when this person says that the side is ready; from there on rounds run by themselves.
3. What does not open, or does not fit, bars this device from the round, in words; nothing that another channel says
   changes anything else here.
4. An intermediary's device has no release key, and so nothing here but the sealed messages that it carries.

No network here; `onetext.py` is what programs use. It is longer than 500 lines: what came, what is kept and what goes
out change in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, cast

from pourparler_crypto import jr2
from pourparler_crypto.errors import CryptoError, Malformed, NotAuthentic, ProtocolError
from pourparler_crypto.jr2 import Round, Terms
from pourparler_crypto.jr2.crossing import Crossing, hello, key_of
from pourparler_crypto.note import Audience, Communique, check_round, parallel
from pourparler_policies import wire
from pourparler_policies.errors import Void
from pourparler_policies.fold.decoding import decode
from pourparler_policies.fold.encoding import encode as canonical
from pourparler_policies.fold.standing import by_credential
from pourparler_policies.payload import Beside
from pourparler_policies.release import device, relayed
from pourparler_policies.release.device import Cue, Own, Stage
from pourparler_policies.release.facts import Case, Phase
from pourparler_policies.release.facts import State as Folded
from pourparler_policies.release.relayed import FREE, Arranged, Key, Leg, Part, Passage

from .errors import UserError
from .happenings import Happening
from .signing import Kept, Signing

if TYPE_CHECKING:
    from .log import Log

_MAX_OWN: Final = 4096  # bytes
_MAX_PART: Final = 16 * 1024  # bytes
_ALL: Final = -1  # a `to` of None, in the vault
_ROUNDS: Final = frozenset({Stage.COMMITTED, Stage.REVEALED, Stage.PREPARED})
_LEGS: Final = {"first": Leg.FIRST, "second": Leg.SECOND, "third": Leg.THIRD}
_NAMES: Final = {
    Leg.FIRST: "first",
    Leg.SECOND: "second",
    Leg.THIRD: "third",
    Leg.SAME: "same",
    Leg.MASKS: "masks",
    Leg.LOCK: "lock",
}
UNSOUND: Final = (
    "what came from the other side does not fit what this device was shown: another text, other keys or times, or it "
    "was altered on the way. Nothing was signed and nothing comes of this round. Compare text and keys with the other "
    "side without the intermediary's device, then ask for a new appointment"
)
OTHER_CASE: Final = (
    "the other side's device has checked another case than this one. Nothing was signed and nothing comes of this "
    "round: ask for a new appointment"
)


@dataclass(frozen=True, slots=True)
class Mine:
    """A row of `schema.relayed`, apart from what `Kept` has. `line` -1: this device signs nothing here."""

    part: Part
    line: int
    private: bytes
    crossing: bytes
    sid: bytes
    trouble: str

    @property
    def ends(self) -> Crossing:
        """The ends of this signer's ways to the others."""
        return Crossing.decode(self.crossing)


class _View:
    """The log as `Signing` reads it, with the case that this device makes of what came sealed."""

    def __init__(self, log: Log, own: Relayed) -> None:
        self._log, self._own = log, own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    @property
    def folded(self) -> Folded:
        return replace(self._log.folded, case=self._own.case_seen())


class Relayed(Signing):
    """The one case of this channel that is signed in other channels too; `log.relayed`."""

    def __init__(self, log: Log) -> None:
        super().__init__(cast("Log", _View(log, self)))
        self._real = log

    # What is kept

    @property
    def mine(self) -> Mine | None:
        """The arrangement that counts here, if there is one."""
        row = self._real.vault.row(
            "SELECT part, line, private, crossing, sid, trouble FROM relayed WHERE channel = ?", self._real.row.id
        )
        return Mine(decode(Part, row[0], _MAX_PART), *row[1:]) if row is not None else None

    @property
    def kept(self) -> Kept | None:
        """What this device keeps of a round; None before there is one."""
        row = self._real.vault.row(
            "SELECT own, line, state, masks, heard, handle, bundle, sent FROM relayed"
            " WHERE channel = ? AND own != x''",
            self._real.row.id,
        )
        return Kept(decode(Own, row[0], _MAX_OWN), *row[1:]) if row is not None else None

    def save(self, kept: Kept) -> None:
        """Saves a stage; inside a transaction."""
        self._set(
            own=canonical(kept.own),
            state=kept.state,
            masks=kept.masks,
            heard=kept.heard,
            handle=kept.handle,
            bundle=kept.bundle,
            sent=kept.sent,
        )

    def _set(self, **values: bytes | int | str) -> None:
        names = ", ".join(f"{name} = ?" for name in values)
        self._real.vault.execute(
            f"UPDATE relayed SET {names} WHERE channel = ?",  # noqa: S608 -- names are ours
            *values.values(),
            self._real.row.id,
        )

    def drop(self) -> None:
        """Nothing of a case is left."""
        for table in ("relayed", "passage"):
            self._real.vault.execute(f"DELETE FROM {table} WHERE channel = ?", self._real.row.id)  # noqa: S608

    @property
    def active(self) -> bool:
        """Whether there is anything to be watched: a round, or a person who said that the side is ready."""
        mine = self.mine
        return mine is not None and (bool(mine.private) or self.kept is not None)

    def case_seen(self) -> Case | None:
        """The case by what this device was sent; None when this channel does not stand behind it any more."""
        mine, kept = self.mine, self.kept
        if mine is None or kept is None:
            return None
        if kept.own.stage in _ROUNDS and relayed.stands_behind(self._real.folded, mine.part):
            return None
        return relayed.case_of(
            mine.part, kept.own.seat, mine.line, kept.own.nonce, self._phase(mine), passed=self._passed(mine)
        )

    def _passed(self, mine: Mine) -> bool:
        """Whether this channel holds every d, for each other line, from this device."""
        rows = self._real.vault.rows(
            "SELECT own FROM passage WHERE channel = ? AND leg = ? AND line = ?",
            self._real.row.id,
            str(Leg.MASKS),
            mine.line,
        )
        return len(rows) == mine.part.text.signatories - 1 and not any(own for (own,) in rows)

    def _phase(self, mine: Mine) -> Phase:
        got = [(leg, line) for leg, line, to in self.holds if line != mine.line and to in (None, mine.line)]
        return relayed.phase(mine.part.text.signatories, mine.line, got)

    @property
    def holds(self) -> frozenset[Key]:
        """Every message of this arrangement that is in this channel, or is to be posted there by this device."""
        rows = self._real.vault.rows("SELECT leg, line, to_line FROM passage WHERE channel = ?", self._real.row.id)
        return frozenset((Leg(leg), line, None if to == _ALL else to) for leg, line, to in rows)

    def sealed(self, leg: Leg, line: int, to: int | None) -> bytes | None:
        """One of these messages."""
        row = self._real.vault.row(
            "SELECT sealed FROM passage WHERE channel = ? AND leg = ? AND line = ? AND to_line = ?",
            self._real.row.id,
            str(leg),
            line,
            _ALL if to is None else to,
        )
        return bytes(row[0]) if row is not None else None

    def put(self, key: Key, sealed: bytes, *, own: bool) -> None:
        """Keeps a message, its first form only; `own`: this device posts it. In a transaction."""
        leg, line, to = key
        self._real.vault.execute(
            "INSERT OR IGNORE INTO passage VALUES (?, ?, ?, ?, ?, ?)",
            self._real.row.id,
            str(leg),
            line,
            _ALL if to is None else to,
            sealed,
            int(own),
        )

    # What the channel says

    def fold_passage(self, entry: wire.Entry, event: Arranged | Passage, sender: bytes) -> list[Happening]:
        """What travels beside the procedure for a relayed round; in a transaction."""
        author = by_credential(self._real.consent, sender)
        if author is None:
            return []
        if isinstance(event, Arranged):
            try:
                part = relayed.arranged(self._real.folded, author, event, entry.received_at)
            except Void:
                return []
            if not self._arrange(part):
                return []
            return [Happening("arranged", entry.seq, member=self._real.members.get(sender), digest=part.paper)]
        mine = self.mine
        if mine is None:
            return []
        if sender == self._real.row.credential:
            self._posted(event)
        elif relayed.counts(self._real.folded, author, mine.part, event):
            self.put((event.leg, event.line, event.to), event.sealed, own=False)
            if event.leg is Leg.MASKS and event.to == mine.line:
                self._hear_masks(event)
        return []

    def _arrange(self, part: Part) -> bool:
        mine, kept = self.mine, self.kept
        if mine is not None and mine.part.id == part.id:
            return False
        if kept is not None and kept.own.stage not in FREE:
            return False
        if mine is not None:
            self.drop()
            self._real.erased()
        self._real.vault.execute(
            "INSERT INTO relayed VALUES (?, ?, -1, x'', x'', x'', '', x'', x'', x'', x'', x'', x'', 0)",
            self._real.row.id,
            canonical(part),
        )
        return True

    def _posted(self, event: Passage) -> None:
        self._real.vault.execute(
            "UPDATE passage SET own = 0 WHERE channel = ? AND leg = ? AND line = ? AND to_line = ?",
            self._real.row.id,
            str(event.leg),
            event.line,
            _ALL if event.to is None else event.to,
        )

    def _hear_masks(self, event: Passage) -> None:
        mine, kept = self.mine, self.kept
        if mine is None or kept is None or kept.heard or not mine.crossing:
            return
        try:
            masks = mine.ends.open_(_NAMES[event.leg], mine.sid, event.line + 1, event.sealed)
        except CryptoError:
            return
        if self._fits(kept, masks):
            self.save(replace(kept, heard=masks))

    # What a person and time do

    def ready(self, now: int) -> None:
        """This person says that the side is ready: rounds run from here on; in a transaction. Raises UserError,
        Misuse.
        """
        mine, own = self.mine, by_credential(self._real.consent, self._real.row.credential)
        if mine is None or own is None:
            raise UserError("nothing has been arranged here: the intermediary proposes times")
        if mine.private or self.kept is not None:
            raise UserError("this device has said already that your side is ready")
        relayed.check_ready(self._real.folded, mine.part, own.seat, now)
        line, _ = self.own_line(self.copies(mine.part)[0].keys)
        if line not in mine.part.here:
            raise UserError("the text has the line of this device's key signed in another channel")
        private, message = hello()
        self._set(line=line, private=private)
        self.put((Leg.HELLO, line, None), message, own=True)

    def copies(self, part: Part) -> tuple[Communique, ...]:
        """The text as it is signed: one, or a copy for each side. Raises UserError, Refused."""
        paper = self._real.folded.papers.get(part.paper)
        if paper is None or paper.text != part.text:
            raise UserError("the text was edited, or is off the table")
        return parallel(self.papers.communique(paper))

    def agreed(self) -> tuple[Communique, ...]:
        """What a person would sign now: the very texts of the round, and not what is on the table by now. Raises
        UserError.
        """
        kept = self.kept
        state = kept.jr2 if kept is not None and kept.own.stage is Stage.ASKED else None
        if not isinstance(state, jr2.Ready):
            raise UserError("nothing can be signed now")
        return tuple(Communique.parse(text) for text in state.round.texts)

    def act(self, cue: Cue, now: int) -> None:
        """A person's act; in a transaction. Who withdraws before the round has begun is simply not ready any more."""
        mine = self.mine
        if cue is Cue.WITHDRAW and self.kept is None and mine is not None and mine.private:
            self._not_ready()
            return
        super().act(cue, now)

    def _not_ready(self) -> None:
        self._set(private=b"", line=-1)
        self._real.vault.execute("DELETE FROM passage WHERE channel = ? AND own = 1", self._real.row.id)
        self._real.erased()

    def ends(self, now: int) -> bool:
        """Whether by this device's own clock something is over that it still keeps."""
        mine = self.mine
        over = mine is not None and self.kept is None and now >= mine.part.ends
        return over or super().ends(now)

    def _expire(self, now: int) -> None:
        mine = self.mine
        if mine is not None and self.kept is None and now >= mine.part.ends:
            self.drop()
            self._real.erased()
        super()._expire(now)

    # Steps

    def follow(self, now: int, *, silent: bool = False) -> list[Happening]:
        """As for any release; what does not fit is said in words."""
        before = self.trouble
        happened = super().follow(now, silent=silent)
        if self.trouble and self.trouble != before:
            happened.append(Happening("unfit", self._real.row.cursor, text=self.trouble))
        return happened

    @property
    def trouble(self) -> str:
        """Why this device was barred from the round, for the person; empty when it was not."""
        mine = self.mine
        return mine.trouble if mine is not None else ""

    def _take_part(self, now: int) -> None:
        mine = self.mine
        if mine is not None and mine.private and self.kept is None:
            if now >= mine.part.sign_by or relayed.stands_behind(self._real.folded, mine.part):
                self._not_ready()
            elif self._phase(mine) is not Phase.APPOINTED:
                self._begin(mine)
        self._check_all(now)

    def _begin(self, mine: Mine) -> None:
        """The keys of all are here: the round has its nonce and its sid, and this device commits."""
        part, state = mine.part, self._real.folded
        own = by_credential(state.consent, self._real.row.credential)
        if own is None:
            return
        try:
            copies = self.copies(part)
            _, key = self.own_line(copies[0].keys)
            lines = range(part.text.signatories)
            keys = [key_of(self.sealed(Leg.HELLO, line, None) or b"") for line in lines]
            crossing = Crossing.begin(mine.private, mine.line + 1, keys)
            terms = Terms(part.sign_by, part.deposit_by, part.not_before, part.stop_before)
            private = copies[0].foot.audience is not Audience.BOARD
            about = Round(
                crossing.nonce(part.id), tuple(one.text for one in copies), copies[0].keys, terms, private
            )
            check_round(about, copies)
            committed = jr2.commit(about, key)
        except (UserError, CryptoError):
            self._not_ready()
            self._set(trouble=UNSOUND)
            return
        case = relayed.case_of(part, own.seat, mine.line, about.nonce, Phase.COMMITTING)
        self._set(private=b"", crossing=crossing.encode(), sid=about.sid, trouble="")
        self.save(Kept(device.joined(case, own.seat, about.nonce), mine.line, committed.encode()))
        self._send()

    def _enter(self, kept: Kept, cue: Cue, now: int) -> bool:
        if cue is Cue.FROZEN and not self._same(kept):
            self._set(trouble=OTHER_CASE)
            cue = Cue.UNSOUND
        if not super()._enter(kept, cue, now):
            return False
        self._tidy(cue)
        self._check_all(now)
        self._send()
        return True

    def _tidy(self, cue: Cue) -> None:
        """What the new stage does not need: the ends of the crossing, and what was not posted yet."""
        mine, kept = self.mine, self.kept
        if mine is None or kept is None or kept.own.holds:
            return
        if cue is Cue.UNSOUND and not mine.trouble:
            self._set(trouble=UNSOUND)
        self._set(crossing=b"", private=b"")
        self._real.vault.execute("DELETE FROM passage WHERE channel = ? AND own = 1", self._real.row.id)
        self._real.erased()

    def _check_all(self, now: int) -> None:
        """Every R3 is here: are they sound? What this device has then checked, it tells the others' devices."""
        mine, kept = self.mine, self.kept
        if mine is None or kept is None or kept.own.stage is not Stage.PREPARED or kept.handle:
            return
        others = [line for line in range(mine.part.text.signatories) if line != mine.line]
        if any(self.sealed(Leg.THIRD, line, mine.line) is None for line in others):
            return
        state = kept.jr2
        if not isinstance(state, jr2.Presigned):
            raise TypeError(f"a stage {kept.own.stage} with another state")
        try:
            handle = jr2.check(state, self.signers("third")[0]).case.handle
        except ProtocolError:
            self._enter(kept, Cue.UNSOUND, now)
            return
        self.save(replace(kept, handle=handle))
        self._send()

    def _same(self, kept: Kept) -> bool:
        """Whether all have checked the case that this device has: its handle came from each under the round's keys."""
        try:
            return bool(kept.handle) and {one for _, one in self._opened(Leg.SAME)} == {kept.handle}
        except ProtocolError:
            return False

    def moment(self) -> int:
        """The hour that the log's time has to reach before a lock goes out; 0 when none is awaited."""
        kept = self.kept
        return kept.own.not_before if kept is not None and kept.own.stage is Stage.COMPLETE else 0

    def _party(self, number: int) -> str:
        """Nobody: what does not fit may have been altered by whoever carried it, and is said in other words."""
        return ""

    def signers(self, part: str) -> tuple[list[bytes], list[bytes]]:
        """What every other signer has sent in one part of the round, opened, and no further signers. Raises
        ProtocolError.
        """
        made = []
        for line, message in self._opened(_LEGS[part]):
            if jr2.peek(message).party != line + 1:
                raise Malformed("a message in another signer's name")
            made.append(message)
        return made, []

    def _opened(self, leg: Leg) -> Iterator[tuple[int, bytes]]:
        mine = self.mine
        if mine is None or not mine.crossing:
            return
        ends = mine.ends
        for line in range(mine.part.text.signatories):
            sealed = self.sealed(leg, line, mine.line)
            if line == mine.line or sealed is None:
                continue
            if leg is Leg.FIRST:
                message, ends = ends.open_first(mine.sid, line + 1, sealed)
                self._set(crossing=ends.encode())
            else:
                message = ends.open_(_NAMES[leg], mine.sid, line + 1, sealed)
            yield line, message

    # What is owed

    def _send(self) -> None:
        """Seals what the stage sends to each other line, once: the same bytes are posted until the channel has them."""
        mine, kept = self.mine, self.kept
        if mine is None or kept is None or not mine.crossing:
            return
        ends = mine.ends
        for leg in relayed.sends(kept.own, self.owed(kept), checked=bool(kept.handle)):
            text = {Leg.SAME: kept.handle, Leg.MASKS: kept.masks}.get(leg)
            for line in range(mine.part.text.signatories):
                if line == mine.line or self.sealed(leg, mine.line, line) is not None:
                    continue
                message = text if text is not None else kept.message
                if leg is Leg.FIRST:
                    made = ends.seal_first(mine.sid, line + 1, message)
                else:
                    made = ends.seal(_NAMES[leg], mine.sid, line + 1, message)
                self.put((leg, mine.line, line), made, own=True)

    def acts(self) -> list[Any]:
        """Nothing of it is an event of the procedure."""
        return []

    def beside(self) -> tuple[Beside, int, int] | None:
        """The next message that this device posts here, its own or a carried one, and when it ends (Unix seconds)."""
        mine = self.mine
        if mine is None:
            return None
        rows = self._real.vault.rows(
            "SELECT leg, line, to_line, sealed FROM passage WHERE channel = ? AND own = 1", self._real.row.id
        )
        order = list(Leg)
        for leg, line, to, sealed in sorted(rows, key=lambda row: (order.index(Leg(row[0])), row[1], row[2])):
            event = Passage(mine.part.id, Leg(leg), line, None if to == _ALL else to, sealed)
            return Beside.of(event), mine.part.ends, 0  # no bit of `sent`: the row itself says it is out
        return None

    # The end

    def _finish_from_locks(self, now: int) -> list[Happening]:
        kept = self.kept
        if kept is None or kept.own.stage is not Stage.UNLOCKED:
            return []
        shares = []
        try:
            shares = [share for _, share in self._opened(Leg.LOCK)]
        except (NotAuthentic, Malformed):
            return []
        if shares and self.finish(shares) and self._enter(kept, Cue.PUBLISHED, now):
            return [self._stage()]
        return []


__all__ = ["OTHER_CASE", "UNSOUND", "Mine", "Relayed"]
