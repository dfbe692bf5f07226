"""For tests and benchmarks: a real server process on loopback, grants, and a bare client of the wire.

Nothing here is a stand-in: the process is the one that `pourparler serve` runs.
"""

import argparse
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import httpx
import uvicorn

from pourparler_policies import limits, wire
from pourparler_policies.wire import Route

from .access import unpad
from .app import create_app
from .connection import Connection
from .grants import issue_by
from .settings import Settings

_RUN: Final = (
    "import argparse, sys; from pourparler_service.cli import add_commands; p = argparse.ArgumentParser();"
    " add_commands(p.add_subparsers(required=True)); a = p.parse_args(); sys.exit(a.func(a))"
)
READY: Final = "listening on "
METRICS: Final = "metrics on "


def command(*arguments: str) -> list[str]:
    """The command line of a subcommand of the service."""
    return [sys.executable, "-c", _RUN, *arguments]


def environment(**changes: str) -> dict[str, str]:
    """For child processes: they may keep compiled modules, which halves the time that each takes to start."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONFAULTHANDLER": "1", **changes}


def last_words(process: "subprocess.Popen[str]", patience: float) -> str:
    """What a process that ends wrote to stderr. Raises AssertionError, with its threads' stacks, if it does not end."""
    try:
        return process.communicate(timeout=patience)[1]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        stacks = process.communicate(timeout=30)[1]
        raise AssertionError(f"it did not end in {patience:g} seconds: {stacks}") from None


def make_grant(data: Path, *options: str) -> bytes:
    """A new grant, made by the real command. `grants.issue` does the same within this process, and sooner."""
    told = subprocess.run(  # noqa: S603 - our own command
        command("grant", *where(data), *options),
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
    )
    grant = unpad(told.stdout.strip(), limits.TOKEN_BYTES)
    if grant is None:
        raise RuntimeError("the grant command printed no grant")
    return grant


CONFIG: Final = "pourparler.toml"


def where(data: Path) -> tuple[str, str]:
    """Options for the service over a directory; or, where a configuration lies in it, the one that this names."""
    config = data / CONFIG
    return ("--config", str(config)) if config.exists() else ("--data", str(data))


def settings_of(data: Path, **changes: Any) -> Settings:
    """As `serve` reads them. `changes` replace some."""
    name, path = where(data)
    told = Settings.from_options(argparse.Namespace(**{name.removeprefix("--"): Path(path)}), {})
    return replace(told, **{"skew": None, **changes})  # tests have clocks of their own


def everything_kept(data: Path) -> bytes:
    """All bytes that the service keeps: its files, or where it is over PostgreSQL the rows of both databases."""
    if (data / CONFIG).exists():
        from .postgres.testing import rows  # noqa: PLC0415 - its driver is an extra

        return rows(settings_of(data))
    return b"".join(one.read_bytes() for one in sorted(data.rglob("*")) if one.is_file())


class ServerProcess:
    """`pourparler serve` over `data`, ready when this returns."""

    def __init__(self, data: Path, *options: str, variables: dict[str, str] | None = None) -> None:
        self.data = data
        self.process = subprocess.Popen(  # noqa: S603 - our own command
            command("serve", *where(data), "--port", "0", *options),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(**variables or {}),
        )
        line = self.process.stdout.readline() if self.process.stdout else ""
        self.metrics = ""
        if line.startswith(METRICS) and self.process.stdout:
            self.metrics, line = line.removeprefix(METRICS).strip(), self.process.stdout.readline()
        if not line.startswith(READY):
            _, errors = self.process.communicate(timeout=30)
            raise RuntimeError(f"the server did not start: {errors.strip()}")
        self.url = line.removeprefix(READY).strip()

    def kill(self) -> None:
        """Kill it as a power cut would: no handler runs."""
        self.process.kill()
        self._reap()

    def stop(self) -> tuple[int, str]:
        """Ask it to stop. Returns its exit status and what it wrote to stderr."""
        self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def _reap(self) -> tuple[int, str]:
        errors = last_words(self.process, 30)
        return self.process.returncode, errors


