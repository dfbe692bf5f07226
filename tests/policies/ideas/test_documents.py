"""The document of ideas holds the tables that the code asks, and every event, stage and duty has its place in them."""

from pathlib import Path

import pytest

from pourparler_policies.errors import Void
from pourparler_policies.ideas import acts, events
from pourparler_policies.ideas.device import HOLDS, POSTS, STEPS, Duty, Post, Stage
from pourparler_policies.ideas.documents import BLOCKS, fill, life
from pourparler_policies.ideas.facts import Phase
from pourparler_policies.ideas.table import ROUND, WHEN, Trigger, move

DOCUMENT = Path(__file__).parents[3] / "docs" / "ideas.md"


def test_the_tables_and_the_diagram_in_the_document_are_those_of_the_code() -> None:
    text = DOCUMENT.read_text()
    assert all(f"<!-- {name} -->" in text for name in BLOCKS)
    assert fill(text) == text


def test_the_diagram_has_every_step_that_the_code_takes_and_no_other() -> None:
    arrows = [line for line in life().splitlines() if "-->" in line]
    assert len(arrows) == 1 + sum(len(steps) for steps in ROUND.values())
    for phase in Phase:
        for trigger in Trigger:
            if trigger not in ROUND[phase]:
                with pytest.raises(Void, match=str(phase)):
                    move(phase, trigger)


def test_every_event_phase_stage_and_duty_has_its_place() -> None:
    assert set(acts.EVENTS) == set(events.KINDS)
    assert set(WHEN) == set(events.KINDS) - {events.Called}
    assert set(ROUND) == set(Phase)
    assert set(STEPS) == set(HOLDS) == set(Stage)
    assert {duty for steps in STEPS.values() for duty in steps} == set(Duty)
    assert set(POSTS.values()) == set(Post)
    assert {trigger for steps in ROUND.values() for trigger in steps} == set(Trigger)


def test_whatever_holds_something_can_be_erased() -> None:
    for stage in Stage:
        if HOLDS[stage]:
            assert STEPS[stage][Duty.ERASE] is Stage.OVER
