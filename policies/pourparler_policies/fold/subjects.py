"""Whether a subject makes sense in a state: asked when it is put on the table, and again when it takes effect."""

from pourparler_policies.charter import CharterErrors, decode
from pourparler_policies.charter.rules import POLICY_VERSION, Role, Rules
from pourparler_policies.errors import Unknown, Void

from . import standing
from .events import Entry
from .facts import Adjourn, Admit, Amend, Erase, Expel, Lift, Phase, Recall, Recess, Replace, State, Subject


def check(state: State, subject: Subject, entry: Entry) -> None:
    """Raises Void when a subject means nothing here, Unknown when another version of the rules would judge it."""
    match subject:
        case Admit():
            check_admit(state, subject)
        case Replace():
            _seat(state, subject.seat)
            device = state.devices.get(subject.old)
            if device is None or device.seat != subject.seat:
                raise Void("the old card is not one of that seat's")
            check_new_card(state, subject.new)
        case Expel():
            _seat(state, subject.seat)
        case Recall():
            _recall(state, subject)
        case Lift():
            _seat(state, subject.seat)
            if {device.phase for device in standing.devices_of(state, subject.seat)} - {Phase.HELD}:
                raise Void("the seat is not on hold, or a leaf of it is still in the group")
        case Recess():
            if not entry.received_at < subject.until <= entry.received_at + state.rules.longest_recess:
                raise Void("a recess ends later than now, and within the charter's longest recess")
        case Erase():
            if not 0 < subject.seq <= entry.seq:
                raise Void("only what has been said can be erased")
        case Adjourn():
            # Who has not been heard of for longer may have no place any more, and nobody remembers the hour.
            if not entry.received_at < subject.at <= entry.received_at + state.rules.absence:
                raise Void("a session ends later than now, and within the charter's absence limit")
        case Amend():
            amended(state, subject)


def _seat(state: State, seat: bytes) -> None:
    if seat not in state.seats:
        raise Void("there is no such seat")


def check_admit(state: State, subject: Admit) -> None:
    """Raises Void unless there could be such a seat."""
    rules = state.rules
    if subject.body not in rules.bodies:
        raise Void("the charter has no such party and no such intermediary")
    if (subject.role is Role.INTERMEDIARY) != (subject.body in rules.intermediaries):
        raise Void("this role does not belong to this body")
    room = rules.seats if subject.body in rules.parties else rules.intermediary_seats
    if sum(seat.body == subject.body for seat in state.seats.values()) >= room:
        raise Void("the charter gives this body no more seats")
    if len(subject.card) != 32 or subject.card in state.devices:
        raise Void("this card has a place already")


def check_new_card(state: State, card: bytes) -> None:
    """Raises Void unless a seat may take this card: nobody sits on a card that the charter keeps for another."""
    if len(card) != 32 or card in state.devices:
        raise Void("this card has a place already")
    if any(named.card == card for named in state.rules.founding):
        raise Void("the charter names this card: it has a seat of its own")


def _recall(state: State, subject: Recall) -> None:
    _seat(state, subject.seat)
    if not state.rules.recall:
        raise Void("this charter lets nobody be called back: people take part for themselves")


def amended(state: State, subject: Amend) -> Rules:
    """The rules of an amendment. Raises Void when it has errors or takes a place away from somebody seated."""
    try:
        rules = decode(subject.charter).rules
    except CharterErrors:
        raise Void("this is not a charter without errors") from None
    if rules.version != POLICY_VERSION:
        raise Unknown("the charter asks for rules that this version of Pourparler does not know")
    if rules.charter == state.rules.charter:
        raise Void("this is the charter in force")
    held: dict[str, int] = {}
    for seat in state.seats.values():
        held[seat.body] = held.get(seat.body, 0) + 1
        if (seat.role is Role.INTERMEDIARY) != (
            seat.body in rules.intermediaries
        ) or seat.body not in rules.bodies:
            raise Void("somebody is seated for a body that this charter does not have")
        if len(standing.devices_of(state, seat.id)) > rules.devices:
            raise Void("somebody has more devices than this charter allows")
    for body, count in held.items():
        if count > (rules.seats if body in rules.parties else rules.intermediary_seats):
            raise Void("a body has more seats than this charter allows")
    return rules
