"""The operator's grants: 32 random bytes, shown once, stored as a hash, good for one channel."""

import hashlib
import secrets
import time
from pathlib import Path

from sqlalchemy import insert

from pourparler_policies.limits import DAY, TOKEN_BYTES

from .database import connect, migrate, open_directory, raw
from .tables import GRANT


def issue(data: Path, number: int = 1, days: float | None = None) -> list[bytes]:
    """Store `number` new grants, beside a running service or without one. Raises DataError.

    It holds the database's lock for one small commit, and takes no checkpoint: that is the service's.
    """
    grants = [secrets.token_bytes(TOKEN_BYTES) for _ in range(number)]
    expires_at = None if days is None else int(time.time() + days * DAY)
    connection = connect(open_directory(data))
    try:
        migrate(connection)
        raw(connection).execute("BEGIN IMMEDIATE")
        for grant in grants:
            connection.execute(
                insert(GRANT).values(
                    grant_hash=hashlib.sha256(grant).digest(), expires_at=expires_at, used_mark=None
                )
            )
        raw(connection).execute("COMMIT")
    finally:
        connection.close()
    return grants
