"""The OpenAPI document: every route with its body, its answers and each refusal it can give."""

import re
from typing import Any, Final, Literal

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from pourparler_policies import limits, wire
from pourparler_policies.wire import Problem, Route

from .bodies import BYTES
from .problems import KINDS, MEDIA_TYPE
from .settings import SOFTWARE

_REF: Final = "#/components/schemas/"
_PROBLEM: Final = {MEDIA_TYPE: {"schema": {"$ref": _REF + "ProblemDocument"}}}
_ID: Final = {
    "type": "string",
    "pattern": "^[A-Za-z0-9_-]{21}[AQgw]$",
    "description": "16 bytes, base64url, no padding",
}
_PATH_SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "slot": {"type": "integer", "minimum": 0, "maximum": limits.BOX_SLOTS - 1},
    "chunk": {"type": "integer", "minimum": 0, "maximum": limits.MAX_CHUNKS - 1},
    "handle": {
        "type": "string",
        "pattern": "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$",
        "description": "32 bytes, base64url, no padding",
    },
    "digest": {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "SHA-256 of a text, hexadecimal"},
}
_EVENT: Final = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"enum": ["entry", "head"]},
        "id": {"type": "string", "pattern": "^[0-9]+$", "description": "an entry's seq"},
        "data": {"type": "string", "description": "an Entry as JSON, or {head, incarnation}"},
    },
}
_CHUNK: Final = {
    BYTES: {
        "schema": {"type": "string", "format": "binary", "maxLength": limits.ATTACHMENT_CHUNK},
    }
}
_MODELS: Final = (
    wire.Service, wire.CreateChannel, wire.Channel, wire.Append, wire.Receipt, wire.Page,
    wire.Deletion, wire.CreateBox, wire.Deposit, wire.Deposited, wire.AskHalves, wire.Halves,
    wire.CreateAttachment, wire.Attachment, wire.ProblemDocument, wire.OpenCase, wire.CaseMessage, wire.Case,
    wire.Board, wire.PostedNote, wire.OpenTally, wire.HandIn, wire.Tally,
    wire.Board, wire.PostedNote, wire.CreateRound, wire.SendPacket, wire.Round,
)  # fmt: skip


