"""For tests: people who are sounded, in one channel or across channels, with real vaults at a real service.

    room = await common_room(house, hours, "ada", "ben")       # a channel of two parties
    await room.ask("The wells stay open.")                     # asked, and registered on everybody's device
    room.answer("ada", True)                                   # who is not named says nothing
    await room.counted()                                       # time passes; everybody hears the result

`dealt_rooms` makes two channels without a common member, and an intermediary with a vault for each. Only the clock is
in the test's hands (`signing_testing.Hours`).
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import httpx

from pourparler_policies import wire
from pourparler_policies.charter.document import Card, Intermediary
from pourparler_policies.charter.rules import Role
from pourparler_policies.limits import HANDSHAKE_BURST, HANDSHAKE_REFILL
from pourparler_policies.sounding.device import Stage

from .happenings import Happening
from .signing_testing import Hours
from .soundings import Asked, deal
from .store import State
from .testing import House, Line, Person, charter_of

ANSWER, COLLECT = 3600, 600  # seconds: for people, then for devices
PACKAGES: Final = ("The wells stay open.", "The road is opened first.", "Both, on one day.")


@dataclass
class Rooms:
    """People in one or several channels; `channels` is who is in each, an intermediary last if there is one."""

    hours: Hours
    channels: list[list[Person]]
    told: dict[str, list[Happening]] = field(default_factory=dict)

    @property
    def people(self) -> list[Person]:
        """Everybody."""
        return [person for room in self.channels for person in room]

    @property
    def answering(self) -> list[Person]:
        """Who is of a party."""
        return [person for person in self.people if person.log.soundings.party]

    def person(self, name: str) -> Person:
        """By name."""
        return next(person for person in self.people if person.name == name)

    def later(self, seconds: int) -> None:
        """So much time passes, for the service and for everybody."""
        self.hours.offset += seconds
        for person in self.people:
            person.clock.offset += seconds

    def until(self, moment: int) -> None:
        """Time passes until then (Unix seconds)."""
        self.later(max(0, moment - int(self.hours())))

    async def visit(self, *people: Person) -> None:
        """These people come online once, in turn; everybody, if none is named."""
        for person in people or self.people:
            if person.state is State.OPEN:
                self.told.setdefault(person.name, []).extend(await person.sync())

    async def through(self, done: Callable[[], bool], *people: Person, visits: int = 8) -> None:
        """These people visit in turn until that is so; everybody, if none is named."""
        for _ in range(visits):
            if done():
                return
            await self.visit(*people)
        if not done():
            raise AssertionError({person.name: stage_of(person) for person in self.people})

    def ready(self) -> bool:
        """Whether everybody of a party may answer."""
        return all(stage_of(person) is Stage.READY for person in self.answering)

    async def ask(self, *packages: str, by: Person | None = None, again: bool = False) -> None:
        """Somebody asks the one channel; on return everybody may answer."""
        asker = by or self.people[0]
        await asker.channel.soundings.ask(packages, answer_within=ANSWER, collect_within=COLLECT, again=again)
        await self.through(self.ready)

    async def deal(self, *packages: str, again: bool = False) -> None:
        """The intermediary deals across the channels; on return everybody may answer."""
        channels = [room[-1].channel for room in self.channels]
        await deal(channels, packages, answer_within=ANSWER, collect_within=COLLECT, spread=0, again=again)
        await self.through(self.ready)

    def answer(self, name: str, *accepts: bool) -> None:
        """A person's word on each package."""
        self.person(name).channel.soundings.answer(accepts)

    def asked(self, person: Person | None = None) -> Asked:
        """What somebody's device shows."""
        shown = (person or self.people[0]).channel.soundings.status()
        if shown is None:
            raise AssertionError("nothing is asked")
        return shown

    async def handed_in(self, *people: Person) -> None:
        """The time to answer is over; these people's devices hand in; those of all parties, if none is named."""
        asked = self.asked()
        self.until((asked.answer_by + asked.closes) // 2 + 1)
        chosen = people or tuple(self.answering)
        await self.through(lambda: all(stage_of(person) is Stage.HANDED for person in chosen), *chosen)

    async def counted(self) -> set[int | None]:
        """Devices hand in, the tally closes, everybody hears of it; returns the results that they show."""
        if any(stage_of(person) is Stage.READY for person in self.answering):
            await self.handed_in()
        return await self.closed()

    async def closed(self) -> set[int | None]:
        """The tally closes, and everybody hears of it."""
        self.until(self.asked().closes + 1)
        await self.through(lambda: all(self.asked(person).result is not None for person in self.people))
        return {self.asked(person).result for person in self.people}


def stage_of(person: Person) -> Stage | None:
    """Where a sounding stands on this device."""
    own = person.log.soundings.kept.own
    return own.stage if own is not None else None


async def common_room(house: House, hours: Hours, *names: str, present: Iterable[str] = (), **rules: Any) -> Rooms:
    """One channel in which each of `names` is a party; `present` are of an intermediary."""
    return Rooms(hours, [await _room(house, hours, names, tuple(present), rules)])


async def dealt_rooms(
    house: House, hours: Hours, *rooms: Sequence[str], intermediary: str = "mia", **rules: Any
) -> Rooms:
    """A channel for each list of names, with an intermediary who has a vault for each."""
    made = [
        await _room(house, hours, names, (f"{intermediary}-{number}",), rules)
        for number, names in enumerate(rooms, 1)
    ]
    together = Rooms(hours, made)
    for person in together.people:
        person.clock.offset = hours.offset
    return together


async def _room(
    house: House, hours: Hours, names: Sequence[str], present: Sequence[str], given: dict[str, Any]
) -> list[Person]:
    rules = dict(given)
    people = [await house.person(name) for name in (*names, *present)]
    for person in people:
        person.clock.offset = hours.offset
    rounds = rules.pop("soundings", 4)
    charter = charter_of([person.device.card for person in people[: len(names)]], **rules)
    charter = replace(charter, release=replace(charter.release, soundings=rounds))
    if present:
        cards = tuple(Card(p.device.card.fingerprint, p.name, Role.INTERMEDIARY) for p in people[len(names) :])
        body = Intermediary("Go-between", "go-between", "none", "none", "none", True, cards)
        charter = replace(charter, intermediaries={"go-between": body})
    await house.found(people[0], charter=charter)
    for person in people[1:]:
        await house.seat(people[0], person)
    together = Rooms(hours, [people])
    together.later(HANDSHAKE_BURST * HANDSHAKE_REFILL)  # what founding has cost comes back
    await together.visit()
    return people


class Recorder(httpx.AsyncBaseTransport):
    """Below a person's line: every request with the size of its body, whether it had a token, and what was sent."""

    def __init__(self, line: Line) -> None:
        self._http, line._http = line._http, self  # type: ignore[assignment]
        self.requests: list[tuple[str, str, int, bool]] = []
        self.bodies: list[bytes] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Notes it, and sends it on."""
        path = re.sub(r"/[A-Za-z0-9_-]{22,}", "/…", request.url.raw_path.decode().partition("?")[0])
        body = await request.aread()
        self.requests.append((request.method, path, len(body), "authorization" in request.headers))
        self.bodies.append(body)
        return await self._http.handle_async_request(request)

    async def aclose(self) -> None:
        """Ends the connections."""
        await self._http.aclose()

    def at_the_tally(self) -> list[tuple[str, str, int, bool]]:
        """What went there, in order."""
        return [one for one in self.requests if "/tallies" in one[1]]

    def appended(self) -> list[tuple[bool, int]]:
        """What went to the channel's log, in order: the flag, and the size in the log."""
        made = [
            wire.Append.model_validate_json(body)
            for (method, path, *_), body in zip(self.requests, self.bodies, strict=True)
            if method == "POST" and path.endswith("/entries")
        ]
        return [(one.handshake, len(one.sealed)) for one in made]
