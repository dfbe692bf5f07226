"""Reading a request's body: of the right type and form, never more of it than the protocol allows."""

from typing import Final, TypeVar

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request

from pourparler_policies import wire
from pourparler_policies.limits import MAX_REQUEST_BODY
from pourparler_policies.wire import Problem

from .problems import Refusal

R = TypeVar("R", bound=wire.Request)

_TOO_LARGE: Final = f"A request has at most {MAX_REQUEST_BODY} bytes."
_SHOWN: Final = 3  # faults named in a refusal


def _too_large() -> Refusal:
    # The rest of the body is not read, so the connection is of no more use.
    return Refusal(Problem.TOO_LARGE, _TOO_LARGE, headers={"Connection": "close"})


async def read(request: Request, schema: type[R]) -> R:
    """The body as `schema`. Raises Refusal: media-type, too-large, malformed."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(Problem.MEDIA_TYPE, headers={"Connection": "close"})
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(Problem.MEDIA_TYPE, "A compressed body is not taken.", headers={"Connection": "close"})
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:20]) > MAX_REQUEST_BODY:
        raise _too_large()
    try:
        return schema.model_validate_json(await _gather(request))
    except ValidationError as error:
        # The message names fields and rules. It never repeats what was sent: that may hold a secret.
        faults = error.errors(include_url=False, include_context=False, include_input=False)[:_SHOWN]
        told = "; ".join(
            fault["type"]
            if fault["type"] == "extra_forbidden"
            else f"{'.'.join(map(str, fault['loc']))}: {fault['type']}"
            for fault in faults
        )
        raise Refusal(Problem.MALFORMED, told[:400]) from None


async def _gather(request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > MAX_REQUEST_BODY:
                raise _too_large()
            chunks.append(chunk)
    except ClientDisconnect:
        raise Refusal(Problem.MALFORMED, "The body broke off.") from None
    return b"".join(chunks)
