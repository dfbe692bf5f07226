"""The operator's grants: 32 random bytes, shown once, stored as a hash, good for one channel, until revoked."""

import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

from sqlalchemy import Connection, delete, insert, select

from pourparler_policies.limits import DAY, TOKEN_BYTES

from .database import DataError, connect, migrate, open_directory
from .settings import Settings
from .tables import GRANT


class Revoked(Enum):
    """What became of a grant that the operator wants to end."""

    ENDED = "This grant opens no channel any more."
    USED = "This grant was used: a channel was made with it, and that stays. Nothing else can be made with it."
    UNKNOWN = "There is no such grant: it was never made here, it was revoked, or it lapsed and was forgotten."


def issue(data: Path, number: int = 1, days: float | None = None) -> list[bytes]:
    """Store `number` new grants, beside a running service or without one. Raises DataError.

    It holds the database's lock for one small commit, and takes no checkpoint: that is the service's.
    """
    return issue_by(Settings(data), number, days)


def issue_by(settings: Settings, number: int = 1, days: float | None = None) -> list[bytes]:
    """The same for a service with these settings. Raises DataError."""
    grants = [secrets.token_bytes(TOKEN_BYTES) for _ in range(number)]
    expires_at = None if days is None else int(time.time() + days * DAY)
    with _transaction(settings) as connection:
        for grant in grants:
            connection.execute(
                insert(GRANT).values(grant_hash=_hash(grant), expires_at=expires_at, used_mark=None)
            )
    return grants


def revoke(settings: Settings, grant: bytes) -> Revoked:
    """End a grant (32 bytes) that may have been stolen. Raises DataError."""
    with _transaction(settings) as connection:
        this = GRANT.c.grant_hash == _hash(grant)
        if connection.execute(delete(GRANT).where(this, GRANT.c.used_mark.is_(None))).rowcount:
            return Revoked.ENDED
        return (
            Revoked.USED if connection.execute(select(GRANT.c.used_mark).where(this)).first() else Revoked.UNKNOWN
        )


def revoke_all(settings: Settings) -> int:
    """End every grant that was not used yet, and say how many they were. Raises DataError."""
    with _transaction(settings) as connection:
        return connection.execute(delete(GRANT).where(GRANT.c.used_mark.is_(None))).rowcount


def _hash(grant: bytes) -> bytes:
    return hashlib.sha256(grant).digest()


@contextmanager
def _transaction(settings: Settings) -> Iterator[Connection]:
    """A small change of the grants, committed when it ends without a fault. Raises DataError."""
    if settings.database_url is not None:
        from .postgres.grants import transaction  # noqa: PLC0415 - its driver is an extra

        with transaction(settings.database_url) as connection:
            yield connection
        return
    if settings.data is None:
        raise DataError("There is no data directory.")
    connection = connect(open_directory(settings.data))
    try:
        migrate(connection)
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection
        connection.exec_driver_sql("COMMIT")
    finally:
        connection.close()
