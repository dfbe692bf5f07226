"""Through a SOCKS proxy: everything, nothing past it, and each connection on a way of its own.

The proxy here speaks RFC 1928 and 1929 on loopback, as Tor does, and leads an onion name to a real service.
"""

import asyncio
import base64
import hashlib
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pourparler_clients.api import Api, check_url
from pourparler_clients.device import Device
from pourparler_clients.errors import Unreachable, UserError
from pourparler_clients.proxy import TOR, check_proxy
from pourparler_clients.testing import CHEAP, PASSPHRASE, Commands
from pourparler_policies import charter
from pourparler_policies.charter.questionnaire import write
from pourparler_policies.charter.testing import answers
from pourparler_service.grants import issue
from pourparler_service.testing import ServerProcess


def onion(key: bytes = bytes(range(32))) -> str:
    checksum = hashlib.sha3_256(b".onion checksum" + key + b"\x03").digest()[:2]
    return base64.b32encode(key + checksum + b"\x03").decode().lower() + ".onion"


class Socks:
    """A SOCKS 5 proxy which leads every name to one port, and keeps what it was told."""

    def __init__(self, port: int) -> None:
        self.port, self.asked, self.tasks = port, list[tuple[str, str, int]](), set[asyncio.Task[None]]()

    async def __aenter__(self) -> "Socks":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"socks5h://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            version, methods = await reader.readexactly(2)
            assert (version, 2 in await reader.readexactly(methods)) == (5, True)
            writer.write(b"\x05\x02")
            _, size = await reader.readexactly(2)
            user = (await reader.readexactly(size)).decode()
            (size,) = await reader.readexactly(1)
            password = (await reader.readexactly(size)).decode()
            writer.write(b"\x01\x00")
            assert (
                await reader.readexactly(4) == b"\x05\x01\x00\x03"
            )  # connect, and to a name: nobody looked it up
            (size,) = await reader.readexactly(1)
            name = (await reader.readexactly(size)).decode()
            self.asked.append((f"{user}:{password}", name, int.from_bytes(await reader.readexactly(2), "big")))
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(b"\x05\x00\x00\x01" + bytes(6))
            await asyncio.gather(_pass_on(reader, far_writer), _pass_on(far_reader, writer))
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass
        finally:
            writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        with suppress(OSError):
            writer.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("service"))
    yield server
    server.stop()


@pytest.fixture
async def socks(server: ServerProcess) -> AsyncIterator[Socks]:
    async with Socks(urlsplit(server.url).port or 0) as socks:
        yield socks


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[Device]:
    async with Device.create(tmp_path / "vault", PASSPHRASE, "ada", CHEAP) as device:
        yield device


def rules(device: Device) -> charter.Charter:
    told = answers()
    card = {"name": device.card.name, "role": "delegate", "fingerprint": device.card.fingerprint.hex()}
    told["parties"]["a"]["cards"][0] = card
    return charter.parse(write(told))


async def test_channel_is_opened_and_read_at_an_onion_service_through_the_proxy(
    device: Device, server: ServerProcess, socks: Socks
) -> None:
    device.set_proxy(socks.address)
    (grant,) = issue(server.data)
    channel = await device.found(f"http://{onion()}", grant, rules(device))
    await channel.sync()
    assert {(name, port) for _, name, port in socks.asked} == {(onion(), 80)}


async def test_each_connection_has_credentials_of_its_own_so_that_tor_gives_it_a_circuit_of_its_own(
    device: Device, socks: Socks
) -> None:
    for _ in range(3):
        async with Api(f"http://{onion()}", None, proxy=socks.address) as api:
            await api.service()
    assert len({credentials for credentials, _, _ in socks.asked}) == len(socks.asked) == 3


async def test_nothing_goes_past_a_proxy_that_is_not_there(
    device: Device, server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[object] = []
    look_up = socket.getaddrinfo

    def noted(host: object, *rest: object, **more: object) -> object:
        looked_up.append(host)
        return look_up(host, *rest, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(socket, "getaddrinfo", noted)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        device.set_proxy(f"socks5://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(Unreachable, match="proxy"):
            await device.found("https://service.example", os.urandom(32), rules(device))
    assert {str(host) for host in looked_up} <= {"127.0.0.1"}


async def test_onion_address_without_a_proxy_is_asked_of_nobody_and_the_person_is_told(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("a name was looked up"))
    with pytest.raises(Unreachable, match="pourparler proxy"):
        await device.found(f"http://{onion()}", os.urandom(32), rules(device))


async def test_proxy_of_the_environment_is_not_used(
    device: Device, server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:9")
    async with Api(server.url, None) as api:
        await api.service()


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("end", ["", ".", ":8080", "/"])
def test_onion_address_is_taken_with_and_without_https(scheme: str, end: str) -> None:
    assert check_url(f"{scheme}://{onion()}{end}").startswith(f"{scheme}://{onion()}")


@pytest.mark.parametrize(
    "host",
    ["abc.onion", "ABC.ONION.", onion()[1:], "b" + onion()[1:], onion()[:-7] + "b" + ".onion", "é" + onion()[1:]],
)
def test_onion_address_with_a_letter_wrong_is_refused(host: str) -> None:
    with pytest.raises(UserError, match=r"letter wrong|looks like"):
        check_url(f"http://{host}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tor",
        "http://127.0.0.1:8080",
        "socks4://127.0.0.1:9050",
        "socks5://127.0.0.1",
        "socks5://:9050",
        "socks5://a:b@127.0.0.1:9050",
        "socks5://127.0.0.1:9050/x",
        "socks5://127.0.0.1:99999",
        "socks5://[::1",
    ],
)
def test_address_that_is_no_socks_proxy_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="a proxy looks like"):
        check_proxy(text)


def test_address_of_a_proxy_means_one_that_looks_names_up_itself() -> None:
    assert check_proxy("socks5://127.0.0.1:9050") == TOR
    assert check_proxy("socks5h://[::1]:9150") == "socks5h://[::1]:9150"


def test_command_sets_and_shows_the_proxy_and_says_what_it_means(tmp_path: Path) -> None:
    directory = tmp_path / "vault"
    Device.create(directory, PASSPHRASE, "ada", CHEAP).vault.close()
    commands = Commands(tmp_path)

    def proxy(*words: str) -> tuple[int, str]:
        done = commands("proxy", *words, "--vault", directory, passphrase=PASSPHRASE)
        return done.status, done.out + done.errors

    try:
        assert "see from which address" in proxy()[1]
        assert proxy("tor")[0] == 0
        assert TOR in proxy()[1]
        assert proxy("http://127.0.0.1:8080")[0] == 2
        assert TOR in proxy()[1]
        assert "see from which address" in proxy("none")[1]
    finally:
        commands.close()
