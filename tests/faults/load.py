"""People's devices under whatever befalls the service: authors that never give up, readers that never close.

An author keeps the bytes of what it sends until it is answered, and sends the same again after a broken line, as the
client does. What it was told is in `receipts`; any answer that an honest device must not get is in `wrong`.
"""

import contextlib
import random
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import httpx

from pourparler_policies import limits, wire
from pourparler_policies.wire import Route
from pourparler_service.testing import TestDevice, body, events

Where = Callable[[], str]  # the address of a process of the service

PATIENCE = 5.0  # seconds for an answer: a frozen process gives none
_PASSING = (429, 502, 503, 504)
_SHORT = (3, 6)  # seconds: entries that expire while the run lasts
ENTRIES_A_SECOND = 30  # of one author: load, not saturation; the faults are what is tried here


class Author(threading.Thread):
    """Appends until it is stopped."""

    def __init__(
        self, device: TestDevice, where: Where, chance: random.Random, trust: ssl.SSLContext | bool = False
    ) -> None:
        super().__init__(daemon=True)
        self.device, self.where, self.chance, self.trust = device, where, chance, trust
        self.receipts: dict[bytes, tuple[wire.Append, wire.Receipt]] = {}
        self.under_way: wire.Append | None = None
        self.wrong: list[str] = []
        self.ending = threading.Event()

    def run(self) -> None:
        while not self.ending.is_set() and not self.wrong:
            with contextlib.suppress(httpx.TransportError, ValueError):
                self._talk()
            self.ending.wait(0.05)

    def _talk(self) -> None:
        with httpx.Client(base_url=self.where(), timeout=PATIENCE, trust_env=False, verify=self.trust) as client:
            while not self.ending.is_set():
                asked = self.under_way or self._next()
                self.under_way = asked
                if self.chance.random() < 0.02:
                    self._vanish(asked)
                answer = self.device.send(client, asked)
                if answer.status_code in _PASSING:
                    self.ending.wait(0.1)
                    return  # perhaps another process is better
                if answer.status_code != 201:
                    self.wrong.append(f"{answer.status_code} {answer.text}")
                    return
                self.receipts[asked.entry] = asked, wire.Receipt.model_validate_json(answer.content)
                self.under_way = None
                self.ending.wait(self.chance.expovariate(ENTRIES_A_SECOND))

    def _next(self) -> wire.Append:
        life = self.chance.randint(*_SHORT) if self.chance.random() < 0.3 else limits.DAY
        return self.device.append(life=life, sealed=secrets.token_bytes(limits.BUCKETS[0]))

    def _vanish(self, asked: wire.Append) -> None:
        """The same request on a line that breaks: in the midst of it, or before the answer."""
        address, data = urlsplit(self.where()), body(asked)
        head = f"POST {self.device.path(Route.ENTRIES)} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in self.device.headers.items()) + "\r\n"
        with (
            contextlib.suppress(OSError),
            socket.create_connection((address.hostname or "", address.port or 0), timeout=PATIENCE) as line,
        ):
            cut = self.chance.choice((len(data), self.chance.randrange(len(data))))
            line.sendall(head.encode() + data[:cut])


def ended(authors: Sequence[Author], patience: float, longer: float = 60) -> dict[int, bytes]:
    """Stop them. Returns the entries that were acknowledged and live `longer` (seconds), by their places."""
    for author in authors:
        author.ending.set()
    for author in authors:
        author.join(patience)
    return {
        receipt.seq: asked.entry
        for author in authors
        for asked, receipt in author.receipts.values()
        if receipt.expires_at > time.time() + longer
    }


class Reader(threading.Thread):
    """Follows a channel's stream, again and again from where it was."""

    def __init__(self, device: TestDevice, where: Where, trust: ssl.SSLContext | bool = False) -> None:
        super().__init__(daemon=True)
        self.device, self.where, self.trust = device, where, trust
        self.seen: list[tuple[int, bytes]] = []
        self.ending = threading.Event()

    def run(self) -> None:
        while not self.ending.is_set():
            with contextlib.suppress(httpx.TransportError, ValueError):
                self._follow()
            self.ending.wait(0.1)

    def _follow(self) -> None:
        after = self.seen[-1][0] if self.seen else 0
        path = f"{self.device.path(Route.STREAM)}?after={after}"
        timeout = httpx.Timeout(PATIENCE, read=1.0)  # so that it looks whether it is over
        with (
            httpx.Client(base_url=self.where(), timeout=timeout, trust_env=False, verify=self.trust) as client,
            client.stream("GET", path, headers=self.device.headers) as stream,
        ):
            if stream.status_code != 200:
                return
            for name, _, data in events(stream.iter_lines()):
                if name == "entry":
                    entry = wire.Entry.model_validate_json(data)
                    self.seen.append((entry.seq, entry.entry))


class Stuck(threading.Thread):
    """Opens a stream and takes nothing from it: holds up nobody but itself."""

    def __init__(self, device: TestDevice, where: Where) -> None:
        super().__init__(daemon=True)
        self.device, self.where = device, where
        self.ending = threading.Event()

    def run(self) -> None:
        while not self.ending.is_set():
            address = urlsplit(self.where())
            with (
                contextlib.suppress(OSError),
                socket.create_connection((address.hostname or "", address.port or 0), timeout=PATIENCE) as line,
            ):
                line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                head = "".join(f"{name}: {value}\r\n" for name, value in self.device.headers.items())
                line.sendall(
                    f"GET {self.device.path(Route.STREAM)}?after=0 HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode()
                )
                self.ending.wait(3)


def page_through(device: TestDevice, url: str, meanwhile: Callable[[], None] = lambda: None) -> list[wire.Entry]:
    """Everything that a device can read, by pages, from the beginning; waits for a service that comes back. `meanwhile`
    is what systemd does.
    """
    deadline = time.monotonic() + 60
    while True:
        try:
            with httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False, verify=False) as client:
                entries: list[wire.Entry] = []
                while True:
                    answer = device.page(client, entries[-1].seq if entries else 0)
                    if answer.status_code in _PASSING:
                        raise httpx.ReadError("not yet")
                    page = wire.Page.model_validate_json(answer.content)
                    entries += page.entries
                    if not page.entries:
                        return entries
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            meanwhile()
            time.sleep(0.2)
