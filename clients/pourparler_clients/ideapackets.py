"""Packets of a round of ideas as this device keeps them: its own while they are out, and the list until it is opened.

The round's key comes from the epoch, and a copied vault may make it again; the one-time secrets are said in the log. So
neither keeps an idea to its end: the packets lie, beside that, under the keys of the ideas' own end. DESIGN 4.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pourparler_policies.limits import IDEA_PACKET

from .errors import Lacking
from .hours import ALONE, PACKET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pourparler_policies.ideas.facts import Round

    from .log import Log

_LIST: Final = 255  # the place of a list among a round's numbers: no seat sends so many packets


class IdeaPackets:
    """Rows of `schema.idea_packet` and `schema.idea_received`. What changes something runs inside a transaction."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def end_of(self, held: Round) -> tuple[int, int]:
        """The end of a round's ideas, as the list will have it, and when they expire at the latest (Unix seconds)."""
        lives = self._log.lives
        life = lives.until(held.closes, min(held.life, lives.longest()))
        return lives.end_of(held.closes + life, life), held.closes + life

    def check_ready(self, held: Round) -> None:
        """Raises Lacking unless packets of this round can be sealed now, or its ideas have ended."""
        end, _ = self.end_of(held)
        hours = self._log.store.hours
        if not hours.has(end) and not hours.is_over(end):
            raise Lacking(end)

    def keep(self, held: Round, packets: Sequence[bytes], dues: Sequence[int], *, empty: bool) -> None:
        """Keeps this device's packets, each due at its moment (Unix seconds). Raises Lacking, unless they are `empty`:
        in those nothing ends, and they go out whatever the service gives.
        """
        hours, (end, expires_at) = self._log.store.hours, self.end_of(held)
        if empty and not hours.has(end):
            end = ALONE
        self._log.vault.many(
            "INSERT INTO idea_packet VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)",
            [
                (
                    *(self._log.row.id, held.id, place, _number(held.id, place)),
                    *(hours.seal(packet, _number(held.id, place), end), end, expires_at),
                    due,
                )
                for place, (packet, due) in enumerate(zip(packets, dues, strict=True))
            ],
        )

    def keep_list(self, held: Round, packets: Sequence[bytes]) -> None:
        """Keeps a round's list. Raises Lacking."""
        number, (end, expires_at) = _number(held.id, _LIST), self.end_of(held)
        sealed = self._log.store.hours.seal(b"".join(packets), number, end)
        self._log.vault.execute(
            "INSERT OR REPLACE INTO idea_received VALUES (?, ?, ?, ?, ?, ?)",
            *(self._log.row.id, held.id, number, sealed, end, expires_at),
        )

    def of(self, round_: bytes) -> list[tuple[int, bytes, int, bool]]:
        """This device's packets: place, bytes, when it is due (Unix seconds), and whether the service has it. Without
        those that have ended. Raises Lacking.
        """
        rows = self._log.vault.rows(
            "SELECT place, sealed, number, end, due, sent FROM idea_packet WHERE channel = ? AND round = ?"
            " ORDER BY place",
            *(self._log.row.id, round_),
        )
        find = self._log.store.hours.find
        found = [(place, find(*sealed), at, bool(sent)) for place, *sealed, at, sent in rows]
        return [(place, packet, at, sent) for place, packet, at, sent in found if packet is not None]

    def list_of(self, round_: bytes) -> list[bytes]:
        """A round's list; empty when it has ended. Raises Lacking."""
        row = self._log.vault.row(
            "SELECT sealed, number, end FROM idea_received WHERE channel = ? AND round = ?",
            *(self._log.row.id, round_),
        )
        joined = (self._log.store.hours.find(*row) if row is not None else None) or b""
        return [joined[at : at + IDEA_PACKET] for at in range(0, len(joined), IDEA_PACKET)]

    def unsent(self, round_: bytes) -> list[int]:
        """When packets go out that the service does not have (Unix seconds)."""
        sql = "SELECT due FROM idea_packet WHERE channel = ? AND round = ? AND sent = 0"
        return [at for (at,) in self._log.vault.rows(sql, self._log.row.id, round_)]

    def shorten(self, held: Round) -> None:
        """Ends what is kept of a round earlier, where the rules are stricter by now. Raises Lacking."""
        vault, hours, (new, expires_at) = self._log.vault, self._log.store.hours, self.end_of(held)
        for table in ("idea_packet", "idea_received"):
            for number, sealed, end, until in vault.rows(
                f"SELECT number, sealed, end, expires_at FROM {table} WHERE channel = ? AND round = ?",  # noqa: S608
                *(self._log.row.id, held.id),
            ):
                if until <= expires_at:
                    continue
                earlier = end if ALONE in (end, new) else min(end, new)
                packet = hours.find(sealed, number, end)
                where = (self._log.row.id, number)
                self._log.erased()
                if packet is None or hours.is_over(earlier) or expires_at <= self._log.clock():
                    vault.execute(f"DELETE FROM {table} WHERE channel = ? AND number = ?", *where)  # noqa: S608
                    continue
                vault.execute(
                    f"UPDATE {table} SET sealed = ?, end = ?, expires_at = ? WHERE channel = ? AND number = ?",  # noqa: S608
                    *(hours.seal(packet, number, earlier), earlier, expires_at, *where),
                )

    def drop(self, round_: bytes) -> None:
        """Erases this device's packets."""
        sql = "DELETE FROM idea_packet WHERE channel = ? AND round = ?"
        self._log.vault.execute(sql, self._log.row.id, round_)

    def drop_list(self, round_: bytes) -> None:
        """Erases the list as it came from the service."""
        sql = "DELETE FROM idea_received WHERE channel = ? AND round = ?"
        self._log.vault.execute(sql, self._log.row.id, round_)

    def ended(self, now: int) -> bool:
        """Whether anything here has ended."""
        sql = (
            "SELECT 1 FROM idea_packet WHERE channel = ?1 AND expires_at <= ?2 UNION ALL"
            " SELECT 1 FROM idea_received WHERE channel = ?1 AND expires_at <= ?2"
        )
        return self._log.vault.row(sql, self._log.row.id, now) is not None

    def expire(self, now: int) -> None:
        """Erases what has ended."""
        for table in ("idea_packet", "idea_received"):
            sql = f"DELETE FROM {table} WHERE channel = ? AND expires_at <= ?"  # noqa: S608
            if self._log.vault.execute(sql, self._log.row.id, now):
                self._log.erased()


def _number(round_: bytes, place: int) -> int:
    return PACKET + int.from_bytes(round_[:6], "big") * 256 + place
