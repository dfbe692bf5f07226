"""For tests: power cuts at any step, lines that lie, clocks that are set, and devices on real vaults.

Nothing here stands in for the real part: vaults are files, services are processes, keys are keys. Only the line
between a device and its service, its clock, and the moment at which it dies are in the test's hands. Longer than 500
lines: it is the one kit of all system tests.
"""

import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NoReturn

import httpx

from pourparler_crypto.mls.framing import open_sender_data, read_private
from pourparler_policies import wire
from pourparler_policies.charter import Charter
from pourparler_policies.charter.document import (
    Admission,
    Attribution,
    Card,
    Party,
    Release,
    Report,
    Retention,
    Seats,
)
from pourparler_policies.charter.rules import Role
from pourparler_policies.fold import subject_digest, waits_for
from pourparler_policies.fold.events import Approved
from pourparler_policies.fold.facts import Admit, Subject
from pourparler_policies.limits import DAY, HANDSHAKE_BURST, HOUR
from pourparler_policies.wire import Problem

from .api import Api
from .channel import Channel, Connect
from .device import Device
from .errors import PourparlerError, Refused, Waits
from .happenings import Happening
from .invitations import Progress
from .log import Log
from .outbox import Kind
from .store import ChannelStore, Row, State
from .vault import Cost, Vault

CHEAP: Final = Cost(1, 8 * 1024)  # Argon2id for tests: milliseconds
PASSPHRASE: Final = "correct horse battery staple"  # noqa: S105 -- of vaults that live for one test


class PowerCut(BaseException):
    """The device is dead from here on. No handler may catch it, as none runs when the power goes."""


class SetClock:
    """A clock in the test's hands, in Unix seconds; `offset` seconds from another one."""

    def __init__(self, base: Callable[[], int]) -> None:
        self._base = base
        self.offset = 0

    def __call__(self) -> int:
        """Unix seconds."""
        return self._base() + self.offset


class Faults:
    """Counts the steps of one device, and cuts the power at the step that was chosen.

    A step lies before and after each commit of the vault, before each request, and between the service's answer
    and its arrival. At the cut, the vault's files are copied as they lie on the disk: `image` is what is left.
    """

    def __init__(self, cut: int | None = None) -> None:
        self.cut = cut
        self.steps: list[str] = []
        self.image: Path | None = None
        self.vault: Vault | None = None
        self.alive = True

    def step(self, name: str) -> None:
        """One step; raises PowerCut when it is the chosen one, and ever after."""
        if not self.alive:
            raise PowerCut(name)
        self.steps.append(name)
        if self.cut is not None and len(self.steps) == self.cut + 1 and self.vault is not None:
            self.alive = False
            self.image = _next_to(self.vault.directory)
            shutil.copytree(self.vault.directory, self.image)
            raise PowerCut(name)

    def watch(self, vault: Vault) -> None:
        """Counts the commits of this vault."""
        self.vault = vault
        commit = vault._commit

        def counted() -> None:
            self.step("before a commit")
            commit()
            self.step("after a commit")

        vault._commit = counted  # type: ignore[method-assign]


def _next_to(directory: Path) -> Path:
    first = directory.name.partition(".")[0]
    for number in itertools.count(1):
        place = directory.with_name(f"{first}.{number}")
        if not place.exists():
            return place
    raise AssertionError


Rewrite = Callable[[str, str, int, bytes], tuple[int, bytes]]  # method, path, status, body -> status, body


