"""A case on one signer's device: who may sign when, what is asked again, owed and erased (DESIGN 6.2)."""

from dataclasses import replace

import pytest

from pourparler_policies.errors import Misuse
from pourparler_policies.fold.events import Complained
from pourparler_policies.release import device
from pourparler_policies.release import events as ev
from pourparler_policies.release.device import Cue, Duty, Own, Secret, Stage
from pourparler_policies.release.facts import GRACE, Answer
from pourparler_policies.release.testing import DAY, Talks, nonce, talks


def at(stage: Stage, made: Talks, word: str = "a1") -> Own:
    return replace(device.joined(made.case, made.seat(word), nonce(1)), stage=stage)


def frozen() -> Talks:
    made = talks(2)
    made.freeze("a1", "b1")
    return made


def watched(own: Own, made: Talks, *, sound: bool = True, opened: bool = False) -> Own:
    """The device folds to the head and follows it."""
    while (cue := device.watch(own, made.state, sound=sound, opened=opened)) is not None:
        own = device.follow(own, cue, made.now)
    return own


def test_the_rounds_run_by_themselves_and_end_with_a_question_to_the_person() -> None:
    made = talks(2)
    made.appoint("a1", "b1")
    own = device.joined(made.case, made.seat("a1"), nonce(1))
    assert own.owes == {Duty.FIRST}
    assert watched(own, made) == own
    made.commit("a1", "b1")
    own = watched(own, made)
    assert (own.stage, own.owes) == (Stage.REVEALED, {Duty.SECOND})
    made.reveal("a1", "b1")
    own = watched(own, made)
    assert own.owes == {Duty.THIRD}
    assert own.holds == {Secret.LOCK, Secret.MASK}
    with pytest.raises(Misuse, match="prepared"):
        device.act(own, Cue.SIGN, made.state, made.now)
    made.prepare("a1", "b1")
    own = watched(own, made)
    assert own.stage is Stage.ASKED
    assert not own.owes
    signed = device.act(own, Cue.SIGN, made.state, made.now)
    assert signed.owes == {Duty.SIGN}
    assert signed.unfinished


def test_a_device_that_comes_late_catches_up_with_a_round_that_went_on() -> None:
    assert watched(at(Stage.PREPARED, frozen()), frozen()).stage is Stage.ASKED


def test_a_message_that_does_not_fit_ends_it_for_this_device_before_anybody_is_asked() -> None:
    own = watched(at(Stage.PREPARED, frozen()), frozen(), sound=False)
    assert own.stage is Stage.BARRED
    assert not own.holds


def test_a_first_message_under_another_nonce_makes_every_device_forget_the_round() -> None:
    made = talks(2)
    made.appoint("a1", "b1")
    made.commit("a1", "b1")
    own = watched(at(Stage.COMMITTED, made), made)
    made.commit("b1", number=2)
    assert watched(own, made).stage is Stage.CLEARED


def test_a_device_waits_until_its_first_message_is_in_the_log_and_gives_up_when_it_no_longer_can_be() -> None:
    made = talks(2)
    made.appoint("a1", "b1")
    own = device.joined(made.case, made.seat("a1"), nonce(1))
    assert device.watch(own, made.state, sound=True, opened=False) is None
    made.commit("a1", number=2)
    assert device.watch(own, made.state, sound=True, opened=False) is None  # its own may still begin anew
    made.post("b1", ev.First(nonce(1), 0, b"u"), ev.First(nonce(3), 0, b"u"))
    assert device.watch(own, made.state, sound=True, opened=False) is Cue.VOIDED


def test_nobody_signs_late_or_what_is_over_or_when_something_changed_since() -> None:
    made = frozen()
    own = at(Stage.ASKED, made)
    with pytest.raises(Misuse, match="time to sign is over"):
        device.act(own, Cue.SIGN, made.state, made.case.sign_by)
    with pytest.raises(Misuse, match="the round is void"):
        device.act(replace(own, nonce=nonce(2)), Cue.SIGN, made.state, made.now)
    made.post("b1", Complained())
    with pytest.raises(Misuse, match="a party cannot act"):
        device.act(own, Cue.SIGN, made.state, made.now)


def test_a_person_may_withdraw_after_signing_and_the_lock_is_gone_at_once() -> None:
    made = frozen()
    own = device.act(at(Stage.SIGNED, made), Cue.WITHDRAW, made.state, made.now)
    assert own.holds == {Secret.MASK}
    assert own.owes == {Duty.WITHDRAW}
    late = device.follow(own, Cue.COMPLETE, made.now)
    assert late.stage is Stage.TOO_LATE
    assert Secret.LOCK not in late.holds
    assert late.owes == at(Stage.AGAIN, made).owes  # outside it looks like everybody who saw "complete"


