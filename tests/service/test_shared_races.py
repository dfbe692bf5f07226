"""Several processes in each other's way: what one of them does late, or knows late, takes nothing from anybody."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from pourparler_policies.limits import DAY, HOUR
from pourparler_policies.wire import Route
from pourparler_service.database import DataError
from pourparler_service.postgres import parts
from pourparler_service.postgres.batch import SharedBatch
from pourparler_service.postgres.engine import Links, driver, engine
from pourparler_service.postgres.halves import Apart, SharedHalves
from pourparler_service.postgres.partitions import Bodies
from pourparler_service.postgres.parts import SharedParts
from pourparler_service.postgres.registry import SharedRegistry
from pourparler_service.postgres.testing import administer, databases
from pourparler_service.purger import Purger
from pourparler_service.state import ChannelState
from pourparler_service.testing import TestDevice, found_channel, problem, seat, settings_of, threaded

START = 1_800_000_000 + 1
END = START - 1 + HOUR


@pytest.fixture(scope="module")
def place(postgres: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """For all tests in which time stands still."""
    folder = tmp_path_factory.mktemp("races")
    with databases(folder) as name:
        yield folder, name


@pytest.fixture
def own(postgres: None, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    with databases(tmp_path) as name:
        yield tmp_path, name


@contextmanager
def services(data: Path, *clocks: Callable[[], float]) -> Iterator[list[httpx.Client]]:
    """A process for each clock, and a client of each."""
    with ExitStack() as stack:
        urls = [stack.enter_context(threaded(replace(settings_of(data), clock=clock))) for clock in clocks]
        yield [stack.enter_context(httpx.Client(base_url=url, timeout=30)) for url in urls]


def clock() -> float:
    return float(START)


def halves_of(name: str, device: TestDevice) -> int:
    whose = sha256(b"pourparler half owner v1" + device.channel + sha256(device.token).digest()).hexdigest()
    return int(administer(f"SELECT count(*) FROM half WHERE owner = '\\x{whose}'", name + "_apart")[0][0])


def test_a_process_that_starts_destroys_no_half_of_who_is_seated_meanwhile(
    place: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had read who lives before, and took the newcomer for a stranger."""
    data, _ = place
    seated: list[tuple[TestDevice, list[bytes]]] = []
    destroy = Apart.destroy_strangers
    with services(data, clock) as (client,):

        def meanwhile(self: Apart, living: Any) -> None:
            (device,) = found_channel(client, data)
            seated.append((device, device.halves(client, END)))
            destroy(self, living)

        monkeypatch.setattr(Apart, "destroy_strangers", meanwhile)
        with services(data, clock) as (other,):
            ((device, before),) = seated
            assert device.halves(client, END) == device.halves(other, END) == before


