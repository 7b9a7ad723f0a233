"""The Helm chart, as Helm itself makes it: linted, and each resource checked against the schemas of Kubernetes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from cds_service.app import create_app
from cds_service.settings import VARIABLES, Settings, load
from tests.test_packaging import TOP

CHART = TOP / "deploy" / "helm"
EVERYTHING = ("ingress.enabled=true", "ingress.className=nginx", "ingress.tlsSecret=tls", "overlay=site: x")
Resources = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def helm() -> str:
    """The program, from the virtual environment (`make helm`) or the machine."""
    beside = Path(sys.executable).with_name("helm")
    program = str(beside) if beside.exists() else shutil.which("helm")
    if program is None:
        words = "helm is not there (make helm)"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    return program


@pytest.fixture(scope="module")
def make(helm: str) -> Callable[..., Resources]:
    """The resources by kind, of the chart with some values set."""

    def do(*values: str) -> Resources:
        options = [option for value in values for option in ("--set", value)]
        command = [helm, "template", "site", str(CHART), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return {resource["kind"]: resource for resource in yaml.safe_load_all(done.stdout) if resource}

    return do


def test_lint(helm: str) -> None:
    done = subprocess.run(
        [helm, "lint", "--strict", CHART], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("version", ["1.27", "1.32", "1.37"])
@pytest.mark.parametrize("values", [(), EVERYTHING, ("autoscaling.enabled=false", "metrics.enabled=false")])
def test_resources_are_what_kubernetes_takes(values: tuple[str, ...], version: str, make: Any) -> None:
    resources = make(*values)
    assert {"Deployment", "Service", "ConfigMap", "PodDisruptionBudget", "NetworkPolicy"} <= set(resources)
    for resource in resources.values():
        kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("value", ["workers=0", "replica=3", "autoscaling.minReplicas=none", "settings="])
def test_wrong_values_are_refused(value: str, helm: str) -> None:
    command = [helm, "template", "site", str(CHART), "--set", value]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert value.partition(".")[0].partition("=")[0] in done.stderr


def container(resources: Resources) -> dict[str, Any]:
    (found,) = resources["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_the_pod_has_no_rights(make: Any) -> None:
    resources = make()
    pod = resources["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container(resources)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container(resources)["resources"]["limits"] == {"cpu": "1", "memory": "512Mi"}
    mounts = {mount["name"]: mount["mountPath"] for mount in container(resources)["volumeMounts"]}
    assert not any(a != b and b.startswith(f"{a}/") for a in mounts.values() for b in mounts.values())


def test_probes_ask_the_service(make: Any) -> None:
    found = container(make())
    assert found["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert found["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert found["startupProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert found["ports"][0] == {"name": "http", "containerPort": 8000}


def test_secrets_come_from_a_secret(make: Any) -> None:
    resources = make("existingSecret=ours")
    environ = {one["name"]: one for one in container(resources)["env"]}
    assert environ["CDS_DATABASE_URL"]["valueFrom"]["secretKeyRef"] == {"name": "ours", "key": "database-url"}
    assert "Secret" not in resources
    assert set(environ) - {"CDS_CONFIG"} <= set(VARIABLES)


def test_the_settings_can_be_used(make: Any, tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text(make()["ConfigMap"]["data"]["site.toml"], encoding="utf-8")
    assert load({"CDS_CONFIG": str(file)}).public_url == "https://cds.example.org"


def test_pods_are_made_anew_when_the_settings_change(make: Any) -> None:
    def annotations(*values: str) -> Any:
        return make(*values)["Deployment"]["spec"]["template"]["metadata"]["annotations"]["checksum/settings"]

    assert len({annotations(), annotations("settings=x"), annotations("overlay=y")}) == 3


def test_a_pod_leaves_without_a_lost_call(make: Any) -> None:
    """Traffic ends first (preStop), then calls under way are answered, and only then it may be killed."""
    from cds_service.cli_serve import PATIENCE_SECONDS

    resources = make()
    grace = resources["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    wait = 5
    assert f"time.sleep({wait})" in container(resources)["lifecycle"]["preStop"]["exec"]["command"][-1]
    assert grace > wait + PATIENCE_SECONDS + 10
    assert resources["Deployment"]["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_scaling_and_disruption(make: Any) -> None:
    resources = make()
    assert "replicas" not in resources["Deployment"]["spec"]  # the autoscaler's, which an upgrade must not undo
    scaler = resources["HorizontalPodAutoscaler"]["spec"]
    assert (scaler["minReplicas"], scaler["metrics"][0]["resource"]["name"]) == (2, "cpu")
    assert scaler["scaleTargetRef"]["name"] == resources["Deployment"]["metadata"]["name"]
    assert resources["PodDisruptionBudget"]["spec"]["minAvailable"] == 1
    assert make("autoscaling.enabled=false", "replicas=3")["Deployment"]["spec"]["replicas"] == 3


def test_everything_selects_the_same_pods(make: Any) -> None:
    resources = make()
    labels = resources["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert resources["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert resources["Service"]["spec"]["selector"] == labels
    assert resources["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert resources["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels


def test_the_ingress_lets_in_all_that_others_may_ask_and_no_more(make: Any) -> None:
    (rule,) = make(*EVERYTHING)["Ingress"]["spec"]["rules"]
    let_in = {path["path"] for path in rule["http"]["paths"]}
    app = create_app(
        Settings(
            host="0.0.0.0",
            public_url="https://cds.example.org",
            allow_unauthenticated=True,
            smart_client_id="x",
            governance=True,
            governance_token="0123456789abcdef",
        )
    )
    served = {f"/{rule.rule.split('/')[1]}" for rule in app.url_map.iter_rules()}
    assert let_in == served - {"/healthz", "/readyz"}


def test_the_network_is_shut_unless_opened(make: Any) -> None:
    def policy(*values: str) -> dict[str, Any]:
        found: dict[str, Any] = make(*values)["NetworkPolicy"]["spec"]
        return found

    assert policy()["policyTypes"] == ["Ingress", "Egress"]
    assert all(rule.get("from") for rule in policy()["ingress"])
    shut = policy("networkPolicy.callers=null", "networkPolicy.scrapers=null", "networkPolicy.egress=null")
    assert shut["ingress"] is None
    assert [port["port"] for rule in shut["egress"] for port in rule["ports"]] == [53, 53]
