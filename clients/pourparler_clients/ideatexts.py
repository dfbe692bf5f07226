"""Texts of rounds as this device keeps them: own ideas and ballots that wait, lists that have opened, and their marks.

Each lies under a key of `hours.py`, as a message does, and ends like one. DESIGN 4.4; docs/ideas.md.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pourparler_policies.errors import Void
from pourparler_policies.ideas import content
from pourparler_policies.ideas.content import Ballot

from .errors import UserError
from .hours import ALONE, IDEA

if TYPE_CHECKING:
    from .log import Log

OWN: Final = "own"
BALLOT: Final = "ballot"
SHOWN: Final = "shown"
MARKED: Final = "marked"


@dataclass(frozen=True, slots=True)
class Text:
    """A text of a round as this device has it. `place`: in the list, from 1 on; `held`: the round it is sealed for."""

    number: int
    kind: str
    round: bytes
    place: int
    text: bytes
    end: int
    expires_at: int
    least: int
    doubtful: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """A list that this device has opened: how many took part, and how many packets could not be read."""

    round: bytes
    seats: int
    unread: int
    since: int  # Unix seconds
    expires_at: int


class IdeaTexts:
    """Texts of one log's rounds. What changes something runs inside the caller's transaction."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def add(
        self,
        kind: str,
        text: bytes,
        end: int,
        expires_at: int,
        *,
        round_: bytes = b"",
        place: int = 0,
        least: int = 0,
    ) -> int:
        """Keeps a text, sealed under its end; returns its number. Raises Lacking."""
        vault, channel = self._log.vault, self._log.row.id
        vault.execute(
            "INSERT INTO idea_text (channel, kind, round, place, text, end, expires_at, least, doubtful)"
            " VALUES (?, ?, ?, ?, x'', ?, ?, ?, 0)",
            *(channel, kind, round_, place, end, expires_at, least),
        )
        row = vault.row("SELECT last_insert_rowid()")
        number = int(row[0]) if row else 0
        sealed = self._log.store.hours.seal(text, IDEA + number, end)
        vault.execute("UPDATE idea_text SET text = ? WHERE number = ?", sealed, number)
        return number

    def of(self, kind: str, round_: bytes | None = None) -> list[Text]:
        """Living texts of a kind, of one round or of all, in their order. Raises Lacking."""
        rows = self._log.vault.rows(
            "SELECT number, kind, round, place, text, end, expires_at, least, doubtful FROM idea_text"
            " WHERE channel = ? AND kind = ? AND expires_at > ? ORDER BY place, number",
            *(self._log.row.id, kind, self._log.clock()),
        )
        hours, found = self._log.store.hours, []
        for number, _, of, place, sealed, end, *rest in rows:
            if (round_ is None or of == round_) and not hours.is_over(end):
                text = hours.open(sealed, IDEA + number, end)
                found.append(Text(number, kind, of, place, text, end, rest[0], rest[1], bool(rest[2])))
        return found

    def lists(self) -> list[Opened]:
        """Lists that this device has opened and whose time is not over, the newest first."""
        rows = self._log.vault.rows(
            "SELECT round, seats, unread, since, expires_at FROM idea_list WHERE channel = ? AND expires_at > ?"
            " ORDER BY seq DESC, round",
            *(self._log.row.id, self._log.clock()),
        )
        return [Opened(*row) for row in rows]

    def ballots(self, round_: bytes) -> list[Ballot]:
        """What was marked on a list, nobody's name with it. Raises Lacking."""
        count = len(self.of(SHOWN, round_))
        found: list[Ballot] = []
        for text in self.of(MARKED, round_):
            for one in json.loads(text.text):
                with suppress(Void):
                    found.append(content.read_ballot(one.encode(), count))
        return found

    def drop(self, number: int) -> None:
        """Takes back an own idea that no round has yet; raises UserError."""
        text = next((one for one in self.of(OWN) if one.number == number), None)
        if text is None:
            raise UserError("there is no idea of yours under this number: see `pourparler ideas show`")
        if text.round:
            raise UserError("it is under way in a round: it cannot be told from the others any more")
        self._log.erased()
        self._log.vault.execute("DELETE FROM idea_text WHERE number = ?", number)

    def again(self, number: int) -> None:
        """The person wants an idea put into another round though somebody may have read it. Raises UserError."""
        if not any(one.number == number and one.doubtful for one in self.of(OWN)):
            raise UserError("there is no such idea that waits for your word: see `pourparler ideas show`")
        self._log.vault.execute("UPDATE idea_text SET doubtful = 0 WHERE number = ?", number)

    def erase(self) -> None:
        """What was said is erased, by a session's end: lists, marks and ballots. What nobody has said yet stays."""
        self._log.erased()
        for table, also in (("idea_text", f" AND kind != '{OWN}'"), ("idea_list", "")):
            self._log.vault.execute(f"DELETE FROM {table} WHERE channel = ?{also}", self._log.row.id)  # noqa: S608

    def apply_rules(self) -> None:
        """Lists obey the rules as they are now, where they are stricter than before; raises Lacking."""
        life = self._log.lives.longest()
        for opened in self.lists():
            self._shorten(opened, life, opened.since)

    def erase_ended(self, hour: int) -> None:
        """What expires by this hour (Unix seconds) is gone, but for what nobody has said yet."""
        for table, also in (("idea_text", f" AND kind != '{OWN}'"), ("idea_list", "")):
            sql = f"DELETE FROM {table} WHERE channel = ? AND expires_at <= ?{also}"  # noqa: S608
            self._log.vault.execute(sql, self._log.row.id, hour)

    def adjourn(self, hour: int) -> None:
        """Lists end with the session, at this hour (Unix seconds); raises Lacking."""
        for opened in self.lists():
            if opened.since < hour < opened.expires_at:
                self._shorten(opened, hour - opened.since, opened.since)

    def read(self, opened: Opened) -> Opened:
        """Who shows a list calls this first: its life after reading begins now. Raises Lacking."""
        life, now = self._log.lives.once_read(), self._log.clock()
        if life and opened.expires_at > now + life:
            self._shorten(opened, life, now)
            return replace(opened, expires_at=now + life)
        return opened

    def _shorten(self, opened: Opened, life: int, since: int) -> None:
        vault, expires_at = self._log.vault, since + life
        end = self._log.lives.end_of(
            max(since, self._log.row.received_at if since > opened.since else since) + life, life
        )
        for text in (*self.of(SHOWN, opened.round), *self.of(MARKED, opened.round)):
            if text.expires_at <= expires_at and (text.end != ALONE or end == ALONE):
                continue
            earlier = text.end if end == ALONE else end if text.end == ALONE else min(end, text.end)
            self._log.erased()
            if self._log.store.hours.is_over(earlier) or expires_at <= self._log.clock():
                vault.execute("DELETE FROM idea_text WHERE number = ?", text.number)
                continue
            sealed = self._log.store.hours.seal(text.text, IDEA + text.number, earlier)
            vault.execute(
                "UPDATE idea_text SET text = ?, end = ?, expires_at = min(expires_at, ?) WHERE number = ?",
                *(sealed, earlier, expires_at, text.number),
            )
        sql = "UPDATE idea_list SET expires_at = min(expires_at, ?) WHERE channel = ? AND round = ?"
        vault.execute(sql, expires_at, self._log.row.id, opened.round)
