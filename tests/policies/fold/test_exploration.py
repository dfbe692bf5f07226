"""Every state that two or three parties can reach, honest or not, and what holds in each (DESIGN 2, 4.3).

Each act is tried by every device in the group, whatever it should do: that is what hostile devices are.
"""

import os
from dataclasses import replace

import pytest

from pourparler_policies.charter.rules import DECIDING, Role
from pourparler_policies.errors import Void
from pourparler_policies.fold import consent, found, standing
from pourparler_policies.fold import events as ev
from pourparler_policies.fold.encoding import subject_digest
from pourparler_policies.fold.events import Commit, Entry, Ground
from pourparler_policies.fold.exploring import Explored, Play, explore, in_group
from pourparler_policies.fold.facts import (
    IN_GROUP,
    Admit,
    Expel,
    Lift,
    Open,
    Phase,
    Recall,
    Recess,
    Replace,
    State,
)
from pourparler_policies.fold.honest import close, go_on
from pourparler_policies.fold.table import Consent
from pourparler_policies.fold.testing import DAY, START, History, card, founded, leaf, rules


def present_parties(state: State) -> set[str]:
    return {standing.body_of(state, d) for d in in_group(state, Phase.PRESENT)} & set(state.rules.parties)


def parties_for(state: State, subject: Open) -> set[str]:
    """Parties of which somebody who decides has finally approved."""
    seats = [state.seats[seat] for seat, final in subject.approvals.items() if final]
    return {seat.body for seat in seats if seat.role in DECIDING}


def the_state_is_consistent(before: State, entry: Entry | None, after: State) -> None:
    credentials = [d.credential for d in after.devices.values() if d.credential]
    assert len(credentials) == len(set(credentials))
    for fingerprint, device in after.devices.items():
        assert device.card == fingerprint
        assert device.seat in after.seats
        assert bool(device.credential) == (device.phase in IN_GROUP)
        assert len(standing.devices_of(after, device.seat)) <= after.rules.devices
    assert set(after.seats) == {device.seat for device in after.devices.values()}
    for body in after.rules.parties:
        assert sum(seat.body == body for seat in after.seats.values()) <= after.rules.seats
    for held in after.open.values():
        assert set(held.approvals) | held.objections <= set(after.seats)


def nobody_enters_without_every_party(before: State, entry: Entry | None, after: State) -> None:
    for fingerprint in after.devices.keys() - before.devices.keys():
        assert entry is not None
        assert isinstance(entry.content, Commit)
        (added,) = entry.content.added
        device = after.devices[fingerprint]
        replaced = added.ground is Ground.REPLACEMENT
        assert device.phase is (Phase.RETURNING if replaced else Phase.LOBBY)
        if added.ground is Ground.SECOND:
            author = standing.by_credential(before, entry.author)
            assert author is not None
            assert author.seat == device.seat
            continue
        approving = parties_for(before, before.open[added.digest])
        seat = after.seats[device.seat]
        if added.ground is Ground.ADMISSION:
            assert approving == set(before.rules.parties) == present_parties(before)
        elif added.ground is Ground.FOUNDING:
            assert any(n.card == fingerprint and n.body == seat.body for n in before.rules.founding)
            assert fingerprint not in before.spent
            assert {p for p in present_parties(before) if standing.deciders(before, p)} <= approving
        else:
            assert device.seat in before.seats  # the person was approved; only the card is new
            assert seat.body in approving
            assert len({before.seats[s].body for s in before.open[added.digest].approvals}) > 1


def nobody_speaks_or_counts_before_attestation(before: State, entry: Entry | None, after: State) -> None:
    for fingerprint, device in after.devices.items():
        earlier = before.devices.get(fingerprint)
        if device.phase is Phase.PRESENT and (earlier is None or earlier.phase is not Phase.PRESENT):
            own = standing.body_of(after, device)
            others = present_parties(before) - {own}
            assert device.by
            assert device.met
            if earlier is not None and earlier.phase is Phase.LOBBY:
                assert others <= device.by
            elif others:
                assert others & device.by
        if device.phase in {Phase.LOBBY, Phase.RETURNING}:
            assert all(device in standing.waits_for(after, body) for body in after.rules.bodies)


