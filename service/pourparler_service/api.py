"""The routes: each takes a request apart, hands an act to the writer, and says what came of it."""

import base64
from collections.abc import Callable
from operator import attrgetter
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from pourparler_policies import limits, wire
from pourparler_policies.wire import Problem

from . import acts, attaching, halves, rounds
from .access import Gate, bearer, path_id
from .append import Append, check_size
from .attachments import Asked
from .board import Board
from .boardapi import BoardApi
from .bodies import BYTES, read, read_bytes
from .desk import Desk
from .deskapi import DeskApi
from .outside import Outside
from .problems import Refusal, unauthorized
from .roundapi import RoundApi
from .schema import HEADED, ROUTES
from .settings import SOFTWARE, Settings
from .state import ChannelState, DeviceState, Registry
from .storagekeys import KeyNeeded
from .streams import Hub, Stream
from .tally import Tallies
from .tallyapi import TallyApi
from .writer import Batch, Writer

T = TypeVar("T")

JSON = "application/json"
KEY_TRIES = 5  # an end may pass, or the clock jump, between the making of a key and its use
Cursor = Annotated[int, Query(ge=0, le=limits.MAX_SEQ, description="the last seq that the client has")]
Limit = Annotated[int, Query(ge=1, le=limits.MAX_PAGE_ENTRIES)]


