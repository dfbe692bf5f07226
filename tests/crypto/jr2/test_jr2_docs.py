"""What `docs/joint-release.md` says is what the code does."""

import re
from pathlib import Path

from pourparler_crypto import jr2, note
from pourparler_crypto.jr2 import Kind, size
from pourparler_crypto.note.testing import a_note

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "joint-release.md").read_text()


def test_the_page_lists_the_messages_with_their_sizes() -> None:
    rows = re.findall(r"^\| `([a-z]+)` \| (\d+) \| (\d+) \|", PAGE, re.MULTILINE)
    assert rows == [(kind.name.lower(), str(size(kind)), str(size(kind, 2) - size(kind))) for kind in Kind]


def test_the_page_lists_the_sizes_of_bundles_and_texts() -> None:
    listed = re.search(r"has one of these sizes: ([\d, ]+)\.", PAGE)
    assert listed
    assert tuple(int(number) for number in listed[1].split(", ")) == jr2.BUNDLE_SIZES
    assert f"texts above {note.MAX_TEXT // 1024} KiB" in PAGE


def test_every_test_that_the_page_names_exists_and_all_attacks_are_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    for file, test in named:
        assert re.search(rf"def {test}\(", (ROOT / file).read_text()), f"{file}::{test}"
    numbers = re.findall(r"^\| B(\d+):", PAGE, re.MULTILINE)
    assert numbers == [str(number) for number in range(1, 20)]


def test_the_foot_in_the_page_is_the_one_that_is_written() -> None:
    _, made = a_note(2)
    block = next(part for part in PAGE.split("```\n") if part.startswith("pourparler-communique/v1"))
    written = made.communique.foot.lines
    assert [line.split(":")[0] for line in block.splitlines()] == [line.split(":")[0] for line in written]