class Line(httpx.AsyncBaseTransport):
    """The line between a device and its service: it counts, records, breaks and lies as a test wants.

    `rewrite` sees every answer and says what arrives instead. `sealed` holds every sealed entry that was sent.
    """

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.rewrite: Rewrite | None = None
        self.sealed: list[bytes] = []
        self.requests: list[tuple[str, str]] = []
        self.before_request: Callable[[str, str], None] | None = None
        self.after_answer: Callable[[str, str], None] | None = None
        self._http = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends on, whole; see `rewrite`."""
        method, path = request.method, request.url.raw_path.decode()
        body = await request.aread()
        self.faults.step(f"before {method} {path}")
        if self.before_request is not None:
            self.before_request(method, path)
        self.requests.append((method, path))
        if method == "POST" and path.endswith("/entries"):
            self.sealed.append(wire.Append.model_validate_json(body).sealed)
        response = await self._http.handle_async_request(request)
        if response.headers.get("Content-Type", "").startswith("text/event-stream"):
            return response
        try:
            data = await response.aread()
        finally:
            await response.aclose()
        if self.after_answer is not None:
            self.after_answer(method, path)
        self.faults.step(f"before the answer to {method} {path}")
        status = response.status_code
        if self.rewrite is not None:
            status, data = self.rewrite(method, path, status, data)
        headers = [(k, v) for k, v in response.headers.raw if k.lower() not in (b"content-length",)]
        return httpx.Response(status, headers=headers, stream=_Whole(data), request=request)

    async def aclose(self) -> None:
        """The connection below stays, as several clients share this line."""

    async def hang_up(self) -> None:
        """Ends the connections."""
        await self._http.aclose()

    def connect(self, url: str, bearer: bytes | None) -> Api:
        """For `Device(connect=…)`."""
        return Api(url, bearer, transport=self)


class _Whole(httpx.AsyncByteStream):
    def __init__(self, data: bytes) -> None:
        self._data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._data


def breaks(method: str, ending: str, *, reached: bool, times: int = 1) -> Callable[[Line], None]:
    """Breaks the line at the next such requests, before or after they reached the service."""
    left = itertools.count(times, -1)

    def strike(actual: str, path: str) -> None:
        if actual == method and path.partition("?")[0].endswith(ending) and next(left) > 0:
            raise httpx.ReadError("the line broke")

    def arm(line: Line) -> None:
        line.before_request, line.after_answer = (None, strike) if reached else (strike, None)

    return arm


def rewrite_pages(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Rewrite:
    """A service that shows other entries than it has; `change` gets a page's entries as JSON objects."""
    head = [0]  # a liar keeps to what it said

    def rewrite(method: str, path: str, status: int, data: bytes) -> tuple[int, bytes]:
        if method == "GET" and path.partition("?")[0].endswith("/entries") and status == 200:
            page = json.loads(data)
            after = int(path.partition("after=")[2].partition("&")[0])
            page["entries"] = [entry for entry in change(page["entries"]) if entry["seq"] > after]
            head[0] = page["head"] = max([page["head"], *head, *(entry["seq"] for entry in page["entries"])])
            data = json.dumps(page).encode()
        return status, data

    return rewrite


def time_passes(seconds: int, *people: "Person") -> None:
    """The clocks of these people and of their service go on by so much, as of the entry that follows."""
    after = max(channel.log.row.cursor for person in people for channel in person.device.channels())

    def shift(entry: dict[str, Any]) -> dict[str, Any]:
        if entry["seq"] <= after:
            return entry
        times = ("received_at", "expires_at")
        return {key: value + seconds if key in times else value for key, value in entry.items()}

    def behind(earlier: Rewrite | None) -> Rewrite:
        def rewrite(method: str, path: str, status: int, data: bytes) -> tuple[int, bytes]:
            if earlier is not None:
                status, data = earlier(method, path, status, data)
            if not path.partition("?")[0].endswith("/entries") or status >= 300:
                return status, data
            answer = json.loads(data)
            if method == "GET":
                answer["entries"] = [shift(entry) for entry in answer["entries"]]
            return status, json.dumps(shift(answer) if method == "POST" else answer).encode()

        return rewrite

    for person in people:
        person.clock.offset += seconds
        person.line.rewrite = behind(person.line.rewrite)


