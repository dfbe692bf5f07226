"""For tests: people in one channel who bring a joint text to its signatures, with real keys at a real service.

    room = await release_room(house, hours, "ada", "ben")  # parties with release keys, and a text with an hour
    await room.ready()                                      # on the table, initialled, appointed, rounds run
    await room.sign()
    await room.until(room.case.not_before)                  # time passes, for the service and for everybody
    await room.through(room.over)

Nothing stands in for the real part; only the clock of the service and of the people is in the test's hands (`Hours`).
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pourparler_crypto.jr2 import load
from pourparler_crypto.note import Communique, PressKey, ReleaseKey
from pourparler_policies.charter.document import Card, Intermediary
from pourparler_policies.charter.rules import Role
from pourparler_policies.limits import DAY, HANDSHAKE_BURST, HANDSHAKE_REFILL
from pourparler_policies.release.device import Cue, Stage
from pourparler_policies.release.events import Appointed, Initialled
from pourparler_policies.release.facts import Case, Paper

from . import releasekeys
from .examine import found, vault_pages
from .happenings import Happening
from .papers import compose
from .store import State
from .testing import PASSPHRASE, House, Person, Rewrite, charter_of

SIGN, DEPOSIT, HOUR = 3600, 600, 7200  # seconds: to sign, then for devices, and from the draft to the text's hour
WORDS = "Both sides will keep the wells open to everybody."


@dataclass
class Hours:
    """The time of a service, in Unix seconds: real seconds go on, and the test adds to them."""

    offset: int = 0

    def __call__(self) -> float:
        """For `Settings(clock=…)`."""
        return time.time() + self.offset


@dataclass
class Signing:
    """People in one channel with a text between them. `parties` sign it, in the order of its lines."""

    hours: Hours
    people: list[Person]
    parties: list[Person]
    text: Communique
    paper: bytes = b""
    told: dict[str, list[Happening]] = field(default_factory=dict)  # by name, all that was told so far
    further: list[Person] = field(default_factory=list)  # delegates beside them, where a party's rule asks for all

    @property
    def signers(self) -> list[Person]:
        """Everybody without whom nothing is signed: who has a party's key, then the further delegates."""
        return [*self.parties, *self.further]

    @property
    def held(self) -> Paper:
        """The text as the first person's log has it."""
        return self.people[0].log.folded.papers[self.paper]

    @property
    def case(self) -> Case:
        """The live case as the first person's log has it."""
        case = self.people[0].log.folded.case
        if case is None:
            raise AssertionError("there is no case")
        return case

    def now(self) -> int:
        """Unix seconds, for the service and for whose clock is right."""
        return int(self.hours())

    def later(self, seconds: int) -> None:
        """So much time passes, for the service and for everybody."""
        self.hours.offset += seconds
        for person in self.people:
            person.clock.offset += seconds

    def until(self, moment: int) -> None:
        """Time passes until then."""
        self.later(max(0, moment - self.now()))

    async def visit(self, *people: Person) -> None:
        """These people come online once, in turn; everybody who is there, if none is named."""
        for person in people or tuple(self.people):
            if person.state is State.OPEN:
                self.told.setdefault(person.name, []).extend(await person.sync())

    async def table(self, author: Person | None = None) -> None:
        """Somebody puts the text on the table, and everybody has its words."""
        self.paper = await (author or self.people[0]).channel.releases.table(self.text, 20 * DAY)
        await self.visit()

    async def initial(self, *parties: Person) -> None:
        """These parties initial the revision that is on the table; all of them, if none is named."""
        for person in parties or tuple(self.signers):
            await self.visit(person)
            held = person.log.folded.papers[self.paper]
            await person.channel.do(Initialled(self.paper, held.text.digest))

    async def appoint(self, sign: int = SIGN, deposit: int = DEPOSIT, by: Person | None = None) -> Case:
        """An appointment from now on: so many seconds to sign, and so many more for devices."""
        person = by or self.people[0]
        await self.visit(person)
        until = self.now() + sign
        digest = person.log.folded.papers[self.paper].text.digest
        await person.channel.do(Appointed(self.paper, digest, 0, until, until + deposit))
        case = person.log.folded.case
        if case is None:
            raise AssertionError("there is no appointment")
        return case

    async def rounds(self, *people: Person, until: Stage = Stage.ASKED, visits: int = 12) -> None:
        """These devices visit in turn until all of them have come so far; every party's, if none is named."""
        chosen = people or tuple(self.signers)
        for _ in range(visits):
            await self.visit(*chosen)
            if all(stage_of(person) is until for person in chosen):
                return
        raise AssertionError(self.stages())

    async def ready(self, sign: int = SIGN, deposit: int = DEPOSIT) -> None:
        """All the way to where persons may sign."""
        await self.appointed(sign, deposit)
        await self.rounds()

    async def appointed(self, sign: int = SIGN, deposit: int = DEPOSIT) -> None:
        """A text is on the table and initialled, and there is an hour to sign it; no round has begun."""
        await self.table()
        await self.initial()
        await self.appoint(sign, deposit)

    async def sign(self, *people: Person) -> None:
        """These people sign; every party's, if none is named."""
        for person in people or tuple(self.signers):
            await person.channel.releases.act(Cue.SIGN)

    async def lapsed(self) -> None:
        """The sign deadline comes, and everybody hears that nothing came of it."""
        self.until(self.case.sign_by)
        await self.through(self.over)

    async def through(self, done: Callable[[], bool], *people: Person, visits: int = 12) -> None:
        """These people visit in turn until that is so; everybody, if none is named."""
        for _ in range(visits):
            await self.visit(*people)
            if done():
                return
        raise AssertionError(self.stages())

    async def published(self) -> None:
        """Signed by all: the hour comes, and everybody hears of it."""
        await self.through(lambda: all(stage_of(person) is Stage.COMPLETE for person in self.signers))
        self.until(self.case.not_before)
        await self.through(self.over)

    def stages(self) -> dict[str, Stage | None]:
        """Where the case stands on each device."""
        return {person.name: stage_of(person) for person in self.people}

    def over(self) -> bool:
        """Whether the case is over in every log and nothing of it is on any device."""
        return all(p.log.folded.case is None and p.log.signing.kept is None for p in self.people)

    def notes(self) -> list[bytes]:
        """The completed notes of all signers, as far as they have one."""
        return [note for person in self.signers for note in person.log.signing.papers.notes()]

    def was_told(self, person: Person, kind: str, text: str = "") -> bool:
        """Whether somebody was told something of this kind."""
        return any(one.kind == kind and (not text or one.text == text) for one in self.told.get(person.name, []))


