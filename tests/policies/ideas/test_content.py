"""What packets hold: ideas and ballots, read with limits; whatever else is in one counts for nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pourparler_policies.errors import Misuse, Void
from pourparler_policies.ideas.content import (
    MAX_GROUPS,
    MAX_IDEA,
    NOTHING,
    Ballot,
    read_ballot,
    read_idea,
    tally,
    write_ballot,
    write_idea,
)


def test_an_idea_is_read_as_it_was_written_and_nothing_as_nothing() -> None:
    assert (
        read_idea(write_idea("  \u0627\u0641\u062a\u062d\u0648\u0627 \u0627\u0644\u0637\u0631\u064a\u0642 ")) != ""
    )
    assert read_idea(write_idea("x" * MAX_IDEA)) == "x" * MAX_IDEA
    assert read_idea(NOTHING) == ""


@pytest.mark.parametrize("text", ["", "  ", "x" * (MAX_IDEA + 1), "\ud800"])
def test_what_is_no_idea_is_refused_before_it_is_kept(text: str) -> None:
    with pytest.raises(Misuse):
        write_idea(text)


@given(st.binary(max_size=1500))
def test_garbage_is_void_or_an_idea_and_never_anything_else(data: bytes) -> None:
    for read in (read_idea, lambda content: read_ballot(content, 9)):
        try:
            read(data)
        except Void:
            continue


@pytest.mark.parametrize(
    "content",
    [
        b"m{}", b"m[]", b"mnull", b'm{"m":[0],"g":{}}', b'm{"m":[10],"g":{}}', b'm{"m":[2,1],"g":{}}',
        b'm{"m":[1,1],"g":{}}', b'm{"m":[true],"g":{}}', b'm{"m":[1.0],"g":{}}', b'm{"m":[1],"g":{"":[1]}}',
        b'm{"m":[1],"g":{"a\\u202eb":[1]}}', b'm{"m":[1],"g":{},"x":1}', b'm{"m":[],"g":{}}',
        b"m" + b"[" * 1300, b'i{"m":[1],"g":{}}',
    ],
)  # fmt: skip
def test_a_ballot_that_is_not_in_its_one_form_is_void(content: bytes) -> None:
    with pytest.raises(Void):
        read_ballot(content, 9)


def test_a_ballot_is_read_as_it_was_written() -> None:
    ballot = Ballot(frozenset({1, 3}), {"Water": frozenset({1, 2})})
    assert read_ballot(write_ballot(ballot, 3), 3) == ballot
    assert write_ballot(Ballot(), 3) == NOTHING


def test_what_does_not_fit_a_ballot_is_told_to_its_author() -> None:
    with pytest.raises(Misuse, match="1 to 3"):
        write_ballot(Ballot(frozenset({4})), 3)
    with pytest.raises(Misuse, match="heading"):
        write_ballot(Ballot(groups={"x" * 61: frozenset({1})}), 3)
    with pytest.raises(Misuse, match="groups"):
        write_ballot(Ballot(groups={str(n): frozenset({1}) for n in range(MAX_GROUPS + 1)}), 3)
    with pytest.raises(Misuse, match="bytes"):
        write_ballot(Ballot(groups={"\u0639" * 59 + str(n): frozenset(range(1, 97)) for n in range(8)}), 96)


def test_marks_are_counted_and_groups_of_one_heading_are_one() -> None:
    ballots = [
        Ballot(frozenset({1, 2}), {"Water": frozenset({1})}),
        Ballot(frozenset({2}), {"water": frozenset({3})}),
        Ballot(),
    ]
    found = tally(ballots, 3)
    assert found.marks == {1: 1, 2: 2, 3: 0}
    assert found.groups == {"Water": (frozenset({1, 3}), 2)}
    assert found.ballots == 2
    assert tally(ballots[::-1], 3) == found
