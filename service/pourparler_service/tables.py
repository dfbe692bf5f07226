"""What the database stores. With `halves` and `attachments` that is all a thief of the disk gets.

No name, no address, no time of a person's act beyond an entry's own `received_at`; no column joins an entry to the
device that sent it. Tokens, grants and delete secrets are here only as SHA-256 of 32 random bytes.

Integer keys are internal: they never leave the process.
"""

from typing import Any, Final

from sqlalchemy import BigInteger, CursorResult, Index, Table
from sqlmodel import Field, SQLModel

_Bytes = bytes  # the column below has the type's name


class Instance(SQLModel, table=True):
    """One row: which life of the service this is."""

    key: int = Field(primary_key=True)
    incarnation: bytes  # 16 random bytes, new after a restore
    generation: int = Field(sa_type=BigInteger)  # counts commits, here and in a file that backups leave out
    halves: bytes | None  # 16 bytes, the id of the store of key halves, to notice when another takes its place


class Grant(SQLModel, table=True):
    """The operator's leave to create one channel."""

    grant_hash: bytes = Field(primary_key=True)  # SHA-256 of the grant
    expires_at: int | None = Field(sa_type=BigInteger)  # Unix seconds
    used_mark: bytes | None  # SHA-256(grant, request): knows its own repetition, joins nothing without the grant


class Channel(SQLModel, table=True):
    """One append-only log. `head` never falls, whatever expires."""

    key: int | None = Field(default=None, primary_key=True)
    channel: bytes = Field(unique=True)  # 16 bytes
    absence_limit: int = Field(sa_type=BigInteger)  # seconds
    head: int = Field(sa_type=BigInteger)  # seq of the newest entry
    handshake_head: int = Field(sa_type=BigInteger)  # seq of the newest handshake entry
    received_at: int = Field(sa_type=BigInteger)  # of the newest entry, Unix seconds
    # Bytes of its sealed entries and of what lies in its boxes.
    stored: int = Field(sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})


class Device(SQLModel, table=True):
    """A living token. An ended one has no row."""

    key: int | None = Field(default=None, primary_key=True)
    channel_key: int = Field(foreign_key="channel.key", ondelete="CASCADE", index=True)
    device: bytes  # 16 bytes
    token_hash: bytes  # SHA-256 of the bearer token
    first_seq: int = Field(sa_type=BigInteger)
    accepted: int = Field(sa_type=BigInteger)  # how many entries: the count that the device gave last
    last_day: int  # day of the last use since 1970, not its time
    # The last accepted append, so that its retry is known when the entry is gone: SHA-256(token, digest), receipt.
    last_mark: bytes | None
    last_receipt: bytes | None  # masked with the token: its seq would say which entry this device sent


class Vote(SQLModel, table=True):
    """`voter` asked that `target`'s token end."""

    target_key: int = Field(primary_key=True, foreign_key="device.key", ondelete="CASCADE")
    voter_key: int = Field(primary_key=True, foreign_key="device.key", ondelete="CASCADE", index=True)


class Body(SQLModel, table=True):
    """Sealed bytes. Rows never move, so that erasing one leaves no copy (`places`)."""

    key: int = Field(primary_key=True)
    bytes: _Bytes


class Vacancy(SQLModel, table=True):
    """An erased body, whose place may be used again for the same size."""

    key: int = Field(primary_key=True)
    size: int  # bytes


class Entry(SQLModel, table=True):
    """One sealed entry, without its bytes. There is no device column, on purpose."""

    __table_args__ = (
        Index("entry_place", "channel_key", "seq", unique=True),
        Index("entry_id", "entry", "channel_key", unique=True),
        Index("entry_expiry", "expires_at"),
    )
    key: int = Field(primary_key=True)  # its body's key
    channel_key: int = Field(foreign_key="channel.key")
    seq: int = Field(sa_type=BigInteger)
    entry: bytes  # 16 bytes
    handshake: bool
    received_at: int = Field(sa_type=BigInteger)  # Unix seconds
    expires_at: int = Field(sa_type=BigInteger)  # Unix seconds
    delete_hash: bytes  # SHA-256 of the author's delete secret
    digest: bytes  # SHA-256 of the request, to tell a retry from a reuse of the id


