"""Wake-ups between processes: the internal numbers of channels that changed. Nothing depends on their arrival.

Over NATS where there is one, else over PostgreSQL's LISTEN and NOTIFY. A message holds numbers that mean something in
this database only; neither of the two keeps it. Who listens on the network learns when something happens, as who runs
the service does.
"""

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import psycopg
from sqlalchemy import Engine

from ..database import DataError
from .engine import FAULTS, WAITS

CHANNEL: Final = "pourparler"
MOST: Final = 900  # numbers a message: NOTIFY takes 8000 bytes, and a number has up to 8 characters with its comma
PATIENCE: Final = 2.0  # seconds to tell: what waits behind a dead connection is better lost
AGAIN: Final = 2.0  # seconds until a lost connection is tried anew
_log: Final = logging.getLogger("pourparler.service")

Heard = Callable[[Iterable[int]], None]


class Bus(Protocol):
    """What wakes the others. All of it runs on the event loop."""

    async def run(self) -> None:
        """Listen until cancelled."""

    async def tell(self, keys: list[int]) -> None:
        """Tell the others, or lose it."""


class Notices:
    """LISTEN and NOTIFY."""

    def __init__(self, engine: Engine, heard: Heard) -> None:
        self._url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._heard = heard
        self._telling: psycopg.AsyncConnection[Any] | None = None
        self._turn = asyncio.Lock()  # else two that begin to tell would make a connection each, and lose one
        self._closed = False

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                async with await self._connect() as listening:
                    await listening.execute(f"LISTEN {CHANNEL}")
                    async for notice in listening.notifies():
                        if self._telling is not None and notice.pid == self._telling.info.backend_pid:
                            continue  # this process's own
                        with contextlib.suppress(ValueError):
                            self._heard([int(key) for key in notice.payload.split(",")])
            except FAULTS as error:
                _log.error("wake-ups from PostgreSQL are lost for now: %s", type(error).__name__)
            await asyncio.sleep(AGAIN)

    async def tell(self, keys: list[int]) -> None:
        """Tell the others, or lose it."""
        async with self._turn:
            if self._closed:
                return
            try:
                await self._tell(keys)
            except FAULTS:
                await self._drop()

    async def _tell(self, keys: list[int]) -> None:
        if self._telling is None or self._telling.closed:
            self._telling = await self._connect()
        # A dead connection is cut: to cancel what runs on it would wait for the same dead server.
        cut = asyncio.get_running_loop().call_later(PATIENCE, _cut, self._telling)
        try:
            for start in range(0, len(keys), MOST):
                told = ",".join(map(str, keys[start : start + MOST]))
                await self._telling.execute("SELECT pg_notify(%s, %s)", (CHANNEL, told))
        finally:
            cut.cancel()

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(self._url, autocommit=True, **WAITS)

    async def close(self) -> None:
        """Let go."""
        async with self._turn:
            self._closed = True
            await self._drop()

    async def _drop(self) -> None:
        telling, self._telling = self._telling, None
        if telling is not None:
            await telling.close()


def _cut(connection: psycopg.AsyncConnection[Any]) -> None:
    with contextlib.suppress(*FAULTS), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


class Nats:
    """NATS, without its storage."""

    def __init__(self, url: str, service: bytes, heard: Heard) -> None:
        """`service` (16 bytes) tells databases that share a NATS from each other."""
        self._url, self._subject, self._heard = url, f"{CHANNEL}.{service.hex()}", heard
        self._client: Any = None

    async def run(self) -> None:
        """Connect, then listen until cancelled; a lost connection is made again."""
        try:
            import nats  # noqa: PLC0415 - only where it is used
        except ImportError:
            raise DataError("NATS needs the package nats-py: pip install 'pourparler[postgres]'.") from None
        while True:
            try:
                self._client = await nats.connect(
                    self._url,
                    no_echo=True,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=AGAIN,
                    error_cb=_lost,
                    connect_timeout=5,
                )
                await self._client.subscribe(self._subject, cb=self._message)
                await asyncio.Future()
            except (OSError, nats.errors.Error) as error:
                _log.error("wake-ups over NATS are lost for now: %s", type(error).__name__)
            finally:
                await self.close()
            await asyncio.sleep(AGAIN)

    async def _message(self, message: Any) -> None:
        if len(message.data) % 4 == 0 and len(message.data) <= 4 * MOST:
            self._heard(struct.unpack(f">{len(message.data) // 4}I", message.data))

    async def tell(self, keys: list[int]) -> None:
        """Tell the others, or lose it."""
        if self._client is not None and self._client.is_connected:
            for start in range(0, len(keys), MOST):
                some = keys[start : start + MOST]
                with contextlib.suppress(Exception):  # whatever NATS has against it: it may be lost
                    await self._client.publish(self._subject, struct.pack(f">{len(some)}I", *some))

    async def close(self) -> None:
        """Let go."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(2):
                    await client.close()


async def _lost(error: Exception) -> None:
    _log.error("NATS: %s", type(error).__name__)
