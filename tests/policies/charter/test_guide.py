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


def test_the_guide_lists_every_preset_with_its_words() -> None:
    assert dict(re.findall(r"^  \| `([a-z-]+)` \| (.+) \|$", GUIDE, re.MULTILINE)) == PRESETS
