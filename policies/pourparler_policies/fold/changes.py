"""Small changes of a state that events and commits share. Each returns a new state."""

from dataclasses import replace

from . import standing
from .consent import seat_of
from .facts import Device, Open, Phase, Replace, Seat, State
from .table import Trigger, move


def put_device(state: State, device: Device) -> State:
    """The state with this device as it is now."""
    return replace(state, devices={**state.devices, device.card: device})


def put_seat(state: State, seat: Seat) -> State:
    """The state with this seat."""
    return replace(state, seats={**state.seats, seat.id: seat})


def put_open(state: State, digest: bytes, subject: Open) -> State:
    """The state with this subject on the table."""
    return replace(state, open={**state.open, digest: subject})


def drop_open(state: State, digest: bytes) -> State:
    """The state without this subject: consumed, or taken off the table."""
    return replace(state, open={key: held for key, held in state.open.items() if key != digest})


def shift(state: State, device: Device, trigger: Trigger) -> State:
    """Moves a device along `table.PHASES`. A seat without devices ends. Raises Void."""
    phase = move(device.phase, trigger)
    if phase is None:
        return _drop_device(state, device)
    if trigger is Trigger.REMOVED:
        device = replace(device, credential=b"", counter=0, by=frozenset(), met=frozenset(), absent={})
    return put_device(state, replace(device, phase=phase))


def shift_seat(state: State, seat: bytes, trigger: Trigger) -> State:
    """Moves every device of a seat that has such a step; the rest stay as they are."""
    for device in standing.devices_of(state, seat):
        if device.phase is not Phase.LEAVING:
            state = shift(state, device, trigger)
    return state


def enter(state: State, device: Device, credential: bytes, phase: Phase) -> State:
    """A leaf enters the group: what was attested of the card's earlier leaf counts no more."""
    devices = {
        card: replace(peer, met=peer.met - {device.card}) if device.card in peer.met else peer
        for card, peer in state.devices.items()
    }
    devices[device.card] = Device(device.card, device.seat, phase, credential)
    return replace(state, devices=devices)


def arrive(state: State, device: Device) -> State:
    """A device becomes present: what it attested from the lobby counts from now on."""
    body = standing.body_of(state, device)
    state = shift(state, device, Trigger.ATTESTED)
    devices = {
        card: replace(peer, by=peer.by | {body}) if card in device.met and peer.credential else peer
        for card, peer in state.devices.items()
    }
    state = put_seat(state, replace(state.seats[device.seat], arrived=True))
    spent = state.spent | {device.card}
    arrived = {named.body for named in state.rules.founding if named.card in spent}
    founded = state.founded or state.rules.parties.keys() <= arrived
    return replace(state, devices=devices, spent=spent, founded=founded)


def _drop_device(state: State, device: Device) -> State:
    devices = {
        card: replace(peer, met=peer.met - {device.card})
        for card, peer in state.devices.items()
        if card != device.card
    }
    state = replace(state, devices=devices)
    stale = [
        digest
        for digest, held in state.open.items()
        if isinstance(held.subject, Replace) and held.subject.old == device.card
    ]
    for digest in stale:
        state = drop_open(state, digest)
    return state if standing.devices_of(state, device.seat) else _drop_seat(state, device.seat)


def _drop_seat(state: State, seat: bytes) -> State:
    seats = {key: held for key, held in state.seats.items() if key != seat}
    table = {
        digest: replace(
            held,
            approvals={key: final for key, final in held.approvals.items() if key != seat},
            objections=held.objections - {seat},
        )
        for digest, held in state.open.items()
        if seat_of(held.subject) != seat
    }
    return replace(state, seats=seats, open=table)
