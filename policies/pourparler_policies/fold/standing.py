"""Questions to a state: who has standing, who may decide, who has approved, whom does a body wait for.

1. A device stands when it is present and every other party with a present device has attested it.
2. "Every party" means every party of the charter. One that cannot act makes the channel dormant.
3. Only a party's own acts can lower what its decision rule asks: seats that others removed still count.
"""

from collections.abc import Iterable

from pourparler_policies.charter.rules import DECIDING, HEAD_DECIDES, Role

from .facts import IN_GROUP, Device, Open, Phase, Seat, State

ON_HOLD = frozenset({Phase.HOLDING, Phase.HELD})


def body_of(state: State, device: Device) -> str:
    """The body whose device this is."""
    return state.seats[device.seat].body


def devices_of(state: State, seat: bytes) -> list[Device]:
    """Every place of a seat."""
    return [device for device in state.devices.values() if device.seat == seat]


def by_credential(state: State, credential: bytes) -> Device | None:
    """The device with this leaf, if it is in the group."""
    return next((d for d in state.devices.values() if credential and d.credential == credential), None)


def voiced(state: State, without: bytes = b"") -> frozenset[str]:
    """Parties with a present device, other than the card `without`."""
    return frozenset(
        body
        for device in state.devices.values()
        if device.phase is Phase.PRESENT
        and device.card != without
        and (body := body_of(state, device)) in state.rules.parties
    )


def stands(state: State, device: Device) -> bool:
    """Whether what this device does counts for its seat."""
    return device.phase is Phase.PRESENT and voiced(state) <= device.by | {body_of(state, device)}


def seat_stands(state: State, seat: bytes) -> bool:
    """Whether a seat has a device that stands."""
    return any(stands(state, device) for device in devices_of(state, seat))


def deciders(state: State, body: str) -> list[Seat]:
    """The seats of a body that decide and stand."""
    roles = DECIDING if body in state.rules.parties else {Role.INTERMEDIARY}
    return [s for s in state.seats.values() if s.body == body and s.role in roles and seat_stands(state, s.id)]


def satisfied(state: State, party: str, seats: Iterable[bytes]) -> bool:
    """Whether these seats together are the party's act by its decision rule.

    A head who left for good is replaced by all delegates together, and k falls to the number of seats that there
    are: a resignation must not silence a party. Seats that are away or on hold are there, and so are people whom
    the charter names and who have yet to come.
    """
    deciding = {s.id: s for s in state.seats.values() if s.body == party and s.role in DECIDING}
    chosen = set(seats) & deciding.keys()
    arrived = {seat_id for seat_id, seat in deciding.items() if seat.arrived}
    awaited = [
        n for n in state.rules.founding if n.body == party and n.role in DECIDING and n.card not in state.spent
    ]
    heads = {seat_id for seat_id in arrived if deciding[seat_id].role is Role.HEAD}
    rule = state.rules.parties[party]
    if not chosen:
        return False
    if rule == HEAD_DECIDES:
        if heads or any(named.role is Role.HEAD for named in awaited):
            return bool(chosen & heads)
        return arrived <= chosen
    return len(chosen) >= min(rule, len(arrived) + len(awaited))


def able(state: State, party: str) -> bool:
    """Whether a party can act at all."""
    return satisfied(state, party, (seat.id for seat in deciders(state, party)))


def dormant(state: State) -> bool:
    """Whether some party of the charter cannot act: then nothing loosens and nobody new is admitted."""
    return not all(able(state, party) for party in state.rules.parties)


def approves(state: State, party: str, subject: Open) -> bool:
    """Whether a party's act is to approve. Approvals subject to confirmation do not count yet."""
    return satisfied(state, party, _counted(state, party, subject))


def approves_as_it_can(state: State, body: str, subject: Open) -> bool:
    """As `approves`; a party that cannot act speaks through all of its deciders that are left, if any."""
    if body in state.rules.parties and able(state, body):
        return approves(state, body, subject)
    left = {seat.id for seat in deciders(state, body)}
    counted = _counted(state, body, subject)
    return bool(left) and (left <= counted if body in state.rules.parties else bool(counted))


def _counted(state: State, body: str, subject: Open) -> set[bytes]:
    return {seat.id for seat in deciders(state, body) if subject.approvals.get(seat.id)}


def objected(state: State, subject: Open, *, bodies: Iterable[str], but: bytes = b"", present: bool) -> bool:
    """Whether a seat of these bodies other than `but` objects; of those that stand only, if `present`.

    A seat on hold does not block: its own side put it there. A seat that others removed for absence still does.
    """
    chosen = set(bodies)
    return any(
        state.seats[seat].body in chosen and (seat_stands(state, seat) if present else not on_hold(state, seat))
        for seat in subject.objections
        if seat != but
    )


def on_hold(state: State, seat: bytes) -> bool:
    """Whether every device of a seat is on hold."""
    return all(device.phase in ON_HOLD for device in devices_of(state, seat))


def may_clear(state: State, device: Device) -> bool:
    """Whether a device in the lobby has become present: it and others have attested each other.

    Who comes for the first time needs every party that has a present device. Who returns needs its own party if
    that is present, and one other: a side that stays away, or will not attest, keeps nobody out.
    """
    own = body_of(state, device)
    met = {
        body_of(state, peer)
        for card, peer in state.devices.items()
        if card in device.met and peer.phase is Phase.PRESENT
    }
    mutual = met & device.by
    parties = voiced(state, without=device.card)
    if not parties - {own}:  # the first of all, met by who opened the channel; or nobody else is there
        return bool(mutual)
    if device.phase is Phase.LOBBY:
        return parties <= mutual
    return (own not in parties or own in mutual) and bool(mutual & (parties - {own}))


def waits_for(state: State, body: str) -> list[Device]:
    """The lobby as one body sees it: it neither sends nor shows a message until this list is empty.

    Newcomers and leaves that have to go hold everybody up; a device that has returned only those who have not
    attested it themselves.
    """
    return [
        device
        for device in state.devices.values()
        if device.phase in IN_GROUP
        and (device.phase is not Phase.PRESENT or (body_of(state, device) != body and body not in device.by))
    ]
