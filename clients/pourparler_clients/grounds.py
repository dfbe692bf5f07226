"""On which ground a card may be seated now, as the fold of this channel has it (docs/consent.md, 3)."""

from pourparler_policies.charter.rules import DECIDING, Named
from pourparler_policies.errors import Void
from pourparler_policies.fold import consent, standing
from pourparler_policies.fold.events import Ground
from pourparler_policies.fold.facts import IN_GROUP, Admit, Open, Replace, State
from pourparler_policies.fold.table import Consent

from .errors import UserError
from .log import Log


class NotYet(Exception):
    """Somebody's consent is still missing; whose, it says."""


def find_ground(log: Log, card: bytes, *, second: bool = False) -> tuple[Ground, bytes]:
    """The ground, and the digest of the approved subject (empty when none is needed), for a card's fingerprint.

    `second`: it is another device of this seat. Raises NotYet while consent is missing, UserError when nobody has put
    this card on the table.
    """
    state = log.consent
    if second:
        return Ground.SECOND, b""
    device = state.devices.get(card)
    if device is not None:
        if device.phase in IN_GROUP:
            raise UserError("this card already has a seat in the channel")
        return Ground.RETURN, b""
    for digest, held in state.open.items():
        subject = held.subject
        if isinstance(subject, Admit) and subject.card == card:
            return _admission(state, held), digest
        if isinstance(subject, Replace) and subject.new == card:
            _check(state, held, None)
            return Ground.REPLACEMENT, digest
    raise UserError(
        "this card is not on the table: propose a seat for it first (`pourparler propose admit`), or, for a second "
        "device of yours, `pourparler invite --own`"
    )


def body_for(log: Log, card: bytes, *, second: bool = False) -> str:
    """To which party or intermediary the card's owner would belong. Raises UserError when nobody has said so."""
    state = log.consent
    seated = log.own_card.fingerprint if second else card
    if seated in state.devices:
        return state.seats[state.devices[seated].seat].body
    for held in state.open.values():
        subject = held.subject
        if isinstance(subject, Admit) and subject.card == card:
            return subject.body
        if isinstance(subject, Replace) and subject.new == card:
            return state.seats[subject.seat].body
    raise UserError("this card is not on the table any more")


def named_by_charter(state: State, card: bytes) -> Admit | None:
    """The seat that the charter keeps for a card which has not been seated yet."""
    named = next((one for one in state.rules.founding if one.card == card), None)
    if named is None or card in state.spent or card in state.devices:
        return None
    return Admit(named.body, named.role, named.card)


def may_approve(log: Log) -> bool:
    """Whether this seat's approval of an admission counts for a party."""
    device = log.consent.devices.get(log.own_card.fingerprint)
    seat = log.consent.seats.get(device.seat) if device is not None else None
    return seat is not None and seat.role in DECIDING


def _admission(state: State, held: Open) -> Ground:
    """FOUNDING while the channel is being founded, and later for a party that cannot act; else ADMISSION."""
    if isinstance(held.subject, Admit):
        subject = held.subject
        unable = subject.body in state.rules.parties and not standing.able(state, subject.body)
        if Named(subject.body, subject.role, subject.card) in state.rules.founding and (
            not state.founded or unable
        ):
            _check(state, held, Consent.SEATED)
            return Ground.FOUNDING
    _check(state, held, None)
    return Ground.ADMISSION


def _check(state: State, held: Open, needed: Consent | None) -> None:
    try:
        consent.check(state, held, needed)
    except Void as missing:
        raise NotYet(str(missing)) from None
