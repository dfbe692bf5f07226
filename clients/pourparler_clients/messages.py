"""What was said in a channel, as this device keeps it: messages, own entries that end early, and this device's rule.

Every text lies sealed under its end (`hours.py`). Every method that changes something runs inside the caller's
transaction. Raises Lacking where the half of a key is not at hand.
"""

from contextlib import suppress
from dataclasses import dataclass

from pourparler_policies.filenames import harmless
from pourparler_policies.payload import Attached

from .errors import Lacking
from .hours import Hours
from .vault import Vault


@dataclass(frozen=True, slots=True)
class Sent:
    """An own entry at the service, and the secret (32 bytes) that ends it there."""

    seq: int
    entry: bytes
    secret: bytes
    expires_at: int  # at the service


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it is shown. Times are Unix seconds; `sender` is a credential of 16 bytes.

    `end` is when its key is destroyed (hours.py). Of a file (`attached`) the text is its name, made harmless. `kind` is
    "said", or "shuttle": then `text` is what shuttle/kept.py makes.
    """

    seq: int
    sender: bytes
    id: bytes
    text: str
    end: int
    received_at: int
    expires_at: int
    own: bool
    held: bool = False
    attached: Attached | None = None
    kind: str = "said"

    @property
    def content(self) -> bytes:
        """As it is sealed; no text begins as a file does."""
        return (
            self.text.encode() if self.attached is None else FILE_MARK + self.attached.model_dump_json().encode()
        )


FILE_MARK = b"\xff"  # in no UTF-8


class Messages:
    """Reads and writes one channel's messages, and what there is to know of own ones."""

    def __init__(self, vault: Vault, channel: bytes, hours: Hours) -> None:
        self._vault = vault
        self._channel = channel
        self._hours = hours

    def add(self, message: Message, sent: Sent | None = None) -> bool:
        """False when the same message (sender and id) is there already. `sent`: of an own one. Raises Lacking."""
        changed = self._vault.execute(
            "INSERT OR IGNORE INTO message"
            " (channel, seq, sender, id, text, end, received_at, expires_at, own, held, kind)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            self._channel,
            message.seq,
            message.sender,
            message.id,
            self._hours.seal(message.content, message.seq, message.end),
            message.end,
            message.received_at,
            message.expires_at,
            int(message.own),
            int(message.held),
            message.kind,
        )
        if sent is not None:
            self._vault.execute(
                "INSERT OR IGNORE INTO sent VALUES (?, ?, ?, ?, ?, NULL)",
                *(self._channel, sent.seq, sent.entry, sent.secret, sent.expires_at),
            )
        return changed == 1

    def shown(self, now: int) -> list[Message]:
        """What is alive, may be shown and opens with the keys at hand, in the log's order."""
        return self._found("expires_at > ? AND held = 0", now)

    def release(self, now: int) -> list[Message]:
        """What was held back may be shown from now on; returns what of it is alive. Raises Lacking."""
        self._require("expires_at > ? AND held = 1", now)
        held = self._found("expires_at > ? AND held = 1", now)
        if held:
            self._vault.execute("UPDATE message SET held = 0 WHERE channel = ?", self._channel)
        return held

    def closed(self, now: int) -> tuple[int, int]:
        """How many living messages wait for the service's half, and of how many the service has lost it."""
        rows = self._vault.rows(
            "SELECT end FROM message WHERE channel = ? AND expires_at > ? AND held = 0", self._channel, now
        )
        waiting = sum(bool(self._hours.lacking(end)) for end in rows)
        return waiting, len(rows) - waiting - len(self.shown(now))

    def erase_up_to(self, seq: int) -> None:
        """Messages up to `seq` are gone, and this device's own of them are to be ended at the service."""
        self._vault.execute("DELETE FROM message WHERE channel = ? AND seq <= ?", self._channel, seq)
        for table in ("sent", "room"):
            self._vault.execute(f"UPDATE {table} SET due = 0 WHERE channel = ? AND seq <= ?", self._channel, seq)  # noqa: S608

    def erase_received_before(self, hour: int) -> None:
        """Messages received before this hour (Unix seconds) are gone."""
        self._vault.execute("DELETE FROM message WHERE channel = ? AND received_at < ?", self._channel, hour)

    def shorten(self, message: Message, expires_at: int, end: int) -> None:
        """A message expires earlier, or lies under another key, from now on. Raises Lacking."""
        sealed = self._hours.seal(message.content, message.seq, end)
        self._vault.execute(
            "UPDATE message SET text = ?, end = ?, expires_at = ? WHERE channel = ? AND seq = ?",
            *(sealed, end, expires_at, self._channel, message.seq),
        )

    def erase(self, seq: int) -> None:
        """One message is gone."""
        self._vault.execute("DELETE FROM message WHERE channel = ? AND seq = ?", self._channel, seq)

    def living(self, now: int) -> list[Message]:
        """Every living message, also those held back. Raises Lacking unless all can be opened, but for lost ones."""
        self._require("expires_at > ?", now)
        return self._found("expires_at > ?", now)

    def places(self, now: int) -> dict[int, tuple[int, int]]:
        """`expires_at` and end of every living message, by its seq."""
        rows = self._vault.rows(
            "SELECT seq, expires_at, end FROM message WHERE channel = ? AND expires_at > ?", self._channel, now
        )
        return {seq: (expires_at, end) for seq, expires_at, end in rows}

    def one(self, seq: int) -> Message | None:
        """One message; None when it is gone, or lost. Raises Lacking."""
        row = self._vault.row("SELECT end FROM message WHERE channel = ? AND seq = ?", self._channel, seq)
        if row is not None and self._hours.lacking(row):
            raise Lacking(row[0])
        return next(iter(self._found("seq = ?", seq)), None)

    def find(self, sender: bytes, id_: bytes) -> tuple[int, int] | None:
        """Seq and `received_at` of a message, by its sender's credential and its id."""
        row = self._vault.row(
            "SELECT seq, received_at FROM message WHERE channel = ? AND sender = ? AND id = ?",
            *(self._channel, sender, id_),
        )
        return (row[0], row[1]) if row else None

    def delete_sent(self, seq: int, due: int) -> None:
        """An own entry is to be ended at the service at this time (Unix seconds), unless it is to be earlier.

        So is the attachment that it told of.
        """
        for table in ("sent", "room"):
            self._vault.execute(
                f"UPDATE {table} SET due = min(coalesce(due, ?), ?) WHERE channel = ? AND seq = ?",  # noqa: S608
                *(due, due, self._channel, seq),
            )

    def delete_all_sent(self, due: int) -> None:
        """As `delete_sent`, of every own entry that lives."""
        for table in ("sent", "room"):
            self._vault.execute(
                f"UPDATE {table} SET due = min(coalesce(due, ?), ?) WHERE channel = ? AND seq IS NOT NULL",  # noqa: S608
                *(due, due, self._channel),
            )

    def due_deletions(self, now: int) -> list[Sent]:
        """Own entries that are to be ended at the service now."""
        rows = self._vault.rows(
            "SELECT seq, entry, secret, expires_at FROM sent WHERE channel = ? AND due <= ? AND expires_at > ?",
            *(self._channel, now, now),
        )
        return [Sent(*row) for row in rows]

    def drop_sent(self, seq: int) -> None:
        """It has ended at the service."""
        self._vault.execute("DELETE FROM sent WHERE channel = ? AND seq = ?", self._channel, seq)

    def own_rule(self) -> tuple[int, int]:
        """This device's own lives (seconds): of a message, and of one that was read. 0: no such rule."""
        row = self._vault.row("SELECT messages, after_reading FROM own_rule WHERE channel = ?", self._channel)
        return (row[0], row[1]) if row else (0, 0)

    def save_own_rule(self, messages: int, after_reading: int) -> None:
        """Another own rule."""
        self._vault.execute(
            "INSERT OR REPLACE INTO own_rule VALUES (?, ?, ?)", self._channel, messages, after_reading
        )

    def _require(self, where: str, now: int) -> None:
        """Raises Lacking unless what lies there can be opened, or is lost."""
        rows = self._vault.rows(f"SELECT end FROM message WHERE channel = ? AND {where}", self._channel, now)  # noqa: S608
        lacking = self._hours.lacking(end for (end,) in rows)
        if lacking:
            raise Lacking(lacking[0])

    def _found(self, where: str, *values: int) -> list[Message]:
        rows = self._vault.rows(
            "SELECT seq, sender, id, text, end, received_at, expires_at, own, held, kind"  # noqa: S608
            f" FROM message WHERE channel = ? AND {where} ORDER BY seq",  # constants of this file
            self._channel,
            *values,
        )
        found = []
        for seq, sender, id_, sealed, end, received_at, expires_at, own, held, kind in rows:
            with suppress(Lacking):  # also what the service has lost its half of
                content = self._hours.open(sealed, seq, end)
                attached = Attached.model_validate_json(content[1:]) if content.startswith(FILE_MARK) else None
                text = harmless(attached.name) if attached is not None else content.decode()
                place = (end, received_at, expires_at, bool(own), bool(held))
                found.append(Message(seq, sender, id_, text, *place, attached, kind))
        return found
