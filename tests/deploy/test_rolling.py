"""Two processes behind the proxy, restarted one after the other under load: no entry is lost, or comes twice."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.load import Author, Reader, ended

from pourparler_service.postgres.testing import bus_reachable, databases, reachable
from pourparler_service.testing import ServerProcess, found_channel

from .front import NGINX, OPENSSL, Front


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    if NGINX is None or OPENSSL is None or not reachable() or not bus_reachable():
        pytest.skip("needs nginx, PostgreSQL and NATS")
    with databases(tmp_path / "data", bus=True):
        yield tmp_path / "data"


@pytest.mark.slow
def test_a_rolling_restart_under_load_loses_nothing(data: Path, tmp_path: Path) -> None:
    processes = [ServerProcess(data) for _ in range(2)]
    ports = [process.url.rpartition(":")[2] for process in processes]
    (tmp_path / "front").mkdir()
    front = Front(tmp_path / "front", *(process.url for process in processes))
    try:
        with front.client() as client:
            devices = found_channel(client, data, 3)
        authors = [Author(one, lambda: front.url, random.Random(one.device), front.trust) for one in devices]
        reader = Reader(devices[0], lambda: front.url, front.trust)
        for one in (*authors, reader):
            one.start()
        for number in (0, 1):
            time.sleep(1)
            assert processes[number].stop() == (0, "")
            processes[number] = ServerProcess(data, "--port", ports[number])
        time.sleep(1)
        expected = ended(authors, 30)
        assert not [wrong for author in authors for wrong in author.wrong]
        assert expected
        deadline = time.monotonic() + 30
        while not expected.items() <= dict(reader.seen).items() and time.monotonic() < deadline:
            time.sleep(0.1)
        reader.ending.set()
        reader.join(30)
        assert expected.items() <= dict(reader.seen).items()
        assert len({seq for seq, _ in reader.seen}) == len(reader.seen)
    finally:
        front.close()
        for process in processes:
            if process.process.poll() is None:
                process.stop()
