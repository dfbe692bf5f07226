"""Names of files: bad ones are refused when sent, and made harmless when they come in."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pourparler_policies.errors import Misuse
from pourparler_policies.filenames import MAX_FILE_NAME, check_file_name, fit, harmless

GOOD = (
    "minutes.pdf",
    "Карта колодцев.png",
    "خريطة.pdf",
    "می‌خواهم.txt",
    "a.tar.gz",
    "a..txt",
    "a. .txt",
    "x" * 255,
    "COMMENT.txt",
    "q&a (2).md",
)
BAD = {
    "": "file",
    ".": "file",
    "..": "file",
    "../../etc/passwd": "_.._.._etc_passwd",
    "..\\evil.exe": "_.._evil.exe",
    "/etc/shadow": "_etc_shadow",
    "a/b": "a_b",
    "C:\\x": "C__x",
    "with\x00zero": "with_zero",
    "two\nlines": "two_lines",
    "\x1b[2Jgone": "_[2Jgone",
    "del\x7f": "del_",
    "c1\x9b31m": "c1_31m",
    "minutes\u202efdp.exe": "minutes_fdp.exe",
    "a\u2066b": "a_b",
    "a\u200fb": "a_b",
    "a\u061cb": "a_b",
    "a\u200bb": "a_b",
    "\ufeffa": "_a",
    "a\ue000": "a_",
    "half\ud800": "half_",
    "line\u2028": "line_",
    ".bashrc": "_.bashrc",
    "-rf": "_-rf",
    "CON": "_CON",
    "con.txt": "_con.txt",
    "nul .tar.gz": "_nul .tar.gz",
    "COM1": "_COM1",
    "lpt¹.txt": "_lpt¹.txt",
    "conin$": "_conin$",
    "ends.": "ends",
    "ends. . ": "ends",
    " begins": "begins",
    "ends ": "ends",
    "a?b*c|d<e>f\"g:h": "a_b_c_d_e_f_g_h",
    "x" * 256: "x" * 255,
    "ü" * 200 + ".html": "ü" * 125 + ".html",
    "x" * 300 + "." + "y" * 300: "x" * 255,
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_names_of_any_script_travel_as_they_are(name: str) -> None:
    assert check_file_name(name) == harmless(name) == name


@pytest.mark.parametrize("name", BAD)
def test_bad_names_are_refused_when_sent_and_harmless_when_they_come_in(name: str) -> None:
    with pytest.raises(Misuse, match="rename the file"):
        check_file_name(name)
    assert harmless(name) == BAD[name]


@given(st.text(max_size=400))
@example("\u0338/")
@example(" ." * 150)
@example("a" * 250 + "." + " " * 20)
@example("-" * 300)
@example("aux" + "." * 300)
def test_what_is_harmless_is_a_name_that_can_be_sent(name: str) -> None:
    made = harmless(name)
    assert check_file_name(made) == harmless(made) == made
    assert made == unicodedata.normalize("NFC", made)
    assert len(made.encode()) <= MAX_FILE_NAME


@given(st.text(min_size=1, max_size=300).map(harmless), st.integers(2, 999))
def test_a_marked_name_is_harmless_and_keeps_its_ending(name: str, number: int) -> None:
    marked = fit(name, f" ({number})")
    assert marked != name
    assert len(marked.encode()) <= MAX_FILE_NAME
    assert "/" not in marked
    assert fit("report.pdf", f" ({number})") == f"report ({number}).pdf"
