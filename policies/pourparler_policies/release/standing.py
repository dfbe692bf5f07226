"""Questions to a state: who has initialled, what stands in a release's way, whether a signer's part is whole.

Whose act is a party's act is the charter's decision rule, as for consent (`fold/standing.py`).
"""

from pourparler_policies.charter.rules import DECIDING, HEAD_DECIDES, Role
from pourparler_policies.errors import Void
from pourparler_policies.fold import dormant
from pourparler_policies.fold.facts import Device
from pourparler_policies.fold.standing import body_of, deciders, on_hold, satisfied, seat_stands

from .facts import MAX_SIGNATORIES, Case, Paper, State
from .rules import Signatories


def decides(state: State, author: Device) -> str:
    """The party for which this device's seat decides. Raises Void when it is not one that does."""
    seat = state.consent.seats[author.seat]
    if seat.body not in state.consent.rules.parties:
        raise Void("an intermediary initials and signs nothing")
    if seat.role not in DECIDING:
        raise Void(f"the {seat.role} prepares and does not decide")
    return seat.body


def initialled(state: State, paper: Paper, party: str) -> bool:
    """Whether the party's act is to agree to this wording."""
    standing = {seat.id for seat in deciders(state.consent, party)}
    return satisfied(state.consent, party, (seat for seat in standing if paper.initials.get(seat)))


def opposed(state: State, paper: Paper) -> bool:
    """Whether somebody objects: a seat that its own side put on hold does not block."""
    return any(not on_hold(state.consent, seat) for seat in paper.opposed)


def check_release(state: State, paper: Paper) -> None:
    """Raises Void unless every party stands behind this wording now."""
    if not state.consent.founded or dormant(state.consent):
        raise Void("a party cannot act: until it can, nothing is released")
    if opposed(state, paper):
        raise Void("somebody objects")
    if not all(initialled(state, paper, party) for party in state.consent.rules.parties):
        raise Void("not every party has initialled this revision")


def check_signatories(state: State, count: int) -> None:
    """Raises Void unless a text with so many lines of signature is one that the charter allows."""
    parties = len(state.consent.rules.parties)
    allowed = state.rules.signatories
    if allowed is Signatories.NOBODY:
        raise Void("under this charter no joint text is published")
    if count < parties or (allowed is not Signatories.PERSONS and count != parties):
        raise Void("the text's signatories are not those of the charter")
    people = sum(max(rule, 1) for rule in state.consent.rules.parties.values())
    if people > MAX_SIGNATORIES:
        raise Void(f"more than {MAX_SIGNATORIES} people would have to sign together")


def whole(state: State, case: Case, party: str) -> bool:
    """Whether the signers of a party are its act, and those that sign in its name stand."""
    own = [seat for seat, signer in case.signers.items() if signer.party == party]
    return all(seat_stands(state.consent, seat) for seat in own) and satisfied(state.consent, party, own)


def awaits_further(state: State, case: Case, author: Device) -> bool:
    """Whether a party's key is in the round, and its decision rule asks for one more person, who may be this one.

    Where the head decides and there is one, a delegate more would only be one more without whom nothing is signed.
    """
    seats, rules = state.consent.seats, state.consent.rules
    seat = seats.get(author.seat)
    if seat is None or seat.body not in rules.parties or seat.role not in DECIDING:
        return False
    head = any(one.body == seat.body and one.role is Role.HEAD for one in seats.values())
    if rules.parties[seat.body] == HEAD_DECIDES and head and seat.role is not Role.HEAD:
        return False
    own = [signer for signer in case.signers.values() if signer.party == seat.body]
    return bool(own) and author.seat not in case.signers and not whole(state, case, seat.body)


def full(state: State, case: Case) -> bool:
    """Whether every line has its signer, and every party is bound by its decision rule."""
    lines = {signer.line for signer in case.signers.values()} - {None}
    return len(lines) == case.text.signatories and all(
        whole(state, case, party) for party in state.consent.rules.parties
    )


def unsettled(state: State) -> str:
    """Why a frozen case should not go on without asking its person; empty when nothing changed since.

    It voids nothing: a signature may be at the desk already. A device that has not signed refuses to sign, and one
    that has asks its person again before it completes (`device.py`).
    """
    case = state.case
    if case is None:
        return "the case is over"
    if case.charter != state.consent.rules.charter:
        return "the charter has changed since"
    if dormant(state.consent):
        return "a party cannot act"
    if not all(whole(state, case, party) for party in state.consent.rules.parties):
        return "somebody who signs has been put on hold, is away or has left"
    return ""


__all__ = [
    "awaits_further",
    "body_of",
    "check_release",
    "check_signatories",
    "decides",
    "full",
    "initialled",
    "opposed",
    "unsettled",
    "whole",
]
