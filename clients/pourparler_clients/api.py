"""The service as a client sees it: one method a route; every answer is parsed with a limit before it is believed.

A problem document (RFC 9457) becomes `Refused` or one of its kinds; silence becomes `Unreachable`. Each object is
one device at one channel, or one drop box: connections are never shared between them (DESIGN 4.1).
"""

import base64
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Self, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import ValidationError

from pourparler_policies import wire
from pourparler_policies.invitation import MAX_URL
from pourparler_policies.limits import MAX_PAGE_BYTES, MAX_PAGE_ENTRIES, MAX_SEALED
from pourparler_policies.wire import Problem, Route

from .errors import Refused, Stale, Unreachable, UserError, WrongCount
from .proxy import LOCAL, check_onion, is_onion, isolation

TIMEOUT: Final = 30.0  # seconds: a slow line, not a dead one
STREAM_SILENCE: Final = 60.0  # seconds: the service sends a sign of life every 15
_MAX_REPLY: Final = 2 * MAX_PAGE_BYTES + MAX_PAGE_ENTRIES * 1024  # bytes: base64 and field names
_MAX_PROBLEM: Final = 4096  # bytes of a problem document, where less is expected
_BYTES: Final = "application/octet-stream"
_MAX_EVENT: Final = MAX_SEALED * 4 // 3 + 4096  # bytes
FAR: Final = 120.0  # seconds: a circuit to an onion service is built in many steps

_SILENT: Final = "the service does not answer: check the connection and try again"
_SILENT_PROXIED: Final = (
    "the service does not answer through the proxy: is it running? (`pourparler proxy` shows which; nothing goes "
    "past it)"
)
_ADDRESS: Final = "the service's address looks like https://example.org"
# From a proxy before the service: whether the service did anything is unknown.
_NO_ANSWER: Final = (502, 503, 504)

R = TypeVar("R", bound=wire.Reply)


