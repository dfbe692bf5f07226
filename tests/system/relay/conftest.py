"""One real service and two rooms for all relayed releases: founding and attesting them takes longer than any test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from pourparler_clients.onetext_testing import Shuttle, shuttle_room
from pourparler_clients.signing_testing import Hours
from pourparler_clients.testing import House
from pourparler_policies.limits import HANDSHAKE_BURST
from pourparler_service.caps import Caps
from pourparler_service.grants import issue
from pourparler_service.settings import Settings
from pourparler_service.testing import threaded


@pytest.fixture(scope="package")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="package")
def hours() -> Hours:
    return Hours()


@pytest.fixture(scope="package")
def service(data: Path, hours: Hours) -> Iterator[str]:
    with threaded(Settings(data, Caps(newcomer_handshakes=HANDSHAKE_BURST), clock=hours)) as url:
        yield url


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def rooms(
    service: str, data: Path, hours: Hours, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Shuttle]:
    house = House(service, lambda: issue(data)[0], tmp_path_factory.mktemp("people"))
    yield await shuttle_room(house, hours)
    await house.close()


@pytest_asyncio.fixture(loop_scope="session")
async def talks(rooms: Shuttle) -> AsyncIterator[Shuttle]:
    """The same two rooms, with nothing on the table."""
    yield rooms
    await rooms.cleared()
