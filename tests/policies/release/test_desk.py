"""A case at the desk: nothing shows before all have signed, and nothing stays after the end (DESIGN 6.3)."""

import pytest

from pourparler_policies.errors import Misuse
from pourparler_policies.release import desk
from pourparler_policies.release.desk import Desk, Held, Kept
from pourparler_policies.release.facts import Answer

SIGN_BY, DEPOSIT_BY, HOUR, STOP_BY = 100, 200, 300, 250


def case(signers: int = 3) -> Held:
    return desk.opened(signers, SIGN_BY, DEPOSIT_BY, HOUR, STOP_BY, 0)


def complete(signers: int = 3) -> Held:
    held = case(signers)
    for signer in range(signers):
        held = desk.sign(held, signer, 1)
    return held


def full(signers: int = 3) -> Held:
    held = complete(signers)
    for signer in range(signers):
        held = desk.deposit(held, signer, 110)
    return held


def test_masks_are_shown_all_at_once_and_not_counted_before() -> None:
    held = case()
    for signer in (2, 0, 2, 0):
        held = desk.sign(held, signer, 1)
        assert held.answer is Answer.OPEN
    assert desk.sign(held, 1, 99).answer is Answer.COMPLETE


def test_at_its_hour_a_full_case_is_published_and_not_before() -> None:
    held = full()
    assert held.phase is Desk.FULL
    assert held.answer is Answer.COMPLETE
    assert desk.tick(held, HOUR - 1).answer is Answer.COMPLETE
    assert desk.tick(held, HOUR).answer is Answer.PUBLISHED


@pytest.mark.parametrize("signers", range(3))
def test_a_case_that_lapses_is_the_same_whoever_had_signed_or_withdrawn(signers: int) -> None:
    held = case()
    for signer in range(signers):
        held = desk.sign(held, signer, 1)
    withdrawn = desk.withdraw(held, 0, 2)
    assert withdrawn.answer is held.answer is Answer.OPEN
    assert not withdrawn.masks
    assert desk.tick(held, SIGN_BY) == desk.tick(withdrawn, SIGN_BY) == desk.tick(case(), SIGN_BY)


def test_a_signature_that_arrives_after_its_withdrawal_is_not_one() -> None:
    held = desk.withdraw(desk.sign(case(2), 0, 1), 0, 2)
    for signer in (0, 1, 0):
        held = desk.sign(held, signer, 3)
    assert held.answer is Answer.OPEN
    assert desk.tick(held, SIGN_BY).answer is Answer.LAPSED


def test_a_withdrawal_after_the_last_signature_comes_too_late_at_the_desk() -> None:
    assert desk.withdraw(complete(), 0, 2) == complete()


def test_without_every_lock_by_its_deadline_a_complete_case_lapses_and_nothing_stays() -> None:
    held = desk.deposit(complete(), 0, 110)
    lapsed = desk.tick(held, DEPOSIT_BY)
    assert lapsed.answer is Answer.LAPSED
    assert not lapsed.keeps
    assert lapsed == desk.tick(case(), SIGN_BY)
    assert desk.deposit(lapsed, 1, DEPOSIT_BY) == desk.sign(lapsed, 1, DEPOSIT_BY) == lapsed


def test_a_stop_counts_until_the_charters_time_and_not_after() -> None:
    for held in (complete(), full()):
        assert desk.stop(held, 1, 150).answer is Answer.STOPPED
        assert not desk.stop(held, 1, 150).keeps
    assert desk.stop(full(), 1, STOP_BY).answer is Answer.COMPLETE
    assert desk.stop(case(), 1, 1) == case()
    never = desk.opened(1, SIGN_BY, DEPOSIT_BY, HOUR, 0, 0)
    assert desk.stop(desk.sign(never, 0, 1), 0, 2).answer is Answer.COMPLETE


def test_a_late_call_finds_the_deadline_passed() -> None:
    assert desk.sign(desk.sign(case(2), 0, 1), 1, SIGN_BY).answer is Answer.LAPSED
    assert desk.deposit(full(), 0, 10**6).answer is Answer.PUBLISHED
    assert desk.tick(full(), 10**6).keeps == {Kept.NOTE}


@pytest.mark.parametrize(
    ("signers", "times"),
    [
        (0, (100, 200, 300, 0)),
        (2, (100, 100, 300, 0)),
        (2, (100, 200, 199, 0)),
        (2, (0, 1, 2, 0)),
        (2, (1, 2, 3, 4)),
    ],
)
def test_a_case_without_signers_or_with_deadlines_in_no_order_is_refused(
    signers: int, times: tuple[int, int, int, int]
) -> None:
    with pytest.raises(Misuse, match="in this order"):
        desk.opened(signers, *times, now=0)


def test_a_signer_that_the_case_has_not_is_refused() -> None:
    for call in (desk.sign, desk.withdraw, desk.deposit, desk.stop):
        with pytest.raises(Misuse, match="no such signer"):
            call(case(), 3, 1)
