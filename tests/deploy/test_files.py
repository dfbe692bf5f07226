"""The files to run it with: read by a parser, held against the program's own options, checked by systemd itself."""

import argparse
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pourparler_service.caps import Caps
from pourparler_service.metrics import Metrics
from pourparler_service.settings import OPTIONS, Settings
from pourparler_service.testing import command, environment

DEPLOY = Path(__file__).parents[2] / "deploy"
GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "operator.md").read_text()
UNITS = sorted([*DEPLOY.glob("*.service"), *DEPLOY.glob("*.timer")])
INSTANCE = "8471"
ANALYZE = shutil.which("systemd-analyze")


def documents(name: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all((DEPLOY / name).read_text()) if one]


def help_of(name: str) -> str:
    return subprocess.run(
        command(name, "--help"), capture_output=True, text=True, check=True, env=environment()
    ).stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_every_line_of_a_unit(unit: Path, tmp_path: Path) -> None:
    if ANALYZE is None:
        pytest.skip("systemd-analyze is not installed (Debian: systemd)")
    for one in UNITS:
        text = one.read_text().replace("/opt/pourparler/bin/pourparler", "/bin/true")
        (tmp_path / one.name).write_text(text)
        if "@." in one.name:
            (tmp_path / one.name.replace("@.", f"@{INSTANCE}.")).symlink_to(tmp_path / one.name)
    done = subprocess.run(
        [
            ANALYZE,
            "verify",
            "--man=no",
            "--recursive-errors=no",
            tmp_path / unit.name.replace("@.", f"@{INSTANCE}."),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    told = [line for line in done.stderr.splitlines() if unit.stem.rstrip("@") in line]
    assert not told


@pytest.mark.parametrize(
    ("unit", "worst"),
    [("pourparler.service", 1.5), ("pourparler@.service", 1.5), ("pourparler-backup.service", 1.5)],
)
def test_a_unit_gives_its_process_next_to_nothing_of_the_machine(unit: str, worst: float) -> None:
    if ANALYZE is None:
        pytest.skip("systemd-analyze is not installed (Debian: systemd)")
    done = subprocess.run(
        [ANALYZE, "security", "--offline=yes", "--no-pager", DEPLOY / unit],
        capture_output=True,
        text=True,
        check=False,
    )
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert exposure
    assert float(exposure[1]) <= worst


def test_every_setting_in_a_file_is_one_that_the_program_has() -> None:
    names = {"POURPARLER_" + name.upper() for name in Caps.__dataclass_fields__} | OTHERS
    named = {
        word
        for file in DEPLOY.rglob("*")
        if file.is_file()
        for word in re.findall(r"\bPOURPARLER_[A-Z_]+\b", file.read_text())
    }
    assert named <= names | {"POURPARLER_"}
    assert named & names


OTHERS = {"POURPARLER_" + name.upper().replace("-", "_") for name, _, _ in OPTIONS}


def test_every_option_in_a_file_or_the_guide_is_one_that_the_program_has() -> None:
    known = {word for name in ("serve", "grant", "backup") for word in re.findall(r"--[a-z-]+", help_of(name))}
    texts = [GUIDE, *(file.read_text() for file in DEPLOY.rglob("*") if file.is_file() and file.suffix != ".conf")]
    lines = [
        line
        for text in texts
        for line in text.splitlines()
        if re.search(r"pourparler (serve|grant|backup)|`--", line)
    ]
    used = {word for line in lines for word in re.findall(r"(?<![\w-])--[a-z][a-z-]+", line)}
    assert used
    assert used <= known


def test_alerts_speak_of_metrics_that_there_are_and_each_says_what_to_do() -> None:
    told = {family.name for family in Metrics(lambda: 0.0, {"data": DEPLOY}).collect()}
    (groups,) = documents("prometheus/alerts.yaml")
    rules = [rule for group in groups["groups"] for rule in group["rules"]]
    for rule in rules:
        for name in re.findall(r"\bpourparler_\w+", rule["expr"]):
            assert name.removesuffix("_total") in told
        assert rule["annotations"]["action"].endswith(".")
    assert len(rules) >= 5


def test_containers_have_no_rights_no_writable_root_and_no_swap() -> None:
    (compose,) = documents("compose.yaml")
    for name in ("service-1", "service-2"):
        one = compose["services"][name]
        assert (one["read_only"], one["cap_drop"], one["user"]) == (True, ["ALL"], "8470:8470")
        assert one["mem_limit"] == one["memswap_limit"]
    assert not [one for name, one in compose["services"].items() if "ports" in one and name != "proxy"]
    (pod,) = (one for one in documents("kubernetes/pourparler.yaml") if one["kind"] == "Deployment")
    (container,) = pod["spec"]["template"]["spec"]["containers"]
    context = container["securityContext"]
    assert (context["readOnlyRootFilesystem"], context["allowPrivilegeEscalation"]) == (True, False)
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert pod["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"]
    image = (DEPLOY / "Containerfile").read_text()
    assert re.findall(r"^USER (\S+)$", image, re.MULTILINE) == ["8470:8470"]


def test_whatever_a_manifest_selects_is_there() -> None:
    parts = documents("kubernetes/pourparler.yaml")
    (deployment,) = (one for one in parts if one["kind"] == "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for one in parts:
        spec = one["spec"]
        selector = spec.get("podSelector") or spec.get("selector") or {}
        assert (selector.get("matchLabels", selector) or labels) == labels


def test_the_example_settings_are_read_by_the_program_as_they_stand() -> None:
    settings = Settings.from_options(argparse.Namespace(config=DEPLOY / "settings.toml"), {})
    assert settings.database_url != settings.outside_url
    assert settings.bus_url
    assert settings.data is None
