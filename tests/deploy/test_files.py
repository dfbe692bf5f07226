"""The files to run it with: read by a parser, held against the program's own options, checked by systemd itself."""

import argparse
import re
import shutil
import subprocess
import tomllib
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


def pins(path: Path) -> dict[str, set[str]]:
    """What a lock file pins: each line's version and place, with its hashes."""
    found: dict[str, set[str]] = {}
    for line in path.read_text().splitlines():
        if "==" in line:
            pinned = line.removesuffix("\\").strip()
            found[pinned] = set()
        else:
            found[pinned].add(line.removesuffix("\\").strip())
    return found


def test_what_runs_and_what_builds_is_pinned_by_hash_as_what_is_tested_and_no_tool_of_tests_runs() -> None:
    root = DEPLOY.parent
    tested, runs, builds = (
        pins(one) for one in (root / "requirements.lock", DEPLOY / "service.lock", DEPLOY / "build.lock")
    )
    assert runs.items() <= tested.items()
    assert all(hashes for one in (runs, builds) for hashes in one.values())
    project = tomllib.loads((root / "pyproject.toml").read_text())
    names = {one.split("==")[0] for one in runs}
    wanted = project["project"]
    wanted_here = [*wanted["dependencies"], *wanted["optional-dependencies"]["service"]]
    wanted_here += wanted["optional-dependencies"]["postgres"]
    assert {name_of(one) for one in wanted_here} <= names
    assert not names & {name_of(one) for one in wanted["optional-dependencies"]["dev"]}
    assert {name_of(one) for one in project["build-system"]["requires"]} <= {one.split("==")[0] for one in builds}


def name_of(requirement: str) -> str:
    found = re.match(r"[\w-]+", requirement)
    assert found
    return found[0]


def test_the_image_takes_from_an_index_only_what_is_held_against_a_hash() -> None:
    text = (DEPLOY / "Containerfile").read_text().replace("\\\n", "")
    for step in re.findall(r"pip\S*(?: --python \S+)? (?:install|wheel) [^&\n]*", text):
        assert re.search(r"--require-hashes|--no-index|--no-build-isolation", step), step
        assert "--no-cache-dir" in step
    assert len(re.findall(r"--require-hashes", text)) == 2
    assert not re.search(r"^ADD |curl|wget", text, re.MULTILINE)
    assert len(set(re.findall(r"^FROM (\S+)", text, re.MULTILINE))) == 1, (
        "both stages from the base that is pinned"
    )


def test_the_build_is_shown_named_folders_and_nothing_else() -> None:
    told = [one for one in (DEPLOY.parent / ".dockerignore").read_text().splitlines() if one and one[0] != "#"]
    assert told[0] == "*"
    assert "deploy/*" in told
    shown = {one[1:] for one in told if one.startswith("!")} - {"deploy"}
    packages = {f"{one}/pourparler_{one}" for one in ("crypto", "policies", "service", "clients")}
    assert shown == packages | {"pyproject.toml", "README.md", "LICENSE", "deploy/*.lock"}


def test_composed_containers_stop_in_order_stay_where_the_proxy_looks_and_share_no_network_with_it() -> None:
    (compose,) = documents("compose.yaml")
    services = compose["services"]
    upstream = (DEPLOY / "compose-upstream.conf").read_text()
    for name in ("service-1", "service-2"):
        place = services[name]["networks"]["front"]
        assert f"server {place['ipv4_address']}:8470 " in upstream
        assert place["mac_address"]
        assert services[name]["init"], (
            "as the first process it would not hear, while it starts, that it is to stop"
        )
    for name, one in services.items():
        assert not (one.get("init") and one.get("cap_add")), (
            f"{name}: no right to signal a process of another user"
        )
        assert one["restart"] == "always"
        assert (one["cap_drop"], one["ulimits"]["core"]) == (["ALL"], 0)
        assert one["security_opt"] == ["no-new-privileges:true"]
    assert all(
        "ipv4_address" in one["networks"]["front"] for one in services.values() if "front" in one["networks"]
    )
    inner = {name for name, one in services.items() if "inner" in one["networks"]}
    assert inner == set(services) - {"proxy"}
    assert all(compose["networks"][one]["internal"] for one in ("inner", "front"))
    for name in ("database", "outside"):
        assert {"log_min_error_statement=panic", "log_error_verbosity=terse"} <= set(services[name]["command"])
    assert "wal_recycle=off" in services["outside"]["command"]
    assert "configs" not in compose, "podman-compose passes them over without a word"


def test_whatever_a_manifest_selects_is_there() -> None:
    parts = documents("kubernetes/pourparler.yaml")
    (deployment,) = (one for one in parts if one["kind"] == "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for one in parts:
        spec = one.get("spec", {})
        selector = spec.get("podSelector") or spec.get("selector") or {}
        assert (selector.get("matchLabels", selector) or labels) == labels


def test_the_example_settings_are_read_by_the_program_as_they_stand() -> None:
    settings = Settings.from_options(argparse.Namespace(config=DEPLOY / "settings.toml"), {})
    assert settings.database_url != settings.outside_url
    assert settings.bus_url
    assert settings.data is None
