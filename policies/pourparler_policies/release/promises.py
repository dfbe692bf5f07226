"""The promises of DESIGN 2.4, 2.5 and 6 as checks of a step of the log (before, entry, after).

They ask the states afresh, by other means than the code that made them; who breaks one gets an AssertionError. An
entry of None is time that passed.
"""
# ruff: noqa: S101 -- a kit for tests: each of these is an assertion, and its name is its sentence

from dataclasses import replace

from pourparler_policies.charter.rules import DECIDING
from pourparler_policies.errors import Void
from pourparler_policies.fold.encoding import encode
from pourparler_policies.fold.events import Entry
from pourparler_policies.fold.facts import Device
from pourparler_policies.fold.facts import Phase as DevicePhase
from pourparler_policies.fold.testing import DAY

from . import apply, events
from .changes import settle
from .events import entry as entry_of
from .exploring import frozen
from .facts import Answer, Case, Mark, Phase, State
from .testing import PAPER, nonce


def acting(state: State, party: str, seats: set[bytes]) -> bool:
    """Whether enough people who decide for a party, and are there, are among these seats (k-of-n rules only)."""
    there = {d.seat for d in state.consent.devices.values() if d.phase is DevicePhase.PRESENT}
    deciding = {s.id for s in state.consent.seats.values() if s.body == party and s.role in DECIDING}
    return len(seats & there & deciding) >= state.consent.rules.parties[party]


def every_party(state: State, seats: set[bytes]) -> bool:
    return all(acting(state, party, seats) for party in state.consent.rules.parties)


def an_appointment_needs_every_partys_initial_on_that_very_text(
    before: State, entry: Entry | None, after: State
) -> None:
    if after.case is None or after.case.phase is not Phase.APPOINTED or after.case == before.case:
        return
    if before.case is not None and before.case.opens == after.case.opens and before.case.spent:
        return  # back from a round
    paper = after.papers[after.case.paper]
    assert paper.text == after.case.text
    assert not paper.opposed
    assert every_party(after, {seat for seat, final in paper.initials.items() if final})


def an_edit_voids_the_initials_and_the_appointment(before: State, entry: Entry | None, after: State) -> None:
    for paper in after.papers.values():
        earlier = before.papers.get(paper.id)
        if earlier is not None and earlier.text != paper.text:
            assert not paper.initials
            assert after.case is None or after.case.paper != paper.id


def a_text_freezes_when_every_party_stands_behind_it(before: State, entry: Entry | None, after: State) -> None:
    if not frozen(after) or frozen(before):
        return
    case = after.case
    assert case is not None
    paper = after.papers[case.paper]
    assert paper.text == case.text
    assert not paper.opposed
    assert every_party(after, {seat for seat, final in paper.initials.items() if final})
    assert every_party(after, set(case.signers))
    assert all(signer.first and signer.second and signer.third for signer in case.signers.values())
    assert len({signer.first for signer in case.signers.values()}) == len(case.signers)
    held = {signer.line for signer in case.signers.values()} - {None}
    assert held == set(range(case.text.signatories))
    assert after.consent.time < case.sign_by


def a_frozen_text_stays_until_all_were_told_the_same_or_nobody_awaits_it_or_a_day_after_the_hour(
    before: State, entry: Entry | None, after: State
) -> None:
    if not frozen(before):
        return
    was = before.case
    assert was is not None
    if after.case is not None:
        assert _signed(after.case) == _signed(was)
        return
    if after.consent.closed or after.consent.time >= was.ends:
        return
    said = entry.content if entry is not None else None
    speaker = next(
        (d.seat for d in before.consent.devices.values() if entry and d.credential == entry.author), b""
    )
    answers = {seat: s.answer for seat, s in was.signers.items() if s.complete}
    if isinstance(said, events.Told) and speaker in answers:
        answers[speaker] = said.answer
    if after.consent.time >= was.deposit_by and set(answers.values()) <= {Answer.LAPSED, Answer.STOPPED}:
        return
    assert entry is not None
    told: object = entry.content
    assert isinstance(told, events.Told)
    author = next(d for d in before.consent.devices.values() if d.credential == entry.author)
    others = {signer.answer for seat, signer in was.signers.items() if seat != author.seat}
    assert others <= {told.answer}
    assert told.answer is not Answer.LAPSED or after.consent.time >= was.sign_by


