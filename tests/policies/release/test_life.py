"""Releases from draft to board and the ways in which they come to nothing, as the parties would see them."""

from dataclasses import replace

import pytest

from pourparler_policies.charter import parse
from pourparler_policies.charter.rules import Role
from pourparler_policies.charter.testing import text as charter_text
from pourparler_policies.errors import Misuse, Unknown, Void
from pourparler_policies.fold import events as consent
from pourparler_policies.fold.encoding import encode
from pourparler_policies.fold.events import Commit
from pourparler_policies.fold.facts import Admit, Amend, Close
from pourparler_policies.fold.testing import History, card
from pourparler_policies.release import acts, opened, standing, step
from pourparler_policies.release import events as ev
from pourparler_policies.release.facts import GRACE, Answer, Mark, Phase, text_digest
from pourparler_policies.release.rules import Signatories, release_rules
from pourparler_policies.release.standing import unsettled
from pourparler_policies.release.testing import DAY, PAPER, RULES, Talks, nonce, revision, talks


def published(made: Talks, *words: str) -> bytes:
    """A release goes all its way; returns its digest."""
    made.freeze(*words)
    made.completed(*words)
    digest, made.now = made.case.text.digest, made.case.not_before
    made.told(Answer.PUBLISHED, *words)
    return digest


def test_two_revisions_a_withdrawal_and_a_new_round_end_in_a_publication() -> None:
    made = talks(3, intermediary=True)
    cast = ("a1", "b1", "c1")
    made.draft("m1")
    made.post("b1", ev.Commented(PAPER, made.text.digest))
    made.initial(*cast)
    made.post("c1", ev.Revised(PAPER, made.text.digest, revision("We met, and talked.", 3)))
    with pytest.raises(Void, match="not every party has initialled"):
        made.post("m1", made.appointment())
    made.freeze(*cast)
    made.now = made.case.sign_by  # somebody withdrew; the desk says "lapsed", to everybody alike
    made.told(Answer.LAPSED, *cast)
    assert made.state.case is None
    made.post("m1", made.appointment())
    for run in (made.commit, made.reveal, made.prepare):
        run(*cast, number=2)
    made.completed(*cast)
    made.now = made.case.not_before
    made.told(Answer.PUBLISHED, *cast)
    assert list(made.state.released.values()) == [Mark.PUBLISHED]


def test_a_lapse_leaves_nothing_of_the_case_and_names_nobody() -> None:
    ends = []
    for order in (("a1", "b1"), ("b1", "a1")):
        made = talks(2)
        made.freeze("a1", "b1")
        made.now = made.case.sign_by
        made.told(Answer.LAPSED, *order)
        ends.append(replace(made.state, consent=replace(made.state.consent, devices={})))
        assert all(word not in encode(ends[-1]) for word in (b"u a1", b"Y b1", b"s a1"))
    assert ends[0] == ends[1]
    assert not ends[0].released


def test_a_correction_supersedes_and_a_withdrawal_takes_back() -> None:
    made = talks(2)
    first = published(made, "a1", "b1")
    second = revision("We met in June.", 2, corrects=first)
    made.post("a1", ev.Revised(PAPER, first, second))
    published(made, "a1", "b1")
    assert made.state.released == {first: Mark.SUPERSEDED, second.digest: Mark.PUBLISHED}
    made.post("a1", ev.Revised(PAPER, second.digest, revision("No.", 2, corrects=first)))
    made.initial("a1", "b1")
    with pytest.raises(Void, match="stands published here"):
        made.post("a1", made.appointment())
    taking = replace(revision("We take it back.", 2, corrects=second.digest), withdraws=True)
    made.post("a1", ev.Revised(PAPER, made.text.digest, taking))
    published(made, "a1", "b1")
    assert made.state.released[second.digest] is Mark.WITHDRAWN


def test_once_frozen_only_the_desks_answer_to_everybody_or_a_day_after_the_hour_ends_it() -> None:
    made = talks(2)
    made.freeze("a1", "b1")
    for event in (
        ev.Revised(PAPER, made.text.digest, revision("Other.", 2)),
        ev.Shelved(PAPER),
        made.appointment(),
        ev.First(nonce(2), 0, b"u"),
    ):
        with pytest.raises(Void):
            made.post("a1", event)
    made.post("a1", ev.Retracted(PAPER), ev.Opposed(PAPER))  # words; they change nothing at the desk
    made.now = made.case.sign_by
    made.completed("b1")
    made.told(Answer.LAPSED, "a1")
    assert made.case.phase is Phase.FROZEN
    made.now = made.case.not_before
    made.post("b1", ev.Commented(PAPER, made.text.digest))
    assert made.case.phase is Phase.FROZEN
    made.now = made.case.ends
    made.post("b1", ev.Commented(PAPER, made.text.digest))
    assert made.state.case is None
    assert not made.state.released


