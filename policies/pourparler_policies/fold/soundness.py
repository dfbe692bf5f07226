"""Whether a state that somebody else tells is one that no rule stumbles over: everything it refers to is there.

That it is *the* state, its digest shows in the running hash. Every state that a fold makes is sound (`promises.py`).
"""

from pourparler_policies.errors import Void

from .consent import seat_of
from .encoding import subject_digest
from .facts import IN_GROUP, Replace, State


def check_sound(state: State) -> None:
    """Raises Void with the reason."""
    if state.closed or state.closing:
        raise Void("the channel is closed, or is being ended")
    credentials = [device.credential for device in state.devices.values() if device.credential]
    if len(set(credentials)) != len(credentials):
        raise Void("two devices have one leaf")
    for card, device in state.devices.items():
        if device.card != card or device.seat not in state.seats:
            raise Void("a device has no seat")
        if bool(device.credential) != (device.phase in IN_GROUP):
            raise Void("a device has a leaf and is not in the group, or the other way round")
    if state.seats.keys() != {device.seat for device in state.devices.values()}:
        raise Void("a seat has no device")
    for seat_id, seat in state.seats.items():
        if seat.id != seat_id or seat.body not in state.rules.bodies:
            raise Void("a seat is of no party and of no intermediary")
    for digest, held in state.open.items():
        subject, about = held.subject, seat_of(held.subject)
        if digest != subject_digest(state.rules, subject) or held.body not in state.rules.bodies:
            raise Void("a subject on the table has another name")
        if (
            about and about not in state.seats
        ) or not held.approvals.keys() | held.objections <= state.seats.keys():
            raise Void("a subject on the table concerns a seat that is not there")
        if isinstance(subject, Replace) and subject.old not in state.devices:
            raise Void("a card is to be replaced that is not there")
