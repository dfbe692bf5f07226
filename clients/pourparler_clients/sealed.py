"""All of a channel's texts that lie under halves of the service (`hours.py`), whichever table holds them."""

from collections.abc import Mapping
from contextlib import suppress

from .errors import Lacking
from .hours import DRAFT, IDEA, SEED, Hours
from .vault import Vault

# Sealed under an end each, like messages.
_PAPERS = ("words", "remark", "note", "sounding_text", "idea_packet", "idea_received")


class Sealed:
    """Knows under which ends one channel's texts lie, and seals them anew when the service has other halves."""

    def __init__(self, vault: Vault, channel: bytes, hours: Hours) -> None:
        self._vault = vault
        self._channel = channel
        self._hours = hours

    def lacking(self, now: int) -> list[int]:
        """Ends of the living texts whose keys are not at hand."""
        messages = "SELECT end FROM message WHERE channel = ? AND expires_at > ?"
        drafts = "SELECT end FROM draft WHERE channel = ? AND expires_at > ? AND end IS NOT NULL"
        ideas = "SELECT end FROM idea_text WHERE channel = ? AND expires_at > ?"
        rows = [row for sql in (messages, drafts, ideas) for row in self._vault.rows(sql, self._channel, now)]
        for table in _PAPERS:
            papers = f"SELECT DISTINCT end FROM {table} WHERE channel = ? AND expires_at > ?"  # noqa: S608 -- constants
            rows += self._vault.rows(papers, self._channel, now)
        return self._hours.lacking(end for (end,) in rows)

    def reseal(self, replaced: Mapping[int, bytes]) -> None:
        """The service has other halves for these ends than it gave out (32 bytes each): what is open stays open."""
        for end, half in replaced.items():
            for seq, sealed in self._vault.rows(
                "SELECT seq, text FROM message WHERE channel = ? AND end = ?", self._channel, end
            ):
                with suppress(Lacking):
                    again = self._again(sealed, seq, end, half)
                    self._vault.execute(
                        "UPDATE message SET text = ? WHERE channel = ? AND seq = ?", again, self._channel, seq
                    )
            for number, sealed in self._vault.rows(
                "SELECT number, text FROM idea_text WHERE channel = ? AND end = ?", self._channel, end
            ):
                with suppress(Lacking):
                    again = self._again(sealed, IDEA + number, end, half)
                    self._vault.execute("UPDATE idea_text SET text = ? WHERE number = ?", again, number)
            for number, sealed in self._vault.rows(
                "SELECT number, seed FROM seed WHERE channel = ? AND end = ?", self._channel, end
            ):
                with suppress(Lacking):
                    again = self._again(sealed, SEED + number, end, half)
                    self._vault.execute("UPDATE seed SET seed = ? WHERE number = ?", again, number)
            for table in _PAPERS:
                stored = f"SELECT number, sealed FROM {table} WHERE channel = ? AND end = ?"  # noqa: S608
                for number, sealed in self._vault.rows(stored, self._channel, end):
                    with suppress(Lacking):
                        again = self._again(sealed, number, end, half)
                        self._vault.execute(
                            f"UPDATE {table} SET sealed = ? WHERE channel = ? AND number = ?",  # noqa: S608
                            *(again, self._channel, number),
                        )
            for table, column, key in (("draft", "content", "number"), ("outbox", "envelope", "draft")):
                for number, sealed in self._vault.rows(
                    f"SELECT {key}, {column} FROM {table} WHERE channel = ? AND {column} != x'' AND {key} IN"  # noqa: S608
                    " (SELECT number FROM draft WHERE end = ?)",
                    *(self._channel, end),
                ):
                    with suppress(Lacking):
                        again = self._again(sealed, DRAFT + number, end, half)
                        self._vault.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", again, number)  # noqa: S608

    def _again(self, sealed: bytes, number: int, end: int, half: bytes) -> bytes:
        return self._hours.seal(self._hours.open(sealed, number, end, half), number, end)
