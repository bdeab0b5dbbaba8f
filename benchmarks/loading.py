"""How fast weights are loaded, beside what `dd` reads of the same files: python -m benchmarks.loading FOLDER

Cold: the files' pages are dropped from the page cache first; warm: they were just read. Each load runs in a process of
its own, which also tells how far memory rose above the model's own size while it loaded. Files and model must fit into
memory together, or warm is not warm.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from engine.layers.weight import Forms
from engine.models.configs.read import load_model_config
from engine.weights.loader import load_model


def load(folder: Path) -> None:
    """Loads on the CPU; prints seconds, the model's bytes and by how much memory rose at its peak."""
    config = load_model_config(folder)
    forms = Forms(getattr(torch, config.dtype), config.formats)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    began = time.perf_counter()
    model = load_model(folder, config, forms, torch.device("cpu"), lambda done: None).model
    seconds = time.perf_counter() - began
    size = sum(parameter.nbytes for parameter in model.parameters())
    print(json.dumps({"seconds": seconds, "model": size, "peak": _status("VmHWM") - before}))


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def drop(files: list[Path]) -> None:
    """Takes the files out of the page cache."""
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)  # what is not written yet would stay
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def dd(files: list[Path]) -> float:
    """Seconds in which dd reads them, one after the other."""
    began = time.perf_counter()
    for file in files:
        subprocess.run(["dd", f"if={file}", "of=/dev/null", "bs=16M", "status=none"], check=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loading", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--load", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        load(options.folder)
        return
    files = sorted(options.folder.glob("*.safetensors"))
    size = sum(file.stat().st_size for file in files)
    print(f"{size / 1e9:.2f} GB in {len(files)} files\n\n| | s | GB/s | memory above the model |\n|---|---:|---:|---:|")
    for cache in ("cold", "warm"):
        if cache == "cold":
            drop(files)
        seconds = dd(files)
        print(f"| dd, {cache} | {seconds:.2f} | {size / seconds / 1e9:.2f} | |", flush=True)
        if cache == "cold":
            drop(files)
        command = [sys.executable, "-m", "benchmarks.loading", str(options.folder), "--load"]
        found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        rate, above = size / found["seconds"] / 1e9, found["peak"] - found["model"]
        print(f"| load, {cache} | {found['seconds']:.2f} | {rate:.2f} | {above / 2**20:,.0f} MiB |", flush=True)


if __name__ == "__main__":
    main()
