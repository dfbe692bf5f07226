"""The embedded database: one directory, one process, and nothing deleted that can still be read.

- The directory belongs to one service process (an advisory lock); `pourparler grant` may add grants beside it.
- One connection writes. It also takes every checkpoint, so no two connections ever checkpoint or write at once
  (SQLite before 3.51.3 can lose a WAL reset when they do).
- `synchronous=FULL`: a commit that returned survives a power cut. `secure_delete=ON`: freed bytes are overwritten.
- A number that counts commits stands in the database and in a file which backups leave out. A database that is
  behind the file was restored: it gets a new incarnation before anything is served (DESIGN 4.1, #12).
"""

import contextlib
import fcntl
import os
import secrets
import sqlite3
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from .tables import INSTANCE

FILE: Final = "pourparler.sqlite3"
OUTSIDE_BACKUPS: Final = "outside-backups"
# The tag that backup programs know (tar --exclude-caches, borg, restic): https://bford.info/cachedir/
CACHEDIR_TAG: Final = b"Signature: 8a477f597d28d172789f06886806bc55\n# Leave this folder out of backups.\n"
WAL_SOFT_LIMIT: Final = 8 * 1024 * 1024  # bytes of WAL after which a checkpoint is due: it stays in the page cache
# Seconds: frames of one commit lie together and show which rows changed together, so which device sent which entry.
WAL_LIFE: Final = 10.0
PAGE: Final = 8192  # bytes: seven small entries fill one, where 4096 would waste a quarter on three
MIGRATIONS: Final = Path(__file__).parent / "migrations"
BUSY: Final = 10_000  # milliseconds to wait for `pourparler grant`, which holds the lock for one insert

_PRAGMAS: Final = (
    f"PRAGMA page_size={PAGE}",  # of a new database
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA secure_delete=ON",
    "PRAGMA foreign_keys=ON",
    "PRAGMA trusted_schema=OFF",
    "PRAGMA temp_store=MEMORY",  # nothing of a sort or a rollback outside the two files
    "PRAGMA wal_autocheckpoint=0",
    f"PRAGMA busy_timeout={BUSY}",
    "PRAGMA cache_size=-65536",  # KiB: the indexes of some ten million entries' hot ends
)


class DataError(RuntimeError):
    """The data directory cannot be used; the message says why in one sentence."""


def _engine(path: Path, *, read_only: bool) -> Engine:
    # The driver is in autocommit mode: transactions are opened and closed by hand, where one can see it.
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args={"check_same_thread": False, "cached_statements": 256},
    )

    @event.listens_for(engine, "connect")
    def _configure(raw: sqlite3.Connection, _record: object) -> None:
        for pragma in (*_PRAGMAS, *(("PRAGMA query_only=ON",) if read_only else ())):
            raw.execute(pragma)

    return engine


def open_directory(data: Path) -> Path:
    """Make the directory when it is missing, for this user alone. Returns the path of the database file."""
    os.umask(0o077)
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        (data / OUTSIDE_BACKUPS).mkdir(mode=0o700, exist_ok=True)
        tag = data / OUTSIDE_BACKUPS / "CACHEDIR.TAG"
        if not tag.exists():
            tag.write_bytes(CACHEDIR_TAG)
    except OSError as error:
        raise DataError(f"The data directory {data} cannot be used: {error.strerror}.") from None
    return data / FILE


def sync_folder(folder: Path) -> None:
    """Make a folder's entries durable: what was made in it, and what was taken out."""
    entries = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(entries)
    finally:
        os.close(entries)


def connect(path: Path, *, read_only: bool = False) -> Connection:
    """A configured connection in autocommit mode. Raises DataError."""
    try:
        return _engine(path, read_only=read_only).connect()
    except Exception as error:
        raise DataError(f"The database {path} cannot be opened: {type(error).__name__}.") from error


def raw(connection: Connection) -> sqlite3.Connection:
    """The driver's connection, for the hot path."""
    found = connection.connection.driver_connection
    if not isinstance(found, sqlite3.Connection):
        raise TypeError("not SQLite")
    return found


def migrate(connection: Connection, to: str = "head") -> None:
    """Bring the tables to this version's form, in one transaction; tests name an older one. Raises DataError."""
    known = {one.name[:4] for one in (MIGRATIONS / "versions").glob("[0-9]*.py")}
    found = _version(connection)
    if found == max(known):
        return
    if found is not None and found not in known:
        raise DataError(
            f"These data are of a newer version of the service (form {found}): install that one again."
        )
    from alembic import command  # noqa: PLC0415 - a second that most starts need not wait
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.dialect.name == "sqlite" else "BEGIN")
    try:
        command.upgrade(config, to)
        connection.exec_driver_sql("COMMIT")
    except BaseException:
        with contextlib.suppress(SQLAlchemyError):  # there is nothing to take back, or nobody to ask
            connection.exec_driver_sql("ROLLBACK")
        raise


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