@contextlib.contextmanager
def running(data: Path, *options: str) -> Iterator[ServerProcess]:
    """A server process that is gone afterwards."""
    server = ServerProcess(data, *options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


def b64(data: bytes) -> str:
    """As ids stand in paths and tokens in headers: base64url without padding."""
    return wire_text(data).rstrip("=")


def wire_text(data: bytes) -> str:
    """As bytes stand in JSON."""
    import base64  # noqa: PLC0415

    return base64.urlsafe_b64encode(data).decode()


def bearer(token: bytes) -> dict[str, str]:
    """The header of a token."""
    return {"Authorization": "Bearer " + b64(token)}


@dataclass(slots=True)
class TestDevice:
    """A device of the wire, without any MLS: what it sends is random bytes of a bucket's size."""

    __test__ = False

    channel: bytes
    device: bytes = field(default_factory=lambda: secrets.token_bytes(limits.ID_BYTES))
    token: bytes = field(default_factory=lambda: secrets.token_bytes(limits.TOKEN_BYTES))
    count: int = 0
    handshake_head: int = 0

    @property
    def headers(self) -> dict[str, str]:
        """The bearer header, and the type of its bodies."""
        return {**bearer(self.token), "Content-Type": "application/json"}

    def path(self, route: Route, **ids: bytes) -> str:
        """A route of this device's channel."""
        return route.format(channel=b64(self.channel), **{name: b64(one) for name, one in ids.items()})

    def create(self, absence_limit: int = limits.DAY) -> bytes:
        """The body that creates the channel with this device as its founder."""
        return (
            wire.CreateChannel(
                channel=self.channel,
                device=self.device,
                token_hash=sha256(self.token).digest(),
                absence_limit=absence_limit,
            )
            .model_dump_json()
            .encode()
        )

    def append(self, **changes: Any) -> wire.Append:
        """The next append. `changes` replace fields."""
        fields: dict[str, Any] = {
            "entry": secrets.token_bytes(limits.ID_BYTES),
            "handshake": False,
            "sealed": secrets.token_bytes(limits.BUCKETS[0]),
            "life": limits.HOUR,
            "delete_hash": sha256(b"delete").digest(),
            "handshake_head": self.handshake_head,
            "count": self.count + 1,
        }
        return wire.Append(**{**fields, **changes})

    def send(self, client: httpx.Client, request: wire.Append | None = None, **changes: Any) -> httpx.Response:
        """Append, and when it was accepted count it."""
        asked = request or self.append(**changes)
        answer = client.post(self.path(Route.ENTRIES), content=body(asked), headers=self.headers)
        if answer.status_code == 201:
            self.count = max(self.count, asked.count)
            if asked.handshake:
                self.handshake_head = max(self.handshake_head, answer.json()["seq"])
        return answer

    def page(self, client: httpx.Client, after: int = 0, limit: int = limits.MAX_PAGE_ENTRIES) -> httpx.Response:
        """Read a page."""
        return client.get(
            self.path(Route.ENTRIES), params={"after": after, "limit": limit}, headers=bearer(self.token)
        )

    def ask_halves(
        self, client: httpx.Client, first: int, number: int = 1, step: int = limits.SHORT_STEP
    ) -> httpx.Response:
        """Ask for key halves, for ends that need not be of the right form."""
        asked = {"first": first, "step": step, "number": number}
        return client.post(self.path(Route.HALVES), json=asked, headers=self.headers)

    def halves(
        self, client: httpx.Client, first: int, number: int = 1, step: int = limits.SHORT_STEP
    ) -> list[bytes]:
        """The key halves for these ends. Raises AssertionError when it is refused."""
        answer = self.ask_halves(client, first, number, step)
        if answer.status_code != 200:
            raise AssertionError(answer.text)
        return wire.Halves.model_validate_json(answer.content).halves

    def attach(self, client: httpx.Client, size: int, life: int = limits.HOUR, **changes: Any) -> "TestAttachment":
        """Make room for an attachment. Raises AssertionError when it is refused."""
        one = TestAttachment(size)
        answer = self.make_room(client, one.request(life, **changes))
        if answer.status_code != 204:
            raise AssertionError(answer.text)
        return one

    def make_room(self, client: httpx.Client, request: wire.CreateAttachment) -> httpx.Response:
        """Ask for room for an attachment."""
        return client.post(self.path(Route.ATTACHMENTS), content=body(request), headers=self.headers)

    def admit(self, newcomer: "TestDevice", box: bytes, **changes: Any) -> wire.Append:
        """The append that lets `newcomer` in."""
        admit = wire.Admit(
            device=newcomer.device,
            token_hash=sha256(newcomer.token).digest(),
            box=box,
            welcome=secrets.token_bytes(limits.BUCKETS[0]),
        )
        return self.append(handshake=True, admit=admit, **changes)


@dataclass(slots=True)
class TestAttachment:
    """An attachment of the wire, without any sealing: its chunks are whatever the test gives."""

    __test__ = False

    size: int
    attachment: bytes = field(default_factory=lambda: secrets.token_bytes(limits.ID_BYTES))
    token: bytes = field(default_factory=lambda: secrets.token_bytes(limits.TOKEN_BYTES))
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(limits.TOKEN_BYTES))

    def path(self, route: Route = Route.ATTACHMENT, chunk: int = 0) -> str:
        """A route of this attachment."""
        return route.format(attachment=b64(self.attachment), chunk=chunk)

    def request(self, life: int = limits.HOUR, **changes: Any) -> wire.CreateAttachment:
        """What asks for its room. `changes` replace fields."""
        fields: dict[str, Any] = {
            "attachment": self.attachment,
            "token_hash": sha256(self.token).digest(),
            "size": self.size,
            "life": life,
            "delete_hash": sha256(self.secret).digest(),
        }
        return wire.CreateAttachment(**{**fields, **changes})

    def put(self, client: httpx.Client, number: int, chunk: bytes) -> httpx.Response:
        """Send a chunk."""
        headers = {**bearer(self.token), "Content-Type": "application/octet-stream"}
        return client.put(self.path(Route.ATTACHMENT_CHUNK, number), content=chunk, headers=headers)

    def get(self, client: httpx.Client, number: int) -> httpx.Response:
        """Fetch a chunk."""
        return client.get(self.path(Route.ATTACHMENT_CHUNK, number), headers=bearer(self.token))

    def state(self, client: httpx.Client) -> httpx.Response:
        """Ask what is there."""
        return client.get(self.path(), headers=bearer(self.token))

    def missing(self, client: httpx.Client) -> list[int]:
        """The chunks that the service does not have."""
        return wire.Attachment.model_validate_json(self.state(client).content).missing

    def delete(self, client: httpx.Client, secret: bytes | None = None) -> httpx.Response:
        """End it before its time."""
        asked = wire.Deletion(secret=self.secret if secret is None else secret)
        headers = {**bearer(self.token), "Content-Type": "application/json"}
        return client.post(self.path(Route.ATTACHMENT_DELETION), content=body(asked), headers=headers)


