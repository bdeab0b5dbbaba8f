"""Run by test_loading_memory.py in a process of its own: loads a folder, prints the growth of memory at its peak and
the model's own bytes."""

import json
import sys
from pathlib import Path

import torch

from engine.layers.weight import Forms
from engine.models.configs.read import load_model_config
from engine.weights import loader
from engine.weights.loader import load_model


def status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


if __name__ == "__main__":
    torch.set_num_threads(1)
    loader.PIECE_VALUES = 1 << 20
    folder = Path(sys.argv[1])
    config = load_model_config(folder)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    loaded = load_model(folder, config, Forms(torch.bfloat16, config.formats), torch.device("cpu"), lambda done: None)
    size = sum(parameter.nbytes for parameter in loaded.model.parameters())
    print(json.dumps({"peak": status("VmHWM") - before, "model": size}))
