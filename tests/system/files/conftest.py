"""One real service for all tests of files, two people of one channel there, and a house for those who need another."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from pourparler_clients.testing import House, Person
from pourparler_policies.limits import HANDSHAKE_BURST
from pourparler_service.grants import issue
from pourparler_service.testing import ServerProcess, running


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def server(data: Path) -> Iterator[ServerProcess]:
    with running(data, "--newcomer-handshakes", str(HANDSHAKE_BURST)) as process:
        yield process


@pytest_asyncio.fixture
async def house(server: ServerProcess, data: Path, tmp_path: Path) -> AsyncIterator[House]:
    house = House(server.url, lambda: issue(data)[0], tmp_path)
    yield house
    await house.close()


@pytest.fixture(scope="session")
def vaults(server: ServerProcess, data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two people of one channel in vaults that nobody has open: for tests that set no clock and end nothing."""

    async def meet() -> dict[str, Path]:
        house = House(server.url, lambda: issue(data)[0], tmp_path_factory.mktemp("pair"))
        people = await house.room("ada", "ben")
        await house.close()
        return {person.name: person.directory for person in people}

    return asyncio.run(meet())


@pytest_asyncio.fixture
async def pair(vaults: dict[str, Path]) -> AsyncIterator[list[Person]]:
    people = [Person.open(path, name) for name, path in vaults.items()]
    for person in people:
        await person.sync()
    yield people
    for person in people:
        await person.close()
