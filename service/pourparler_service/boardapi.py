"""The board's routes: for people, for programs, and the note itself. Public, and nothing of it from elsewhere."""

import re
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from pourparler_crypto.note import Note
from pourparler_policies import limits, wire
from pourparler_policies.wire import Problem

from . import boardpages
from .board import Board, Entry
from .problems import Refusal

Before = Annotated[
    int | None, Query(ge=1, le=limits.MAX_SEQ, description="only those with a smaller number, which are older")
]

STATIC: Final = Path(__file__).parent / "static"
HTML: Final = "text/html"
PLAIN: Final = "text/plain"
ATOM: Final = "application/atom+xml"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_KEPT: Final = 64  # pages kept rendered: checking the characters of a long text takes a while

# A page may load its style, its script and the note from this place, and nothing from anywhere else.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-cache",
}


def _served(body: str | bytes, media_type: str, status: int = 200) -> Response:
    return Response(body, status, _HEADERS, media_type=media_type)


class BoardApi:
    """The routes over a board."""

    def __init__(self, board: Board, incarnation: bytes) -> None:
        self._board, self._incarnation = board, incarnation
        self._rendered: dict[tuple[Any, ...], str] = {}
        self._style = (STATIC / "board.css").read_bytes()
        self._script = (STATIC / "verify.js").read_bytes()

    async def listed(self, before: Before = None) -> Response:
        """What is on the board, the newest first."""
        entries, more = await self._board.newest(before)
        reply = wire.Board(posted=[entry.on_the_wire() for entry in entries], more=more)
        return _served(reply.model_dump_json(exclude_none=True), "application/json")

    async def entry(self, request: Request) -> Response:
        """One communiqué with its note."""
        entry = await self._entry(request)
        return _served(entry.on_the_wire().model_dump_json(exclude_none=True), "application/json")

    async def index(self, before: Before = None) -> Response:
        """The list for people."""
        return _served(boardpages.index(*await self._board.newest(before)), HTML)

    async def feed(self) -> Response:
        """The newest as Atom."""
        entries, _ = await self._board.newest()
        return _served(boardpages.feed(entries, self._incarnation), ATOM)

    async def style(self) -> Response:
        """How the pages look."""
        return _served(self._style, "text/css")

    async def script(self) -> Response:
        """What checks a communiqué in the reader's browser."""
        return _served(self._script, "text/javascript")

    async def page(self, request: Request) -> Response:
        """One communiqué for people."""
        try:
            entry = await self._entry(request)
        except Refusal as refusal:
            if refusal.problem is not Problem.NOT_FOUND:
                raise
            return _served(boardpages.missing(), HTML, 404)
        shown = (entry.digest, tuple((mark.sequel, mark.digest) for mark in entry.marks), entry.siblings)
        page = self._rendered.pop(shown, "") or await self._board.away(_rendered, entry)
        self._rendered[shown] = page
        if len(self._rendered) > _KEPT:
            del self._rendered[next(iter(self._rendered))]
        return _served(page, HTML)

    async def note(self, request: Request) -> Response:
        """The signed note, exactly."""
        return _served((await self._entry(request)).note, PLAIN)

    async def _entry(self, request: Request) -> Entry:
        digest = request.path_params["digest"]
        if not _DIGEST.fullmatch(digest):
            raise Refusal(Problem.NOT_FOUND)
        return await self._board.entry(bytes.fromhex(digest))


def _rendered(entry: Entry) -> str:
    return boardpages.page(entry, Note.parse(entry.note))
