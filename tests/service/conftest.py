"""One real server process for all tests of a module, and a client of it: on SQLite, and again on PostgreSQL.

What looks into the files of the embedded engine, or has nothing to do with an engine, is marked `embedded`: alone or as
a whole module. Everything else runs on both.
"""

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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of the embedded engine do not run on the other one."""
    names = ["embedded", *([] if os.environ.get("POURPARLER_LONG") else ["long_on_postgresql"])]
    over_there = [one for one in items if _engine_of(one) == "postgresql"]
    away = [one for one in over_there if any(one.get_closest_marker(name) for name in names)]
    if away:
        config.hook.pytest_deselected(items=away)
        items[:] = [one for one in items if one not in set(away)]


def _engine_of(item: pytest.Item) -> object:
    return item.callspec.params.get("engine") if hasattr(item, "callspec") else None


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def data(engine: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("data")
    if engine == "sqlite":
        yield folder
        return
    request.getfixturevalue("postgres")
    with databases(folder):
        yield folder


@pytest.fixture
def place(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """For one test alone: a directory for the service, or one with a configuration that names two new databases."""
    if engine == "sqlite":
        yield tmp_path
        return
    request.getfixturevalue("postgres")
    with databases(tmp_path):
        yield tmp_path


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[ServerProcess]:
    with running(data) as process:
        yield process


@pytest.fixture
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20) as one:
        yield one