def test_whoever_is_away_after_a_lapse_delays_a_second_appointment_to_the_deposit_deadline_and_no_longer() -> None:
    made = talks(3)
    made.freeze("a1", "b1", "c1")
    made.completed("a1")  # all had signed, c1's device went off before it could give its y
    first, made.now = made.case, made.case.sign_by
    made.told(Answer.LAPSED, "b1")
    with pytest.raises(Void, match="one case at a time"):
        made.post("b1", made.appointment())
    made.now = first.deposit_by - 1
    with pytest.raises(Void, match="one case at a time"):
        made.post("b1", made.appointment())
    made.now = first.deposit_by
    with pytest.raises(Void, match="one case at a time"):
        made.post("b1", made.appointment())  # a1 saw every d, and has heard of no other end
    made.told(Answer.LAPSED, "a1")
    assert made.state.case is None
    made.post("b1", made.appointment())
    for run in (made.commit, made.reveal, made.prepare):
        run("a1", "b1", "c1", number=2)
    assert made.case.phase is Phase.FROZEN


def test_a_text_that_a_false_r3_has_frozen_makes_room_at_the_deposit_deadline_whatever_its_signer_says() -> None:
    for says in (Answer.STOPPED, None):
        made = talks(2)
        made.freeze("a1", "b1")  # b1's R3 does not fit: nobody signs, and b1 tells nothing, or what is not so
        if says is not None:
            made.told(says, "b1")
        made.now = made.case.deposit_by
        made.post("a1", made.appointment())
        assert made.case.phase is Phase.APPOINTED


def test_a_desk_that_is_silent_after_somebody_saw_every_d_still_needs_the_wait() -> None:
    made = talks(2)
    made.freeze("a1", "b1")
    made.completed("a1")
    made.now = made.case.ends - 1
    with pytest.raises(Void, match="one case at a time"):
        made.post("b1", made.appointment())
    made.now = made.case.ends
    made.post("b1", ev.Commented(PAPER, made.text.digest))
    assert made.state.case is None


def test_a_single_word_that_it_was_published_is_not_remembered() -> None:
    made = talks(2)
    made.freeze("a1", "b1")
    made.completed("b1")
    made.now = made.case.not_before
    made.told(Answer.PUBLISHED, "a1")
    made.now += GRACE
    made.post("b1", ev.Commented(PAPER, made.text.digest))
    assert not made.state.released


def test_a_party_whose_device_stays_away_cannot_hide_that_two_others_saw_it_published() -> None:
    made = talks(3)
    made.freeze("a1", "b1", "c1")
    made.completed("a1", "b1", "c1")
    made.now = made.case.not_before
    made.told(Answer.PUBLISHED, "a1", "b1")
    made.now += GRACE
    made.post("b1", ev.Commented(PAPER, made.text.digest))
    assert list(made.state.released.values()) == [Mark.PUBLISHED]


def test_before_the_last_r3_a_new_r1_an_edit_or_another_appointment_voids_the_round() -> None:
    for undo in ("restart", "edit", "appoint", "shelve"):
        made = talks(2)
        made.appoint("a1", "b1")
        made.commit("a1", "b1")
        made.reveal("a1", "b1")
        made.prepare("a1")
        if undo == "restart":
            made.commit("b1", number=2)
            assert (made.case.phase, set(made.case.signers)) == (Phase.COMMITTING, {made.seat("b1")})
        elif undo == "edit":
            made.post("b1", ev.Revised(PAPER, made.text.digest, revision("Other.", 2)))
            assert made.state.case is None
        elif undo == "shelve":
            made.post("a1", ev.Shelved(PAPER))
            assert made.state.case is None
        else:
            made.post("b1", made.appointment())
            assert made.case.phase is Phase.APPOINTED
        with pytest.raises(Void):
            made.prepare("b1")


def test_an_appointment_nobody_keeps_is_over_at_its_deadline() -> None:
    made = talks(2)
    made.appoint("a1", "b1")
    made.commit("a1")
    made.now = made.case.sign_by
    with pytest.raises(Void, match="no appointment"):
        made.post("b1", ev.First(nonce(1), 1, b"u"))
    made.attempt(made.event("b1", ev.First(nonce(1), 1, b"u")))
    assert made.state.case is None
    assert made.state.papers[PAPER].initials