def _signed(case: Case) -> object:
    parts = {seat: (s.party, s.line, s.first, s.second, s.third) for seat, s in case.signers.items()}
    return (case.text, case.nonce, case.sign_by, case.deposit_by, case.not_before, parts)


def no_nonce_serves_twice(before: State, entry: Entry | None, after: State) -> None:
    if before.case is None or after.case is None or before.case.opens != after.case.opens:
        return
    assert before.case.spent <= after.case.spent or after.case.spent == frozenset()
    if after.case.nonce and after.case.nonce != before.case.nonce:
        assert after.case.nonce not in before.case.spent
        assert len(after.case.signers) == 1


def what_ended_leaves_nothing(before: State, entry: Entry | None, after: State) -> None:
    if before.case is None or after.case is not None:
        return
    left = encode(replace(after, released={}, papers={}))
    for signer in before.case.signers.values():
        for held in (signer.first, signer.second, signer.third):
            assert not held or held not in left
    assert before.case.text.digest not in left
    for digest in after.released.keys() - before.released.keys():
        assert digest == before.case.text.digest
        assert after.consent.time >= before.case.not_before


def nothing_moves_towards_release_while_a_party_cannot_act(
    before: State, entry: Entry | None, after: State
) -> None:
    if every_party(before, set(before.consent.seats)) or entry is None:
        return
    order = list(Phase)
    if after.case is not None:
        assert before.case is not None
        assert order.index(after.case.phase) <= order.index(before.case.phase)


INVARIANTS = [
    an_appointment_needs_every_partys_initial_on_that_very_text,
    an_edit_voids_the_initials_and_the_appointment,
    a_text_freezes_when_every_party_stands_behind_it,
    a_frozen_text_stays_until_all_were_told_the_same_or_nobody_awaits_it_or_a_day_after_the_hour,
    no_nonce_serves_twice,
    what_ended_leaves_nothing,
    nothing_moves_towards_release_while_a_party_cannot_act,
]


def time_ends_every_case(state: State) -> State:
    """Nobody does anything any more: the case ends all the same. Returns the state after it."""
    if state.case is None:
        return state
    later = settle(replace(state, consent=replace(state.consent, time=state.case.ends)))
    assert later.case is None, "no deadline ends the case"
    return later


def honest_people_get_to_a_frozen_text(state: State) -> None:
    """Once the case is over, people who agree can appoint and run a round, if every party can act."""
    state = time_ends_every_case(state)
    if PAPER not in state.papers or not every_party(state, set(state.consent.seats)):
        return
    people = [d.card for d in state.consent.devices.values() if d.phase is DevicePhase.PRESENT]
    digest = state.papers[PAPER].text.digest
    for person in people:
        state = _try(state, person, events.Relented(PAPER))
        state = _try(state, person, events.Initialled(PAPER, digest))
    now = state.consent.time
    state = _try(state, people[0], events.Appointed(PAPER, digest, now, now + DAY, now + 2 * DAY))
    for line, person in enumerate(people):
        state = _try(state, person, events.First(nonce(9), line, b"u%d" % line))
    for person in people:
        state = _try(state, person, events.Second(nonce(9), b"Y"))
    for person in people:
        state = _try(state, person, events.Third(nonce(9), b"s"))
    assert frozen(state), "people who agree cannot come to a frozen text"


def _try(state: State, person: bytes, event: events.Event) -> State:
    device: Device = state.consent.devices[person]
    try:
        return apply(state, entry_of(1, state.consent.time, device.credential, event, device.counter + 1))
    except Void:
        return state


__all__ = ["INVARIANTS", "Mark", "honest_people_get_to_a_frozen_text", "time_ends_every_case"]
