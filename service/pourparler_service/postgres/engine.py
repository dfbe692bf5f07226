"""Connections to PostgreSQL, and what a process does with a database before it serves from it.

1. A commit that returned is durable: a server that does not wait for its disk is refused.
2. A number that counts changes stands in the database and in the one outside backups. A database that is behind it was
   restored: it gets a new incarnation, and every process that began with another one stops, to be started again.
3. A query that does not come back is given up in time: no process waits for ever for a host that was cut off.
"""

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, insert, make_url, select, update
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from ..database import DataError, migrate
from ..tables import INSTANCE

T = TypeVar("T")

OLDEST: Final = 140_000  # server_version_num: what the statements here were written for
STARTING: Final = 0x706F7572_00000000  # advisory lock: one process at a time migrates and looks for a restore
# Retried: the other side of a deadlock went on, a partition came or went meanwhile, two made the same row.
AGAIN: Final = frozenset({"40P01", "40001", "23505", "23514", "42P01", "55P03"})
FAULTS: Final = (SQLAlchemyError, psycopg.Error, OSError)

WAITS: Final[dict[str, Any]] = {
    "connect_timeout": 5,  # seconds
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
    "application_name": "pourparler",
    "client_encoding": "utf8",  # a server that was set up without a language says SQL_ASCII: texts would come as bytes
}
_SETTINGS: Final = (
    "SET statement_timeout = '30s'",
    "SET lock_timeout = '10s'",
    "SET idle_in_transaction_session_timeout = '60s'",
    "SET client_min_messages = 'error'",
    # Everything that is done often finds its rows by an index. A planner that has counted nothing yet, or few rows,
    # would rather read them all, and compile that.
    "SET enable_seqscan = off",
    "SET jit = off",
    # The operator may ask for more than 'on', not for less.
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') IN ('off', 'local')",
)


def engine(url: str) -> Engine:
    """Connections of one database, in autocommit mode. Raises DataError."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise DataError("The address of the database is no URL like postgresql://user@host/name.") from None
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise DataError("The address of the database begins with postgresql://.")
    made = create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args=WAITS,
    )

    @event.listens_for(made, "connect")
    def _configure(raw: Any, _record: object) -> None:
        for statement in _SETTINGS:
            raw.execute(statement)

    return made


def driver(connection: Connection) -> psycopg.Connection[Any]:
    """The driver's connection, for the hot path."""
    found = connection.connection.driver_connection
    if not isinstance(found, psycopg.Connection):
        raise TypeError("not psycopg")
    return found


def code_of(error: BaseException) -> str | None:
    """PostgreSQL's code of what went wrong."""
    inner = error.orig if isinstance(error, DBAPIError) else error
    return getattr(inner, "sqlstate", None)


class Links:
    """One connection for each thread that asks, made anew when it broke."""

    def __init__(self, made: Engine) -> None:
        self._engine, self._own = made, threading.local()
        self._all: set[Connection] = set()

    def get(self) -> Connection:
        """This thread's connection."""
        found: Connection | None = getattr(self._own, "link", None)
        if found is not None and (found.invalidated or driver(found).closed):
            self.drop()
            found = None
        if found is None:
            found = self._own.link = self._engine.connect()
            self._all.add(found)
        return found

    def drop(self) -> None:
        """Throw this thread's connection away."""
        found: Connection | None = getattr(self._own, "link", None)
        self._own.link = None
        if found is not None:
            self._all.discard(found)
            _shut(found)

    @contextmanager
    def transaction(self, mode: str = "") -> Iterator[Connection]:
        """A transaction on this thread's connection; a fault takes it back, and the connection away."""
        connection = self.get()
        try:
            driver(connection).execute("BEGIN " + mode)
            yield connection
            driver(connection).execute("COMMIT")
        except BaseException as error:
            self.recover(error)
            raise

    @contextmanager
    def beside(self) -> Iterator[Connection]:
        """A transaction on a connection made for it: it lasts, whatever becomes of the one that this thread is in."""
        connection = self._engine.connect()
        try:
            driver(connection).execute("BEGIN")
            yield connection
            driver(connection).execute("COMMIT")
        finally:
            _shut(connection)

    def recover(self, error: BaseException) -> None:
        """After a fault: roll back, or begin with a new connection next time."""
        found: Connection | None = getattr(self._own, "link", None)
        try:
            if found is None or (code_of(error) is None and isinstance(error, FAULTS)):
                raise psycopg.OperationalError
            driver(found).rollback()
        except FAULTS:
            self.drop()

    def close(self) -> None:
        """Close all of them; their threads have ended."""
        for one in self._all:
            _shut(one)
        self._all.clear()


