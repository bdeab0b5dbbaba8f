"""The one command that fills the table of docs/gpu.md, with tiny shapes in Triton's interpreter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is not installed")

ROOT = Path(__file__).parents[2]
SECTIONS = ["limits", "moe-decode", "moe-prefill", "attention", "others", "grouped-mm"]
STEPS = ["kimi-steps", "qwen", "demonstration", "transformers"]


def test_a_dry_run_has_every_section_of_the_table(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--out", str(tmp_path), "--dry-run"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=110, capture_output=True)
    found = json.loads((tmp_path / "gpu.json").read_text())["sections"]
    assert list(found) == SECTIONS + STEPS
    assert {name: section.get("not run") for name, section in found.items()} == dict.fromkeys(found)
    (compared,) = found["transformers"]["rows"]
    ours = found["qwen"]["rows"][0]["tokens/s"]
    assert compared["Abruzzi's times theirs"] == pytest.approx(ours / compared["tokens/s"])
    goals = {row.get("goal") for section in found.values() for row in section["rows"]}
    assert goals == {None, ">= 0.7", ">= 0.5", ">= 0.6", "<= 0.05", ">= 3"}
    assert "<svg" in (tmp_path / "timeline.svg").read_text()
