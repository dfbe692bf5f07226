"""Everything that an operator has after a known talk of known people: what can be read out of it, and what cannot.

Files or rows, the bus, log, metrics, the memory of the running process, and the sizes and times of what crossed the
line. What can be inferred is inferred here, so that the threat model's list is no guess.
"""

import asyncio
import base64
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import nats
import psycopg
import pytest

from pourparler_clients.api import Api
from pourparler_clients.examine import files_below, found, traces
from pourparler_clients.testing import House, Person
from pourparler_policies.limits import BUCKETS, HANDSHAKE_BURST
from pourparler_policies.payload import Attached
from pourparler_service.grants import issue_by
from pourparler_service.postgres.testing import bus_reachable, databases, reachable
from pourparler_service.testing import ServerProcess, everything_kept, running, settings_of

NORTH, SOUTH = "ada-of-the-north", "ben-of-the-south"
TITLE = "Two wells and a road"
TALK = (
    (NORTH, "Both villages may use the wells on alternate days."),
    (SOUTH, "On alternate days, and the road stays open."),
    (SOUTH, "Nobody at home may hear of this before the harvest."),
    (NORTH, "Agreed."),
)
FILE = ("a list of the wells.txt", "The second well lies behind the old school of the upper village.")


@dataclass
class Tap:
    """What somebody sees who watches a line between a device and the service, without the seal of TLS."""

    target: int
    sent: dict[int, list[tuple[float, bytes]]] = field(default_factory=dict)  # to the service, by connection
    got: list[bytes] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    lines: list[asyncio.Task[None] | None] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = next(self.numbers)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)

        async def there() -> None:
            while data := await reader.read(1 << 16):
                self.sent.setdefault(number, []).append((time.monotonic(), data))
                far_writer.write(data)

        async def back() -> None:
            while data := await far_reader.read(1 << 16):
                self.got.append(data)
                writer.write(data)

        tasks = [asyncio.create_task(there()), asyncio.create_task(back())]
        self.lines.append(asyncio.current_task())
        try:
            with suppress(asyncio.CancelledError):
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for one in (writer, far_writer):
                one.close()
                with suppress(OSError):
                    await one.wait_closed()


@asynccontextmanager
async def tapped(server: ServerProcess) -> AsyncIterator[tuple[Tap, str]]:
    tap = Tap(int(server.url.rpartition(":")[2]))
    listening = await asyncio.start_server(tap.serve, "127.0.0.1", 0)
    try:
        yield tap, f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        lines = [line for line in tap.lines if line is not None]
        for line in lines:
            line.cancel()
        await asyncio.gather(*lines, return_exceptions=True)


@asynccontextmanager
async def opened(server: ServerProcess, url: str, root: Path) -> AsyncIterator[House]:
    house = House(url, lambda: issue_by(settings_of(server.data))[0], root)
    try:
        yield house
    finally:
        await house.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def running_service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerProcess]:
    if request.param == "postgresql" and not (reachable() and bus_reachable()):
        pytest.skip("no PostgreSQL at 127.0.0.1:5432, or no NATS at 4222: nothing was tested on them")
    place = tmp_path / "service"
    with databases(place, bus=True) if request.param == "postgresql" else nullcontext():
        server = ServerProcess(place, "--newcomer-handshakes", str(HANDSHAKE_BURST), "--metrics-port", "0")
        yield server
        if server.process.poll() is None:
            server.stop()


@asynccontextmanager
async def overheard(server: ServerProcess) -> AsyncIterator[list[bytes]]:
    """Subjects and contents of what goes over the bus, where there is one."""
    heard: list[bytes] = []
    url = settings_of(server.data).bus_url
    if url is None:
        yield heard
        return

    async def hear(message: Any) -> None:
        heard.append(message.subject.encode() + b" " + message.data)

    client = await nats.connect(url)
    await client.subscribe("pourparler.>", cb=hear)
    try:
        yield heard
    finally:
        await client.close()


def kept(server: ServerProcess) -> list[bytes]:
    """Files; or rows of both databases, and what their server says of them: sessions, statements, counts."""
    settings = settings_of(server.data)
    if settings.database_url is None:
        return [*files_below(server.data)]
    with psycopg.connect(settings.database_url) as operator:
        told = [
            repr(operator.execute(f"SELECT * FROM {view}").fetchall()).encode()
            for view in ("pg_stat_activity", "pg_stat_user_tables")
        ]
    return [everything_kept(server.data), *told]