class Box(SQLModel, table=True):
    """A one-time drop box."""

    key: int | None = Field(default=None, primary_key=True)
    box: bytes = Field(unique=True)  # 16 bytes
    channel_key: int = Field(foreign_key="channel.key", index=True)
    device_key: int | None = Field(foreign_key="device.key", ondelete="SET NULL", index=True)  # for its quota
    token_hash: bytes  # SHA-256 of the box secret
    life: int = Field(sa_type=BigInteger)  # seconds, as asked: to know a repetition
    expires_at: int = Field(sa_type=BigInteger, index=True)  # Unix seconds


class Slot(SQLModel, table=True):
    """What lies in a box. Written once."""

    box_key: int = Field(primary_key=True, foreign_key="box.key")
    slot: int = Field(primary_key=True)
    body_key: int = Field(unique=True)


class Attachment(SQLModel, table=True):
    """Room for one attachment, whose sealed chunks lie in a file (`attachments`). No device column, on purpose."""

    key: int | None = Field(default=None, primary_key=True)
    attachment: bytes = Field(unique=True)  # 16 bytes
    channel_key: int = Field(foreign_key="channel.key", index=True)
    token_hash: bytes  # SHA-256 of the attachment's token
    size: int = Field(sa_type=BigInteger)  # bytes, one of limits.ATTACHMENT_SIZES
    life: int = Field(sa_type=BigInteger)  # seconds, as asked: to know a repetition
    expires_at: int = Field(sa_type=BigInteger, index=True)  # Unix seconds
    delete_hash: bytes  # SHA-256 of the author's delete secret


class Round(SQLModel, table=True):
    """Room for a round of ideas. No device column, on purpose."""

    key: int | None = Field(default=None, primary_key=True)
    round: bytes = Field(unique=True)  # 16 bytes, a hash of what was asked for
    channel_key: int = Field(foreign_key="channel.key", index=True)
    token_hash: bytes  # SHA-256 of the round's token
    opens_at: int = Field(sa_type=BigInteger)  # Unix seconds
    closes_at: int = Field(sa_type=BigInteger)  # Unix seconds
    places: int
    expires_at: int = Field(sa_type=BigInteger, index=True)  # Unix seconds


class Packet(SQLModel, table=True):
    """A packet of a round. No time, no device."""

    round_key: int = Field(primary_key=True, foreign_key="round.key")
    digest: bytes = Field(primary_key=True)  # SHA-256 of it: packets are known and shown by it
    body_key: int = Field(unique=True)


class Docket(SQLModel, table=True):
    """A case is or was at the desk, which keeps it outside backups: if it is not there, it was lost (`desk`)."""

    name: bytes = Field(primary_key=True)  # SHA-256 of its handle
    forget_at: int = Field(sa_type=BigInteger)  # Unix seconds: when its answer is no longer kept


class Note(SQLModel, table=True):
    """A communiqué on the board, which is public. The columns beside `note` are read from its text."""

    __table_args__ = (Index("note_earlier", "earlier_release"),)
    key: int | None = Field(default=None, primary_key=True)
    digest: bytes = Field(unique=True)  # SHA-256 of the text
    release: bytes = Field(index=True)  # 16 bytes
    copy_number: int
    copies: int
    signers: bytes  # the signatories' public keys, 32 bytes each, sorted
    title: str
    languages: str  # tags with spaces between
    signatories: str  # names, a line each
    sequel: str | None  # what it does to an earlier one ...
    earlier_release: bytes | None  # ... with this id
    earlier_digest: bytes | None  # ... and this text
    published_at: int = Field(sa_type=BigInteger)  # Unix seconds
    note: bytes


_tables: Final = SQLModel.metadata.tables
INSTANCE: Final[Table] = _tables["instance"]
GRANT: Final[Table] = _tables["grant"]
CHANNEL: Final[Table] = _tables["channel"]
DEVICE: Final[Table] = _tables["device"]
VOTE: Final[Table] = _tables["vote"]
ENTRY: Final[Table] = _tables["entry"]
BOX: Final[Table] = _tables["box"]
ATTACHMENT: Final[Table] = _tables["attachment"]
ROUND: Final[Table] = _tables["round"]
PACKET: Final[Table] = _tables["packet"]
SLOT: Final[Table] = _tables["slot"]
BODY: Final[Table] = _tables["body"]
DOCKET: Final[Table] = _tables["docket"]
NOTE: Final[Table] = _tables["note"]

# A device that has appended nothing yet.
UNUSED: Final = {"accepted": 0, "last_mark": None, "last_receipt": None}


def new_key(inserted: CursorResult[Any]) -> int:
    """The integer key of the one row that was inserted."""
    key = inserted.inserted_primary_key
    if key is None:
        raise RuntimeError("the insert returned no key")
    return int(key[0])
