"""The program puts cards and answers into a charter's text, and changes nothing else in it."""

import difflib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pourparler_policies.charter import CharterErrors, parse
from pourparler_policies.charter.document import Card
from pourparler_policies.charter.filling import OPEN, put_card, put_lines, put_value
from pourparler_policies.charter.presets import PRESETS, preset
from pourparler_policies.charter.rules import Role
from pourparler_policies.charter.testing import text
from pourparler_policies.errors import Misuse

HERON = Card(bytes(range(32)), "Heron", Role.DELEGATE)


def changes(old: str, new: str) -> list[str]:
    """The lines that came and went."""
    return [line for line in difflib.ndiff(old.split("\n"), new.split("\n")) if line[:2] in {"+ ", "- "}]


def test_a_card_takes_the_first_place_that_waits_for_its_role() -> None:
    old = preset("shuttle")
    new = put_card(old, "speakers", Card(bytes(32), "Wren", Role.INTERPRETER))
    assert changes(old, new) == [
        '- name = "Interpreter"',
        '+ name = "Wren"',
        f'- fingerprint = "{OPEN}"',
        f'+ fingerprint = "{"00" * 32}"',
    ]


def test_a_card_for_which_no_place_waits_is_put_behind_the_others_of_its_body() -> None:
    old = text()
    for body in ("a", "b", "m"):
        role = Role.INTERMEDIARY if body == "m" else Role.DELEGATE
        new = put_card(old, body, Card(HERON.fingerprint, HERON.name, role))
        assert all(line.startswith("+ ") for line in changes(old, new))
        with_more = new.replace("party = 3", "party = 4")
        charter = parse(with_more)
        (held,) = [b for key, b in [*charter.parties.items(), *charter.intermediaries.items()] if key == body]
        assert held.cards[0] == Card(HERON.fingerprint, HERON.name, role)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_keeps_its_comments_whatever_is_put_into_it(name: str) -> None:
    comments = [line for line in preset(name).split("\n") if line.startswith("#")]
    made = put_lines(preset(name), {"en": "Nothing.", "xx": 'A "quoted" # line'})
    made = put_value(made, ("title",), "New = # title")
    made = put_value(made, ("retention", "keys"), "2 days")
    assert [line for line in made.split("\n") if line.startswith("#")] == comments
    if "# people travel home" in preset(name):
        assert 'absence = "2 weeks"  # people travel home' in put_value(made, ("retention", "absence"), "2 weeks")


@pytest.mark.parametrize(
    ("body", "card", "why"),
    [
        ("c", HERON, "has no c; it has a, b, m"),
        ("a", Card(HERON.fingerprint, "Heron", Role.INTERMEDIARY), "nobody of a is intermediary"),
        ("m", HERON, "nobody of m is delegate: write intermediary"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(body: str, card: Card, why: str) -> None:
    with pytest.raises(Misuse, match=why):
        put_card(text(), body, card)


def test_a_card_is_named_once() -> None:
    new = put_card(text(), "a", HERON)
    for body in ("a", "b"):
        with pytest.raises(Misuse, match="named in this charter already"):
            put_card(new, body, HERON)
    spaced = new.replace(HERON.fingerprint.hex(), " ".join(f"{byte:02x}" for byte in HERON.fingerprint))
    with pytest.raises(Misuse, match="named in this charter already"):
        put_card(spaced, "b", HERON)


def test_a_text_that_is_no_toml_is_refused_with_its_lines() -> None:
    with pytest.raises(CharterErrors, match="line 2: this cannot be read"):
        put_card("charter = 1\ntitle = lake\n", "a", HERON)


@pytest.mark.parametrize(
    "document",
    [
        "parties = 3",
        "[parties]\na = 3",
        "[parties.a]\ncards = 3",
        "[parties.a]\ncards = [3]",
        '[parties.a]\ncards = [{fingerprint = "' + OPEN + '", role = "delegate"}]',
        '[[parties.a.cards]]\nrole = "delegate"\nfingerprint = """\\\n' + OPEN + '"""',
        '[[parties.a.cards]]\nrole = "delegate"\nfingerprint = "' + OPEN + '"',
    ],
)
def test_odd_texts_are_left_alone(document: str) -> None:
    with pytest.raises(Misuse):
        put_card(document, "a", HERON)


def test_lines_may_end_as_on_windows() -> None:
    new = put_card(preset("workshop").replace("\n", "\r\n"), "north", HERON)
    assert HERON.fingerprint.hex() in new
    last = text().count("\n") + 1
    with pytest.raises(CharterErrors, match=rf"^line {last}: [^\n]*$"):
        parse(text().replace("\n", "\r\n") + "x")
    assert parse(text().replace("\n", "\r\n")) == parse(text())


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_whatever_the_text_a_card_is_put_in_and_nothing_else_changes_or_it_is_refused(data: st.DataObject) -> None:
    document = preset("workshop")
    start = data.draw(st.integers(0, len(document)))
    end = data.draw(st.integers(start, min(len(document), start + 30)))
    broken = document[:start] + data.draw(st.text(max_size=8)) + document[end:]
    try:
        new = put_card(broken, "north", HERON)
    except Misuse:
        return
    assert HERON.fingerprint.hex() in new
    assert len(changes(broken, new)) <= 6
