"""The document of release holds the tables that the code asks, and nothing else in their place."""

from pathlib import Path

import pytest

from pourparler_policies.errors import Void
from pourparler_policies.release import acts, device, events
from pourparler_policies.release.desk import ANSWERS, DESK, KEEPS, Deed, Desk
from pourparler_policies.release.device import HOLDS, OWES, STEPS, Cue, Stage
from pourparler_policies.release.documents import BLOCKS, case, fill
from pourparler_policies.release.facts import Mark, Phase
from pourparler_policies.release.table import BOARD, CASE, WHEN, Sequel, Trigger, mark, move

DOCUMENT = Path(__file__).parents[3] / "docs" / "release.md"


def test_the_tables_and_the_diagrams_in_the_document_are_those_of_the_code() -> None:
    text = DOCUMENT.read_text()
    assert all(f"<!-- {name} -->" in text for name in BLOCKS)
    assert fill(text) == text


def test_the_diagram_of_a_case_has_every_step_that_the_code_takes_and_no_other() -> None:
    arrows = [line for line in case().splitlines() if "-->" in line]
    assert len(arrows) == 1 + sum(len(steps) for steps in CASE.values())
    for phase in Phase:
        for trigger in Trigger:
            if trigger not in CASE[phase]:
                with pytest.raises(Void, match=str(phase)):
                    move(phase, trigger)


def test_the_board_marks_a_release_once() -> None:
    assert mark(Mark.PUBLISHED, Sequel.CORRECTED) is Mark.SUPERSEDED
    assert mark(Mark.PUBLISHED, Sequel.TAKEN_BACK) is Mark.WITHDRAWN
    with pytest.raises(Void, match="the one that followed"):
        mark(Mark.SUPERSEDED, Sequel.TAKEN_BACK)


def test_every_event_phase_stage_cue_and_deed_has_its_place_in_the_tables() -> None:
    assert set(acts.EVENTS) == set(events.KINDS)
    assert set(WHEN) <= set(events.KINDS)
    assert set(CASE) == set(Phase)
    assert set(BOARD) == set(Mark)
    assert set(STEPS) == set(HOLDS) == set(OWES) == set(Stage)
    assert {cue for steps in STEPS.values() for cue in steps} == set(Cue)
    assert set(DESK) == set(KEEPS) == set(ANSWERS) == set(Desk)
    assert {deed for steps in DESK.values() for deed in steps} == set(Deed)


def test_whatever_holds_something_on_a_device_ends_by_its_own_clock() -> None:
    for stage in Stage:
        if HOLDS[stage]:
            assert device.Cue.OVER in STEPS[stage]
    for phase in Desk:
        assert set(DESK[phase]) & {Deed.SIGN_BY, Deed.DEPOSIT_BY, Deed.HOUR} or not DESK[phase]
