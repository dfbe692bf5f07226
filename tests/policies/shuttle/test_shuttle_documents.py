"""The document of carried messages holds the tables that the code asks, and nothing else in their place."""

from pathlib import Path

from pourparler_policies.shuttle.documents import BLOCKS, fill, life
from pourparler_policies.shuttle.table import LIFE

DOCUMENT = Path(__file__).parents[3] / "docs" / "shuttle.md"


def test_the_tables_and_the_diagram_in_the_document_are_those_of_the_code() -> None:
    text = DOCUMENT.read_text()
    assert all(f"<!-- {name} -->" in text for name in BLOCKS)
    assert fill(text) == text


def test_the_diagram_has_every_step_that_the_code_takes_and_no_other() -> None:
    arrows = [line for line in life().splitlines() if "-->" in line]
    assert len(arrows) == 3 + sum(len(steps) for steps in LIFE.values())
