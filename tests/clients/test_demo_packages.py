"""The texts that somebody gives to the demonstration of the shuttle: taken as they are, or refused in one sentence."""

from pathlib import Path

import pytest

from pourparler_clients.demo.shuttle import MAX_PACKAGES, packages
from pourparler_clients.errors import UserError


def test_three_packages_come_along() -> None:
    names = [name for name, _ in packages(None)]
    assert names == ["1-every-day.md", "2-alternate-days.md", "3-a-new-well.md"]


def test_a_folder_of_ones_own_is_taken_in_the_order_of_its_names(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("[en]\nWords.\n[fa]\nبر سر چاه‌ها.\n", encoding="utf-8")
    (tmp_path / "a.txt").write_text("Other words.\n")
    (tmp_path / ".hidden").write_text("not a package\n")
    assert packages(tmp_path) == [
        ("a.txt", [("und", "Other words.")]),
        ("b.md", [("en", "Words."), ("fa", "بر سر چاه‌ها.")]),
    ]


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({}, "has 0 files"),
        ({"a": b"one"}, "has 1 files"),
        ({str(number): b"x" for number in range(MAX_PACKAGES + 1)}, "2 to 8"),
        ({"a": b"one", "b": b"\xff"}, "not UTF-8"),
        ({"a": b"one", "b": b" \n"}, "has no text"),
        ({"a": b"one", "b": "tw\u202eo".encode()}, "cannot be published"),
        ({"a": b"one", "b": b"x" * 10**6}, "larger than"),
        ({"a": b"one", "b": b"word\n" * 10_000}, "b is larger than a package may be"),
        ({name: f"{name}\n".encode() * 20_000 for name in "abc"}, "packages together are larger"),
        ({"a": b"one\n", "b": b"two", "c": b"[en]\none"}, "a and c have the same text"),
        ({"a": b"one", "b": b"two [when?]"}, "b has square brackets"),
    ],
)
def test_what_cannot_be_packages_is_refused_in_one_sentence(
    tmp_path: Path, files: dict[str, bytes], why: str
) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=why):
        packages(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        packages(tmp_path / "none")


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("Words.\n")
    with pytest.raises(UserError, match="cannot be read: Not a directory"):
        packages(tmp_path / "file")
