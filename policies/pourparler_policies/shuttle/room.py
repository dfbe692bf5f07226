"""The carried messages of one room: a fold over what was said about them, in the log's order.

1. Who may say something of this kind at all follows from the channel's state, alike for every member (`check_author`).
2. What it does to an item follows from the living entries of the room. They expire as messages do, and every device
   that holds the same ones finds the same; an entry that the table does not have changes nothing.
3. Nothing of another room is known here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from pourparler_policies.charter.rules import DECIDING
from pourparler_policies.errors import Void
from pourparler_policies.fold import standing
from pourparler_policies.fold.facts import State

from .events import (
    NOTHING,
    Answer,
    Carried,
    Event,
    Fidelity,
    Freed,
    HandedOver,
    Judge,
    Put,
    Recalled,
    Source,
    Terms,
)
from .table import LIFE, Phase, Trigger, move


@dataclass(frozen=True, slots=True)
class Author:
    """Who said it, as of its place in the log."""

    body: str  # party or intermediary
    intermediary: bool
    deciding: bool  # a head or delegate, or an intermediary


@dataclass(frozen=True, slots=True)
class Said:
    """An event in its place. `id`: 16 bytes, as in its entry; `at`: when the service received it, Unix seconds."""

    id: bytes
    seq: int
    at: int
    author: Author
    event: Event


@dataclass(frozen=True, slots=True)
class Item:
    """A message in a room: handed over by a side (`terms`), or put to it by the intermediary (`terms` None)."""

    id: bytes
    seq: int
    at: int
    body: str  # of its author
    text: str
    source: Source
    fidelity: Fidelity | None
    expires: int
    phase: Phase
    terms: Terms | None = None
    about: bytes = NOTHING  # the item of this room that it answers or regards
    answer: Answer | None = None
    claim: bytes = NOTHING  # id of the entry that carried it
    moved: int = 0  # when it came into its phase

    @property
    def put(self) -> bool:
        """Whether the intermediary put it to this side."""
        return self.terms is None


Room = Mapping[bytes, Item]
EMPTY: Room = MappingProxyType({})


def author_of(state: State, credential: bytes) -> Author:
    """Who has this leaf. Raises Void when nobody in the group has."""
    device = standing.by_credential(state, credential)
    if device is None:
        raise Void("nobody in the group wrote this")
    seat = state.seats[device.seat]
    intermediary = seat.body in state.rules.intermediaries
    return Author(seat.body, intermediary, intermediary or seat.role in DECIDING)


def check_author(author: Author, event: Event) -> None:
    """Raises Void, with the reason, unless somebody like this may say it."""
    if isinstance(event, Put | Carried) and not author.intermediary:
        raise Void("only an intermediary carries a message, or puts one to a side")
    if isinstance(event, HandedOver | Recalled) and author.intermediary:
        raise Void("an intermediary hands nothing to itself: it puts its own ideas to a side")
    if isinstance(event, HandedOver | Freed) and not author.deciding:
        raise Void("only a head or a delegate hands a message over, or answers one")


def apply(room: Room, said: Said) -> Room:
    """The room after one entry. Raises Void, with the reason, when it changes nothing."""
    check_author(said.author, said.event)
    room = at(room, said.at)
    if said.id in room or any(item.claim == said.id for item in room.values()):
        raise Void("this was said already")
    match said.event:
        case HandedOver() as event:
            return _hand_over(room, said, event)
        case Put() as event:
            return _put(room, said, event)
        case Freed(item):
            return _step(room, _judged(_item(room, item), said), Trigger.FREED, said)
        case Recalled(item):
            held = _item(room, item)
            if held.body != said.author.body:
                raise Void("only the party that handed it over takes it back")
            return _step(room, held, Trigger.RECALLED, said)
        case Carried(item):
            held = _item(room, item)
            if held.put:
                raise Void("what was put to this side is not carried on: its answer is")
            return _step(room, replace(held, claim=said.id), Trigger.CARRIED, said)


def at(room: Room, now: int) -> Room:
    """The room at a time (Unix seconds): what has expired has lapsed."""
    late = [item for item in room.values() if item.expires <= now and Trigger.LATE in LIFE[item.phase]]
    if not late:
        return room
    return {**room, **{item.id: replace(item, phase=Phase.LAPSED, moved=item.expires) for item in late}}


def fold(said: Iterable[Said], now: int) -> Room:
    """The room that these entries, in the log's order, lead to at a time."""
    room = EMPTY
    for one in said:
        try:
            room = apply(room, one)
        except Void:
            continue
    return at(room, now)


def thread(room: Room, item: Item) -> bytes:
    """The id of the item with which this one's thread began in this room, as far as it is still there."""
    seen = {item.id}
    while item.about and item.about in room and item.about not in seen:
        seen.add(item.about)
        item = room[item.about]
    return item.about or item.id


def _item(room: Room, item: bytes) -> Item:
    if item not in room:
        raise Void("there is no such message here")
    return room[item]


def _judged(item: Item, said: Said) -> Item:
    judge = item.terms.judge if item.terms is not None else None
    own = said.author.body == item.body
    if not (own if judge is Judge.AUTHOR else said.author.intermediary and judge is Judge.INTERMEDIARY):
        raise Void("by its terms somebody else says whether its condition is met")
    return item


def _hand_over(room: Room, said: Said, event: HandedOver) -> Room:
    if event.answers:
        answered = _item(room, event.answers)
        if not answered.put:
            raise Void("only what the intermediary has put to this side is answered")
        room = _step(room, answered, Trigger.ANSWERED, said)
    terms = event.terms
    item = Item(
        id=said.id,
        seq=said.seq,
        at=said.at,
        body=said.author.body,
        text=event.text,
        source=terms.source,
        fidelity=terms.fidelity,
        expires=terms.expires,
        phase=Phase.HELD if terms.condition else Phase.HANDED_OVER,
        terms=terms,
        about=event.answers,
        answer=event.answer,
        moved=said.at,
    )
    return at({**room, item.id: item}, said.at)


def _put(room: Room, said: Said, event: Put) -> Room:
    if event.regards:
        regarded = _item(room, event.regards)
        if regarded.put:
            raise Void("an intermediary passes on what came of a message of this side")
        if not regarded.claim:
            raise Void("this message was not carried: nothing can have come of it")
        room = _step(room, regarded, Trigger.PASSED_ON, said)
    item = Item(
        id=said.id,
        seq=said.seq,
        at=said.at,
        body=said.author.body,
        text=event.text,
        source=event.source,
        fidelity=event.fidelity,
        expires=event.expires,
        phase=Phase.CARRIED,
        about=event.regards,
        answer=event.answer,
        moved=said.at,
    )
    return at({**room, item.id: item}, said.at)


def _step(room: Room, item: Item, trigger: Trigger, said: Said) -> Room:
    phase = move(item.phase, trigger)
    return {**room, item.id: replace(item, phase=phase, moved=said.at)}
