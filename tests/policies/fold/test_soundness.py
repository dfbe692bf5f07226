"""A state that somebody else tells is refused when something in it refers to what is not there."""

import ast
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pourparler_policies.errors import Void
from pourparler_policies.fold import soundness, subject_digest
from pourparler_policies.fold.facts import Close, Open, Phase, Recall, Replace, State
from pourparler_policies.fold.soundness import check_sound
from pourparler_policies.fold.testing import card, founded


def with_device(state: State, word: str, **change: object) -> State:
    device = replace(state.devices[card(word)], **change)  # type: ignore[arg-type]
    return replace(state, devices={**state.devices, card(word): device})


def with_open(state: State, held: Open) -> State:
    return replace(state, open={subject_digest(state.rules, held.subject): held})


def a_seat(state: State, word: str) -> bytes:
    return state.devices[card(word)].seat


CASES: list[tuple[str, Callable[[State], State]]] = [
    ("the channel is closed", lambda s: replace(s, closed=True)),
    ("two devices have one leaf", lambda s: with_device(s, "a1", credential=s.devices[card("b1")].credential)),
    ("a device has no seat", lambda s: with_device(s, "a1", seat=b"x" * 32)),
    ("a device has no seat", lambda s: with_device(s, "a1", card=b"x" * 32)),
    ("a device has a leaf", lambda s: with_device(s, "a1", phase=Phase.AWAY)),
    ("a device has a leaf", lambda s: with_device(s, "a1", credential=b"")),
    (
        "a seat has no device",
        lambda s: replace(s, devices={c: d for c, d in s.devices.items() if c != card("a1")}),
    ),
    (
        "a seat is of no party",
        lambda s: replace(s, seats={i: replace(one, body="nobody") for i, one in s.seats.items()}),
    ),
    ("has another name", lambda s: replace(s, open={b"x" * 32: Open(Close(), "a")})),
    ("has another name", lambda s: with_open(s, Open(Close(), "nobody"))),
    ("concerns a seat that is not there", lambda s: with_open(s, Open(Recall(b"x" * 32), "a"))),
    ("concerns a seat that is not there", lambda s: with_open(s, Open(Close(), "a", {b"x" * 32: True}))),
    (
        "a card is to be replaced that is not there",
        lambda s: with_open(s, Open(Replace(a_seat(s, "a1"), b"x" * 32, b"y" * 32), "a")),
    ),
]


@pytest.mark.parametrize(("reason", "damage"), CASES)
def test_a_state_that_holds_together_badly_is_refused_with_the_reason(
    reason: str, damage: Callable[[State], State]
) -> None:
    state = founded(2).state
    check_sound(state)
    with pytest.raises(Void, match=reason):
        check_sound(damage(state))


def test_every_reason_has_its_case() -> None:
    tree = ast.parse(Path(soundness.__file__).read_text())
    raised = [
        node.exc.args[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
    ]
    reasons = [one.value for one in raised if isinstance(one, ast.Constant)]
    assert len(reasons) == len(raised) > 5
    assert all(any(reason in whole for reason, _ in CASES) for whole in reasons)
