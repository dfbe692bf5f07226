"""The life of a channel and of its seats, told act by act (DESIGN 4.3)."""

import pytest

from pourparler_policies.charter.rules import Role
from pourparler_policies.errors import Void
from pourparler_policies.fold import dormant, standing, step, waits_for
from pourparler_policies.fold import events as ev
from pourparler_policies.fold.events import Ground
from pourparler_policies.fold.facts import (
    Adjourn,
    Admit,
    Close,
    Erase,
    Expel,
    Lift,
    Phase,
    Recall,
    Recess,
    Replace,
)
from pourparler_policies.fold.testing import DAY, NOTICE, START, History, card, founded, leaf, rules


def phase(history: History, word: str) -> Phase:
    return history.device(word).phase


def admitted(history: History, word: str, *approving: str, role: Role = Role.DELEGATE) -> None:
    digest = history.agree(Admit(word[0], role, card(word)), *approving)
    history.commit(approving[0], history.adding(word, Ground.ADMISSION, digest))


def test_a_party_opens_a_channel_and_the_others_are_seated_as_the_charter_names_them() -> None:
    history = founded(3)
    assert history.state.founded
    assert not dormant(history.state)
    assert all(not waits_for(history.state, body) for body in "abc")


def test_an_intermediary_opens_a_channel_for_parties_that_do_not_sit_together_yet() -> None:
    history = founded(2, intermediary=True)
    assert history.opener == "m1"
    assert not dormant(history.state)


def test_while_a_newcomer_is_unattested_nobody_speaks_anybody_may_remove_it_and_its_approval_stays() -> None:
    history = founded(2)
    admitted(history, "a2", "a1", "b1")
    assert [device.card for device in waits_for(history.state, "b")] == [card("a2")]
    history.meet("a2", "a1")  # not every party yet
    assert phase(history, "a2") is Phase.LOBBY
    history.commit("b1", history.removing("a2"))
    assert not waits_for(history.state, "b")
    assert phase(history, "a2") is Phase.EXPECTED
    history.commit("a1", history.adding("a2", Ground.RETURN))
    history.meet("a2", "a1", "b1")
    assert phase(history, "a2") is Phase.PRESENT


def test_a_party_that_thinks_again_keeps_somebody_out_until_the_last_moment() -> None:
    history = founded(2)
    admitted(history, "a2", "a1", "b1")
    history.commit("b1", history.removing("a2"))
    history.post("b1", ev.Cancelled(card("a2")))
    with pytest.raises(Void, match="no place to come back to"):
        history.commit("a1", history.adding("a2", Ground.RETURN))


def test_one_approval_seats_one_card_once() -> None:
    history = founded(2)
    digest = history.agree(Admit("a", Role.DELEGATE, card("a2")), "a1", "b1")
    history.commit("a1", history.adding("a2", Ground.ADMISSION, digest))
    with pytest.raises(Void, match="on the table"):
        history.commit("a1", history.adding("a3", Ground.ADMISSION, digest))


def test_an_approval_withdrawn_before_the_add_is_none_and_one_withdrawn_after_it_comes_too_late() -> None:
    history = founded(2)
    digest = history.agree(Admit("a", Role.DELEGATE, card("a2")), "a1", "b1")
    add = history.handshake("a1", history.adding("a2", Ground.ADMISSION, digest))
    withdrawal = history.event("b1", ev.Withdrawn(digest))
    assert step(step(history.state, withdrawal).state, add).void
    after_add = step(history.state, add)
    assert not after_add.void
    assert step(after_add.state, withdrawal).void


def test_an_inviter_that_attests_its_own_newcomer_alone_does_not_open_the_lobby() -> None:
    history = founded(3)
    admitted(history, "a2", "a1", "b1", "c1")
    history.meet("a2", "a1", "b1")
    assert phase(history, "a2") is Phase.LOBBY
    history.meet("a2", "c1")
    assert phase(history, "a2") is Phase.PRESENT


def test_attestations_by_the_unattested_count_for_nobody_else() -> None:
    history = founded(2)
    admitted(history, "a2", "a1", "b1")
    history.post("a2", ev.Attested(history.device("b1").credential))
    assert "a2" not in history.device("b1").by
    assert history.device("b1").by == {"a"}


