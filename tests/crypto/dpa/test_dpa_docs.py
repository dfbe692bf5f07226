"""What `docs/attestation.md` says is what the code does."""

import re
from pathlib import Path

from pourparler_crypto.dpa import LIFE, MAX_OPENINGS, SIZES

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "attestation.md").read_text()


def test_the_page_lists_the_messages_with_their_sizes() -> None:
    rows = re.findall(r"^\| `([a-z]+)` \| (\d+) \|", PAGE, re.MULTILINE)
    assert rows == [(kind.name.lower(), str(size)) for kind, size in SIZES.items()]


def test_every_test_that_the_page_names_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 10
    for file, test in named:
        assert re.search(rf"def {test}\(", (ROOT / file).read_text()), f"{file}::{test}"


def test_the_page_states_the_numbers_of_the_code() -> None:
    assert f"after {LIFE // 3600} hours" in PAGE
    assert MAX_OPENINGS == 3
    assert "at three, the seat has to be seated anew" in PAGE
