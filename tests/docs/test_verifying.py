"""What `docs/guides/verifying.md` tells its readers to do, done; and what it says that they will see."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pourparler_crypto.note import Note, ReleaseKey
from pourparler_crypto.note.testing import NAMES, a_communique, a_foot, released

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "verifying.md").read_text()
WITH_THE_PROGRAM, WITH_OPENSSL = re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
KEYS = [ReleaseKey(bytes((number,)) * 32) for number in (1, 8, 10)]


@pytest.fixture
def note() -> Note:
    return released(KEYS, [a_communique(KEYS)])[0]


def run(script: str, where: Path) -> subprocess.CompletedProcess[str]:
    programs = Path(sys.executable).parent  # `pourparler` lies beside this Python
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    return subprocess.run(
        ["sh", "-ec", script], cwd=where, env=environment, capture_output=True, text=True, check=False
    )


def test_the_openssl_commands_verify_a_note_under_each_of_its_keys(note: Note, tmp_path: Path) -> None:
    assert shutil.which("openssl"), "this test needs the openssl command (Debian: apt-get install openssl)"
    signatories = note.communique.foot.signatories
    assert any(str(party.key).count("+") > 2 for party in signatories)  # base64 has that too
    whole = note.encode()
    for party in signatories:
        script = re.sub(r"^key=.*$", f"key='{party.key}'", WITH_OPENSSL, flags=re.MULTILINE)
        (tmp_path / "release.note").write_bytes(whole)
        done = run(script, tmp_path)
        assert done.returncode == 0, done.stderr
        assert "Signature Verified Successfully" in done.stdout
        assert "Signature Verified Successfully" in " ".join(GUIDE.split())
        assert (tmp_path / "text").read_bytes() == note.communique.text
        for altered in (
            whole.replace(b"have met", b"had met"),
            whole.replace(f"\n— {party.key.name} ".encode(), b"\n"),  # that signature taken out
        ):
            (tmp_path / "release.note").write_bytes(altered)
            done = run(script, tmp_path)
            assert done.returncode != 0
            assert "Successfully" not in done.stdout


def test_the_openssl_commands_refuse_a_key_that_has_the_name_and_did_not_sign(note: Note, tmp_path: Path) -> None:
    (tmp_path / "release.note").write_bytes(note.encode())
    borrowed = replace(note.communique.foot.signatories[0].key, public=ReleaseKey.generate().public)
    done = run(re.sub(r"^key=.*$", f"key='{borrowed}'", WITH_OPENSSL, flags=re.MULTILINE), tmp_path)
    assert done.returncode != 0
    assert "Successfully" not in done.stdout


def test_the_table_of_verdicts_is_what_the_program_says(note: Note, tmp_path: Path) -> None:
    rows = dict(re.findall(r"^\| `([A-Z, ]+)` \| (\d) \|", GUIDE, re.MULTILINE))
    keys = [str(party.key) for party in note.communique.foot.signatories]

    def book(*names: str) -> bytes:
        return "".join(f"{key} {name}\n" for key, name in zip(keys, names, strict=False)).encode()

    altered = note.encode().replace(b"have met", b"had met")
    seen = {}
    for data, keys_known in [
        (note.encode(), book(*NAMES)),
        (note.encode(), book(*NAMES[:2])),
        (note.encode(), book("A", "B", "A")),
        (note.encode(), None),
        (altered, book(*NAMES)),
    ]:
        (tmp_path / "release.note").write_bytes(data)
        (tmp_path / "keys.txt").write_bytes(keys_known or b"")
        script = WITH_THE_PROGRAM if keys_known else WITH_THE_PROGRAM.replace(" --keys keys.txt", "")
        done = run(script, tmp_path)
        assert done.stderr == ""
        verdicts = re.findall(r"^([A-Z][A-Z, ]{7,}): ", done.stdout, re.MULTILINE)
        assert len(verdicts) == 1
        seen[verdicts[0]] = str(done.returncode)
    assert seen == rows
    (tmp_path / "release.note").write_bytes(b"Dear colleagues,\n")
    assert run(WITH_THE_PROGRAM, tmp_path).returncode == 2
    assert "Status 2: this is no communiqué" in GUIDE


def test_the_foot_has_the_lines_of_which_the_guide_speaks() -> None:
    lines = a_foot(KEYS).lines
    for said in re.findall(r"`(pourparler-communique/v1|signatory:)`", GUIDE):
        assert any(line.startswith(said) for line in lines)
    assert "void unless all have signed" in " ".join(GUIDE.split())
    assert lines[-1] == "void unless all have signed"