@dataclass
class Person:
    """A device in a test, with its line, clock and faults."""

    name: str
    directory: Path
    device: Device
    line: Line
    clock: SetClock
    faults: Faults
    closed: bool = False

    @classmethod
    def make(cls, directory: Path, name: str, cut: int | None = None) -> "Person":
        """A new vault with a card."""
        Device.create(directory, PASSPHRASE, name, CHEAP).vault.close()
        return cls.open(directory, name, Faults(cut))

    @classmethod
    def open(cls, directory: Path, name: str, faults: Faults | None = None, offset: int = 0) -> "Person":
        """The vault in `directory`, opened by a new process, so to say."""
        faults = faults or Faults()
        line = Line(faults)
        clock = SetClock(_now)
        clock.offset = offset
        vault = Vault.open(directory, PASSPHRASE)
        device = _device(vault, line.connect, clock)
        faults.watch(vault)
        return cls(name, directory, device, line, clock, faults)

    @property
    def channel(self) -> Channel:
        """The only channel."""
        (channel,) = self.device.channels()
        return channel

    @property
    def log(self) -> Log:
        """The only channel's log."""
        return self.channel.log

    @property
    def state(self) -> State | None:
        """The only channel's state; None when the vault has no channel."""
        channels = self.device.channels()
        return channels[0].log.row.state if channels else None

    def texts(self) -> list[str]:
        """What this device shows now, in order."""
        return [message.text for message in self.log.store.messages.shown(self.device.clock())]

    def waiting(self) -> list[str]:
        """Texts in the vault that the log does not hold yet."""
        waiting = self.log.store.outbox.kept(Kind.SAID).values()
        events = [event for content in waiting for event in json.loads(content)]
        return [event.get("text") or event["name"] for event in events]

    async def sync(self) -> list[Happening]:
        """Folds to the head."""
        return await self.channel.sync()

    async def say(self, *texts: str, life: int | None = None) -> None:
        """Says texts, one after the other."""
        for text in texts:
            await self.channel.say(text, life)

    async def spend_handshakes(self) -> None:
        """Changes keys until the service lets this device change nothing more for a while."""
        for _ in range(HANDSHAKE_BURST + 1):
            try:
                await self.channel.refresh_keys()
            except Refused as refusal:
                if refusal.problem is not Problem.BUDGET:
                    raise
                return
        raise AssertionError("the service lets a device change keys for ever")

    async def close(self) -> None:
        """Closes vault and connections; again is harmless."""
        if self.closed:
            return
        self.closed = True
        with suppress(PowerCut, PourparlerError):
            self.faults.alive, self.faults.cut = True, None
            await self.device.aclose()
        await self.line.hang_up()

    async def again(self, *, cut: int | None = None, directory: Path | None = None) -> "Person":
        """The same device after its end: after a power cut from what the disk held, else from its own files."""
        place = directory or self.faults.image or self.directory
        await self.close()
        person = Person.open(place, self.name, Faults(cut), self.clock.offset)
        person.line.sealed = [*self.line.sealed]
        person.line.rewrite = self.line.rewrite  # it is the same service
        if cut is None:
            with suppress(PourparlerError):
                for channel in person.device.channels():
                    await channel.open_texts()
        return person

    def copy(self, target: Path) -> Path:
        """The vault's files as they lie on the disk now."""
        return Path(shutil.copytree(self.directory, target))


def channel_row(channel: bytes, title: str, **changes: Any) -> Row:
    """A channel's row as the vault keeps it, for tests that need no group and no service."""
    row = Row(
        id=channel,
        url="https://127.0.0.1:1",
        state=State.OPEN,
        trouble="",
        charter=charter_of(["ada", "ben"], title=title).encode(),
        token=bytes(32),
        device=bytes(16),
        credential=bytes(16),
        incarnation=bytes(16),
        cursor=0,
        received_at=0,
        handshake_head=0,
        count=0,
        updated_at=0,
        missed=0,
    )
    return replace(row, **changes)


def _now() -> int:
    return int(time.time())


def _device(vault: Vault, connect: Connect, clock: Callable[[], int]) -> Device:
    try:
        return Device(vault, connect, clock)
    except BaseException:
        vault.close()
        raise


