"""Every state that a message can get into on its way: author, two devices of the intermediary, both logs, a network.

What is explored is the code that runs: `apply` folds each log, `next_step` decides for each device. The network
loses (what is never delivered), repeats and reorders; devices decide on what they saw last, and forget everything
but their parcels at any instant.
"""

# ruff: noqa: S101 -- a kit for tests: each of these is an assertion, and its name is its sentence

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pourparler_policies.errors import Misuse, Void

from .carrying import as_put
from .crossing import Parcel, Step, next_step
from .events import Carried, Event, Fidelity, Freed, HandedOver, Judge, Recalled, Source, Terms
from .room import EMPTY, Author, Room, Said, apply, at
from .table import Phase

PARTY, BETWEEN = Author("side", False, True), Author("bridge", True, True)
OTHER = Author("other side", False, True)
ITEM = b"item" * 4
START, SOON, LATE = 1000, 2000, 4000  # Unix seconds: handed over, its earliest time if it has one, expired
LIFE = 3600  # seconds
CLAIMS = (b"claim 0 of item.", b"claim 1 of item.")
PUTS = (b"parcel 0 of item", b"parcel 1 of item")


@dataclass(frozen=True, slots=True)
class World:
    """`rooms`: the author's and the receiver's. `seen`: the author's room as each device saw it last. `air`: entries
    that were sent and not delivered yet, each by (room, id)."""

    rooms: tuple[Room, Room]
    seen: tuple[Room, Room]
    parcels: tuple[Parcel, Parcel] = (Parcel.NONE, Parcel.NONE)
    claiming: frozenset[int] = frozenset()  # devices that are in the midst of carrying
    air: frozenset[tuple[int, bytes]] = frozenset()
    again: frozenset[tuple[int, bytes]] = frozenset()  # delivered once: may come a second time
    said: frozenset[str] = frozenset()  # what the author has said already
    put: tuple[int, int] = (0, 0)  # how many times each device let something leave
    now: int = START


def start(*, condition: bool = False) -> World:
    """A message is handed over, free or held until its author says so."""
    terms = Terms(Source.HYPOTHETICAL, Fidelity.VERBATIM, "they ask" if condition else "", Judge.AUTHOR, 0, LATE)
    room = apply(EMPTY, Said(ITEM, 1, START, PARTY, HandedOver("Suppose we did.", terms)))
    return World((room, EMPTY), (room, room))


def following(world: World) -> Iterator[tuple[str, World]]:
    """Everything that can happen next."""
    for word, event in (("freed", b"free of the item"), ("recalled", b"recall of itemm!")):
        if word not in world.said:
            yield word, replace(world, said=world.said | {word}, air=world.air | {(0, event)})
    for device in (0, 1):
        yield from _device(world, device)
    for sent in world.air:
        yield f"delivered {sent}", _deliver(world, sent, again=False)
    for sent in world.again:
        yield f"delivered again {sent}", _deliver(world, sent, again=True)
    if world.now == START:
        yield "it expires", replace(world, now=LATE, rooms=(at(world.rooms[0], LATE), at(world.rooms[1], LATE)))


def _device(world: World, device: int) -> Iterator[tuple[str, World]]:
    if world.seen[device] is not world.rooms[0]:
        yield f"{device} syncs", replace(world, seen=_with(world.seen, device, world.rooms[0]))
    if device in world.claiming:
        yield f"{device} crashes", replace(world, claiming=world.claiming - {device})
        sent = (0, CLAIMS[device])
        if sent not in world.air | world.again:
            yield f"{device} claims", replace(world, air=world.air | {sent})
    parcel = world.parcels[device]
    try:
        step = next_step(world.seen[device][ITEM], world.now, CLAIMS[device], parcel)
    except Misuse:
        if parcel is Parcel.PREPARED and world.seen[device] == world.rooms[0]:  # rule 4 of `crossing`
            dropped = _with(world.parcels, device, Parcel.NONE)
            yield f"{device} drops its parcel", replace(world, parcels=dropped, claiming=world.claiming - {device})
    else:
        if step is Step.BEGIN and device not in world.claiming:
            prepared = _with(world.parcels, device, Parcel.PREPARED)
            yield f"{device} prepares", replace(world, parcels=prepared, claiming=world.claiming | {device})
        if step is Step.LET_LEAVE:
            leaving = _with(world.parcels, device, Parcel.LEAVING)
            yield f"{device} lets it leave", replace(world, parcels=leaving, claiming=world.claiming - {device})
    if parcel is Parcel.LEAVING:
        yield (
            f"{device}'s parcel leaves",
            replace(
                world,
                parcels=_with(world.parcels, device, Parcel.NONE),
                air=world.air | {(1, PUTS[device])},
                put=_with(world.put, device, world.put[device] + 1),
            ),
        )


