"""What this machine can do for the engine. Run as a program: prints JSON, rows in the order in which to show them."""

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from engine.kernels.registry import why_unusable

BANDWIDTH_BYTES = 512 << 20  # far more than any cache
ROUNDS = 5
DRIVER = Path("/proc/driver/nvidia/version")
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
    info = _read(Path("/proc/cpuinfo"))
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
        ("NUMA nodes", numa_nodes(Path("/sys/devices/system/node"))),
    ]


def numa_nodes(system: Path) -> str:
    """The nodes in Linux's folder of them, each with its processors and memory."""
    nodes = sorted(system.glob("node[0-9]*"), key=lambda node: int(node.name.removeprefix("node")))
    return "\n".join(f"{node.name}: {_numa_node(node)}" for node in nodes) or "unknown"


def _numa_node(node: Path) -> str:
    total = next((line.split()[3] for line in _read(node / "meminfo").splitlines() if "MemTotal:" in line), None)
    memory = "memory unknown" if total is None else f"{int(total) / 2**20:.1f} GiB"
    return f"processors {_read(node / 'cpulist').strip() or 'none'}, {memory}"


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
        return [("GPU", f"none: {_why_no_gpu()}")]
    driver = _read(DRIVER).partition("\n")[0].removeprefix("NVRM version: ")
    rows = [("GPU driver", driver or "unknown"), ("CUDA", f"{torch.version.cuda} in torch {torch.__version__}")]
    for index in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
        rows.append((f"GPU {index}", f"{found.name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"))
    return rows


def _why_no_gpu() -> str:
    if torch.version.cuda is None:
        return f"this torch ({torch.__version__}) is built for CPUs; install a CUDA build to use one"
    if not DRIVER.exists():
        return "no NVIDIA driver is loaded (in a container: was it started with --gpus all?)"
    return "a driver is loaded, but torch finds no device (CUDA_VISIBLE_DEVICES?)"


# What computes, and a function that says why it cannot be used here, or None. A new backend adds its line.
BACKENDS: tuple[tuple[str, Callable[[], str | None]], ...] = (
    ("plain torch, cpu", lambda: None),
    ("plain torch, cuda", lambda: None if torch.cuda.is_available() else _why_no_gpu()),
    (
        "Triton, cuda",
        lambda: why_unusable("triton", "cuda", torch.bfloat16) if torch.cuda.is_available() else _why_no_gpu(),
    ),
)


def _backends() -> list[tuple[str, str]]:
    reasons = [(name, why_not()) for name, why_not in BACKENDS]
    return [(f"backend {name}", "usable" if reason is None else f"not usable: {reason}") for name, reason in reasons]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


if __name__ == "__main__":
    json.dump(examine(), sys.stdout)
