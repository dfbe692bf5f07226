"""The lobby as a fold: what is said counts, and is shown, only while nobody is there who has yet to be attested."""

import ast
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pourparler_policies.charter.rules import Role
from pourparler_policies.errors import Void
from pourparler_policies.fold import events as ev
from pourparler_policies.fold import talk
from pourparler_policies.fold.events import Ground
from pourparler_policies.fold.facts import Admit, Close, Lift, State
from pourparler_policies.fold.talk import check_said, may_show
from pourparler_policies.fold.testing import NOTICE, History, card, founded, rules


def says(history: History, word: str) -> None:
    check_said(history.state, history.device(word).credential)


def shown_to(history: History) -> set[str]:
    """To whom a message would be shown now."""
    words = ["a1", "a2", "a3", "b1", "b2", "c1", "m1"]
    return {word for word in words if may_show(history.state, card(word))}


def two() -> History:
    """Parties a and b, with a1 and b1; a second place for each."""
    return founded(2)


def newcomer() -> History:
    """Two parties that agreed to a seat; a2 is in the lobby."""
    history = two()
    digest = history.agree(Admit("a", Role.DELEGATE, card("a2")), "a1", "b1")
    history.commit("a1", history.adding("a2", Ground.ADMISSION, digest))
    return history


def test_who_is_attested_speaks_and_everybody_is_shown_it() -> None:
    history = founded(2, delegates=2, intermediary=True)
    for word in ("a1", "a2", "b1", "b2", "m1"):
        says(history, word)
    assert shown_to(history) == {"a1", "a2", "b1", "b2", "m1"}


def opening() -> tuple[History, bytes]:
    made = rules({"a": 1, "b": 1}, {"a1": ("a", Role.DELEGATE), "b1": ("b", Role.DELEGATE)})
    history = History(made, "a1")
    return history, history.device("a1").credential


def half_founded() -> tuple[History, bytes]:
    cast = {f"{body}1": (body, Role.DELEGATE) for body in "abc"}
    history = History(rules(dict.fromkeys("abc", 1), cast), "a1")
    history.seat_founder("b1", "a1")
    return history, history.device("b1").credential


def in_the_lobby() -> tuple[History, bytes]:
    history = newcomer()
    return history, history.device("a2").credential


def with_somebody_in_the_lobby() -> tuple[History, bytes]:
    history = newcomer()
    return history, history.device("b1").credential


def attested_by_one_side() -> tuple[History, bytes]:
    history = newcomer()
    history.meet("a2", "a1")
    return history, history.device("a1").credential


def while_somebody_leaves() -> tuple[History, bytes]:
    history = founded(2, delegates=2)
    history.post("a2", ev.Leaving())
    return history, history.device("b1").credential


def who_leaves() -> tuple[History, bytes]:
    history = founded(2, delegates=2)
    credential = history.device("a2").credential
    history.post("a2", ev.Leaving())
    return history, credential


def on_hold() -> tuple[History, bytes]:
    history = founded(2, delegates=2)
    history.post("a1", ev.Held(history.seat("a2")))
    return history, history.device("a2").credential


def stranded() -> tuple[History, bytes]:
    history = founded(2, delegates=2)
    history.post("a2", ev.Complained())
    return history, history.device("a2").credential


def stranger() -> tuple[History, bytes]:
    return two(), b"x" * 16


def nobody() -> tuple[History, bytes]:
    return two(), b""  # as a device outside the group has it


def in_the_end() -> tuple[History, bytes]:
    history = founded(2)
    history.enact(Close(), "a1", "b1")
    return history, history.device("a1").credential


def after_the_end() -> tuple[History, bytes]:
    history = founded(2)
    history.end("a1", "b1")
    return history, history.device("a1").credential


CASES: list[tuple[str, Callable[[], tuple[History, bytes]]]] = [
    ("being founded", opening),
    ("being founded", half_founded),
    ("only an attested device", in_the_lobby),
    ("yet to be attested", with_somebody_in_the_lobby),
    ("yet to be attested", attested_by_one_side),
    ("or to go", while_somebody_leaves),
    ("only an attested device", who_leaves),
    ("only an attested device", on_hold),
    ("only an attested device", stranded),
    ("only an attested device", stranger),
    ("only an attested device", nobody),
    ("the channel is being ended", in_the_end),
    ("the channel is closed", after_the_end),
]


@pytest.mark.parametrize(("reason", "case"), CASES)
def test_what_does_not_count_is_void_for_everybody_with_its_reason(
    reason: str, case: Callable[[], tuple[History, bytes]]
) -> None:
    history, credential = case()
    with pytest.raises(Void, match=reason):
        check_said(history.state, credential)


def test_every_reason_in_the_code_has_its_case() -> None:
    reasons = re.findall(r'raise Void\("(.*)"\)', Path(talk.__file__).read_text())
    assert len(reasons) == sum(
        isinstance(node, ast.Raise) for node in ast.walk(ast.parse(Path(talk.__file__).read_text()))
    )
    for reason in reasons:
        assert any(told in reason for told, _ in CASES), reason


def test_a_newcomer_holds_everybody_up_until_every_party_has_attested_it_and_no_longer() -> None:
    history = newcomer()
    assert shown_to(history) == set()
    history.meet("a2", "a1")
    assert shown_to(history) == set()
    history.meet("a2", "b1")
    assert shown_to(history) == {"a1", "a2", "b1"}
    for word in ("a1", "a2", "b1"):
        says(history, word)


def test_whoever_removes_the_unattested_newcomer_goes_on_talking() -> None:
    history = newcomer()
    history.commit("b1", history.removing("a2"))
    assert shown_to(history) == {"a1", "b1"}
    says(history, "a1")


def test_who_comes_back_is_waited_for_only_by_those_who_have_not_attested_it() -> None:
    history = founded(3)
    gone = history.device("c1").credential
    history.post("a1", ev.Absent(gone))
    history.post("b1", ev.Absent(gone))
    history.now += NOTICE
    history.commit("a1", history.removing("c1"))
    assert shown_to(history) == {"a1", "b1"}
    history.commit("a1", history.adding("c1", Ground.RETURN))
    assert shown_to(history) == set()  # not attested by anybody
    history.meet("c1", "a1")
    assert shown_to(history) == {"a1", "c1"}  # b waits for its own word, and holds nobody else up
    says(history, "a1")
    with pytest.raises(Void, match="yet to be attested"):
        says(history, "b1")
    history.meet("c1", "b1")
    assert shown_to(history) == {"a1", "b1", "c1"}


def test_who_is_taken_off_hold_is_shown_nothing_before_coming_back() -> None:
    history = founded(2, delegates=2)
    history.post("a1", ev.Held(history.seat("a2")))
    history.commit("b1", history.removing("a2"))
    history.enact(Lift(history.seat("a2")), "a1")
    assert shown_to(history) == {"a1", "b1", "b2"}


def test_nothing_is_shown_to_a_card_that_the_state_does_not_know() -> None:
    history = two()
    state: State = replace(history.state, devices={})
    assert not may_show(history.state, b"x" * 32)
    assert not may_show(state, card("a1"))
