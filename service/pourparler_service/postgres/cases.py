"""The desk of several processes: one answer for all, because every step of a case is taken under the lock of its row.

Nothing of a case is remembered by a process. What is told lies beside the case as bytes, written when it last changed;
who asks reads those and the time of the next deadline, and nothing that depends on how many deposits there are.

The rows lie in the database outside backups. When a case ends they are deleted and the table is written anew, so that
its file holds nothing of what is gone, before the end is told. A case that this database lost has lapsed, as with one
process (`desk`).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from pourparler_policies import wire
from pourparler_policies.release import desk as table
from pourparler_policies.release.desk import Desk as Phase
from pourparler_policies.release.desk import Held
from pourparler_policies.wire import Problem

from .. import board
from ..casestore import Living, name_of
from ..desk import LAPSED, Desk, LiveCase
from ..problems import Refusal
from ..settings import Settings
from .engine import FAULTS, Links, driver, retried
from .writer import SharedWriter


def due_at(held: Held) -> int:
    """When time alone changes a case next, Unix seconds."""
    return min(at for at in (held.sign_by, held.deposit_by, held.not_before) if table.tick(held, at) is not held)


class SharedCases:
    """The rows. For one thread at a time; what changes one case happens inside `locked`."""

    def __init__(self, links: Links, living: str = "living", ended: str = "ended") -> None:
        """Names of two tables: soundings' tallies have their own."""
        self._links, self._tables = links, (living, ended)
        self.stale = False  # the file holds what must be in it no more

    @property
    def links(self) -> Links:
        """Connections to the database outside backups."""
        return self._links

    def _do(self, statement: str, values: Any = None) -> Any:
        named = statement.replace("living", self._tables[0]).replace("ended", self._tables[1])
        return driver(self._links.get()).execute(named, values)

    @contextmanager
    def locked(self, name: bytes) -> Iterator[tuple[Living, bool] | None]:
        """A case and whether its publication has begun; None when it does not live. Others wait until this is over."""
        with self._links.transaction():
            row = self._do(
                "SELECT name, forget_at, fixed, state, publishing FROM living WHERE name = %s FOR UPDATE", (name,)
            ).fetchone()
            self.stale = False
            yield None if row is None else (Living(*row[:4]), row[4])
            self.scrub()

    def told(self, name: bytes) -> tuple[bytes, int] | None:
        """What is told of a living case, and its next deadline."""
        row: tuple[bytes, int] | None = retried(
            self._links,
            lambda: self._do("SELECT reply, due_at FROM living WHERE name = %s", (name,)).fetchone(),
        )
        return row

    def due(self, now: int) -> list[bytes]:
        """Living cases that time has changed."""
        rows = self._do("SELECT name FROM living WHERE due_at <= %s ORDER BY due_at", (now,)).fetchall()
        return [name for (name,) in rows]

    def living(self) -> list[tuple[bytes, int]]:
        """Name and forget_at of every living case."""
        return list(self._do("SELECT name, forget_at FROM living").fetchall())

    def add(self, case: Living, reply: bytes, due: int, most: int) -> None:
        """A new case, unless it is there. Raises Refusal when there are `most`."""
        with self._links.transaction():
            self._do("LOCK TABLE living IN SHARE ROW EXCLUSIVE MODE")
            if self._do("SELECT count(*) FROM living").fetchone()[0] >= most:
                raise Refusal(Problem.OVER_CAP, "The desk has no room for another case.")
            self._do(
                "INSERT INTO living (name, forget_at, fixed, state, reply, due_at)"
                " SELECT %s, %s, %s, %s, %s, %s WHERE NOT EXISTS (SELECT 1 FROM ended WHERE name = %s)"
                " ON CONFLICT DO NOTHING",
                (*case, reply, due, case.name),
            )

    def rewrite(self, name: bytes, state: bytes) -> None:
        """Another state, of the same length."""
        self._do("UPDATE living SET state = %s WHERE name = %s", (state, name))

    def replace(self, name: bytes, fixed: bytes, state: bytes) -> None:
        """Both parts anew; what was there is to leave the file."""
        self.stale = True
        self._do("UPDATE living SET fixed = %s, state = %s WHERE name = %s", (fixed, state, name))

    def tell(self, name: bytes, reply: bytes, due: int, *, publishing: bool) -> None:
        """What is told from now on."""
        self._do(
            "UPDATE living SET reply = %s, due_at = %s, publishing = %s WHERE name = %s",
            (reply, due, publishing, name),
        )

    def fixed(self, name: bytes) -> bytes:
        """The part of a living case that does not change. Raises OSError when it is lost."""
        row = self._do("SELECT fixed FROM living WHERE name = %s", (name,)).fetchone()
        if row is None:
            raise OSError("a case is gone")
        return bytes(row[0])

    def end(
        self, name: bytes, forget_at: int, reply: bytes, notes: Iterable[bytes] = (), published_at: int = 0
    ) -> None:
        """Delete a case, living or lost, and keep its answer. Inside a transaction."""
        self.stale = True
        self._do("DELETE FROM living WHERE name = %s", (name,))
        self._do("INSERT INTO ended VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", (name, forget_at, reply))
        for part, note in enumerate(notes):
            self._do(
                "INSERT INTO posted VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (name, part, published_at, note),
            )

    def lose(self, name: bytes, forget_at: int, reply: bytes = LAPSED) -> None:
        """A case that is not here, or may not live on, has lapsed."""
        with self._links.transaction():
            self.end(name, forget_at, reply)
            self.scrub()

    def scrub(self) -> None:
        """Where something was deleted, write the table anew before that is told: its old file goes with the commit.

        Inside a transaction. (VACUUM would keep what any other transaction might still see.)
        """
        if self.stale:
            self._do("LOCK TABLE living IN ACCESS EXCLUSIVE MODE")
            self._do("CREATE TEMPORARY TABLE kept ON COMMIT DROP AS SELECT * FROM living")
            self._do("TRUNCATE living")
            self._do("INSERT INTO living SELECT * FROM kept")
            self.stale = False

    def reply(self, name: bytes) -> bytes | None:
        """The answer of an ended case."""
        row: tuple[bytes] | None = retried(
            self._links, lambda: self._do("SELECT reply FROM ended WHERE name = %s", (name,)).fetchone()
        )
        return None if row is None else bytes(row[0])

    def names(self) -> list[tuple[bytes, int]]:
        """Name and forget_at of every case, living or ended."""
        rows = self._do("SELECT name, forget_at FROM living UNION SELECT name, forget_at FROM ended")
        return list(rows.fetchall())

    def posted(self) -> list[tuple[int, list[bytes]]]:
        """When, and which notes, of each release that is still remembered, in the order of publication."""
        found: dict[bytes, tuple[int, list[bytes]]] = {}
        for name, at, note in self._do("SELECT name, published_at, note FROM posted ORDER BY number"):
            found.setdefault(name, (at, []))[1].append(note)
        return sorted(found.values(), key=lambda one: one[0])

    def forget(self, now: int) -> None:
        """Delete answers whose time is over."""
        with self._links.transaction():
            due = self._do("DELETE FROM ended WHERE forget_at <= %s RETURNING name", (now,)).fetchall()
            self._do("DELETE FROM posted WHERE name = ANY(%s)", ([name for (name,) in due],))

    def close(self) -> None:
        """The links are closed by who made them."""


