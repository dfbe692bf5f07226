"""The board: what every party has published, and what the database remembers of the desk.

1. A text stands here once, under its SHA-256, with the first complete set of signatures that the desk made.
2. A later communiqué marks an earlier one only when everybody who had signed that one has signed this one: anybody
   may write "withdraws: …" at the foot of a text of their own.
3. The board vouches for nobody. Names are as the text gives them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from sqlalchemy import Connection, delete, func, insert, select

from pourparler_crypto.note import Act, Note
from pourparler_policies import limits, wire
from pourparler_policies.wire import Problem, Sequel

from .database import connect
from .lane import Lane
from .problems import Refusal
from .tables import DOCKET, NOTE
from .writer import Batch

P = ParamSpec("P")
T = TypeVar("T")

MAX_TITLE: Final = 120  # characters: one line of a list

SEQUELS: Final = {
    Act.CORRECTS.value: Sequel.CORRECTED,
    Act.SUPERSEDES.value: Sequel.SUPERSEDED,
    Act.WITHDRAWS.value: Sequel.WITHDRAWN,
}

# --- what the database remembers of the desk ----------------------------------------------------------------------


def remember_case(name: bytes, forget_at: int) -> Callable[[Batch], None]:
    """A case exists: should the desk lose it, it has lapsed."""
    return remember_cases([(name, forget_at)])


def remember_cases(cases: Iterable[tuple[bytes, int]]) -> Callable[[Batch], None]:
    """The same for many; what is remembered already is left alone."""
    named = dict(cases)

    def act(batch: Batch) -> None:
        asked = select(DOCKET.c.name)
        if len(named) == 1:  # an opening; else a start, which compares all of them
            asked = asked.where(DOCKET.c.name.in_(named))
        known = set(batch.connection.execute(asked).scalars())
        new = [{"name": name, "forget_at": at} for name, at in named.items() if name not in known]
        if new:
            batch.changed().execute(insert(DOCKET), new)

    return act


def forget_cases(now: int) -> Callable[[Batch], None]:
    """Their answers are no longer kept."""

    def act(batch: Batch) -> None:
        due = DOCKET.c.forget_at <= now
        if batch.connection.execute(select(func.count()).where(due)).scalar_one():
            batch.changed(scrub=True).execute(delete(DOCKET).where(due))

    return act


def remembered_cases(connection: Connection) -> dict[bytes, int]:
    """Name and forget_at of every case that is or was."""
    return {row.name: row.forget_at for row in connection.execute(select(DOCKET))}


# --- posting ------------------------------------------------------------------------------------------------------


def post(notes: Sequence[Note], now: int, room: int | None) -> Callable[[Batch], bool]:
    """Put notes on the board, all or none. False when they do not fit `room` bytes; a text that is there stays."""

    def act(batch: Batch) -> bool:
        rows = [_row(note, now) for note in notes]
        known = set(
            batch.connection.execute(
                select(NOTE.c.digest).where(NOTE.c.digest.in_([row["digest"] for row in rows]))
            ).scalars()
        )
        new = [row for row in rows if row["digest"] not in known]
        if not new:
            return True
        if room is not None:
            stored = batch.connection.execute(select(func.coalesce(func.sum(func.length(NOTE.c.note)), 0)))
            if stored.scalar_one() + sum(len(row["note"]) for row in new) > room:
                return False
        batch.changed().execute(insert(NOTE), new)
        return True

    return act


def _row(note: Note, now: int) -> dict[str, Any]:
    communique, foot = note.communique, note.communique.foot
    relation = foot.relation
    return {
        "digest": communique.digest,
        "release": foot.release,
        "copy_number": foot.copy,
        "copies": foot.copies,
        "signers": b"".join(sorted(communique.keys)),
        "title": title_of(communique.words[0]),
        "languages": " ".join(foot.languages),
        "signatories": "\n".join(party.name for party in foot.signatories),
        "sequel": SEQUELS[relation.act.value].value if relation else None,
        "earlier_release": relation.release if relation else None,
        "earlier_digest": relation.digest if relation else None,
        "published_at": now,
        "note": note.encode(),
    }


def title_of(words: str) -> str:
    """The first line, shortened."""
    first = words.split("\n", 1)[0].strip().lstrip("#").strip() or words.strip()[:MAX_TITLE]
    return first if len(first) <= MAX_TITLE else first[: MAX_TITLE - 1].rstrip() + "…"


# --- reading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """One text on the board. `marks` are those of `wire.BoardMark`, the newest last; `note` only where asked for."""

    number: int
    digest: bytes
    release: bytes
    copy_number: int
    copies: int
    title: str
    languages: tuple[str, ...]
    signatories: tuple[str, ...]
    published_at: int
    marks: tuple[wire.BoardMark, ...]
    marked_at: int = 0  # Unix seconds: when the newest mark came; 0 without one
    note: bytes = b""
    siblings: tuple[tuple[int, bytes], ...] = ()  # number and digest of the copies of the same release
    relation: wire.BoardRelation | None = None

    def on_the_wire(self) -> wire.Posted:
        """As JSON says it."""
        fields: dict[str, Any] = {
            "number": self.number,
            "digest": self.digest,
            "release": self.release,
            "copy_number": self.copy_number,
            "copies": self.copies,
            "title": self.title,
            "languages": list(self.languages),
            "signatories": list(self.signatories),
            "published_at": self.published_at,
            "marks": list(self.marks),
            "relation": self.relation,
        }
        return wire.PostedNote(**fields, note=self.note.decode()) if self.note else wire.Posted(**fields)


_LISTED: Final[list[Any]] = [column for column in NOTE.c if column.name != "note"]


class Board:
    """Reads the board on a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._connection = connect(path, read_only=True)
        self._lane = Lane("the board")

    @property
    def _reader(self) -> Connection:
        return self._connection

    async def newest(self, before: int | None = None) -> tuple[list[Entry], bool]:
        """A page of the list, the newest first, and whether older ones follow."""
        return await self._lane.submit(self._newest, before)

    async def entry(self, digest: bytes) -> Entry:
        """One with its note. Raises Refusal."""
        found = await self._lane.submit(self._entry, digest)
        if found is None:
            raise Refusal(Problem.NOT_FOUND)
        return found

    async def away(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a long computation on the board's thread: nobody's messages wait for a page."""
        return await self._lane.submit(job, *args, **kwargs)

    def _newest(self, before: int | None) -> tuple[list[Entry], bool]:
        asked = select(*_LISTED).order_by(NOTE.c.key.desc()).limit(limits.BOARD_PAGE + 1)
        if before is not None:
            asked = asked.where(NOTE.c.key < before)
        rows = self._reader.execute(asked).all()
        return [self._read(row) for row in rows[: limits.BOARD_PAGE]], len(rows) > limits.BOARD_PAGE

    def _entry(self, digest: bytes) -> Entry | None:
        row = self._reader.execute(select(NOTE).where(NOTE.c.digest == digest)).one_or_none()
        return None if row is None else self._read(row, row.note)

    def _read(self, row: Any, note: bytes = b"") -> Entry:
        asked = select(NOTE.c.copy_number, NOTE.c.digest).where(
            NOTE.c.release == row.release, NOTE.c.signers == row.signers, NOTE.c.published_at == row.published_at
        )
        siblings = tuple((one.copy_number, one.digest) for one in self._reader.execute(asked))
        marks = self._marks(row, [digest for _, digest in siblings])
        return Entry(
            number=row.key,
            digest=row.digest,
            release=row.release,
            copy_number=row.copy_number,
            copies=row.copies,
            title=row.title,
            languages=tuple(row.languages.split(" ")),
            signatories=tuple(row.signatories.split("\n")),
            published_at=row.published_at,
            marks=tuple(mark for mark, _ in marks),
            marked_at=max((at for _, at in marks), default=0),
            note=note,
            siblings=tuple(sorted(siblings)),
            relation=self._relation(row),
        )

    def _relation(self, row: Any) -> wire.BoardRelation | None:
        if row.sequel is None:
            return None
        asked = select(NOTE.c.signers).where(
            NOTE.c.release == row.earlier_release, NOTE.c.digest == row.earlier_digest, NOTE.c.key < row.key
        )
        signers = self._reader.execute(asked).scalar_one_or_none()
        return wire.BoardRelation(
            sequel=Sequel(row.sequel),
            release=row.earlier_release,
            digest=row.earlier_digest,
            marked=signers is not None and _keys(signers) <= _keys(row.signers),
        )

    def _marks(self, row: Any, digests: list[bytes]) -> list[tuple[wire.BoardMark, int]]:
        """Each with the time at which it came."""
        asked = select(NOTE.c.sequel, NOTE.c.digest, NOTE.c.signers, NOTE.c.published_at).where(
            NOTE.c.earlier_release == row.release, NOTE.c.earlier_digest.in_(digests), NOTE.c.key > row.key
        )
        signed = _keys(row.signers)
        return [
            (wire.BoardMark(sequel=Sequel(one.sequel), digest=one.digest), one.published_at)
            for one in self._reader.execute(asked.order_by(NOTE.c.key))
            if signed <= _keys(one.signers)
        ]

    def close(self) -> None:
        """Let the reader finish."""
        self._lane.close()
        self._connection.close()


def _keys(joined: bytes) -> set[bytes]:
    return {joined[i : i + 32] for i in range(0, len(joined), 32)}
