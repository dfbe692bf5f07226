"""What waits to be sent: a channel's drafts, and the one entry under way.

Texts among them are sealed under their end (`hours.py`), and go unsent when it comes. Every method that changes
something runs inside the caller's transaction. Raises Lacking where the half of a key is not at hand.
"""

from dataclasses import dataclass
from enum import StrEnum

from .hours import DRAFT, Hours
from .vault import Vault


class Kind(StrEnum):
    """What an entry under way is, or a draft will be."""

    SAID = "said"  # and words on carried messages
    UPLOAD = "upload"  # a file that the service does not have whole yet; then it is said
    ACT = "act"  # events of the procedure
    ATTESTING = "attesting"
    BESIDE = "beside"  # words of a paper, a remark, masks, a lock
    SHORTENED = "shortened"
    SOUNDING = "sounding"  # a question; and, without a text, what devices post of one
    COMMIT = "commit"
    PARCEL = "parcel"  # what waits to be put to a side, and is not sent as it is (shuttle/parcels.py)
    NOTE = "note"  # a person's own; nobody is sent it


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


_ENDED = (
    "channel = ? AND kind IN ('said', 'beside', 'parcel', 'note', 'sounding')"
    " AND (expires_at <= ? OR (end > 0 AND end <= ?))"
    " AND number NOT IN (SELECT draft FROM outbox WHERE draft IS NOT NULL)"
)


class Outbox:
    """Reads and writes one channel's drafts, and its entry under way."""

    def __init__(self, vault: Vault, channel: bytes, hours: Hours) -> None:
        self._vault = vault
        self._channel = channel
        self._hours = hours

    def add(self, kind: Kind, content: bytes, life: int, expires_at: int, end: int | None = None) -> int:
        """Something to be sent, sealed under its `end` if it has one; returns its number. Raises Lacking."""
        self._vault.execute(
            "INSERT INTO draft (channel, kind, content, life, expires_at, end) VALUES (?, ?, x'', ?, ?, ?)",
            self._channel,
            kind,
            life,
            expires_at,
            end,
        )
        row = self._vault.row("SELECT last_insert_rowid()")
        number = int(row[0]) if row else 0
        kept = content if end is None else self._hours.seal(content, DRAFT + number, end)
        self._vault.execute("UPDATE draft SET content = ? WHERE number = ?", kept, number)
        return number

    def has(self, number: int) -> bool:
        """Whether a draft still waits, sealed or not."""
        return self._vault.row("SELECT 1 FROM draft WHERE number = ?", number) is not None

    def is_over(self, number: int, now: int) -> bool:
        """Whether a draft's life is over."""
        return self._vault.row("SELECT 1 FROM draft WHERE number = ? AND expires_at <= ?", number, now) is not None

    def next(self, kind: Kind) -> Draft | None:
        """What of this kind waits longest. Raises Lacking."""
        row = self._vault.row(
            "SELECT number, kind, content, life, expires_at, end FROM draft WHERE channel = ? AND kind = ?"
            " ORDER BY number LIMIT 1",
            self._channel,
            kind,
        )
        return Draft(row[0], Kind(row[1]), self._open(row[0], row[2], row[5]), *row[3:5]) if row else None

    def kept(self, kind: Kind) -> dict[int, bytes]:
        """The contents of drafts of a kind whose keys are at hand, by number, oldest first."""
        rows = self._vault.rows(
            "SELECT number, content, end FROM draft WHERE channel = ? AND kind = ? AND content != x'' ORDER BY number",
            *(self._channel, kind),
        )
        opened = {row[0]: self._open(*row) for row in rows if self._hours.has(row[2])}
        return {number: content for number, content in opened.items() if content}

    def count(self, kind: Kind) -> int:
        """How many drafts of a kind there are, whether they open or not."""
        row = self._vault.row("SELECT count(*) FROM draft WHERE channel = ? AND kind = ?", self._channel, kind)
        return int(row[0]) if row else 0

    def lacking(self, kind: Kind, now: int) -> list[int]:
        """Ends of the living drafts of a kind whose keys are not at hand."""
        rows = self._vault.rows(
            "SELECT end FROM draft WHERE channel = ? AND kind = ? AND expires_at > ?", self._channel, kind, now
        )
        return self._hours.lacking(end for (end,) in rows)

    def _open(self, number: int, content: bytes, end: int | None) -> bytes:
        """Empty when there is nothing left to open: its life is over, or the service has lost its half."""
        if end is None or not content:
            return content
        return self._hours.find(content, DRAFT + number, end) or b""

    def drop_ended(self, now: int) -> None:
        """Messages whose life is over are erased unsent, but for the one under way."""
        self._vault.execute(f"DELETE FROM draft WHERE {_ENDED}", self._channel, now, self._hours.over)  # noqa: S608

    def has_ended(self, now: int) -> bool:
        """Whether there are such messages."""
        sql = f"SELECT 1 FROM draft WHERE {_ENDED}"  # noqa: S608
        return self._vault.row(sql, self._channel, now, self._hours.over) is not None

    def drop(self, number: int) -> None:
        """A draft is erased unsent."""
        self._vault.execute("DELETE FROM draft WHERE number = ?", number)

    def waiting(self) -> int:
        """How many drafts wait."""
        row = self._vault.row(
            "SELECT count(*) FROM draft WHERE channel = ? AND kind NOT IN ('parcel', 'note')", self._channel
        )
        return int(row[0]) if row else 0

    def first(self, kind: Kind) -> int | None:
        """The number of what of this kind waits longest."""
        sql = "SELECT min(number) FROM draft WHERE channel = ? AND kind = ?"
        row = self._vault.row(sql, self._channel, kind)
        return row[0] if row else None

    def outgoing(self) -> Outgoing | None:
        """The entry under way, if any. Its envelope is as it is stored: `envelope` opens it."""
        row = self._vault.row(
            "SELECT entry, kind, append, handshake, envelope, draft, delete_secret, consent FROM outbox"
            " WHERE channel = ?",
            self._channel,
        )
        return Outgoing(row[0], Kind(row[1]), row[2], bool(row[3]), *row[4:]) if row else None

    def envelope(self, outgoing: Outgoing) -> bytes:
        """What the entry under way says, empty when its life is over. Raises Lacking."""
        return self._open(outgoing.draft or 0, outgoing.envelope, self._end_of(outgoing.draft))

    def put_outgoing(self, outgoing: Outgoing) -> None:
        """Saved before it is sent, what it says sealed as its draft is. There is at most one. Raises Lacking."""
        end = self._end_of(outgoing.draft)
        number = DRAFT + (outgoing.draft or 0)
        envelope = outgoing.envelope if end is None else self._hours.seal(outgoing.envelope, number, end)
        self._vault.execute(
            "INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            self._channel,
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
        row = self._vault.row("SELECT end FROM draft WHERE number = ?", draft)
        return row[0] if row else None

    def drop_outgoing(self, *, with_draft: bool) -> None:
        """The entry is in the log (`with_draft`), or was definitely refused and its draft waits on."""
        if with_draft:
            self._vault.execute(
                "DELETE FROM draft WHERE number = (SELECT draft FROM outbox WHERE channel = ?)", self._channel
            )
        self._vault.execute("DELETE FROM outbox WHERE channel = ?", self._channel)
