"""One channel's rows in the vault, as typed values. SQL lives here and in `schema.py`, decisions do not.

Every method that changes something runs inside the caller's transaction; each is a statement or two. What lies in a row
of a text says nothing without the service's half of its key (`hours.py`): texts are sealed and opened by the parts of
the store, what waits to be sent (`outbox.py`), messages (`messages.py`), and all that is sealed (`sealed.py`).
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pourparler_policies.admission import Member
from pourparler_policies.chain import KEPT, Chain
from pourparler_policies.fold.encoding import encode as canonical
from pourparler_policies.invitation import KEPT_EPOCHS
from pourparler_policies.release.decoding import decode_state
from pourparler_policies.release.facts import State as Folded

from .hours import Hours
from .messages import Messages
from .outbox import Outbox
from .sealed import Sealed
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
    charter: bytes
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
class Meeting:
    """A pair of this device and another: `pair` and `run` as `dpa` encodes them, `run` empty when none goes on.

    `queue` holds the steps of ours that the log does not hold yet, in order.
    """

    credential: bytes
    pair: bytes
    run: bytes = b""
    queue: tuple[bytes, ...] = ()
    accepted: bool = False


_CONTENTS = (
    *("outbox", "draft", "message", "sent", "own_rule", "member", "chain", "invitation"),
    *("consent", "meeting", "opening", "complaint", "vault_half"),
    *("words", "remark", "signing", "lock", "note", "sounding", "sounding_text", "seed", "patience"),
    *("room", "spool"),
    *("relayed", "passage", "one_text"),
    *("idea_round", "idea_packet", "idea_received", "idea_text", "idea_list"),
)


class ChannelStore:
    """Reads and writes the rows of one channel."""

    def __init__(self, vault: Vault, channel: bytes) -> None:
        self.vault = vault
        self.channel = channel
        row = vault.row("SELECT half FROM vault_half WHERE channel = ?", channel)
        self._begin(row[0] if row else b"")

    def _begin(self, vault_half: bytes) -> None:
        self.hours = Hours(self.channel, vault_half)
        parts = (self.vault, self.channel, self.hours)
        self.outbox = Outbox(*parts)
        self.messages = Messages(*parts)
        self.sealed = Sealed(*parts)

    @staticmethod
    def all(vault: Vault) -> list[bytes]:
        """Ids of the channels in a vault, in the order of their making."""
        return [row[0] for row in vault.rows("SELECT id FROM channel ORDER BY number")]

    def row(self) -> Row | None:
        """The channel, if the vault has it."""
        found = self.vault.row(
            "SELECT id, url, state, trouble, charter, token, device, credential, incarnation, cursor, received_at,"
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
            " (SELECT coalesce(max(number), 0) + 1 FROM channel), x'')",
            *(getattr(row, name) for name in Row.__slots__ if name != "number"),
        )
        half = os.urandom(32)
        self.vault.execute("INSERT INTO vault_half VALUES (?, ?)", self.channel, half)
        self._begin(half)

    def save(self, row: Row) -> None:
        """What changes as the log is folded."""
        self.vault.execute(
            "UPDATE channel SET state = ?, trouble = ?, charter = ?, incarnation = ?, cursor = ?, received_at = ?,"
            " handshake_head = ?, count = ?, updated_at = ?, missed = ? WHERE id = ?",
            row.state,
            row.trouble,
            row.charter,
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

    def erase_spoken(self, tables: Iterable[str]) -> None:
        """What was said is gone from these tables, and own entries are to be ended at the service."""
        for table in tables:
            self.vault.execute(f"DELETE FROM {table} WHERE channel = ?", self.channel)  # noqa: S608 -- constants
        for table in ("sent", "room"):
            self.vault.execute(f"UPDATE {table} SET due = 0 WHERE channel = ?", self.channel)  # noqa: S608

    def erase_contents(self) -> None:
        """Texts, drafts and names; the channel's row stays."""
        for table in _CONTENTS:
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
            row[0]: Member(row[0], row[1], row[2], row[3], row[4], _split(row[5]), row[6])
            for row in self.vault.rows(
                "SELECT credential, device, name, public, fingerprint, keys, heard FROM member WHERE channel = ?"
                " ORDER BY name, credential",
                self.channel,
            )
        }

    def save_members(self, members: Iterable[Member]) -> None:
        """The roster anew."""
        self.vault.execute("DELETE FROM member WHERE channel = ?", self.channel)
        self.vault.many(
            "INSERT INTO member VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (self.channel, m.credential, m.device, m.name, m.public, m.fingerprint, _join(m.keys), m.heard)
                for m in members
            ],
        )

    def folded(self) -> Folded | None:
        """The folded state; None when the channel's contents have been erased."""
        row = self.vault.row("SELECT state FROM consent WHERE channel = ?", self.channel)
        return decode_state(row[0], len(row[0])) if row else None  # our own: whatever it has grown to

    def save_folded(self, state: Folded) -> None:
        """The folded state anew."""
        self.vault.execute("INSERT OR REPLACE INTO consent VALUES (?, ?)", self.channel, canonical(state))

    # Attestation and complaints

    def meetings(self) -> dict[bytes, Meeting]:
        """Pairs with other devices, by their credential."""
        return {
            row[0]: Meeting(row[0], row[1], row[2], _split(row[3]), bool(row[4]))
            for row in self.vault.rows(
                "SELECT credential, pair, run, queue, accepted FROM meeting WHERE channel = ? ORDER BY credential",
                self.channel,
            )
        }

    def put_meeting(self, meeting: Meeting) -> None:
        """A new pair, or what became of one."""
        self.vault.execute(
            "INSERT OR REPLACE INTO meeting VALUES (?, ?, ?, ?, ?, ?)",
            self.channel,
            meeting.credential,
            meeting.pair,
            meeting.run,
            _join(meeting.queue),
            int(meeting.accepted),
        )

    def drop_meeting(self, credential: bytes) -> None:
        """The other device is gone."""
        self.vault.execute("DELETE FROM meeting WHERE channel = ? AND credential = ?", self.channel, credential)

    def openings(self, seat: bytes) -> int:
        """How many openings this device has sent to a seat."""
        row = self.vault.row("SELECT count FROM opening WHERE channel = ? AND seat = ?", self.channel, seat)
        return int(row[0]) if row else 0

    def count_opening(self, seat: bytes) -> None:
        """One more."""
        self.vault.execute(
            "INSERT INTO opening VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1", self.channel, seat
        )

    def forget_openings(self, seat: bytes) -> None:
        """The seat has been seated anew, which everybody saw."""
        self.vault.execute("DELETE FROM opening WHERE channel = ? AND seat = ?", self.channel, seat)

    def complaint_keys(self) -> dict[int, bytes]:
        """Keys (32 bytes) by epoch, oldest first."""
        return dict(
            self.vault.rows("SELECT epoch, key FROM complaint WHERE channel = ? ORDER BY epoch", self.channel)
        )

    def add_complaint_key(self, epoch: int, key: bytes) -> None:
        """One more; the oldest beyond KEPT_EPOCHS go."""
        self.vault.execute("INSERT OR REPLACE INTO complaint VALUES (?, ?, ?)", self.channel, epoch, key)
        self.vault.execute(
            "DELETE FROM complaint WHERE channel = ? AND epoch <= ?", self.channel, epoch - KEPT_EPOCHS
        )

    def save_complaint(self, sealed: bytes) -> None:
        """What this device has to say about a commit that it alone cannot process, until it was sent."""
        self.vault.execute("UPDATE channel SET complaint = ? WHERE id = ?", sealed, self.channel)

    def own_complaint(self) -> bytes:
        """What `save_complaint` saved; empty when there is nothing to send."""
        row = self.vault.row("SELECT complaint FROM channel WHERE id = ?", self.channel)
        return bytes(row[0]) if row else b""


def _join(parts: tuple[bytes, ...]) -> bytes:
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def _split(joined: bytes) -> tuple[bytes, ...]:
    parts = []
    while joined:
        end = 2 + int.from_bytes(joined[:2], "big")
        parts.append(joined[2:end])
        joined = joined[end:]
    return tuple(parts)