def nothing_loosens_without_every_party(before: State, entry: Entry | None, after: State) -> None:
    loosened = after.rules != before.rules or after.recess != before.recess
    expelled = (
        entry is not None
        and isinstance(entry.content, ev.Enacted)
        and isinstance(before.open[entry.content.digest].subject, Expel)
    )
    if loosened or expelled:
        assert present_parties(before) == set(before.rules.parties)
        gone = [held for digest, held in before.open.items() if digest not in after.open]
        assert any(parties_for(before, held) == set(before.rules.parties) for held in gone)
        assert all(not held.objections or expelled for held in gone)


def nobody_is_put_out_by_the_other_side(before: State, entry: Entry | None, after: State) -> None:
    for fingerprint, device in before.devices.items():
        later = after.devices.get(fingerprint)
        body = standing.body_of(before, device)
        if device.phase in {Phase.EXPECTED, Phase.LOBBY, Phase.LEAVING}:
            continue  # has not arrived; or was marked already, which was judged then
        ended = later is None or later.phase in {Phase.LEAVING, Phase.HOLDING, Phase.HELD}
        if ended and device.phase not in {Phase.HOLDING, Phase.HELD}:
            author = standing.by_credential(before, entry.author) if entry is not None else None
            assert author is not None
            replaced = isinstance(entry.content, Commit) if entry is not None else False
            enacted = entry is not None and isinstance(entry.content, ev.Enacted)
            if replaced or enacted:
                gone = next(held for digest, held in before.open.items() if digest not in after.open)
                assert isinstance(gone.subject, Expel | Recall | Replace)
                assert body in parties_for(before, gone)
            else:
                assert standing.body_of(before, author) == body
        if device.phase is Phase.PRESENT and later is not None and later.phase is Phase.AWAY:
            ripe = {p for p, at in device.absent.items() if at + before.rules.notice <= before.time}
            assert ripe
            assert body not in ripe


def nobody_who_arrived_loses_the_seat_to_another_side(before: State, entry: Entry | None, after: State) -> None:
    for seat in before.seats.values():
        if not seat.arrived or seat.id in after.seats:
            continue
        assert entry is not None
        author = standing.by_credential(before, entry.author)
        assert author is not None
        if isinstance(entry.content, Commit):  # its leaf goes: somebody had the right to end it before
            assert all(d.phase is Phase.LEAVING for d in standing.devices_of(before, seat.id))
        elif isinstance(entry.content, ev.Enacted):
            assert seat.body in parties_for(before, before.open[entry.content.digest])
        else:
            assert standing.body_of(before, author) == seat.body


def everybody_attested_has_left(state: State) -> bool:
    return not in_group(state, Phase.PRESENT)


def somebody_attested_is_left_unless_they_left(before: State, entry: Entry | None, after: State) -> None:
    if everybody_attested_has_left(after) and not everybody_attested_has_left(before):
        gone = [d for d in after.devices.values() if before.devices[d.card].phase is Phase.PRESENT]
        assert all(d.phase is Phase.LEAVING for d in gone)


def honest_people_get_on(state: State, silent: frozenset[str] = frozenset()) -> None:
    """Whoever is left can talk, or end the channel and open another; all together bring everybody back."""
    ended = go_on(state, silent)
    inside = [d for d in in_group(ended) if standing.body_of(ended, d) not in silent]
    if ended.closed or not inside:
        return
    if everybody_attested_has_left(state):
        return  # who is not attested yet opens another channel
    able_to_start = [d for d in inside if d.phase is Phase.PRESENT]
    if not silent:
        assert able_to_start, "somebody is inside and nobody is attested"
        assert all(d.phase is Phase.PRESENT for d in ended.devices.values()), "somebody cannot come back"
        has_seats = {seat.body for seat in ended.seats.values()} >= set(ended.rules.parties)
        assert not has_seats or not standing.dormant(ended), "everybody is there and nothing can be decided"
    if able_to_start:
        for device in able_to_start:
            assert not standing.waits_for(ended, standing.body_of(ended, device)), "the lobby never empties"
        if standing.dormant(ended):
            assert close(ended, silent).closed, "who is left cannot even end the channel"


