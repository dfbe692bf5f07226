"""Rows beside a channel's messages: what this device may end at the service, and which files hold kept chunks.

A *room* is an own attachment at the service. It is to be ended there when its message was taken back or erased with its
session, and when it has no message and no draft any more. What changes something runs in the caller's transaction.
"""

from dataclasses import dataclass

from .vault import Vault


@dataclass(frozen=True, slots=True)
class Room:
    """An own attachment at the service: its id (16 bytes), its token and delete secret (32 each)."""

    attachment: bytes
    token: bytes
    secret: bytes


class Rooms:
    """The rows of one channel."""

    def __init__(self, vault: Vault, channel: bytes) -> None:
        self._vault = vault
        self._channel = channel

    def begin(self, draft: int, file: str, room: Room, expires_at: int) -> None:
        """A draft's file is sealed and kept; its room may be made from now on."""
        self._vault.execute("INSERT INTO spool VALUES (?, ?, NULL, ?)", file, self._channel, draft)
        self._vault.execute(
            "INSERT INTO room VALUES (?, ?, ?, ?, ?, NULL, ?, NULL)",
            *(room.attachment, self._channel, room.token, room.secret, draft, expires_at),
        )

    def upload(self, draft: int) -> str | None:
        """The file that holds a draft's chunks."""
        row = self._vault.row("SELECT file FROM spool WHERE channel = ? AND draft = ?", self._channel, draft)
        return row[0] if row else None

    def secret(self, attachment: bytes) -> bytes | None:
        """The secret (32 bytes) that ends an own attachment."""
        sql = "SELECT secret FROM room WHERE channel = ? AND attachment = ?"
        row = self._vault.row(sql, self._channel, attachment)
        return row[0] if row else None

    def whole(self, draft: int, expires_at: int) -> None:
        """The service has all of it, until then: the draft is said as any other, and its kept chunks go."""
        self._vault.execute("DELETE FROM spool WHERE channel = ? AND draft = ?", self._channel, draft)
        self._vault.execute(
            "UPDATE draft SET kind = 'said', expires_at = min(expires_at, ?) WHERE number = ? AND kind = 'upload'",
            *(expires_at, draft),
        )
        self._vault.execute(
            "UPDATE room SET expires_at = min(expires_at, ?) WHERE channel = ? AND draft = ?",
            *(expires_at, self._channel, draft),
        )

    def posted(self, attachment: bytes, seq: int) -> None:
        """The log holds its message."""
        self._vault.execute(
            "UPDATE room SET seq = ? WHERE channel = ? AND attachment = ?", seq, self._channel, attachment
        )

    def due(self, now: int) -> list[Room]:
        """Rooms that are to be ended at the service now."""
        rows = self._vault.rows(
            "SELECT attachment, token, secret FROM room WHERE channel = ? AND expires_at > ? AND (due <= ?"
            " OR (seq IS NULL AND draft NOT IN (SELECT number FROM draft)))",
            *(self._channel, now, now),
        )
        return [Room(*row) for row in rows]

    def drop(self, attachment: bytes) -> None:
        """It has ended at the service."""
        self._vault.execute("DELETE FROM room WHERE channel = ? AND attachment = ?", self._channel, attachment)

    def download(self, seq: int) -> str | None:
        """The file that holds what was fetched of a message's attachment."""
        row = self._vault.row("SELECT file FROM spool WHERE channel = ? AND seq = ?", self._channel, seq)
        return row[0] if row else None

    def begin_download(self, seq: int, file: str) -> None:
        """It holds chunks from now on, as long as the message is there."""
        self._vault.execute("INSERT INTO spool VALUES (?, ?, ?, NULL)", file, self._channel, seq)

    def end_download(self, seq: int) -> None:
        """They are not needed any more."""
        self._vault.execute("DELETE FROM spool WHERE channel = ? AND seq = ?", self._channel, seq)
