"""One channel's rows in the vault, as typed values. SQL lives here and in `schema.py`, decisions do not.

Every method that changes something runs inside the caller's transaction. Texts are sealed and opened here (`hours.py`):
what of them lies in a row says nothing without the service's half. Raises Lacking where that half is not at hand.
Longer than 500 lines, for all of a channel's tables are here; each method is a statement or two.
"""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from pourparler_policies.admission import Member
from pourparler_policies.chain import KEPT, Chain
from pourparler_policies.filenames import harmless
from pourparler_policies.fold.encoding import encode as canonical
from pourparler_policies.invitation import KEPT_EPOCHS
from pourparler_policies.payload import Attached
from pourparler_policies.release.decoding import decode_state
from pourparler_policies.release.facts import State as Folded

from .errors import Lacking
from .hours import DRAFT, IDEA, SEED, Hours
from .vault import Vault


class State(StrEnum):
    """What this device may do in a channel."""

    FOUNDING = "founding"  # not yet known to be at the service
    OPEN = "open"
    ALARM = "alarm"  # the log may have been forked: reading goes on, nothing is sent
    HALTED = "halted"  # nothing is sent or folded until a person has decided
    REMOVED = "removed"  # this device is no longer a member
    CLOSED = "closed"


class Kind(StrEnum):
    """What an entry under way is, or a draft will be."""

    SAID = "said"  # and words on carried messages
    UPLOAD = "upload"  # a file that the service does not have whole yet; then it is said
    ACT = "act"  # events of the procedure
    ATTESTING = "attesting"
    BESIDE = "beside"  # words of a paper, a remark, masks, a lock
    SHORTENED = "shortened"
    SOUNDING = "sounding"
    COMMIT = "commit"
    PARCEL = "parcel"  # what waits to be put to a side, and is not sent as it is (shuttle/parcels.py)
    NOTE = "note"  # a person's own; nobody is sent it


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
class Outgoing:
    """The one entry under way."""

    entry: bytes
    kind: Kind
    append: bytes
    handshake: bool
    envelope: bytes
    draft: int | None
    delete_secret: bytes
    commit: bytes = b""  # what a commit does, in the fold's canonical form


@dataclass(frozen=True, slots=True)
class Draft:
    """Something that waits to be sealed and sent."""

    number: int
    kind: Kind
    content: bytes
    life: int
    expires_at: int


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
    *("words", "remark", "signing", "lock", "note", "sounding", "seed", "patience"),
    *("room", "spool"),
    *("relayed", "passage", "one_text"),
    *("idea_round", "idea_packet", "idea_text", "idea_list"),
)


PAPERS = ("words", "remark", "note")  # sealed under an end each, like messages

_ENDED = (
    "channel = ? AND kind IN ('said', 'beside', 'parcel', 'note') AND (expires_at <= ? OR (end > 0 AND end <= ?))"
    " AND number NOT IN (SELECT draft FROM outbox WHERE draft IS NOT NULL)"
)