def test_a_paper_ends_with_its_life_and_takes_its_appointment_along() -> None:
    made = talks(2)
    made.draft()
    made.now = made.state.papers[PAPER].expires
    assert "no such paper" in made.attempt(made.event("a1", ev.Initialled(PAPER, made.text.digest)))
    assert not made.state.papers


def test_two_of_two_delegates_initial_and_each_holds_a_mask_beside_the_key() -> None:
    made = talks(2, delegates=2, rule=2)
    made.draft()
    made.initial("a1", "b1", "b2")
    with pytest.raises(Void, match="not every party"):
        made.post("a1", made.appointment())
    made.initial("a2")
    made.post("a1", made.appointment())
    made.post("a1", ev.First(nonce(1), 0, b"1"))
    made.post("b2", ev.First(nonce(1), 1, b"2"))
    made.post("a2", ev.First(nonce(1), None, b"3"))
    assert made.case.phase is Phase.COMMITTING  # b's second delegate is still missing
    made.post("b1", ev.First(nonce(1), None, b"4"))
    assert made.case.phase is Phase.REVEALING
    made.reveal("a1", "a2", "b1", "b2")
    made.prepare("a1", "a2", "b1")
    assert made.case.phase is Phase.PREPARING
    made.prepare("b2")
    assert made.case.phase is Phase.FROZEN


def test_no_more_people_sign_together_than_a_release_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    made = talks(2, delegates=2, rule=2)
    made.draft()
    made.initial("a1", "a2", "b1", "b2")
    monkeypatch.setattr(standing, "MAX_SIGNATORIES", 3)
    with pytest.raises(Void, match="more than 3 people"):
        made.post("a1", made.appointment())
    monkeypatch.undo()
    made.post("a1", made.appointment())
    monkeypatch.setattr(acts, "MAX_SIGNATORIES", 1)
    made.post("a1", ev.First(nonce(1), 0, b"1"))
    with pytest.raises(Void, match="more than 1 people"):
        made.post("b1", ev.First(nonce(1), 1, b"2"))


def test_where_the_head_decides_a_delegate_with_the_key_awaits_the_head_and_nobody_else() -> None:
    made = talks(2, delegates=3, rule=0)
    made.draft()
    made.initial("a1", "b1")
    made.post("a1", made.appointment())
    made.post("a2", ev.First(nonce(1), 0, b"1"))  # the key is with a delegate
    assert not standing.awaits_further(made.state, made.case, made.device("a3"))
    assert not standing.awaits_further(
        made.state, made.case, made.device("b1")
    )  # its party's key is not there yet
    with pytest.raises(Void, match="further mask"):
        made.post("a3", ev.First(nonce(1), None, b"2"))
    assert standing.awaits_further(made.state, made.case, made.device("a1"))
    made.post("a1", ev.First(nonce(1), None, b"3"))
    made.post("b1", ev.First(nonce(1), 1, b"4"))
    assert made.case.phase is Phase.REVEALING


def test_initials_subject_to_confirmation_from_home_do_not_count_yet() -> None:
    made = talks(2)
    made.draft()
    made.initial("a1")
    made.post("b1", ev.Initialled(PAPER, made.text.digest, confirm=True))
    with pytest.raises(Void, match="not every party"):
        made.post("a1", made.appointment())
    made.initial("b1")
    made.post("a1", made.appointment())


def test_an_objection_outlives_an_edit_and_ends_with_a_hold_by_its_own_side() -> None:
    made = talks(2, delegates=2)
    made.draft()
    made.post("b2", ev.Opposed(PAPER))
    made.post("a1", ev.Revised(PAPER, made.text.digest, revision("Other.", 2)))
    made.initial("a1", "b1")
    with pytest.raises(Void, match="somebody objects"):
        made.post("a1", made.appointment())
    made.post("b1", consent.Held(made.seat("b2")))
    made.post("a1", made.appointment())


def test_who_signs_and_leaves_before_the_freeze_ends_the_round_and_after_it_unsettles_it() -> None:
    made = talks(2, delegates=2)
    made.appoint("a1", "b1")
    made.initial("b2")
    made.commit("a1", "b1")
    made.post("b1", consent.Leaving())
    handshake = made.event("a1", consent.Complained())
    made.write(replace(handshake, content=Commit(("remove",), (), (made.device("b1").credential,)), counter=0))
    assert made.case.phase is Phase.APPOINTED
    frozen = talks(2, delegates=2)
    frozen.freeze("a1", "b1")
    assert not unsettled(frozen.state)
    frozen.post("b2", consent.Held(frozen.seat("b1")))
    assert "on hold" in unsettled(frozen.state)
    assert frozen.case.phase is Phase.FROZEN


