"""The words of a sounding's packages as this device keeps them: sealed under the keys of their end, like a message.

They are kept where their question is folded and go with it; nothing but a person's eyes needs them. DESIGN 4.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pourparler_policies.fold.decoding import decode
from pourparler_policies.fold.encoding import encode as canonical
from pourparler_policies.sounding.facts import MAX_STATE

from .hours import SOUNDED

if TYPE_CHECKING:
    from pourparler_policies import wire
    from pourparler_policies.sounding import events

    from .log import Log


class SoundWords:
    """The row of `schema.sounding_text` of one log. What changes something runs inside the caller's transaction."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def keep(self, entry: wire.Entry, event: events.Sounded | events.Dealt, ends: int) -> None:
        """Seals the packages of a question that ends then (Unix seconds). Raises Lacking."""
        # The shortest rule wins. The service took the entry's own end, so it gives the half for it: whoever asks cannot
        # name an end that it refuses, and so stop everybody here.
        since, until = entry.received_at, min(entry.expires_at, ends)
        if until <= since:
            return
        end, held = self._log.lives.end_of(until, until - since), self._log.store.hours
        if held.is_over(end):
            return
        number = SOUNDED + entry.seq
        self._log.vault.execute(
            "INSERT OR REPLACE INTO sounding_text VALUES (?, ?, ?, ?, ?, ?)",
            *(self._log.row.id, event.id, number, held.seal(canonical(event.packages), number, end), end, until),
        )

    def keep_to(self, live: bytes) -> None:
        """Erases the words of every sounding but this one (16 bytes; empty: of all)."""
        sql = "DELETE FROM sounding_text WHERE channel = ? AND id != ?"
        if self._log.vault.execute(sql, self._log.row.id, live):
            self._log.erased()

    def all(self) -> tuple[str, ...]:
        """The packages that are asked; none when their time is over, or the service has lost its half. Raises
        Lacking.
        """
        row = self._log.vault.row(
            "SELECT sealed, number, end FROM sounding_text WHERE channel = ?", self._log.row.id
        )
        opened = self._log.store.hours.find(*row) if row is not None else None
        if opened is None:
            return ()
        packages: tuple[bytes, ...] = decode(tuple[bytes, ...], opened, MAX_STATE)
        return tuple(text.decode() for text in packages)
