"""The parts of the service over SQLite, in one directory and one process, put together as `app` asks for them."""

from collections.abc import Coroutine
from typing import Any

from sqlalchemy import Connection

from . import acts
from .board import Board
from .casestore import open_cases
from .database import Database, DataError, connect
from .desk import Desk
from .outside import Outside
from .pages import Pages
from .settings import Settings
from .state import Registry
from .tally import Tallies, open_tallies
from .writer import Writer


class EmbeddedParts:
    """Everything, over one data directory."""

    def __init__(self, settings: Settings) -> None:
        """Open the directory. Raises DataError."""
        if settings.data is None:
            raise DataError("The service needs a data directory, or the addresses of its databases.")
        self.database = Database(settings.data, restored=settings.restored)
        self.outside = Outside(self.database)
        cases, counting = open_cases(self.database), open_tallies(self.database)
        self.incarnation = self.database.incarnation
        self._reader = connect(self.database.path, read_only=True)
        self.pages = Pages(self.database.path, self.outside.keys)
        self.writer = Writer(self.database, self.outside, settings.clock)
        self.registry = Registry(self._reader)
        self.desk, self.board = Desk(settings, cases, self.writer), Board(self.database.path)
        self.tallies = Tallies(settings, counting)

    @property
    def connection(self) -> Connection:
        """For what is read before anything is served."""
        return self.database.write

    def background(self) -> list[Coroutine[Any, Any, None]]:
        """What runs beside the service: nothing more than for any engine."""
        return []

    def answers(self) -> bool:
        """Whether the database can be asked: its files are this process's own."""
        return True

    async def erase_lost(self) -> None:
        """Delete what a restore brought back and nobody can open."""
        while self.database.restored and await self.writer.submit(acts.erase_lost(), after_scrub=True):
            pass

    async def close(self) -> None:
        """Finish, and let go."""
        await self.writer.close()
        self.desk.close()
        self.tallies.close()
        self.board.close()
        self.outside.close()
        self.pages.close()
        self._reader.close()
        self.database.close()
