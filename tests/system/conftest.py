"""One real service process for all tests of a module, and a house with people in it for each test.

`service` is for folders whose tests set its clock (`hours`): vaults are files, keys are keys, time is theirs.
"""

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
from pourparler_service.testing import ServerProcess, running, threaded


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[ServerProcess]:
    # People of these tests change keys and invite as soon as they are seated.
    with running(data, "--newcomer-handshakes", str(HANDSHAKE_BURST)) as process:
        yield process


@pytest.fixture(scope="module")
def hours() -> Hours:
    return Hours()


@pytest.fixture(scope="module")
def service(data: Path, hours: Hours) -> Iterator[str]:
    with threaded(Settings(data, Caps(newcomer_handshakes=HANDSHAKE_BURST), clock=hours)) as url:
        yield url


@pytest_asyncio.fixture
async def house(server: ServerProcess, data: Path, tmp_path: Path) -> AsyncIterator[House]:
    house = House(server.url, lambda: issue(data)[0], tmp_path)
    yield house
    await house.close()
