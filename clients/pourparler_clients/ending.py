"""This device's part in making words deniable for good: old leaf keys are kept, disclosed in time, and then gone.

1. A key that a commit has replaced is kept, sealed like a text (`hours.py`), and disclosed to the members when whoever
   has not read that commit is out by its own finding: so nobody who is behind can be deceived with it.
2. Keys that were in use to the last are disclosed when the channel ends, as `fold/closing.py` has it.
3. Time has passed when both the log and this device's clock say so: neither alone makes a key be disclosed earlier.
4. A device that has itself been away for that long, by its own clock, believes nothing more: rule 1 rests on it.

DESIGN 4.4 (#10). No network here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pourparler_policies.errors import Void
from pourparler_policies.fold.closing import MAX_SEEDS, OUT_AFTER, SHOWN_AFTER, Stage, late, stage
from pourparler_policies.fold.events import Acknowledged, Disclosed, Event
from pourparler_policies.fold.facts import State as Consent
from pourparler_policies.hours import end as end_of
from pourparler_policies.limits import DAY

from .errors import Lacking
from .hours import ALONE, SEED

if TYPE_CHECKING:
    from .log import Log

# Seconds beyond the time at which a key may be disclosed for which a device that is off still has it.
GRACE: Final = 14 * DAY
# Of the channel's rows, what was said and what would lead to more of it: gone when the end begins. Of files the kept
# chunks go with their draft or message (`spool`), and those at the service are ended there (`room`).
SPOKEN: Final = (
    *("draft", "message", "own_rule", "meeting", "opening", "invitation"),
    *("words", "remark", "signing", "lock", "note", "sounding", "sounding_text"),
    *("relayed", "passage", "one_text"),
    *("idea_round", "idea_packet", "idea_received", "idea_text", "idea_list"),
)
AWAY = (
    "this device has been away for longer than the channel keeps a place: nothing that it is shown there can be "
    "trusted any more. Ask one of the others to invite your card again, or erase it here with `leave --here`. Only if "
    "this device's clock was wrong: set it, compare the channel's digits with the others, and go on with "
    "`pourparler resume`"
)
SAYS_CLOSED = (
    "the service says that this channel was ended for everybody, and nothing that this device has read says so. Ask "
    "the others, by a way you trust; `leave --here` erases it on this device"
)


class Ending:
    """For one log. What changes something runs in the caller's transaction."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._vault = log.vault

    # What this device knows of time

    def patience(self) -> tuple[int, int, int]:
        """The longest absence limit (seconds) and the latest end of a recess (Unix seconds) that this device has seen
        in force, for others may know no newer ones; and when, by its clock, it read that the channel ends, else 0.
        """
        row = self._vault.row("SELECT absence, recess, ending FROM patience WHERE channel = ?", self._log.row.id)
        absence, recess, ending = row or (0, 0, 0)
        absence = max(absence, self._log.charter.retention.absence)
        return absence, max(recess, self._log.consent.recess), ending

    def note(self, after: Consent) -> None:
        """The folded state has changed."""
        before = self._vault.row(
            "SELECT absence, recess, ending FROM patience WHERE channel = ?", self._log.row.id
        )
        absence, recess, ending = before or (0, 0, 0)
        absence, recess = max(absence, after.rules.absence), max(recess, after.recess)
        if after.closing and not ending:
            ending = self._log.clock()
        if (absence, recess, ending) != before:
            self._vault.execute(
                "INSERT OR REPLACE INTO patience VALUES (?, ?, ?, ?)", self._log.row.id, absence, recess, ending
            )

    def is_out(self, now: int) -> bool:
        """Whether this device has not renewed its keys for so long that it must believe nothing more."""
        absence, recess, ending = self.patience()
        return not ending and now > max(self._log.row.updated_at, recess) + absence + OUT_AFTER

    def check_renewed(self, author: bytes, received_at: int) -> None:
        """Raises Void for what comes under a leaf key that has long been replaced, or may have been: by the log alone.

        A day more than a device allows itself, for clocks differ; and never more than until a key may be disclosed.
        """
        log = self._log
        member, consent = log.members.get(author), log.consent
        limit = log.charter.retention.absence + SHOWN_AFTER
        if consent.closing:  # nobody renews any more, and nothing counts but the end
            return
        if member is not None and received_at > max(member.heard, consent.recess) + limit:
            raise Void("its author's keys are older than the channel keeps a place")

    def over(self, now: int) -> bool:
        """Whether by this device's own clock the end has taken as long as it may."""
        row = self._vault.row("SELECT absence, ending FROM patience WHERE channel = ?", self._log.row.id)
        if row is None or not row[1]:
            return False
        consent = self._log.consent
        if (
            self._log.own_card.fingerprint in consent.disclosed
        ):  # it has done its part, and others only do not come by
            return bool(now >= max(row[1], consent.closing) + self._log.charter.retention.notice + DAY)
        return bool(now >= row[1] + row[0] + SHOWN_AFTER + self._log.charter.retention.notice + DAY)

    # Old keys

    def retire(self, seed: bytes) -> None:
        """A key (its seed, 32 bytes) has been replaced by a commit that the log holds. Raises Lacking."""
        since, held = max(self._log.clock(), self._log.row.received_at), self._log.store.hours
        life = self.life()
        end = end_of(since + life, life)
        # Where nothing lives so long, by the operator's will, it is the vault's key alone: better than never forgeable.
        if self._log.charter.retention.read_offline or end in held.refused:
            end = ALONE
        if held.is_over(end):
            return
        self._vault.execute(
            "INSERT INTO seed (channel, seed, end, since) VALUES (?, x'', ?, ?)", self._log.row.id, end, since
        )
        row = self._vault.row("SELECT last_insert_rowid()")
        number = int(row[0]) if row else 0
        sealed = held.seal(seed, SEED + number, end)
        self._vault.execute("UPDATE seed SET seed = ? WHERE number = ?", sealed, number)

    def life(self) -> int:
        """How long an old key is kept at most, in seconds."""
        return self.patience()[0] + SHOWN_AFTER + GRACE

    def _seeds(self, since: int) -> Iterator[tuple[int, bytes]]:
        """Numbers and seeds of keys that were replaced at `since` or before. Raises Lacking."""
        for number, sealed, end in self._vault.rows(
            "SELECT number, seed, end FROM seed WHERE channel = ? AND since <= ? ORDER BY number DESC LIMIT ?",
            *(self._log.row.id, since, MAX_SEEDS - 1),
        ):
            seed = self._log.store.hours.find(sealed, SEED + number, end)
            if seed is not None:
                yield number, seed

    def published(self, seeds: tuple[bytes, ...]) -> None:
        """The log holds the disclosure of these: they are kept no more."""
        for number, sealed, end in self._vault.rows(
            "SELECT number, seed, end FROM seed WHERE channel = ?", self._log.row.id
        ):
            # Each by itself: a newer key whose hour is not at hand must not keep these, to be disclosed for ever.
            with suppress(Lacking):
                if self._log.store.hours.find(sealed, SEED + number, end) in seeds:
                    self._vault.execute("DELETE FROM seed WHERE number = ?", number)
        self._log.erased()

    # What is owed

    def acts(self, consent: Consent, now: int) -> list[Event]:
        """Events that this device owes the channel now. Raises Lacking."""
        if not consent.closing:
            absence, recess, _ = self.patience()
            latest = min(now, self._log.row.received_at) - absence - SHOWN_AFTER
            # Recess suspends the limit: who keeps to it is behind, and not out.
            seeds = tuple(seed for _, seed in self._seeds(latest)) if recess <= latest else ()
            return [Disclosed(seeds)] if seeds else []
        card = self._log.own_card.fingerprint
        if card not in consent.acknowledged:
            return [Acknowledged()]
        if card in consent.disclosed or not self._may_disclose(consent, now):
            return []
        seeds = (*(seed for _, seed in self._seeds(now)), self._log.group.signature_seed)
        return [Disclosed(seeds)]

    def _may_disclose(self, consent: Consent, now: int) -> bool:
        """Everybody has read so far; or who has not is out, by the log's time and by this device's own."""
        absence, _, ending = self.patience()
        later = replace(consent, time=max(consent.time, now))
        return stage(later) is Stage.DISCLOSING and (not late(later) or now >= ending + absence + SHOWN_AFTER)

    def late(self, now: int) -> list[bytes]:
        """Credentials of devices that nobody waits for any more at the end."""
        consent = self._log.consent
        if not consent.closing or not self._may_disclose(consent, now):
            return []
        return [device.credential for device in late(replace(consent, time=max(consent.time, now)))]
