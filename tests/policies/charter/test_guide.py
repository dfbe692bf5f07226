"""The mediator's guide lists every rule and preset that the code has."""

import re
from pathlib import Path

from pourparler_policies.charter import guide, schema
from pourparler_policies.charter.presets import PRESETS

GUIDE = (Path(__file__).parents[3] / "docs" / "charter.md").read_text()


def test_the_guide_lists_every_rule_with_its_default() -> None:
    assert guide.fill(GUIDE) == GUIDE
    assert all(f"`{section}.{key.name}`" in GUIDE for section, keys in schema.SECTIONS.items() for key in keys)


def test_the_guide_lists_every_preset_with_its_words() -> None:
    assert dict(re.findall(r"^  \| `([a-z-]+)` \| (.+) \|$", GUIDE, re.MULTILINE)) == PRESETS
