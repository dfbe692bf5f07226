"""Long random histories of everything at once, deeper than any exploration reaches, with every promise checked."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from pourparler_policies.charter.rules import Role
from pourparler_policies.errors import Void
from pourparler_policies.fold import apply
from pourparler_policies.fold.encoding import subject_digest
from pourparler_policies.fold.exploring import Play, entries
from pourparler_policies.fold.facts import Adjourn, Admit, Expel, Lift, Recall, Recess, Replace, Subject
from pourparler_policies.fold.promises import INVARIANTS, honest_people_get_on
from pourparler_policies.fold.testing import DAY, NOTICE, START, card, founded


def everything(parties: int, rule: int) -> Play:
    """A founded channel of two delegates a party and an intermediary; spare cards; every kind of subject."""
    history = founded(parties, delegates=2, intermediary=True, rule=rule)
    cast = {f"{body}{n}": body for body in "abc"[:parties] for n in (1, 2, 3)} | {"m1": "m"}
    subjects: dict[tuple[str, ...], Subject] = {
        ("recess",): Recess(START + DAY),
        ("adjourn",): Adjourn(START + DAY),
    }
    for word, body in cast.items():
        role = Role.INTERMEDIARY if body == "m" else Role.HEAD if rule == 0 and word[1] == "1" else Role.DELEGATE
        subjects["admit", word] = Admit(body, role, card(word))
        seat = subject_digest(history.rules, subjects["admit", word])
        subjects["lift", word], subjects["expel", word], subjects["recall", word] = (
            Lift(seat),
            Expel(seat),
            Recall(seat),
        )
        if word[1] != "3" and body != "m":
            subjects["replace", word] = Replace(seat, card(word), card(f"{body}3"))
    return Play(history.state, cast, subjects)


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.integers(0, 10_000), min_size=20, max_size=60), st.sampled_from([2, 3]), st.sampled_from([0, 1, 2])
)
def test_in_any_long_history_every_step_keeps_every_promise_and_honest_people_get_on(
    choices: list[int], parties: int, rule: int
) -> None:
    play = everything(parties, rule)
    state = play.start
    for choice in choices:
        possible = list(entries(play, state))
        for attempt in range(40):  # most entries that devices could send are void; some that count are tried first
            if not possible:
                break
            entry = possible[(choice * 7 + attempt * 31) % len(possible)]
            try:
                after = apply(state, entry)
            except Void:
                continue
            for check in INVARIANTS:
                check(state, entry, after)
            state = after
            break
        if choice % 5 == 0:
            state = replace(state, time=state.time + NOTICE)
    honest_people_get_on(state)
