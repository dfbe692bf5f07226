"""Who has no token learns nothing, by bytes or by time, gets nowhere by guessing, and slows nobody down."""

import asyncio
import secrets
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from pourparler_policies import limits, wire
from pourparler_policies.wire import Route
from pourparler_service.grants import issue_by
from pourparler_service.guesses import BURST, GRID, RATE
from pourparler_service.schema import ROUTES
from pourparler_service.testing import ServerProcess, TestDevice, b64, bearer, body, found_channel, settings_of


def test_every_place_of_a_channel_is_shut_to_tokens_of_another(client: httpx.Client, data: Path) -> None:
    """Also to a grant, and to the tokens of boxes and attachments; and with the answer that nothing at all gets."""
    device, peer = found_channel(client, data, 2)
    (stranger,) = found_channel(client, data)
    asked = device.append()
    device.send(client, asked).raise_for_status()
    box, secret = secrets.token_bytes(16), secrets.token_bytes(32)
    opened = wire.CreateBox(box=box, token_hash=limits.HASH_BYTES * b"x", life=limits.HOUR)
    client.post(device.path(Route.BOXES), content=body(opened), headers=device.headers).raise_for_status()
    file = device.attach(client, limits.ATTACHMENT_SIZES[0])
    names = {"channel": device.channel, "device": peer.device, "entry": asked.entry}
    names |= {"box": box, "attachment": file.attachment, "round": secrets.token_bytes(16)}
    places = [
        (method, path.value.format(**{name: b64(one) for name, one in names.items()}, slot=0, chunk=0))
        for method, path, _, described in ROUTES
        if "security" in described["openapi_extra"] and path is not Route.CHANNELS
    ]
    assert len(places) > 15
    tokens = [stranger.token, issue_by(settings_of(data))[0], secret]
    bodies = set()
    for method, path in places:
        own = "/attachments/" in path or "/boxes/" in path or "/rounds/" in path
        for token in [*tokens, *([device.token] if own else [file.token])]:
            answer = client.request(method, path, headers=bearer(token))
            if answer.status_code == 415:  # of a place whose token is looked at after its body
                answer = client.request(
                    method, path, headers={**bearer(token), **kind(path)}, content=plausible(path)
                )
            assert answer.status_code == 401, (method, path, answer.text)
            bodies.add(answer.content)
    assert len(bodies) == 1


def test_a_token_that_ended_opens_no_place_of_its_channel_any_more(client: httpx.Client, data: Path) -> None:
    """Its stream, too, ends without another word; and its answers are those of a stranger."""
    device, other, third = found_channel(client, data, 3)
    asked = device.append()
    with (
        httpx.Client(base_url=client.base_url, timeout=20) as own,
        own.stream("GET", device.path(Route.STREAM), headers=device.headers) as stream,
    ):
        told = stream.iter_raw()
        while b"event: head" not in next(told):
            pass
        for voter in (other, third):
            path = voter.path(Route.REVOCATION, device=device.device)
            client.post(path, headers=voter.headers).raise_for_status()
        other.handshake_head = client.get(other.path(Route.CHANNEL), headers=other.headers).json()[
            "handshake_head"
        ]
        other.send(client).raise_for_status()
        assert b"".join(told) == b""
    bodies = set()
    for method, path, _, described in ROUTES:
        if "{channel}" in path.value and "security" in described["openapi_extra"]:
            at = device.path(path, entry=asked.entry, device=other.device)
            answer = client.request(
                method, at, headers=device.headers, content=plausible(at) if method == "POST" else b""
            )
            assert answer.status_code == 401, (method, path)
            bodies.add(answer.content)
    assert len(bodies) == 1


JSON = {"Content-Type": "application/json"}


def kind(path: str) -> dict[str, str]:
    return {"Content-Type": "application/octet-stream"} if "/chunks/" in path else JSON


def plausible(path: str) -> bytes:
    """A body of the form that a place takes."""
    if path.endswith("/deletion"):
        return body(wire.Deletion(secret=bytes(32)))
    if "/rounds/" in path:
        return body(wire.SendPacket(sealed=bytes(limits.IDEA_PACKET)))
    return body(wire.Deposit(sealed=bytes(limits.BUCKETS[0])))


