"""One transaction of several processes' database: what `writer.Batch` is for SQLite.

1. A channel's row is locked before anything of it is read, so seqs are drawn one after the other, whoever draws.
2. What this process remembers of a channel is never believed: head, devices and counts are read under that lock.
3. Locks are taken in the order of keys; two that wait for each other nevertheless are told apart by PostgreSQL, and the
   batch is done again.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import psycopg
from sqlalchemy import Connection

from ..problems import unauthorized
from ..state import ChannelState, DeviceState, Receipt
from ..writer import Batch, ChannelDraft, DeviceDraft
from .engine import driver
from .partitions import Bodies

if TYPE_CHECKING:
    from .registry import SharedRegistry

WORK: Final = 0x706F7572_00000100  # advisory locks of kinds of work (`Batch.alone`)

_HOLD: Final = (
    "SELECT key, head, handshake_head, received_at, stored, version FROM channel WHERE key = ANY(%s)"
    " ORDER BY key FOR NO KEY UPDATE"
)
_DEVICES: Final = "SELECT key, accepted, last_mark, last_receipt FROM device WHERE key = ANY(%s)"
_SEATED: Final = (
    "SELECT channel_key, key, device, token_hash, first_seq, accepted, last_day, last_mark, last_receipt FROM device"
    " WHERE channel_key = ANY(%s)"
)
_SEEN: Final = (
    "SELECT e.channel_key, e.entry, e.seq, e.received_at, e.expires_at, e.digest FROM entry e"
    " JOIN unnest(%b::integer[], %b::bytea[]) AS a (channel_key, entry)"
    " ON a.entry = e.entry AND a.channel_key = e.channel_key"
)
_INSERT: Final = (
    "INSERT INTO entry"
    " (key, channel_key, seq, entry, handshake, received_at, expires_at, delete_hash, digest, key_end)"
    " SELECT * FROM unnest(%b::bigint[], %b::integer[], %b::bigint[], %b::bytea[], %b::boolean[], %b::bigint[],"
    " %b::bigint[], %b::bytea[], %b::bytea[], %b::bigint[])"
)
_ADVANCE: Final = (
    "UPDATE channel SET head = a.head, handshake_head = a.handshake_head, received_at = a.received_at,"
    " stored = channel.stored + a.size"
    " FROM unnest(%b::integer[], %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[])"
    " AS a (key, head, handshake_head, received_at, size)"
    " WHERE channel.key = a.key"
)
_COUNT: Final = (
    "UPDATE device SET accepted = a.accepted, last_mark = a.mark, last_receipt = a.receipt"
    " FROM unnest(%b::integer[], %b::bigint[], %b::bytea[], %b::bytea[]) AS a (key, accepted, mark, receipt)"
    " WHERE device.key = a.key"
)
_STORED: Final = (
    "UPDATE channel SET stored = channel.stored + a.size FROM unnest(%b::integer[], %b::bigint[]) AS a (key, size)"
    " WHERE channel.key = a.key"
)
_TURN: Final = "UPDATE channel SET version = version + 1 WHERE key = ANY(%s)"


class Held(NamedTuple):
    """A channel's row under our lock."""

    key: int
    head: int
    handshake_head: int
    received_at: int
    stored: int
    version: int


class Seated(NamedTuple):
    """A device's row."""

    channel_key: int
    key: int
    device: bytes
    token_hash: bytes
    first_seq: int
    accepted: int
    last_day: int
    last_mark: bytes | None
    last_receipt: bytes | None

    def state(self, handshakes: float = 0.0, now: float = 0.0) -> DeviceState:
        """As a new device in memory, which has spent so many of its handshakes."""
        return DeviceState(
            key=self.key,
            device=self.device,
            token_hash=self.token_hash,
            first_seq=self.first_seq,
            count=self.accepted,
            last_day=self.last_day,
            last_mark=self.last_mark,
            last_receipt=self.last_receipt,
            handshakes=handshakes,
            handshakes_at=now,
        )


def seated(connection: Connection, keys: Sequence[int]) -> dict[int, list[Seated]]:
    """The devices of these channels."""
    found: dict[int, list[Seated]] = {key: [] for key in keys}
    if keys:
        for row in driver(connection).execute(_SEATED, (list(keys),)):
            one = Seated(*row)
            found[one.channel_key].append(one)
    return found


