"""docker/kubernetes/: Kubernetes' own schemas accept the manifests, and they agree with each other and the server."""

import re
from pathlib import Path
from typing import Any

import pytest
from support.deployment import KUBERNETES, ROOT, read
from support.served import Served, load_model

from server.serve import UNHURRIED_CLOSE_SECONDS
from server.settings import load_settings

MANIFESTS = sorted(path.name for path in KUBERNETES.glob("*.yaml"))
WITHOUT_SCHEMA = {"kustomization.yaml", "servicemonitor.yaml"}  # kustomize's and the Prometheus operator's own kinds
SELECTED = {"app.kubernetes.io/name": "abruzzi"}


def manifest(name: str) -> Any:
    return read(KUBERNETES / name)


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = manifest("deployment.yaml")["spec"]["template"]["spec"]
    return spec


def server() -> dict[str, Any]:
    [container] = pod()["containers"]
    return dict(container)


@pytest.mark.parametrize("name", sorted(set(MANIFESTS) - WITHOUT_SCHEMA))
def test_kubernetes_accepts_it(name: str) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    validator.validate(manifest(name), validator.latest_version(), strict=True)


def test_the_servers_environment_is_made_of_settings() -> None:
    values = {one["name"]: one["value"] for one in server()["env"] if "value" in one}
    settings = load_settings({}, values)
    assert (settings.store, settings.drain_seconds) == ("none", 120)
    assert {one["name"] for one in server()["env"]} - set(values) == {"ABRUZZI_API_KEY"}


def test_a_pod_may_finish_what_it_runs() -> None:
    drain = float(next(one["value"] for one in server()["env"] if one["name"] == "ABRUZZI_DRAIN_SECONDS"))
    pause = float(server()["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert pod()["terminationGracePeriodSeconds"] >= pause + drain + 2 * UNHURRIED_CLOSE_SECONDS


@pytest.mark.anyio
async def test_probes_ask_for_routes_of_the_server() -> None:
    probes = {name: probe["httpGet"] for name, probe in server().items() if name.endswith("Probe")}
    paths = {name: get["path"] for name, get in probes.items()}
    assert paths == {"startupProbe": "/ready", "readinessProbe": "/ready", "livenessProbe": "/live"}
    async with Served(load_model()).client() as client:
        for path in paths.values():
            assert (await client.get(path)).status_code == 200
    assert {get["port"] for get in probes.values()} == {"http"}
    assert server()["ports"] == [{"name": "http", "containerPort": 8000}]


def test_the_user_is_the_images() -> None:
    user = re.findall(r"^USER (\d+):0$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    for spec in (pod(), manifest("fetch-model.yaml")["spec"]["template"]["spec"]):
        assert [str(spec["securityContext"]["runAsUser"])] == user
        assert spec["enableServiceLinks"] is False  # else ABRUZZI_PORT is an address


def test_all_select_the_same_pods() -> None:
    deployment = manifest("deployment.yaml")["spec"]
    assert deployment["template"]["metadata"]["labels"] == SELECTED
    assert deployment["selector"]["matchLabels"] == SELECTED
    assert manifest("service.yaml")["spec"]["selector"] == SELECTED
    assert manifest("poddisruptionbudget.yaml")["spec"]["selector"]["matchLabels"] == SELECTED
    assert manifest("fetch-model.yaml")["spec"]["template"]["metadata"]["labels"] != SELECTED


def test_prometheus_finds_the_service() -> None:
    monitor, service = manifest("servicemonitor.yaml"), manifest("service.yaml")
    assert monitor["spec"]["selector"]["matchLabels"] == service["metadata"]["labels"]
    [endpoint] = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["path"] == "/metrics"


def test_a_node_may_be_emptied_and_a_new_version_rolled_out() -> None:
    deployment = manifest("deployment.yaml")["spec"]
    allowed = manifest("poddisruptionbudget.yaml")["spec"]["maxUnavailable"]
    assert 1 <= allowed < deployment["replicas"]
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] >= 1


def test_the_model_is_where_it_was_put() -> None:
    [fetch] = manifest("fetch-model.yaml")["spec"]["template"]["spec"]["containers"]
    assert server()["args"] == ["serve", fetch["command"][-1]]
    assert server()["image"] == fetch["image"]
    claim = {"claimName": manifest("models.yaml")["metadata"]["name"]}
    for spec in (pod(), manifest("fetch-model.yaml")["spec"]["template"]["spec"]):
        assert claim in [volume.get("persistentVolumeClaim") for volume in spec["volumes"]]


def test_every_manifest_is_applied_or_named_as_left_out() -> None:
    listed = manifest("kustomization.yaml")["resources"]
    text = (KUBERNETES / "kustomization.yaml").read_text("utf-8")
    for name in MANIFESTS:
        assert name in listed or name == "kustomization.yaml" or name in text
    assert all(Path(KUBERNETES / name).is_file() for name in listed)
