"""`pourparler demo --shuttle --packages`: the whole job, from files that somebody gives to a release in both copies."""

from pathlib import Path

import pytest

from pourparler_clients.demo.between import COUNTER, GIST, HYPOTHETICAL
from pourparler_clients.testing import pourparler
from pourparler_crypto.note import Note

COMMON = "[en]\nThe mill is shared, week by week.\n\n[fa]\nآسیاب هفته‌به‌هفته شریک می‌شود.\n"


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1500)  # its appointments are as long as the machine is slow
def test_demonstration_of_the_shuttle_releases_the_one_of_somebodys_files_that_suits_both(tmp_path: Path) -> None:
    given, kept = tmp_path / "given", tmp_path / "kept"
    given.mkdir()
    (given / "a.txt").write_text("The mill is the northern village's.\n")
    (given / "b.md").write_text(COMMON, encoding="utf-8")
    (given / "c.txt").write_text("A second mill is built.\n")
    done = pourparler(
        "demo",
        "--shuttle",
        "--packages",
        given,
        "--keep",
        kept,
        environment={"TMPDIR": str(tmp_path / "tmp")},
        patience=1400,
    )
    assert done.status == 0, done
    assert "all accept package 2 (“b.md”)" in done.out
    assert "Traceback" not in done.errors
    notes = {path.name: Note.parse(path.read_bytes()) for path in kept.glob("*.note")}
    assert len(notes) == 2
    for note in notes.values():
        note.check()
        assert note.communique.words == ("The mill is shared, week by week.", "آسیاب هفته‌به‌هفته شریک می‌شود.")
    first = {name: note.communique.foot.signatories[0].name for name, note in notes.items()}
    assert first == {"Cedar.note": "The northern village", "Heron.note": "The southern village"}
    # What the story's people say stands in files of its own for `hand`, and nowhere else.
    for path in (*(kept / "server").rglob("*"), *kept.glob("vault-*/*")):
        data = path.read_bytes() if path.is_file() else b""
        assert not any(text.encode() in data for text in (HYPOTHETICAL, COUNTER, GIST)), path
