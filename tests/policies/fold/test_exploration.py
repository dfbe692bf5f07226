"""Every state that two or three parties can reach, honest or not, and what holds in each (DESIGN 2, 4.3).

Each act is tried by every device in the group, whatever it should do: that is what hostile devices are.
"""

import os
from dataclasses import replace

import pytest

from pourparler_policies.charter.rules import Role
from pourparler_policies.errors import Void
from pourparler_policies.fold import consent, found
from pourparler_policies.fold import events as ev
from pourparler_policies.fold.encoding import subject_digest
from pourparler_policies.fold.events import Ground
from pourparler_policies.fold.exploring import Explored, Play, explore
from pourparler_policies.fold.facts import (
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
from pourparler_policies.fold.promises import (
    INVARIANTS,
    honest_people_get_on,
    nobody_enters_without_every_party,
    somebody_attested_is_left_unless_they_left,
)
from pourparler_policies.fold.table import Consent
from pourparler_policies.fold.testing import DAY, START, History, card, founded, leaf, rules


def report(name: str, found_out: Explored) -> None:
    complete = "all of them" if found_out.complete else f"up to depth {found_out.depth}"
    print(f"{name}: {len(found_out.states)} states, {found_out.steps} steps that count, {complete}")


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
