"""Key halves and storage keys in a database of their own, which no backup reaches (docs/decisions/0026).

The rules are those of `halves` and `storagekeys`; what differs is where the bytes lie. They are in logged tables, for
a server that forgets them when it crashes would lose every word that was acknowledged; so they pass through its log,
and what is destroyed may lie in freed blocks until they are used again. That is why this database belongs on a server
of its own, without backups, archive or replicas, on an encrypted disk: `pourparler serve --check` looks.

Halves lie in partitions of a day of their ends. One whose end has come is deleted at once and never given out again;
its partition is dropped when its day is over.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pourparler_policies import hours
from pourparler_policies.limits import DAY, HALF_BYTES
from pourparler_policies.wire import Problem

from ..database import DataError
from ..halves import owner
from ..problems import Refusal
from ..storagekeys import MOST, OWNER, StorageKeys
from .engine import FAULTS, STARTING, Links, driver, engine, retried, told

T = TypeVar("T")

VERSION: Final = 1
_TABLES: Final = (
    "CREATE TABLE store (version integer NOT NULL, id bytea NOT NULL, mark bigint NOT NULL,"
    " generation bigint NOT NULL)",
    'CREATE TABLE half (owner bytea NOT NULL, "end" bigint NOT NULL, half bytea NOT NULL, PRIMARY KEY (owner, "end"))'
    ' PARTITION BY RANGE ("end")',
    'CREATE INDEX half_end ON half ("end")',
    "CREATE TABLE living (name bytea PRIMARY KEY, forget_at bigint NOT NULL, fixed bytea NOT NULL,"
    " state bytea NOT NULL, reply bytea NOT NULL, due_at bigint NOT NULL, publishing boolean NOT NULL DEFAULT false)",
    # Never compressed: a size would tell how much of it is zeros, so how many have deposited.
    "ALTER TABLE living ALTER fixed SET STORAGE EXTERNAL, ALTER state SET STORAGE EXTERNAL,"
    " ALTER reply SET STORAGE EXTERNAL",
    "CREATE TABLE ended (name bytea PRIMARY KEY, forget_at bigint NOT NULL, reply bytea NOT NULL)",
    "CREATE TABLE tallying (LIKE living INCLUDING ALL)",
    "CREATE TABLE tallied (LIKE ended INCLUDING ALL)",
    "CREATE TABLE posted (name bytea NOT NULL, part integer NOT NULL, published_at bigint NOT NULL,"
    " note bytea NOT NULL, number bigserial, PRIMARY KEY (name, part))",
)
_INSERT: Final = (
    "INSERT INTO half SELECT %b::bytea, * FROM unnest(%b::bigint[], %b::bytea[]) ON CONFLICT DO NOTHING"
)
_SELECT: Final = 'SELECT "end", half FROM half WHERE owner = %s AND "end" = ANY(%s) ORDER BY "end"'
_CLOCK: Final = "SELECT extract(epoch FROM clock_timestamp())"
_MARK: Final = "UPDATE store SET mark = greatest(mark, %s) RETURNING mark"
_log: Final = logging.getLogger("pourparler.service")


class Apart:
    """The database outside backups: its tables, and what it remembers of the other one."""

    def __init__(self, url: str) -> None:
        """Connect, and make the tables where there are none. Raises DataError."""
        self.engine = engine(url)
        self.links = Links(self.engine)
        self._days: set[int] = set()
        try:
            connection = self.links.get()
            raw = driver(connection)
            if raw.execute("SELECT to_regclass('channel')").fetchone() != (None,):
                raise DataError("What must be in no backup needs a database of its own, not the service's.")
            connection.exec_driver_sql(f"SELECT pg_advisory_lock({STARTING})")
            if raw.execute("SELECT to_regclass('store')").fetchone() == (None,):
                with self.links.transaction():
                    for statement in _TABLES:
                        raw.execute(statement)
                    raw.execute("INSERT INTO store VALUES (%s, %s, 0, 0)", (VERSION, secrets.token_bytes(16)))
            row: Any = raw.execute("SELECT version, id, mark FROM store").fetchone()
            version: int = row[0]
            self.id: bytes = row[1]
            self.mark: int = row[2]
            connection.exec_driver_sql(f"SELECT pg_advisory_unlock({STARTING})")
        except FAULTS as error:
            raise DataError(told(error)) from None
        if version != VERSION:
            raise DataError("The database outside backups belongs to another version of the service.")

    def note(self, generation: int) -> int:
        """Remember how far the other database has come; returns the most that is known."""
        with self.links.transaction() as connection:
            row = (
                driver(connection)
                .execute(
                    "UPDATE store SET generation = greatest(generation, %s) RETURNING generation", (generation,)
                )
                .fetchone()
            )
        return int(row[0]) if row else 0

    def seen(self) -> int:
        """How far the other database had come, by all processes."""
        row = driver(self.links.get()).execute("SELECT generation FROM store").fetchone()
        return int(row[0]) if row else 0

    def compare(self, clock: Callable[[], float], skew: float) -> None:
        """Raise DataError when this host's clock and the database's differ by more than `skew` seconds."""
        before = clock()
        row: Any = driver(self.links.get()).execute(_CLOCK).fetchone()
        differ = max(before - float(row[0]), float(row[0]) - clock())
        if differ > skew:
            raise DataError(
                f"The clocks of this host and of its database outside backups differ by {differ:.0f} seconds, and what"
                " still lives would be destroyed. Set the wrong one right, then start the service again."
            )

    def ask(self, whose: bytes, ends: Sequence[int], now: float, most: int) -> list[bytes]:
        """As `halves.HalfStore.ask`."""
        return retried(self.links, lambda: self._ask(whose, ends, now, most))

    def _ask(self, whose: bytes, ends: Sequence[int], now: float, most: int) -> list[bytes]:
        raw = driver(self.links.get())
        found = dict(raw.execute(_SELECT, (whose, list(ends))).fetchall())
        self.mark = max(self.mark, (raw.execute("SELECT mark FROM store").fetchone() or (0,))[0])
        living = [end for end in ends if end > max(now, self.mark)]
        missing = [end for end in living if end not in found]
        if missing:
            for day in {end // DAY for end in missing} - self._days:
                self._make(day)
            with self.links.transaction() as connection:
                raw = driver(connection)
                row = raw.execute("SELECT count(*) FROM half WHERE owner = %s", (whose,)).fetchone()
                if row is not None and row[0] + len(missing) > most:
                    raise Refusal(Problem.OVER_CAP, f"A device has at most {most} key halves at a time here.")
                # The mark's row orders this behind or before every destruction.
                self.mark = (raw.execute(_MARK, (int(now),)).fetchone() or (0,))[0]
                living = [end for end in ends if end > max(now, self.mark)]
                missing = [end for end in missing if end in set(living)]
                raw.execute(_INSERT, (whose, missing, [secrets.token_bytes(HALF_BYTES) for _ in missing]))
                found = dict(raw.execute(_SELECT, (whose, living)).fetchall())
        if any(end not in found for end in living):
            raise OSError("a half was destroyed meanwhile")
        return [found[end] for end in living]

    def _make(self, day: int) -> None:
        with self.links.transaction() as connection:
            raw = driver(connection)
            raw.execute("SELECT pg_advisory_xact_lock(%s)", (STARTING + 1 + day,))
            if raw.execute("SELECT to_regclass(%s)", (f"half_{day}",)).fetchone() == (None,):
                raw.execute(f"CREATE TABLE half_{day} (LIKE half INCLUDING INDEXES)")
                raw.execute(
                    f"ALTER TABLE half ATTACH PARTITION half_{day} FOR VALUES FROM ({day * DAY}) TO ({(day + 1) * DAY})"
                )
        self._days.add(day)

    def find(self, whose: bytes, ends: Iterable[int]) -> dict[int, bytes]:
        """Those that are there and not over."""
        rows = retried(
            self.links, lambda: driver(self.links.get()).execute(_SELECT, (whose, list(ends))).fetchall()
        )
        return {end: half for end, half in rows if end > self.mark}

    def all_of(self, whose: bytes) -> dict[int, bytes]:
        """All of an owner that are not over."""
        raw = driver(self.links.get())
        rows = raw.execute('SELECT "end", half FROM half WHERE owner = %s AND "end" > %s', (whose, self.mark))
        return dict(rows.fetchall())

    def destroy_of(self, owners: Iterable[bytes]) -> None:
        """Destroy all halves of these owners."""
        gone = list(owners)
        retried(
            self.links, lambda: driver(self.links.get()).execute("DELETE FROM half WHERE owner = ANY(%s)", (gone,))
        )

    def destroy_strangers(self, living: Callable[[], Iterable[bytes]]) -> None:
        """Destroy all halves of everybody whom `living` does not name.

        Whose halves there are is read before it is asked who lives: another process may seat somebody meanwhile.
        """
        found = driver(self.links.get()).execute("SELECT DISTINCT owner FROM half").fetchall()
        self.destroy_of({whose for (whose,) in found} - set(living()))

    def destroy_ended(self, now: float) -> None:
        """Destroy every half whose end has come, and drop the days that are over."""

        def work() -> None:
            with self.links.transaction() as connection:
                raw = driver(connection)
                self.mark = (raw.execute(_MARK, (int(now),)).fetchone() or (0,))[0]
                raw.execute('DELETE FROM half WHERE "end" <= %s', (self.mark,))
            names = raw.execute(
                "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'half'::regclass"
            ).fetchall()
            for (name,) in names:
                day = int(name.rpartition("_")[2])
                if (day + 1) * DAY <= self.mark:
                    self._days.discard(day)
                    with self.links.transaction() as connection:
                        driver(connection).execute(f"DROP TABLE IF EXISTS {name}")

        retried(self.links, work)

    def close(self) -> None:
        """Let go."""
        self.links.close()
        self.engine.dispose()


class SharedHalves:
    """What `halves.Halves` is for one directory; called from the event loop."""

    def __init__(self, apart: Apart) -> None:
        self._apart = apart
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="key halves")
        self._forgotten: set[bytes] = set()
        self._forgetting: set[asyncio.Future[None]] = set()

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """`work` on a thread with a connection. A fault is logged by its kind, and refused."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)
        except FAULTS as error:
            _log.error("key halves failed: %s", type(error).__name__)
            raise Refusal(Problem.UNAVAILABLE) from None

    async def ask(self, whose: bytes, ends: Sequence[int], now: float, most: int) -> list[bytes]:
        """As `halves.HalfStore.ask`. Raises Refusal."""
        return await self.run(self._apart.ask, whose, ends, now, most)

    def forget(self, owners: Iterable[bytes]) -> None:
        """The tokens of these owners have ended: destroy."""
        self._forgotten |= set(owners)
        running = asyncio.ensure_future(self._forget())
        self._forgetting.add(running)
        running.add_done_callback(self._forgetting.discard)

    async def _forget(self) -> None:
        gone = set(self._forgotten)
        if gone:
            try:
                await self.run(self._apart.destroy_of, gone)
            except Refusal:
                return  # at the next purge again
            self._forgotten -= gone

    async def settled(self) -> None:
        """What was to be destroyed is."""
        await asyncio.gather(*self._forgetting, return_exceptions=True)

    async def purge(self, now: float) -> None:
        """Destroy what has ended, and what could not be destroyed when it should have been. Raises Refusal."""
        await self.run(self._apart.destroy_ended, now)
        await self._forget()

    def close(self) -> None:
        """Finish."""
        self._pool.shutdown()


