"""What lies outside the database: key halves, which end with their token; storage keys; files, which end with a row.

The database is first: an act deletes the row, and when that is durable what belongs to it is destroyed here. What
a crash leaves between the two, the next start destroys.
"""

import asyncio

from sqlalchemy import Connection, select

from .attachments import AttachmentFiles, Attachments
from .database import OUTSIDE_BACKUPS, Database, DataError
from .halves import FOLDER, HalfStore, Halves, owner
from .lane import FAULTS
from .storagekeys import OWNER, StorageKeys
from .tables import CHANNEL, DEVICE


class Outside:
    """All of it."""

    def __init__(self, database: Database) -> None:
        """Open them, and destroy what the database no longer knows. Raises DataError."""
        data = database.path.parent
        try:
            store = HalfStore(data / OUTSIDE_BACKUPS / FOLDER)
            database.keep_halves(store.id)
            store.destroy_strangers([OWNER, *_owners(database.write)])
            halves = Halves(store)
            self.keys = StorageKeys(store, halves)
            files = AttachmentFiles(data, database.path, self.keys)
            files.wipe_strangers()
        except FAULTS as error:
            fault = type(error).__name__
            raise DataError(f"The key halves or attachments in {data} cannot be used: {fault}.") from error
        self.halves, self.attachments = halves, Attachments(files)

    async def settled(self) -> None:
        """What was to be destroyed is in no file."""
        await asyncio.gather(self.halves.settled(), self.attachments.settled())

    async def heed(self) -> None:
        """Before anything is destroyed by the clock: here there is no other to compare it with."""

    async def purge(self, now: float) -> None:
        """Destroy the halves that are due, and whatever could not be destroyed when it was. Raises Refusal."""
        self.attachments.try_again()
        await self.halves.purge(now)
        await self.keys.purge(now)

    def close(self) -> None:
        """Finish, and close."""
        self.halves.close()
        self.attachments.close()


def _owners(connection: Connection) -> list[bytes]:
    living = select(CHANNEL.c.channel, DEVICE.c.token_hash).join(DEVICE, DEVICE.c.channel_key == CHANNEL.c.key)
    return [owner(channel, token_hash) for channel, token_hash in connection.execute(living)]
