"""One real service for the soundings of a module, whose clock the tests set. Vaults are files, keys are keys."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from pourparler_clients.signing_testing import Hours
from pourparler_clients.testing import House
from pourparler_policies.limits import HANDSHAKE_BURST
from pourparler_service.caps import Caps
from pourparler_service.grants import issue
from pourparler_service.settings import Settings
from pourparler_service.testing import threaded


@pytest.fixture(scope="module")
def hours() -> Hours:
    return Hours()


@pytest.fixture(scope="module")
def service(data: Path, hours: Hours) -> Iterator[str]:
    with threaded(Settings(data, Caps(newcomer_handshakes=HANDSHAKE_BURST), clock=hours)) as url:
        yield url


@pytest_asyncio.fixture
async def house(service: str, data: Path, tmp_path: Path) -> AsyncIterator[House]:
    house = House(service, lambda: issue(data)[0], tmp_path)
    yield house
    await house.close()