@dataclass(slots=True)
class TestRound:
    """A round of ideas of the wire, without any sealing: its packets are whatever the test gives."""

    __test__ = False

    opens_at: int
    window: int = 60
    places: int = 9
    life: int = limits.HOUR
    round: bytes = field(default_factory=lambda: secrets.token_bytes(limits.ID_BYTES))
    token: bytes = field(default_factory=lambda: secrets.token_bytes(limits.TOKEN_BYTES))

    @property
    def path(self) -> str:
        """Its place."""
        return Route.ROUND.format(round=b64(self.round))

    def make(self, client: httpx.Client, device: TestDevice, **changes: Any) -> httpx.Response:
        """A device asks for its room. `changes` replace fields."""
        fields: dict[str, Any] = {
            "round": self.round,
            "token_hash": sha256(self.token).digest(),
            "opens_at": self.opens_at,
            "window": self.window,
            "places": self.places,
            "life": self.life,
        }
        asked = wire.CreateRound(**{**fields, **changes})
        return client.post(device.path(Route.ROUNDS), content=body(asked), headers=device.headers)

    def send(self, client: httpx.Client, packet: bytes, token: bytes | None = None) -> httpx.Response:
        """Send a packet."""
        headers = {**bearer(token or self.token), "Content-Type": "application/json"}
        return client.post(self.path, content=body(wire.SendPacket(sealed=packet)), headers=headers)

    def get(self, client: httpx.Client, token: bytes | None = None) -> httpx.Response:
        """Ask for its packets."""
        return client.get(self.path, headers=bearer(token or self.token))

    def packets(self, client: httpx.Client) -> list[bytes]:
        """Its packets. Raises AssertionError when they are not shown."""
        answer = self.get(client)
        if answer.status_code != 200:
            raise AssertionError(answer.text)
        return wire.Round.model_validate_json(answer.content).packets


