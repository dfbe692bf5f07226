"""A round in the log: who may do what, when; and what ends it."""

from dataclasses import replace

import pytest

from pourparler_policies.charter.rules import Role
from pourparler_policies.errors import Void
from pourparler_policies.fold import subject_digest
from pourparler_policies.fold.events import Held
from pourparler_policies.fold.facts import Admit
from pourparler_policies.fold.renaming import Renaming
from pourparler_policies.fold.testing import card, leaf
from pourparler_policies.ideas import events
from pourparler_policies.ideas.facts import LONGEST_NOTICE, SETTLING, WINDOW, Phase, ground_of
from pourparler_policies.ideas.testing import LIFE, ROUND, call, circle, held, join, key, see, show
from pourparler_policies.release import step
from pourparler_policies.release.testing import Talks


def called(**changed: object) -> Talks:
    made = circle()
    call(made, **changed)
    return made


def test_a_round_goes_from_its_call_to_the_last_share() -> None:
    made = called()
    join(made, "a1", "b1", "c1")
    assert held(made).phase is Phase.GATHERING
    see(made, "a1", "b1")
    assert held(made).phase is Phase.COLLECTING
    see(made, "c1")
    show(made, "b1", "c1")
    assert held(made).phase is Phase.SHOWING
    show(made, "a1")
    assert held(made).phase is Phase.OPEN


def test_where_the_charter_has_no_ideas_or_only_two_are_present_no_round_is_called() -> None:
    with pytest.raises(Void, match="under this charter"):
        call(circle(allowed=False))
    with pytest.raises(Void, match="three people"):
        call(circle(2))
    call(circle(2, intermediary=True), "a1")  # an intermediary is a third


def test_two_who_join_are_too_few_and_the_round_ends_as_the_doors_close() -> None:
    made = called()
    join(made, "a1", "b1")
    made.now = held(made).doors
    made.attempt(made.event("a1", events.Failed(ROUND)))
    assert made.state.round is None


@pytest.mark.parametrize(
    "changed",
    [
        {"id": b"short"},
        {"about": b"short"},
        {"window": WINDOW[0] - 1},
        {"window": WINDOW[1] + 1},
        {"gather": 59},
        {"gather": 86_401},
        {"life": 0},
        {"life": LIFE + 1},
        {"tick": 0},
    ],
)
def test_a_call_that_is_not_of_the_rules_is_void(changed: dict[str, object]) -> None:
    with pytest.raises(Void):
        called(**changed)


def test_a_tick_is_not_too_near_to_join_and_not_too_far() -> None:
    made = circle()
    with pytest.raises(Void, match="ahead"):
        call(made, tick=made.now + 30)
    with pytest.raises(Void, match="ahead"):
        call(made, tick=made.now + LONGEST_NOTICE + 1)
    call(made, tick=made.now + LONGEST_NOTICE)


def test_there_is_one_round_at_a_time_and_the_next_after_it_has_opened() -> None:
    made = called()
    join(made, "a1", "b1", "c1")
    with pytest.raises(Void, match="one round"):
        call(made, "b1", id=b"s" * 16)
    see(made, "a1", "b1", "c1")
    show(made, "a1", "b1", "c1")
    with pytest.raises(Void, match="new number"):
        call(made, "b1")
    call(made, "b1", id=b"s" * 16)


def test_devices_join_only_while_people_gather_each_seat_once_and_with_a_key_of_its_own() -> None:
    made = called()
    with pytest.raises(Void, match="shortly before"):
        made.post("a1", events.Joined(ROUND, key("a1")))
    join(made, "a1")
    for word, given in (("a1", key("x")), ("b1", key("a1")), ("b1", b"short")):
        with pytest.raises(Void):
            made.post(word, events.Joined(ROUND, given))
    with pytest.raises(Void, match="no such round"):
        made.post("b1", events.Joined(b"s" * 16, key("b1")))
    made.now = held(made).doors
    with pytest.raises(Void):
        made.post("b1", events.Joined(ROUND, key("b1")))