def charter_of(
    cards: Iterable[Any], *, title: str = "Two wells", ideas: bool = False, **retention: int
) -> Charter:
    """A charter in which each card (a `crypto` Card, or only its name) is the one delegate of a party of its own.

    `retention`: messages, absence, keys and the rest, in seconds.
    """
    lives: dict[str, Any] = {
        "messages": 7 * DAY,
        "after_reading": 0,
        "papers": 30 * DAY,
        "absence": 30 * DAY,
        "notice": 3 * DAY,
        "keys": DAY,
        "read_offline": False,
        **retention,
    }
    parties = {}
    for number, card in enumerate(cards):
        name = card if isinstance(card, str) else card.name
        fingerprint = bytes([number + 1]) * 32 if isinstance(card, str) else card.fingerprint
        named = (Card(fingerprint, name, Role.DELEGATE),)
        parties[f"side-{number}"] = Party(f"Side {number}", "personal", 1, "none", named)
    return Charter(
        charter=1,
        policy=1,
        title=title,
        purpose="To look for ways out.",
        languages=("en",),
        seats=Seats(party=4, intermediary=2, devices=2),
        retention=Retention(**lives),
        attribution=Attribution(rule="chatham house", ideas=ideas),
        admission=Admission(names="after acceptance", recall=True, longest_recess=180 * DAY),
        release=Release("parties", 2 * DAY, DAY, "any party", HOUR),
        reporting=(Report("Each delegate", "one named principal", "gist"),),
        agreed_line={"en": "There is nothing to comment on."},
        parties=parties,
        intermediaries={},
    )


@dataclass
class House:
    """A service, and the people who use it: makes channels through the real founding and the real invitation."""

    url: str
    grant: Callable[[], bytes]
    root: Path
    people: list[Person] = field(default_factory=list)

    async def person(self, name: str, cut: int | None = None) -> Person:
        """One more person with a new vault."""
        person = Person.make(self.root / f"vault-{len(self.people)}-{name}", name, cut)
        self.people.append(person)
        return person

    async def again(self, person: Person, **options: Any) -> Person:
        """As `Person.again`, and the house knows the new one."""
        following = await person.again(**options)
        self.people[self.people.index(person)] = following
        return following

    async def found(
        self, person: Person, *others: Person, charter: Charter | None = None, **rules: Any
    ) -> Channel:
        """Opens a channel whose charter names these people, each as a party."""
        charter = charter or charter_of([p.device.card for p in (person, *others)], **rules)
        return await person.device.found(self.url, self.grant(), charter)

    def inside(self, person: Person) -> list[Person]:
        """Everybody of the house who is in that person's only channel, that person first."""
        channel = person.channel.id
        others = [p for p in self.people if p is not person and not p.closed]
        return [person, *(p for p in others if any(c.id == channel for c in p.device.channels()))]

    async def agree(self, proposer: Person, subject: Subject) -> None:
        """The subject is put on the table, and everybody who is in the channel and may approves."""
        await proposer.channel.propose(subject)
        for person in self.inside(proposer)[1:]:
            await person.sync()
            digest = subject_digest(person.log.consent.rules, subject)
            if digest in person.log.consent.open:
                await person.channel.do(Approved(digest))
        for person in self.inside(proposer):
            await person.sync()

    async def put_on_the_table(self, inviter: Person, invitee: Person) -> None:
        """A seat for the invitee: as the charter names it, or else beside the inviter's."""
        card = invitee.device.card.fingerprint
        state = inviter.log.consent
        named = next((n for n in state.rules.founding if n.card == card), None)
        body = state.seats[state.devices[inviter.device.card.fingerprint].seat].body
        subject = Admit(named.body, named.role, card) if named else Admit(body, Role.DELEGATE, card)
        await self.agree(inviter, subject)

    async def seat(self, inviter: Person, invitee: Person) -> Channel:
        """The whole way in: consent, invitation, attestation by everybody."""
        if invitee.device.card.fingerprint not in inviter.log.consent.devices:
            await self.put_on_the_table(inviter, invitee)
        await self.bring_in(inviter, invitee)
        await self.attest(inviter)
        return invitee.channel

    async def bring_in(self, inviter: Person, invitee: Person) -> list[Progress]:
        """The invitation alone, both sides; the invitee is in the lobby then."""
        sides = inviter.device.inviter(inviter.channel), invitee.device.invitee()
        box = await sides[1].answer(await sides[0].invite(invitee.device.card))
        await sides[0].progress()
        if await sides[1].offer(box) is None:
            raise AssertionError("no offer came")
        await sides[1].accept(box)
        told = await sides[0].progress()
        if await sides[1].join(box) is None:
            raise AssertionError("no welcome came")
        return told

    async def attest(self, person: Person, rounds: int = 40) -> None:
        """Everybody of that person's channel comes online again and again, until nobody has to be waited for."""
        for _ in range(rounds):
            people = [p for p in self.inside(person) if p.state is State.OPEN]
            for one in people:
                with suppress(Waits):
                    await one.sync()
            if all(self.settled(one) for one in people):
                return
        raise AssertionError("they have not all attested each other")

    @staticmethod
    def settled(person: Person) -> bool:
        """Whether nobody has to be waited for, and this device has attested everybody."""
        state = person.log.consent
        own = state.devices[person.device.card.fingerprint]
        others = {device.card for device in state.devices.values() if device.credential} - {own.card}
        waiting = waits_for(state, state.seats[own.seat].body)
        return not waiting and others <= own.met and not person.log.attestations.wanting(person.clock())

    async def opened(self, *names: str, **rules: Any) -> list[Person]:
        """People whom a charter names, each as a party. The first has opened the channel, and is alone in it."""
        people = [await self.person(name) for name in names]
        await self.found(*people, **rules)
        return people

    async def room(self, *names: str, **rules: Any) -> list[Person]:
        """People in one channel, each a party, all at its head; the first founded it."""
        first, *others = await self.opened(*names, **rules)
        for other in others:
            await self.seat(first, other)
        for person in (first, *others):
            await person.sync()
        return [first, *others]

    async def close(self) -> None:
        """Everybody goes home."""
        for person in self.people:
            await person.close()


