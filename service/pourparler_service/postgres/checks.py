"""What is wrong with two databases, in sentences."""

from collections.abc import Callable
from typing import Any

import psycopg

from ..database import DataError
from .engine import FAULTS, OLDEST, driver, engine, told

_NUMBERS = (
    "SELECT current_setting('server_version_num')::int, current_setting('fsync'), current_setting('full_page_writes'),"
    " current_setting('synchronous_commit'), current_setting('archive_mode'), extract(epoch FROM clock_timestamp()),"
    " has_schema_privilege(current_schema(), 'CREATE'), current_database(), current_setting('wal_recycle')"
)

# Settings by which PostgreSQL writes down, with the moment, what people do; and their harmless value.
_TELLING = {
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_duration": "off",
    "log_transaction_sample_rate": "0",
    "log_parameter_max_length_on_error": "0",
    "track_commit_timestamp": "off",
}


def shared(url: str, outside: str, clock: Callable[[], float], skew: float) -> list[str]:
    """Of the database that is backed up, and of the one that must not be."""
    found: list[str] = []
    clusters = [_one(url, "The database", found, clock, skew, apart=False)]
    clusters.append(_one(outside, "The database outside backups", found, clock, skew, apart=True))
    if clusters[0] is not None and clusters[0][:1] == (clusters[1] or ())[:1]:
        if clusters[0] == clusters[1]:
            found.append("Both addresses name the same database: what must be in no backup needs one of its own.")
        else:
            found.append(
                "Both databases are on one server, so a copy of the server's files, its log or a replica has both:"
                " put the one outside backups on a server of its own, or back up with pg_dump only."
            )
    return found


def _one(
    url: str, name: str, found: list[str], clock: Callable[[], float], skew: float, *, apart: bool
) -> tuple[Any, str] | None:
    """The cluster's number and the database's name."""
    try:
        made = engine(url)
    except DataError as error:
        found.append(f"{name}: {error}")
        return None
    try:
        with made.connect() as connection:
            raw = driver(connection)
            row: Any = raw.execute(_NUMBERS).fetchone()
            version, fsync, pages, commits, archive, now, may, database, recycle = row
            if version < OLDEST:
                found.append(f"{name} needs PostgreSQL 14 or newer.")
            if fsync != "on" or pages != "on":
                found.append(
                    f"{name} does not wait for its disk (fsync, full_page_writes): nothing would be durable."
                )
            if commits in ("off", "local"):
                found.append(f"{name} has synchronous_commit = {commits}; the service asks for more by itself.")
            if abs(float(now) - clock()) > skew:
                found.append(f"{name}'s clock and this host's differ by {abs(float(now) - clock()):.0f} seconds.")
            if not may:
                found.append(f"{name}: this user may not make tables there.")
            for setting, harmless in _TELLING.items():
                value = raw.execute("SELECT current_setting(%s)", (setting,)).fetchone()
                if value and value[0] != harmless:
                    told_by = f"{setting} = {value[0]}"
                    found.append(f"{name} notes who did what when ({told_by}): set {setting} = {harmless} there.")
            if apart:
                if archive != "off":
                    found.append(f"{name} archives its log: keys would live on in the archive after their end.")
                if recycle != "off":
                    found.append(f"{name} keeps old files of its log for reuse: set wal_recycle = off there.")
                if _count(raw, "pg_stat_replication") or _count(raw, "pg_replication_slots"):
                    found.append(f"{name} has replicas: keys would live on in them.")
            cluster = _cluster(raw)
    except FAULTS as error:
        found.append(f"{name}: {told(error)}")
        return None
    finally:
        made.dispose()
    return cluster, database


def _count(raw: psycopg.Connection[Any], view: str) -> int:
    try:
        row = raw.execute(f"SELECT count(*) FROM {view}").fetchone()  # noqa: S608 - one of two
    except psycopg.Error:
        return 0
    return int(row[0]) if row else 0


def _cluster(raw: psycopg.Connection[Any]) -> Any:
    try:
        row = raw.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
    except psycopg.Error:
        return None
    return row[0] if row else None