def check_url(url: str) -> str:
    """The service's root without a slash at the end. Raises UserError unless the connection is protected."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        httpx.URL(url)  # what it cannot send to, it says here
    except (ValueError, httpx.InvalidURL):
        raise UserError(_ADDRESS) from None
    odd = parts.query or parts.fragment or parts.username or parts.password or port == 0
    if parts.scheme not in ("http", "https") or not host or odd or len(url) > MAX_URL:
        raise UserError(_ADDRESS)
    if is_onion(host):
        check_onion(host)  # the line to it is sealed by its own key: it needs no https
    elif parts.scheme == "http" and host not in LOCAL:
        raise UserError(
            "without https the line could be read along: use https, an onion service, or a service on this machine"
        )
    return url.rstrip("/")


def encode_id(value: bytes) -> str:
    """An id as it stands in a path: base64url without padding."""
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


# Refusals that sending again would not change: the text is given up, and the person is told.
NEVER: Final = (Problem.OVER_CAP, Problem.TOO_LARGE, Problem.MALFORMED, Problem.ID_REUSED)


class Api:
    """HTTP to one service with one bearer secret. Use as an async context manager."""

    def __init__(
        self,
        url: str,
        bearer: bytes | None,
        transport: httpx.AsyncBaseTransport | None = None,
        proxy: str = "",
    ) -> None:
        # No compression: a small answer must not become a large one.
        headers = {"User-Agent": "pourparler", "Accept-Encoding": "identity"}
        if bearer is not None:
            headers["Authorization"] = "Bearer " + base64.urlsafe_b64encode(bearer).decode()
        root = check_url(url)
        host = urlsplit(root).hostname or ""
        self._proxied = bool(proxy) and host not in LOCAL
        self._astray = is_onion(host) and not self._proxied and transport is None
        self._timeout = FAR if self._proxied else TIMEOUT
        self._http = httpx.AsyncClient(
            base_url=root,
            headers=headers,
            timeout=self._timeout,
            transport=transport,
            proxy=httpx.Proxy(proxy, auth=isolation()) if self._proxied else None,
            # An intermediate that redirects could send the bearer elsewhere; the environment could name a proxy.
            follow_redirects=False,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def service(self) -> wire.Service:
        """What the service says of itself."""
        return await self._get(wire.Service, Route.SERVICE)

    async def create_channel(self, request: wire.CreateChannel) -> wire.Channel:
        """Founds a channel; the bearer is the operator's grant."""
        return await self._send(wire.Channel, "POST", Route.CHANNELS, request)

    async def channel(self, channel: bytes) -> wire.Channel:
        """The channel as this device sees it."""
        return await self._get(wire.Channel, Route.CHANNEL.format(channel=encode_id(channel)))

    async def append(self, channel: bytes, request: bytes) -> wire.Receipt:
        """Sends an encoded `wire.Append`. Raises Stale or WrongCount for those two refusals."""
        path = Route.ENTRIES.format(channel=encode_id(channel))
        return _parse(wire.Receipt, await self._call("POST", path, request))

    async def entries(self, channel: bytes, after: int) -> wire.Page:
        """The next page of entries with seq > after."""
        path = Route.ENTRIES.format(channel=encode_id(channel))
        return await self._get(wire.Page, f"{path}?after={after}&limit={MAX_PAGE_ENTRIES}")

    async def stream(self, channel: bytes, after: int) -> AsyncIterator[wire.Entry | None]:
        """Entries with seq > after as they arrive, and None when the head is reached for the first time.

        Ends, or raises Unreachable, when the line breaks.
        """
        path = Route.STREAM.format(channel=encode_id(channel))
        timeout = httpx.Timeout(self._timeout, read=max(STREAM_SILENCE, self._timeout))
        self._check_reachable()
        try:
            async with self._http.stream("GET", f"{path}?after={after}", timeout=timeout) as response:
                if response.status_code != 200:
                    raise _problem(response.status_code, response.headers, await _read(response))
                async for name, data in _events(response):
                    if name == "entry":
                        yield _parse(wire.Entry, data)
                    elif name == "head":
                        yield None
        except httpx.TransportError:
            raise Unreachable("the connection to the service broke") from None

    async def delete(self, channel: bytes, entry: bytes, secret: bytes) -> None:
        """Ends one of one's own entries before its time."""
        path = Route.DELETION.format(channel=encode_id(channel), entry=encode_id(entry))
        await self._call("POST", path, wire.Deletion(secret=secret).model_dump_json().encode())

    async def halves(self, channel: bytes, request: wire.AskHalves) -> wire.Halves:
        """This device's halves for a run of ends: those that are not over, the last ones of it.

        Raises Refused: NOT_FOUND when all are over, OVER_CAP when they are later or more than the operator allows.
        """
        path = Route.HALVES.format(channel=encode_id(channel))
        return await self._send(wire.Halves, "POST", path, request)

    async def end_device(self, channel: bytes) -> None:
        """Ends this device's token."""
        await self._call("DELETE", Route.OWN_DEVICE.format(channel=encode_id(channel)))

    async def ask_revocation(self, channel: bytes, device: bytes) -> None:
        """Asks that another device's token end; it does when half of the others ask."""
        path = Route.REVOCATION.format(channel=encode_id(channel), device=encode_id(device))
        await self._call("POST", path)

    async def create_box(self, channel: bytes, request: wire.CreateBox) -> None:
        """Opens a one-time drop box."""
        path = Route.BOXES.format(channel=encode_id(channel))
        await self._call("POST", path, request.model_dump_json().encode())

    async def deposit(self, box: bytes, slot: int, sealed: bytes) -> None:
        """Writes a slot of a box; again with the same bytes is harmless."""
        path = Route.BOX_SLOT.format(box=encode_id(box), slot=slot)
        await self._call("PUT", path, wire.Deposit(sealed=sealed).model_dump_json().encode())

    async def collect(self, box: bytes, slot: int) -> bytes | None:
        """What lies in a slot, or None while it is empty."""
        try:
            reply = await self._get(wire.Deposited, Route.BOX_SLOT.format(box=encode_id(box), slot=slot))
        except Refused as refusal:
            if refusal.problem is Problem.NOT_FOUND:
                return None
            raise
        return reply.sealed

    async def create_attachment(self, channel: bytes, request: wire.CreateAttachment) -> None:
        """Makes room for an attachment. Everything else of it goes with its own token, on a connection of its own."""
        path = Route.ATTACHMENTS.format(channel=encode_id(channel))
        await self._call("POST", path, request.model_dump_json().encode())

    async def attachment(self, attachment: bytes) -> wire.Attachment:
        """What the service has of an attachment."""
        return await self._get(wire.Attachment, Route.ATTACHMENT.format(attachment=encode_id(attachment)))

    async def put_chunk(self, attachment: bytes, number: int, chunk: bytes) -> None:
        """Sends a sealed chunk. Once this returns, the service keeps it."""
        path = Route.ATTACHMENT_CHUNK.format(attachment=encode_id(attachment), chunk=number)
        await self._call("PUT", path, chunk, kind=_BYTES)

    async def chunk(self, attachment: bytes, number: int, size: int) -> bytes:
        """A sealed chunk, of at most `size` bytes."""
        path = Route.ATTACHMENT_CHUNK.format(attachment=encode_id(attachment), chunk=number)
        return await self._call("GET", path, most=max(size, _MAX_PROBLEM))

    async def delete_attachment(self, attachment: bytes, secret: bytes) -> None:
        """Ends an attachment before its time."""
        path = Route.ATTACHMENT_DELETION.format(attachment=encode_id(attachment))
        await self._call("POST", path, wire.Deletion(secret=secret).model_dump_json().encode())

    async def open_case(self, request: wire.OpenCase) -> None:
        """Brings a case to the desk; again is harmless. Without a bearer."""
        await self._call("POST", Route.DESK, request.model_dump_json().encode())

    async def case(self, handle: bytes) -> wire.Case:
        """What the desk says of a case, the same to everybody."""
        return await self._get(wire.Case, Route.CASE.format(handle=encode_id(handle)))

    async def case_message(self, route: str, handle: bytes, message: bytes) -> None:
        """A deposit, a withdrawal or a stop; each is answered the same, whatever the desk holds."""
        body = wire.CaseMessage(message=message).model_dump_json().encode()
        await self._call("POST", route.format(handle=encode_id(handle)), body)

    async def open_tally(self, tally: bytes) -> None:
        """Brings a sounding's tally; again is harmless. Without a bearer."""
        await self._call("POST", Route.TALLIES, wire.OpenTally(tally=tally).model_dump_json().encode())

    async def hand_in(self, handle: bytes, slot: bytes, values: bytes) -> None:
        """Hands in to a tally; the first time counts, and each is answered the same."""
        body = wire.HandIn(slot=slot, values=values).model_dump_json().encode()
        await self._call("POST", Route.TALLY_SLOT.format(handle=encode_id(handle)), body)

    async def tally(self, handle: bytes) -> wire.Tally:
        """What the service says of a tally, the same to everybody."""
        return await self._get(wire.Tally, Route.TALLY.format(handle=encode_id(handle)))

    async def create_round(self, channel: bytes, request: wire.CreateRound) -> None:
        """Has room made for a round of ideas; again is harmless."""
        path = Route.ROUNDS.format(channel=encode_id(channel))
        await self._call("POST", path, request.model_dump_json().encode())

    async def send_packet(self, round_: bytes, sealed: bytes) -> None:
        """Sends one packet of a round; again with the same bytes is harmless. The bearer is the round's token."""
        path = Route.ROUND.format(round=encode_id(round_))
        await self._call("POST", path, wire.SendPacket(sealed=sealed).model_dump_json().encode())

    async def packets(self, round_: bytes) -> wire.Round:
        """Every packet of a round whose window is over. The bearer is the round's token."""
        return await self._get(wire.Round, Route.ROUND.format(round=encode_id(round_)))

    async def remove_box(self, box: bytes) -> None:
        """Ends a box and all in it."""
        await self._call("DELETE", Route.BOX.format(box=encode_id(box)))

    def _check_reachable(self) -> None:
        if self._astray:  # not at construction: what is in the vault can be read and cleared without a line
            raise Unreachable("an onion service is reached through Tor: start it, then `pourparler proxy tor`")

    async def _get(self, kind: type[R], path: str) -> R:
        return _parse(kind, await self._call("GET", path))

    async def _send(self, kind: type[R], method: str, path: str, request: wire.Request) -> R:
        return _parse(kind, await self._call(method, path, request.model_dump_json().encode()))

    async def _call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        kind: str = "application/json",
        most: int = _MAX_REPLY,
    ) -> bytes:
        headers = {"Content-Type": kind} if body is not None else None
        self._check_reachable()
        try:
            async with self._http.stream(method, path, content=body, headers=headers) as response:
                data = await _read(response, most)
        except httpx.TransportError:
            raise Unreachable(_SILENT_PROXIED if self._proxied else _SILENT) from None
        if response.status_code >= 300:
            raise _problem(response.status_code, response.headers, data)
        return data