class Keys:
    """Tells whether two different messages were ever sealed under one key of one sender's ratchet.

    Needs the sender data secret of every epoch: call `learn` while a member is in it.
    """

    def __init__(self) -> None:
        self._epochs: dict[int, Any] = {}

    def learn(self, person: Person) -> None:
        """Remembers how sender data opens in the epochs where a person's vault is now."""
        for channel in ChannelStore.all(person.device.vault):
            row = ChannelStore(person.device.vault, channel).row()
            if row is not None and row.state is State.OPEN:
                group = Log(person.device.vault, channel, person.device.clock).group
                self._epochs[group.epoch] = group._state.sender_data

    def reused(self, sealed: Iterable[bytes]) -> list[tuple[int, int, int, int]]:
        """(epoch, leaf, content type, generation) of keys that sealed two different messages.

        Raises AssertionError when an epoch is not known: then nothing would have been checked.
        """
        seen: dict[tuple[int, int, int, int], bytes] = {}
        twice = []
        for message in sealed:
            private = read_private(message, 4)
            if private.epoch not in self._epochs:
                raise AssertionError(f"nobody was watched in epoch {private.epoch}")
            leaf, generation, _ = open_sender_data(self._epochs[private.epoch], private)
            place = (private.epoch, leaf, private.content_type, generation)
            if seen.setdefault(place, message) != message:
                twice.append(place)
        return twice


async def until(act: Callable[[], Awaitable[bool]], patience: int = 200) -> None:
    """Repeats an act until it is true; AssertionError when it does not come true."""
    for _ in range(patience):
        if await act():
            return
    raise AssertionError("it did not come true")


@dataclass(frozen=True)
class Done:
    """A command of `pourparler` that ran to its end in a process of its own."""

    status: int
    out: str
    errors: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """What `--json` printed: one object a line."""
        return [json.loads(line) for line in self.out.splitlines()]


def pourparler(
    *arguments: str | Path,
    passphrase: str | bytes | None = None,
    text: bytes = b"",
    environment: dict[str, str] | None = None,
    patience: float = 400,
) -> Done:
    """Runs one command. The passphrase goes through a pipe, as the program wants it. `patience`: seconds."""
    extra: list[str] = []
    descriptors: tuple[int, ...] = ()
    if passphrase is not None:
        reading, writing = os.pipe()
        data = passphrase if isinstance(passphrase, bytes) else passphrase.encode()
        os.write(writing, data + b"\n")
        os.close(writing)
        extra, descriptors = ["--passphrase-fd", str(reading)], (reading,)
    try:
        done = subprocess.run(  # noqa: S603 -- our own program, arguments made here
            [sys.executable, "-m", "pourparler_clients.cli", *map(str, arguments), *extra],
            input=text,
            capture_output=True,
            timeout=patience,
            pass_fds=descriptors,
            env={**os.environ, **(environment or {})},
            check=False,
        )
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