def stage_of(person: Person) -> Stage | None:
    """Where a case stands on this device."""
    kept = person.log.signing.kept
    return kept.own.stage if kept is not None else None


def key_of(person: Person) -> ReleaseKey:
    """The release key of a person's vault; made, if there is none."""
    held = releasekeys.all(person.device.vault)
    if held:
        return held[0].key
    return releasekeys.add(person.device.vault, f"{person.name}.example", ReleaseKey.generate()).key


def text_between(parties: Iterable[Person], not_before: int, words: str = WORDS, **foot: Any) -> Communique:
    """A text in the name of each of these parties; `not_before` in Unix seconds. `foot`: as for `papers.compose`."""
    signatories = [(f"Side {p.name}", PressKey(f"{p.name}.example", key_of(p).public)) for p in parties]
    return compose([("en", words)], signatories, not_before, **foot)


async def release_room(
    house: House,
    hours: Hours,
    *names: str,
    present: Iterable[str] = (),
    beside: Mapping[str, Sequence[str]] = MappingProxyType({}),
    decides: int = 0,
    words: str = WORDS,
    **rules: Any,
) -> Signing:
    """A room whose parties have release keys, and a text between them. `present` are of no party and sign nothing.

    `beside`: further delegates of the parties of these people, who have no key; their rule asks for `decides` (all).
    """
    people = await meet(house, names, beside, present, decides=decides, offset=hours.offset, **rules)
    parties, further = people[: len(names)], people[len(names) : len(names) + sum(map(len, beside.values()))]
    room = Signing(hours, people, parties, text_between(parties, int(hours()) + HOUR, words), further=further)
    room.later(HANDSHAKE_BURST * HANDSHAKE_REFILL)  # what founding has cost comes back
    room.text = text_between(parties, room.now() + HOUR, words)
    await room.visit()
    return room


async def meet(
    house: House,
    names: Sequence[str],
    beside: Mapping[str, Sequence[str]] = MappingProxyType({}),
    present: Iterable[str] = (),
    *,
    decides: int = 0,
    offset: int = 0,
    **rules: Any,
) -> list[Person]:
    """People in one channel, as for `release_room`: the parties', their further delegates, then those of no party."""
    more_names = [name for more in beside.values() for name in more]
    people = [await house.person(name) for name in (*names, *more_names, *present)]
    for person in people:
        person.clock.offset = offset
    parties, others = people[: len(names)], people[len(names) + len(more_names) :]
    charter = charter_of([person.device.card for person in parties], **rules)
    for number, name in enumerate(names):
        more = [person for person in people if person.name in beside.get(name, ())]
        held = charter.parties[f"side-{number}"]
        cards = (*held.cards, *(Card(p.device.card.fingerprint, p.name, Role.DELEGATE) for p in more))
        cards = tuple(sorted(cards, key=lambda card: card.fingerprint))
        widened = replace(held, cards=cards, decides=decides if more and decides else 1 + len(more))
        charter = replace(charter, parties={**charter.parties, f"side-{number}": widened})
    if others:
        cards = tuple(Card(p.device.card.fingerprint, p.name, Role.INTERMEDIARY) for p in others)
        body = Intermediary("Go-between", "facilitator", "none", "none", "none", True, cards)
        charter = replace(charter, intermediaries={"go-between": body})
    await house.found(parties[0], charter=charter)
    for person in people[1:]:
        await house.seat(parties[0], person)
    return people


def secrets_of(person: Person) -> set[bytes]:
    """y and d that this device holds now, each 32 bytes: for a search where they must not be. (rho is out with R2.)"""
    kept = person.log.signing.kept
    held: set[bytes] = set()
    if kept is None:
        return held
    if kept.state and kept.own.stage is not Stage.WITHDRAWN:
        state = load(kept.state)
        held |= {getattr(state, name) for name in ("y", "d", "mask") if getattr(state, name, b"")}
    return held


def left_in(person: Person, needles: Iterable[bytes], place: Path) -> set[bytes]:
    """What of it is in the vault's pages, free ones and the journal's too; `place` takes a copy of the files."""
    return found(needles, vault_pages(person.copy(place), PASSPHRASE))


def desk_says(answer: str) -> Rewrite:
    """A desk that says this of every case."""

    def rewrite(method: str, path: str, status: int, body: bytes) -> tuple[int, bytes]:
        if method == "GET" and "/desk/" in path:
            return 200, b'{"answer": "%s"}' % answer.encode()
        return status, body

    return rewrite
