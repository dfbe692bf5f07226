"""MLS commits: which proposals are valid, who may be added and removed, and what that changes (`table.py`).

A commit is judged as a whole: it changes everything that it says, or nothing. Approvals are consumed here.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from pourparler_policies.charter.rules import Named
from pourparler_policies.errors import Void

from . import changes, consent, standing, subjects
from .acts import check_author
from .encoding import subject_digest
from .events import Added, Commit, Entry, Ground
from .facts import IN_GROUP, Admit, Amend, Device, Open, Phase, Replace, Seat, State
from .table import GROUNDS, PROPOSALS, REMOVALS, Author, Consent, Trigger

CREDENTIAL_BYTES: Final = 16
CARD_BYTES: Final = 32


def commit(state: State, author: Device, entry: Entry, content: Commit) -> State:
    """The state after a commit of a known author. Raises Void."""
    _check_form(state, author, content)
    for proposal in content.proposals:
        check_author(state, author, PROPOSALS[proposal][1])
    # A commit always renews its author's leaf. Who is not attested could break everybody's path with it.
    check_author(state, author, Author.PRESENT)
    # A replaced card gives way in the same commit, so its successor is seated first.
    table = state.open
    first = [added for added in content.added if added.ground is Ground.REPLACEMENT]
    for added in first:
        state = _add(state, author, added, entry)
    for credential in content.removed:
        state = _remove(state, author, credential, entry)
    replaced = [held.subject.old for a in first if isinstance((held := table[a.digest]).subject, Replace)]
    if not state.devices.keys().isdisjoint(replaced):
        raise Void("a replaced card's leaf goes with the commit that seats its successor")
    for added in content.added:
        if added not in first:
            state = _add(state, author, added, entry)
    if content.charter is not None:
        state = _amend(state, content.charter)
    for credential in content.updated:
        device = standing.by_credential(state, credential)
        if device is not None:
            state = changes.put_device(state, replace(device, absent={}))
    return state


def _check_form(state: State, author: Device, content: Commit) -> None:
    for proposal in content.proposals:
        if proposal not in PROPOSALS:
            raise Void(f"the rules of this channel have no {proposal} proposal")
    said = {
        "add": bool(content.added),
        "remove": bool(content.removed),
        "group_context_extensions": content.charter is not None,
    }
    if any(present != (name in content.proposals) for name, present in said.items()):
        raise Void("a commit explains exactly what it does")
    if len(content.added) > 1:
        raise Void("one device is seated at a time")
    if content.charter is not None and (content.added or content.removed):
        raise Void("a commit that changes the charter changes nobody's place")
    if len(set(content.removed)) != len(content.removed) or author.credential in content.removed:
        raise Void("each device is removed once, and nobody removes the device that commits")
    for credential in (*content.removed, *content.updated):
        if standing.by_credential(state, credential) is None:
            raise Void("there is no such device in the group")
    for added in content.added:
        if len(added.credential) != CREDENTIAL_BYTES or len(added.card) != CARD_BYTES:
            raise Void("a credential has 16 bytes, a card's fingerprint 32")
        if standing.by_credential(state, added.credential) is not None:
            raise Void("a new device has a new credential")


def _remove(state: State, author: Device, credential: bytes, entry: Entry) -> State:
    device = standing.by_credential(state, credential)
    if device is None:
        raise Void("there is no such device in the group")
    check_author(state, author, REMOVALS[device.phase][1])
    if device.phase is Phase.PRESENT:
        check_absence(state, device, entry.received_at)
    return changes.shift(state, device, Trigger.REMOVED)


def check_absence(state: State, device: Device, at: int) -> None:
    """Raises Void unless the votes against a device suffice at `at` (Unix seconds, the entry's received_at).

    Every party with a standing device against which no vote has ripened must have voted. A device that is there
    defeats any vote by updating its leaf within the notice; two parties that are both away keep no leaf in for
    ever.
    """
    if at < state.recess:
        raise Void("the channel is in recess")
    ripe = {party for party, voted in device.absent.items() if voted + state.rules.notice <= at}
    own = standing.body_of(state, device)
    needed = {
        body
        for peer in state.devices.values()
        if (body := standing.body_of(state, peer)) != own
        and body in state.rules.parties
        and standing.stands(state, peer)
        and not any(voted + state.rules.notice <= at for voted in peer.absent.values())
    }
    if not ripe or not needed <= ripe:
        raise Void("somebody would be removed whom not every other party that is present has long found absent")


def _add(state: State, author: Device, added: Added, entry: Entry) -> State:
    check_author(state, author, Author.PRESENT if added.ground is Ground.SECOND else GROUNDS[added.ground][1])
    return _ADD[added.ground](state, author, added, entry)


def _founding(state: State, _author: Device, added: Added, entry: Entry) -> State:
    subject, held = _admission(state, added, entry)
    if Named(subject.body, subject.role, subject.card) not in state.rules.founding or subject.card in state.spent:
        raise Void("the charter does not name this card, or it has been seated before")
    if state.founded and (subject.body not in state.rules.parties or standing.able(state, subject.body)):
        raise Void("the channel is founded, and this party can act: every party has to approve")
    consent.check(state, held, Consent.SEATED)
    return _new_seat(state, added, subject)


def _admitted(state: State, _author: Device, added: Added, entry: Entry) -> State:
    subject, held = _admission(state, added, entry)
    consent.check(state, held)
    return _new_seat(state, added, subject)


def _admission(state: State, added: Added, entry: Entry) -> tuple[Admit, Open]:
    held = state.open.get(added.digest)
    if held is None or not isinstance(held.subject, Admit) or held.subject.card != added.card:
        raise Void("nobody has put this card on the table")
    subjects.check(state, held.subject, entry)
    return held.subject, held


def _new_seat(state: State, added: Added, subject: Admit) -> State:
    seat = subject_digest(state.rules, subject)
    if seat in state.seats:
        raise Void("this card had this seat before and was replaced")
    state = changes.put_seat(changes.drop_open(state, added.digest), Seat(seat, subject.body, subject.role))
    return changes.enter(state, Device(added.card, seat, Phase.LOBBY), added.credential, Phase.LOBBY)


def _second(state: State, author: Device, added: Added, _: Entry) -> State:
    if added.digest:
        raise Void("a second device consumes no approval")
    subjects.check_new_card(state, added.card)
    if len(standing.devices_of(state, author.seat)) >= state.rules.devices:
        raise Void("the charter gives this seat no more devices")
    return changes.enter(state, Device(added.card, author.seat, Phase.LOBBY), added.credential, Phase.LOBBY)


def _replaced(state: State, _author: Device, added: Added, entry: Entry) -> State:
    held = state.open.get(added.digest)
    if held is None or not isinstance(held.subject, Replace) or held.subject.new != added.card:
        raise Void("nobody has put this card on the table")
    subjects.check(state, held.subject, entry)
    consent.check(state, held)
    old = state.devices[held.subject.old]
    state = changes.drop_open(state, added.digest)
    # The person is known: a side that will not attest the new card must not keep them out (`standing.may_clear`).
    state = changes.enter(state, Device(added.card, old.seat, Phase.RETURNING), added.credential, Phase.RETURNING)
    old = state.devices[old.card]
    return state if old.phase is Phase.LEAVING else changes.shift(state, old, Trigger.ENDED)


def _returned(state: State, _author: Device, added: Added, _: Entry) -> State:
    device = state.devices.get(added.card)
    if device is None or added.digest:
        raise Void("this card has no place to come back to")
    if device.phase in IN_GROUP:
        raise Void("this card is in the group")
    state = changes.shift(state, device, Trigger.ADDED)
    device = state.devices[added.card]
    return changes.enter(state, device, added.credential, device.phase)


_ADD: Final[Mapping[Ground, Callable[[State, Device, Added, Entry], State]]] = {
    Ground.FOUNDING: _founding,
    Ground.ADMISSION: _admitted,
    Ground.SECOND: _second,
    Ground.REPLACEMENT: _replaced,
    Ground.RETURN: _returned,
}


def _amend(state: State, charter: bytes) -> State:
    for held in state.open.values():
        if isinstance(held.subject, Amend):
            rules = subjects.amended(state, held.subject)
            if rules.charter == charter:
                consent.check(state, held)
                # Approvals name the charter under which they were given: none outlives it.
                return replace(state, rules=rules, open={}, spent=state.spent.union(state.devices))
    raise Void("no charter with this hash is on the table")
