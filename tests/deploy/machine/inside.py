"""Runs on the walked machine, in the service's own environment: people and load, against the doors that were set up.

`people URL`: two people open a channel, say and read; `keep URL FILE` makes a channel with entries, and keeps it;
`look URL FILE` says what of them is there; `load URL SECONDS` appends and reads all the while, and says what was lost;
`odd ADDRESS` knocks at the doors in ways that a log might answer to. A certificate of our own is trusted.
"""

import asyncio
import contextlib
import json
import os
import random
import secrets
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import certifi
import httpx
from tests.faults.load import Author, Reader, ended, page_through

from pourparler_clients.testing import House, Person
from pourparler_policies.wire import Route
from pourparler_service.access import unpad
from pourparler_service.testing import TestDevice, bearer, seat

TRUST = "/etc/pourparler/tls/fullchain.pem"


def grant() -> bytes:
    """From the guide's own command, which the walk has put into the environment."""
    told = subprocess.run(os.environ["GRANT"], shell=True, check=True, capture_output=True, text=True).stdout
    made = unpad(told.strip(), 32)
    assert made is not None, told
    return made


def trust(url: str) -> ssl.SSLContext | bool:
    return ssl.create_default_context(cafile=TRUST) if url.startswith("https") else True


class Patient(House):
    """A service has a newcomer wait between handshakes, so that attestation takes up to half a minute."""

    async def attest(self, person: Person, rounds: int = 2) -> None:
        deadline = time.monotonic() + 600
        while True:
            try:
                return await super().attest(person, rounds)
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(2)


async def talk(url: str) -> None:
    """The real client, its vaults and its protocol."""
    if url.startswith("https"):
        certifi.where = lambda: TRUST  # of the client's own connections, in this process alone
    with tempfile.TemporaryDirectory() as folder:
        house = Patient(url, grant, Path(folder))
        one, other = await house.room("cedar", "heron")
        await one.say("The wells are to be shared.")
        await other.sync()
        await other.say("By whom are they measured?")
        await one.sync()
        assert "By whom are they measured?" in one.texts()
        assert "The wells are to be shared." in other.texts()
        await house.close()


def found(url: str, number: int) -> list[TestDevice]:
    with httpx.Client(base_url=url, verify=trust(url), trust_env=False, timeout=120) as client:
        founder = TestDevice(secrets.token_bytes(16))
        headers = {**founder.headers, **bearer(grant())}
        client.post(Route.CHANNELS, content=founder.create(), headers=headers).raise_for_status()
        return [founder, *seat(client, founder, number - 1)]


def incarnation(client: httpx.Client) -> str:
    return str(client.get(Route.SERVICE).json()["incarnation"])


def keep(url: str, file: Path) -> None:
    """One entry more each time, in a channel that is kept in `file`."""
    with httpx.Client(base_url=url, verify=trust(url), trust_env=False, timeout=120) as client:
        if file.exists():
            told = json.loads(file.read_text())
            device = TestDevice(
                *(bytes.fromhex(told[name]) for name in ("channel", "device", "token")), told["count"]
            )
        else:
            (device,) = found(url, 1)
            told = {name: getattr(device, name).hex() for name in ("channel", "device", "token")}
            told["incarnations"] = []
        answer = device.send(client, life=24 * 3600)
        answer.raise_for_status()
        told["count"] = device.count
        told["incarnations"].append(incarnation(client))
        file.write_text(json.dumps(told))


def look(url: str, file: Path) -> None:
    told = json.loads(file.read_text())
    device = TestDevice(*(bytes.fromhex(told[name]) for name in ("channel", "device", "token")), told["count"])
    with httpx.Client(base_url=url, verify=trust(url), trust_env=False, timeout=120) as client:
        answer = device.page(client)
        new = incarnation(client) not in told["incarnations"]
        entries = len(answer.json()["entries"]) if answer.status_code == 200 else answer.text
    print(json.dumps({"sent": told["count"], "there": entries, "new_incarnation": new}))


def load(url: str, seconds: float) -> None:
    """As the project's own test of a rolling restart, on the door that the guide has made."""
    devices = found(url, 3)
    authors = [Author(one, lambda: url, random.Random(one.device), trust(url)) for one in devices]
    reader = Reader(devices[0], lambda: url, trust(url))
    for one in (*authors, reader):
        one.start()
    print("under load", flush=True)
    time.sleep(seconds)
    expected = ended(authors, 60, longer=600)
    deadline = time.monotonic() + 120
    while not expected.items() <= dict(reader.seen).items() and time.monotonic() < deadline:
        time.sleep(0.2)
    reader.ending.set()
    reader.join(60)
    there = (
        {one.seq: one.entry for one in page_through(devices[0], url)}
        if url.startswith("http:")
        else dict(reader.seen)
    )
    told = {
        "acknowledged": sum(len(author.receipts) for author in authors),
        "lost": len(expected.items() - there.items()),
        "not_streamed": len(expected.items() - dict(reader.seen).items()),
        "twice": len(reader.seen) - len({seq for seq, _ in reader.seen}),
        "wrong": [wrong for author in authors for wrong in author.wrong],
    }
    print(json.dumps(told), flush=True)


def odd(address: str) -> None:
    """From the same address, since it is this machine's: by number, too long, without TLS, broken off."""
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    name = f"Host: {address}\r\n\r\n"
    for port, wrapped, data in (
        (80, False, f"GET / HTTP/1.1\r\n{name}"),
        (80, False, f"GET /none-such HTTP/1.0\r\n{name}"),
        (80, False, "\x16\x03\x01 no HTTP\r\n\r\n"),
        (443, False, f"GET / HTTP/1.1\r\n{name}"),
        (443, False, "\x16\x03\x01\x00\x05broken"),
        (443, True, f"GET /none-such HTTP/1.1\r\n{name}"),
        (443, True, f"GET /{'x' * 20000} HTTP/1.1\r\n{name}"),
        (443, True, f"POST /v1/channels HTTP/1.1\r\nContent-Length: 9999999\r\n{name}"),
        (443, True, "GET / HT"),
    ):
        with contextlib.suppress(OSError), socket.create_connection((address, port), 10) as bare:
            line = tls.wrap_socket(bare) if wrapped else bare
            line.settimeout(3)
            line.sendall(data.encode("latin-1"))
            line.recv(1000)


def main() -> None:
    what, url, *rest = sys.argv[1:]
    if what == "people":
        asyncio.run(talk(url))
    elif what == "odd":
        odd(url)
    elif what == "load":
        load(url, float(rest[0]))
    else:
        {"keep": keep, "look": look}[what](url, Path(rest[0]))


if __name__ == "__main__":
    main()
