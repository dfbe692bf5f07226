"""One writer, which commits in batches: what came in while the last batch went to disk is the next one.

1. An act checks everything before it writes, inside the transaction, against what the acts before it decided.
2. Nothing is answered, published or sent to a reader before its commit returned.
3. When a commit fails, nothing of the batch happened: every act of it is refused as unavailable.

The statements run on the event loop's thread, the commit (which waits for the disk) on a thread of its own: so the
two never compete for the interpreter over single statements.
"""

import asyncio
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from sqlalchemy import Connection

from pourparler_policies.wire import Problem

from .breakage import Breakage
from .database import Database, raw
from .outside import Outside
from .places import Places
from .problems import Refusal, unauthorized
from .state import ChannelState, DeviceState, Frame, Receipt

MAX_BATCH: Final = 256  # acts: bounds how long the first of them waits for the rest
LOCK_PATIENCE: Final = 10.0  # seconds to wait for who holds the database or its log: then what waits is refused
LOCK_PAUSE: Final = 0.002  # seconds between tries
SCRUB_PAUSE: Final = 0.05  # seconds until a WAL that a reader held is tried again

T = TypeVar("T")

_log = logging.getLogger("pourparler.service")

_INSERT_ENTRY: Final = (
    "INSERT INTO entry"
    " (key, channel_key, seq, entry, handshake, received_at, expires_at, delete_hash, digest, key_end)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_SEEN: Final = "SELECT seq, received_at, expires_at, digest FROM entry WHERE entry = ? AND channel_key = ?"
_UPDATE_CHANNEL: Final = "UPDATE channel SET head = ?, handshake_head = ?, received_at = ? WHERE key = ?"
_UPDATE_DEVICE: Final = "UPDATE device SET accepted = ?, last_mark = ?, last_receipt = ? WHERE key = ?"
_STORED: Final = "SELECT stored FROM channel WHERE key = ?"
_UPDATE_STORED: Final = "UPDATE channel SET stored = stored + ? WHERE key = ?"
_UPDATE_GENERATION: Final = "UPDATE instance SET generation = ?"


def refuse(futures: "Iterable[asyncio.Future[Any]]") -> None:
    """Tell everybody who still waits for these that nothing could be stored."""
    for future in futures:
        if not future.done():
            future.set_exception(Refusal(Problem.UNAVAILABLE))


@dataclass(slots=True)
class ChannelDraft:
    """A channel as it will be when the batch is durable."""

    state: ChannelState
    head: int
    handshake_head: int
    received_at: int
    frames: list[Frame] = field(default_factory=list)


@dataclass(slots=True)
class DeviceDraft:
    """A device as it will be when the batch is durable."""

    state: DeviceState
    count: int
    handshakes: float
    handshakes_at: float
    last_mark: bytes | None
    last_receipt: bytes | None
    mark: bytes | None = None
    receipt: bytes | None = None  # masked


EntryRow = tuple[int, int, int, bytes, bool, int, int, bytes, bytes, int | None]


class Batch:
    """The transaction under way: drafts of what it changes, rows to insert, and what to publish afterwards."""

    def __init__(self, connection: Connection, places: Places, outside: Outside, now: float) -> None:
        self._begin(connection, raw(connection), places, outside, now)

    def _begin(self, connection: Connection, driver: Any, places: Any, outside: Any, now: float) -> None:
        self.connection = connection
        self.places = places
        self.outside = outside  # for effects only: nothing is destroyed there before the commit
        self.raw = driver
        self.now = now  # Unix seconds
        self.dirty = False
        self.scrub = False  # something was deleted: leave no trace in the files
        self.channels: dict[int, ChannelDraft] = {}
        self.devices: dict[int, DeviceDraft] = {}
        self.entries: dict[tuple[int, bytes], EntryRow] = {}
        self.effects: list[Callable[[], None]] = []
        self.done: list[tuple[asyncio.Future[Any], Any, Refusal | None]] = []
        self.late: list[tuple[asyncio.Future[Any], Any]] = []
        self.turned: set[int] = set()  # keys of channels whose devices or past changed
        self.ended: set[int] = set()  # keys of devices that an earlier act of this batch ended
        self._stored: dict[int, int] = {}  # bytes of each channel when the batch began
        self._added: dict[int, int] = {}  # bytes that it adds to each, or takes away

    def require_living(self, channel: ChannelState, device: DeviceState) -> None:
        """Hold the channel. Raise Refusal when the token ended since the request came in."""
        if device.ended or channel.erased or device.key in self.ended:
            raise unauthorized()

    def hold(self, key: int, state: ChannelState | None = None) -> None:
        """Let no other process change this channel until the batch is over. Here there is no other."""

    def alone(self, work: int) -> bool:
        """Whether this is the only process that does this kind of work (`work` names it) until the batch is over."""
        return True

    def seen(self, channel_key: int, entry: bytes) -> tuple[Receipt, bytes] | None:
        """The receipt and digest of an entry of this id, if there is one."""
        drafted = self.entries.get((channel_key, entry))
        if drafted is not None:
            return Receipt(drafted[2], drafted[5], drafted[6]), drafted[8]
        row = self.raw.execute(_SEEN, (entry, channel_key)).fetchone()
        return None if row is None else (Receipt(*row[:3]), row[3])

    def delete_entries(self, keys: Sequence[int]) -> set[int]:
        """Delete the rows of entries. Returns which of them were there to delete."""
        self.raw.executemany("DELETE FROM entry WHERE key = ?", [(key,) for key in keys])
        return set(keys)

    def erase_chunks(self, attachments: Sequence[int], *, over: bool) -> None:
        """Erase the chunks of these attachments (keys), where the database has them: here files do."""

    def channel(self, state: ChannelState) -> ChannelDraft:
        """The draft of a channel."""
        draft = self.channels.get(state.key)
        if draft is None:
            draft = ChannelDraft(state, state.head, state.handshake_head, state.received_at)
            self.channels[state.key] = draft
        return draft

    def device(self, state: DeviceState) -> DeviceDraft:
        """The draft of a device."""
        draft = self.devices.get(state.key)
        if draft is None:
            spent, last = (state.handshakes, state.handshakes_at), (state.last_mark, state.last_receipt)
            draft = DeviceDraft(state, state.count, *spent, *last)
            self.devices[state.key] = draft
        return draft

    def stored(self, channel_key: int) -> int:
        """How many bytes live in a channel."""
        if channel_key not in self._stored:
            row = self.raw.execute(_STORED, (channel_key,)).fetchone()
            self._stored[channel_key] = row[0] if row else 0
        return self._stored[channel_key] + self._added.get(channel_key, 0)

    def add_bytes(self, channel_key: int, size: int) -> None:
        """Count bytes that were placed in a channel, or, less than zero, erased."""
        self._added[channel_key] = self._added.get(channel_key, 0) + size

    def changed(self, *, scrub: bool = False) -> Connection:
        """Call before the first writing statement of an act. Returns the connection to write on."""
        self.flush()
        self.dirty = True
        self.scrub = self.scrub or scrub
        return self.connection

    def flush(self) -> None:
        """Write the rows gathered so far."""
        self.places.flush()
        if not self.entries:
            return
        self.dirty = True
        self.raw.executemany(_INSERT_ENTRY, self.entries.values())
        self.entries = {}

    def seal(self, generation: int) -> None:
        """Write everything that is still only a draft."""
        self.flush()
        heads = [
            (c.head, c.handshake_head, c.received_at, c.state.key) for c in self.channels.values() if c.frames
        ]
        if heads:
            self.raw.executemany(_UPDATE_CHANNEL, heads)
        marks = [(d.count, d.mark, d.receipt, d.state.key) for d in self.devices.values() if d.mark is not None]
        if marks:
            self.raw.executemany(_UPDATE_DEVICE, marks)
        if self._added:
            self.raw.executemany(_UPDATE_STORED, [(size, key) for key, size in self._added.items()])
        if self.dirty:
            self.raw.execute(_UPDATE_GENERATION, (generation,))

    def publish(self) -> None:
        """Everything is durable: show it."""
        for draft in self.channels.values():
            if not draft.frames:
                continue
            state = draft.state
            state.head, state.handshake_head, state.received_at = (
                draft.head,
                draft.handshake_head,
                draft.received_at,
            )
            for frame in draft.frames:
                state.push(frame)
        for device in self.devices.values():
            if device.mark is None:
                continue
            one = device.state
            one.count, one.last_mark, one.last_receipt = device.count, device.mark, device.receipt
            one.handshakes, one.handshakes_at = device.handshakes, device.handshakes_at
        for effect in self.effects:
            effect()
        for draft in self.channels.values():
            if draft.frames:
                draft.state.wake()


class Writer:
    """Runs acts in batches. `submit` may be called from the event loop only."""

    def __init__(self, database: Database, outside: Outside, clock: Callable[[], float]) -> None:
        self._database = database
        self._outside = outside
        self._clock = clock
        self._generation = database.generation
        self._places = Places(raw(database.write))
        raw(database.write).execute("PRAGMA busy_timeout=0")  # `_run` waits without holding up the event loop
        self._queue: deque[tuple[Callable[[Batch], Any], asyncio.Future[Any], bool]] = deque()
        self._busy = False
        self._since: float | None = None  # since when another process holds the lock, or the log cannot be emptied
        self._scrub_due = False
        self._closed = False
        self.breakage = Breakage()
        self._jobs: SimpleQueue[Batch | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._idle.set()
        self._thread = threading.Thread(target=self._commit_forever, name="commit", daemon=True)
        self._thread.start()

    def submit(self, act: Callable[[Batch], T], *, after_scrub: bool = False) -> "asyncio.Future[T]":
        """Run `act` in the next batch. The future is done when its effect is durable, or refused.

        With `after_scrub` it waits too until what was deleted is in no file.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        if self._closed:
            future.set_exception(Refusal(Problem.UNAVAILABLE))
            return future
        self._queue.append((act, future, after_scrub))
        if not self._busy:
            self._busy = True
            self._idle.clear()
            self._loop.call_soon(self._run)
        return future

    async def close(self) -> None:
        """Finish what was submitted, then stop."""
        self._closed = True
        await self._idle.wait()
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        connection = raw(self._database.write)
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error:
            # `pourparler grant` is at it, mostly. The event loop must not wait for another process.
            self._since = self._since or time.monotonic()
            if time.monotonic() - self._since < LOCK_PATIENCE:
                self._loop.call_later(LOCK_PAUSE, self._run)
            else:
                self._since = None
                self._refuse_queue()
            return
        self._since = None
        batch = Batch(self._database.write, self._places, self._outside, self._clock())
        try:
            for _ in range(min(MAX_BATCH, len(self._queue))):
                self._perform(batch, *self._queue.popleft())
            batch.seal(self._generation + 1)
        except Exception as error:
            self._failed(batch, error)
            self._next()
            return
        if batch.dirty:
            self._jobs.put(batch)
            return
        connection.execute("ROLLBACK")
        if self._database.wal_is_old():
            self._jobs.put(batch)
        else:
            self._committed_then_next(batch)

    def _perform(
        self, batch: Batch, act: Callable[[Batch], Any], future: "asyncio.Future[Any]", after_scrub: bool
    ) -> None:
        batch.done.append((future, None, Refusal(Problem.UNAVAILABLE)))  # until the act has ended
        try:
            result, refusal = act(batch), None
        except Refusal as error:
            result, refusal = None, error
        if after_scrub and refusal is None:
            batch.done.pop()
            batch.late.append((future, result))
        else:
            batch.done[-1] = (future, result, refusal)

    def _commit_forever(self) -> None:
        """The committing thread: waits for the disk, so that the event loop need not."""
        connection = raw(self._database.write)
        while (batch := self._jobs.get()) is not None:
            try:
                if batch.dirty:
                    connection.execute("COMMIT")
            except Exception as error:
                self._loop.call_soon_threadsafe(self._failed, batch, error)
                self._loop.call_soon_threadsafe(self._next)
                continue
            scrub, old = batch.scrub or self._scrub_due, self._database.wal_is_old()
            if scrub or old or self._database.wal_is_full():
                self._loop.call_soon_threadsafe(self._committed, batch)
                self._checkpoint(scrub, old=old)
                self._loop.call_soon_threadsafe(self._scrubbed, batch)
            else:
                self._loop.call_soon_threadsafe(self._committed_then_next, batch)

    def _checkpoint(self, scrub: bool, *, old: bool = False) -> None:
        """`scrub`: nothing is written before the log is empty. `old`: nobody waits, the next batch tries again."""
        try:
            emptied = self._database.checkpoint(truncate=scrub or old, patient=scrub or not old)
            self._scrub_due = not emptied and scrub
        except Exception as error:  # whatever it is: without this thread nothing is acknowledged any more
            if not self._scrub_due:  # it is tried again many times a second
                _log.error("checkpoint failed: %s", type(error).__name__)
            self._scrub_due = scrub

    def _committed_then_next(self, batch: Batch) -> None:
        self._committed(batch)
        self._scrubbed(batch)

    def _committed(self, batch: Batch) -> None:
        if batch.dirty:
            self._generation += 1
            try:
                self._database.note(self._generation)
            except OSError as error:  # it may lag, and what was committed must be answered
                _log.error("the count outside backups was not written: %s", type(error).__name__)
            self._places.committed()
            try:
                batch.publish()
            except Exception as error:
                self._give_up(batch, error)
        for future, result, refusal in batch.done:
            if future.done():  # the client went away
                continue
            if refusal is None:
                future.set_result(result)
            else:
                future.set_exception(refusal)

    def _give_up(self, batch: Batch, error: Exception) -> None:
        self._closed = True
        self._refuse_waiting()
        self._refuse(batch)
        self.breakage.found(error)

    def _refuse(self, batch: Batch) -> None:
        refuse([one[0] for one in batch.done] + [one[0] for one in batch.late])

    def _scrubbed(self, batch: Batch) -> None:
        if self._scrub_due:
            # A reader holds the log, or the disk is full. Nothing else is written until its frames are gone.
            self._since = self._since or time.monotonic()
            if time.monotonic() - self._since > LOCK_PATIENCE:
                self._refuse_waiting()
            self._loop.call_later(SCRUB_PAUSE, self._scrub_again, batch)
            return
        self._since = None
        for future, result in batch.late:
            if not future.done():
                future.set_result(result)
        self._next()

    def _scrub_again(self, batch: Batch) -> None:
        def work() -> None:
            self._checkpoint(True)
            self._loop.call_soon_threadsafe(self._scrubbed, batch)

        threading.Thread(target=work, name="scrub", daemon=True).start()

    def _failed(self, batch: Batch, error: Exception) -> None:
        connection = raw(self._database.write)
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        self._places.rolled_back()
        _log.error("a batch was not stored: %s", type(error).__name__)
        self._refuse(batch)

    def _refuse_queue(self) -> None:
        self._refuse_waiting()
        self._next()

    def _refuse_waiting(self) -> None:
        refuse(future for _act, future, _late in self._queue)
        self._queue.clear()

    def _next(self) -> None:
        if self._queue:
            self._loop.call_soon(self._run)
        else:
            self._busy = False
            self._idle.set()
