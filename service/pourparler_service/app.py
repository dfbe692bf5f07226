"""Puts the parts together: one FastAPI application over one data directory."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from pourparler_policies.wire import Problem

from .api import Api, text
from .database import Database, DataError, connect
from .pages import Pages
from .problems import Refusal, respond
from .purger import Purger
from .schema import describe, methods
from .settings import Settings
from .state import Registry
from .streams import Hub
from .writer import Writer

_log = logging.getLogger("pourparler.service")


async def _heartbeat(hub: Hub) -> None:
    while True:
        await asyncio.sleep(hub.settings.heartbeat)
        hub.beat()


def create_app(settings: Settings) -> FastAPI:
    """The service over `settings.data`. It opens the directory when it starts; DataError when it cannot."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            database = Database(settings.data, restored=settings.restored)
        except DataError as error:
            app.state.failure = error
            raise
        reader = connect(database.path, read_only=True)
        pages = Pages(database.path)
        writer = Writer(database, settings.clock)
        registry = Registry(reader)
        hub = Hub(settings, pages, text(database.incarnation))
        purger = Purger(settings, registry, writer)
        await purger.once()  # before anything is served: a restored database may hold what expired long ago (#12)
        app.include_router(Api(settings, registry, writer, hub, database.incarnation).router())
        app.state.hub = hub
        tasks = [asyncio.create_task(purger.run()), asyncio.create_task(_heartbeat(hub))]
        try:
            yield
        finally:
            hub.end_all()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await writer.close()
            pages.close()
            reader.close()
            database.close()

    app = FastAPI(
        lifespan=lifespan, title="Pourparler service", docs_url=None, redoc_url=None,
        openapi_url="/v1/openapi.json",
        redirect_slashes=False,
    )  # fmt: skip
    app.state.hub = None
    app.state.failure = None
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(Exception, _broken)
    return app


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


async def _broken(_request: Request, error: Exception) -> Response:
    _log.error("an unexpected fault: %s", type(error).__name__)
    return respond(Refusal(Problem.UNAVAILABLE))
