"""Loading takes the model's size and little in flight, however large shards and tensors are."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.deepseek_checkpoints import write_checkpoint

ROOT = Path(__file__).parents[3]
LARGE = {
    "hidden_size": 512,
    "intermediate_size": 2048,
    "moe_intermediate_size": 512,
    "n_routed_experts": 24,
    "num_hidden_layers": 4,
    "vocab_size": 65536,
}
# Four readers, a piece of a matrix each, and what the libraries take the first time: 47 to 49 MiB. The embedding: 64.
IN_FLIGHT = 60 << 20


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc to measure memory")
def test_peak_memory_of_a_sharded_checkpoint(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, **LARGE)
    tensors = {name: tensor.bfloat16() for name, tensor in load_file(tmp_path / "model.safetensors").items()}
    (tmp_path / "model.safetensors").unlink()
    names = sorted(tensors)
    weight_map = {}
    for number in range(4):  # two large shards and two small ones
        part = names[number::2] if number < 2 else []
        file = f"model-{number + 1:05d}-of-00004.safetensors"
        held = {name: tensors.pop(name) for name in part} or {f"model.layers.4.extra.{number}": torch.zeros(1)}
        save_file(held, tmp_path / file)
        weight_map |= dict.fromkeys(held, file)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_nextn_predict_layers": 1, "dtype": "bfloat16"}))
    command = [sys.executable, "-m", "tests.engine.weights.load_probe", str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    measured = json.loads(run.stdout)
    assert measured["model"] > 2 * IN_FLIGHT
    assert measured["peak"] <= measured["model"] + IN_FLIGHT
