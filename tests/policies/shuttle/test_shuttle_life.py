"""The life of a carried message: every step of the table, and everything that it does not have."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pourparler_policies.errors import Misuse, Unknown, Void
from pourparler_policies.fold.encoding import encode
from pourparler_policies.shuttle import EMPTY, Author, Item, Phase, Room, Said, decode_event, fold, thread
from pourparler_policies.shuttle import events as ev
from pourparler_policies.shuttle.carrying import (
    RUN,
    as_put,
    check_carry,
    check_terms,
    life_at_service,
    longest_delay,
    own_idea,
    own_times,
    rounded,
    shared_run,
)
from pourparler_policies.shuttle.events import Answer, Fidelity, Judge, Source, Terms
from pourparler_policies.shuttle.room import apply, at, check_author
from pourparler_policies.shuttle.table import LIFE, WHO, Trigger, move

HOUR, DAY = 3600, 86400
NOW, LATE = 1_000_000, 1_000_000 + DAY
SIDE = Author("side", intermediary=False, deciding=True)
ASSISTANT = Author("side", intermediary=False, deciding=False)
BRIDGE = Author("bridge", intermediary=True, deciding=True)
FREE = Terms(Source.PARTY, Fidelity.VERBATIM, "", Judge.AUTHOR, 0, LATE)
HELD = replace(FREE, condition="they ask")


def number(word: str) -> bytes:
    return word.encode().ljust(16, b".")


def said(word: str, author: Author, event: ev.Event, at: int = NOW) -> Said:
    return Said(number(word), 1, at, author, event)


def after(*entries: Said) -> Room:
    """Every entry counts."""
    room = EMPTY
    for entry in entries:
        room = apply(room, entry)
    return room


def handed(terms: Terms = FREE, word: str = "item", text: str = "Words.") -> Said:
    return said(word, SIDE, ev.HandedOver(text, terms))


def put(word: str = "put", regards: bytes = b"", answer: Answer | None = None, at: int = NOW) -> Said:
    event = ev.Put("An idea.", Source.IDEA, None, LATE, regards, answer)
    return said(word, BRIDGE, event, at)


ITEM = number("item")
# What leads into each phase; what each trigger is, then.
INTO: dict[Phase, tuple[Said, ...]] = {
    Phase.HELD: (handed(HELD),),
    Phase.HANDED_OVER: (handed(),),
    Phase.CARRIED: (handed(), said("claim", BRIDGE, ev.Carried(ITEM))),
    Phase.RECALLED: (handed(), said("recall", SIDE, ev.Recalled(ITEM))),
    Phase.PASSED_ON: (handed(), said("claim", BRIDGE, ev.Carried(ITEM)), put("on", ITEM)),
}
EVENTS: dict[Trigger, Said] = {
    Trigger.FREED: said("x", SIDE, ev.Freed(ITEM)),
    Trigger.RECALLED: said("x", SIDE, ev.Recalled(ITEM)),
    Trigger.CARRIED: said("x", BRIDGE, ev.Carried(ITEM)),
    Trigger.PASSED_ON: put("x", ITEM),
}


def test_what_was_never_carried_has_nothing_passed_on_about_it_also_when_it_has_lapsed() -> None:
    for was in (handed(), handed(HELD)):
        with pytest.raises(Void, match="was not carried"):
            apply(at(after(was), LATE), put("on", ITEM, at=LATE))
    lapsed = at(after(*INTO[Phase.CARRIED]), LATE)
    assert apply(lapsed, put("on", ITEM, at=LATE))[ITEM].phase is Phase.PASSED_ON


@pytest.mark.parametrize("phase", INTO)
@pytest.mark.parametrize("trigger", EVENTS)
def test_an_item_moves_as_the_table_says_and_in_no_other_way(phase: Phase, trigger: Trigger) -> None:
    room = after(*INTO[phase])
    assert room[ITEM].phase is phase
    if trigger in LIFE[phase]:
        assert apply(room, EVENTS[trigger])[ITEM].phase is move(phase, trigger)
    else:
        with pytest.raises(Void):
            apply(room, EVENTS[trigger])


@pytest.mark.parametrize("phase", INTO)
def test_time_ends_what_the_table_lets_it_end(phase: Phase) -> None:
    room = fold(INTO[phase], LATE)
    assert room[ITEM].phase is LIFE[phase].get(Trigger.LATE, phase)
    assert fold(INTO[phase], LATE - 1)[ITEM].phase is phase


def test_what_is_put_to_a_side_is_answered_again_and_not_after_its_time() -> None:
    room = after(put())
    answers = [
        said(f"a{n}", SIDE, ev.HandedOver("Yes.", FREE, number("put"), answer)) for n, answer in enumerate(Answer)
    ]
    for answer in answers:
        room = apply(room, answer)
        assert room[number("put")].phase is Phase.ANSWERED
        assert room[answer.id].phase is Phase.HANDED_OVER
    with pytest.raises(Void):
        apply(after(put()), replace(answers[0], at=LATE))


def test_the_table_is_whole() -> None:
    assert set(LIFE) == set(Phase)
    assert set(WHO) == set(Trigger)
    assert {trigger for steps in LIFE.values() for trigger in steps} == set(Trigger)
    for phase in Phase:
        for trigger in set(Trigger) - set(LIFE[phase]):
            with pytest.raises(Void, match=str(phase)):
                move(phase, trigger)


@pytest.mark.parametrize(
    ("author", "event"),
    [
        (SIDE, ev.Carried(ITEM)),
        (SIDE, ev.Put("x", Source.IDEA, None, LATE)),
        (BRIDGE, ev.HandedOver("x", FREE)),
        (BRIDGE, ev.Recalled(ITEM)),
        (ASSISTANT, ev.HandedOver("x", FREE)),
        (ASSISTANT, ev.Freed(ITEM)),
    ],
)
def test_who_may_not_say_it_is_void_for_everybody(author: Author, event: ev.Event) -> None:
    with pytest.raises(Void):
        check_author(author, event)
    with pytest.raises(Void):
        apply(after(handed()), said("x", author, event))


def test_an_assistant_may_recall_and_another_party_may_not() -> None:
    room = after(handed())
    assert apply(room, said("x", ASSISTANT, ev.Recalled(ITEM)))[ITEM].phase is Phase.RECALLED
    with pytest.raises(Void, match="only the party"):
        apply(room, said("x", replace(SIDE, body="other"), ev.Recalled(ITEM)))


@pytest.mark.parametrize("judge", Judge)
def test_a_condition_is_met_when_its_judge_says_so(judge: Judge) -> None:
    room = after(handed(replace(HELD, judge=judge)))
    right, wrong = (SIDE, BRIDGE) if judge is Judge.AUTHOR else (BRIDGE, SIDE)
    for author in (wrong, replace(SIDE, body="other")):
        with pytest.raises(Void, match="somebody else"):
            apply(room, said("x", author, ev.Freed(ITEM)))
    assert apply(room, said("x", right, ev.Freed(ITEM)))[ITEM].phase is Phase.HANDED_OVER


def test_answers_and_what_is_passed_on_belong_to_items_of_this_room_and_of_the_right_kind() -> None:
    room = after(handed(), put())
    for event in (
        said("x", SIDE, ev.HandedOver("x", FREE, ITEM, Answer.ACCEPT)),  # the author answers its own
        said("x", SIDE, ev.HandedOver("x", FREE, number("elsewhere"), Answer.ACCEPT)),
        put("x", number("put")),  # the intermediary passes on to itself
        put("x", number("elsewhere")),
        put("x", ITEM),  # nothing was carried that something could have come of
        said("x", BRIDGE, ev.Carried(number("put"))),
    ):
        with pytest.raises(Void):
            apply(room, event)


def test_counters_keep_the_thread() -> None:
    room = after(
        handed(),
        said("claim", BRIDGE, ev.Carried(ITEM)),
        put("on", ITEM, Answer.COUNTER),
        said("again", SIDE, ev.HandedOver("x", FREE, number("on"), Answer.COUNTER)),
    )
    assert {thread(room, item) for item in room.values()} == {ITEM}


def test_a_second_claim_and_any_repetition_change_nothing() -> None:
    entries = [handed(), said("claim", BRIDGE, ev.Carried(ITEM)), said("other", BRIDGE, ev.Carried(ITEM))]
    room = fold(entries, NOW)
    assert room[ITEM].claim == number("claim")
    assert fold([one for one in entries for _ in range(3)], NOW) == room


@given(st.permutations([*INTO[Phase.PASSED_ON], said("recall", SIDE, ev.Recalled(ITEM)), put()]))
def test_in_whatever_order_entries_come_an_item_is_carried_or_recalled_and_never_both(order: list[Said]) -> None:
    item = fold(order, NOW).get(ITEM)
    if item is not None:
        assert not (item.claim and item.phase is Phase.RECALLED)


# Events


@pytest.mark.parametrize(
    "event",
    [
        ev.HandedOver("x" * (ev.MAX_TEXT + 1), FREE),
        ev.HandedOver(" \n", FREE),
        ev.HandedOver("x", FREE, answer=Answer.ACCEPT),
        ev.HandedOver("x", FREE, ITEM),
        ev.HandedOver("x", FREE, b"short", Answer.ACCEPT),
        ev.HandedOver("", FREE, ITEM, Answer.COUNTER),
        ev.HandedOver("x", replace(FREE, condition="x" * (ev.MAX_CONDITION + 1))),
        ev.HandedOver("\ud800", FREE),
        ev.Put("x", Source.IDEA, Fidelity.GIST, LATE),
        ev.Put("x", Source.HYPOTHETICAL, Fidelity.VERBATIM, LATE),
        ev.Put("x", Source.PARTY, None, LATE),
        ev.Carried(b""),
    ],
)
def test_what_cannot_be_is_refused_when_made_and_void_when_received(event: ev.Event) -> None:
    with pytest.raises(Misuse):
        ev.check(event)
    try:
        data = encode(event)
    except UnicodeEncodeError:
        return
    with pytest.raises(Void):
        decode_event(data)


def test_an_event_of_a_later_version_halts_and_garbage_is_void() -> None:
    later = encode(ev.Carried(ITEM)).replace(b"Carried", b"Curried")
    with pytest.raises(Unknown):
        decode_event(later)
    for data in (b"", b"x", encode(ev.Carried(ITEM))[:-1], encode(("x",))):
        with pytest.raises(Void):
            decode_event(data)


@given(st.binary(max_size=400))
def test_no_bytes_do_anything_but_decode_or_be_refused(data: bytes) -> None:
    with pytest.raises((Void, Unknown)):
        decode_event(data)


# What may cross


def item(terms: Terms = FREE, text: str = "Words that a party chose with care.", **other: object) -> Item:
    room = after(handed(terms, text=text))
    return replace(room[ITEM], **other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("held", "now", "why"),
    [
        (item(HELD), NOW, "its author's party says that this is so: they ask"),
        (item(replace(HELD, judge=Judge.INTERMEDIARY)), NOW, "you say"),
        (item(phase=Phase.RECALLED), NOW, "taken it back"),
        (item(phase=Phase.LAPSED), NOW, "expired"),
        (item(), LATE, "expired"),
        (item(phase=Phase.CARRIED), NOW, "carried once"),
        (item(replace(FREE, not_before=NOW + 1)), NOW, "not carried yet"),
        (after(put())[number("put")], NOW, "nothing to carry"),
    ],
)
def test_it_is_not_carried_against_its_terms_and_the_refusal_says_why(held: Item, now: int, why: str) -> None:
    with pytest.raises(Misuse, match=why):
        check_carry(held, now)


def test_what_its_terms_allow_is_carried() -> None:
    check_carry(item(), NOW)
    check_carry(item(replace(FREE, not_before=NOW)), NOW)


@pytest.mark.parametrize(
    "text", ["Words that a party chose with care", "Words that a party chose  with care.", ""]
)
def test_verbatim_is_byte_for_byte(text: str) -> None:
    with pytest.raises(Misuse, match="not a letter"):
        as_put(item(), text, LATE, DAY, b"", None)
    assert as_put(item(), item().text, LATE, DAY, b"", None).text == item().text


@pytest.mark.parametrize("text", ["WORDS, that a party\nchose with care!", "Words that a party chose with care."])
def test_a_gist_is_in_other_words(text: str) -> None:
    gist = item(replace(FREE, fidelity=Fidelity.GIST))
    with pytest.raises(Misuse, match="say it in yours"):
        as_put(gist, text, LATE, DAY, b"", None)
    assert as_put(gist, "A party chose.", LATE, DAY, b"", None).fidelity is Fidelity.GIST


def test_a_gist_that_repeats_a_long_passage_is_noticed() -> None:
    words = "We have said it before, and we shall say it again to whoever asks us about the wells."
    held = item(replace(FREE, fidelity=Fidelity.GIST), words)
    assert shared_run(held, f"They say: {words[:RUN].upper()}, and so on.")
    assert not shared_run(held, "They will repeat themselves.")


@pytest.mark.parametrize("source", [Source.IDEA, Source.HYPOTHETICAL])
@pytest.mark.parametrize("fidelity", Fidelity)
def test_what_is_not_from_the_party_looks_as_what_the_intermediary_thought_up(
    source: Source, fidelity: Fidelity
) -> None:
    held = item(replace(FREE, source=source, fidelity=fidelity))
    words = held.text if fidelity is Fidelity.VERBATIM else "It could be otherwise."
    shown = as_put(held, words, LATE, DAY, b"", None)
    own = own_idea(words, shown.expires, hypothetical=source is Source.HYPOTHETICAL)
    assert encode(shown) == encode(own)


@given(
    st.integers(NOW, NOW + 400 * DAY),
    st.sampled_from([HOUR - 1, HOUR, DAY - 1, DAY, 30 * DAY]),
    st.integers(1, 40 * DAY),
    st.integers(0, 15 * DAY),
)
def test_an_own_idea_has_the_times_of_what_was_handed_over_some_time_ago(
    now: int, life: int, wanted: int, younger: int
) -> None:
    younger %= life // 2
    handed_over = now - younger
    terms = replace(FREE, source=Source.IDEA, expires=min(now + wanted, handed_over + life))
    shown = as_put(item(terms), item(terms).text, handed_over + life, life, b"", None)
    expires, ends = own_times(now, life, now + wanted, younger)
    assert (expires, ends) == (shown.expires, rounded(handed_over + life, life))


def test_an_answer_is_passed_on_as_what_it_is_or_left_open_in_a_gist() -> None:
    answer = item(answer=Answer.DECLINE)
    for claimed in (Answer.ACCEPT, None):
        with pytest.raises(Misuse):
            as_put(answer, answer.text, LATE, DAY, ITEM, claimed)
    gist = replace(answer, fidelity=Fidelity.GIST)
    assert as_put(gist, "Not now.", LATE, DAY, ITEM, None).answer is None
    with pytest.raises(Misuse, match="a decline"):
        as_put(gist, "Not now.", LATE, DAY, ITEM, Answer.QUESTION)


@given(st.integers(NOW, NOW + 400 * DAY), st.sampled_from([HOUR - 1, HOUR, DAY - 1, DAY, 30 * DAY]))
def test_times_that_cross_are_rounded_down(ends: int, life: int) -> None:
    step = 10 if life < HOUR else 60 if life < DAY else HOUR
    assert rounded(ends, life) % step == 0
    assert 0 <= ends - rounded(ends, life) < step


@given(st.integers(1, 400 * DAY), st.integers(60, 400 * DAY))
def test_the_service_keeps_what_was_carried_for_a_round_time_that_covers_it(left: int, longest: int) -> None:
    left = min(left, longest)
    kept = life_at_service(left, longest)
    assert left <= kept <= longest
    assert kept == longest or (kept % HOUR == 0 and (kept // HOUR).bit_count() == 1)


def test_terms_are_bound_by_the_life_of_the_message_and_the_delay_by_what_is_left() -> None:
    check_terms(FREE, NOW, LATE)
    for terms, ends in (
        (replace(FREE, expires=NOW), LATE),
        (FREE, LATE - 1),
        (replace(FREE, not_before=LATE), LATE),
    ):
        with pytest.raises(Misuse):
            check_terms(terms, NOW, ends)
    shown = own_idea("x", LATE, hypothetical=False)
    for now, wanted in itertools.product((NOW, LATE - 100, LATE, LATE + 1), (0, 10, DAY)):
        assert 0 <= longest_delay(shown, now, wanted) <= max(0, min(wanted, (LATE - now) // 4))
