"""Compiles every Triton kernel for a Hopper GPU, without one: python -m benchmarks.gpu_compile [--only NAME ...]

At Kimi K2's and Qwen3's real widths, through the same host code that launches them, on tensors without memory. Prints
for each version its shared memory, registers and spilled bytes; exit status 1 if one does not compile or wants more
shared memory than an H100 has. What it cannot tell: whether they run, and how fast.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from engine.kernels.formats import FP8_BLOCK, GROUP, Format
from engine.kernels.packed import FP8, Packed
from engine.kernels.triton import activation, gqa, linear, mla, moe, norm, rotary, route, sampling

TARGET = GPUTarget("cuda", 90, 32)
SHARED_MEMORY = 232448  # bytes of one program at most, CUDA's programming guide for compute capability 9.0
SHOWN = ("KIND", "EIGHT", "BM", "BN", "BK", "BH", "S", "INTERLEAVED", "num_warps", "num_stages")
BF16 = torch.bfloat16
D, F, E, K, H, L, N, R, P = 7168, 2048, 384, 8, 64, 512, 128, 64, 16


class Driver:
    """Stands for a GPU: enough for Triton to compile."""

    def get_current_target(self) -> GPUTarget:
        return TARGET

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int | None = None) -> int:
        return 0


class Compiled:
    """What has been compiled so far, each version once."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.too_large = 0

    def install(self) -> None:
        """Launches become compilations from now on."""
        compile_only = JITFunction.run

        def run(kernel: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> Any:
            found = compile_only(kernel, *args, grid=grid, warmup=True, **options)
            if found.hash not in self.seen:
                self.seen.add(found.hash)
                self._report(kernel.fn, options, found)
            return found

        JITFunction.run = run

    def _report(self, function: Any, options: dict[str, Any], found: Any) -> None:
        registers, spilled = _usage(found.asm["cubin"])
        shared = found.metadata.shared
        self.too_large += shared > SHARED_MEMORY
        how = " ".join(f"{name}={options[name]}" for name in SHOWN if name in options)
        name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        print(f"{name:22} shared {shared:6} registers {registers:3} spilled {spilled:3}  {how}", flush=True)


def _usage(binary: bytes) -> tuple[int, int]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(binary)
        tool = triton.knobs.nvidia.cuobjdump.path
        said = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    match = re.search(r"REG:(\d+) STACK:(\d+)", said)
    assert match is not None, said
    return int(match[1]), int(match[2])


def _packed(format: Format, *shape: int) -> Packed:
    *stack, Y, X = shape
    if format == "plain":
        return Packed(format, torch.empty(shape, dtype=BF16))
    if format == "fp8":
        return Packed(format, torch.empty(shape, dtype=FP8), torch.empty(*stack, -(-Y // FP8_BLOCK), X // FP8_BLOCK))
    kind, width = (torch.int8, X) if format == "int8" else (torch.int32, X // 8)
    return Packed(format, torch.empty(*stack, Y, width, dtype=kind), torch.empty(*stack, Y, X // GROUP, dtype=BF16))


def experts_and_products() -> None:
    """Each format; fp8 in both ways."""
    for eight in (False, True):
        moe.multiplies_fp8 = linear.multiplies_fp8 = lambda index, eight=eight: eight
        formats: tuple[Format, ...] = ("fp8",) if eight else ("plain", "fp8", "int4", "int8")
        for format in formats:
            gate_up, down = _packed(format, E, 2 * F, D), _packed(format, E, D, F)
            for tokens in (1, 1024, 2048, 8192):
                ids = torch.empty(tokens, K, dtype=torch.int64)
                moe.moe_by_tiles(torch.empty(tokens, D, dtype=BF16), torch.empty(tokens, K), ids, gate_up, down)
            for tokens in (1, 32, 64, 8192):
                linear.linear(torch.empty(tokens, D, dtype=BF16), _packed(format, 2112, D))


def attention() -> None:
    """Both kinds, over both caches."""
    places = {"dtype": torch.int64}
    for cached in (BF16, FP8):
        cache = torch.empty(5000, P, L + R, dtype=cached)
        for heads in (1, 16, 64, 128):
            up = torch.empty(heads, N, L, dtype=BF16)
            for requests in (1, 64):
                table, lens = torch.empty(requests, 512, **places), torch.empty(requests, **places)
                query = torch.empty(requests, heads, N + R, dtype=BF16)
                mla.mla_decode(query, cache, table, lens, up, up, 0.1)
        up, query = torch.empty(H, N, L, dtype=BF16), torch.empty(2048, H, N + R, dtype=BF16)
        mla.mla_prefill(query, cache, torch.empty(512, **places), 4000, up, up, 0.1, 256, 2048)
        cache = torch.empty(5000, P, 2 * 4 * 128, dtype=cached)
        query = torch.empty(64, 32, 128, dtype=BF16)
        gqa.gqa_decode(query, cache, torch.empty(64, 512, **places), torch.empty(64, **places), 4, 0.1)
        query = torch.empty(2048, 32, 128, dtype=BF16)
        gqa.gqa_prefill(query, cache, torch.empty(512, **places), 4000, 4, 0.1, 256, 2048)


def the_rest() -> None:
    """Stores, norms, routing, SwiGLU, sampling."""
    T, slots, weight = 64, torch.empty(64, dtype=torch.int64), torch.empty(128, dtype=BF16)
    for cached in (BF16, FP8):
        for interleaved in (True, False):
            query, first = torch.empty(T, H, N + R, dtype=BF16), torch.empty(T, 2112, dtype=BF16)
            turns, cache = torch.empty(T, R // 2, dtype=torch.complex64), torch.empty(99, P, L + R, dtype=cached)
            norm_L = torch.empty(L, dtype=BF16)
            latent, key = first[:, 1536:2048], first[:, 2048:]
            rotary.mla_store(query, latent, key, norm_L, 1e-6, turns, interleaved, cache, slots)
            heads = torch.empty(T, 40, 128, dtype=BF16).split([32, 4, 4], dim=1)
            turns, cache = torch.empty(T, 64, dtype=torch.complex64), torch.empty(99, P, 2 * 4 * 128, dtype=cached)
            rotary.gqa_store(*heads, weight, weight, 1e-6, turns, interleaved, cache, slots)
    x, ones = torch.empty(T, D, dtype=BF16), torch.empty(D, dtype=BF16)
    norm.rms_norm(x, ones, 1e-6)
    norm.add_rms_norm(x, x, ones, 1e-6)
    for experts, groups, kept in ((384, 1, 1), (256, 8, 4)):
        how: dict[str, Any] = {"groups": groups, "groups_kept": kept, "normalize": True, "scale": 2.5}
        route.route(x, torch.empty(experts, D), torch.empty(experts), experts_per_token=K, **how)
    route.route_softmax(x, torch.empty(128, D), experts_per_token=K, normalize=True)
    activation.swiglu(torch.empty(T, 2 * F, dtype=BF16))
    sampling.draw(torch.empty(T, 163840), torch.empty(T, 5, dtype=torch.float64))


PARTS: dict[str, Callable[[], None]] = {
    "experts": experts_and_products,
    "attention": attention,
    "rest": the_rest,
}


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=[])
    asked = parser.parse_args()
    driver.set_active(Driver())
    compiled = Compiled()
    compiled.install()
    torch.set_default_device("meta")
    for name in asked.only or PARTS:
        PARTS[name]()
    print(f"{len(compiled.seen)} versions compiled for sm_{TARGET.arch} by Triton {triton.__version__}")
    return int(compiled.too_large > 0)


if __name__ == "__main__":
    sys.exit(main())
