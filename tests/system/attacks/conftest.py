"""One real service for the attacks of a module. Everybody may post a full burst of handshakes, as after a while."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pourparler_policies.limits import HANDSHAKE_BURST
from pourparler_service.testing import ServerProcess, running


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[ServerProcess]:
    with running(data, "--newcomer-handshakes", str(HANDSHAKE_BURST)) as process:
        yield process
