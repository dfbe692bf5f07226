"""No rule can tell parties apart, and no member computes another state than the rest (DESIGN 2.6, 3)."""

import os
import subprocess
import sys
from dataclasses import fields, replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pourparler_policies.charter.rules import Role
from pourparler_policies.fold import digest, fold, step
from pourparler_policies.fold.encoding import encode, subject_digest
from pourparler_policies.fold.events import Entry
from pourparler_policies.fold.exploring import Play, entries
from pourparler_policies.fold.facts import (
    Adjourn,
    Admit,
    Close,
    Expel,
    Lift,
    Recall,
    Recess,
    Replace,
    State,
    Subject,
)
from pourparler_policies.fold.renaming import Renaming, scrambled
from pourparler_policies.fold.testing import DAY, NOTICE, START, History, card, founded, leaf, rules

WORDS = [f"{body}{number}" for body in "abc" for number in (1, 2, 3)] + ["m1"]


def start(parties: int) -> Play:
    """A channel from its first device on, with everything that could be put on the table."""
    bodies = "abc"[:parties]
    named = {f"{body}1": (body, Role.DELEGATE) for body in bodies} | {"m1": ("m", Role.INTERMEDIARY)}
    history = History(rules(dict.fromkeys(bodies, 1), named, intermediaries=("m",)), "m1")
    cast = {word: body for word, (body, _) in named.items()} | {f"{body}2": body for body in bodies}
    subjects: dict[tuple[str, ...], Subject] = {}
    for word, body in cast.items():
        role = Role.INTERMEDIARY if body == "m" else Role.DELEGATE
        subjects["admit", word] = Admit(body, role, card(word))
    for word in named:
        seat = subject_digest(history.rules, subjects["admit", word])
        subjects["lift", word], subjects["expel", word], subjects["recall", word] = (
            Lift(seat),
            Expel(seat),
            Recall(seat),
        )
        subjects["replace", word] = Replace(seat, card(word), card(word[0] + "3"))
    subjects["recess",], subjects["close",] = Recess(START + DAY), Close()
    subjects["adjourn",] = Adjourn(START + DAY)
    return Play(history.state, cast, subjects)


def walk(play: Play, choices: list[int]) -> list[Entry]:
    """A history in which every choice is an entry that somebody could send; most count, some are void."""
    state, log, now = play.start, [], START
    for choice in choices:
        possible = list(entries(play, state))
        if not possible:
            break
        useful = [entry for entry in possible if not step(state, entry).void] if choice % 8 else possible
        entry = (useful or possible)[choice // 8 % len(useful or possible)]
        now += NOTICE if choice % 5 == 0 else 1
        entry = replace(entry, seq=len(log) + 1, received_at=now)
        state = step(state, entry).state
        log.append(entry)
    return log


class Renamed(Renaming):
    """Other names for the parties, under another charter: every card, seat and digest follows."""

    def __init__(self, play: Play, names: dict[str, str]) -> None:
        super().__init__(names)
        for word in WORDS:
            other = names.get(word[0], word[0]) + word[1:]
            self.held[card(word)] = card(other)
            for generation in (0, 1):
                self.held[leaf(word, generation)] = leaf(other, generation)
        self.held[play.start.rules.charter] = b"another charter, with other name"
        self.rules = self(play.start.rules)
        ordered = sorted(play.subjects.values(), key=lambda subject: not isinstance(subject, Admit))
        for subject in ordered:  # seats are digests of admissions, so those come first
            self.held[subject_digest(play.start.rules, subject)] = subject_digest(self.rules, self(subject))


CHOICES = st.lists(st.integers(0, 10_000), min_size=10, max_size=40)


@settings(max_examples=25, deadline=None)
@given(CHOICES, st.sampled_from([2, 3]), st.integers(0, 5))
def test_renaming_the_parties_in_any_history_renames_the_outcome_and_changes_nothing_else(
    choices: list[int], parties: int, order: int
) -> None:
    play = start(parties)
    bodies = sorted(play.start.rules.parties)
    orders = list(permutations(bodies))
    rename = Renamed(play, dict(zip(bodies, orders[order % len(orders)], strict=True)))
    state, renamed = play.start, rename(play.start)
    for entry in walk(play, choices):
        outcome, other = step(state, entry), step(renamed, rename(entry))
        assert outcome.void == other.void
        state, renamed = outcome.state, other.state
        assert rename(state) == renamed
        assert digest(rename(state)) == digest(renamed)


@settings(max_examples=25, deadline=None)
@given(CHOICES, st.integers(0, 40))
def test_a_member_that_folds_in_parts_or_stored_its_state_in_another_order_computes_the_same(
    choices: list[int], cut: int
) -> None:
    play = start(3)
    log = walk(play, choices)
    whole = fold(play.start, log)
    stored = scrambled(fold(scrambled(play.start), log[:cut]))
    assert digest(fold(stored, log[cut:])) == digest(whole)
    assert encode(whole) == encode(scrambled(whole))


def test_renaming_can_fail() -> None:
    """Were a party preferred, the property would notice: here one name is changed on one side only."""
    play = start(2)
    rename = Renamed(play, {"a": "b", "b": "a"})
    history = founded(2)
    assert rename(history.state) != history.state


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_neither_hash_seeds_nor_a_wrong_clock_change_the_state(seed: str) -> None:
    code = (
        "import time; time.time = lambda: 0.0\n"
        "from pourparler_policies.fold.testing import founded\n"
        "from pourparler_policies.fold import digest\n"
        "print(digest(founded(3, delegates=2, rule=2, intermediary=True).state).hex())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": "Asia/Kathmandu"}
    made = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert made.stdout.strip() == digest(founded(3, delegates=2, rule=2, intermediary=True).state).hex()


def test_the_digest_covers_every_field_of_the_state() -> None:
    state = founded(2).state
    others: list[State] = [
        replace(state, recess=1),
        replace(state, erased=1),
        replace(state, closed=True),
        replace(state, closing=1),
        replace(state, acknowledged=frozenset({b"a"})),
        replace(state, disclosed=frozenset({b"a"})),
        replace(state, founded=False),
        replace(state, time=1),
        replace(state, spent=frozenset()),
        replace(state, seats={}),
        replace(state, devices={}),
        replace(state, rules=replace(state.rules, version=2)),
    ]
    assert len({digest(other) for other in [state, *others]}) == len(others) + 1
    assert {field.name for field in fields(State)} == {
        "rules",
        "seats",
        "devices",
        "open",
        "spent",
        "founded",
        "recess",
        "erased",
        "adjourned",
        "time",
        "closed",
        "closing",
        "acknowledged",
        "disclosed",
    }


def test_the_encoding_cannot_be_read_in_two_ways() -> None:
    values: list[object] = [b"", "", (), frozenset(), {}, 0, False, None, (b"ab",), (b"a", b"b"), ("ab",), 1, True]
    assert len({encode(value) for value in values}) == len(values)
    with pytest.raises(TypeError):
        encode(1.5)
