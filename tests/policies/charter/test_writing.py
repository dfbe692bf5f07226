"""Questionnaire, presets and explanation: what people are asked, given to start from, and told."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pourparler_policies.charter import CharterErrors, decode, explain, parse, schema
from pourparler_policies.charter import questionnaire as q
from pourparler_policies.charter.advice import advise
from pourparler_policies.charter.presets import PRESETS, preset
from pourparler_policies.charter.testing import PLACEHOLDER, answers, fill_cards, text
from pourparler_policies.errors import Misuse
from pourparler_policies.fold.facts import Close, Lift, Recall, Replace
from pourparler_policies.fold.table import CONSENT, Consent, Ground


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
    assert schema.Duration(0, 10**9)(schema.say(seconds)) == seconds


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_lacks_nothing_but_the_cards_and_what_its_users_declare(name: str) -> None:
    with pytest.raises(CharterErrors) as caught:
        parse(preset(name))
    lacking = [error.where.rpartition(".")[2] for error in caught.value.errors]
    declared = ["institution", "funding", "interests", "speaks_for_no_government"]
    assert sorted(lacking) == sorted([*declared, *["fingerprint"] * preset(name).count(PLACEHOLDER)])
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


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_needs_no_advice(name: str) -> None:
    assert advise(parse(fill_cards(preset(name)))) == []


def test_advice_names_what_is_regretted_later() -> None:
    def advice(**other: Any) -> str:
        return " ".join(advise(parse(text(**other))))

    assert "personal capacity" in advice()  # and signatories "parties"
    assert "personal capacity" not in advice(release={"signatories": "persons"})
    assert "no agreed line in ar" in advice()
    assert "no agreed line" not in advice(agreed_line={"en": "Nothing.", "ar": "لا شيء."})
    assert "cannot act once" not in advice()
    two = text().replace('decides = "any delegate"', 'decides = "2 of the delegates"', 1)
    assert "Side a cannot act once a single device" in " ".join(advise(parse(two)))
    head = text().replace('decides = "any delegate"', 'decides = "the head"', 1)
    head = head.replace('role = "delegate"', 'role = "head"', 1)
    assert "Side a cannot act once" in " ".join(advise(parse(head)))
    spare = head.replace('role = "delegate"', 'role = "head"', 1)
    assert "Side a cannot act once" not in " ".join(advise(parse(spare)))


def _other(key: schema.Key, value: Any) -> Any:
    """Another value that a key may have."""
    match key.kind:
        case schema.Number():
            return 1 if value == 2 else value + 1
        case schema.Duration():
            return "5 days" if value != "5 days" else "4 days"
        case schema.Choice(meanings):
            return next(word for word in meanings if word not in {value, "head"})
        case schema.yes_no:
            return not value
        case schema.languages:
            return [*value, "fr"]
        case schema.decision:
            return "2 of the delegates"
    return f"{value} indeed"


def _rules() -> list[tuple[tuple[str | int, ...], schema.Key]]:
    """Every key of a charter that can have another value, with a place where it stands in `_full`."""
    places = [((), schema.TOP), *(((section,), keys) for section, keys in schema.SECTIONS.items())]
    places += [(("parties", "b"), schema.PARTY), (("intermediaries", "m"), schema.INTERMEDIARY)]
    places += [(("parties", "b", "cards", 2), schema.CARD), (("reporting", 0), schema.REPORT)]
    fixed = {"charter", "policy", "speaks_for_no_government", "fingerprint"}
    return [((*path, key.name), key) for path, keys in places for key in keys if key.name not in fixed]


def _full() -> dict[str, Any]:
    made = answers()
    for section, keys in schema.SECTIONS.items():
        for key in keys:
            if key.default is not None:
                made[section].setdefault(key.name, q.understand_default(key))
    made["retention"]["after_reading"] = "1 day"
    made["parties"]["b"]["confirmation"] = "the ministry"
    return made


@pytest.mark.parametrize(("path", "key"), _rules(), ids=[".".join(map(str, path)) for path, _ in _rules()])
def test_no_rule_is_left_out_of_the_explanation_whoever_reads_it(
    path: tuple[str | int, ...], key: schema.Key
) -> None:
    made = _full()
    before = parse(q.write(made))
    inner: Any = made
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = _other(key, inner[path[-1]])
    after = parse(q.write(made))
    for body in ("", "a", "b", "m"):
        assert explain(before, body, accepted=True) != explain(after, body, accepted=True), body


def test_who_is_named_is_told_before_acceptance_only_if_the_charter_says_so() -> None:
    secret, shown = parse(text()), parse(text(admission={"names": "before acceptance"}))
    for body in ("", "a", "m"):
        assert not any(name in " ".join(explain(secret, body)) for name in ("a1", "a2", "b1", "m1"))
        assert "a1 (delegate)" in " ".join(explain(secret, body, accepted=True))
        assert "b3 (assistant)" in " ".join(explain(shown, body))


def test_what_somebody_may_not_tell_is_said_without_a_double_no() -> None:
    for whom in ("nobody", "anybody"):
        made = parse(text(reporting=[{"who": "The host", "whom": whom, "form": "nothing"}]))
        assert "The host may tell nothing to anybody." in " ".join(explain(made))


def test_what_a_rule_does_not_protect_from_is_said_beside_it() -> None:
    early = "could show early that one of the others has signed"
    assert early not in " ".join(explain(parse(text())))
    assert early in " ".join(explain(parse(text(parties=("a", "b", "c")))))
    assert "only put their place on hold" in " ".join(
        explain(parse(text(admission={"names": "after acceptance", "recall": False})))
    )


def test_whatever_happens_without_every_party_is_explained() -> None:
    told = " ".join(explain(parse(text()), "a"))
    subjects = {
        Replace: "the person's own side decides about the new card, and another party or an intermediary vouches",
        Recall: "A party may call its own people back by itself",
        Lift: "Your own side lifts the hold; if nobody who decides for it is there, another party or an",
        Close: "The channel ends for everyone when every party that is there approves",
    }
    grounds = {
        Ground.FOUNDING: "The people whom these rules name enter first, and each party that is there already",
        Ground.SECOND: "A second device of the same person needs no approval",
        Ground.REPLACEMENT: subjects[Replace],
        Ground.RETURN: "the device comes back without new approvals",
    }
    assert subjects.keys() == {
        subject for subject, (consent, _) in CONSENT.items() if consent is not Consent.EVERY
    }
    assert grounds.keys() == set(Ground) - {Ground.ADMISSION}
    for sentence in [*subjects.values(), *grounds.values()]:
        assert sentence in told, sentence


def test_an_example_of_a_preset_is_no_declaration() -> None:
    with pytest.raises(CharterErrors, match="example from a preset"):
        parse(text().replace('"A foundation"', '"<A foundation>"'))
    assert parse(text().replace('"A foundation"', '"A foundation <of the north>"'))


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("seats.party", "3", 3),
        ("retention.messages", "2 weeks", "2 weeks"),
        ("retention.read_offline", "Yes", True),
        ("retention.read_offline", "n", False),
        ("attribution.rule", "2", "chatham house"),
        ("attribution.rule", "Unattributed", "unattributed"),
        ("languages", "en, ar sr-Cyrl", ["en", "ar", "sr-Cyrl"]),
        ("decides", "2 of the Delegates", "2 of the delegates"),
        ("speaks_for_no_government", "yes", True),
        ("title", "  3 wells ", "3 wells"),
    ],
)
def test_answers_are_understood_as_people_type_them(name: str, typed: str, value: Any) -> None:
    assert q.understand(_key(name), typed) == value


@pytest.mark.parametrize(
    ("name", "typed", "why"),
    [
        ("seats.party", "three", "whole number"),
        ("seats.party", "33", "1 to 32"),
        ("seats.party", "٣", "whole number"),
        ("retention.messages", "a week", "number and minutes"),
        ("retention.read_offline", "perhaps", "yes or no"),
        ("attribution.rule", "4", "number from 1 to 3"),
        ("languages", "", "commas"),
        ("languages", "english", "BCP 47"),
        ("speaks_for_no_government", "no", "make it a party"),
        ("title", "x" * 65, "shorten it to 64"),
        ("title", "Lake\u202etalks", "type the passage anew"),
    ],
)
def test_an_answer_that_cannot_be_is_told_with_what_to_type(name: str, typed: str, why: str) -> None:
    with pytest.raises(schema.Wrong) as caught:
        q.understand(_key(name), typed)
    assert why in caught.value.remedy


def _key(name: str) -> schema.Key:
    section, _, last = name.rpartition(".")
    keys = schema.SECTIONS[section] if section else (*schema.TOP, *schema.PARTY, *schema.INTERMEDIARY)
    return next(key for key in keys if key.name == last)


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
