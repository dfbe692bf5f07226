"""For tests: people in one channel who hold a round of ideas at a real service whose clock the test sets.

    circle = await idea_circle(house, hours, "ada", "ben", "cleo")
    await circle.add("ada", "Open the road on market days.")
    await circle.call("ben")
    await circle.through()                        # gathering, tick, window, until nobody owes anything
    assert (await circle.shown("cleo"))[0].ideas

What the service's operator can see of a round comes out of `watch`.
"""

from dataclasses import dataclass, field
from typing import Any

import httpx

from pourparler_policies.ideas.facts import Round

from .happenings import Happening
from .ideas import Listed
from .signing_testing import Hours
from .store import State
from .testing import House, Person

# Seconds. Real ones go on as well, on a slow machine many of them: nothing here is decided by less than a minute.
GATHER, WINDOW, AHEAD = 900, 600, 1300


@dataclass(frozen=True)
class Seen:
    """What an operator who watches has of one request: when, by whose line, what, how large, under which token."""

    at: int
    who: str
    method: str
    path: str
    size: int
    bearer: str


@dataclass
class Circle:
    """People in one channel."""

    hours: Hours
    people: list[Person]
    told: dict[str, list[Happening]] = field(default_factory=dict)

    def person(self, name: str) -> Person:
        """By name."""
        return next(person for person in self.people if person.name == name)

    @property
    def held(self) -> Round:
        """The live round as the first person's log has it."""
        held = self.people[0].log.folded.round
        if held is None:
            raise AssertionError("there is no round")
        return held

    def now(self) -> int:
        """Unix seconds, for the service and for whose clock is right."""
        return int(self.hours())

    def until(self, moment: int) -> None:
        """Time passes until then, for the service and for everybody."""
        seconds = max(0, moment - self.now())
        self.hours.offset += seconds
        for person in self.people:
            person.clock.offset += seconds

    async def visit(self, *names: str) -> None:
        """These people come online once, in turn; everybody, if none is named."""
        for person in [self.person(name) for name in names] or self.people:
            if person.state is State.OPEN:
                self.told.setdefault(person.name, []).extend(await person.sync())

    async def add(self, name: str, *texts: str, least: int = 3) -> None:
        """Somebody has ideas for the next round."""
        for text in texts:
            await self.person(name).channel.ideas.add(text, least=least)

    async def call(self, name: str, *, about: bytes = b"", **options: Any) -> Round:
        """Somebody calls a round, and all have heard of it."""
        options = {"gather": GATHER, "window": WINDOW, **options}
        await self.visit()
        await self.person(name).channel.ideas.call(self.now() + AHEAD, about=about, **options)
        await self.visit()
        return self.held

    async def gather(self, *names: str) -> None:
        """Gathering begins, and these people's devices join."""
        self.until(self.held.begins)
        await self.visit(*names)
        await self.visit()

    async def collect(self, *names: str) -> None:
        """From the doors to the end of the window, with these people's devices there."""
        held = self.held
        for moment in (held.tick - 60, held.tick, held.tick + held.window // 2 + 20, held.closes - 120):
            self.until(moment)
            await self.visit(*names)

    async def settle(self, *names: str, visits: int = 6) -> None:
        """The window is over, and these people's devices come by until nobody owes anything."""
        self.until(max(self.now(), self.held.closes if self.people[0].log.folded.round else 0) + 1)
        for _ in range(visits):
            await self.visit(*names)

    async def through(self, *names: str) -> None:
        """A whole round."""
        await self.gather(*names)
        await self.collect(*names)
        await self.settle(*names)

    async def shown(self, name: str) -> list[Listed]:
        """What somebody is shown."""
        return await self.person(name).channel.ideas.lists()

    async def waiting(self, name: str) -> list[str]:
        """What still waits on somebody's device."""
        return [text.text[1:].decode() for text in await self.person(name).channel.ideas.own()]

    def watch(self) -> list[Seen]:
        """From now on, what an operator sees of everybody's requests."""
        seen: list[Seen] = []
        for person in self.people:
            _listen(person, seen, self)
        return seen


def _listen(person: Person, seen: list[Seen], circle: Circle) -> None:
    send = person.line.handle_async_request

    async def noted(request: httpx.Request) -> httpx.Response:
        body, path = await request.aread(), request.url.raw_path.decode().partition("?")[0]
        bearer = request.headers.get("Authorization", "")
        seen.append(Seen(circle.now(), person.name, request.method, path, len(body), bearer))
        return await send(request)

    person.line.handle_async_request = noted  # type: ignore[method-assign]


async def idea_circle(house: House, hours: Hours, *names: str, **rules: Any) -> Circle:
    """People in one channel whose charter has ideas without a name, all attested."""
    people = await house.room(*names, ideas=True, **rules)
    circle = Circle(hours, people)
    for person in people:
        person.clock.offset = hours.offset
        person.channel.ideas.spread, person.channel.ideas.attends = 0, True
    return circle
