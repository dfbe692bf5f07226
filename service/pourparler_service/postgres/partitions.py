"""Where sealed bytes lie: in partitions by the time of their end, so that to purge is to drop a table.

A body's key is `partition << 40 | number`: whoever has the key knows the partition. Partitions are an hour wide for
what lives less than a day and a day wide for the rest. What is said is past opening at its own end, for its storage key
goes then (`storagekeys`); its partition goes up to an hour, or a day, later. Who deletes early deletes the row, and
PostgreSQL overwrites it when it pleases: until then it lies there under a key that lives up to the end it had.
"""

from collections.abc import Iterable
from typing import Any, Final

import psycopg

from pourparler_policies.limits import DAY, HOUR

from .engine import Links, driver

BITS: Final = 40  # of a key's number
BLOCK: Final = 1000  # numbers that a process takes at a time: the sequence's step
_LEFT: Final = (  # the least stands at an index's end, however many rows there are
    "SELECT coalesce(least((SELECT min(expires_at) FROM entry), (SELECT min(expires_at) FROM box),"
    " (SELECT min(expires_at) FROM round), (SELECT min(expires_at) FROM attachment)) <= %(over)s, false)"
)
_NUMBERS: Final = "SELECT nextval('place')"
_INSERT: Final = "INSERT INTO body SELECT * FROM unnest(%b::bigint[], %b::bytea[])"


def partition_of(until: int, life: int) -> int:
    """The partition of what ends at `until` (Unix seconds) after `life` seconds."""
    return 2 * (until // HOUR) + 2 if life < DAY else 2 * (until // DAY * 24) + 1


def over_at(partition: int) -> int:
    """When everything in a partition is over, Unix seconds."""
    return partition // 2 * HOUR if partition % 2 == 0 else partition // 2 * HOUR + DAY


class Bodies:
    """The places of one batch; what `places.Places` is for SQLite."""

    def __init__(self, links: Links, raw: psycopg.Connection[Any], known: set[int], numbers: list[int]) -> None:
        """`links` make partitions beside the batch; `known` partitions and free `numbers` outlast it."""
        self._links, self._raw, self._known, self._numbers = links, raw, known, numbers
        self._new: list[tuple[int, bytes]] = []
        self._drawn: Any = None

    def foresee(self, number: int) -> None:
        """So many are coming: ask for numbers in the pipeline under way, if there are too few."""
        if len(self._numbers) < number:
            self._drawn = self._raw.execute(_NUMBERS)

    def place(self, sealed: bytes, until: int, life: int) -> int:
        """A place for `sealed`. Returns its key; the bytes are written by `flush`."""
        if not self._numbers:
            drawn: Any = self._drawn or self._raw.execute(_NUMBERS)
            (first,), self._drawn = drawn.fetchone(), None
            self._numbers.extend(range(first + BLOCK - 1, first - 1, -1))
        key = partition_of(until, life) << BITS | self._numbers.pop()
        self._new.append((key, sealed))
        return key

    def flush(self) -> None:
        """Write what was placed so far."""
        if not self._new:
            return
        for partition in {key >> BITS for key, _ in self._new} - self._known:
            if not there(self._raw, partition):
                make(self._links, partition)
            self._known.add(partition)
        keys, bodies = zip(*self._new, strict=True)
        self._raw.execute(_INSERT, (list(keys), list(bodies)))
        self._new = []

    def erase(self, keys: Iterable[int], *, over: bool) -> None:
        """Delete these; what is over goes with its partition."""
        gone = [key for key in keys if not over or not key >> BITS]
        if gone:
            self._raw.execute("DELETE FROM body WHERE key = ANY(%s)", (gone,))


def there(raw: psycopg.Connection[Any], partition: int) -> bool:
    """Whether this partition has been made."""
    return raw.execute("SELECT to_regclass(%s)", (f"body_{partition}",)).fetchone() != (None,)


def make(links: Links, partition: int) -> None:
    """Make a partition, on a connection of its own, so that it is there whatever becomes of the batch."""
    name, low = f"body_{partition}", partition << BITS
    with links.beside() as connection:
        raw = driver(connection)
        raw.execute("SELECT pg_advisory_xact_lock(%s)", (low,))
        if not there(raw, partition):
            raw.execute(f"CREATE TABLE {name} (LIKE body INCLUDING STORAGE INCLUDING INDEXES)")
            high = low + (1 << BITS)
            raw.execute(f"ALTER TABLE body ATTACH PARTITION {name} FOR VALUES FROM ({low}) TO ({high})")


def drop_over(links: Links, now: float) -> set[int]:
    """Drop every partition that is over. Returns those that are left."""
    found = links.get().exec_driver_sql(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'body'::regclass"
    )
    left = set()
    for name in found.scalars().all():
        partition = int(name.rpartition("_")[2])
        if partition and over_at(partition) <= now and not _wanted(links, over_at(partition)):
            with links.transaction() as connection:
                connection.exec_driver_sql("SET LOCAL lock_timeout = '2s'")  # nobody waits long behind a purge
                connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
        else:
            left.add(partition)
    return left


def _wanted(links: Links, over: int) -> bool:
    """Whether rows of what lies in it are still to be purged: they say how many bytes a channel gets back."""
    row = driver(links.get()).execute(_LEFT, {"over": over}).fetchone()
    return row is None or row[0]