def report(name: str, found_out: Explored) -> None:
    complete = "all of them" if found_out.complete else f"up to depth {found_out.depth}"
    print(f"{name}: {len(found_out.states)} states, {found_out.steps} steps that count, {complete}")


INVARIANTS = [
    the_state_is_consistent,
    nobody_enters_without_every_party,
    nobody_speaks_or_counts_before_attestation,
    nothing_loosens_without_every_party,
    nobody_is_put_out_by_the_other_side,
    nobody_who_arrived_loses_the_seat_to_another_side,
    somebody_attested_is_left_unless_they_left,
]


LIFE = frozenset(
    {ev.Attested, ev.Absent, ev.Held, ev.Leaving, ev.Complained, ev.Proposed, ev.Approved, ev.Enacted}
)
RETURN = frozenset({Ground.RETURN})


def life(parties: int, *, hold: bool = True) -> Play:
    """Absence, hold, complaint, leaving and coming back, of one device a party."""
    history = founded(parties)
    cast = {f"{body}1": body for body in "abc"[:parties]}
    subjects = {("lift", word): Lift(history.seat(word)) for word in cast} if hold else {}
    return Play(history.state, cast, subjects, LIFE if hold else LIFE - {ev.Held, ev.Proposed}, RETURN)


def admission() -> Play:
    """A second person of one party is proposed, approved, objected to, cancelled, seated and attested."""
    history = founded(2)
    cast = {"a1": "a", "b1": "b", "a2": "a"}
    subject = Admit("a", Role.DELEGATE, card("a2"))
    acts = frozenset(
        {ev.Proposed, ev.Approved, ev.Withdrawn, ev.Objected, ev.Yielded, ev.Dropped, ev.Cancelled, ev.Attested}
        | {ev.Absent}
    )
    return Play(
        history.state, cast, {("admit", "a2"): subject}, acts, frozenset({Ground.ADMISSION, Ground.RETURN})
    )


def founding(parties: int, *, intermediary: bool) -> Play:
    """From the first device on, opened by a party or by an intermediary."""
    bodies = "abc"[:parties]
    named = {f"{body}1": (body, Role.DELEGATE) for body in bodies}
    if intermediary:
        named["m1"] = ("m", Role.INTERMEDIARY)
    made = rules(dict.fromkeys(bodies, 1), named, intermediaries=("m",) if intermediary else ())
    history = History(made, "m1" if intermediary else "a1")
    cast = {word: body for word, (body, _) in named.items()}
    subjects = {("admit", word): Admit(body, role, card(word)) for word, (body, role) in named.items()}
    acts = frozenset({ev.Proposed, ev.Approved, ev.Attested, ev.Cancelled})
    return Play(history.state, cast, subjects, acts, frozenset({Ground.FOUNDING, Ground.ADMISSION, Ground.RETURN}))


def inside() -> Play:
    """A party of two persons beside a party of one: second device, replacement, recall, expulsion, hold."""
    history = founded(2, delegates=1)
    history.enact(Recess(START + DAY), "a1", "b1")
    subject = Admit("a", Role.DELEGATE, card("a2"))
    history.commit("a1", history.adding("a2", Ground.ADMISSION, history.agree(subject, "a1", "b1")))
    history.meet("a2", "a1", "b1")
    cast = {"a1": "a", "a2": "a", "b1": "b", "a3": "a"}
    subjects = {
        ("replace", "a2"): Replace(history.seat("a2"), card("a2"), card("a3")),
        ("recall", "a2"): Recall(history.seat("a2")),
        ("expel", "a2"): Expel(history.seat("a2")),
    }
    acts = frozenset(
        {ev.Proposed, ev.Approved, ev.Enacted, ev.Held, ev.Discarded, ev.Attested, ev.Leaving, ev.Cancelled}
    )
    return Play(history.state, cast, subjects, acts, frozenset({Ground.SECOND, Ground.REPLACEMENT, Ground.RETURN}))


def every(states: list[State], share: int) -> list[State]:
    return states[::share]


def test_two_parties_through_absence_hold_complaint_leaving_and_return_keep_every_promise_in_every_state() -> None:
    play = life(2)
    result = explore(play, INVARIANTS)
    report("life of two parties", result)
    assert result.complete
    for state in result.states:
        for silent in (frozenset[str](), frozenset("a"), frozenset("b")):
            honest_people_get_on(state, silent)