def test_a_device_that_was_removed_has_to_be_attested_anew() -> None:
    history = founded(2)
    history.post("b1", ev.Complained())
    history.commit("a1", history.adding("b1", Ground.RETURN, removed=(leaf("b1"),)))
    assert phase(history, "b1") is Phase.RETURNING
    assert not history.device("b1").by
    assert dormant(history.state)
    history.meet("b1", "a1")
    assert phase(history, "b1") is Phase.PRESENT
    assert not dormant(history.state)


def test_a_complaint_lets_anybody_seat_the_card_again_once() -> None:
    history = founded(3)
    history.post("c1", ev.Complained())
    history.commit("b1", history.adding("c1", Ground.RETURN, removed=(history.device("c1").credential,)))
    with pytest.raises(Void, match="in the group"):
        history.commit("b1", history.adding("c1", Ground.RETURN))


def test_absence_needs_a_vote_of_every_other_present_party_and_the_notice() -> None:
    history = founded(3)
    history.post("a1", ev.Absent(history.device("c1").credential))
    history.now += NOTICE
    with pytest.raises(Void, match="absent"):
        history.commit("a1", history.removing("c1"))
    history.post("b1", ev.Absent(history.device("c1").credential))
    with pytest.raises(Void, match="absent"):
        history.commit("a1", history.removing("c1"))
    history.now += NOTICE
    history.commit("a1", history.removing("c1"))
    assert phase(history, "c1") is Phase.AWAY
    assert dormant(history.state)
    history.commit("a1", history.adding("c1", Ground.RETURN))
    history.meet("c1", "a1", "b1")
    assert not dormant(history.state)


def test_two_parties_that_are_both_away_do_not_keep_each_others_leaves_in() -> None:
    history = founded(3)
    for word in ("b1", "c1"):
        history.post("a1", ev.Absent(history.device(word).credential))
    history.now += NOTICE
    history.commit("a1", history.removing("b1"))
    history.commit("a1", history.removing("c1"))
    history.end("a1")
    assert history.state.closed


def test_a_service_that_dates_an_entry_back_makes_nothing_younger() -> None:
    history = founded(2)
    history.post("a1", ev.Absent(history.device("b1").credential))
    history.now += NOTICE
    history.commit("b1", history.updating("b1"))
    history.now -= NOTICE
    history.post("a1", ev.Absent(history.device("b1").credential))
    assert history.device("b1").absent == {"a": START + NOTICE}


def test_a_side_that_will_not_attest_who_returns_keeps_nobody_out_and_silences_nobody_else() -> None:
    history = founded(3)
    history.post("c1", ev.Complained())
    history.commit("a1", history.removing("c1"))
    history.commit("a1", history.adding("c1", Ground.RETURN))
    history.meet("c1", "a1")
    with pytest.raises(Void, match="absent"):
        history.commit("b1", history.removing("c1"))
    assert not waits_for(history.state, "a")
    assert waits_for(history.state, "b")  # b itself waits until it has attested c
    assert dormant(history.state)  # and c's word counts only then


def test_a_hold_by_the_own_side_takes_effect_at_once_and_is_lifted_by_the_own_side() -> None:
    history = founded(2, delegates=2)
    history.post("b1", ev.Held(history.seat("b2")))
    assert waits_for(history.state, "a")  # its leaf has to go first
    history.commit("a1", history.removing("b2"))
    assert phase(history, "b2") is Phase.HELD
    history.enact(Lift(history.seat("b2")), "b1")
    history.commit("a1", history.adding("b2", Ground.RETURN))
    history.meet("b2", "a1", "b1")
    assert phase(history, "b2") is Phase.PRESENT


def test_who_put_the_own_place_on_hold_before_a_journey_comes_back_when_another_vouches() -> None:
    history = founded(2)
    history.post("b1", ev.Held(history.seat("b1")))
    history.commit("a1", history.removing("b1"))
    history.enact(Lift(history.seat("b1")), "a1")
    history.commit("a1", history.adding("b1", Ground.RETURN))
    assert phase(history, "b1") is Phase.RETURNING


def test_somebody_on_hold_neither_blocks_nor_approves() -> None:
    history = founded(2, delegates=2)
    digest = history.agree(Recess(START + DAY), "a1", "b2")
    history.post("b2", ev.Objected(digest))
    history.post("b1", ev.Held(history.seat("b2")))
    with pytest.raises(Void, match="not every party has approved"):
        history.post("a1", ev.Enacted(digest))
    history.post("b1", ev.Approved(digest))
    history.post("a1", ev.Enacted(digest))
    assert history.state.recess == START + DAY


