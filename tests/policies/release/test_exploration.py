"""Every state that two or three signers, their devices, the log and the desk can reach (DESIGN 2.4, 6).

Three walks over the real code: the log alone, where every device posts whatever it could; the rounds up to a
person's signature, with devices that lose everything; and from there to the end, over a network that loses,
repeats and reorders, with a desk that answers late. With a larger POURPARLER_STATES they go further.
"""

import os

import pytest

from pourparler_policies.fold import events as consent_events
from pourparler_policies.release import events as ev
from pourparler_policies.release import rounds, signing
from pourparler_policies.release.desk import Desk
from pourparler_policies.release.device import Stage
from pourparler_policies.release.exploring import Play, Walked, explore, frozen
from pourparler_policies.release.facts import Answer, Mark
from pourparler_policies.release.promises import (
    INVARIANTS,
    honest_people_get_to_a_frozen_text,
    time_ends_every_case,
)
from pourparler_policies.release.testing import between, talks

DELEGATE, PARTY = ("a1", "b1", "a2"), ("a1", "a2", "b1")  # whose is the last signer, who may be hostile
LIMIT = int(os.environ.get("POURPARLER_STATES", "40000"))
WORDING = frozenset({ev.Revised, ev.Initialled, ev.Retracted, ev.Opposed, ev.Relented, ev.Appointed, ev.First})
ROUNDS = frozenset({ev.First, ev.Second, ev.Third, ev.Completed, ev.Told})


def report(name: str, walked: Walked[object]) -> None:
    extent = "all of them" if walked.complete else "up to the limit"
    print(f"{name}: {len(walked.found)} states, {walked.steps} steps that count, {extent}")


def play_of_delegates() -> Play:
    """One party asks two people, who both sign; of the other one is enough."""
    made = between(PARTY)
    made.appoint(*PARTY)
    return Play(made.state, PARTY, ROUNDS, rounds=1)


def play(parties: int, kinds: frozenset[type], *, initialled: bool = False, rounds: int = 2) -> Play:
    made, cast = talks(parties), tuple(f"{body}1" for body in "abc"[:parties])
    made.draft()
    if initialled:
        made.initial(*cast)
        made.post("a1", made.appointment())
    return Play(made.state, cast, kinds, rounds)


def test_two_parties_word_edit_initial_object_and_appoint_and_every_promise_is_kept_in_every_state() -> None:
    result = explore(play(2, WORDING | {consent_events.Complained}, rounds=1), INVARIANTS, limit=LIMIT)
    report("wording", result)
    assert result.complete
    for state in result.found[::5]:
        time_ends_every_case(state)
        honest_people_get_to_a_frozen_text(state)


@pytest.mark.parametrize(("parties", "number"), [(2, 2), (3, 1)])
def test_rounds_begin_restart_freeze_and_end_in_the_log_and_every_promise_is_kept(
    parties: int, number: int
) -> None:
    made = play(parties, ROUNDS, initialled=True, rounds=number)
    result = explore(made, INVARIANTS, limit=LIMIT)
    report(f"rounds of {parties} in the log", result)
    assert result.complete
    assert any(frozen(state) for state in result.found)
    assert any(Mark.PUBLISHED in state.released.values() for state in result.found)
    for state in result.found[::10]:
        time_ends_every_case(state)
        honest_people_get_to_a_frozen_text(state)


@pytest.mark.slow
def test_rounds_of_a_party_that_asks_two_people_freeze_with_both_of_them_and_every_promise_is_kept() -> None:
    result = explore(play_of_delegates(), INVARIANTS, limit=LIMIT)
    report("rounds with a further delegate in the log", result)
    assert result.complete
    assert any(frozen(state) for state in result.found)
    for state in result.found[::10]:
        time_ends_every_case(state)


@pytest.mark.parametrize(
    "cast",
    [
        rounds.Cast(2),
        rounds.Cast(2, hostile=True),
        rounds.Cast(3, hostile=True, edits=False),
        rounds.Cast(3, edits=False),
        rounds.Cast(3, names=DELEGATE, hostile=True, edits=False),
        rounds.Cast(3, names=PARTY, hostile=True, edits=False),
        rounds.Cast(3, names=PARTY, edits=False),
    ],
    ids=[
        "two",
        "two, one hostile",
        "three, one hostile",
        "three",
        "a hostile delegate",
        "delegates, the other party hostile",
        "delegates",
    ],
)
def test_devices_that_lose_everything_and_a_hostile_signer_never_make_anybody_sign_what_is_not_frozen(
    cast: rounds.Cast,
) -> None:
    result = rounds.explore(cast, limit=LIMIT // 2 if cast.honest == 3 else LIMIT)
    report("rounds", result)
    assert result.complete or cast.honest == 3
    assert any(any(world.signed) for world in result.found), "nobody ever signs: nothing was tested"


@pytest.mark.slow
@pytest.mark.parametrize(
    "cast",
    [
        signing.Cast(2),
        signing.Cast(2, hostile=True, shaken=True, forgetful=True),
        signing.Cast(2, hostile=True, lying=True, fast=True),
        signing.Cast(3, hostile=True, votes=False, forgetful=True),
        signing.Cast(3, votes=False),
        signing.Cast(3, names=DELEGATE, hostile=True, votes=False, forgetful=True),
        signing.Cast(3, names=PARTY, hostile=True, votes=False),
        signing.Cast(3, names=PARTY, votes=False),
    ],
    ids=[
        "two",
        "two, one hostile",
        "two, one hostile, lying desk, fast clock",
        "three, one hostile",
        "three",
        "a hostile delegate",
        "delegates, the other party hostile",
        "delegates",
    ],
)
def test_published_means_that_every_party_signed_exactly_that_text_and_an_end_leaves_nothing(
    cast: signing.Cast,
) -> None:
    result = signing.explore(cast, limit=LIMIT // 4 if cast.honest == 3 else LIMIT)
    report("signing", result)
    assert result.complete or cast.honest == 3
    if result.complete:
        everything_happens(cast, result)


def everything_happens(cast: signing.Cast, result: Walked[signing.World]) -> None:
    """A walk in which nothing is ever published, withdrawn or stopped would prove nothing."""
    stages = {own.stage for world in result.found for own in world.owned}
    assert stages >= set(Stage) - {Stage.COMMITTED, Stage.REVEALED, Stage.PREPARED}
    assert {world.desk.phase for world in result.found} == set(Desk)
    assert any(signing.public(cast, w) and Answer.PUBLISHED not in w.shown for w in result.found), "never by hand"
    assert any(
        world.desk.phase is Desk.PUBLISHED and all(own.stage is Stage.PUBLISHED for own in world.owned)
        for world in result.found
    )


def test_where_the_charter_lets_nobody_stop_it_nobody_does() -> None:
    found = signing.explore(signing.Cast(2, stop=False), limit=LIMIT).found
    assert not any(world.desk.phase is Desk.STOPPED for world in found)
    assert not any(own.stage is Stage.STOPPING for world in found for own in world.owned)