def _deliver(world: World, sent: tuple[int, bytes], *, again: bool) -> World:
    number, name = sent
    room = world.rooms[number]
    author, event = _entry(world, name)
    try:
        after = apply(room, Said(name, len(room) + 1, world.now, author, event))
    except Void:
        after = room
    rooms = (after, world.rooms[1]) if number == 0 else (world.rooms[0], after)
    if again:
        return replace(world, rooms=rooms, again=world.again - {sent})
    return replace(world, rooms=rooms, air=world.air - {sent}, again=world.again | {sent})


def _entry(world: World, name: bytes) -> tuple[Author, Event]:
    if name in CLAIMS:
        return BETWEEN, Carried(ITEM)
    if name in PUTS:
        item = world.rooms[0][ITEM]
        return BETWEEN, as_put(item, item.text, LATE, LIFE, b"", None)
    return PARTY, Freed(ITEM) if name.startswith(b"free") else Recalled(ITEM)


def key(world: World) -> object:
    """What distinguishes worlds: when something came into its phase does not."""
    rooms = tuple(_bare(room) for room in (*world.rooms, *world.seen))
    return (rooms, world.parcels, world.claiming, world.air, world.again, world.said, world.put, world.now)


def _bare(room: Room) -> tuple[object, ...]:
    return tuple(sorted((item.id, item.phase, item.claim) for item in room.values()))


def _with(values: tuple, place: int, value: object) -> tuple:  # type: ignore[type-arg]
    return (*values[:place], value, *values[place + 1 :])


# Promises, each checked after every step


def carried_at_most_once(before: World, what: str, after: World) -> None:
    """However often things are repeated, one message is put to the other side once."""
    assert sum(after.put) <= 1
    assert len(after.rooms[1]) <= 1


def nothing_crosses_that_is_not_carried_in_its_authors_room(before: World, what: str, after: World) -> None:
    """What was recalled, held or expired before its claim stays with the intermediary, and its author sees the rest."""
    if any(after.put) or Parcel.LEAVING in after.parcels:
        assert after.rooms[0][ITEM].claim in CLAIMS
        assert after.rooms[0][ITEM].phase in {Phase.CARRIED, Phase.LAPSED}


def what_is_recalled_never_crosses(before: World, what: str, after: World) -> None:
    """A recall that counts is the end of it."""
    if after.rooms[0][ITEM].phase is Phase.RECALLED:
        assert not any(after.put)
        assert not after.rooms[1]
        assert Parcel.LEAVING not in after.parcels


def ends_stay(before: World, what: str, after: World) -> None:
    """What was recalled stays so, and who carried it stays who carried it."""
    old, new = before.rooms[0][ITEM], after.rooms[0][ITEM]
    assert old.phase is not Phase.RECALLED or new.phase is Phase.RECALLED
    assert not old.claim or new.claim == old.claim


PROMISES = (
    carried_at_most_once,
    nothing_crosses_that_is_not_carried_in_its_authors_room,
    what_is_recalled_never_crosses,
    ends_stay,
)


def arrives_if_the_intermediary_goes_on(world: World) -> None:
    """A claim that counts is followed by its message, when the device that made it carries on with the line back."""
    item = world.rooms[0][ITEM]
    if item.claim not in CLAIMS:
        return
    device = CLAIMS.index(item.claim)
    for _ in range(6):
        steps = dict(following(world))
        wanted = (f"{device} syncs", f"{device} lets it leave", f"{device}'s parcel leaves")
        word = next((word for word in wanted if word in steps), None)
        world = steps[word] if word is not None else world
    deliver = f"delivered {(1, PUTS[device])}"
    world = dict(following(world)).get(deliver, world)
    assert world.rooms[1]
