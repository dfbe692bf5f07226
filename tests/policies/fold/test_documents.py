"""The document of the fold holds the tables that the code asks, and nothing else in their place."""

from pathlib import Path

import pytest

from pourparler_policies.errors import Void
from pourparler_policies.fold.documents import BLOCKS, diagram, fill
from pourparler_policies.fold.facts import IN_GROUP, SUBJECTS, Phase
from pourparler_policies.fold.table import CONSENT, PHASES, REMOVALS, Trigger, move

DOCUMENT = Path(__file__).parents[3] / "docs" / "consent.md"


def test_the_tables_and_the_diagram_in_the_document_are_those_of_the_code() -> None:
    text = DOCUMENT.read_text()
    assert all(f"<!-- {name} -->" in text for name in BLOCKS)
    assert fill(text) == text


def test_the_diagram_has_every_step_that_the_code_takes_and_no_other() -> None:
    arrows = [line for line in diagram().splitlines() if "-->" in line]
    assert len(arrows) == 3 + sum(len(steps) for steps in PHASES.values())
    for phase in Phase:
        for trigger in Trigger:
            if trigger not in PHASES[phase]:
                with pytest.raises(Void, match=str(phase)):
                    move(phase, trigger)


def test_every_phase_subject_and_leaf_has_its_rule() -> None:
    assert set(PHASES) == set(Phase)
    assert set(REMOVALS) == IN_GROUP
    assert set(CONSENT) == set(SUBJECTS)
    for phase in IN_GROUP:
        assert Trigger.REMOVED in PHASES[phase]