class SharedDesk(Desk):
    """All cases, of all processes. The lane's thread holds at most one of them at a time, in `_cases`."""

    _store: SharedCases  # type: ignore[assignment]

    def __init__(self, settings: Settings, store: SharedCases, writer: SharedWriter) -> None:
        super().__init__(settings, store, writer, FAULTS)  # type: ignore[arg-type]

    # --- what is asked ----------------------------------------------------------------------------------------

    async def _known(self, name: bytes) -> bool:
        return (
            await self._lane.run(self._store.told, name) is not None or await self._ended_reply(name) is not None
        )

    async def _ended_reply(self, name: bytes) -> bytes | None:
        return await self._lane.run(self._store.reply, name)

    async def reply(self, handle: bytes) -> bytes:
        """What the desk says, as JSON. Raises Refusal when it knows no such case."""
        name, now = name_of(handle), self._now()
        told = await self._lane.run(self._store.told, name)
        if told is not None and told[1] <= now:
            await self._settle(name, now)
            told = await self._lane.run(self._store.told, name)
        if told is not None:
            return bytes(told[0])
        ended = await self._ended_reply(name)
        if ended is None:
            raise Refusal(Problem.NOT_FOUND)
        return ended

    async def _act(self, handle: bytes, message: bytes, do: Callable[[LiveCase, bytes, int], None]) -> None:
        name, now = name_of(handle), self._now()
        await self._settle(name, now)
        if not await self._lane.run(self._do_locked, name, do, message, now) and not await self._known(name):
            raise Refusal(Problem.NOT_FOUND)

    # --- on the desk's thread ---------------------------------------------------------------------------------

    def _do_open(self, live: LiveCase, request: wire.OpenCase) -> None:
        case = Living(live.name, live.forget_at, self._as_fixed(live.case, request.bundle), live.encode())
        most = self._settings.caps.open_cases
        retried(self._links, lambda: self._store.add(case, live.reply, due_at(live.held), most))

    @property
    def _links(self) -> Links:
        return self._store.links

    def _do_locked(
        self, name: bytes, do: Callable[[LiveCase, bytes, int], None], message: bytes, now: int
    ) -> bool:
        def work() -> bool:
            with self._loaded(name) as live:
                if live is not None:
                    self._do_checked(name, do, message, now)
            return live is not None

        return retried(self._links, work)

    @contextmanager
    def _loaded(self, name: bytes) -> Iterator[LiveCase | None]:
        """A case under the lock of its row, as the only one in `_cases`; what became of it is stored with it."""
        with self._store.locked(name) as found:
            self._cases = {}
            if found is not None:
                live = LiveCase.decode(found[0])
                live.publishing = found[1]
                self._cases[name] = live
            yield self._cases.get(name)
            after = self._cases.get(name)
            if after is not None:
                self._store.tell(name, after.reply, due_at(after.held), publishing=after.publishing)
            self._cases = {}

    # --- deadlines --------------------------------------------------------------------------------------------

    async def _settle(self, name: bytes, now: int) -> None:
        told = await self._lane.run(self._store.told, name)
        if told is None or told[1] > now:
            return
        async with self._settling:
            phase, live = await self._lane.run(self._do_settle_locked, name, now)
            if phase is Phase.PUBLISHED and live is not None:
                await self._publish_shared(live, now)

    def _do_settle_locked(self, name: bytes, now: int) -> tuple[Phase | None, LiveCase | None]:
        def work() -> tuple[Phase | None, LiveCase | None]:
            with self._loaded(name) as live:
                return self._do_settle(name, now), live

        return retried(self._links, work)

    async def _publish_shared(self, live: LiveCase, now: int) -> None:
        """As `_publish`; another process may be at it too: the board takes each text once, the case ends once."""
        notes = await self._lane.run(self._notes_of, live)
        if notes is None:
            return
        posted = await self._writer.submit(board.post(notes, now, self._settings.caps.board_bytes))
        reply = self._published(live, notes if posted else [])
        await self._lane.run(self._do_published_shared, live, reply, notes if posted else [], now)

    def _notes_of(self, live: LiveCase) -> Any:
        try:
            return self._notes(live)
        except OSError:  # another process has published it
            return None

    def _do_published_shared(self, live: LiveCase, reply: bytes, notes: Any, now: int) -> None:
        def work() -> None:
            with self._store.locked(live.name) as found:
                if found is not None:
                    texts = [note.encode() for note in notes]
                    self._store.end(live.name, live.forget_at, reply, texts, now)

        retried(self._links, work)

    async def _due(self, now: int) -> list[bytes]:
        return await self._lane.run(self._store.due, now)

    # --- start and stop ---------------------------------------------------------------------------------------

    def _do_begin(self, remembered: dict[bytes, int]) -> None:
        here = {name for name, _ in self._store.names()}
        lost = [(name, at) for name, at in remembered.items() if name not in here]
        if self._settings.restored:
            lost += self._store.living()
        for name, forget_at in lost:
            self._store.lose(name, forget_at)