class SharedBatch(Batch):
    """The transaction under way."""

    def __init__(
        self, connection: Connection, bodies: Bodies, outside: Any, registry: "SharedRegistry", now: float
    ) -> None:
        # Whole seconds: PostgreSQL would round what is compared with a whole number, and end it early.
        self._begin(connection, driver(connection), bodies, outside, float(int(now)))
        self._registry = registry
        self.held: dict[int, Held] = {}
        self.roster: dict[int, list[Seated]] = {}  # of channels that another process changed
        self._looked: set[tuple[int, bytes]] = set()
        self._found: dict[tuple[int, bytes], tuple[Receipt, bytes]] = {}
        self._rows: dict[int, tuple[int, bytes | None, bytes | None]] = {}
        self.before: dict[int, int] = {}  # head of each channel when the batch began

    def begin(self, entries: Sequence[tuple[int, int, bytes]] = ()) -> None:
        """Begin the transaction. In the same turn lock and read what these appends need: keys of channel and device,
        and the entry's id.
        """
        raw = self.raw
        if not entries:
            raw.execute("BEGIN")
            return
        channels = sorted({one[0] for one in entries})
        with raw.pipeline():
            raw.execute("BEGIN")
            self.places.foresee(len(entries))
            held = raw.execute(_HOLD, (channels,))
            devices = raw.execute(_DEVICES, (sorted({one[1] for one in entries}),))
            seen = raw.execute(_SEEN, ([one[0] for one in entries], [one[2] for one in entries]))
        self._keep(held.fetchall())
        self._rows.update({key: (count, mark, receipt) for key, count, mark, receipt in devices.fetchall()})
        self._looked.update((channel, entry) for channel, _, entry in entries)
        for channel, entry, seq, received_at, expires_at, digest in seen.fetchall():
            self._found[channel, entry] = (Receipt(seq, received_at, expires_at), digest)

    def hold(self, key: int, state: ChannelState | None = None) -> None:
        """Lock a channel's row until the batch is over."""
        if key not in self.held:
            self._keep(self.raw.execute(_HOLD, ([key],)).fetchall())

    def _keep(self, rows: Sequence[tuple[int, ...]]) -> None:
        changed = []
        for row in rows:
            one = self.held[row[0]] = Held(*row)
            self._stored[one.key], self.before[one.key] = one.stored, one.head
            state = self._registry.peek(one.key)
            if state is not None and state.version != one.version:
                changed.append(one.key)
        self.roster.update(seated(self.connection, changed))

    def alone(self, work: int) -> bool:
        """Whether no other process does this kind of work now."""
        row = self.raw.execute("SELECT pg_try_advisory_xact_lock(%s)", (WORK + work,)).fetchone()
        return bool(row[0])

    def require_living(self, channel: ChannelState, device: DeviceState) -> None:
        """Hold the channel. Raise Refusal when the token ended since the request came in, wherever."""
        self.hold(channel.key)
        if channel.key not in self.held or device.key in self.ended or self._row(device.key) is None:
            raise unauthorized()

    def _row(self, key: int) -> tuple[int, bytes | None, bytes | None] | None:
        if key not in self._rows:
            row = self.raw.execute(_DEVICES, ([key],)).fetchone()
            if row is None:
                return None
            self._rows[key] = (row[1], row[2], row[3])
        return self._rows[key]

    def channel(self, state: ChannelState) -> ChannelDraft:
        """The draft of a channel."""
        draft = self.channels.get(state.key)
        if draft is None:
            held = self.held[state.key]
            draft = ChannelDraft(state, held.head, held.handshake_head, held.received_at)
            self.channels[state.key] = draft
        return draft

    def device(self, state: DeviceState) -> DeviceDraft:
        """The draft of a device."""
        draft = self.devices.get(state.key)
        if draft is None:
            count, mark, receipt = self._rows[state.key]
            draft = DeviceDraft(state, count, state.handshakes, state.handshakes_at, mark, receipt)
            self.devices[state.key] = draft
        return draft

    def seen(self, channel_key: int, entry: bytes) -> tuple[Receipt, bytes] | None:
        """The receipt and digest of an entry of this id, if there is one."""
        place = (channel_key, entry)
        drafted = self.entries.get(place)
        if drafted is not None:
            return Receipt(drafted[2], drafted[5], drafted[6]), drafted[8]
        if place not in self._looked:
            self._looked.add(place)
            row = self.raw.execute(_SEEN, ([channel_key], [entry])).fetchone()
            if row is not None:
                self._found[place] = (Receipt(*row[2:5]), row[5])
        return self._found.get(place)

    def stored(self, channel_key: int) -> int:
        """How many bytes live in a channel."""
        if channel_key not in self._stored:
            row = self.raw.execute("SELECT stored FROM channel WHERE key = %s", (channel_key,)).fetchone()
            self._stored[channel_key] = row[0] if row else 0
        return self._stored[channel_key] + self._added.get(channel_key, 0)

    def delete_entries(self, keys: Sequence[int]) -> set[int]:
        """Delete the rows of entries. Returns which of them were there to delete: another process may be faster."""
        rows = self.raw.execute("DELETE FROM entry WHERE key = ANY(%s) RETURNING key", (list(keys),)).fetchall()
        return {key for (key,) in rows}

    def erase_chunks(self, attachments: Sequence[int], *, over: bool) -> None:
        """Erase the chunks of these attachments (keys)."""
        rows = self.raw.execute(
            "DELETE FROM chunk WHERE attachment_key = ANY(%s) RETURNING body_key", (list(attachments),)
        ).fetchall()
        self.places.erase([key for (key,) in rows], over=over)

    def flush(self) -> None:
        """Write the rows gathered so far."""
        self.places.flush()
        if self.entries:
            self.dirty = True
            self.raw.execute(_INSERT, [list(column) for column in zip(*self.entries.values(), strict=True)])
            for place, row in self.entries.items():
                self._looked.add(place)
                self._found[place] = (Receipt(row[2], row[5], row[6]), row[8])
            self.entries = {}

    def seal(self, generation: int = 0) -> None:
        """Write everything that is still only a draft, and commit, in one turn."""
        with self.raw.pipeline():
            self.flush()
            added = dict(self._added)
            heads = [
                (key, draft.head, draft.handshake_head, draft.received_at, added.pop(key, 0))
                for key, draft in self.channels.items()
                if draft.frames
            ]
            marks = [
                (one.state.key, one.count, one.mark, one.receipt)
                for one in self.devices.values()
                if one.mark is not None
            ]
            for statement, rows in ((_ADVANCE, heads), (_COUNT, marks), (_STORED, sorted(added.items()))):
                if rows:
                    self.dirty = True
                    self.raw.execute(statement, [list(column) for column in zip(*rows, strict=True)])
            if self.turned:
                self.dirty = True
                self.raw.execute(_TURN, (sorted(self.turned),))
            ended = self.raw.execute("COMMIT")
        # PostgreSQL answers otherwise, and without an error, when something before it failed.
        if ended.statusmessage != "COMMIT":
            raise psycopg.OperationalError("nothing was committed")

    def publish(self) -> None:
        """Everything is durable: show it. What other processes did before stays out of the tail."""
        for key, held in self.held.items():
            state = self._registry.peek(key)
            if state is None:
                continue
            if key in self.roster:
                self._registry.mirror(state, self.roster[key], held.version)
            if state.head < held.head:
                state.head, state.handshake_head = held.head, held.handshake_head
                state.received_at = held.received_at
                state.skip(held.head)
                state.wake()  # whoever follows the database will find nothing new in it
        grown = [draft for draft in self.channels.values() if draft.frames]
        for draft in grown:
            state = draft.state
            for frame in draft.frames:
                if frame.seq > state.head:  # else whoever follows the database was faster
                    state.push(frame)
            if draft.head > state.head:
                state.head, state.handshake_head = draft.head, draft.handshake_head
                state.received_at = draft.received_at
        for device in self.devices.values():
            if device.mark is not None:
                one = device.state
                one.count, one.handshakes, one.handshakes_at = (
                    device.count,
                    device.handshakes,
                    device.handshakes_at,
                )
        for effect in self.effects:
            effect()
        for key in self.turned:
            state = self._registry.peek(key)
            if state is not None:
                # After our own change; any other makes the number differ, and the devices are read again.
                state.version = self.held[key].version + 1 if key in self.held else -1
        for draft in grown:
            draft.state.wake()
