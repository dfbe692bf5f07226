"""One real service for the releases of a module, whose clock the tests set. Vaults are files, keys are keys."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from pourparler_clients.testing import House
from pourparler_service.grants import issue


@pytest_asyncio.fixture
async def house(service: str, data: Path, tmp_path: Path) -> AsyncIterator[House]:
    house = House(service, lambda: issue(data)[0], tmp_path)
    yield house
    await house.close()
