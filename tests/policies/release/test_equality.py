"""No rule of release can tell parties apart, and every member computes the same state (DESIGN 2.6, 3)."""

from dataclasses import fields, replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pourparler_policies.charter.rules import Role
from pourparler_policies.fold.encoding import encode, subject_digest
from pourparler_policies.fold.events import Absent, Complained, Entry, Held
from pourparler_policies.fold.facts import Admit
from pourparler_policies.fold.renaming import Renaming, scrambled
from pourparler_policies.fold.testing import card, leaf
from pourparler_policies.ideas import IdeaRules
from pourparler_policies.ideas.facts import Round
from pourparler_policies.release import digest, fold, rounds, signing, step
from pourparler_policies.release import events as ev
from pourparler_policies.release.exploring import Play, entries, passes
from pourparler_policies.release.facts import Phase, State
from pourparler_policies.release.testing import talks

CHOICES = st.lists(st.integers(0, 10_000), min_size=10, max_size=40)
KINDS = frozenset(ev.KINDS) | {Complained, Absent, Held}


def start(parties: int, *, frozen: bool = False) -> Play:
    """An appointment has been made; or a whole round after it."""
    made = talks(parties, intermediary=True)
    cast = tuple(f"{body}1" for body in "abc"[:parties])
    made.draft()
    made.initial(*cast)
    made.post("m1", made.appointment())
    if frozen:
        for run in (made.commit, made.reveal, made.prepare):
            run(*cast, number=0)
    return Play(made.state, (*cast, "m1"), KINDS)


def walk(play: Play, choices: list[int]) -> list[Entry]:
    """A history in which every choice is an entry that somebody could send; most count, some are void."""
    state, log = play.start, list[Entry]()
    for choice in choices:
        if choice % 17 == 0:
            state = passes(state) or state
        possible = list(entries(play, state))
        useful = [entry for entry in possible if not step(state, entry).void] if choice % 8 else possible
        onward = [entry for entry in useful if goes_on(state, entry)]
        chosen = (onward if choice % 5 else useful) or useful or possible
        entry = replace(chosen[choice // 8 % len(chosen)], seq=len(log) + 1)
        state = step(state, entry).state
        log.append(entry)
    return log


def goes_on(state: State, entry: Entry) -> bool:
    """Whether an entry takes the round that counts further."""
    held: object = entry.content
    if not isinstance(held, ev.First | ev.Second | ev.Third | ev.Told) or state.case is None:
        return False
    return state.case.nonce in {b"", held.nonce}


class Renamed(Renaming):
    """Other names for the parties: every card, leaf and seat follows, and nothing else."""

    def __init__(self, play: Play, names: dict[str, str]) -> None:
        super().__init__(names)
        rules = play.start.consent.rules
        for word in play.cast:
            other = names.get(word[0], word[0]) + word[1:]
            role = Role.INTERMEDIARY if word[0] == "m" else Role.DELEGATE
            self.held[card(word)] = card(other)
            self.held[leaf(word)] = leaf(other)
            seat, new = Admit(word[0], role, card(word)), Admit(other[0], role, card(other))
            self.held[subject_digest(rules, seat)] = subject_digest(rules, new)


@settings(max_examples=12, deadline=None)
@given(CHOICES, st.sampled_from([2, 3]), st.integers(0, 5), st.booleans())
def test_renaming_the_parties_in_any_history_renames_the_outcome_and_changes_nothing_else(
    choices: list[int], parties: int, order: int, frozen: bool
) -> None:
    play = start(parties, frozen=frozen)
    bodies = sorted(play.start.consent.rules.parties)
    orders = list(permutations(bodies))
    rename = Renamed(play, dict(zip(bodies, orders[order % len(orders)], strict=True)))
    state, renamed = play.start, rename(play.start)
    for entry in walk(play, choices):
        outcome, other = step(state, entry), step(renamed, rename(entry))
        assert outcome.void == other.void
        state, renamed = outcome.state, other.state
        assert rename(state) == renamed
        assert digest(rename(state)) == digest(renamed)


@settings(max_examples=12, deadline=None)
@given(CHOICES, st.integers(0, 40), st.booleans())
def test_a_member_that_folds_in_parts_or_stored_its_state_in_another_order_computes_the_same(
    choices: list[int], cut: int, frozen: bool
) -> None:
    play = start(3, frozen=frozen)
    log = walk(play, choices)
    whole = fold(play.start, log)
    stored = scrambled(fold(scrambled(play.start), log[:cut]))
    assert digest(fold(stored, log[cut:])) == digest(whole)
    assert encode(whole) == encode(scrambled(whole))


def test_renaming_can_fail() -> None:
    play = start(2)
    assert Renamed(play, {"a": "b", "b": "a"})(play.start) != play.start


def test_walks_get_as_far_as_a_frozen_text_and_beyond() -> None:
    reached = set[object]()
    for seed in range(12):
        state = (play := start(2, frozen=seed > 9)).start
        for entry in walk(play, [(seed * 7919 + n * 1047) % 10_000 for n in range(30)]):
            state = step(state, entry).state
            reached.add(None if state.case is None else state.case.phase)
    assert reached >= {None, *Phase}, f"the histories of these properties hardly begin: {reached}"


def test_the_digest_covers_every_field_of_the_state() -> None:
    state = start(2).start
    others: list[State] = [
        replace(state, case=None),
        replace(state, papers={}),
        replace(state, released={b"d" * 32: "published"}),  # type: ignore[dict-item]
        replace(state, rules=replace(state.rules, stop=False)),
        replace(state, consent=replace(state.consent, time=1)),
        replace(state, ideas=IdeaRules(allowed=True)),
        replace(state, round=Round(b"r" * 16, b"", 9, 4, 4, 9, b"g" * 32)),
    ]
    assert len({digest(other) for other in [state, *others]}) == len(others) + 1
    assert {field.name for field in fields(State)} == {
        *("consent", "rules", "papers", "case", "released"),
        *("ideas", "round"),
    }


@pytest.mark.parametrize("number", [0, 1, 2])
def test_who_withdraws_changes_nothing_that_the_others_can_see(number: int) -> None:
    """Three sign, one of them withdraws, and it is another one each time; or one never signs."""
    assert outside(number, signs=True) == outside(2, signs=True) == outside(0, signs=False)


def outside(number: int, *, signs: bool) -> list[object]:
    """What shows outside the device of `number`, which withdraws: the desk's answers, and who tells what when."""
    cast = signing.Cast(3)
    world, shown = cast.start(), list[object]()

    def take(what: str) -> None:
        nonlocal world
        world = dict(signing.following(cast, world))[what]
        case = world.state.case
        told = sorted(str(s.answer) for s in case.signers.values()) if case is not None else None
        shown.append((world.moment, world.desk.answer, told))

    for other in range(3):
        if signs or other != number:
            take(f"{other}: person: signs")
            take(f"{other}: d to the desk") if other != number else None
    take(f"{number}: person: withdraws")
    if signs:
        take(f"{number}: a withdrawal, under d, to the desk")
    shown.clear()
    take("time")
    for other in range(3):
        take(f"{other}: desk: lapsed")
    for other in range(3):
        take(f"{other} posts Told")
    return shown


def test_the_walks_rename_soundly() -> None:
    """Both signers of the walks do the same, so that sorting them loses nothing."""
    for cast in (signing.Cast(2), signing.Cast(3)):
        assert len({type(own) for own in cast.start().owned}) == 1
    assert rounds.Cast(2).honest == 2
