"""Two service processes over one PostgreSQL: one order, one answer, nothing lost, whichever of them is asked."""

import asyncio
import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from pourparler_policies import limits, wire
from pourparler_policies.limits import HOUR
from pourparler_policies.wire import Route
from pourparler_service.grants import issue_by
from pourparler_service.postgres.bus import Nats, Notices
from pourparler_service.postgres.engine import engine
from pourparler_service.postgres.testing import BUS, SERVER, administer, bus_reachable, databases
from pourparler_service.testing import (
    ServerProcess,
    TestDevice,
    bearer,
    body,
    events,
    found_channel,
    problem,
    running,
    settings_of,
    threaded,
)

FREE = ("--requests-burst", "1000000000", "--requests-rate", "1000000000", "--newcomer-handshakes", "12")


@pytest.fixture(scope="module")
def place(postgres: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    folder = tmp_path_factory.mktemp("shared")
    with databases(folder, bus=True) as name:
        yield folder, name


@pytest.fixture(scope="module")
def data(place: tuple[Path, str]) -> Path:
    return place[0]


@pytest.fixture(scope="module")
def pair(data: Path) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    with running(data, *FREE) as one, running(data, *FREE) as two:
        yield one, two


@pytest.fixture
def one(pair: tuple[ServerProcess, ServerProcess]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=pair[0].url, timeout=30) as client:
        yield client


@pytest.fixture
def two(pair: tuple[ServerProcess, ServerProcess]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=pair[1].url, timeout=30) as client:
        yield client


def wait_for(holds: Callable[[], bool]) -> None:
    """Until it holds, or the test's timeout strikes."""
    while not holds():
        time.sleep(0.02)


@contextlib.contextmanager
def streamed(url: str, device: TestDevice) -> Iterator[list[int]]:
    """The seqs that a stream brings, as they come."""
    seen: list[int] = []
    ready = threading.Event()

    def listen() -> None:
        with (
            contextlib.suppress(httpx.HTTPError),
            httpx.Client(base_url=url, timeout=60) as client,
            client.stream("GET", device.path(Route.STREAM), headers=device.headers) as stream,
        ):
            for name, number, _ in events(stream.iter_lines()):
                if name == "head":
                    ready.set()
                else:
                    seen.append(int(number))
        seen.append(-1)  # it ended

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert ready.wait(30)
    yield seen


def talk(urls: list[str], device: TestDevice, entries: int, sent: list[tuple[bytes, int]]) -> None:
    """Append through one process and the other in turn, again after a fault, as clients do."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(base_url=url, timeout=30)) for url in urls]
        for number in range(entries):
            asked = device.append(life=HOUR)
            for attempt in range(200):
                client = clients[(number + attempt) % len(clients)]
                with contextlib.suppress(httpx.HTTPError):
                    answer = device.send(client, asked)
                    if answer.status_code == 201:
                        sent.append((asked.entry, answer.json()["seq"]))
                        break
                    assert answer.status_code == 503, answer.text
                time.sleep(0.05)
            else:
                raise AssertionError("it never came through")


def test_what_is_said_through_either_comes_once_and_in_order_to_everybody_at_both(
    one: httpx.Client, two: httpx.Client, data: Path
) -> None:
    devices = found_channel(one, data, 6)
    urls = [str(one.base_url), str(two.base_url)]
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(streamed(urls[n % 2], device)) for n, device in enumerate(devices[:4])]
        sent: list[tuple[bytes, int]] = []
        threads = [threading.Thread(target=talk, args=(urls, device, 15, sent)) for device in devices]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        head = max(seq for _, seq in sent)
        assert sorted(seq for _, seq in sent) == list(range(head - 89, head + 1))
        wait_for(lambda: all(seen and seen[-1] == head for seen in streams))
        for device, seen in zip(devices, streams, strict=False):
            first = 1 if device is devices[0] else seen[0]
            assert seen == list(range(first, head + 1))
    for client in (one, two):
        page = wire.Page.model_validate_json(devices[0].page(client, head - 90).content)
        assert [(entry.entry, entry.seq) for entry in page.entries] == sorted(sent, key=lambda it: it[1])


def test_a_retry_at_the_other_process_is_the_same_append(one: httpx.Client, two: httpx.Client, data: Path) -> None:
    author, other = found_channel(one, data, 2)
    asked = author.append()
    receipt = author.send(one, asked).content
    assert author.send(two, asked).content == receipt
    author.send(two).raise_for_status()
    assert author.send(one, asked).content == receipt  # known by its id, when it is not the last any more
    assert problem(author.send(two, asked.model_copy(update={"sealed": secrets.token_bytes(1024)}))) == "id-reused"
    assert problem(other.send(two, asked.model_copy(update={"count": 1}))) == "id-reused"
    assert problem(author.send(one, count=1)) == "wrong-count"
    author.send(one, handshake=True).raise_for_status()
    assert problem(other.send(two)) == "stale"


def test_two_processes_never_take_the_same_count_twice(one: httpx.Client, two: httpx.Client, data: Path) -> None:
    (author,) = found_channel(one, data)
    for _ in range(10):
        rivals = [author.append(), author.append()]
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda it: author.send(it[0], it[1]), zip((one, two), rivals, strict=True)))
        assert sorted(answer.status_code for answer in answers) == [201, 409]


def test_a_grant_used_at_both_at_once_makes_one_channel(one: httpx.Client, two: httpx.Client, data: Path) -> None:
    for _ in range(5):
        (grant,) = issue_by(settings_of(data))
        founders = [TestDevice(secrets.token_bytes(16)) for _ in range(2)]

        def create(it: tuple[httpx.Client, TestDevice], grant: bytes = grant) -> int:
            headers = {**it[1].headers, **bearer(grant)}
            return it[0].post(Route.CHANNELS, content=it[1].create(), headers=headers).status_code

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(create, zip((one, two), founders, strict=True))) == [201, 403]


def test_a_token_that_ended_at_one_is_ended_at_the_other(one: httpx.Client, two: httpx.Client, data: Path) -> None:
    founder, leaves, stays = found_channel(one, data, 3)
    end = int(time.time()) // HOUR * HOUR + 2 * HOUR
    (half,) = leaves.halves(two, end)
    assert leaves.halves(one, end) == [half]
    assert leaves.page(two).status_code == 200
    with streamed(str(two.base_url), leaves) as told, streamed(str(two.base_url), stays) as others:
        assert one.delete(leaves.path(Route.OWN_DEVICE), headers=leaves.headers).status_code == 204
        for answer in (leaves.page(two), leaves.send(two), leaves.ask_halves(two, end)):
            assert problem(answer) == "unauthorized"
        seq = founder.send(one).json()["seq"]
        wait_for(lambda: others[-1:] == [seq])
        wait_for(lambda: told[-1:] == [-1])
        assert seq not in told


def test_who_was_seated_at_one_speaks_at_the_other_at_once(
    one: httpx.Client, two: httpx.Client, data: Path
) -> None:
    founder, second = found_channel(one, data, 2)
    assert second.page(two).status_code == 200  # the other knows the channel now, without the newcomer
    (newcomer,) = seat_through(one, founder)
    assert newcomer.send(two, handshake_head=founder.handshake_head).status_code == 201
    assert problem(TestDevice(founder.channel).page(two)) == "unauthorized"


def seat_through(client: httpx.Client, founder: TestDevice) -> list[TestDevice]:
    from pourparler_service.testing import seat

    return list(seat(client, founder, 1))


def test_what_its_author_deleted_at_one_is_served_by_neither(
    one: httpx.Client, two: httpx.Client, data: Path
) -> None:
    author, reader = found_channel(one, data, 2)
    with streamed(str(two.base_url), reader) as seen:  # so that the other has it in memory
        secret = secrets.token_bytes(32)
        asked = author.append(delete_hash=sha256(secret).digest())
        seq = author.send(one, asked).json()["seq"]
        wait_for(lambda: seen[-1:] == [seq])
        gone = one.post(
            author.path(Route.DELETION, entry=asked.entry),
            content=body(wire.Deletion(secret=secret)),
            headers=author.headers,
        )
        assert gone.status_code == 204
        assert reader.page(two, seq - 1).json()["entries"] == []


def test_an_invitation_and_an_attachment_go_through_both(one: httpx.Client, two: httpx.Client, data: Path) -> None:
    (author,) = found_channel(one, data)
    file = author.attach(one, 4 * limits.ATTACHMENT_CHUNK)
    chunks = [secrets.token_bytes(limits.ATTACHMENT_CHUNK) for _ in range(4)]
    for number in (3, 0, 1):
        assert file.put((one, two)[number % 2], number, chunks[number]).status_code == 204
    assert file.missing(one) == [2]
    assert problem(file.put(one, 3, chunks[0])) == "id-reused"
    assert file.put(two, 2, chunks[2]).status_code == 204
    assert [file.get(one, number).content for number in range(4)] == chunks
    assert problem(file.delete(two, file.token)) == "not-found"
    assert file.delete(two).status_code == 204
    assert problem(file.get(one, 0)) == "unauthorized"
    assert problem(file.put(one, 0, chunks[0])) == "unauthorized"


def test_nothing_depends_on_the_bus(one: httpx.Client, data: Path) -> None:
    with threaded(replace(settings_of(data), bus_url="nats://127.0.0.1:1")) as url:
        author, reader = found_channel(one, data, 2)
        with streamed(url, reader) as seen:
            sent = [author.send(one).json()["seq"] for _ in range(5)]
            wait_for(lambda: seen[-5:] == sent)


@pytest.mark.parametrize("over", ["nats", "notices"])
async def test_a_wake_up_names_the_channels_that_changed(over: str, place: tuple[Path, str]) -> None:
    if over == "nats" and not bus_reachable():
        pytest.skip("no NATS at 127.0.0.1:4222 (or POURPARLER_TEST_NATS): nothing was tested over it")
    heard: list[int] = []
    told = asyncio.Event()

    def hear(keys: Iterable[int]) -> None:
        heard.extend(keys)
        told.set()

    made = engine(f"{SERVER}/{place[1]}")
    own: list[int] = []
    service = secrets.token_bytes(16)
    buses = [Nats(BUS, service, it) if over == "nats" else Notices(made, it) for it in (hear, own.extend)]
    bus = buses[1]
    listening = [asyncio.create_task(one.run()) for one in buses]
    while not told.is_set():  # until it listens
        await bus.tell([7])
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(told.wait(), 0.2)
    many = list(range(1, 2000))
    await bus.tell(many)
    while heard[-1] != many[-1]:
        told.clear()
        await told.wait()
    assert heard[-len(many) :] == many
    assert own == []  # nobody is woken by itself
    for one in listening:
        one.cancel()
    await asyncio.gather(*listening, return_exceptions=True)
    for each in buses:
        await each.close()


async def test_who_tells_much_at_once_does_it_over_one_connection(
    place: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each that was lost would stay open, and wake its own process."""
    made, opened = engine(f"{SERVER}/{place[1]}"), []
    connect = psycopg.AsyncConnection.connect

    async def counted(*args: Any, **options: Any) -> psycopg.AsyncConnection[Any]:
        opened.append(await connect(*args, **options))
        return opened[-1]

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", counted)
    bus = Notices(made, list)
    await asyncio.gather(*(bus.tell([key]) for key in range(20)))
    await bus.close()
    await bus.tell([1])  # too late: it is lost, and opens nothing
    assert [one.closed for one in opened] == [True]


async def test_wake_ups_over_a_connection_that_died_silently_are_given_up(place: tuple[Path, str]) -> None:
    """Else every later one would wait behind them, and so would the end of the process."""
    frozen = asyncio.Event()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if frozen.is_set():
                    await asyncio.Future()
                writer.write(data)
                await writer.drain()

    pumps: list[asyncio.Task[None]] = []
    writers: list[asyncio.StreamWriter] = []

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parts = urlsplit(SERVER)
        there = await asyncio.open_connection(parts.hostname, parts.port)
        writers.extend((there[1], writer))
        pumps.extend(asyncio.create_task(pass_on(*ends)) for ends in ((reader, there[1]), (there[0], writer)))

    middle = await asyncio.start_server(join, "127.0.0.1", 0)
    port = middle.sockets[0].getsockname()[1]
    parts = urlsplit(SERVER)
    bus = Notices(engine(f"postgresql://{parts.username}@127.0.0.1:{port}/{place[1]}"), list)
    await bus.tell([1])
    assert bus._telling is not None
    frozen.set()
    await asyncio.wait_for(bus.tell([2]), 10)
    frozen.clear()
    await bus.tell([3])
    assert bus._telling is not None
    assert not bus._telling.closed
    await asyncio.wait_for(bus.close(), 10)
    middle.close()
    for pump in pumps:
        pump.cancel()
    await asyncio.gather(*pumps, return_exceptions=True)
    for writer in writers:
        writer.close()


def test_killed_and_cut_off_under_load_nothing_acknowledged_is_lost_or_doubled(
    place: tuple[Path, str], tmp_path: Path
) -> None:
    """One process is killed and started again, and every connection to PostgreSQL is cut, while six talk."""
    data, name = place
    with running(data, *FREE) as steady:
        shaken = ServerProcess(data, *FREE)
        port = shaken.url.rpartition(":")[2]
        with httpx.Client(base_url=steady.url, timeout=30) as client:
            devices = found_channel(client, data, 6)
            urls = [steady.url, shaken.url]
            sent: list[tuple[bytes, int]] = []
            threads = [threading.Thread(target=talk, args=(urls, device, 25, sent)) for device in devices]
            with streamed(steady.url, devices[0]) as seen:
                for thread in threads:
                    thread.start()
                for turn in range(2):
                    wait_for(lambda turn=turn: len(sent) > 60 * turn + 20)  # type: ignore[misc]
                    shaken.kill()
                    administer(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        f" WHERE datname LIKE '{name}%' AND pid <> pg_backend_pid()"
                    )
                    shaken = ServerProcess(data, *FREE, "--port", port)
                for thread in threads:
                    thread.join()
                shaken.stop()
                assert len(sent) == 150
                page = wire.Page.model_validate_json(devices[0].page(client).content)
                said = [(entry.entry, entry.seq) for entry in page.entries if not entry.handshake]
                assert said == sorted(sent, key=lambda it: it[1])
                assert [entry.seq for entry in page.entries] == list(range(1, page.head + 1))
                wait_for(lambda: seen[-1:] == [page.head])
                assert seen == list(range(1, page.head + 1))
