"""Reading a request's body: of the right type and form, never more of it than the protocol allows."""

from typing import Final, TypeVar

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request

from pourparler_policies import wire
from pourparler_policies.limits import ATTACHMENT_CHUNK, MAX_REQUEST_BODY
from pourparler_policies.wire import Problem

from .problems import Refusal

R = TypeVar("R", bound=wire.Request)

BYTES: Final = "application/octet-stream"
# Bytes of all bodies that are being received: strangers may send some too. One of SMALL bytes is taken in any case, so
# that big ones of strangers keep nobody from talking.
MOST_UNDER_WAY: Final = 256 * 1024 * 1024
SMALL: Final = 64 * 1024
_SHOWN: Final = 3  # faults named in a refusal


class UnderWay:
    """How much is being received, by one process."""

    bytes = 0


def _too_large(most: int) -> Refusal:
    # The rest of the body is not read, so the connection is of no more use.
    return Refusal(Problem.TOO_LARGE, f"A body has at most {most} bytes here.", headers={"Connection": "close"})


async def read(request: Request, schema: type[R]) -> R:
    """The body as `schema`. Raises Refusal: media-type, too-large, malformed."""
    try:
        return schema.model_validate_json(await _gather(request, "application/json", MAX_REQUEST_BODY))
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


async def read_bytes(request: Request) -> bytes:
    """The body as a chunk of an attachment. Raises Refusal: media-type, too-large, malformed."""
    return await _gather(request, BYTES, ATTACHMENT_CHUNK)


async def _gather(request: Request, media_type: str, most: int) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != media_type:
        raise Refusal(Problem.MEDIA_TYPE, f"The body must be {media_type}.", headers={"Connection": "close"})
    for header, plain in (("content-encoding", "identity"), ("transfer-encoding", "chunked")):
        if any(coding.strip().lower() != plain for coding in request.headers.getlist(header)):
            raise Refusal(Problem.MEDIA_TYPE, "A compressed body is not taken.", headers={"Connection": "close"})
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:20]) > most:
        raise _too_large(most)
    chunks: list[bytes] = []
    size, all_of_them = 0, request.app.under_way
    try:
        async for chunk in request.stream():
            size += len(chunk)
            all_of_them.bytes += len(chunk)
            if size > most:
                raise _too_large(most)
            if size > SMALL and all_of_them.bytes > MOST_UNDER_WAY:
                raise Refusal(Problem.UNAVAILABLE, headers={"Connection": "close"})
            chunks.append(chunk)
    except ClientDisconnect:
        raise Refusal(Problem.MALFORMED, "The body broke off.") from None
    finally:
        all_of_them.bytes -= size
    return b"".join(chunks)
