"""The Kubernetes manifest: what it gives a pod and whom it lets in, and each field against Kubernetes' schemas."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pourparler_policies.wire import Route

FILE = Path(__file__).parents[2] / "deploy" / "kubernetes" / "pourparler.yaml"
PARTS: list[dict[str, Any]] = [one for one in yaml.safe_load_all(FILE.read_text()) if one]
DEPLOYMENT = next(one for one in PARTS if one["kind"] == "Deployment")["spec"]
POD = DEPLOYMENT["template"]["spec"]
(CONTAINER,) = POD["containers"]
OLDEST = "1.30"  # preStop.sleep
PROGRAM_STOPS_IN = 10  # seconds: five for requests under way, and closing what is open


def of(kind: str) -> list[dict[str, Any]]:
    return [one["spec"] for one in PARTS if one["kind"] == kind]


def test_the_namespace_takes_pods_of_the_restricted_standard_alone_and_these_are_such() -> None:
    (namespace,) = (one for one in PARTS if one["kind"] == "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {one["metadata"].get("namespace", namespace["metadata"]["name"]) for one in PARTS} == {"pourparler"}
    whole, own = POD["securityContext"], CONTAINER["securityContext"]
    assert (whole["runAsNonRoot"], whole["runAsUser"]) == (True, 8470)
    assert whole["seccompProfile"]["type"] == "RuntimeDefault"
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not POD.keys() & {"hostNetwork", "hostPID", "hostIPC"}
    assert {key for one in POD["volumes"] for key in one} <= {"name", "emptyDir", "secret"}
    assert not [one for one in CONTAINER["ports"] if "hostPort" in one]


def test_a_pod_has_no_token_of_the_cluster_and_no_secret_in_a_variable() -> None:
    assert POD["automountServiceAccountToken"] is False
    assert not CONTAINER.keys() & {"env", "envFrom"}
    (secret,) = (one["secret"] for one in POD["volumes"] if "secret" in one)
    assert secret["defaultMode"] & 0o007 == 0
    mounted = {one["name"]: one for one in CONTAINER["volumeMounts"]}
    assert mounted["settings"]["readOnly"]
    assert CONTAINER["args"][:2] == ["--config", mounted["settings"]["mountPath"] + "/settings.toml"]
    assert not re.search(r"password|postgresql://", yaml.safe_dump_all(PARTS), re.IGNORECASE)


def test_memory_does_not_reach_a_disk() -> None:
    resources = CONTAINER["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    assert [one["emptyDir"]["medium"] for one in POD["volumes"] if "emptyDir" in one] == ["Memory"]


def test_an_upgrade_a_drained_machine_and_a_lost_one_leave_one_process_serving() -> None:
    assert DEPLOYMENT["replicas"] >= 2
    assert DEPLOYMENT["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    (budget,) = of("PodDisruptionBudget")
    assert 1 <= budget["minAvailable"] < DEPLOYMENT["replicas"]
    (spread,) = POD["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "DoNotSchedule")
    assert spread["matchLabelKeys"] == ["pod-template-hash"], "two machines would hold an upgrade up"


def test_a_pod_is_given_longer_to_stop_than_the_program_takes() -> None:
    announced = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert announced
    assert POD["terminationGracePeriodSeconds"] > announced + PROGRAM_STOPS_IN
    assert POD["shareProcessNamespace"], "as the first process it would not hear a signal while it starts"


def test_a_slow_start_is_not_taken_for_a_failure_and_a_slow_answer_ends_no_process() -> None:
    start, ready, live = (CONTAINER[one + "Probe"] for one in ("startup", "readiness", "liveness"))
    assert start["periodSeconds"] * start["failureThreshold"] >= 600
    assert live["periodSeconds"] * live["failureThreshold"] >= 60 > ready["periodSeconds"] * 3
    assert {one["httpGet"]["path"] for one in (start, live)} == {Route.SERVICE}
    assert ready["httpGet"]["path"] == Route.READY


def test_nothing_passes_but_what_is_named() -> None:
    nothing, service = of("NetworkPolicy")
    assert nothing == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert set(service["policyTypes"]) == {"Ingress", "Egress"}
    for rule in (*service["ingress"], *service["egress"]):
        assert rule.get("from") or rule.get("to")
        assert all(one["namespaceSelector"]["matchLabels"] for one in rule.get("from", rule.get("to")))
    inward = {port["port"] for rule in service["ingress"] for port in rule["ports"]}
    assert inward == {one["containerPort"] for one in CONTAINER["ports"]}
    assert {port["port"] for rule in service["egress"] for port in rule["ports"]} == {5432, 4222, 53}


@pytest.mark.long
def test_every_field_is_one_that_kubernetes_has() -> None:
    try:
        validate = importlib.import_module("kubernetes_validate")
    except ImportError:
        pytest.skip(
            "needs kubernetes-validate, with the schemas of Kubernetes: `make walk-containers` installs it"
        )
    versions = [one for one in known_versions(validate) if one >= numbers(OLDEST)]
    assert len(versions) >= 3
    for version in versions:
        for one in PARTS:
            validate.validate(one, ".".join(map(str, version)), strict=True)
        with pytest.raises(validate.ValidationError):
            wrong = {**PARTS[1], "spec": {**DEPLOYMENT, "replica": 2}}
            validate.validate(wrong, ".".join(map(str, version)), strict=True)


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(one) for one in version.split("."))


def known_versions(validate: Any) -> list[tuple[int, ...]]:
    folders = (Path(validate.__file__).parent / "kubernetes-json-schema").iterdir()
    found = (re.match(r"v?(\d+\.\d+)", one.name) for one in folders)
    return sorted({numbers(one[1]) for one in found if one})