def test_an_objection_outlives_the_absence_of_who_objected() -> None:
    history = founded(2, delegates=2)
    digest = history.agree(Recess(START + 30 * DAY), "a1", "b1")
    history.post("b2", ev.Objected(digest))
    history.post("a1", ev.Absent(history.device("b2").credential))
    history.now += NOTICE
    history.post("b1", ev.Complained())  # nobody of b stands now: b's vote is not needed for its own seat anyway
    history.commit("a1", history.removing("b2"))
    history.commit("a1", history.adding("b1", Ground.RETURN, removed=(history.device("b1").credential,)))
    history.meet("b1", "a1", "a2")
    with pytest.raises(Void, match="objects"):
        history.post("a1", ev.Enacted(digest))


def test_a_recess_keeps_everybody_on_the_roster() -> None:
    history = founded(2)
    history.enact(Recess(START + 100 * DAY), "a1", "b1")
    history.now += 99 * DAY
    with pytest.raises(Void, match="recess"):
        history.post("a1", ev.Absent(history.device("b1").credential))
    history.now += 2 * DAY
    history.post("a1", ev.Absent(history.device("b1").credential))


def test_a_second_device_is_added_by_the_first_and_nobody_need_approve() -> None:
    history = founded(2)
    history.commit("a1", history.adding("a9", Ground.SECOND))
    history.meet("a9", "a1", "b1")
    assert history.seat("a9") == history.seat("a1")
    history.post("a9", ev.Discarded(card("a1")))
    history.commit("b1", history.removing("a1"))
    assert not dormant(history.state)


def test_nobody_sits_on_a_card_that_the_charter_keeps_for_another() -> None:
    named = {w: (w[0], Role.DELEGATE) for w in ("a1", "b1", "b2")}
    history = History(rules({"a": 1, "b": 1}, named), "a1")
    history.seat_founder("b1", "a1")
    with pytest.raises(Void, match="seat of its own"):
        history.commit("a1", history.adding("b2", Ground.SECOND))


def test_a_lost_phone_is_replaced_by_the_own_side_and_one_other_and_the_old_leaf_goes_with_the_same_commit() -> (
    None
):
    history = founded(2, delegates=2)
    subject = Replace(history.seat("a2"), card("a2"), card("a9"))
    digest = history.agree(subject, "a1", "b1")
    history.commit("b1", history.adding("a9", Ground.REPLACEMENT, digest, (history.device("a2").credential,)))
    assert card("a2") not in history.state.devices
    history.meet("a9", "a1", "b1")
    assert history.state.seats[history.seat("a9")].role is Role.DELEGATE


def test_a_delegate_cannot_take_the_heads_place_with_the_other_sides_help() -> None:
    history = founded(2, delegates=2, rule=0)  # a1 and b1 are heads
    history.post("a2", ev.Held(history.seat("a1")))
    history.commit("b1", history.removing("a1"))
    digest = history.agree(Replace(history.seat("a1"), card("a1"), card("a9")), "a2", "b1")
    with pytest.raises(Void, match="own body has not approved"):
        history.commit("b1", history.adding("a9", Ground.REPLACEMENT, digest))
    assert dormant(history.state)


def test_somebody_called_back_cannot_be_brought_back_by_the_other_side() -> None:
    history = founded(2, delegates=2)
    history.enact(Recall(history.seat("a2")), "a1")
    history.commit("b1", history.removing("a2"))
    history.post("a1", ev.Complained())
    history.commit("b1", history.removing("a1"))  # a cannot act now
    subject = Admit("a", Role.DELEGATE, card("a2"))
    digest = history.agree(subject, "b1")
    with pytest.raises(Void, match="seated before"):
        history.commit("b1", history.adding("a2", Ground.FOUNDING, digest))


def test_a_card_in_reserve_brings_back_a_party_that_cannot_act() -> None:
    named = {"a1": ("a", Role.HEAD), "b1": ("b", Role.HEAD), "a2": ("a", Role.HEAD)}
    history = History(rules({"a": 0, "b": 0}, named), "a1")
    history.seat_founder("b1", "a1")
    history.post("a1", ev.Complained())
    history.commit("b1", history.removing("a1"))
    assert dormant(history.state)
    history.seat_founder("a2", "b1")
    assert not dormant(history.state)