def test_a_party_that_cannot_act_makes_every_step_towards_release_void() -> None:
    made = talks(2)
    made.appoint("a1", "b1")
    made.commit("a1", "b1")
    made.post("b1", consent.Complained())
    with pytest.raises(Void, match="a party cannot act"):
        made.reveal("a1")


def chartered(**release: object) -> Talks:
    charter = parse(charter_text(**({"release": release} if release else {})))
    history = History(charter.rules, "a1")
    history.seat_founder("b1", "a1")
    return Talks(history, opened(history.state, charter), history.now)


def amend(made: Talks, new: str) -> None:
    subject = Amend(parse(new).encode())
    digest = made.history.digest(subject)
    made.post("a1", consent.Proposed(subject))
    for word in ("a1", "b1"):
        made.post(word, consent.Approved(digest))
    entry = made.event("a1", consent.Complained())
    change = Commit(("group_context_extensions",), charter=parse(new).hash)
    made.write(replace(entry, content=change, counter=0))


def test_another_charter_voids_initials_and_appointments_and_brings_its_own_rules() -> None:
    made = chartered(signatories="parties")
    made.appoint("a1", "b1")
    amend(made, charter_text(release={"signatories": "nobody"}))
    assert made.state.case is None
    assert not made.state.papers[PAPER].initials
    made.initial("a1", "b1")
    with pytest.raises(Void, match="no joint text"):
        made.post("a1", made.appointment())


def test_another_charter_leaves_a_frozen_text_to_the_desk_and_unsettles_it() -> None:
    made = chartered(signatories="parties")
    made.freeze("a1", "b1")
    amend(made, charter_text(release={"signatories": "nobody"}))
    assert made.case.phase is Phase.FROZEN
    assert unsettled(made.state) == "the charter has changed since"


def test_the_rules_of_release_are_the_charters() -> None:
    charter = parse(charter_text(release={"signatories": "persons", "stop": "nobody"}))
    rules = release_rules(charter)
    assert (rules.signatories, rules.stop) == (Signatories.PERSONS, False)
    history = History(charter.rules, "a1")
    with pytest.raises(Misuse, match="not the charter in force"):
        opened(history.state, parse(charter_text()))


def test_persons_sign_a_line_each_and_every_party_is_bound_by_its_rule() -> None:
    rules = replace(RULES, signatories=Signatories.PERSONS)
    made = talks(2, delegates=2, rules=rules)
    made.post("a1", ev.Drafted(PAPER, revision("We three.", 3), DAY * 9))
    made.initial("a1", "a2", "b1")
    made.post("a1", made.appointment())
    made.commit("a1", "a2", "b1")
    assert made.case.phase is Phase.REVEALING


def test_a_closed_channel_keeps_no_paper_and_no_case() -> None:
    made = talks(2)
    made.freeze("a1", "b1")
    digest = made.history.digest(Close())
    made.post("a1", consent.Proposed(Close()), consent.Approved(digest))
    made.post("b1", consent.Approved(digest), consent.Enacted(digest))
    assert made.state.case is None
    assert not made.state.papers


def test_consent_goes_on_beside_release_in_one_log() -> None:
    made = talks(2)
    made.appoint("a1", "b1")
    subject = Admit("a", Role.DELEGATE, card("a2"))
    made.post("a1", consent.Proposed(subject))
    assert made.state.consent.open
    assert made.case.phase is Phase.APPOINTED


def test_a_void_event_uses_up_its_counter_and_an_unknown_one_halts() -> None:
    made = talks(2)
    made.draft()
    early = made.event("a1", made.appointment())
    assert "not every party" in made.attempt(early)
    made.initial("a1", "b1")
    assert "counter does not rise" in step(made.state, early).void
    with pytest.raises(Unknown):
        step(made.state, replace(early, content="news"))  # type: ignore[arg-type]


def test_a_text_is_named_under_a_salt_so_that_nobody_can_guess_it_later() -> None:
    assert text_digest(b"a" * 32, b"We met.") != text_digest(b"b" * 32, b"We met.")
    with pytest.raises(Misuse, match="salt"):
        text_digest(b"short", b"We met.")


def test_a_case_ends_a_day_after_its_hour_and_may_be_stopped_until_the_charters_time() -> None:
    made = talks(2)
    made.draft(not_before=made.now + 5 * DAY)
    made.freeze("a1", "b1")
    assert made.case.ends == made.case.not_before + GRACE == made.now + 6 * DAY
    assert made.case.stop_by == made.case.not_before - RULES.stop_until
    made.told(Answer.STOPPED, "a1", "b1")
    assert made.state.case is None