class Commands:
    """Runs many commands soon: each is a process of its own, forked from one that has loaded the program."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._numbers = itertools.count()
        self._server = subprocess.Popen(
            [sys.executable, "-c", "from pourparler_clients.testing import serve_commands; serve_commands()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str | Path, passphrase: str | bytes | None = None, text: bytes = b"") -> Done:
        """As `pourparler`."""
        place = self._place(passphrase)
        (place / "in").write_bytes(text)
        status = self._ask(place=str(place), arguments=[*map(str, arguments)], stay=False)
        return Done(status, (place / "out").read_bytes().decode(), (place / "errors").read_bytes().decode())

    def start(self, *arguments: str | Path, passphrase: str) -> "Running":
        """A command that goes on, as `talk` does."""
        place = self._place(passphrase)
        os.mkfifo(place / "in")
        writing = os.open(place / "in", os.O_RDWR)  # waits for no reader
        pid = self._ask(place=str(place), arguments=[*map(str, arguments)], stay=True)
        return Running(pid, place, writing, lambda pid: self._ask(reap=pid))

    def _place(self, passphrase: str | bytes | None) -> Path:
        place = self._root / f"command-{next(self._numbers)}"
        place.mkdir()
        if passphrase is not None:
            data = passphrase if isinstance(passphrase, bytes) else passphrase.encode()
            (place / "passphrase").write_bytes(data + b"\n")
        return place

    def _ask(self, **job: Any) -> int:
        if self._server.stdin is None or self._server.stdout is None:
            raise RuntimeError("this cannot be")
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def close(self) -> None:
        """Ends the process that has loaded the program."""
        self._server.communicate()


class Running:
    """A command that goes on: it takes lines, and its lines are waited for."""

    def __init__(self, pid: int, place: Path, writing: int, reap: Callable[[int], object]) -> None:
        self.pid = pid
        self._reap = reap
        self._writing = writing
        self._out = place / "out"
        self._seen = 0

    def write(self, line: str) -> None:
        """One line of input."""
        os.write(self._writing, line.encode() + b"\n")

    def event(self, **fields: Any) -> dict[str, Any]:
        """The next line that is an object with these fields."""
        for _ in range(6000):
            lines = self._out.read_bytes().split(b"\n")[:-1] if self._out.exists() else []
            for line in lines[self._seen :]:
                self._seen += 1
                record: dict[str, Any] = json.loads(line)
                if all(record.get(key) == value for key, value in fields.items()):
                    return record
            time.sleep(0.01)
        raise AssertionError(f"{fields} did not come")

    def kill(self) -> None:
        """As a power cut would: no handler runs. Returns when the process is gone."""
        os.kill(self.pid, signal.SIGKILL)
        self._gone()

    def end(self) -> None:
        """Ends its input, and waits until it ended by itself."""
        os.close(self._writing)
        self._writing = -1
        self._gone()

    def _gone(self) -> None:
        if self._writing >= 0:
            os.close(self._writing)
        self._reap(self.pid)


def serve_commands() -> None:
    """What the process of `Commands` does: a fork for each line of input."""
    from .cli import build_parser, main  # noqa: PLC0415 -- the command line does not need this module

    build_parser()  # loads the commands
    for line in sys.stdin:
        job = json.loads(line)
        child = job.get("reap") or os.fork()
        if child == 0:
            _become(Path(job["place"]), job["arguments"], main)
        answer = child if job.get("stay") else os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def _become(place: Path, arguments: list[str], main: Callable[[list[str]], int]) -> NoReturn:
    status = 1
    try:
        os.dup2(os.open(place / "in", os.O_RDONLY), 0)
        os.dup2(os.open(place / "out", os.O_WRONLY | os.O_CREAT), 1)
        os.dup2(os.open(place / "errors", os.O_WRONLY | os.O_CREAT), 2)
        sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False))
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False))
        if (place / "passphrase").exists():
            descriptor = os.open(place / "passphrase", os.O_RDONLY)
            arguments = [*arguments, "--passphrase-fd", str(descriptor)]
        status = main(arguments)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
