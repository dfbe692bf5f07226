"""Procedure events: who may post which, and what it changes. Each rule raises Void with the reason.

An approval names a digest, counts for its author's seat alone, and only as long as that seat stands.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from pourparler_policies.charter.rules import DECIDING, Role
from pourparler_policies.errors import Void

from . import changes, closing, consent, events, standing, subjects
from .encoding import encode, subject_digest
from .events import Entry
from .facts import (
    MAX_OPEN,
    MAX_OPEN_BYTES,
    Adjourn,
    Close,
    Device,
    Erase,
    Expel,
    Lift,
    Open,
    Phase,
    Recall,
    Recess,
    State,
)
from .table import CONSENT, Author, Consent, Trigger

_ANY: Final = frozenset({Phase.LOBBY, Phase.RETURNING, Phase.PRESENT, Phase.STRANDED})


def _proposed(state: State, author: Device, event: events.Proposed, entry: Entry) -> State:
    body = standing.body_of(state, author)
    digest = subject_digest(state.rules, event.subject)
    if digest in state.open:
        raise Void("this subject is on the table already")
    if sum(held.body == body for held in state.open.values()) >= MAX_OPEN:
        raise Void(f"a body has at most {MAX_OPEN} subjects on the table")
    held_bytes = sum(len(encode(held.subject)) for held in state.open.values() if held.body == body)
    if held_bytes + len(encode(event.subject)) > MAX_OPEN_BYTES:
        raise Void(f"what a body has on the table is {MAX_OPEN_BYTES} bytes at most")
    subjects.check(state, event.subject, entry)
    return changes.put_open(state, digest, Open(event.subject, body))


def _dropped(state: State, author: Device, event: events.Dropped, _: Entry) -> State:
    held = _on_table(state, event.digest)
    if held.body != standing.body_of(state, author):
        raise Void("another body put this on the table")
    if held.objections - {author.seat}:
        raise Void(
            "somebody objects: the subject stays on the table, blocked, so that it cannot come back unblocked"
        )
    return changes.drop_open(state, event.digest)


def _approved(state: State, author: Device, event: events.Approved, _: Entry) -> State:
    held = _on_table(state, event.digest)
    seat = state.seats[author.seat]
    if seat.role not in DECIDING | {Role.INTERMEDIARY}:
        raise Void(f"the {seat.role} prepares and does not decide")
    consent.may_approve(state, seat.body, held.subject)
    approvals = {**held.approvals, seat.id: not event.confirm}
    return changes.put_open(state, event.digest, replace(held, approvals=approvals))


def _withdrawn(state: State, author: Device, event: events.Withdrawn, _: Entry) -> State:
    held = _on_table(state, event.digest)
    if author.seat not in held.approvals:
        raise Void("this seat has not approved it")
    approvals = {seat: final for seat, final in held.approvals.items() if seat != author.seat}
    return changes.put_open(state, event.digest, replace(held, approvals=approvals))


def _objected(state: State, author: Device, event: events.Objected, _: Entry) -> State:
    held = _on_table(state, event.digest)
    if standing.body_of(state, author) not in state.rules.parties and CONSENT[type(held.subject)][0] not in {
        Consent.OWN,
        Consent.OWN_LEFT,
        Consent.OWN_AND_ONE,
    }:
        raise Void("an intermediary has no vote")
    return changes.put_open(state, event.digest, replace(held, objections=held.objections | {author.seat}))


def _yielded(state: State, author: Device, event: events.Yielded, _: Entry) -> State:
    held = _on_table(state, event.digest)
    if author.seat not in held.objections:
        raise Void("this seat has not objected")
    return changes.put_open(state, event.digest, replace(held, objections=held.objections - {author.seat}))


def _enacted(state: State, _author: Device, event: events.Enacted, entry: Entry) -> State:
    held = _on_table(state, event.digest)
    subject = held.subject
    subjects.check(state, subject, entry)
    consent.check(state, held)
    state = changes.drop_open(state, event.digest)
    match subject:
        case Expel() | Recall():
            spent = state.spent | {device.card for device in standing.devices_of(state, subject.seat)}
            return changes.shift_seat(replace(state, spent=spent), subject.seat, Trigger.ENDED)
        case Lift():
            return changes.shift_seat(state, subject.seat, Trigger.LIFTED)
        case Recess():
            devices = {card: replace(device, absent={}) for card, device in state.devices.items()}
            # Nothing that was said waits on devices which nobody looks at for months (DESIGN 4.3.7).
            return replace(state, recess=subject.until, devices=devices, erased=max(state.erased, entry.seq))
        case Erase():
            return replace(state, erased=max(state.erased, subject.seq))
        case Adjourn():
            # Another hour holds for what is said from now on; what was said keeps the earlier one (docs/protocol.md).
            return replace(state, adjourned=subject.at)
        case Close():
            return closing.begin(state, entry.received_at, entry.seq)
    raise Void("this takes effect with its commit")


def _cancelled(state: State, author: Device, event: events.Cancelled, _: Entry) -> State:
    body = standing.body_of(state, author)
    if state.seats[author.seat].role not in DECIDING:
        raise Void("only who decides for a party can take its consent back")
    device = state.devices.get(event.card)
    if device is not None:
        seat = state.seats[device.seat]
        if device.phase is not Phase.EXPECTED or (seat.arrived and seat.body != body):
            raise Void("only somebody who has not arrived can be cancelled")
        return changes.shift(state, device, Trigger.ENDED)
    own = {named.card for named in state.rules.founding if named.body == body}
    if event.card not in own - state.spent:
        raise Void("nobody with this card is expected")
    return replace(state, spent=state.spent | {event.card})


def _attested(state: State, author: Device, event: events.Attested, _: Entry) -> State:
    peer = standing.by_credential(state, event.credential)
    if peer is None or peer.card == author.card:
        raise Void("there is no such other device")
    author = replace(author, met=author.met | {peer.card})
    state = changes.put_device(state, author)
    # Exactly one of the two can become present by this: an unattested author counts for nobody else yet.
    if author.phase is Phase.PRESENT:
        candidate = replace(peer, by=peer.by | {standing.body_of(state, author)})
        state = changes.put_device(state, candidate)
    else:
        candidate = author
    if candidate.phase in {Phase.LOBBY, Phase.RETURNING} and standing.may_clear(state, candidate):
        state = changes.arrive(state, candidate)
    return state


def _absent(state: State, author: Device, event: events.Absent, entry: Entry) -> State:
    body = standing.body_of(state, author)
    device = standing.by_credential(state, event.credential)
    if body not in state.rules.parties:
        raise Void("an intermediary has no vote")
    if device is None or device.phase is not Phase.PRESENT:
        raise Void("there is no such present device")
    if standing.body_of(state, device) == body:
        raise Void("a party puts its own people on hold; the others vote them absent")
    if entry.received_at < state.recess:
        raise Void("the channel is in recess")
    if body in device.absent:
        raise Void("this party has voted already")
    return changes.put_device(state, replace(device, absent={**device.absent, body: entry.received_at}))


def _held(state: State, author: Device, event: events.Held, _: Entry) -> State:
    seat = state.seats.get(event.seat)
    if seat is None or seat.body != standing.body_of(state, author):
        raise Void("only the own side puts a seat on hold")
    if standing.on_hold(state, seat.id):
        raise Void("the seat is on hold already")
    _leaves_somebody(state, seat.id)
    for device in standing.devices_of(state, seat.id):
        if device.phase not in standing.ON_HOLD | {Phase.LEAVING}:
            state = changes.shift(state, device, Trigger.HELD)
    return state


def _discarded(state: State, author: Device, event: events.Discarded, _: Entry) -> State:
    device = state.devices.get(event.card)
    if device is None or device.seat != author.seat:
        raise Void("this is no device of the same seat")
    return changes.shift(state, device, Trigger.ENDED)


def _complained(state: State, author: Device, _event: events.Complained, _: Entry) -> State:
    _leaves_somebody(state, b"", author)
    return changes.shift(state, author, Trigger.STRANDED)


def _leaving(state: State, author: Device, _event: events.Leaving, _: Entry) -> State:
    # A device which not every party has attested may be an impostor: its leaf goes, the seat is not its to end.
    if not standing.stands(state, author):
        return _complained(state, author, events.Complained(), _)
    return changes.shift_seat(state, author.seat, Trigger.ENDED)


def _acknowledged(state: State, author: Device, _event: events.Acknowledged, _: Entry) -> State:
    if not state.closing:
        raise Void("nobody ends this channel")
    return closing.acknowledge(state, author)


def _disclosed(state: State, author: Device, event: events.Disclosed, _: Entry) -> State:
    return closing.disclose(state, author, event.seeds)


def _leaves_somebody(state: State, seat: bytes, author: Device | None = None) -> None:
    """Raises Void when nobody attested would be left to bring this seat, or this device, back."""
    if not any(
        device.phase is Phase.PRESENT and device.seat != seat and device != author
        for device in state.devices.values()
    ):
        raise Void("nobody would be left who could bring it back: leave, or agree on a recess")


def _on_table(state: State, digest: bytes) -> Open:
    if digest not in state.open:
        raise Void("there is no such subject on the table")
    return state.open[digest]


Rule = Callable[[State, Device, Any, Entry], State]

# Event -> what its author has to be, and its rule. An event that is not here is unknown, never skipped.
EVENTS: Final[Mapping[type, tuple[Author, Rule]]] = {
    events.Proposed: (Author.STANDING, _proposed),
    events.Dropped: (Author.STANDING, _dropped),
    events.Approved: (Author.STANDING, _approved),
    events.Withdrawn: (Author.PRESENT, _withdrawn),
    events.Objected: (Author.PRESENT, _objected),
    events.Yielded: (Author.STANDING, _yielded),
    events.Enacted: (Author.STANDING, _enacted),
    events.Cancelled: (Author.STANDING, _cancelled),
    events.Attested: (Author.MEMBER, _attested),
    events.Absent: (Author.PRESENT, _absent),
    events.Held: (Author.STANDING, _held),
    events.Discarded: (Author.STANDING, _discarded),
    events.Complained: (Author.PRESENT, _complained),
    events.Leaving: (Author.PRESENT, _leaving),
    events.Acknowledged: (Author.PRESENT, _acknowledged),
    events.Disclosed: (Author.PRESENT, _disclosed),
}


def check_author(state: State, author: Device, wanted: Author) -> None:
    """Raises Void unless the device may do what asks for such an author."""
    if author.phase not in _ANY:
        raise Void(f"a device that is {author.phase} has no say")
    if wanted is not Author.MEMBER and author.phase is not Phase.PRESENT:
        raise Void("what an unattested device says counts for nothing but attestation")
    if wanted is Author.STANDING and not standing.stands(state, author):
        raise Void("not every party that is present has attested this device")


def act(state: State, author: Device, entry: Entry) -> State:
    """The state after a procedure event of a known author. Raises Void."""
    wanted, rule = EVENTS[type(entry.content)]
    check_author(state, author, wanted)
    return rule(state, author, entry.content, entry)
