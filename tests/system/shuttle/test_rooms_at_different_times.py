"""Who watches the service sees no device of one room come right after a device of the other."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from pourparler_clients.shuttle import desk
from pourparler_clients.shuttle.crossing import Crossing
from pourparler_clients.shuttle.pace import LEAST, Pace
from pourparler_clients.shuttle.testing import Side, side
from pourparler_clients.soundings import deal
from pourparler_clients.testing import House, Person
from pourparler_policies.limits import DAY, HOUR
from pourparler_policies.shuttle import Fidelity, Judge, Source, Terms

WORDS = "The elders of the northern village would open the gate at the mill."
PAUSE = 2.5  # seconds at most: at least a fifth of it lies between the rooms


@dataclass
class Watcher:
    """When a device of which room asks the service for something."""

    seen: list[tuple[float, str]] = field(default_factory=list)

    def at(self, room: str, person: Person) -> None:
        def note(method: str, path: str) -> None:
            self.seen.append((time.monotonic(), room))

        person.line.before_request = note

    def changes(self) -> list[tuple[str, float]]:
        """Which room was asked after the other, and how many seconds later."""
        pairs = zip(self.seen, self.seen[1:], strict=False)
        return [(room, moment - before) for (before, other), (moment, room) in pairs if room != other]


async def shuttle(house: House, life: int) -> tuple[Side, Side, bytes, Watcher]:
    north, south = await side(house, "ada", "aya"), await side(house, "ben", "bea", title="Soundings")
    terms = Terms(Source.PARTY, Fidelity.VERBATIM, "", Judge.AUTHOR, 0, int(time.time()) + life)
    item = await north.people[0].channel.shuttle.hand(WORDS, terms, life=life)
    await north.sync()
    watcher = Watcher()
    watcher.at("north", north.bridge)
    watcher.at("south", south.bridge)
    return north, south, item, watcher


def pace(pauses: list[float], side: Side | None = None) -> Pace:
    told: Callable[[float], None] = pauses.append
    return Pace(PAUSE, last=side.bridge.channel if side is not None else None, told=told)


@pytest.mark.parametrize("life", [6 * DAY, 9 * HOUR])
async def test_who_carries_visits_each_room_once_with_a_pause_between(house: House, life: int) -> None:
    """What crosses is written into the other compartment without a word to its service."""
    north, south, item, watcher = await shuttle(house, life)
    for person in (north.bridge, south.bridge):
        person.log.store.hours.forget(2**40)  # as when a vault was just opened: no half of a key is at hand
    pauses: list[float] = []
    crossing = Crossing(north.bridge.channel, south.bridge.channel, pace(pauses))
    await crossing.carry(await crossing.ready(item, WORDS), delay=0)
    assert [room for room, _ in watcher.changes()] == ["north"] * 1
    await crossing.stay()
    changes = watcher.changes()
    assert [room for room, _ in changes] == ["north", "south"]
    assert all(seconds >= PAUSE / LEAST for _, seconds in changes)
    assert [PAUSE / LEAST <= one <= PAUSE for one in pauses] == [True, True]
    await south.sync()
    assert [one.text for one in (await south.people[0].channel.shuttle.room()).values()] == [WORDS]


async def test_a_half_that_is_lacking_at_last_is_asked_for_after_a_pause(house: House) -> None:
    north, south, item, watcher = await shuttle(house, 6 * DAY)
    crossing = Crossing(north.bridge.channel, south.bridge.channel, pace([]))
    ready = await crossing.ready(item, WORDS)
    south.bridge.log.store.hours.forget(2**40)
    await crossing.carry(ready, delay=0)
    changes = watcher.changes()
    assert [room for room, _ in changes] == ["north", "south", "north"]
    assert all(seconds >= PAUSE / LEAST for _, seconds in changes)


async def test_a_room_that_was_in_use_a_moment_ago_counts_as_visited(house: House) -> None:
    north, south, item, _ = await shuttle(house, 6 * DAY)
    pauses: list[float] = []
    crossing = Crossing(north.bridge.channel, south.bridge.channel, pace(pauses, north))
    await crossing.ready(item, WORDS)
    assert len(pauses) == 2


async def test_who_counts_what_waits_elsewhere_asks_nobody(house: House) -> None:
    north, _, item, watcher = await shuttle(house, 6 * DAY)
    bridge = north.bridge
    store, now = bridge.log.store, bridge.channel.clock()
    store.hours.forget(2**40)  # no key is needed
    assert desk.count(store, now) == 1
    assert not watcher.seen
    bridge.line.before_request = None
    await north.people[0].channel.shuttle.recall(item)
    await north.sync()
    assert desk.count(store, now) == 0
    assert desk.count(store, now + 7 * DAY) == 0


async def test_who_deals_a_sounding_pauses_whenever_it_goes_from_one_room_to_another(house: House) -> None:
    north, south, _, watcher = await shuttle(house, 6 * DAY)
    await deal([north.bridge.channel, south.bridge.channel], ["one", "two"], spread=PAUSE)
    changes = watcher.changes()
    assert len(changes) in (2, 3)
    assert all(seconds >= PAUSE / LEAST for _, seconds in changes)