def test_after_lapsed_a_late_complete_asks_the_person_again() -> None:
    made = frozen()
    own = device.follow(at(Stage.SIGNED, made), Cue.LAPSED, made.now + DAY)
    assert own.stage is Stage.WAITING
    assert own.holds == {Secret.LOCK, Secret.MASK}
    assert own.answer is Answer.LAPSED
    made.now += DAY
    made.told(Answer.LAPSED, "a1")
    made.post("b1", ev.Completed(nonce(1)))
    own = watched(own, made, opened=True)
    assert own.stage is Stage.AGAIN
    with pytest.raises(Misuse, match="takes this case for lapsed"):
        device.act(own, Cue.AGREE, made.state, made.now)
    made.post("a1", ev.Completed(nonce(1)))
    assert made.case.signers[own.seat].answer is None
    assert device.act(own, Cue.AGREE, made.state, made.now).owes == {Duty.RELAY, Duty.DEPOSIT}
    assert device.act(own, Cue.REFUSE, made.state, made.now).stage is Stage.TOO_LATE


def test_a_day_after_lapsed_the_lock_is_erased() -> None:
    made = frozen()
    told = made.now + DAY
    own = device.follow(at(Stage.SIGNED, made), Cue.LAPSED, told)
    assert device.due(own, told + GRACE - 1, told + GRACE - 1) is None
    assert device.due(own, told + GRACE, told + GRACE) is Cue.GRACE
    assert not device.follow(own, Cue.GRACE, told + GRACE).holds


def test_when_something_changed_since_a_complete_release_asks_the_person_again() -> None:
    made = frozen()
    own = at(Stage.SIGNED, made)
    made.post("b1", Complained())
    assert device.heard(Answer.COMPLETE, made.state) is Cue.COMPLETE_UNSETTLED
    assert device.follow(own, Cue.COMPLETE_UNSETTLED, made.now).stage is Stage.AGAIN


def test_the_desks_answers_are_heard_and_an_open_case_says_nothing() -> None:
    made = frozen()
    assert device.heard(Answer.OPEN, made.state) is None
    assert device.heard(Answer.COMPLETE, made.state) is Cue.COMPLETE
    answers = [Answer.LAPSED, Answer.STOPPED, Answer.PUBLISHED]
    assert [device.heard(answer, made.state) for answer in answers] == [Cue.LAPSED, Cue.STOPPED, Cue.PUBLISHED]


def test_a_stop_is_possible_until_the_charters_time() -> None:
    made = frozen()
    own = at(Stage.COMPLETE, made)
    assert device.act(own, Cue.STOP, made.state, made.case.stop_by - 1).owes >= {Duty.STOP}
    with pytest.raises(Misuse, match="no longer be stopped"):
        device.act(own, Cue.STOP, made.state, made.case.stop_by)


def test_a_silent_desk_after_the_hour_lets_the_signers_complete_by_themselves() -> None:
    made = frozen()
    own = at(Stage.COMPLETE, made)
    assert device.due(own, made.case.not_before - 1, made.case.not_before - 1) is None
    assert device.due(own, made.case.not_before, made.case.not_before - 1) is None  # its own clock is fast
    assert device.due(own, made.case.not_before, made.case.not_before) is Cue.SILENT
    assert Duty.UNLOCK in device.follow(own, Cue.SILENT, made.now).owes
    assert device.due(at(Stage.STOPPING, made), made.case.not_before, made.case.not_before) is None


@pytest.mark.parametrize("stage", [stage for stage in Stage if device.HOLDS[stage]])
def test_whatever_a_device_holds_is_erased_by_its_own_clock_at_last(stage: Stage) -> None:
    made = frozen()
    own = at(stage, made)
    while (cue := device.due(own, made.case.ends, made.case.ends)) is not None:
        own = device.follow(own, cue, made.case.ends)
    assert not own.holds


@pytest.mark.parametrize("stage", [Stage.COMMITTED, Stage.PREPARED, Stage.ASKED])
def test_who_has_not_signed_keeps_nothing_a_day_after_the_sign_deadline(stage: Stage) -> None:
    made = talks(2)
    made.draft(not_before=made.now + 20 * DAY)
    made.freeze("a1", "b1")
    own, late = at(stage, made), made.case.sign_by + GRACE
    cue = device.due(own, late, late)
    assert cue is Cue.LATE
    assert not device.follow(own, cue, late).holds


def test_what_comes_late_or_again_changes_nothing() -> None:
    made = frozen()
    for stage in Stage:
        own = at(stage, made)
        for cue in set(Cue) - set(device.STEPS[stage]):
            assert device.follow(own, cue, made.now) == own


def test_only_a_person_does_what_a_person_does() -> None:
    made = frozen()
    with pytest.raises(Misuse, match="cannot be done now"):
        device.act(at(Stage.SIGNED, made), Cue.COMPLETE, made.state, made.now)