class DirectoryLock:
    """Held by the one service process of a data directory. Raises DataError when another holds it.

    What lies outside backups may be a volume of its own: so the directory is locked, and a file there.
    """

    def __init__(self, data: Path) -> None:
        self._held: list[int] = []
        try:
            for place, how in (
                (data, os.O_RDONLY | os.O_DIRECTORY),
                (data / OUTSIDE_BACKUPS / "lock", os.O_CREAT | os.O_RDWR),
            ):
                self._held.append(os.open(place, how | os.O_CLOEXEC, 0o600))
                fcntl.flock(self._held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise DataError(f"Another service process uses the data directory {data}.") from None
        except OSError as error:
            self.release()
            raise DataError(f"The data directory {data} cannot be locked: {error.strerror}.") from None

    def release(self) -> None:
        """Let the next process in."""
        while self._held:
            os.close(self._held.pop())


class Database:
    """The open database of one service process: one writing connection, readers on demand."""

    _emptied = float("-inf")  # when no frame of the WAL was left, by `time.monotonic`

    def __init__(self, data: Path, *, restored: bool = False) -> None:
        self.path = open_directory(data)
        self._lock = DirectoryLock(data)
        try:
            self.write = connect(self.path)
            migrate(self.write)
            self.wal = Path(f"{self.path}-wal")
            self._room = WAL_SOFT_LIMIT
            self._mark = os.open(
                data / OUTSIDE_BACKUPS / "generation", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600
            )
            self.restored, self.incarnation, self.generation = self._begin(restored)
        except BaseException:
            self._lock.release()
            raise

    def _begin(self, restored: bool) -> tuple[bool, bytes, int]:
        """Find out whether this database went back in time, and count this start."""
        noted = os.pread(self._mark, 8, 0)
        raw(self.write).execute("BEGIN IMMEDIATE")
        row = self.write.execute(select(INSTANCE.c.incarnation, INSTANCE.c.generation)).one_or_none()
        if row is None:
            incarnation, generation, restored = secrets.token_bytes(16), 1, False
            self.write.execute(insert(INSTANCE).values(key=1, incarnation=incarnation, generation=generation))
        else:
            incarnation, generation = row.incarnation, row.generation + 1
            if len(noted) != 8 or row.generation < int.from_bytes(noted, "big"):
                restored = True
            if restored:
                incarnation = secrets.token_bytes(16)
                generation = max(generation, int.from_bytes(noted, "big") + 1)
            self.write.execute(update(INSTANCE).values(incarnation=incarnation, generation=generation))
        raw(self.write).execute("COMMIT")
        self.note(generation)
        os.fsync(self._mark)
        return restored, incarnation, generation

    def keep_halves(self, store: bytes) -> None:
        """Note which store of key halves goes with this database; the id has 16 bytes.

        If another did, that one is lost, and with it what devices stored under it: a new incarnation says so.
        """
        noted = self.write.execute(select(INSTANCE.c.halves)).scalar_one()
        if noted == store:
            return
        if noted is not None:
            self.incarnation, self.restored = secrets.token_bytes(16), True
        self.generation += 1
        raw(self.write).execute("BEGIN IMMEDIATE")
        self.write.execute(
            update(INSTANCE).values(halves=store, incarnation=self.incarnation, generation=self.generation)
        )
        raw(self.write).execute("COMMIT")
        self.note(self.generation)

    def note(self, generation: int) -> None:
        """Remember, outside the database, that this commit is durable. It may lag, never lead."""
        os.pwrite(self._mark, generation.to_bytes(8, "big"), 0)

    def checkpoint(self, *, truncate: bool, patient: bool = True) -> bool:
        """Move the WAL into the database; with `truncate`, leave no frame of it. False when a reader was there."""
        row = self._checkpoint("TRUNCATE" if truncate else "PASSIVE", patient=patient)
        if not truncate and self._wal_size() > 2 * WAL_SOFT_LIMIT and row is not None and row[1] == row[2]:
            row = self._checkpoint("TRUNCATE")  # a reader had made it long, and has gone
        self._room = max(WAL_SOFT_LIMIT, self._wal_size())
        # Seldom there was no row: then nothing is known, and it is done again.
        return row is not None and not row[0]

    def _checkpoint(self, mode: str, *, patient: bool = True) -> tuple[int, int, int] | None:
        connection = raw(self.write)
        connection.execute(f"PRAGMA busy_timeout={BUSY if patient else 0}")  # for readers
        try:
            found: tuple[int, int, int] | None = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        finally:
            connection.execute("PRAGMA busy_timeout=0")
        if mode == "TRUNCATE" and found is not None and not found[0]:
            self._emptied = time.monotonic()
        return found

    def wal_is_full(self) -> bool:
        """Whether a checkpoint is due. After one the file stays as long as it was, and is written over from its
        beginning, which costs half of what growing costs: so it is full again when it grows beyond that.
        """
        return self._wal_size() > self._room

    def _wal_size(self) -> int:
        try:
            return self.wal.stat().st_size
        except FileNotFoundError:
            return 0

    def wal_is_old(self) -> bool:
        """Whether frames may have lain in it for longer than WAL_LIFE."""
        return time.monotonic() - self._emptied > WAL_LIFE and self._wal_size() > 0

    def close(self) -> None:
        """Checkpoint, close, let go of the directory."""
        self.checkpoint(truncate=True)
        self.write.close()
        os.close(self._mark)
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