def test_a_party_strikes_out_its_own_reserve_card_and_no_other_party_can() -> None:
    named = {"a1": ("a", Role.HEAD), "b1": ("b", Role.HEAD), "a2": ("a", Role.HEAD)}
    history = History(rules({"a": 0, "b": 0}, named), "a1")
    history.seat_founder("b1", "a1")
    with pytest.raises(Void, match="nobody with this card"):
        history.post("b1", ev.Cancelled(card("a2")))
    history.post("a1", ev.Cancelled(card("a2")))
    assert card("a2") in history.state.spent


def test_when_the_head_leaves_for_good_the_delegates_decide_together() -> None:
    history = founded(2, delegates=3, rule=0)
    history.post("a1", ev.Leaving())
    history.commit("b1", history.removing("a1"))
    assert standing.able(history.state, "a")
    digest = history.agree(Recess(START + DAY), "a2", "b1")
    with pytest.raises(Void, match="not every party"):
        history.post("b1", ev.Enacted(digest))
    history.post("a3", ev.Approved(digest))
    history.post("b1", ev.Enacted(digest))


def test_k_of_the_delegates_means_k_also_when_others_removed_some() -> None:
    history = founded(2, delegates=3, rule=2)
    for word in ("a2", "a3"):
        history.post("b1", ev.Absent(history.device(word).credential))
    history.now += NOTICE
    for word in ("a2", "a3"):
        history.commit("b1", history.removing(word))
    assert dormant(history.state)


def test_expulsion_needs_the_persons_own_side() -> None:
    history = founded(2, delegates=2)
    digest = history.agree(Expel(history.seat("b2")), "a1", "a2")
    with pytest.raises(Void, match="not every party"):
        history.post("a1", ev.Enacted(digest))
    history.post("b2", ev.Objected(digest))  # who is concerned cannot block it
    history.post("b1", ev.Approved(digest))
    history.post("a1", ev.Enacted(digest))
    history.commit("a1", history.removing("b2"))
    assert card("b2") not in history.state.devices


def test_an_acceptance_subject_to_confirmation_counts_when_home_has_confirmed() -> None:
    history = founded(2)
    digest = history.agree(Recess(START + DAY), "a1")
    history.post("b1", ev.Approved(digest, confirm=True))
    with pytest.raises(Void, match="not every party"):
        history.post("a1", ev.Enacted(digest))
    history.post("b1", ev.Approved(digest))
    history.post("a1", ev.Enacted(digest))


def test_who_leaves_is_gone_with_the_next_commit_and_their_word_with_them() -> None:
    history = founded(2, delegates=2)
    digest = history.agree(Close(), "a1", "b2")
    history.post("b2", ev.Leaving())
    history.commit("a1", history.removing("b2"))
    assert not [seat for seat in history.state.open[digest].approvals if seat not in history.state.seats]
    with pytest.raises(Void, match="not every party"):
        history.post("a1", ev.Enacted(digest))


def test_an_impostor_brought_back_by_one_party_neither_speaks_for_the_person_nor_ends_the_place() -> None:
    history = founded(3)
    history.post("c1", ev.Complained())
    history.commit("a1", history.adding("c1", Ground.RETURN, removed=(history.device("c1").credential,)))
    history.meet("c1", "a1")  # a1 lies; b1 attests nothing
    for event in (ev.Proposed(Close()), ev.Held(history.seat("c1")), ev.Discarded(card("c1")), ev.Approved(b"")):
        with pytest.raises(Void, match="not every party that is present"):
            history.post("c1", event)
    history.post("c1", ev.Leaving())
    history.commit("b1", history.removing("c1"))
    assert phase(history, "c1") is Phase.AWAY


def test_a_session_is_erased_up_to_an_entry_when_every_party_agrees() -> None:
    history = founded(2)
    history.enact(Erase(3), "a1", "b1")
    history.enact(Erase(2), "a1", "b1")
    assert history.state.erased == 3


def test_an_hour_for_the_end_of_a_session_needs_every_party_and_gives_way_to_another_that_every_party_agrees_on() -> (
    None
):
    history = founded(2)
    digest = history.agree(Adjourn(START + DAY), "a1")
    with pytest.raises(Void, match="not every party has approved"):
        history.post("a1", ev.Enacted(digest))
    history.post("b1", ev.Approved(digest), ev.Enacted(digest))
    assert history.state.adjourned == START + DAY
    history.now += DAY
    history.enact(Adjourn(START + 2 * DAY), "a1", "b1")
    assert history.state.adjourned == START + 2 * DAY
