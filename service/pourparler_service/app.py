"""Puts the parts together: one FastAPI application over one data directory.

Appends go past FastAPI's routing, straight to the endpoint that it would choose: routing was four fifths of their
cost. The endpoint, its refusals and its documentation are the same.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from pourparler_policies.wire import Problem, Route

from .api import Api, text
from .board import Board
from .casestore import open_cases
from .database import Database, DataError, connect
from .desk import Desk
from .metrics import Metrics
from .outside import Outside
from .pages import Pages
from .problems import Refusal, respond
from .purger import Purger
from .schema import describe, methods
from .settings import Settings
from .state import Registry
from .streams import Hub
from .tally import Tallies, open_tallies
from .writer import Writer

_ENTRIES = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", Route.ENTRIES.value))
_log = logging.getLogger("pourparler.service")


class Service(FastAPI):
    """The application."""

    hub: Hub | None = None
    failure: DataError | None = None  # why it could not start
    append: Callable[[Request], Awaitable[Response]] | None = None
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["method"] == "POST" and self.append is not None:
            found = _ENTRIES.fullmatch(scope["path"])
            if found is not None:
                scope["path_params"] = found.groupdict()
                response = await self._answer(self.append, Request(scope, receive))
                self.metrics.answered(response.status_code)
                await response(scope, receive, send)
                return
        if scope["type"] == "http":
            send = self._counting(send)
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
            return respond(refusal)
        except Exception as error:
            return await _broken(request, error)


async def _heartbeat(hub: Hub) -> None:
    while True:
        await asyncio.sleep(hub.settings.heartbeat)
        hub.beat()


def create_app(settings: Settings) -> Service:
    """The service over `settings.data`. It opens the directory when it starts; DataError when it cannot."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            database = Database(settings.data, restored=settings.restored)
            outside = Outside(database)
            cases, counting = open_cases(database), open_tallies(database)
        except DataError as error:
            service.failure = error
            raise
        reader = connect(database.path, read_only=True)
        pages = Pages(database.path)
        writer = Writer(database, outside, settings.clock)
        registry = Registry(reader)
        hub = Hub(settings, pages, text(database.incarnation))
        purger = Purger(settings, registry, writer, outside, metrics.purged)
        # Before anything is served: a restored database may hold what expired long ago (#12).
        await purger.once()
        await outside.settled()
        desk, board = Desk(settings, cases, writer), Board(database.path)
        await desk.begin(database)
        tallies = Tallies(settings, counting)
        await tallies.begin()
        api = Api(settings, registry, writer, hub, outside, database.incarnation, desk, board, tallies)
        service.include_router(api.router())
        service.append, service.hub = api.append, hub
        tasks = [
            asyncio.create_task(purger.run()),
            asyncio.create_task(_heartbeat(hub)),
            asyncio.create_task(desk.run()),
            asyncio.create_task(tallies.run()),
        ]
        try:
            yield
        finally:
            hub.end_all()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await writer.close()
            desk.close()
            tallies.close()
            board.close()
            outside.close()
            pages.close()
            reader.close()
            database.close()

    metrics = Metrics(settings.clock)
    service = Service(
        lifespan=lifespan, title="Pourparler service", docs_url=None, redoc_url=None,
        openapi_url="/v1/openapi.json",
        redirect_slashes=False,
    )  # fmt: skip
    service.metrics = metrics
    service.openapi = lambda: describe(service)  # type: ignore[method-assign]
    service.add_exception_handler(Refusal, _refused)
    service.add_exception_handler(HTTPException, _http)
    service.add_exception_handler(RequestValidationError, _malformed)
    service.add_exception_handler(Exception, _broken)
    return service


async def _refused(_request: Request, error: Exception) -> Response:
    if not isinstance(error, Refusal):
        raise error
    return respond(error)


async def _http(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 405:
        return respond(Refusal(Problem.METHOD, headers={"Allow": ", ".join(methods(request.scope["path"]))}))
    if isinstance(error, HTTPException) and error.status_code == 404:
        return respond(Refusal(Problem.NOT_FOUND))
    return respond(Refusal(Problem.MALFORMED))


async def _malformed(_request: Request, _error: Exception) -> Response:
    return respond(Refusal(Problem.MALFORMED, "A parameter is not of its form."))


async def _broken(request: Request, error: Exception) -> Response:
    request.app.metrics.fault()
    _log.error("an unexpected fault: %s", type(error).__name__)
    return respond(Refusal(Problem.UNAVAILABLE))
