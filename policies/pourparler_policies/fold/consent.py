"""Whether a subject on the table has the consent that `table.CONSENT` asks. A check raises Void with the
reason.
"""

from collections.abc import Callable
from typing import Final

from pourparler_policies.errors import Void

from . import standing
from .facts import Amend, Expel, Lift, Open, Recall, Replace, State, Subject
from .table import CONSENT, Consent


def seat_of(subject: Subject) -> bytes:
    """The seat that a subject is about, empty when it is about none."""
    return subject.seat if isinstance(subject, Expel | Lift | Recall | Replace) else b""


def check(state: State, subject: Open, consent: Consent | None = None) -> None:
    """Raises Void unless the subject has its consent. `consent` overrides the table's for a founding card."""
    CHECKS[consent or CONSENT[type(subject.subject)][0]](state, subject)


def _every(state: State, subject: Open) -> None:
    if not state.founded:
        raise Void("the channel is being founded: only cards that the charter names are seated")
    if standing.dormant(state):
        raise Void("a party cannot act: until it can, nothing loosens and nobody new enters")
    # Whoever is to be expelled cannot object to it; their party can refuse.
    if standing.objected(state, subject, bodies=state.rules.parties, but=seat_of(subject.subject), present=False):
        raise Void("somebody objects")
    if not all(standing.approves(state, party, subject) for party in state.rules.parties):
        raise Void("not every party has approved")


def _seated(state: State, subject: Open) -> None:
    if standing.objected(state, subject, bodies=state.rules.parties, present=True):
        raise Void("somebody objects")
    present = [party for party in state.rules.parties if standing.deciders(state, party)]
    if not all(standing.approves_as_it_can(state, party, subject) for party in present):
        raise Void("not every party that is present has approved")


def _own(state: State, subject: Open) -> None:
    seat = state.seats[seat_of(subject.subject)]
    if standing.objected(state, subject, bodies=[seat.body], but=seat.id, present=False):
        raise Void("somebody of the same body objects")
    if seat.body in state.rules.parties:
        agreed = standing.approves(state, seat.body, subject)
    else:
        agreed = standing.approves_as_it_can(state, seat.body, subject)
    if not agreed:
        raise Void("the person's own body has not approved")


def _own_left(state: State, subject: Open) -> None:
    seat = state.seats[seat_of(subject.subject)]
    if not standing.deciders(state, seat.body):
        _one_other(state, subject, seat.body)
        return
    if standing.objected(state, subject, bodies=[seat.body], but=seat.id, present=True):
        raise Void("somebody of the same body objects")
    if not standing.approves_as_it_can(state, seat.body, subject):
        raise Void("the person's own body has not approved")


def _own_and_one(state: State, subject: Open) -> None:
    _own(state, subject)
    _one_other(state, subject, state.seats[seat_of(subject.subject)].body)


def _one_other(state: State, subject: Open, own: str) -> None:
    others = state.rules.bodies - {own}
    if not any(subject.approvals.get(seat.id) for body in others for seat in standing.deciders(state, body)):
        raise Void("no other party and no intermediary has vouched")


CHECKS: Final[dict[Consent, Callable[[State, Open], None]]] = {
    Consent.EVERY: _every,
    Consent.SEATED: _seated,
    Consent.OWN: _own,
    Consent.OWN_LEFT: _own_left,
    Consent.OWN_AND_ONE: _own_and_one,
}


def may_approve(state: State, body: str, subject: Subject) -> None:
    """Raises Void when this body's approval of this subject means nothing: an intermediary has no vote."""
    if body in state.rules.parties:
        return
    consent, _ = CONSENT[type(subject)]
    own = seat_of(subject) and state.seats[seat_of(subject)].body == body
    if isinstance(subject, Amend) or (consent not in {Consent.OWN_AND_ONE, Consent.OWN_LEFT} and not own):
        raise Void("an intermediary has no vote")