def document(
    body: type[wire.Request] | Literal["chunk"] | None = None,
    *,
    reply: type[wire.Reply] | Literal["chunk"] | None = None,
    status: int = 200,
    stream: bool = False,
    auth: bool = True,
    budget: bool = False,
    also: dict[int, str] | None = None,
    refusals: list[Problem] | None = None,
) -> dict[str, Any]:
    """Arguments of `add_api_route` that describe one route."""
    problems = set(refusals or ())
    if auth:
        problems.add(Problem.UNAUTHORIZED)
    if budget:
        problems.add(Problem.BUDGET)
        if auth:  # a device asks in its channel
            problems.add(Problem.CLOSED)
    if body is not None:
        problems |= {Problem.MALFORMED, Problem.MEDIA_TYPE, Problem.TOO_LARGE}
    problems.add(Problem.UNAVAILABLE)

    good: dict[str, Any] = {"description": "Done"}
    if reply == "chunk":
        good["content"] = _CHUNK
    elif reply is not None:
        good["content"] = {"application/json": {"schema": {"$ref": _REF + reply.__name__}}}
    if stream:
        good["content"] = {"text/event-stream": {"schema": _EVENT}}
        good["description"] = (
            "Events `entry` (data: an Entry), and `head` once when all that was stored has been sent"
        )
    responses: dict[int, Any] = {status: good}
    for code, description in (also or {}).items():
        responses[code] = {"description": description}
    for problem in sorted(problems, key=lambda one: KINDS[one].status):
        code = KINDS[problem].status
        titles = [KINDS[one].title for one in problems if KINDS[one].status == code]
        responses[code] = {"description": "; ".join(sorted(titles)), "content": _PROBLEM}
        if problem is Problem.BUDGET:
            responses[code]["headers"] = {
                "Retry-After": {"schema": {"type": "integer"}, "required": True, "description": "seconds"}
            }
        if problem is Problem.UNAUTHORIZED:
            responses[code]["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}, "required": True}}
    extra: dict[str, Any] = {"responses": {str(code): found for code, found in responses.items()}}
    if auth:
        extra["security"] = [{"bearer": []}]
    if body is not None:
        content = _CHUNK if body == "chunk" else {"application/json": {"schema": {"$ref": _REF + body.__name__}}}
        extra["requestBody"] = {"required": True, "content": content}
    return {"status_code": status, "openapi_extra": extra}


def shown(media_type: str, *, lost: bool = False, refusals: list[Problem] | None = None) -> dict[str, Any]:
    """Of a route that serves a file of the board; `lost`: it says so to people when nothing is there."""
    found = document(auth=False, refusals=refusals)
    content = {media_type: {"schema": {"type": "string"}}}
    found["openapi_extra"]["responses"]["200"]["content"] = content
    if lost:
        found["openapi_extra"]["responses"]["404"] = {"description": "Nothing is there", "content": content}
    return found


_BOX: Final = [Problem.OVER_CAP, Problem.ID_REUSED]

# Method, place, name of the method of `Api` that answers, description.
ROUTES: Final[tuple[tuple[str, Route, str, dict[str, Any]], ...]] = (
    ("GET", Route.SERVICE, "service", document(reply=wire.Service, auth=False)),
    ("GET", Route.READY, "ready", document(status=204, auth=False)),
    (
        "POST",
        Route.CHANNELS,
        "create_channel",
        document(
            wire.CreateChannel,
            reply=wire.Channel,
            status=201,
            refusals=[*_BOX, Problem.GRANT_USED, Problem.CLOSED],
        ),
    ),
    ("GET", Route.CHANNEL, "channel", document(reply=wire.Channel, budget=True)),
    (
        "POST",
        Route.ENTRIES,
        "append",
        document(
            wire.Append,
            reply=wire.Receipt,
            status=201,
            budget=True,
            refusals=[Problem.STALE, Problem.OVER_CAP, Problem.NOT_FOUND],
        ),
    ),
    ("GET", Route.ENTRIES, "page", document(reply=wire.Page, budget=True, refusals=[Problem.MALFORMED])),
    (
        "POST",
        Route.DELETION,
        "delete_entry",
        document(wire.Deletion, status=204, budget=True, refusals=[Problem.NOT_FOUND]),
    ),
    ("GET", Route.STREAM, "stream", document(stream=True, budget=True, refusals=[Problem.MALFORMED])),
    ("DELETE", Route.OWN_DEVICE, "end_device", document(status=204, budget=True)),
    (
        "POST",
        Route.REVOCATION,
        "revoke",
        document(
            status=204,
            budget=True,
            also={202: "The vote is recorded; the token lives on for now"},
            refusals=[Problem.NOT_FOUND, Problem.MALFORMED],
        ),
    ),
    ("POST", Route.BOXES, "create_box", document(wire.CreateBox, status=204, budget=True, refusals=_BOX)),
    ("DELETE", Route.BOX, "delete_box", document(status=204)),
    ("PUT", Route.BOX_SLOT, "deposit", document(wire.Deposit, status=204, refusals=[*_BOX, Problem.NOT_FOUND])),
    ("GET", Route.BOX_SLOT, "deposited", document(reply=wire.Deposited, refusals=[Problem.NOT_FOUND])),
    (
        "POST",
        Route.HALVES,
        "halves",
        document(wire.AskHalves, reply=wire.Halves, budget=True, refusals=[Problem.OVER_CAP, Problem.NOT_FOUND]),
    ),
    (
        "POST",
        Route.ATTACHMENTS,
        "create_attachment",
        document(wire.CreateAttachment, status=204, budget=True, refusals=_BOX),
    ),
    ("GET", Route.ATTACHMENT, "attachment", document(reply=wire.Attachment)),
    (
        "PUT",
        Route.ATTACHMENT_CHUNK,
        "put_chunk",
        document("chunk", status=204, refusals=[Problem.ID_REUSED, Problem.NOT_FOUND]),
    ),
    ("GET", Route.ATTACHMENT_CHUNK, "chunk", document(reply="chunk", refusals=[Problem.NOT_FOUND])),
    (
        "POST",
        Route.ATTACHMENT_DELETION,
        "delete_attachment",
        document(wire.Deletion, status=204, refusals=[Problem.NOT_FOUND]),
    ),
    (
        "POST",
        Route.ROUNDS,
        "create_round",
        document(wire.CreateRound, status=204, budget=True, refusals=[*_BOX, Problem.CLOSED]),
    ),
    (
        "POST",
        Route.ROUND,
        "rounds.send",
        document(wire.SendPacket, status=204, budget=True, refusals=[Problem.OVER_CAP, Problem.CLOSED]),
    ),
    ("GET", Route.ROUND, "rounds.show", document(reply=wire.Round, refusals=[Problem.NOT_FOUND])),
    (
        "POST",
        Route.DESK,
        "desk.open_case",
        document(wire.OpenCase, status=204, auth=False, budget=True, refusals=[Problem.OVER_CAP]),
    ),
    (
        "GET",
        Route.CASE,
        "desk.case",
        document(reply=wire.Case, auth=False, refusals=[Problem.NOT_FOUND, Problem.MALFORMED]),
    ),
    *(
        (
            "POST",
            route,
            name,
            document(wire.CaseMessage, status=204, auth=False, refusals=[Problem.NOT_FOUND]),
        )
        for route, name in (
            (Route.CASE_DEPOSIT, "desk.deposit"),
            (Route.CASE_WITHDRAWAL, "desk.withdraw"),
            (Route.CASE_STOP, "desk.stop"),
        )
    ),
    (
        "POST",
        Route.TALLIES,
        "tallies.open_tally",
        document(wire.OpenTally, status=204, auth=False, budget=True, refusals=[Problem.OVER_CAP]),
    ),
    (
        "GET",
        Route.TALLY,
        "tallies.tally",
        document(reply=wire.Tally, auth=False, refusals=[Problem.NOT_FOUND, Problem.MALFORMED]),
    ),
    (
        "POST",
        Route.TALLY_SLOT,
        "tallies.hand_in",
        document(wire.HandIn, status=204, auth=False, refusals=[Problem.NOT_FOUND]),
    ),
    (
        "GET",
        Route.BOARD_LIST,
        "board.listed",
        document(reply=wire.Board, auth=False, refusals=[Problem.MALFORMED]),
    ),
    (
        "GET",
        Route.BOARD_ENTRY,
        "board.entry",
        document(reply=wire.PostedNote, auth=False, refusals=[Problem.NOT_FOUND]),
    ),
    ("GET", Route.BOARD, "board.index", shown("text/html", refusals=[Problem.MALFORMED])),
    ("GET", Route.BOARD_FEED, "board.feed", shown("application/atom+xml")),
    ("GET", Route.BOARD_STYLE, "board.style", shown("text/css")),
    ("GET", Route.BOARD_SCRIPT, "board.script", shown("text/javascript")),
    ("GET", Route.BOARD_PAGE, "board.page", shown("text/html", lost=True)),
    ("GET", Route.BOARD_NOTE, "board.note", shown("text/plain", refusals=[Problem.NOT_FOUND])),
)

# What is public answers HEAD as GET, without a body: feed readers, caches and checkers of links ask so.
HEADED: Final = frozenset(path for _, path, name, _ in ROUTES if name.startswith("board."))
_PATTERNS: Final = [
    (method, re.compile(re.sub(r"\{\w+\}", "[^/]+", path.value)))
    for one, path, _, _ in ROUTES
    for method in (one, *(["HEAD"] if path in HEADED else []))
]


def methods(path: str) -> list[str]:
    """The methods that a place knows."""
    return list(dict.fromkeys(method for method, pattern in _PATTERNS if pattern.fullmatch(path)))


def describe(app: FastAPI) -> dict[str, Any]:
    """The whole document."""
    if app.openapi_schema:
        return app.openapi_schema
    from fastapi.openapi.utils import get_openapi  # noqa: PLC0415 - only who asks for the document pays for it

    found = get_openapi(
        title="Pourparler service",
        version=SOFTWARE.rpartition("/")[2],
        description="Delivers sealed entries. It knows no member and reads no content.",
        routes=app.routes,
    )
    _, definitions = models_json_schema(
        [(model, _mode(model)) for model in _MODELS], ref_template=_REF + "{model}"
    )
    components = found.setdefault("components", {})
    components["schemas"] = definitions["$defs"]
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "base64url of 32 random bytes"}
    }
    for path, item in found["paths"].items():
        names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        for operation in item.values():
            for code, told in list(operation["responses"].items()):
                if "HTTPValidationError" in str(told):  # FastAPI's own form of a refusal is not ours
                    del told["content"]["application/json"]
                    if not told["content"]:
                        del operation["responses"][code]
            operation["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": _PATH_SCHEMAS.get(name, _ID)}
                for name in names
            ] + [one for one in operation.get("parameters", []) if one["in"] != "path"]
    app.openapi_schema = found
    return found


def _mode(model: type) -> Any:
    return "validation" if issubclass(model, wire.Request) else "serialization"