def test_a_refusal_comes_after_a_time_that_does_not_say_what_was_looked_at(
    client: httpx.Client, data: Path
) -> None:
    """A channel in memory, none at all, a box, an attachment, a grant: each on the same grid of time."""
    (device,) = found_channel(client, data)
    file = device.attach(client, limits.ATTACHMENT_SIZES[0])
    nowhere = TestDevice(secrets.token_bytes(16))
    box = Route.BOX_SLOT.format(box=b64(secrets.token_bytes(16)), slot=0)
    wrong = bearer(secrets.token_bytes(32))
    asks: dict[str, Callable[[], httpx.Response]] = {
        "wrong token": lambda: client.get(device.path(Route.ENTRIES), headers=wrong),
        "wrong token, append": lambda: client.post(device.path(Route.ENTRIES), headers=wrong),
        "no channel": lambda: client.get(nowhere.path(Route.ENTRIES), headers=wrong),
        "no channel, append": lambda: client.post(nowhere.path(Route.ENTRIES), headers=wrong),
        "no token": lambda: client.get(device.path(Route.ENTRIES)),
        "no box": lambda: client.get(box, headers=wrong),
        "attachment": lambda: client.get(file.path(), headers=wrong),
        "grant": lambda: client.post(Route.CHANNELS, content=device.create(), headers={**wrong, **JSON}),
    }
    taken: dict[str, list[float]] = {name: [] for name in asks}
    for _ in range(5):
        for name, ask in asks.items():
            answer = ask()
            assert answer.status_code == 401, name
            taken[name].append(answer.elapsed.total_seconds())
    assert min(min(times) for times in taken.values()) >= GRID * 0.98, taken
    known = [client.get(Route.SERVICE).elapsed.total_seconds() for _ in range(5)]
    assert min(known) < GRID  # it is not the way there and back that takes so long


async def guess(url: str, path: str, until: float, told: list[int]) -> None:
    """One connection after another, and a token after another, as fast as they are answered."""
    where = urlsplit(url)
    while time.monotonic() < until:
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        try:
            while time.monotonic() < until:
                token = b64(secrets.token_bytes(32))
                writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length))
                told.append(int(head.split()[1]))
                if b"connection: close" in head.lower():
                    break
        finally:
            writer.close()


async def test_guesses_come_at_one_pace_over_however_many_connections_and_slow_nobody(
    server: ServerProcess, client: httpx.Client, data: Path
) -> None:
    """Over a channel that there is and over many that there are not; a member goes on meanwhile."""
    (device,) = found_channel(client, data)
    told: list[int] = []
    began = time.monotonic()
    until = began + 3
    paths = [device.path(Route.ENTRIES)] * 20
    paths += [TestDevice(secrets.token_bytes(16)).path(Route.ENTRIES) for _ in range(20)]
    guessing = [asyncio.create_task(guess(server.url, path, until, told)) for path in paths]
    taken = []

    def talk() -> None:
        with httpx.Client(base_url=server.url, timeout=20) as own:
            while time.monotonic() < until:
                answer = device.send(own)
                assert answer.status_code == 201
                taken.append(answer.elapsed.total_seconds())
                time.sleep(0.05)

    await asyncio.to_thread(talk)
    await asyncio.gather(*guessing)
    seconds = time.monotonic() - began
    print(f"{len(told)} guesses in {seconds:.1f} s; a member waited {statistics.median(taken) * 1000:.1f} ms")
    assert set(told) <= {401, 503}
    assert BURST <= told.count(401) <= BURST + RATE * seconds + 1
    assert statistics.median(taken) < 0.5


@pytest.mark.embedded
@pytest.mark.parametrize(
    "ids", [b"", b"%00", b"..%2f..%2fservice", b"%ff%fe", b"a" * 4000, b"%e2%80%ae", b"%0d%0aX-A:1"]
)
def test_an_id_of_another_form_is_the_same_as_none(client: httpx.Client, data: Path, ids: bytes) -> None:
    (device,) = found_channel(client, data)
    answer = client.get(f"/v1/channels/{ids.decode()}/entries", headers=bearer(device.token))
    assert answer.status_code in (401, 404)
    assert "x-a" not in answer.headers