def memory(pid: int) -> Iterator[bytes]:
    """What a process can write to and read from: heap, stacks, mapped buffers."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as image:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, rights, *_ = line.split()
            if not rights.startswith("rw"):
                continue
            first, last = (int(part, 16) for part in place.split("-"))
            for start in range(first, last, 1 << 24):
                with suppress(OSError, ValueError):
                    image.seek(start)
                    yield image.read(min(last - start, (1 << 24) + 4096))


def forms(value: bytes) -> set[bytes]:
    return {value, value.hex().encode(), base64.urlsafe_b64encode(value)[:20], base64.b64encode(value)[:20]}


def needles(*people: Person) -> set[bytes]:
    """Everything that names a person, a party, a word of the talk or of its terms."""
    words = {TITLE, *(name for name, _ in TALK), *(text for _, text in TALK if len(text) > 10)}
    rules = people[0].log.charter
    values = [p.device.card.fingerprint for p in people] + [p.device.card.public[:32] for p in people]
    values += [p.log.row.credential for p in people] + [rules.hash]
    return {trace for word in words for trace in traces(word)} | {
        form for value in values for form in forms(value)
    }


async def talk(house: House, *lines: tuple[str, str]) -> tuple[Person, ...]:
    people = await house.room(NORTH, SOUTH, title=TITLE)
    for name, text in lines:
        await next(person for person in people if person.name == name).say(text)
        for person in people:
            await person.sync()
    return tuple(people)


async def pass_on(file: tuple[str, str], author: Person, reader: Person, root: Path) -> Attached:
    """A file is attached, and read by the other."""
    (root / file[0]).write_text(file[1])
    await author.channel.uploads.attach(root / file[0])
    await reader.sync()
    message = reader.channel.downloads.list()[-1]
    assert (await reader.channel.downloads.text(message.seq))[1] == file[1]
    assert message.attached is not None
    return message.attached


async def test_what_the_operator_has_names_nobody_and_no_word_not_even_in_the_memory_of_the_process(
    running_service: ServerProcess, tmp_path: Path
) -> None:
    server = running_service
    async with (
        overheard(server) as heard,
        tapped(server) as (tap, url),
        opened(server, url, tmp_path) as house,
    ):
        ada, ben = await talk(house, *TALK)
        attached = await pass_on(FILE, ada, ben, tmp_path)
        secret = needles(ada, ben) | {trace for word in FILE for trace in traces(word)} | forms(attached.key)
        places = {
            "files": kept(server),
            "bus": heard,
            "metrics": [httpx.get(server.metrics, trust_env=False).content],
            "line": [*tap.got, *(data for sent in tap.sent.values() for _, data in sent)],
            "memory": [*memory(server.process.pid)],
        }
        for known in (forms(ada.log.row.device), forms(attached.attachment)):
            for place in ("files", "memory", "line"):
                assert found(known, places[place]), (
                    f"the search of {place} works: this number the service does hold"
                )
        assert [place for place, pieces in places.items() if found(secret, pieces)] == []
        assert bool(heard) == (settings_of(server.data).bus_url is not None)
        numbers = {form for value in (ada.log.row.id, ada.log.row.device) for form in forms(value)}
        assert not found(numbers, heard), "only internal numbers go over the bus"
    assert server.stop() == (0, ""), "and nothing was logged"


async def test_who_watches_live_sees_who_spoke_when_and_how_much_by_connection_and_nothing_of_what(
    running_service: ServerProcess, tmp_path: Path
) -> None:
    """A limit, shown by doing it: the threat model says that the operator sees live which device sent which entry."""
    server = running_service
    async with tapped(server) as (tap, url), opened(server, url, tmp_path) as house:
        people = await house.room(NORTH, SOUTH, title=TITLE)
        said: list[str] = []
        seen: list[int] = []
        for name, text in TALK:
            before = {number: len(sent) for number, sent in tap.sent.items()}
            await next(person for person in people if person.name == name).say(text)
            said.append(name)
            new = {n: b"".join(d for _, d in sent[before.get(n, 0) :]) for n, sent in tap.sent.items()}
            (speaker,) = [number for number, data in new.items() if b"POST" in data and b"/entries" in data]
            seen.append(speaker)
        by_connection = dict(zip(seen, said, strict=True))
        assert [by_connection[number] for number in seen] == said
        assert len(set(seen)) == 2
        sizes = {len(base64.urlsafe_b64decode(one)) for one in sealed_bodies(tap)}
        assert sizes <= set(BUCKETS)


def sealed_bodies(tap: Tap) -> list[bytes]:
    whole = [b"".join(data for _, data in sent) for sent in tap.sent.values()]
    return [part.split(b'"', 1)[0] for data in whole for part in data.split(b'"sealed":"')[1:]]


async def rows(root: Path, *lines: tuple[str, str]) -> list[tuple[bool, int, int]]:
    """What is stored of a talk's last entries: handshake or not, size, life."""
    with running(root / "service", "--newcomer-handshakes", str(HANDSHAKE_BURST)) as server:
        async with opened(server, server.url, root) as house:
            ada, _ = await talk(house, *lines)
            async with Api(server.url, ada.log.row.token) as api:
                entries = (await api.entries(ada.log.row.id, 0)).entries
    return [(one.handshake, len(one.sealed), one.expires_at - one.received_at) for one in entries][-len(lines) :]


async def test_other_words_in_the_same_course_leave_the_same_rows_but_for_times_and_random_numbers(
    tmp_path: Path,
) -> None:
    others = ((name, text[::-1] + "!" * (9 * number)) for number, (name, text) in enumerate(TALK))
    assert await rows(tmp_path / "one", *TALK) == await rows(tmp_path / "two", *others)
