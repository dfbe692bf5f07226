"""What an intermediary's desk shows of one side: what is held on which terms, what waits for whom, and until when.

Of another side there is nothing here: its compartment is closed, or counted by who opens it (`count`), as of when it
was connected last. To ask its service now would show that one person is in both rooms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pourparler_policies.shuttle import Item, Phase, Room

from ..log import Log
from ..outbox import Kind
from ..store import ChannelStore
from .parcels import Note, Waiting

if TYPE_CHECKING:
    from ..channel import Channel


@dataclass(frozen=True, slots=True)
class Contact:
    """When somebody of a party was last heard (Unix seconds), and how."""

    body: str
    said: int  # a message that still lives here; 0: none
    there: int  # a device of it renewed its keys


@dataclass(frozen=True, slots=True)
class Desk:
    """One side. Every list is in the order in which something falls due."""

    free: list[Item] = field(default_factory=list)  # may be carried
    held: list[Item] = field(default_factory=list)
    carried: list[Item] = field(default_factory=list)  # theirs, on its way or with the other side
    done: list[Item] = field(default_factory=list)  # theirs, passed on, recalled or lapsed
    awaited: list[Item] = field(default_factory=list)  # put to them, no answer yet
    answered: list[Item] = field(default_factory=list)  # put to them, and what they said is in `free` or `held`
    unanswered: list[Item] = field(default_factory=list)  # put to them, and they let its time pass
    parcels: list[Waiting] = field(default_factory=list)
    notes: dict[int, Note] = field(default_factory=dict)
    contacts: list[Contact] = field(default_factory=list)

    @property
    def waiting(self) -> list[Item]:
        """What waits here for the intermediary or for the side."""
        return [*self.free, *self.held, *self.awaited]


def count(store: ChannelStore, now: int) -> int:
    """How many things wait in a room, as of its last visit. Nothing is asked for, opened or read."""
    return len(store.messages.marked_waiting(now)) + store.outbox.count(Kind.PARCEL)


def mark(log: Log, room: Room) -> None:
    """Keeps which of a room's messages wait, for `count`."""
    waiting = {item.seq for item in sort(room).waiting}
    if waiting != log.store.messages.marked_waiting(log.clock()):
        with log.step():
            log.store.messages.mark_waiting(waiting)


async def look(channel: "Channel") -> Desk:
    """The desk for one side, as of what this device has folded. Who shows it has read it."""
    room = await channel.shuttle.read()
    parcels = channel.shuttle.parcels
    waiting = await channel.step(parcels.waiting)
    notes = await channel.step(parcels.notes)
    return sort(room, list(waiting.values()), notes, _contacts(channel))


def sort(
    room: Room,
    parcels: Sequence[Waiting] = (),
    notes: Mapping[int, Note] | None = None,
    contacts: Sequence[Contact] = (),
) -> Desk:
    """A desk of these."""
    desk = Desk(parcels=list(parcels), notes=dict(notes or {}), contacts=list(contacts))
    for item in sorted(room.values(), key=lambda one: (one.expires, one.seq)):
        if item.put:
            kept = {Phase.CARRIED: desk.awaited, Phase.ANSWERED: desk.answered}.get(item.phase, desk.unanswered)
        else:
            kept = {Phase.HANDED_OVER: desk.free, Phase.HELD: desk.held, Phase.CARRIED: desk.carried}.get(
                item.phase, desk.done
            )
        kept.append(item)
    return desk


def _contacts(channel: "Channel") -> list[Contact]:
    log = channel.log
    bodies = {
        device.credential: log.consent.seats[device.seat].body
        for device in log.consent.devices.values()
        if device.credential
    }
    said: dict[str, int] = {}
    there: dict[str, int] = {}
    for message in log.store.messages.shown(channel.clock()):
        body = bodies.get(message.sender, "")
        said[body] = max(said.get(body, 0), message.received_at)
    for member in log.members.values():
        body = bodies.get(member.credential, "")
        there[body] = max(there.get(body, 0), member.heard)
    return [Contact(body, said.get(body, 0), there.get(body, 0)) for body in sorted(log.charter.parties)]
