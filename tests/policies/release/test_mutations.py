"""Each rule is taken away, and the exploration has to find what follows: or it would prove nothing."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from pourparler_policies.errors import Void
from pourparler_policies.fold.events import Complained
from pourparler_policies.release import acts, changes, desk, device, promises, rounds, signing, standing, table
from pourparler_policies.release import events as ev
from pourparler_policies.release.desk import Deed, Desk, Held, Kept
from pourparler_policies.release.device import Cue, Secret, Stage
from pourparler_policies.release.exploring import Play, explore
from pourparler_policies.release.facts import Answer, Case, Mark, Phase, Signer, State
from pourparler_policies.release.promises import INVARIANTS, honest_people_get_to_a_frozen_text
from pourparler_policies.release.table import Trigger
from pourparler_policies.release.testing import talks

Patch = pytest.MonkeyPatch
LIMIT = 20_000


NEEDS_INITIALS = promises.an_appointment_needs_every_partys_initial_on_that_very_text
FROZEN_STAYS = (
    promises.a_frozen_text_stays_until_all_were_told_the_same_or_nobody_awaits_it_or_a_day_after_the_hour
)
SIGNS_FROZEN = rounds.a_person_signs_only_what_is_frozen_whole_and_sound
MASK = rounds.the_mask_is_made_after_every_commitment_is_open
PUBLISHED = signing.published_means_that_every_person_said_yes_to_this_text
SHOWS_NOTHING = signing.the_desk_shows_nothing_until_every_party_has_signed


def the_log(*kinds: type, rule: int = 1, initialled: bool = False) -> Callable[[], object]:
    """A walk of the log with two parties (of two delegates each, if `rule` asks for two)."""

    def run() -> object:
        made = talks(2, delegates=rule, rule=rule)
        cast = tuple(f"{body}{n}" for body in "ab" for n in range(1, rule + 1))
        made.draft()
        if initialled:
            made.initial(*cast)
            made.post("a1", made.appointment())
        return explore(Play(made.state, cast, frozenset(kinds)), INVARIANTS, limit=LIMIT)

    return run


def the_rounds(signers: int = 2, **cast: Any) -> Callable[[], object]:
    return lambda: rounds.explore(rounds.Cast(signers, **cast), limit=LIMIT)


def the_signing(signers: int = 2, **cast: Any) -> Callable[[], object]:
    return lambda: signing.explore(signing.Cast(signers, **cast), limit=LIMIT)


def steps(patch: Patch, of: Mapping[Any, Any], where: object, **_: object) -> dict[Any, Any]:
    """A copy of one row of a table, put in its place, to be changed by the caller."""
    row = dict(of[where])
    patch.setitem(of, where, row)  # type: ignore[arg-type]
    return row


# -- the log


def an_edit_keeps_the_initials(patch: Patch) -> None:
    author, rule = acts.EVENTS[ev.Revised]

    def edit(state: State, *rest: Any) -> State:
        after = rule(state, *rest)
        papers = {k: replace(p, initials=state.papers[k].initials) for k, p in after.papers.items()}
        return replace(after, papers=papers)

    patch.setitem(acts.EVENTS, ev.Revised, (author, edit))  # type: ignore[arg-type]


def nobody_is_asked_for_initials(patch: Patch) -> None:
    patch.setattr(standing, "initialled", lambda *_: True)


def one_delegate_initials_for_two(patch: Patch) -> None:
    patch.setattr(standing, "satisfied", lambda _state, _party, seats: bool(list(seats)))


def a_party_that_cannot_act_is_ignored(patch: Patch) -> None:
    patch.setattr(standing, "check_release", lambda *_: None)
    patch.setattr(standing, "full", lambda _, case: len(case.signers) == 2)


def an_objection_is_ignored(patch: Patch) -> None:
    patch.setattr(standing, "opposed", lambda *_: False)


def a_nonce_serves_again(patch: Patch) -> None:
    def begun(state: State, case: Case, author: Any, event: ev.First) -> Case:
        begun = {**case.begun, author.seat: case.begun.get(author.seat, 0) + 1}
        spent = case.spent | {event.nonce}
        return replace(case, phase=Phase.COMMITTING, nonce=event.nonce, spent=spent, signers={}, begun=begun)

    patch.setattr(acts, "_begun", begun)


def the_desk_lapsed_before_the_deadline(patch: Patch) -> None:
    author, rule = acts.EVENTS[ev.Told]

    def told(state: State, device_: Any, event: ev.Told, entry: Any) -> State:
        return rule(state, device_, event, replace(entry, received_at=2**40))

    patch.setitem(acts.EVENTS, ev.Told, (author, told))  # type: ignore[arg-type]


def one_word_ends_a_frozen_case(patch: Patch) -> None:
    def told(state: State, *_: Any) -> State:
        return changes.finish(state, Trigger.ANSWERED)

    patch.setitem(acts.EVENTS, ev.Told, (acts.EVENTS[ev.Told][0], told))  # type: ignore[arg-type]


def what_ended_is_remembered(patch: Patch) -> None:
    finish = changes.finish

    def remember(state: State, trigger: Trigger) -> State:
        digest = b"" if state.case is None else state.case.text.digest
        after = finish(state, trigger)
        return replace(after, released={**after.released, digest: Mark.PUBLISHED})

    patch.setattr(changes, "finish", remember)


# -- rounds


def a_new_first_message_voids_a_frozen_text(patch: Patch) -> None:
    steps(patch, table.CASE, Phase.FROZEN)[Trigger.BEGUN] = Phase.COMMITTING
    patch.setitem(table.WHEN, ev.First, frozenset(Phase))  # type: ignore[arg-type]


def an_edit_voids_a_frozen_text(patch: Patch) -> None:
    steps(patch, table.CASE, Phase.FROZEN)[Trigger.VOIDED] = None
    patch.setattr(acts, "UNFROZEN", frozenset(Phase))


def a_person_is_asked_before_the_text_is_frozen(patch: Patch) -> None:
    patch.setitem(device._NEXT, Stage.PREPARED, (Phase.PREPARING, Cue.FROZEN))  # type: ignore[arg-type]


def messages_that_do_not_fit_are_not_looked_at(patch: Patch) -> None:
    watch = device.watch
    patch.setattr(
        device, "watch", lambda own, state, *, sound, opened: watch(own, state, sound=True, opened=opened)
    )


def a_void_round_is_kept(patch: Patch) -> None:
    for stage in (Stage.COMMITTED, Stage.REVEALED, Stage.PREPARED):
        del steps(patch, device.STEPS, stage)[Cue.VOIDED]


def the_mask_is_made_too_early(patch: Patch) -> None:
    patch.setitem(device.HOLDS, Stage.REVEALED, frozenset({Secret.LOCK, Secret.MASK}))  # type: ignore[arg-type]


def the_partys_key_alone_binds_it(patch: Patch) -> None:
    def whole(_: State, case: Case, party: str) -> bool:
        return any(signer.party == party and signer.line is not None for signer in case.signers.values())

    patch.setattr(standing, "whole", whole)


# -- signing


def who_withdrew_completes_all_the_same(patch: Patch) -> None:
    patch.setitem(device.HOLDS, Stage.WITHDRAWN, device.HOLDS[Stage.SIGNED])  # type: ignore[arg-type]
    steps(patch, device.STEPS, Stage.WITHDRAWN)[Cue.COMPLETE] = Stage.COMPLETE


def withdrawing_is_only_a_word(patch: Patch) -> None:
    steps(patch, device.STEPS, Stage.SIGNED)[Cue.WITHDRAW] = Stage.SIGNED


def nobody_is_asked_again_after_a_lapse(patch: Patch) -> None:
    steps(patch, device.STEPS, Stage.WAITING)[Cue.COMPLETE] = Stage.COMPLETE


def y_is_given_before_the_channel_knows_that_every_d_was_seen(patch: Patch) -> None:
    patch.setattr(device, "owed", lambda own, _: own.owes)


def the_deposit_deadline_ends_what_somebody_awaits(patch: Patch) -> None:
    patch.setattr(Case, "awaited", False)


def the_lock_is_kept_until_the_desk_speaks(patch: Patch) -> None:
    del steps(patch, device.STEPS, Stage.SIGNED)[Cue.OVER]


def a_device_believes_its_own_clock(patch: Patch) -> None:
    due = device.due
    patch.setattr(device, "due", lambda own, now, _: due(own, now, now))


def a_lapsed_case_is_kept(patch: Patch) -> None:
    patch.setitem(device.HOLDS, Stage.LAPSED, frozenset({Secret.LOCK}))  # type: ignore[arg-type]


def the_desk_opens_before_the_last(patch: Patch) -> None:
    sign = desk.sign

    def early(held: Held, signer: int, now: int) -> Held:
        after = sign(held, signer, now)
        return desk._move(after, Deed.LAST_MASK) if after.phase is Desk.OPEN else after

    patch.setattr(desk, "sign", early)


def the_desk_forgets_a_withdrawal(patch: Patch) -> None:
    steps(patch, desk.DESK, Desk.OPEN)[Deed.WITHDRAWAL] = Desk.OPEN


def the_desk_tells_a_withdrawal_at_once(patch: Patch) -> None:
    patch.setitem(desk.ANSWERS, Desk.SPOILT, Answer.LAPSED)  # type: ignore[arg-type]


def the_desk_publishes_before_the_hour(patch: Patch) -> None:
    patch.setitem(desk._DEADLINES, Desk.FULL, (Deed.HOUR, "deposit_by"))  # type: ignore[arg-type]


def the_desk_keeps_what_lapsed(patch: Patch) -> None:
    patch.setitem(desk.KEEPS, Desk.LAPSED, frozenset({Kept.MASKS}))  # type: ignore[arg-type]


def the_desk_changes_its_mind(patch: Patch) -> None:
    steps(patch, desk.DESK, Desk.LAPSED)[Deed.HOUR] = Desk.PUBLISHED
    patch.setitem(desk._DEADLINES, Desk.LAPSED, (Deed.HOUR, "not_before"))  # type: ignore[arg-type]


def no_deadline_ends_an_open_case_at_the_desk(patch: Patch) -> None:
    patch.delitem(desk._DEADLINES, Desk.OPEN)  # type: ignore[arg-type]


WORDS = (ev.Revised, ev.Initialled, ev.Retracted, ev.Appointed)
MESSAGES = (ev.First, ev.Second, ev.Third)
# What is taken away, which walk, and the promise that has to find it.
MUTATIONS: list[tuple[Callable[[Patch], None], Callable[[], object], Callable[..., None]]] = [
    (an_edit_keeps_the_initials, the_log(*WORDS), promises.an_edit_voids_the_initials_and_the_appointment),
    (nobody_is_asked_for_initials, the_log(*WORDS), NEEDS_INITIALS),
    (one_delegate_initials_for_two, the_log(ev.Initialled, ev.Appointed, rule=2), NEEDS_INITIALS),
    (
        a_party_that_cannot_act_is_ignored,
        the_log(*MESSAGES, Complained, initialled=True),
        promises.nothing_moves_towards_release_while_a_party_cannot_act,
    ),
    (an_objection_is_ignored, the_log(ev.Initialled, ev.Opposed, ev.Appointed), NEEDS_INITIALS),
    (a_nonce_serves_again, the_log(ev.First, initialled=True), promises.no_nonce_serves_twice),
    (the_desk_lapsed_before_the_deadline, the_log(*MESSAGES, ev.Told, initialled=True), FROZEN_STAYS),
    (one_word_ends_a_frozen_case, the_log(*MESSAGES, ev.Told, initialled=True), FROZEN_STAYS),
    (
        what_ended_is_remembered,
        the_log(*MESSAGES, ev.Told, initialled=True),
        promises.what_ended_leaves_nothing,
    ),
    (
        a_new_first_message_voids_a_frozen_text,
        the_rounds(),
        rounds.what_somebody_signed_stays_the_live_text,
    ),
    (an_edit_voids_a_frozen_text, the_rounds(hostile=True), rounds.what_somebody_signed_stays_the_live_text),
    (a_person_is_asked_before_the_text_is_frozen, the_rounds(), SIGNS_FROZEN),
    (messages_that_do_not_fit_are_not_looked_at, the_rounds(hostile=True), MASK),
    (a_void_round_is_kept, the_rounds(), rounds.nothing_is_kept_of_a_void_round),
    (the_mask_is_made_too_early, the_rounds(), MASK),
    (the_partys_key_alone_binds_it, the_rounds(3, names=("a1", "b1", "a2"), edits=False), SIGNS_FROZEN),
    (
        who_withdrew_completes_all_the_same,
        the_signing(3, names=("a1", "b1", "a2"), votes=False),
        signing.who_withdrew_keeps_and_sends_no_lock,
    ),
    (who_withdrew_completes_all_the_same, the_signing(), signing.who_withdrew_keeps_and_sends_no_lock),
    (withdrawing_is_only_a_word, the_signing(), PUBLISHED),
    (nobody_is_asked_again_after_a_lapse, the_signing(lying=True, hostile=True, votes=False), PUBLISHED),
    (y_is_given_before_the_channel_knows_that_every_d_was_seen, the_signing(), signing.one_live_text),
    (the_deposit_deadline_ends_what_somebody_awaits, the_signing(), signing.one_live_text),
    (
        the_deposit_deadline_ends_what_somebody_awaits,
        the_log(*MESSAGES, ev.Completed, ev.Told, initialled=True),
        FROZEN_STAYS,
    ),
    (the_lock_is_kept_until_the_desk_speaks, the_signing(), signing.time_alone_ends_everything),
    (
        a_device_believes_its_own_clock,
        the_signing(fast=True),
        signing.no_lock_leaves_the_desk_or_a_device_before_the_hour,
    ),
    (a_lapsed_case_is_kept, the_signing(), signing.what_ended_is_erased),
    (the_desk_opens_before_the_last, the_signing(), SHOWS_NOTHING),
    (the_desk_forgets_a_withdrawal, the_signing(), SHOWS_NOTHING),
    (the_desk_tells_a_withdrawal_at_once, the_signing(), SHOWS_NOTHING),
    (
        the_desk_publishes_before_the_hour,
        the_signing(),
        signing.no_lock_leaves_the_desk_or_a_device_before_the_hour,
    ),
    (the_desk_keeps_what_lapsed, the_signing(), signing.what_ended_is_erased),
    (the_desk_changes_its_mind, the_signing(), PUBLISHED),
    (no_deadline_ends_an_open_case_at_the_desk, the_signing(), signing.time_alone_ends_everything),
]


@pytest.mark.parametrize(
    ("mutation", "explored", "promise"), MUTATIONS, ids=[mutation.__name__ for mutation, _, _ in MUTATIONS]
)
def test_a_missing_rule_is_found(
    mutation: Callable[[Patch], None],
    explored: Callable[[], object],
    promise: Callable[..., None],
    monkeypatch: Patch,
) -> None:
    mutation(monkeypatch)
    with pytest.raises(AssertionError) as found:
        explored()
    assert promise.__name__ in {entry.name for entry in found.traceback}


def test_a_dead_end_in_the_log_would_be_found(monkeypatch: Patch) -> None:
    made = talks(2)
    made.draft()
    honest_people_get_to_a_frozen_text(made.state)

    def refuse(*_: object) -> State:
        raise Void("nobody appoints")

    monkeypatch.setitem(acts.EVENTS, ev.Appointed, (acts.EVENTS[ev.Appointed][0], refuse))  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="cannot come to a frozen text"):
        honest_people_get_to_a_frozen_text(made.state)


def test_a_signer_knows_no_name() -> None:
    """What is kept of a signer is its party, its line and opaque messages."""
    assert set(Signer.__slots__) == {"party", "line", "first", "second", "third", "complete", "answer"}
