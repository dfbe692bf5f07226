"""The operator's grants: 32 random bytes, shown once, stored as a hash, good for one channel."""

import hashlib
import secrets
import time
from pathlib import Path

from sqlalchemy import Connection, insert, inspect

from pourparler_policies.limits import DAY, TOKEN_BYTES

from .database import DataError, connect, migrate, open_directory
from .settings import Settings
from .tables import GRANT


def issue(data: Path, number: int = 1, days: float | None = None) -> list[bytes]:
    """Store `number` new grants, beside a running service or without one. Raises DataError.

    It holds the database's lock for one small commit, and takes no checkpoint: that is the service's.
    """
    connection = connect(open_directory(data))
    try:
        migrate(connection)
        return _store(connection, "BEGIN IMMEDIATE", number, days)
    finally:
        connection.close()


def issue_by(settings: Settings, number: int = 1, days: float | None = None) -> list[bytes]:
    """The same for a service with these settings. Raises DataError."""
    if settings.database_url is None:
        if settings.data is None:
            raise DataError("There is no data directory.")
        return issue(settings.data, number, days)
    from .postgres.engine import FAULTS, engine, told  # noqa: PLC0415 - its driver is an extra

    made = engine(settings.database_url)
    try:
        with made.connect() as connection:
            if not inspect(connection).has_table("grant"):
                raise DataError("There is no service's database yet: start the service once.")
            return _store(connection, "BEGIN", number, days)
    except FAULTS as error:
        raise DataError(told(error)) from None
    finally:
        made.dispose()


def _store(connection: Connection, begin: str, number: int, days: float | None) -> list[bytes]:
    grants = [secrets.token_bytes(TOKEN_BYTES) for _ in range(number)]
    expires_at = None if days is None else int(time.time() + days * DAY)
    connection.exec_driver_sql(begin)
    for grant in grants:
        connection.execute(
            insert(GRANT).values(grant_hash=hashlib.sha256(grant).digest(), expires_at=expires_at, used_mark=None)
        )
    connection.exec_driver_sql("COMMIT")
    return grants
