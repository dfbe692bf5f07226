"""The official vectors of MLS and of the hybrid KEM pass, and the check of each family can fail."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pourparler_crypto import hpke
from pourparler_crypto.mls.vectors import FAMILIES, check_entries, family_of

ROOT = Path(__file__).resolve().parents[2]
VECTORS = Path(os.environ.get("POURPARLER_VECTORS", ROOT.parent / "shared" / "vectors"))

OFFICIAL = (
    "crypto-basics",
    "deserialization",
    "key-schedule",
    "message-protection",
    "messages",
    "passive-client-handling-commit",
    "passive-client-welcome",
    "psk_secret",
    "secret-tree",
    "transcript-hashes",
    "tree-math",
    "tree-operations",
    "tree-validation",
    "treekem",
    "welcome",
)


def load(name: str) -> list[dict[str, Any]]:
    path = VECTORS / name
    if not path.is_file():
        pytest.skip(f"no {name} in {VECTORS}; set POURPARLER_VECTORS to the folder of the official vectors")
    entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return entries


@pytest.mark.parametrize("name", OFFICIAL)
def test_every_official_vector_of_our_suites_passes(name: str) -> None:
    entries = load(f"mls/{name}.json")
    supported = sum(entry.get("cipher_suite", 1) in (1, 2, 3) for entry in entries)
    report = check_entries(entries)
    assert report.failures == []
    assert report.passed == supported > 0
    assert report.unsupported == len(entries) - supported


def test_every_family_is_recognised_by_its_keys_alone() -> None:
    found = {family_of(load(f"mls/{name}.json")[0]) for name in OFFICIAL}
    assert found == set(FAMILIES)


def hex_fields(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in hex_fields(item, (*path, key))]
    if isinstance(value, list):
        return [found for key, item in enumerate(value) for found in hex_fields(item, (*path, key))]
    if isinstance(value, str) and len(value) >= 16 and path[-1] != "label":
        return [path]
    return []


FORMS_ONLY = ("messages", "tree-math", "deserialization")


@pytest.mark.parametrize("name", [name for name in OFFICIAL if name not in FORMS_ONLY])
def test_a_vector_with_any_one_field_altered_fails(name: str) -> None:
    entry = min(
        (entry for entry in load(f"mls/{name}.json") if entry.get("cipher_suite", 1) == 1 and hex_fields(entry)),
        key=lambda entry: len(json.dumps(entry)),
    )
    for path in hex_fields(entry)[:60]:
        altered = copy.deepcopy(entry)
        holder: Any = altered
        for key in path[:-1]:
            holder = holder[key]
        text = holder[path[-1]]
        holder[path[-1]] = text[:9] + ("0" if text[9] != "0" else "1") + text[10:]
        report = check_entries([altered])
        assert report.failed == 1, f"{name}: altering {path} went unnoticed"


@pytest.mark.parametrize("name", FORMS_ONLY)
def test_a_form_that_is_altered_fails(name: str) -> None:
    entry = copy.deepcopy(load(f"mls/{name}.json")[3])
    if name == "messages":
        entry["mls_welcome"] += "00"
    elif name == "tree-math":
        entry["parent"][0] = 2
    else:
        entry["length"] += 1
    assert check_entries([entry]).failed == 1


def test_the_hybrid_kem_derives_the_key_pairs_of_draft_ietf_hpke_pq() -> None:
    found = 0
    for entry in load("hpke-pq/test-vectors.json"):
        if entry["kem_id"] != 0x647A:
            continue
        found += 1
        private, public = hpke.MLKEM768_X25519.derive(bytes.fromhex(entry["ikmR"]))
        assert private.hex() == entry["skRm"]
        assert public.hex() == entry["pkRm"]
    assert found == 2


def test_the_recorded_vectors_of_the_hybrid_suite_still_pass() -> None:
    path = Path(__file__).parent / "vectors" / "pq_suite.json"
    entries = json.loads(path.read_text(encoding="utf-8"))
    assert {family_of(entry) for entry in entries} == {
        "crypto-basics",
        "key-schedule",
        "secret-tree",
        "psk_secret",
        "passive-client",
    }
    report = check_entries(entries)
    assert report.failures == []
    assert report.passed == len(entries)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    runner = str(Path(__file__).parent / "run_mls_vectors.py")
    return subprocess.run([sys.executable, runner, *arguments], capture_output=True, text=True, check=False)


def test_the_runner_counts_each_file_and_exits_with_1_on_any_failure(tmp_path: Path) -> None:
    good = [{"vlbytes_header": "25", "length": 37}]
    (tmp_path / "good under another name.json").write_text(json.dumps(good))
    done = run(str(tmp_path))
    assert done.stdout == ("good under another name.json: 1 passed, 0 failed, 0 unsupported\n1 passed, 0 failed\n")
    assert done.returncode == 0
    (tmp_path / "wrong.json").write_text(json.dumps([{"vlbytes_header": "25", "length": 38}, *good]))
    done = run(str(tmp_path))
    assert "wrong.json: 1 passed, 1 failed, 0 unsupported\n2 passed, 1 failed\n" in done.stdout
    assert done.returncode == 1


@pytest.mark.parametrize("content", ["not JSON", "[1]", '[{"unknown": 1}]'])
def test_the_runner_takes_what_it_does_not_know_for_a_failure(tmp_path: Path, content: str) -> None:
    path = tmp_path / "some.json"
    path.write_text(content)
    assert run(str(path)).returncode == 1


def test_the_runner_without_files_exits_with_2(tmp_path: Path) -> None:
    assert run().returncode == run(str(tmp_path)).returncode == run(str(tmp_path / "none")).returncode == 2
