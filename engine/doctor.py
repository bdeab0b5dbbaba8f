"""What this machine can do for the engine. Run as a program: prints JSON; lines in the order in which to show them."""

import json
import os
import platform
import sys
import time
from pathlib import Path

import torch

BANDWIDTH_BYTES = 512 << 20  # far more than any cache
ROUNDS = 5
# Instruction sets that matter to matrix products, as Linux names them.
CPU_FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "bf16",
    "sve",
)


def examine() -> list[tuple[str, str]]:
    """(what, how it is) of the processor, memory, GPUs and what the engine can use of them."""
    return [*_processor(), *_memory(), *_gpus(), *_backends()]


def _processor() -> list[tuple[str, str]]:
    info = _read("/proc/cpuinfo")
    flags: set[str] = set()
    name = platform.processor() or platform.machine()
    for line in info.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            flags |= set(value.split())
        elif key.strip() == "model name":
            name = value.strip()
    known = [flag for flag in CPU_FLAGS if flag in flags]
    return [
        ("processor", name),
        ("cores", f"{os.cpu_count()}; this process may use {len(os.sched_getaffinity(0))}"),
        ("instructions", ", ".join(known) or "none of " + ", ".join(CPU_FLAGS)),
        ("NUMA nodes", str(len(list(Path("/sys/devices/system/node").glob("node[0-9]*"))) or "unknown")),
    ]


def _memory() -> list[tuple[str, str]]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return [
        ("memory", f"{total / 2**30:.1f} GiB"),
        ("memory bandwidth", f"{read_bandwidth() / 1e9:.1f} GB/s read by {torch.get_num_threads()} threads"),
    ]


def read_bandwidth() -> float:
    """Bytes a second at which the processor reads memory: the best of some sums over a large tensor."""
    data = torch.zeros(BANDWIDTH_BYTES // 4)
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        data.sum()
        best = min(best, time.perf_counter() - began)
    return BANDWIDTH_BYTES / best


def _gpus() -> list[tuple[str, str]]:
    if not torch.cuda.is_available():
        return [("GPU", _why_no_gpu())]
    driver = _read("/proc/driver/nvidia/version").partition("\n")[0].removeprefix("NVRM version: ")
    rows = [("GPU driver", driver or "unknown"), ("CUDA", f"{torch.version.cuda} in torch {torch.__version__}")]
    for index in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
        rows.append((f"GPU {index}", f"{found.name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"))
    return rows


def _why_no_gpu() -> str:
    if torch.version.cuda is None:
        return f"none: this torch ({torch.__version__}) is built for CPUs; install a CUDA build to use one"
    if not Path("/proc/driver/nvidia/version").exists():
        return "none: no NVIDIA driver is loaded (in a container: was it started with --gpus all?)"
    return "none: a driver is loaded, but torch finds no device (CUDA_VISIBLE_DEVICES?)"


def _backends() -> list[tuple[str, str]]:
    cuda = "usable" if torch.cuda.is_available() else "not usable: no GPU"
    return [("backend cpu (plain torch)", "usable"), ("backend cuda (plain torch)", cuda)]


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


if __name__ == "__main__":
    json.dump(examine(), sys.stdout)
