"""For tests: two sides in channels of their own, an intermediary in both, and one text that is signed across them.

    talks = await shuttle_room(house, hours)     # two people on each side, who each decide, and uma with each side
    await talks.ready()                          # drafted, agreed to, appointed, rounds carried: persons may sign
    await talks.sign()
    await talks.published()

Uma has a compartment for each side: two vaults. Adelina and Benedikt hold their side's release key.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pourparler_crypto.note import Audience, Communique, PressKey
from pourparler_policies.limits import DAY
from pourparler_policies.release.device import Stage
from pourparler_policies.release.events import Shelved

from .happenings import Happening
from .onetext import OneText
from .signing_testing import DEPOSIT, HOUR, SIGN, WORDS, Hours, Signing, key_of, release_room
from .store import State
from .testing import House, Person

SIDES = ("North", "South")


@dataclass
class Shuttle:
    """Both rooms. `signers` hold the keys, in the order of the text's lines; `carriers` are the intermediary's two."""

    hours: Hours
    rooms: tuple[Signing, Signing]
    house: House
    told: dict[str, list[Happening]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.text = OneText(*(person.channel for person in self.carriers), pause=(0, 0))

    @property
    def signers(self) -> tuple[Person, Person]:
        """Who holds a side's release key."""
        return self.rooms[0].people[0], self.rooms[1].people[0]

    @property
    def carriers(self) -> tuple[Person, Person]:
        """The intermediary's compartments."""
        return self.rooms[0].people[-1], self.rooms[1].people[-1]

    @property
    def people(self) -> list[Person]:
        """Everybody."""
        return [*self.rooms[0].people, *self.rooms[1].people]

    async def set_down(self) -> list[Path]:
        """The intermediary closes both compartments; where they are."""
        for carrier in self.carriers:
            await carrier.close()
        return [carrier.directory for carrier in self.carriers]

    async def take_up(self) -> None:
        """It opens them again."""
        for room in self.rooms:
            room.people[-1] = await self.house.again(room.people[-1])
        self.text = OneText(*(person.channel for person in self.carriers), pause=(0, 0))

    def now(self) -> int:
        """Unix seconds, for the service and for everybody."""
        return int(self.hours())

    def later(self, seconds: int) -> None:
        """So much time passes."""
        self.hours.offset += seconds
        for person in self.people:
            person.clock.offset += seconds

    def until(self, moment: int) -> None:
        """Time passes until then."""
        self.later(max(0, moment - self.now()))

    @property
    def keys(self) -> list[PressKey]:
        """The sides' press keys, as they publish them."""
        return [PressKey(f"{person.name}.example", key_of(person).public) for person in self.signers]

    async def visit(self, *people: Person) -> None:
        """These people come online once, in turn; everybody, if none is named."""
        for person in people or tuple(self.people):
            if person.state is State.OPEN:
                self.told.setdefault(person.name, []).extend(await person.sync())

    async def draft(
        self,
        words: str = WORDS,
        *,
        in_copies: bool = False,
        audience: Audience = Audience.BOARD,
        card: bytes = b"",
    ) -> Communique:
        """The intermediary puts the text on both tables, and everybody has its words."""
        signs = [
            (f"{side} League", key, number)
            for number, (side, key) in enumerate(zip(SIDES, self.keys, strict=True))
        ]
        made = await self.text.draft(
            [("en", words)],
            signs,
            self.now() + HOUR,
            20 * DAY,
            in_copies=in_copies,
            audience=audience,
            card=card,
        )
        await self.visit()
        return made

    async def agree(self) -> None:
        """Everybody on both sides can live with it."""
        for room in self.rooms:
            for person in room.parties:
                await person.channel.onetext.agree()

    async def appointed(self, **options: Any) -> None:
        """Drafted, agreed to by all, and times are proposed; nobody has said that the side is ready."""
        await self.draft(**options)
        await self.agree()
        await self.text.appoint(SIGN, DEPOSIT)
        await self.visit()

    async def begun(self) -> None:
        """Both sides say that they are ready."""
        for person in self.signers:
            await person.channel.onetext.ready()

    async def rounds(self, until: Callable[[], bool] | None = None, visits: int = 12) -> None:
        """The signers and the carrier come by in turn until persons may sign on both sides."""
        done = until or (lambda: set(self.stages()) == {Stage.ASKED})
        for _ in range(visits):
            await self.visit(*self.signers)
            await self.text.carry()
            if done():
                return
        raise AssertionError(self.stages())

    async def ready(self, **options: Any) -> None:
        """All the way to where persons may sign."""
        await self.appointed(**options)
        await self.begun()
        await self.rounds()

    async def cleared(self) -> None:
        """Two days later nothing is left, of the text or of its round; what handshakes cost has come back."""
        self.later(2 * DAY)
        await self.visit()
        for carrier in self.carriers:
            for paper in list(carrier.log.folded.papers):
                await carrier.channel.do(Shelved(paper))
        await self.visit()
        for person in self.people:
            person.device.purge()
            with person.device.vault.transaction():
                person.device.vault.execute("DELETE FROM note")
        self.text = OneText(*(person.channel for person in self.carriers), pause=(0, 0))
        self.told.clear()

    def stages(self) -> list[Stage | None]:
        """Where it stands on the two signers' devices."""
        return [person.channel.onetext.stage for person in self.signers]

    async def sign(self, *people: Person) -> None:
        """These sign; both, if none is named. Each has checked the other's key."""
        for person in people or self.signers:
            await person.channel.onetext.sign(checked=self.keys)

    async def published(self) -> None:
        """Signed by both: the hour comes, and both hear of it."""
        await self.rounds(lambda: set(self.stages()) == {Stage.COMPLETE})
        for _ in range(2):  # the last one has yet to pass every d on, and then to deposit
            await self.visit(*self.signers)
        part = self.signers[0].channel.onetext.part
        if part is None:
            raise AssertionError("nothing is arranged")
        self.until(part.not_before)
        await self.rounds(lambda: set(self.stages()) == {Stage.PUBLISHED})

    def notes(self) -> list[list[bytes]]:
        """What each side has completed, every copy of it."""
        return [person.log.relayed.papers.notes() for person in self.signers]


async def shuttle_room(house: House, hours: Hours) -> Shuttle:
    """Two channels, founded and attested, with different charters and nobody in common but the intermediary."""
    north = await release_room(house, hours, "adelina", "anatolia", present=["uma-north"], title="Wells")
    south = await release_room(house, hours, "benedikt", "beatrice", present=["uma-south"], title="Water")
    for person in house.people:
        person.clock.offset = hours.offset
    talks = Shuttle(hours, (north, south), house)
    await talks.visit()
    return talks