async def _read(response: httpx.Response, most: int = _MAX_REPLY) -> bytes:
    parts = bytearray()
    async for part in response.aiter_raw():
        parts += part
        if len(parts) > most:
            raise Refused("the service's answer is larger than any answer may be")
    return bytes(parts)


async def _events(response: httpx.Response) -> AsyncIterator[tuple[str, bytes]]:
    """Server-sent events (WHATWG HTML, 9.2): name and data of each; comments are dropped."""
    buffer = b""
    async for part in response.aiter_raw():
        buffer += part
        *blocks, buffer = buffer.split(b"\n\n")
        if len(buffer) > _MAX_EVENT:
            raise Refused("the service sent a larger event than any event may be")
        for block in blocks:
            fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line)
            yield fields.get(b"event", b"message").decode(errors="replace"), fields.get(b"data", b"")


def _parse(kind: type[R], data: bytes) -> R:
    try:
        return kind.model_validate_json(data)
    except ValidationError:
        raise Refused(
            "the service's answer is not what the protocol demands: is this a Pourparler service?"
        ) from None


def _problem(status: int, headers: httpx.Headers, data: bytes) -> Refused | Unreachable:
    try:
        document = wire.ProblemDocument.model_validate_json(data)
        problem = Problem(document.type.removeprefix(wire.PROBLEM_URN))
    except (ValidationError, ValueError):
        if status in _NO_ANSWER:
            return Unreachable(_SILENT)
        return Refused(f"the service answered with status {status}: is this a Pourparler service?")
    if problem is Problem.STALE:
        return Stale(SENTENCES[problem], problem)
    if problem is Problem.WRONG_COUNT and document.count is not None:
        return WrongCount(SENTENCES[problem], document.count)
    retry = headers.get("Retry-After", "0")
    return Refused(SENTENCES[problem], problem, int(retry) if retry.isdecimal() and len(retry) < 8 else 0)


# The person gets our own words: a service must not be able to write on the screen.
SENTENCES: Final[dict[Problem, str]] = {
    Problem.MALFORMED: "the service did not understand the request: are both of the same version?",
    Problem.MEDIA_TYPE: "the service did not understand the request: are both of the same version?",
    Problem.TOO_LARGE: "the service does not take anything so large",
    Problem.UNAUTHORIZED: "the service does not know this device, or no longer: ask the others to seat you again",
    Problem.NOT_FOUND: "the service has nothing there",
    Problem.METHOD: "the service does not offer this: are both of the same version?",
    Problem.STALE: "somebody else changed the channel first",
    Problem.WRONG_COUNT: "the service's count for this device differs from the vault's",
    Problem.ID_REUSED: "the service already has other content under this number",
    Problem.OVER_CAP: "the operator of the service does not allow this much: ask for less",
    Problem.BUDGET: "this device has made too many changes, or has only just been seated: wait a minute",
    Problem.GRANT_USED: "this grant has already been used: ask the operator for another",
    Problem.CLOSED: "this channel has been closed",
    Problem.UNAVAILABLE: "the service cannot store anything now: try again in a minute",
}
