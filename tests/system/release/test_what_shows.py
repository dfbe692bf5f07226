"""What the service, and the others, see of signatures before all are there: nothing, and nobody's name on them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest_asyncio

from pourparler_clients.api import Api
from pourparler_clients.signing_testing import Hours, release_room, stage_of
from pourparler_clients.testing import House, Person
from pourparler_policies.release.device import Cue, Stage
from pourparler_service.grants import issue

Head = tuple[str, bool]  # path, and whether a token came with it


class Wire:
    """Carries bytes between devices and their service, and notes what each connection asked for."""

    def __init__(self, service: str) -> None:
        place = urlsplit(service)
        self._host, self._port = place.hostname, place.port
        self.connections: list[list[Head]] = []
        self._ends: list[asyncio.StreamWriter] = []

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, self._port)
        heads: list[Head] = []
        self._ends += [writer, back]
        self.connections.append(heads)

        async def up() -> None:
            while data := await reader.read(65536):
                for block in data.split(b"\r\n\r\n"):
                    line, *fields = block.split(b"\r\n")
                    if line.endswith(b" HTTP/1.1"):
                        token = any(field.lower().startswith(b"authorization:") for field in fields)
                        heads.append((line.split(b" ")[1].decode(), token))
                back.write(data)
            back.close()

        async def down() -> None:
            while data := await there.read(65536):
                writer.write(data)
            writer.close()

        await asyncio.gather(up(), down(), return_exceptions=True)

    async def hang_up(self) -> None:
        for end in self._ends:
            end.close()
            with suppress(OSError):
                await end.wait_closed()


@pytest_asyncio.fixture
async def wire(service: str) -> AsyncIterator[tuple[Wire, str]]:
    wire = Wire(service)
    server = await asyncio.start_server(wire.carry, "127.0.0.1", 0)
    yield wire, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await wire.hang_up()


class Direct(House):
    """A house whose people use the client's own connections."""

    async def person(self, name: str, cut: int | None = None) -> Person:
        person = await super().person(name, cut)
        person.device._connect = Api
        return person


async def test_what_goes_to_the_desk_has_no_token_and_a_connection_of_its_own(
    wire: tuple[Wire, str], hours: Hours, data: Path, tmp_path: Path
) -> None:
    seen, url = wire
    house = Direct(url, lambda: issue(data)[0], tmp_path)
    room = await release_room(house, hours, "ada", "ben", "eve")
    await room.ready()
    await room.sign(*room.parties[:2])
    await room.parties[1].channel.releases.act(Cue.WITHDRAW)
    await room.lapsed()
    await house.close()
    desk = [heads for heads in seen.connections if any("/desk" in path for path, _ in heads)]
    paths = [path for heads in desk for path, _ in heads]
    assert all(len(heads) == 1 for heads in desk)
    assert not any(token for heads in desk for _, token in heads)
    for ending in ("/desk", "/deposit", "/withdrawal"):
        assert any(path.endswith(ending) for path in paths)
    others = [token for heads in seen.connections if heads not in desk for _, token in heads]
    assert any(others)  # the search works: what goes to the channel has a token


async def test_who_has_signed_and_how_many_shows_to_nobody_before_the_last(house: House, hours: Hours) -> None:
    room = await release_room(house, hours, "ada", "ben", "eve")
    ada, ben, eve = room.parties
    await room.ready()
    await room.visit()
    answers: list[bytes] = []

    def keep(method: str, path: str, status: int, body: bytes) -> tuple[int, bytes]:
        if method == "GET" and "/desk/" in path:
            answers.append(body)
        return status, body

    eve.line.rewrite = keep
    heads, told = [], []
    for signer in (None, ada, ben):
        if signer is not None:
            await room.sign(signer)
        room.told.clear()
        await room.visit(eve, ada, ben)
        heads.append(eve.log.row.cursor)
        told.append(room.told["eve"])
    assert [stage_of(p) for p in room.parties] == [Stage.SIGNED, Stage.SIGNED, Stage.ASKED]
    assert len(answers) == 3
    assert len(set(answers)) == 1
    assert len(set(heads)) == 1  # the channel holds nothing of it either
    assert told == [[], [], []]
    await room.sign(eve)
    await room.visit(eve)
    assert len(set(answers)) == 2  # now every d at once


async def test_limit_who_watches_a_devices_own_line_sees_one_request_more_once_its_person_has_signed(
    house: House, hours: Hours
) -> None:
    room = await release_room(house, hours, "ada", "ben", "eve")
    ada, ben, eve = room.parties
    await room.ready()
    await room.visit()
    await room.sign(ada)
    await room.visit()
    seen = {}
    for person in (ada, ben, eve):
        before = len(person.line.requests)
        await room.visit(person)
        seen[person.name] = [method for method, path in person.line.requests[before:] if "/desk" in path]
    assert seen == {"ada": ["POST", "GET"], "ben": ["GET"], "eve": ["GET"]}