def _shut(connection: Connection) -> None:
    try:
        connection.invalidate()
        connection.close()
    except FAULTS:
        pass


def retried(links: Links, work: Callable[[], T], tries: int = 5) -> T:
    """`work`, again when another process was in its way or the connection had broken. It must bear repetition."""
    for left in reversed(range(tries)):
        try:
            return work()
        except FAULTS as error:
            links.recover(error)
            code = code_of(error)
            if not left or not (code is None or code in AGAIN or code[:2] in ("08", "57")):
                raise
    raise AssertionError


_ANOTHER: Final = (
    "The database outside backups is not the one that belongs to this database: see --outside-backups-url. If that one"
    " is lost, and with it what was said, start the service once with --restored."
)


class Shared:
    """The database as one process found it when it began."""

    def __init__(self, url: str, *, restored: bool) -> None:
        """Connect and bring the tables to this version's form. Raises DataError."""
        self.engine = engine(url)
        self.links = Links(self.engine)
        self.said_restored = restored
        self.restored = restored
        self.incarnation = b""
        self.generation = 0
        try:
            self._recognise()
        except DataError:
            raise
        except FAULTS as error:
            raise DataError(told(error)) from None

    def _recognise(self) -> None:
        connection = self.links.get()
        if driver(connection).info.server_version < OLDEST:
            raise DataError("The service needs PostgreSQL 14 or newer.")
        if connection.exec_driver_sql("SHOW fsync").scalar() != "on":
            raise DataError("This PostgreSQL does not wait for its disk (fsync is off): nothing would be durable.")
        # However long another process, or the change of form, takes; `began` lets this connection go.
        connection.exec_driver_sql("SET statement_timeout = 0")
        connection.exec_driver_sql("SET lock_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({STARTING})")
        migrate(connection)

    def begin(self, store: bytes, noted: int) -> int:
        """Find out whether the database went back in time: `noted` is what the store outside backups remembers, `store`
        its id (16 bytes). Only between `__init__` and `began`. Returns the number to remember now."""
        with self.links.transaction() as connection:
            row = connection.execute(select(INSTANCE)).one_or_none()
            if row is None:
                self.incarnation, self.generation = secrets.token_bytes(16), noted + 1
                fields = {"incarnation": self.incarnation, "generation": self.generation, "halves": store}
                connection.execute(insert(INSTANCE).values(key=1, **fields))
                return self.generation
            if row.halves is not None and row.halves != store and not self.restored:
                raise DataError(_ANOTHER)
            self.restored = self.restored or row.generation < noted
            self.incarnation = secrets.token_bytes(16) if self.restored else row.incarnation
            self.generation = max(row.generation, noted) + 1
            connection.execute(
                update(INSTANCE).values(incarnation=self.incarnation, generation=self.generation, halves=store)
            )
        return self.generation

    def began(self) -> None:
        """Let the next process begin."""
        self.links.drop()

    def count(self) -> int:
        """Count one more change. On any thread."""
        with self.links.transaction() as connection:
            row = connection.execute(
                update(INSTANCE).values(generation=INSTANCE.c.generation + 1).returning(INSTANCE.c.generation)
            ).one()
        return int(row.generation)

    def check(self, noted: int) -> None:
        """Raise DataError when the database went back in time, or another process found that it had."""
        row = self.links.get().execute(select(INSTANCE.c.incarnation, INSTANCE.c.generation)).one()
        if row.incarnation != self.incarnation or row.generation < noted:
            raise DataError("The database was restored meanwhile: this process ends, to be started again.")

    def close(self) -> None:
        """Let go."""
        self.links.close()
        self.engine.dispose()


def told(error: BaseException) -> str:
    """Why a database cannot be used, without its password."""
    inner = error.orig if isinstance(error, DBAPIError) and error.orig else error
    lines = str(inner).strip().splitlines() or [type(inner).__name__]
    return f"PostgreSQL cannot be used: {lines[0].rstrip('.')}."
