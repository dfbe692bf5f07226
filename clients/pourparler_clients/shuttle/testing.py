"""For tests: one side's room with the intermediary's compartment in it; two of them make a shuttle."""

from dataclasses import dataclass, replace
from typing import Any

from pourparler_policies.charter import Charter
from pourparler_policies.charter.document import Card, Intermediary
from pourparler_policies.charter.rules import Role

from ..testing import House, Person, charter_of


@dataclass
class Side:
    """A room. `people` are the side's, `bridge` is the intermediary's compartment for it."""

    people: list[Person]
    bridge: Person

    @property
    def everybody(self) -> list[Person]:
        """Who is in the room."""
        return [*self.people, self.bridge]

    async def sync(self) -> None:
        """Everybody folds to the head."""
        for person in self.everybody:
            await person.sync()


def side_charter(people: list[Any], bridge: Any, title: str, **retention: Any) -> Charter:
    """A charter of one side's room: its people, each as a party, and the intermediary. All by their cards."""
    charter = charter_of(people, title=title, **retention)
    declared = Intermediary(
        "The bridge",
        "go-between",
        "A community",
        "Its own means",
        "none",
        True,
        (Card(bridge.fingerprint, bridge.name, Role.INTERMEDIARY),),
    )
    return replace(charter, intermediaries={"bridge": declared})


async def side(
    house: House, *names: str, title: str = "Consultations", bridge: str = "otter", **rules: Any
) -> Side:
    """A room with these people, each a party, and a compartment of the intermediary."""
    people = [await house.person(name) for name in names]
    between = await house.person(bridge)
    cards = [person.device.card for person in people]
    await house.found(people[0], charter=side_charter(cards, between.device.card, title, **rules))
    for other in (*people[1:], between):
        await house.seat(people[0], other)
    made = Side(people, between)
    await made.sync()
    return made
