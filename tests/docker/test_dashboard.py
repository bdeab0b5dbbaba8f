"""Grafana's dashboard: what its panels ask for, the server has."""

import hashlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from support.deployment import DOCKER, read, tool
from support.served import Served, chat, load_model

DASHBOARD = json.loads((DOCKER / "grafana/dashboards/abruzzi.json").read_text("utf-8"))
SERIES = re.compile(r"\babruzzi_\w+")
BY_PROMETHEUS = {"instance"}


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[str]:
    for panel in panels():
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            yield target["expr"]


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Each series of a server whose one key has had an answer and a refusal -> its labels."""
    keys = tmp_path_factory.mktemp("keys") / "keys.toml"
    digest = hashlib.sha256(b"secret").hexdigest()
    keys.write_text(f'[[keys]]\nname = "one"\nhash = "sha256:{digest}"\nrequests_per_minute = 1\n')
    served = Served(load_model(), key_file=keys)

    async def page() -> str:
        async with served.client(headers={"authorization": "Bearer secret"}) as client:
            statuses = [(await client.post("/v1/chat/completions", json=chat())).status_code for _ in range(2)]
            assert statuses == [200, 429]
            return (await client.get("/metrics")).text

    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(anyio.run(page)):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_every_series_is_one_of_the_servers(series: dict[str, set[str]]) -> None:
    asked = {name for expression in expressions() for name in SERIES.findall(expression)}
    assert asked <= set(series)
    assert len(asked) > 20


def test_every_label_is_one_of_its_series(series: dict[str, set[str]]) -> None:
    for expression in expressions():
        names = SERIES.findall(expression)
        labels = set(re.findall(r"(\w+)=~", expression))
        for group in re.findall(r"by \(([^)]*)\)", expression):
            labels |= {label.strip() for label in group.split(",")}
        assert names, expression
        for name in names:
            assert labels <= series[name] | BY_PROMETHEUS, expression


def test_prometheus_can_read_every_expression(tmp_path: Path) -> None:
    promtool = tool("promtool")
    if promtool is None:
        pytest.skip("promtool is not here; it comes with Prometheus")
    plain = [text.replace("$__rate_interval", "1m").replace("$__range", "1h") for text in expressions()]
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(plain)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout


def test_panels_have_their_own_places_and_ids() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_grafana_is_told_where_it_lies() -> None:
    [provider] = read(DOCKER / "grafana/provisioning/dashboards/abruzzi.yaml")["providers"]
    grafana = read(DOCKER / "compose.yaml")["services"]["grafana"]
    folder = provider["options"]["path"]
    assert f"./grafana/dashboards:{folder}:ro" in grafana["volumes"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{folder}/abruzzi.json"