def _answer(reply: wire.Reply, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(reply.model_dump_json(exclude_none=True), status, headers, media_type=JSON)


class Api:
    """The service's routes over its parts."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        writer: Writer,
        hub: Hub,
        outside: Outside,
        incarnation: bytes,
        desk: Desk,
        board: Board,
        tallies: Tallies,
        answers: Callable[[], bool],
    ) -> None:
        self._settings, self._registry, self._writer, self._hub = settings, registry, writer, hub
        self._outside, self._answers = outside, answers
        self._caps, self._incarnation = settings.caps, incarnation
        self._gate = Gate(settings, registry, writer)
        self.desk, self.board = DeskApi(desk), BoardApi(board, incarnation)
        self.tallies = TallyApi(tallies)
        self.rounds = RoundApi(settings, writer, hub.pages)

    async def service(self) -> Response:
        """What this service is, and the operator's caps."""
        return _answer(
            wire.Service(software=SOFTWARE, incarnation=self._incarnation, caps=self._caps.on_the_wire())
        )

    async def ready(self) -> Response:
        """Whether this process reaches what it stores in: for a proxy that chooses among several."""
        if not self._answers():
            raise Refusal(Problem.UNAVAILABLE)
        return Response(status_code=204)

    async def create_channel(self, request: Request) -> Response:
        """Create a channel with the operator's grant as bearer."""
        grant = bearer(request)
        asked = await read(request, wire.CreateChannel)
        await self._writer.submit(acts.create_channel(grant, asked, self._caps))
        channel = await self._registry.fresh(asked.channel)
        device = channel.by_id.get(asked.device) if channel else None
        if channel is None or device is None:
            raise unauthorized()
        return _answer(self._view(channel, device), 201)

    async def channel(self, request: Request) -> Response:
        """The channel as the asking device sees it."""
        channel, device, _ = await self._gate.admit(request)
        return _answer(self._view(channel, device))

    def _view(self, channel: ChannelState, device: DeviceState) -> wire.Channel:
        return wire.Channel(
            incarnation=self._incarnation,
            head=channel.head,
            handshake_head=channel.handshake_head,
            first_seq=device.first_seq,
            count=device.count,
            absence_limit=channel.absence_limit,
        )

    async def append(self, request: Request) -> Response:
        """Append a sealed entry; with a handshake it may let a device in."""
        channel, device, token = await self._gate.admit(request, fresh=False)
        asked = await read(request, wire.Append)
        check_size(asked.sealed)
        if asked.admit is not None:
            check_size(asked.admit.welcome)
            if not asked.handshake:
                raise Refusal(Problem.MALFORMED, "Only a handshake lets a device in.")
        channel.pins += 1
        try:
            receipt = await self._keyed(Append(channel, device, token, asked, self._caps))
        finally:
            channel.pins -= 1
        return Response(b'{"seq":%d,"received_at":%d,"expires_at":%d}' % receipt, 201, media_type=JSON)

    async def page(self, request: Request, after: Cursor = 0, limit: Limit = limits.MAX_PAGE_ENTRIES) -> Response:
        """Entries after a cursor."""
        channel, device, _ = await self._gate.admit(request)
        after = max(after, device.first_seq - 1)
        channel.pins += 1
        try:
            frames, head = await self._hub.pages.read(channel, after, self._settings.clock(), limit)
        finally:
            channel.pins -= 1
        return Response(
            b'{"incarnation":"%b","head":%d,"entries":[%b]}'
            % (self._hub.incarnation.encode(), head, b",".join([frame.json for frame in frames])),
            media_type=JSON,
        )

    async def delete_entry(self, request: Request) -> Response:
        """End an entry before its time, with the author's delete secret."""
        channel, _, _ = await self._gate.admit(request)
        asked = await read(request, wire.Deletion)
        entry = path_id(request, "entry")
        if entry is None:
            raise Refusal(Problem.NOT_FOUND)
        await self._in(channel, acts.delete_entry(channel, entry, asked.secret))
        return Response(status_code=204)

    async def stream(self, request: Request, after: Cursor = 0) -> Stream:
        """Entries as server-sent events, from a cursor on."""
        channel, device, _ = await self._gate.admit(request)
        last = request.headers.get("last-event-id", "")
        if last:
            if not last.isascii() or not last.isdecimal() or len(last) > 16 or int(last) > limits.MAX_SEQ:
                raise Refusal(Problem.MALFORMED, "Last-Event-ID is no seq.")
            after = max(after, int(last))
        return Stream(self._hub, channel, device, after, lambda: self._gate.used(device, self._settings.clock()))

    async def end_device(self, request: Request) -> Response:
        """End one's own token. The last device to go takes the channel with it."""
        channel, device, _ = await self._gate.admit(request)
        await self._in(channel, acts.end_device(self._registry, channel, device))
        await self._outside.settled()
        return Response(status_code=204)

    async def revoke(self, request: Request) -> Response:
        """Ask that another device's token end. It does when more than half of the others have asked."""
        channel, device, _ = await self._gate.admit(request)
        target = path_id(request, "device")
        if target is None:
            raise Refusal(Problem.NOT_FOUND)
        ended = await self._in(channel, acts.revoke(self._registry, channel, device, target))
        if ended:
            await self._outside.settled()
        return Response(status_code=204 if ended else 202)

    async def create_box(self, request: Request) -> Response:
        """Open a one-time drop box for an invitation."""
        channel, device, _ = await self._gate.admit(request)
        asked = await read(request, wire.CreateBox)
        await self._in(channel, acts.create_box(channel, device, asked, self._caps))
        return Response(status_code=204)

    async def delete_box(self, request: Request) -> Response:
        """Erase a box."""
        token, box = bearer(request), path_id(request, "box")
        if box is None:
            raise unauthorized()
        await self._writer.submit(acts.delete_box(box, token), after_scrub=True)
        return Response(status_code=204)

    async def deposit(self, request: Request) -> Response:
        """Write a slot of a box, once."""
        token, box, slot = self._slot(request)
        asked = await read(request, wire.Deposit)
        check_size(asked.sealed)
        if len(asked.sealed) > self._caps.largest_entry:
            raise Refusal(Problem.OVER_CAP, f"Sealed bytes are at most {self._caps.largest_entry} here.")
        await self._writer.submit(acts.deposit(box, token, slot, asked.sealed, self._caps))
        return Response(status_code=204)

    async def deposited(self, request: Request) -> Response:
        """Read a slot of a box."""
        token, box, slot = self._slot(request)
        sealed, expires_at = await self._hub.pages.slot(box, token, slot, self._settings.clock())
        return _answer(wire.Deposited(sealed=sealed, expires_at=expires_at))

    async def halves(self, request: Request) -> Response:
        """Ask for this device's key halves for a run of ends. Those that are over are left out."""
        channel, device, _ = await self._gate.admit(request)
        channel.pins += 1
        try:
            asked = await read(request, wire.AskHalves)
            now, last = self._settings.clock(), asked.first + (asked.number - 1) * asked.step
            if last > halves.latest_end(now, self._caps.longest_life):
                raise Refusal(
                    Problem.OVER_CAP, f"Nothing lives longer than {self._caps.longest_life} seconds here."
                )
            ends = range(asked.first, last + 1, asked.step)
            mine = halves.owner(channel.channel, device.token_hash)
            # Before the first wait since the token was seen to live: its end, too, is queued behind this.
            if device.ended or channel.erased:
                raise unauthorized()
            found = await self._outside.halves.ask(mine, ends, now, self._caps.halves_a_device)
            await self._registry.fresh(channel.channel)
            if device.ended or channel.erased:
                self._outside.halves.forget([mine])  # it may have ended elsewhere before they were made
                raise unauthorized()
        finally:
            channel.pins -= 1
        if not found:
            raise Refusal(Problem.NOT_FOUND, "All of these ends are over.")
        first = last - (len(found) - 1) * asked.step
        return _answer(
            wire.Halves(incarnation=self._incarnation, first=first, step=asked.step, halves=found), headers=_SECRET
        )

    async def create_attachment(self, request: Request) -> Response:
        """Make room for an attachment, which is then sent and fetched with its own token."""
        channel, device, _ = await self._gate.admit(request)
        asked = await read(request, wire.CreateAttachment)
        channel.pins += 1
        try:
            await self._keyed(attaching.create_attachment(channel, device, asked, self._caps))
        finally:
            channel.pins -= 1
        return Response(status_code=204)

    async def attachment(self, request: Request) -> Response:
        """What the service has of an attachment."""
        held = await self._outside.attachments.state(self._attachment(request))
        return _answer(wire.Attachment(size=held.size, missing=held.missing, expires_at=held.expires_at))

    async def put_chunk(self, request: Request) -> Response:
        """Send a chunk. It is answered when it is durable."""
        asked, number = self._chunk(request)
        await self._outside.attachments.write(asked, number, await read_bytes(request))
        return Response(status_code=204)

    async def chunk(self, request: Request) -> Response:
        """Fetch a chunk."""
        asked, number = self._chunk(request)
        return Response(await self._outside.attachments.read(asked, number), media_type=BYTES)

    async def delete_attachment(self, request: Request) -> Response:
        """End an attachment before its time, with its author's delete secret."""
        at = self._attachment(request)
        asked = await read(request, wire.Deletion)
        act = attaching.delete_attachment(at.attachment, at.token, asked.secret)
        await self._writer.submit(act, after_scrub=True)
        await self._outside.settled()
        return Response(status_code=204)

    async def create_round(self, request: Request) -> Response:
        """Make room for a round of ideas, whose packets are then sent and fetched with its own token."""
        channel, device, _ = await self._gate.admit(request)
        asked = await read(request, wire.CreateRound)
        channel.pins += 1
        try:
            await self._keyed(rounds.create_round(channel, device, asked, self._caps))
        finally:
            channel.pins -= 1
        return Response(status_code=204)

    def _attachment(self, request: Request) -> Asked:
        token, attachment = bearer(request), path_id(request, "attachment")
        if attachment is None:
            raise unauthorized()
        return Asked(attachment, token, self._settings.clock())

    def _chunk(self, request: Request) -> tuple[Asked, int]:
        asked, chunk = self._attachment(request), request.path_params["chunk"]
        if chunk not in _CHUNKS:
            raise Refusal(Problem.NOT_FOUND)
        return asked, int(chunk)

    def _slot(self, request: Request) -> tuple[bytes, bytes, int]:
        token, box, slot = bearer(request), path_id(request, "box"), request.path_params["slot"]
        if box is None:
            raise unauthorized()
        if slot not in _SLOTS:
            raise Refusal(Problem.NOT_FOUND)
        return token, box, int(slot)

    async def _keyed(self, act: Callable[[Batch], T]) -> T:
        """Run an act that stores something under a storage key, which is made when it is the first of its end."""
        for _ in range(KEY_TRIES):
            try:
                return await self._writer.submit(act)
            except KeyNeeded as needed:
                await self._outside.keys.make(needed.end, self._settings.clock())
        raise Refusal(Problem.UNAVAILABLE)

    async def _in(self, channel: ChannelState, act: Any) -> Any:
        """Run an act on a channel, which stays in memory until it is done; what it deletes is then in no file."""
        channel.pins += 1
        try:
            return await self._writer.submit(act, after_scrub=True)
        finally:
            channel.pins -= 1

    def router(self) -> APIRouter:
        """All routes, with their documentation."""
        router = APIRouter(redirect_slashes=False)
        for method, path, name, described in ROUTES:
            router.add_api_route(
                path.value,
                attrgetter(name)(self),
                methods=[method],
                response_model=None,
                operation_id=name.replace(".", "_"),
                **described,
            )
            if path in HEADED:  # the server leaves the body away
                router.add_api_route(
                    path.value,
                    attrgetter(name)(self),
                    methods=["HEAD"],
                    response_model=None,
                    include_in_schema=False,
                )
        return router


_SLOTS = frozenset(map(str, range(limits.BOX_SLOTS)))
_CHUNKS = frozenset(map(str, range(limits.MAX_CHUNKS)))
_SECRET = {"Cache-Control": "no-store"}


def text(incarnation: bytes) -> str:
    """As it stands in JSON."""
    return base64.urlsafe_b64encode(incarnation).decode()
