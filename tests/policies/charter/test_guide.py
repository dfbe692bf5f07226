"""The mediator's guide lists every rule and preset that the code has."""

import re
from pathlib import Path

from pourparler_policies.charter import explain, guide, parse, schema
from pourparler_policies.charter.explaining import NOT_YET
from pourparler_policies.charter.presets import PRESETS
from pourparler_policies.charter.testing import text

GUIDE = (Path(__file__).parents[3] / "docs" / "charter.md").read_text()


def test_the_guide_lists_every_rule_with_its_default() -> None:
    assert guide.fill(GUIDE) == GUIDE
    assert all(f"`{section}.{key.name}`" in GUIDE for section, keys in schema.SECTIONS.items() for key in keys)


def test_the_guide_lists_what_is_not_applied_yet() -> None:
    listed = GUIDE.partition("<!-- not yet -->")[2].partition("<!-- end -->")[0]
    assert tuple(re.findall(r"^- (.+)$", listed, re.MULTILINE)) == NOT_YET
    assert all(entry in explain(parse(text()))[-1] for entry in NOT_YET)
    assert ("does not apply" in explain(parse(text()))[-1]) == bool(NOT_YET)


def test_who_reads_a_charter_with_ideas_without_a_name_is_told_what_they_cannot_do() -> None:
    rule = {"rule": "unattributed", "ideas": True}
    told = " ".join(explain(parse(text(attribution=rule))))
    assert "at least three people" in told
    assert "the address from which it came" in told
    assert "without a name" not in " ".join(explain(parse(text(attribution={**rule, "ideas": False}))))


def test_the_guide_lists_every_preset_with_its_words() -> None:
    assert dict(re.findall(r"^  \| `([a-z-]+)` \| (.+) \|$", GUIDE, re.MULTILINE)) == PRESETS