def test_nobody_has_seen_a_list_before_the_window_is_over_nor_without_taking_part() -> None:
    made = circle(4)
    call(made)
    join(made, "a1", "b1", "c1")
    made.now = held(made).closes - 1
    with pytest.raises(Void, match="window"):
        made.post("a1", events.Seen(ROUND, b"d" * 32))
    made.now += 1
    with pytest.raises(Void, match="does not take part"):
        made.post("d1", events.Seen(ROUND, b"d" * 32))
    see(made, "a1")
    with pytest.raises(Void, match="has said"):
        see(made, "a1", digest=b"e" * 32)


def test_two_who_have_seen_different_lists_end_the_round_before_any_share_is_out() -> None:
    made = called()
    join(made, "a1", "b1", "c1")
    see(made, "a1", "b1")
    see(made, "c1", digest=b"e" * 32)
    assert made.state.round is None


def test_no_share_counts_before_all_have_seen_the_list() -> None:
    made = called()
    join(made, "a1", "b1", "c1")
    see(made, "a1", "b1")
    with pytest.raises(Void, match="collecting"):
        show(made, "a1")


def test_who_takes_part_can_give_it_up_and_nobody_else_once_somebody_has_joined() -> None:
    made = circle(4)
    call(made)
    made.post("d1", events.Failed(ROUND))  # a call that nobody has answered
    assert made.state.round is None
    call(made)
    join(made, "a1", "b1", "c1")
    with pytest.raises(Void, match="does not take part"):
        made.post("d1", events.Failed(ROUND))
    made.post("c1", events.Failed(ROUND))
    assert made.state.round is None


def test_a_hold_an_amended_charter_and_an_erased_session_end_it_and_an_attestation_does_not() -> None:
    made = called()
    join(made, "a1", "b1", "c1")
    before = made.state
    made.post("a1", Held(made.seat("a1")))
    assert made.state.round is None
    made.state = replace(before, consent=replace(before.consent, erased=before.consent.erased + 1))
    made.attempt(made.event("b1", events.Failed(ROUND)))
    assert made.state.round is None
    rules = replace(before.consent.rules, charter=b"x" * 32)
    made.state = replace(before, consent=replace(before.consent, rules=rules))
    made.attempt(made.event("b1", events.Failed(ROUND)))
    assert made.state.round is None


def test_a_day_after_the_window_it_is_over_whatever_is_missing() -> None:
    made = called()
    join(made, "a1", "b1", "c1")
    see(made, "a1")
    made.now = held(made).closes + SETTLING
    made.attempt(made.event("b1", events.Seen(ROUND, b"d" * 32)))
    assert made.state.round is None


class Renamed(Renaming):
    """Other names for the parties: cards, leaves, seats and the ground that is a hash of them follow."""

    def __init__(self, made: Talks, names: dict[str, str]) -> None:
        super().__init__(names)
        rules = made.state.consent.rules
        for body, other in names.items():
            word, new = f"{body}1", f"{other}1"
            self.held |= {card(word): card(new), leaf(word): leaf(new)}
            seats = [subject_digest(rules, Admit(one[0], Role.DELEGATE, card(one))) for one in (word, new)]
            self.held[seats[0]] = seats[1]
        ground = ground_of(made.state.consent)
        self.held[ground] = ground_of(self(made.state.consent))


def test_renaming_the_parties_renames_the_outcome_and_changes_nothing_else() -> None:
    made = circle()
    rename = Renamed(made, {"a": "b", "b": "c", "c": "a"})
    start = made.state
    call(made)
    join(made, "b1", "a1", "c1")
    see(made, "c1", "a1", "b1")
    made.attempt(made.event("a1", events.Joined(ROUND, key("late"))))
    show(made, "a1", "b1", "c1")
    state, other = start, rename(start)
    for entry in made.log:
        outcome, renamed = step(state, entry), step(other, rename(entry))
        assert outcome.void == renamed.void
        state, other = outcome.state, renamed.state
        assert rename(state) == other
    assert state.round is not None
    assert state.round.phase is Phase.OPEN
    assert rename(start) != start, "this renaming cannot fail"
