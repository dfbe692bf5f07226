"""A charter is read whole or not at all, and whoever wrote it is told every error with its line and remedy."""

import re
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pourparler_policies.charter import CharterErrors, parse
from pourparler_policies.charter.lines import locate
from pourparler_policies.charter.questionnaire import write
from pourparler_policies.charter.rules import MAX_CHARTER, Named, Role
from pourparler_policies.charter.testing import answers, body_cards, text


def errors(document: str) -> list[str]:
    with pytest.raises(CharterErrors) as caught:
        parse(document)
    return [str(error) for error in caught.value.errors]


def line_of(document: str, part: str) -> int:
    return next(n for n, line in enumerate(document.split("\n"), 1) if part in line)


def changed(old: str, new: str, **other: Any) -> str:
    document = text(**other)
    assert old in document
    return document.replace(old, new)


def test_a_charter_gives_the_fold_its_rules() -> None:
    charter = parse(text())
    rules = charter.rules
    assert rules.charter == charter.hash
    assert rules.parties == {"a": 1, "b": 1}
    assert rules.intermediaries == {"m"}
    cards = body_cards("a", ("delegate", "delegate", "assistant"))
    assert Named("a", Role.ASSISTANT, bytes.fromhex(cards[2]["fingerprint"])) in rules.founding
    assert len(rules.founding) == 7
    assert (rules.seats, rules.intermediary_seats, rules.devices) == (3, 2, 2)
    assert rules.notice == 3 * 24 * 3600


def test_comments_blanks_and_the_order_of_keys_change_no_hash() -> None:
    document = text()
    bare = "\n".join(line.partition("  #")[0] for line in document.split("\n") if not line.startswith("#"))
    head, *tables = re.split(r"(?m)^(?=\[(?:seats|retention|attribution|admission|release)\])", bare)
    assert parse(bare).hash == parse(document).hash
    last = tables[-1]
    release, rest = last[: last.index("[[reporting]]")], last[last.index("[[reporting]]") :]
    shuffled = head + release + "".join(reversed(tables[:-1])) + rest
    assert parse(shuffled).hash == parse(document).hash
    swapped = answers(parties=("b", "a"))
    assert parse(text(parties=("b", "a"))).hash == parse(document).hash
    assert list(swapped["parties"]) == ["b", "a"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"Lake talks"', '"Lake talk"'),
        ('"7 days"', '"8 days"'),
        ('"3 days"', '"4 days"'),
        ('"chatham house"', '"attributed"'),
        ("recall = true", "recall = false"),
        ('"any delegate"', '"2 of the delegates"'),
        ('"personal"', '"mandated"'),
        ('"A foundation"', '"A ministry"'),
        ('role = "assistant"', 'role = "interpreter"'),
        ('"gist"', '"verbatim"'),
        ('"There is nothing to comment on."', '"No comment."'),
        ('stop = "any party"', 'stop = "nobody"'),
    ],
)
def test_every_rule_is_under_the_hash(old: str, new: str) -> None:
    assert parse(changed(old, new)).hash != parse(text()).hash


def test_all_errors_are_told_at_once_each_with_its_line() -> None:
    document = (
        text()
        .replace('"7 days"', '"7 dys"')
        .replace("party = 3", "party = 300")
        .replace('role = "assistant"', 'role = "spy"', 1)
        .replace("[attribution]", "[attribution]\nvolume = 11", 1)
    )
    told = errors(document)
    assert len(told) == 4
    for part, what in (
        ("7 dys", "no length of time"),
        ("300", "no possible number"),
        ('"spy"', "one of the choices"),
        ("volume", "no such rule"),
    ):
        line = line_of(document, part)
        assert any(error.startswith(f"line {line}: ") and what.split()[-1] in error for error in told), (
            part,
            told,
        )
    assert all("; " in error for error in told)


