"""Questionnaire, presets and explanation: what people are asked, given to start from, and told."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pourparler_policies.charter import CharterErrors, decode, explain, parse, schema
from pourparler_policies.charter import questionnaire as q
from pourparler_policies.charter.presets import PRESETS, preset
from pourparler_policies.charter.testing import PLACEHOLDER, answers, fill_cards, text
from pourparler_policies.errors import Misuse


def test_the_questionnaire_asks_for_every_key_and_nothing_else() -> None:
    asked = [question.key for question in q.questions()]
    keys = [key.name for key in schema.TOP] + [
        f"{section}.{key.name}" for section, found in schema.SECTIONS.items() for key in found
    ]
    assert asked == keys
    assert [question.key for question in q.questions("parties")] == [key.name for key in schema.PARTY]
    assert all(question.text for question in q.questions())


def test_answers_make_a_text_that_is_read_back_as_answered_with_a_comment_for_each_rule() -> None:
    document = q.write(answers())
    charter = parse(document)
    assert charter.title == "Lake talks"
    assert {card.name for card in charter.parties["a"].cards} == {"a1", "a2", "a3"}
    assert all("#" in line for line in document.split("\n") if line.startswith(("messages", "recall", "decides")))


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_any_answer_is_either_read_back_as_it_was_given_or_told_to_be_wrong(answer: str) -> None:
    document = q.write(answers() | {"purpose": answer, "title": answer})
    wrong = [key for key in schema.TOP if key.name in {"purpose", "title"} and q.check(key, answer)]
    try:
        charter = parse(document)
    except CharterErrors:
        assert wrong or not answer.isprintable()
    else:
        assert not wrong
        assert charter.title == answer
        assert charter.purpose == answer.strip()


def test_an_answer_that_is_wrong_is_told_with_the_remedy() -> None:
    assert q.check(schema.SECTIONS["retention"][0], "soon") == (
        'this is no length of time; write a number and minutes, hours, days or weeks: "7 days"'
    )
    assert q.check(schema.SECTIONS["retention"][0], "2 weeks") == ""


@pytest.mark.parametrize("seconds", [60, 3600, 86400, 7 * 86400, 14 * 86400, 90 * 60])
def test_times_are_said_in_words_that_are_read_back(seconds: int) -> None:
    assert schema.duration(0, 10**9)(schema.say(seconds)) == seconds


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_lacks_nothing_but_the_cards(name: str) -> None:
    with pytest.raises(CharterErrors) as caught:
        parse(preset(name))
    assert {error.what for error in caught.value.errors} == {"this is no card's fingerprint"}
    assert len(caught.value.errors) == preset(name).count(PLACEHOLDER)
    charter = parse(fill_cards(preset(name)))
    assert decode(charter.encode()) == charter
    assert preset(name).startswith("# ")
    assert preset(name).count("#") > 5
    assert len(charter.parties) >= 2


def test_presets_differ_and_an_unknown_one_is_refused() -> None:
    assert len({parse(fill_cards(preset(name))).hash for name in PRESETS}) == len(PRESETS) == 6
    with pytest.raises(Misuse, match="choose from"):
        preset("summit")


@pytest.mark.parametrize("name", PRESETS)
def test_every_charter_can_be_explained_to_everybody_whom_it_names(name: str) -> None:
    charter = parse(fill_cards(preset(name)))
    for body in [*charter.parties, *charter.intermediaries]:
        told = explain(charter, body)
        whole = " ".join(told)
        assert all(paragraph.endswith((".", '"')) for paragraph in told)
        assert "seconds" not in whole
        assert "None" not in whole
        for other in charter.intermediaries.values():  # declarations stand before everybody
            assert other.institution in whole
            assert other.funding in whole
            assert other.interests in whole


def test_what_a_charter_gives_up_is_said() -> None:
    weaker = parse(text().replace("read_offline = false", "read_offline = true"))
    assert "gives something up" in " ".join(explain(weaker, "a"))
    assert "gives something up" not in " ".join(explain(parse(text()), "a"))


def test_an_assistant_is_told_that_assistants_cannot_approve_and_an_intermediary_that_it_has_no_vote() -> None:
    charter = parse(text())
    assert "cannot approve" in " ".join(explain(charter, "a"))
    assert "You have no vote" in " ".join(explain(charter, "m"))
    with pytest.raises(Misuse, match="has no z"):
        explain(charter, "z")


def test_capacity_and_confirmation_from_home_are_said() -> None:
    official = text().replace('capacity = "personal"', 'capacity = "mandated"')
    official = official.replace('confirmation = "none"', 'confirmation = "the ministry, within 14 days"')
    told = " ".join(explain(parse(official), "a"))
    assert "with a mandate" in told
    assert "by the ministry, within 14 days; until then it does not count" in told
