"""What is wrong with a configuration, in sentences, before anybody relies on it: `pourparler serve --check`."""

import argparse
import asyncio
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from .database import DataError
from .settings import OPTIONS, PREFIX, Settings, setting_names

SKEW: Final = 5.0  # seconds that the clocks of this host and of a database may differ: ends are round to ten
BUS_PATIENCE: Final = 5  # seconds
# Settings of other programs.
OTHERS: Final = frozenset(PREFIX + name for name in ("VAULT", "DEBUG", "LONG", "NO_SKIP", "SEED"))
ROOM: Final = 1024**3  # bytes that should be free


def look(settings: Settings) -> list[str]:
    """Sentences; none when all is well. Nothing is made or changed but what a start would make."""
    if settings.database_url is None:
        return _directory(settings)
    try:
        from .postgres.checks import shared  # noqa: PLC0415 - its driver is an extra
    except ImportError:
        return ["PostgreSQL needs its driver: pip install 'pourparler[postgres]'."]
    found = shared(settings.database_url, settings.outside_url or "", time.time, SKEW)
    if settings.bus_url:
        found += asyncio.run(_bus(settings.bus_url))
    return found


def look_around(config: Path | None, environment: Mapping[str, str]) -> list[str]:
    """Of where settings come from: who may read them, and names that mean nothing."""
    found = []
    if config is not None and config.stat().st_mode & 0o007:
        found.append(f"The configuration {config} can be read by everybody on this machine: chmod o= {config}.")
    names = {PREFIX + name.replace("-", "_").upper() for name in setting_names()} | OTHERS
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in names and not name.startswith(PREFIX + "TEST_"):
            found.append(f"The environment has {name}, which is no setting.")
    return found


def visible(args: argparse.Namespace) -> list[str]:
    """Of secrets in options, which everybody on the machine can see."""
    found = []
    for name, _, _ in OPTIONS:
        value = urlsplit(str(getattr(args, name.replace("-", "_"), None) or ""))
        if value.password or "password=" in value.query:
            found.append(
                f"The option --{name} has a password in it, which everybody on this machine can see: put it into the"
                " file of --config."
            )
    return found


def _directory(settings: Settings) -> list[str]:
    from .database import Database  # noqa: PLC0415 - as above
    from .outside import Outside  # noqa: PLC0415

    data = settings.data
    if data is None:
        return ["The service needs a data directory, or the addresses of its databases."]
    found = []
    try:
        if not data.exists():
            if not data.parent.exists():
                return [f"The data directory {data} cannot be made: {data.parent} does not exist."]
            return []
        if data.stat().st_mode & 0o077:
            found.append(f"The data directory {data} can be read by others: chmod 700 {data}.")
        if shutil.disk_usage(data).free < ROOM:
            found.append(f"Less than {ROOM >> 30} GiB is free for {data}.")
        with Database(data) as database:
            Outside(database).close()
    except DataError as error:
        found.append(str(error))
    except OSError as error:
        found.append(f"The data directory {data} cannot be used: {error.strerror}.")
    return found


async def _bus(url: str) -> list[str]:
    try:
        import nats  # noqa: PLC0415 - as above
    except ImportError:
        return ["NATS needs the package nats-py: pip install 'pourparler[postgres]'."]

    async def ignore(_error: Exception) -> None:
        pass

    try:
        async with asyncio.timeout(BUS_PATIENCE):
            client: Any = await nats.connect(
                url, allow_reconnect=False, connect_timeout=BUS_PATIENCE, error_cb=ignore
            )
        await client.close()
    except (OSError, TimeoutError, nats.errors.Error, ValueError) as error:
        return [
            f"NATS does not answer ({type(error).__name__}): processes would notice each other once a second only."
        ]
    return []
