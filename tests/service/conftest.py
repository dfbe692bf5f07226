"""One real server process for all tests of a module, and a client of it, on SQLite or PostgreSQL."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pourparler_service.postgres.testing import databases, reachable
from pourparler_service.testing import ServerProcess, running


@pytest.fixture(scope="session")
def postgres() -> None:
    if not reachable():
        pytest.skip("no PostgreSQL at 127.0.0.1:5432 (or POURPARLER_TEST_POSTGRES): nothing was tested on it")


@pytest.fixture(scope="module")
def engine() -> str:
    """A module that defines this fixture anew, with two values, runs its tests on both engines."""
    return os.environ.get("POURPARLER_TEST_ENGINE", "sqlite")


@pytest.fixture(scope="module")
def data(engine: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("data")
    if engine == "sqlite":
        yield folder
        return
    request.getfixturevalue("postgres")
    with databases(folder):
        yield folder


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[ServerProcess]:
    with running(data) as process:
        yield process


@pytest.fixture
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20) as one:
        yield one
