"""Attachments of several processes: chunks are bodies like any other, in partitions by the time of their end.

A shared directory was weighed and left: not every operator has one that keeps its word about what is durable, and who
opens a file late on another host may write what was erased. The row of an attachment is locked while a chunk is stored.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, select

from pourparler_policies.limits import chunk_of
from pourparler_policies.wire import Problem

from ..attachments import Asked, Held, _place
from ..problems import Refusal, unauthorized
from ..tables import ATTACHMENT
from .engine import Links, driver, retried
from .halves import SharedHalves, SharedKeys
from .partitions import Bodies

T = TypeVar("T")

_CHUNK: Final = "SELECT digest, body_key FROM chunk WHERE attachment_key = %s AND number = %s"


class SharedAttachments:
    """What `attachments.Attachments` is for one directory; called from the event loop."""

    def __init__(self, links: Links, halves: SharedHalves, keys: SharedKeys) -> None:
        self._links, self._halves, self._keys = links, halves, keys

    async def _run(self, asked: Asked, job: Callable[[Connection, Any], T], *, lock: bool = False) -> T:
        def work() -> T:
            with self._links.transaction() as connection:
                return job(connection, self._find(connection, asked, lock=lock))

        return await self._halves.run(retried, self._links, work)

    def _find(self, connection: Connection, asked: Asked, *, lock: bool) -> Any:
        found = select(ATTACHMENT).where(
            ATTACHMENT.c.attachment == asked.attachment, ATTACHMENT.c.expires_at > int(asked.now)
        )
        row = connection.execute(found.with_for_update() if lock else found).one_or_none()
        if row is None or not hmac.compare_digest(row.token_hash, hashlib.sha256(asked.token).digest()):
            raise unauthorized()
        self._keys.fetch([row.key_end])
        if row.key_end not in self._keys:  # its key is gone, and so is it
            raise unauthorized()
        return row

    async def state(self, asked: Asked) -> Held:
        """What was received. Raises Refusal."""

        def job(connection: Connection, row: Any) -> Held:
            rows = driver(connection).execute("SELECT number FROM chunk WHERE attachment_key = %s", (row.key,))
            there = {number for (number,) in rows.fetchall()}
            missing = [number for number in range(row.size // chunk_of(row.size)) if number not in there]
            return Held(row.size, missing, row.expires_at)

        return await self._run(asked, job)

    async def write(self, asked: Asked, number: int, chunk: bytes) -> None:
        """Keep a chunk, durably. The same bytes again are harmless. Raises Refusal."""

        def job(connection: Connection, row: Any) -> None:
            _check(row, number)
            if len(chunk) != chunk_of(row.size):
                raise Refusal(Problem.MALFORMED, f"Each chunk of this attachment has {chunk_of(row.size)} bytes.")
            hashed, raw = hashlib.sha256(chunk).digest(), driver(connection)
            known = raw.execute(_CHUNK, (row.key, number)).fetchone()
            if known is not None:
                if known[0] != hashed:
                    raise Refusal(Problem.ID_REUSED, "The chunk was written.")
                return
            bodies = Bodies(self._links, raw, set(), [])
            sealed = self._keys.seal(row.key_end, _place(asked.attachment, number), chunk)
            place = bodies.place(sealed, row.key_end, row.life)
            bodies.flush()
            raw.execute("INSERT INTO chunk VALUES (%s, %s, %s, %s)", (row.key, number, hashed, place))

        await self._run(asked, job, lock=True)

    async def read(self, asked: Asked, number: int) -> bytes:
        """A chunk. Raises Refusal."""

        def job(connection: Connection, row: Any) -> bytes:
            _check(row, number)
            raw = driver(connection)
            known = raw.execute(_CHUNK, (row.key, number)).fetchone()
            body = known and raw.execute("SELECT bytes FROM body WHERE key = %s", (known[1],)).fetchone()
            if body is None:
                raise Refusal(Problem.NOT_FOUND, "This chunk has not been received.")
            chunk = self._keys.open(row.key_end, _place(asked.attachment, number), body[0])
            if chunk is None:
                raise OSError("a chunk does not open")
            return chunk

        return await self._run(asked, job)

    def wipe(self, attachments: Iterable[bytes]) -> None:
        """Their chunks went with their rows."""

    def try_again(self) -> None:
        """Nothing was left over."""

    async def settled(self) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        """The links are closed by who made them."""


def _check(row: Any, number: int) -> None:
    if number >= row.size // chunk_of(row.size):
        raise Refusal(Problem.NOT_FOUND, "The attachment has no such chunk.")
