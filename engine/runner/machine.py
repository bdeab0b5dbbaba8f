"""What the machine has: which device to use and how much of its memory is free."""

import os
from pathlib import Path

import torch

from engine.errors import ConfigError

CGROUP = Path("/sys/fs/cgroup")
# Up to this size of weights, threads cost more in waiting for each other than they bring (docs/performance.md).
SINGLE_THREAD_BYTES = 256 << 20


def choose_device(name: str) -> torch.device:
    """`auto`: the GPU if there is one, else the CPU. A device asked for by name is used or refused (ConfigError)."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "--device cuda: torch finds no CUDA device here (`abruzzi doctor` says why; a container needs --gpus all); "
            "use --device cpu, or a CUDA build of torch"
        )
    if name not in ("cpu", "cuda"):
        raise ConfigError(f"--device {name}: only auto, cpu and cuda are known")
    return torch.device(name)


def choose_threads(asked: int | None, weight_bytes: int, waits_cost: bool) -> int | None:
    """CPU threads for a model of that size: what was asked for; one for a small model where threads that wait for each
    other cost more than they save; else None: one a core."""
    if asked is not None:
        return asked
    return 1 if waits_cost and weight_bytes <= SINGLE_THREAD_BYTES else None


def free_memory(device: torch.device) -> int:
    """Bytes that can be allocated on `device` now, as far as the system tells (a container's limit included)."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = _meminfo_available()
    limit, used = _cgroup_number("memory.max"), _cgroup_number("memory.current")
    return free if limit is None or used is None else min(free, limit - used + _cgroup_file_cache())


def _meminfo_available() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux: half of what is installed, since nobody says what is free
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _cgroup_file_cache() -> int:
    """Bytes of files, such as checkpoints just read, that count as used but give way to allocations."""
    try:
        lines = (CGROUP / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("inactive_file ", "active_file ")))


def _cgroup_number(name: str) -> int | None:
    """A figure of this process's control group (version 2), None where there is none or no limit."""
    try:
        return int((CGROUP / name).read_text())
    except (OSError, ValueError):
        return None
