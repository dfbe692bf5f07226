"""Puts the parts together: one FastAPI application over one engine.

Appends go past FastAPI's routing, straight to the endpoint that it would choose: routing was four fifths of their
cost. The endpoint, its refusals and its documentation are the same.
"""

import asyncio
import contextlib
import functools
import json
import logging
import re
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from pourparler_policies.wire import Problem, Route

from .answers import Answers
from .api import Api, text
from .bodies import UnderWay
from .database import DataError
from .embedded import EmbeddedParts
from .guesses import Guesses
from .metrics import Metrics
from .problems import Refusal, respond
from .purger import Purger
from .schema import describe, methods
from .settings import Settings
from .streams import Hub

_ENTRIES = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", Route.ENTRIES.value))
DOCUMENT: Final = "/v1/openapi.json"
_BEGAN: Final = "pourparler.began"  # when a request's head was whole, by `time.monotonic`
_FAULT: Final = "The service ended by an unexpected fault: "
_REFUSED: Final = "The service cannot start: its disk or its database takes nothing now. Is the disk full?"
_log = logging.getLogger("pourparler.service")


class Service(FastAPI):
    """The application."""

    hub: Hub | None = None
    failure: DataError | None = None  # why it could not start
    append: Callable[[Request], Awaitable[Response]] | None = None
    metrics: Metrics
    guesses: Guesses
    under_way: UnderWay
    answers: Answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            scope["app"], scope[_BEGAN] = self, time.monotonic()
        if scope["type"] == "http" and scope["method"] == "POST" and self.append is not None:
            found = _ENTRIES.fullmatch(scope["path"])
            if found is not None:
                scope["path_params"] = found.groupdict()
                response = await self._answer(self.append, Request(scope, receive))
                self.metrics.answered(response.status_code)
                await response(scope, receive, send)
                return
        if scope["type"] == "http":
            send = self.answers.sender(scope, receive, self._counting(send))
        await super().__call__(scope, receive, send)

    def _counting(self, send: Send) -> Send:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.metrics.answered(message["status"])
            await send(message)

        return counted

    async def _answer(self, endpoint: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
        try:
            return await endpoint(request)
        except Refusal as refusal:
            return await _refused(request, refusal)
        except Exception as error:
            return await _broken(request, error)


async def _heartbeat(hub: Hub) -> None:
    while True:
        await asyncio.sleep(hub.settings.heartbeat)
        hub.beat()


async def end(tasks: Collection["asyncio.Task[None]"]) -> None:
    """Cancel tasks until they have ended: what runs in them may forget a cancellation, and the service must stop."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=1)
    await asyncio.gather(*tasks, return_exceptions=True)


def _open(settings: Settings) -> Any:
    if settings.database_url is None:
        return EmbeddedParts(settings)
    try:
        from .postgres.parts import SharedParts  # noqa: PLC0415 - its driver is an extra
    except ImportError:
        raise DataError("PostgreSQL needs its driver: pip install 'pourparler[postgres]'.") from None
    return SharedParts(settings)


async def _prepare(service: Service, settings: Settings, parts: Any) -> tuple[Hub, Purger]:
    """All that comes before anything is served: a restored database may hold what expired long ago (#12)."""
    outside, writer, registry = parts.outside, parts.writer, parts.registry
    hub = Hub(settings, parts.pages, text(parts.incarnation))
    purger = Purger(settings, registry, writer, outside, service.metrics.purged)
    await purger.once()
    await parts.erase_lost()
    await outside.settled()
    await parts.desk.begin(parts.connection)
    await parts.tallies.begin()
    told = (parts.incarnation, parts.desk, parts.board, parts.tallies, parts.answers)
    api = Api(settings, registry, writer, hub, outside, *told)
    service.include_router(api.router())
    service.append, service.hub = api.append, hub
    return hub, purger


def _told(error: BaseException) -> DataError:
    """Why the service cannot start, or go on, in a sentence."""
    if isinstance(error, DataError):
        return error
    if isinstance(error, Refusal):
        return DataError(_REFUSED)
    return DataError(_FAULT + type(error).__name__ + ".")


def create_app(settings: Settings) -> Service:
    """The service over one of its engines. It opens what it stores in when it starts; DataError when it cannot."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            parts = _open(settings)
            hub, purger = await _prepare(service, settings, parts)
        except Exception as error:  # whatever it is: a start that failed must not look like a clean stop
            service.failure = _told(error)
            raise service.failure from None
        running = [purger.run(), _heartbeat(hub), parts.desk.run(), parts.tallies.run(), *parts.background()]
        running.append(parts.writer.breakage.watch())
        tasks = [asyncio.create_task(one) for one in running]
        for task in tasks:
            task.add_done_callback(ended)
        try:
            yield
        finally:
            hub.end_all()
            await end(tasks)
            await parts.close()

    def ended(task: "asyncio.Task[None]") -> None:
        """What runs beside the service ended by itself: the service cannot go on."""
        if task.cancelled() or service.failure is not None:
            return
        error = task.exception()
        if error is not None:
            service.failure = _told(error)
            signal.raise_signal(signal.SIGTERM)

    metrics = Metrics(settings.clock)
    service = Service(
        lifespan=lifespan, title="Pourparler service", docs_url=None, redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )  # fmt: skip
    service.metrics, service.guesses, service.under_way = metrics, Guesses(), UnderWay()
    service.answers = Answers()

    @functools.cache
    def document() -> bytes:
        """Written once: FastAPI's own route writes it for everybody who asks, at the cost of forty other answers."""
        return json.dumps(describe(service), separators=(",", ":")).encode()

    async def described(_request: Request) -> Response:
        return Response(document(), media_type="application/json")

    service.add_route(DOCUMENT, described, include_in_schema=False)
    service.add_exception_handler(Refusal, _refused)
    service.add_exception_handler(HTTPException, _http)
    service.add_exception_handler(RequestValidationError, _malformed)
    service.add_exception_handler(Exception, _broken)
    return service


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, Refusal):
        raise error
    if error.problem is Problem.UNAUTHORIZED:
        try:
            await request.app.guesses.refuse(request.scope[_BEGAN])
        except Refusal as busy:
            return respond(busy)
    return respond(error)


async def _http(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 405:
        return respond(
            Refusal(
                Problem.METHOD, headers={"Allow": ", ".join(methods(request.scope["path"]) or ["GET", "HEAD"])}
            )
        )
    if isinstance(error, HTTPException) and error.status_code == 404:
        return respond(Refusal(Problem.NOT_FOUND))
    return respond(Refusal(Problem.MALFORMED))


async def _malformed(_request: Request, _error: Exception) -> Response:
    return respond(Refusal(Problem.MALFORMED, "A parameter is not of its form."))


async def _broken(request: Request, error: Exception) -> Response:
    request.app.metrics.fault()
    _log.error("an unexpected fault: %s", type(error).__name__)
    return respond(Refusal(Problem.UNAVAILABLE))
