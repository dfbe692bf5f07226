"""What docs/soundings.md says of phases, stages and events is what the code has."""

import re
from pathlib import Path
from typing import get_args

from pourparler_policies.charter import schema
from pourparler_policies.limits import DAY
from pourparler_policies.sounding import events
from pourparler_policies.sounding.device import OWES, Stage
from pourparler_policies.sounding.facts import GRACE, WITHIN, Phase

TEXT = (Path(__file__).parents[3] / "docs" / "soundings.md").read_text()


def column(heading: str) -> list[str]:
    table = TEXT.partition(f"| {heading} |")[2].partition("\n\n")[0]
    return re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)


def test_the_tables_list_every_event_phase_and_stage_once() -> None:
    assert column("event") == [one.__name__ for one in get_args(events.Event)]
    assert column("phase") == [phase.value for phase in Phase]
    assert column("stage on a device") == [stage.value for stage in Stage] == [stage.value for stage in OWES]


def test_the_numbers_are_those_of_the_code() -> None:
    words = " ".join(TEXT.split())
    assert (GRACE, WITHIN) == (3 * DAY, 30 * DAY)
    assert "three days after the close" in words
    assert "within thirty days" in words
    (key,) = [key for key in schema.SECTIONS["release"] if key.name == "soundings"]
    assert f"(`release.soundings`, {key.default} unless" in words