class SharedKeys(StorageKeys):
    """Storage keys that other processes make as well."""

    def __init__(self, apart: Apart, halves: SharedHalves) -> None:
        self._apart, self._asks = apart, halves
        self._keys = {end: AESGCM(half) for end, half in apart.all_of(OWNER).items()}

    def end(self, expires_at: int, life: int) -> int:
        """As `StorageKeys.end`."""
        return hours.end(max(expires_at, self._apart.mark + 1), life)

    async def make(self, end: int, now: float) -> None:
        """As `StorageKeys.make`."""
        for half in await self._asks.ask(OWNER, [end], now, MOST):
            self._keys.setdefault(end, AESGCM(half))

    def fetch(self, ends: Iterable[int]) -> None:
        """Have the keys of these ends, where they are not over. On a thread; raises one of `engine.FAULTS`."""
        missing = [end for end in ends if end not in self._keys]
        if missing:
            for end, half in self._apart.find(OWNER, missing).items():
                self._keys.setdefault(end, AESGCM(half))

    async def purge(self, now: float) -> None:
        """As `StorageKeys.purge`."""
        over = max(now, self._apart.mark)
        for end in [end for end in list(self._keys) if end <= over]:
            del self._keys[end]


def owners(rows: Iterable[Any]) -> list[bytes]:
    """Of (channel, hash of a token)."""
    return [OWNER, *(owner(channel, token_hash) for channel, token_hash in rows)]