class ChannelStore:
    """Reads and writes the rows of one channel."""

    def __init__(self, vault: Vault, channel: bytes) -> None:
        self.vault = vault
        self.channel = channel
        row = vault.row("SELECT half FROM vault_half WHERE channel = ?", channel)
        self.hours = Hours(channel, row[0] if row else b"")

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
        self.hours = Hours(self.channel, half)

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

    # Drafts and the entry under way

    def add_draft(self, kind: Kind, content: bytes, life: int, expires_at: int, end: int | None = None) -> int:
        """Something to be sent, sealed under its `end` if it has one; returns its number. Raises Lacking."""
        self.vault.execute(
            "INSERT INTO draft (channel, kind, content, life, expires_at, end) VALUES (?, ?, x'', ?, ?, ?)",
            self.channel,
            kind,
            life,
            expires_at,
            end,
        )
        row = self.vault.row("SELECT last_insert_rowid()")
        number = int(row[0]) if row else 0
        kept = content if end is None else self.hours.seal(content, DRAFT + number, end)
        self.vault.execute("UPDATE draft SET content = ? WHERE number = ?", kept, number)
        return number

    def has_draft(self, number: int) -> bool:
        """Whether a draft still waits, sealed or not."""
        return self.vault.row("SELECT 1 FROM draft WHERE number = ?", number) is not None

    def draft_ended(self, number: int, now: int) -> bool:
        """Whether a draft's life is over."""
        return self.vault.row("SELECT 1 FROM draft WHERE number = ? AND expires_at <= ?", number, now) is not None

    def next_draft(self, kind: Kind) -> Draft | None:
        """What of this kind waits longest. Raises Lacking."""
        row = self.vault.row(
            "SELECT number, kind, content, life, expires_at, end FROM draft WHERE channel = ? AND kind = ?"
            " ORDER BY number LIMIT 1",
            self.channel,
            kind,
        )
        return Draft(row[0], Kind(row[1]), self._open_draft(row[0], row[2], row[5]), *row[3:5]) if row else None

    def kept(self, kind: Kind) -> dict[int, bytes]:
        """The contents of drafts of a kind whose keys are at hand, by number, oldest first."""
        rows = self.vault.rows(
            "SELECT number, content, end FROM draft WHERE channel = ? AND kind = ? AND content != x'' ORDER BY number",
            *(self.channel, kind),
        )
        opened = {row[0]: self._open_draft(*row) for row in rows if self.hours.has(row[2])}
        return {number: content for number, content in opened.items() if content}

    def counted(self, kind: Kind) -> int:
        """How many drafts of a kind there are, whether they open or not."""
        row = self.vault.row("SELECT count(*) FROM draft WHERE channel = ? AND kind = ?", self.channel, kind)
        return int(row[0]) if row else 0

    def lacks_kept(self, kind: Kind, now: int) -> list[int]:
        """Ends of the living drafts of a kind whose keys are not at hand."""
        rows = self.vault.rows(
            "SELECT end FROM draft WHERE channel = ? AND kind = ? AND expires_at > ?", self.channel, kind, now
        )
        return self.hours.lacking(end for (end,) in rows)

    def said_waiting(self) -> list[bytes]:
        """The content of messages that wait and whose keys are at hand, oldest first."""
        rows = self.vault.rows(
            "SELECT number, content, end FROM draft WHERE channel = ? AND kind = ? AND content != x'' ORDER BY number",
            self.channel,
            Kind.SAID,
        )
        return [self._open_draft(*row) for row in rows if self.hours.has(row[2])]

    def _open_draft(self, number: int, content: bytes, end: int | None) -> bytes:
        """Empty when there is nothing left to open: its life is over, or the service has lost its half."""
        if end is None or not content:
            return content
        if self.hours.is_over(end):
            return b""
        try:
            return self.hours.open(content, DRAFT + number, end)
        except Lacking:
            if self.hours.has(end):
                return b""
            raise

    def drop_ended_drafts(self, now: int) -> None:
        """Messages whose life is over are erased unsent, but for the one under way."""
        self.vault.execute(f"DELETE FROM draft WHERE {_ENDED}", self.channel, now, self.hours.over)  # noqa: S608

    def has_ended_drafts(self, now: int) -> bool:
        """Whether there are such messages."""
        sql = f"SELECT 1 FROM draft WHERE {_ENDED}"  # noqa: S608
        return self.vault.row(sql, self.channel, now, self.hours.over) is not None

    def drop_draft(self, number: int) -> None:
        """A draft is erased unsent."""
        self.vault.execute("DELETE FROM draft WHERE number = ?", number)

    def waiting(self) -> int:
        """How many drafts wait."""
        row = self.vault.row(
            "SELECT count(*) FROM draft WHERE channel = ? AND kind NOT IN ('parcel', 'note')", self.channel
        )
        return int(row[0]) if row else 0

    def first_draft(self, kind: Kind) -> int | None:
        """The number of what of this kind waits longest."""
        sql = "SELECT min(number) FROM draft WHERE channel = ? AND kind = ?"
        row = self.vault.row(sql, self.channel, kind)
        return row[0] if row else None

    def count_drafts(self, kind: Kind) -> int:
        """How many drafts of this kind wait."""
        row = self.vault.row("SELECT count(*) FROM draft WHERE channel = ? AND kind = ?", self.channel, kind)
        return int(row[0]) if row else 0

    def outgoing(self) -> Outgoing | None:
        """The entry under way, if any. Its envelope is as it is stored: `envelope` opens it."""
        row = self.vault.row(
            "SELECT entry, kind, append, handshake, envelope, draft, delete_secret, consent FROM outbox"
            " WHERE channel = ?",
            self.channel,
        )
        return Outgoing(row[0], Kind(row[1]), row[2], bool(row[3]), *row[4:]) if row else None

    def envelope(self, outgoing: Outgoing) -> bytes:
        """What the entry under way says, empty when its life is over. Raises Lacking."""
        return self._open_draft(outgoing.draft or 0, outgoing.envelope, self._end_of(outgoing.draft))

    def put_outgoing(self, outgoing: Outgoing) -> None:
        """Saved before it is sent, what it says sealed as its draft is. There is at most one. Raises Lacking."""
        end = self._end_of(outgoing.draft)
        number = DRAFT + (outgoing.draft or 0)
        envelope = outgoing.envelope if end is None else self.hours.seal(outgoing.envelope, number, end)
        self.vault.execute(
            "INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            self.channel,
            outgoing.entry,
            outgoing.kind,
            outgoing.append,
            int(outgoing.handshake),
            envelope,
            outgoing.draft,
            outgoing.delete_secret,
            outgoing.commit,
        )

    def _end_of(self, draft: int | None) -> int | None:
        row = self.vault.row("SELECT end FROM draft WHERE number = ?", draft)
        return row[0] if row else None

    def drop_outgoing(self, *, with_draft: bool) -> None:
        """The entry is in the log (`with_draft`), or was definitely refused and its draft waits on."""
        if with_draft:
            self.vault.execute(
                "DELETE FROM draft WHERE number = (SELECT draft FROM outbox WHERE channel = ?)", self.channel
            )
        self.vault.execute("DELETE FROM outbox WHERE channel = ?", self.channel)

    # Messages

    def add_message(self, message: Message, sent: Sent | None = None) -> bool:
        """False when the same message (sender and id) is there already. `sent`: of an own one. Raises Lacking."""
        changed = self.vault.execute(
            "INSERT OR IGNORE INTO message"
            " (channel, seq, sender, id, text, end, received_at, expires_at, own, held, kind)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            self.channel,
            message.seq,
            message.sender,
            message.id,
            self.hours.seal(message.content, message.seq, message.end),
            message.end,
            message.received_at,
            message.expires_at,
            int(message.own),
            int(message.held),
            message.kind,
        )
        if sent is not None:
            self.vault.execute(
                "INSERT OR IGNORE INTO sent VALUES (?, ?, ?, ?, ?, NULL)",
                *(self.channel, sent.seq, sent.entry, sent.secret, sent.expires_at),
            )
        return changed == 1

    def messages(self, now: int) -> list[Message]:
        """What is alive, may be shown and opens with the keys at hand, in the log's order."""
        return self._messages("expires_at > ? AND held = 0", now)

    def release(self, now: int) -> list[Message]:
        """What was held back may be shown from now on; returns what of it is alive. Raises Lacking."""
        if self.lacking(now, held=True):
            raise Lacking(self.lacking(now, held=True)[0])
        held = self._messages("expires_at > ? AND held = 1", now)
        if held:
            self.vault.execute("UPDATE message SET held = 0 WHERE channel = ?", self.channel)
        return held

    def lacking(self, now: int, *, held: bool = False) -> list[int]:
        """Ends of the living texts whose keys are not at hand; `held`: only of messages that are held back."""
        messages = "SELECT end FROM message WHERE channel = ? AND expires_at > ?"
        if held:
            return self.hours.lacking(
                end for (end,) in self.vault.rows(messages + " AND held = 1", self.channel, now)
            )
        drafts = "SELECT end FROM draft WHERE channel = ? AND expires_at > ? AND end IS NOT NULL"
        ideas = "SELECT end FROM idea_text WHERE channel = ? AND expires_at > ?"
        rows = [row for sql in (messages, drafts, ideas) for row in self.vault.rows(sql, self.channel, now)]
        for table in PAPERS:
            papers = f"SELECT DISTINCT end FROM {table} WHERE channel = ? AND expires_at > ?"  # noqa: S608 -- constants
            rows += self.vault.rows(papers, self.channel, now)
        return self.hours.lacking(end for (end,) in rows)

    def closed(self, now: int) -> tuple[int, int]:
        """How many living messages wait for the service's half, and of how many the service has lost it."""
        rows = self.vault.rows(
            "SELECT end FROM message WHERE channel = ? AND expires_at > ? AND held = 0", self.channel, now
        )
        waiting = sum(bool(self.hours.lacking(end)) for end in rows)
        return waiting, len(rows) - waiting - len(self.messages(now))

    def erase_messages(self, seq: int) -> None:
        """Messages up to `seq` are gone, and this device's own of them are to be ended at the service."""
        self.vault.execute("DELETE FROM message WHERE channel = ? AND seq <= ?", self.channel, seq)
        for table in ("sent", "room"):
            self.vault.execute(f"UPDATE {table} SET due = 0 WHERE channel = ? AND seq <= ?", self.channel, seq)  # noqa: S608

    def shorten(self, message: Message, expires_at: int, end: int) -> None:
        """A message expires earlier, or lies under another key, from now on. Raises Lacking."""
        sealed = self.hours.seal(message.content, message.seq, end)
        self.vault.execute(
            "UPDATE message SET text = ?, end = ?, expires_at = ? WHERE channel = ? AND seq = ?",
            *(sealed, end, expires_at, self.channel, message.seq),
        )

    def erase_message(self, seq: int) -> None:
        """One message is gone."""
        self.vault.execute("DELETE FROM message WHERE channel = ? AND seq = ?", self.channel, seq)

    def kept_messages(self, now: int) -> list[Message]:
        """Every living message, also those held back. Raises Lacking unless all can be opened, but for lost ones."""
        lacking = self.hours.lacking(
            end
            for (end,) in self.vault.rows(
                "SELECT end FROM message WHERE channel = ? AND expires_at > ?", self.channel, now
            )
        )
        if lacking:
            raise Lacking(lacking[0])
        return self._messages("expires_at > ?", now)

    def places(self, now: int) -> dict[int, tuple[int, int]]:
        """`expires_at` and end of every living message, by its seq."""
        rows = self.vault.rows(
            "SELECT seq, expires_at, end FROM message WHERE channel = ? AND expires_at > ?", self.channel, now
        )
        return {seq: (expires_at, end) for seq, expires_at, end in rows}

    def message(self, seq: int) -> Message | None:
        """One message; None when it is gone, or lost. Raises Lacking."""
        row = self.vault.row("SELECT end FROM message WHERE channel = ? AND seq = ?", self.channel, seq)
        if row is not None and self.hours.lacking(row):
            raise Lacking(row[0])
        return next(iter(self._messages("seq = ?", seq)), None)

    def find_message(self, sender: bytes, id_: bytes) -> tuple[int, int] | None:
        """Seq and `received_at` of a message, by its sender's credential and its id."""
        row = self.vault.row(
            "SELECT seq, received_at FROM message WHERE channel = ? AND sender = ? AND id = ?",
            *(self.channel, sender, id_),
        )
        return (row[0], row[1]) if row else None

    def delete_sent(self, seq: int, due: int) -> None:
        """An own entry is to be ended at the service at this time (Unix seconds), unless it is to be earlier.

        So is the attachment that it told of.
        """
        for table in ("sent", "room"):
            self.vault.execute(
                f"UPDATE {table} SET due = min(coalesce(due, ?), ?) WHERE channel = ? AND seq = ?",  # noqa: S608
                *(due, due, self.channel, seq),
            )

    def due_deletions(self, now: int) -> list[Sent]:
        """Own entries that are to be ended at the service now."""
        rows = self.vault.rows(
            "SELECT seq, entry, secret, expires_at FROM sent WHERE channel = ? AND due <= ? AND expires_at > ?",
            *(self.channel, now, now),
        )
        return [Sent(*row) for row in rows]

    def drop_sent(self, seq: int) -> None:
        """It has ended at the service."""
        self.vault.execute("DELETE FROM sent WHERE channel = ? AND seq = ?", self.channel, seq)

    def own_rule(self) -> tuple[int, int]:
        """This device's own lives (seconds): of a message, and of one that was read. 0: no such rule."""
        row = self.vault.row("SELECT messages, after_reading FROM own_rule WHERE channel = ?", self.channel)
        return (row[0], row[1]) if row else (0, 0)

    def save_own_rule(self, messages: int, after_reading: int) -> None:
        """Another own rule."""
        self.vault.execute(
            "INSERT OR REPLACE INTO own_rule VALUES (?, ?, ?)", self.channel, messages, after_reading
        )

    def _messages(self, where: str, *values: int) -> list[Message]:
        rows = self.vault.rows(
            "SELECT seq, sender, id, text, end, received_at, expires_at, own, held, kind"  # noqa: S608
            f" FROM message WHERE channel = ? AND {where} ORDER BY seq",  # constants of this file
            self.channel,
            *values,
        )
        found = []
        for seq, sender, id_, sealed, end, received_at, expires_at, own, held, kind in rows:
            with suppress(Lacking):  # also what the service has lost its half of
                content = self.hours.open(sealed, seq, end)
                attached = Attached.model_validate_json(content[1:]) if content.startswith(FILE_MARK) else None
                text = harmless(attached.name) if attached is not None else content.decode()
                place = (end, received_at, expires_at, bool(own), bool(held))
                found.append(Message(seq, sender, id_, text, *place, attached, kind))
        return found

    def reseal(self, replaced: Mapping[int, bytes]) -> None:
        """The service has other halves for these ends than it gave out (32 bytes each): what is open stays open."""
        for end, half in replaced.items():
            for seq, sealed in self.vault.rows(
                "SELECT seq, text FROM message WHERE channel = ? AND end = ?", self.channel, end
            ):
                with suppress(Lacking):
                    again = self.hours.seal(self.hours.open(sealed, seq, end, half), seq, end)
                    self.vault.execute(
                        "UPDATE message SET text = ? WHERE channel = ? AND seq = ?", again, self.channel, seq
                    )
            for number, sealed in self.vault.rows(
                "SELECT number, text FROM idea_text WHERE channel = ? AND end = ?", self.channel, end
            ):
                with suppress(Lacking):
                    text = self.hours.open(sealed, IDEA + number, end, half)
                    again = self.hours.seal(text, IDEA + number, end)
                    self.vault.execute("UPDATE idea_text SET text = ? WHERE number = ?", again, number)
            for number, sealed in self.vault.rows(
                "SELECT number, seed FROM seed WHERE channel = ? AND end = ?", self.channel, end
            ):
                with suppress(Lacking):
                    again = self.hours.seal(self.hours.open(sealed, SEED + number, end, half), SEED + number, end)
                    self.vault.execute("UPDATE seed SET seed = ? WHERE number = ?", again, number)
            for table in PAPERS:
                stored = f"SELECT number, sealed FROM {table} WHERE channel = ? AND end = ?"  # noqa: S608
                for number, sealed in self.vault.rows(stored, self.channel, end):
                    with suppress(Lacking):
                        again = self.hours.seal(self.hours.open(sealed, number, end, half), number, end)
                        self.vault.execute(
                            f"UPDATE {table} SET sealed = ? WHERE channel = ? AND number = ?",  # noqa: S608
                            *(again, self.channel, number),
                        )
            for table, column, key in (("draft", "content", "number"), ("outbox", "envelope", "draft")):
                for number, sealed in self.vault.rows(
                    f"SELECT {key}, {column} FROM {table} WHERE channel = ? AND {column} != x'' AND {key} IN"  # noqa: S608
                    " (SELECT number FROM draft WHERE end = ?)",
                    *(self.channel, end),
                ):
                    with suppress(Lacking):
                        again = self.hours.seal(
                            self.hours.open(sealed, DRAFT + number, end, half), DRAFT + number, end
                        )
                        self.vault.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", again, number)  # noqa: S608


def _join(parts: tuple[bytes, ...]) -> bytes:
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def _split(joined: bytes) -> tuple[bytes, ...]:
    parts = []
    while joined:
        end = 2 + int.from_bytes(joined[:2], "big")
        parts.append(joined[2:end])
        joined = joined[end:]
    return tuple(parts)