def test_two_parties_admit_a_third_person_only_as_both_approve_in_every_state() -> None:
    result = explore(admission(), INVARIANTS, limit=1500)
    report("admission", result)
    for state in every(result.states, 5):
        honest_people_get_on(state)


@pytest.mark.parametrize(("parties", "intermediary"), [(2, False), (2, True), (3, False)])
def test_founding_seats_only_who_the_charter_names_in_every_state(parties: int, intermediary: bool) -> None:
    result = explore(founding(parties, intermediary=intermediary), INVARIANTS, limit=1500)
    report(f"founding by {parties} parties{' and an intermediary' if intermediary else ''}", result)
    for state in every(result.states, 10):
        honest_people_get_on(state)


def test_three_parties_through_absence_complaint_leaving_and_return_keep_every_promise() -> None:
    play = life(3, hold=False)
    result = explore(play, INVARIANTS, limit=1500)
    report("life of three parties", result)
    for state in every(result.states, 20):
        for silent in (frozenset[str](), frozenset("a"), frozenset("b"), frozenset("bc")):
            honest_people_get_on(state, silent)


def test_inside_a_party_devices_are_added_replaced_recalled_and_held_and_every_promise_is_kept() -> None:
    result = explore(inside(), INVARIANTS, limit=1500)
    report("inside a party", result)
    for state in every(result.states, 25):
        honest_people_get_on(state)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["life", "life without hold", "admission", "founding", "inside"])
def test_the_same_holds_in_many_more_states(name: str) -> None:
    play = {
        "life": lambda: life(3),
        "life without hold": lambda: life(3, hold=False),
        "admission": admission,
        "founding": lambda: founding(3, intermediary=True),
        "inside": inside,
    }[name]()
    result = explore(play, INVARIANTS, limit=int(os.environ.get("POURPARLER_STATES", "4000")))
    report(name, result)
    for state in every(result.states, 10):
        honest_people_get_on(state)


def test_a_dead_end_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search can fail: if nobody could lift a hold, it would say so."""

    def refuse(state: State, subject: Open) -> None:
        raise Void("nobody lifts a hold")

    history = founded(2)
    history.post("b1", ev.Held(history.seat("b1")))
    history.commit("a1", history.removing("b1"))
    honest_people_get_on(history.state)
    monkeypatch.setitem(consent.CHECKS, Consent.OWN_LEFT, refuse)
    with pytest.raises(AssertionError, match="cannot come back"):
        honest_people_get_on(history.state)


def test_a_channel_in_which_nobody_is_left_to_attest_would_be_found() -> None:
    before = founded(2).state
    devices = {word: replace(device, phase=Phase.STRANDED) for word, device in before.devices.items()}
    with pytest.raises(AssertionError):
        somebody_attested_is_left_unless_they_left(before, None, replace(before, devices=devices))


def test_an_intruder_would_be_found() -> None:
    """The invariants can fail: a step that seats somebody without approval is reported."""
    history = founded(2)
    subject = Admit("a", Role.DELEGATE, card("a2"))
    history.post("a1", ev.Proposed(subject), ev.Approved(history.digest(subject)))
    before = history.state
    entry = history.handshake("a1", history.adding("a2", Ground.ADMISSION, history.digest(subject)))
    seat = replace(before.seats[history.seat("a1")], id=subject_digest(before.rules, subject))
    device = replace(
        before.devices[card("a1")], card=card("a2"), seat=seat.id, phase=Phase.LOBBY, credential=leaf("a2")
    )
    after = replace(before, seats={**before.seats, seat.id: seat}, devices={**before.devices, device.card: device})
    with pytest.raises(AssertionError):
        nobody_enters_without_every_party(before, entry, after)


def test_a_channel_is_opened_only_by_a_card_that_the_charter_names() -> None:
    play = founding(2, intermediary=False)
    named = next(iter(play.start.rules.founding))
    with pytest.raises(ValueError, match="names"):
        found(play.start.rules, replace(named, card=card("z1")), leaf("z1"), START)