def test_what_a_process_could_not_destroy_when_a_token_ended_another_destroys(
    own: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if it had been killed between the two; no process starts anew."""
    data, name = own
    now = [float(START)]
    with services(data, lambda: now[0], lambda: now[0]) as (one, _):
        founder, gone = found_channel(one, data, 2)
        founder.halves(one, START - 1 + DAY)
        gone.halves(one, START - 1 + DAY)
        monkeypatch.setattr(SharedHalves, "forget", lambda _self, _owners: None)
        one.delete(gone.path(Route.OWN_DEVICE), headers=gone.headers).raise_for_status()
        assert halves_of(name, gone) == 1
        now[0] += HOUR
        while halves_of(name, gone):
            time.sleep(0.05)
        assert halves_of(name, founder) == 1


def test_a_token_in_use_at_one_is_not_idle_at_another_that_has_not_seen_it_for_long(own: tuple[Path, str]) -> None:
    data, name = own
    now = [float(START)]
    with services(data, lambda: now[0], lambda: now[0]) as (one, two):
        here, there = found_channel(one, data, 2, absence_limit=DAY)
        assert here.page(two).status_code == 200  # it knows both now
        for _ in range(5):
            now[0] += DAY
            assert here.page(one).status_code == there.page(one).status_code == 200
            while administer("SELECT min(last_day) FROM device", name) != [(int(now[0]) // DAY,)]:
                time.sleep(0.02)
        assert here.page(two).status_code == 200
        assert there.page(two).status_code == 200
        now[0] += 3 * DAY
        assert problem(there.page(two)) == "unauthorized"


def test_who_is_seated_at_one_brings_no_burst_of_handshakes_to_another(place: tuple[Path, str]) -> None:
    data, _ = place
    with services(data, clock, clock) as (one, two):
        (founder,) = found_channel(one, data)
        assert founder.page(two).status_code == 200
        (newcomer,) = seat(one, founder, 1)
        assert newcomer.page(two, 0).status_code == 200
        assert problem(newcomer.send(two, handshake=True)) == "budget"
        assert newcomer.send(two).status_code == 201


@contextmanager
def remembering(data: Path) -> Iterator[tuple[SharedRegistry, Links]]:
    """What a process remembers of channels, without the process."""
    links = Links(engine(settings_of(data).database_url or ""))
    with closing(links), closing(SharedRegistry(links, settings_of(data))) as registry:
        yield registry, links


async def known(registry: SharedRegistry, device: TestDevice) -> ChannelState:
    channel = await registry.fresh(device.channel)
    assert channel is not None
    return channel


async def test_what_was_read_before_somebody_was_seated_unseats_nobody(place: tuple[Path, str]) -> None:
    """A look may come back after a later one; what it found is no news then."""
    data, _ = place
    started, later = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    with services(data, clock) as (client,), remembering(data) as (registry, _):
        (founder,) = await asyncio.to_thread(found_channel, client, data)
        look = registry._look

        def slow(channel: bytes, version: int | None) -> Any:
            found = look(channel, version)
            if not started.is_set():
                loop.call_soon_threadsafe(started.set)
                later.wait(30)
            return found

        registry._look = slow  # type: ignore[method-assign]
        first = asyncio.create_task(registry.fresh(founder.channel))
        await started.wait()
        (newcomer,) = await asyncio.to_thread(seat, client, founder, 1)
        channel = await known(registry, founder)
        device = channel.by_id[newcomer.device]
        later.set()
        await first
        assert channel.by_id.get(newcomer.device) is device
        assert not device.ended


async def test_who_learns_of_an_entry_while_doing_something_else_tells_its_streams(
    place: tuple[Path, str],
) -> None:
    """Else they wait for the next heartbeat: whoever follows the database finds nothing that is new to this process."""
    data, _ = place
    with services(data, clock) as (client,), remembering(data) as (registry, links):
        (author,) = await asyncio.to_thread(found_channel, client, data)
        channel = await known(registry, author)
        news = channel.news()
        (await asyncio.to_thread(author.send, client)).raise_for_status()
        batch = SharedBatch(links.get(), Bodies(links, driver(links.get()), set(), []), None, registry, START)
        batch.begin()
        batch.hold(channel.key)
        batch.seal()
        batch.publish()
        assert channel.head == 1
        assert news.done()


async def test_a_clock_that_is_hours_ahead_of_the_others_destroys_nothing(own: tuple[Path, str]) -> None:
    """What one process purges is gone for all."""
    data, _ = own
    ahead = [0.0]
    settings = settings_of(data, clock=lambda: time.time() + ahead[0], skew=30.0)
    with services(data, time.time) as (client,):
        (author,) = await asyncio.to_thread(found_channel, client, data)
        (await asyncio.to_thread(author.send, client)).raise_for_status()
        end = (int(time.time()) // HOUR + 2) * HOUR
        before = await asyncio.to_thread(author.halves, client, end)
        parts = SharedParts(settings)
        purger = Purger(settings, parts.registry, parts.writer, parts.outside)  # type: ignore[arg-type]
        await purger.once()
        ahead[0] = 3.0 * HOUR
        with pytest.raises(DataError, match="differ by 108"):
            await purger.once()
        await parts.close()
        with pytest.raises(DataError, match="differ by 108"):
            SharedParts(settings)
        assert await asyncio.to_thread(author.halves, client, end) == before
        page = await asyncio.to_thread(author.page, client)
        assert [one["seq"] for one in page.json()["entries"]] == [1]


def test_a_process_that_is_given_another_database_outside_backups_destroys_nothing(
    own: tuple[Path, str], tmp_path: Path
) -> None:
    """It took all keys for lost, and erased what lay under them."""
    data, _ = own
    with databases(tmp_path / "another"):
        wrong = replace(settings_of(data), outside_url=settings_of(tmp_path / "another").outside_url)
        with services(data, time.time) as (client,):
            (author,) = found_channel(client, data)
            author.send(client).raise_for_status()
            with pytest.raises(DataError, match="--outside-backups-url"):
                SharedParts(wrong)
            assert [one["seq"] for one in author.page(client).json()["entries"]] == [1]
        with threaded(replace(wrong, restored=True)) as url, httpx.Client(base_url=url) as client:
            assert author.page(client).json()["entries"] == []


def test_a_process_that_does_not_reach_its_database_says_that_it_is_not_ready_until_it_does(
    own: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a proxy chooses another one meanwhile."""
    data, name = own
    monkeypatch.setattr(parts, "PATIENCE", 1.5)

    def wait_for(status: int) -> None:
        until = time.monotonic() + 30
        while client.get(Route.READY).status_code != status:
            assert time.monotonic() < until
            time.sleep(0.1)

    with services(data, clock) as (client,):
        wait_for(204)
        administer(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
        administer(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        wait_for(503)
        assert client.get(Route.SERVICE).status_code == 200
        administer(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true')
        wait_for(204)
