"""One channel's rows in the vault, as typed values. SQL lives here and in `schema.py`, decisions do not.

Every method that changes something runs inside the caller's transaction.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pourparler_policies.admission import Member
from pourparler_policies.chain import KEPT, Chain

from .vault import Vault


class State(StrEnum):
    """What this device may do in a channel."""

    FOUNDING = "founding"  # not yet known to be at the service
    OPEN = "open"
    ALARM = "alarm"  # the log may have been forked: reading goes on, nothing is sent
    HALTED = "halted"  # nothing is sent or folded until a person has decided
    REMOVED = "removed"  # this device is no longer a member
    CLOSED = "closed"


@dataclass(slots=True)
class Row:
    """A channel as the vault keeps it; fields as in schema.py."""

    id: bytes
    url: str
    state: State
    trouble: str
    terms: bytes
    token: bytes
    device: bytes
    credential: bytes
    incarnation: bytes
    cursor: int
    received_at: int
    handshake_head: int
    count: int
    updated_at: int
    missed: int
    number: int = 0  # given when the channel is inserted


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The one entry under way."""

    entry: bytes
    append: bytes
    handshake: bool
    envelope: bytes
    draft: int | None
    delete_secret: bytes


@dataclass(frozen=True, slots=True)
class Draft:
    """Something that waits to be sealed and sent."""

    number: int
    event: bytes
    life: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it is shown. Times are Unix seconds; `sender` is a credential of 16 bytes."""

    seq: int
    sender: bytes
    id: bytes
    text: str
    received_at: int
    expires_at: int
    own: bool
    entry: bytes
    delete_secret: bytes | None


class ChannelStore:
    """Reads and writes the rows of one channel."""

    def __init__(self, vault: Vault, channel: bytes) -> None:
        self.vault = vault
        self.channel = channel

    @staticmethod
    def all(vault: Vault) -> list[bytes]:
        """Ids of the channels in a vault, in the order of their making."""
        return [row[0] for row in vault.rows("SELECT id FROM channel ORDER BY number")]

    def row(self) -> Row | None:
        """The channel, if the vault has it."""
        found = self.vault.row(
            "SELECT id, url, state, trouble, terms, token, device, credential, incarnation, cursor, received_at,"
            " handshake_head, count, updated_at, missed, number FROM channel WHERE id = ?",
            self.channel,
        )
        if found is None:
            return None
        row = Row(*found)
        row.state = State(row.state)
        return row

    def insert(self, row: Row) -> None:
        """A new channel; gives it the next number."""
        self.vault.execute(
            "INSERT INTO channel VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
            " (SELECT coalesce(max(number), 0) + 1 FROM channel))",
            *(getattr(row, name) for name in Row.__slots__ if name != "number"),
        )

    def save(self, row: Row) -> None:
        """What changes as the log is folded."""
        self.vault.execute(
            "UPDATE channel SET state = ?, trouble = ?, incarnation = ?, cursor = ?, received_at = ?,"
            " handshake_head = ?, count = ?, updated_at = ?, missed = ? WHERE id = ?",
            row.state,
            row.trouble,
            row.incarnation,
            row.cursor,
            row.received_at,
            row.handshake_head,
            row.count,
            row.updated_at,
            row.missed,
            row.id,
        )

    def delete(self) -> None:
        """The channel and everything in it."""
        self.vault.execute("DELETE FROM invitation WHERE channel = ?", self.channel)
        self.vault.execute("DELETE FROM channel WHERE id = ?", self.channel)

    def erase_contents(self) -> None:
        """Texts, drafts and names; the channel's row stays."""
        for table in ("outbox", "draft", "message", "member", "chain", "invitation"):
            self.vault.execute(f"DELETE FROM {table} WHERE channel = ?", self.channel)  # noqa: S608 -- constants

    # MLS records

    def records(self, *, pending: bool = False) -> dict[str, bytes]:
        """The group's records; `pending`: of the epoch that an own commit would start."""
        return dict(
            self.vault.rows(
                "SELECT key, value FROM record WHERE channel = ? AND pending = ?", self.channel, int(pending)
            )
        )

    def change_records(self, changes: Mapping[str, bytes | None]) -> None:
        """Applies what one message changed."""
        for key, value in changes.items():
            if value is None:
                self.vault.execute(
                    "DELETE FROM record WHERE channel = ? AND pending = 0 AND key = ?", self.channel, key
                )
            else:
                self.vault.execute("INSERT OR REPLACE INTO record VALUES (?, 0, ?, ?)", self.channel, key, value)

    def replace_records(self, records: Mapping[str, bytes], *, pending: bool = False) -> None:
        """All records anew; what was there before is overwritten on the disk."""
        self.drop_records(pending=pending)
        self.vault.many(
            "INSERT INTO record VALUES (?, ?, ?, ?)",
            [(self.channel, int(pending), key, value) for key, value in records.items()],
        )

    def drop_records(self, *, pending: bool) -> None:
        """Erases one set of records."""
        self.vault.execute("DELETE FROM record WHERE channel = ? AND pending = ?", self.channel, int(pending))

    # Chain and members

    def chain(self) -> Chain:
        """The points of the running hash that are kept."""
        chain = Chain()
        for seq, value in self.vault.rows(
            "SELECT seq, hash FROM chain WHERE channel = ? ORDER BY seq", self.channel
        ):
            chain.append(seq, value)
        return chain

    def add_point(self, seq: int, value: bytes) -> None:
        """One more point; the oldest beyond KEPT go."""
        self.vault.execute("INSERT INTO chain VALUES (?, ?, ?)", self.channel, seq, value)
        self.vault.execute(
            "DELETE FROM chain WHERE channel = ? AND seq < (SELECT min(seq) FROM (SELECT seq FROM chain"
            " WHERE channel = ? ORDER BY seq DESC LIMIT ?))",
            self.channel,
            self.channel,
            KEPT,
        )

    def members(self) -> dict[bytes, Member]:
        """The roster, by credential."""
        return {
            row[0]: Member(row[0], row[1], row[2], row[3], bool(row[4]))
            for row in self.vault.rows(
                "SELECT credential, device, name, fingerprint, leaving FROM member WHERE channel = ?"
                " ORDER BY name, credential",
                self.channel,
            )
        }

    def save_members(self, members: Iterable[Member]) -> None:
        """The roster anew."""
        self.vault.execute("DELETE FROM member WHERE channel = ?", self.channel)
        self.vault.many(
            "INSERT INTO member VALUES (?, ?, ?, ?, ?, ?)",
            [(self.channel, m.credential, m.device, m.name, m.fingerprint, int(m.leaving)) for m in members],
        )

    # Drafts and the entry under way

    def add_draft(self, event: bytes, life: int, expires_at: int) -> int:
        """Something to be sent; returns its number."""
        self.vault.execute(
            "INSERT INTO draft (channel, event, life, expires_at) VALUES (?, ?, ?, ?)",
            self.channel,
            event,
            life,
            expires_at,
        )
        row = self.vault.row("SELECT last_insert_rowid()")
        return int(row[0]) if row else 0

    def has_draft(self, number: int) -> bool:
        """Whether a draft still waits, sealed or not."""
        return self.vault.row("SELECT 1 FROM draft WHERE number = ?", number) is not None

    def draft_ended(self, number: int, now: int) -> bool:
        """Whether a draft's life is over."""
        return self.vault.row("SELECT 1 FROM draft WHERE number = ? AND expires_at <= ?", number, now) is not None

    def next_draft(self) -> Draft | None:
        """What waits longest."""
        row = self.vault.row(
            "SELECT number, event, life, expires_at FROM draft WHERE channel = ? ORDER BY number LIMIT 1",
            self.channel,
        )
        return Draft(*row) if row else None

    def drop_draft(self, number: int) -> None:
        """A draft is erased unsent."""
        self.vault.execute("DELETE FROM draft WHERE number = ?", number)

    def waiting(self) -> int:
        """How many drafts wait."""
        row = self.vault.row("SELECT count(*) FROM draft WHERE channel = ?", self.channel)
        return int(row[0]) if row else 0

    def outgoing(self) -> Outgoing | None:
        """The entry under way, if any."""
        row = self.vault.row(
            "SELECT entry, append, handshake, envelope, draft, delete_secret FROM outbox WHERE channel = ?",
            self.channel,
        )
        return Outgoing(row[0], row[1], bool(row[2]), row[3], row[4], row[5]) if row else None

    def put_outgoing(self, outgoing: Outgoing) -> None:
        """Saved before it is sent. There is at most one."""
        self.vault.execute(
            "INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?)",
            self.channel,
            outgoing.entry,
            outgoing.append,
            int(outgoing.handshake),
            outgoing.envelope,
            outgoing.draft,
            outgoing.delete_secret,
        )

    def drop_outgoing(self, *, with_draft: bool) -> None:
        """The entry is in the log (`with_draft`), or was definitely refused and its draft waits on."""
        if with_draft:
            self.vault.execute(
                "DELETE FROM draft WHERE number = (SELECT draft FROM outbox WHERE channel = ?)", self.channel
            )
        self.vault.execute("DELETE FROM outbox WHERE channel = ?", self.channel)

    # Messages

    def add_message(self, message: Message) -> bool:
        """False when the same message (sender and id) is there already."""
        changed = self.vault.execute(
            "INSERT OR IGNORE INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            self.channel,
            message.seq,
            message.sender,
            message.id,
            message.text,
            message.received_at,
            message.expires_at,
            int(message.own),
            message.entry,
            message.delete_secret,
        )
        return changed == 1

    def messages(self, now: int) -> list[Message]:
        """What is still alive, in the log's order."""
        return [
            Message(row[0], row[1], row[2], row[3], row[4], row[5], bool(row[6]), row[7], row[8])
            for row in self.vault.rows(
                "SELECT seq, sender, id, text, received_at, expires_at, own, entry, delete_secret FROM message"
                " WHERE channel = ? AND expires_at > ? ORDER BY seq",
                self.channel,
                now,
            )
        ]
