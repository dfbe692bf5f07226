"""Every refusal is a problem document (RFC 9457) with a type from the closed list `wire.Problem`.

A refusal says what was wrong with the request. It never repeats what was sent, so that nothing secret comes back,
and `unauthorized` is the same bytes whatever the reason, so that it says nothing about what exists.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from starlette.responses import Response

from pourparler_policies.wire import PROBLEM_URN, Problem, ProblemDocument

MEDIA_TYPE: Final = "application/problem+json"


class _Kind(NamedTuple):
    status: int
    title: str


KINDS: Final[Mapping[Problem, _Kind]] = {
    Problem.MALFORMED: _Kind(422, "The request is not of the form that the protocol asks for"),
    Problem.MEDIA_TYPE: _Kind(415, "The body is not of the media type that this place takes"),
    Problem.TOO_LARGE: _Kind(413, "The request is larger than the protocol allows"),
    Problem.UNAUTHORIZED: _Kind(401, "There is nothing here for this token"),
    Problem.NOT_FOUND: _Kind(404, "There is nothing at this place"),
    Problem.METHOD: _Kind(405, "This place does not know that method"),
    Problem.STALE: _Kind(409, "A newer handshake entry exists"),
    Problem.WRONG_COUNT: _Kind(409, "The count does not follow the last accepted one"),
    Problem.ID_REUSED: _Kind(409, "This id exists with other content"),
    Problem.OVER_CAP: _Kind(403, "The operator does not allow this much"),
    Problem.BUDGET: _Kind(429, "Too many, too fast"),
    Problem.GRANT_USED: _Kind(403, "This grant was used"),
    Problem.CLOSED: _Kind(410, "This was closed"),
    Problem.UNAVAILABLE: _Kind(503, "The service cannot do this now; nothing was stored"),
}


class Refusal(Exception):
    """The other side asked for what it may not have."""

    def __init__(
        self,
        problem: Problem,
        detail: str = "",
        *,
        handshake_head: int | None = None,
        count: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(problem.value)
        self.problem = problem
        self.detail = detail
        self.handshake_head = handshake_head
        self.count = count
        self.headers = dict(headers or {})


def unauthorized() -> Refusal:
    """One body for: no such channel, box, device or grant, and a wrong or ended token."""
    return Refusal(Problem.UNAUTHORIZED, headers={"WWW-Authenticate": "Bearer"})


def respond(refusal: Refusal) -> Response:
    """The refusal as a response."""
    kind = KINDS[refusal.problem]
    document = ProblemDocument(
        type=PROBLEM_URN + refusal.problem.value,
        title=kind.title,
        status=kind.status,
        detail=refusal.detail or kind.title + ".",
        handshake_head=refusal.handshake_head,
        count=refusal.count,
    )
    return Response(
        document.model_dump_json(exclude_none=True).encode(),
        status_code=kind.status,
        headers=refusal.headers,
        media_type=MEDIA_TYPE,
    )