def body(request: wire.Request) -> bytes:
    """A request as it travels."""
    return request.model_dump_json(exclude_none=True).encode()


def problem(answer: httpx.Response) -> str:
    """The type of a problem document, without its prefix. Raises AssertionError when the answer is none."""
    document = wire.ProblemDocument.model_validate_json(answer.content)
    if answer.headers["content-type"] != "application/problem+json" or document.status != answer.status_code:
        raise AssertionError(f"not a problem document: {answer.headers}")
    return document.type.removeprefix(wire.PROBLEM_URN)


def events(lines: Iterator[str]) -> Iterator[tuple[str, str, str]]:
    """(event, id, data) of each server-sent event; comments are left out."""
    fields: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif not line and fields:
            yield fields.get("event", ""), fields.get("id", ""), fields.get("data", "")
            fields = {}


@contextlib.contextmanager
def threaded(settings: Settings) -> Iterator[str]:
    """The application in a thread of this process, behind the same server: for a clock of one's own."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_app(settings)
    server = uvicorn.Server(
        uvicorn.Config(app, loop="uvloop", http=Connection, ws="none", log_config=None, log_level="critical")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise app.failure or RuntimeError("the server did not start")
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        if app.hub is not None:
            app.hub.loop.call_soon_threadsafe(app.hub.end_all)
        server.should_exit = True
        thread.join(30)
        listener.close()


def found_channel(
    client: httpx.Client, data: Path, devices: int = 1, absence_limit: int = limits.DAY
) -> list[TestDevice]:
    """A channel of `devices` devices, through the real grant, boxes and admissions."""
    founder = TestDevice(secrets.token_bytes(limits.ID_BYTES))
    created = client.post(
        Route.CHANNELS,
        content=founder.create(absence_limit),
        headers={**founder.headers, **bearer(issue_by(settings_of(data))[0])},
    )
    created.raise_for_status()
    return [founder, *seat(client, founder, devices - 1)]


def seat(client: httpx.Client, founder: TestDevice, newcomers: int) -> Sequence[TestDevice]:
    """Let `newcomers` more devices in."""
    seated = []
    for _ in range(newcomers):
        newcomer, box = TestDevice(founder.channel), secrets.token_bytes(limits.ID_BYTES)
        opened = wire.CreateBox(box=box, token_hash=sha256(newcomer.token).digest(), life=limits.HOUR)
        client.post(
            founder.path(Route.BOXES), content=opened.model_dump_json(), headers=founder.headers
        ).raise_for_status()
        told = client.post(
            founder.path(Route.ENTRIES),
            content=founder.admit(newcomer, box).model_dump_json(exclude_none=True),
            headers=founder.headers,
        )
        told.raise_for_status()
        founder.count += 1
        founder.handshake_head = wire.Receipt.model_validate_json(told.content).seq
        seated.append(newcomer)
    for one in seated:
        one.handshake_head = founder.handshake_head
    return seated
