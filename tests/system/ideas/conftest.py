"""One real service for the rounds of a module, whose clock the tests set, and one channel in which they are held.

Dan is in it, and never stays: his device joins no round, and reads afterwards.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from pourparler_clients.ideas_testing import Circle, idea_circle
from pourparler_clients.signing_testing import Hours
from pourparler_clients.testing import House
from pourparler_service.grants import issue


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def circle(
    service: str, data: Path, hours: Hours, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Circle]:
    house = House(service, lambda: issue(data)[0], tmp_path_factory.mktemp("vaults"))
    made = await idea_circle(house, hours, "ada", "ben", "cleo", "dan")
    made.person("dan").channel.ideas.attends = False
    yield made
    for person in made.people:  # also those who were started anew
        await person.close()
    await house.close()