WRONG: list[tuple[str, str, str]] = [
    ('title = "Lake talks"', 'title = ""', "no name"),
    ('title = "Lake talks"', 'title = "Lake\\u202etalks"', "U+202E"),
    ('title = "Lake talks"', 'title = "Lake\\u00adtalks"', "U+00AD"),
    ('title = "Lake talks"', 'title = " Lake talks"', "no name"),
    ('purpose = "To look', 'purpose = "\\u2066To look', "U+2066"),
    ('["en", "ar"]', '["en", "en"]', "languages"),
    ('["en", "ar"]', '["english"]', "language tag"),
    ("policy = 1", "policy = 2", "possible number"),
    ("policy = 1", "policy = true", "possible number"),
    ('"7 days"', "7", "length of time"),
    ('"7 days"', '"401 days"', "out of range"),
    ('notice = "3 days"', 'notice = "31 days"', "out of range"),
    ('absence = "30 days"', 'absence = "2 days"', "longer than the absence limit"),
    ('messages = "7 days"', 'messages = "7 days"\nafter_reading = "8 days"', "longer than a message lives"),
    ("speaks_for_no_government = true", "speaks_for_no_government = false", "has to be true"),
    ("read_offline = false", 'read_offline = "no"', "neither true nor false"),
    ("[parties.b]", "[parties.B]", "no identifier"),
    ("[seats]", "[chairs]", "no such rule"),
    ("party = 3", "party = 2", "more cards than"),
    ("intermediary = 2", "intermediary = 0", "possible number"),
    ('name = "Side b"', 'name = "Side a"', "another body has this name"),
    ('decides = "any delegate"', 'decides = "the head"', "no card is the head's"),
    ('decides = "any delegate"', 'decides = "3 of the delegates"', "fewer deciding cards"),
    ('decides = "any delegate"', 'decides = "the loudest"', "no decision rule"),
    ("[intermediaries.m]", "[intermediaries.a]", "a party has this identifier"),
    ("[agreed_line]", '[agreed_line]\nfr = "Rien."', "not among the languages"),
    ("fingerprint = ", "fingerprints = ", "missing"),
    ('form = "gist"', "", "missing"),
    ("[[reporting]]", "[reporting]", "one or more entries"),
]


@pytest.mark.parametrize(("old", "new", "what"), WRONG, ids=[what for *_, what in WRONG])
def test_each_wrong_value_is_told_with_its_remedy(old: str, new: str, what: str) -> None:
    document = changed(old, new)
    if old.startswith("[intermediaries"):
        document = document.replace("intermediaries.m", "intermediaries.a")
    if old.startswith("[parties.b]"):
        document = document.replace("parties.b", "parties.B")
    assert any(what in error for error in errors(document)), errors(document)


def test_a_card_has_one_place() -> None:
    made = answers()
    made["parties"]["b"]["cards"] = body_cards("a", ("delegate",))
    assert any("named twice" in error for error in errors(write(made)))


@pytest.mark.parametrize("count", [1, 17])
def test_there_are_two_parties_or_more_and_not_too_many(count: int) -> None:
    made = answers(parties=tuple(f"p{n}" for n in range(count)))
    assert any(f"there are {count} parties" in error for error in errors(write(made)))


def test_lines_that_are_no_toml_are_told_all_of_them() -> None:
    document = text().replace('"7 days"', "7 days").replace('"chatham house"', "chatham house")
    told = errors(document)
    assert [int(error.split()[1].rstrip(":")) for error in told] == [
        line_of(document, "7 days"),
        line_of(document, "chatham"),
    ]


def test_a_table_that_stands_twice_is_told_with_the_second_line() -> None:
    document = text() + "\n[seats]\nparty = 4\n"
    (told,) = errors(document)
    assert told.startswith(f"line {document.split(chr(10)).index('[seats]', 20) + 1}: ")
    assert "second time" in told


@pytest.mark.parametrize(
    "document",
    [
        "",
        "#" * (MAX_CHARTER + 1),
        "a = " + "[" * 5000,
        "a = " + "9" * 5000,
        "a = \udcff",
        'a = """\n' * 8000,
        "[a]\n" * 16_000,
        "\x00",
        "[a.b\n" * 900,
    ],
    ids=["empty", "too long", "deep", "long number", "surrogate", "open quotes", "tables", "nul", "open tables"],
)
def test_hostile_texts_are_refused_in_reasonable_time(document: str) -> None:
    assert errors(document)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_whatever_is_cut_or_put_into_a_charter_it_is_read_or_refused_with_lines(data: st.DataObject) -> None:
    document = text()
    start = data.draw(st.integers(0, len(document)))
    end = data.draw(st.integers(start, min(len(document), start + 40)))
    broken = document[:start] + data.draw(st.text(max_size=8)) + document[end:]
    try:
        parse(broken)
    except CharterErrors as refused:
        lines = broken.count("\n") + 1
        assert refused.errors
        assert all(1 <= error.line <= lines and error.what and error.remedy for error in refused.errors)


def test_the_line_of_every_key_is_found() -> None:
    document = text()
    located = locate(document)
    assert located.document == tomllib.loads(document)
    rows = document.split("\n")
    for path, line in located.lines.items():
        assert str(next(part for part in reversed(path) if isinstance(part, str))) in rows[line - 1]


def test_texts_over_several_lines_keep_the_lines_after_them() -> None:
    document = text().replace('"To look for ways out."', '"""To look\nfor ways\nout."""')
    assert parse(document).purpose == "To look\nfor ways\nout."
    assert errors(document.replace('"7 days"', '"x"'))[0].startswith(f"line {line_of(document, '7 days')}:")
