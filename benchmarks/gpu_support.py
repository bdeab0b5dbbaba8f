"""What the GPU benchmarks share: shapes, random weights, the clock."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.kernels.formats import FP8_BLOCK, GROUP, Format
from engine.kernels.packed import FP8, Packed

ROUNDS = 20
FLUSHED = 256 << 20


@dataclass(frozen=True, slots=True)
class Shapes:
    """Kimi K2's widths, or tiny ones for a dry run. D model, F expert width, E experts, K of a token, H heads,
    L latent, N head without rotary, R rotary, V value head, P block size."""

    D: int = 7168
    F: int = 2048
    E: int = 384
    K: int = 8
    H: int = 64
    L: int = 512
    N: int = 128
    R: int = 64
    V: int = 128
    P: int = 16
    vocabulary: int = 163840
    decode: tuple[int, ...] = (1, 16, 64, 256)
    prefill: int = 8192
    requests: int = 64
    context: int = 8192
    copied: int = 4 << 30
    square: int = 8192


REAL = Shapes()
TINY = Shapes(
    D=64, F=32, E=4, K=2, H=2, L=32, N=16, R=8, V=16, P=4, vocabulary=200, decode=(1, 4), prefill=8, requests=2,
    context=16, copied=1 << 16, square=64,
)  # fmt: skip


class Clock:
    """Seconds of `run`: on a GPU recorded as a graph and replayed, as decode steps are, so that launches are not in it;
    `eager` without, for what cannot be recorded."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"
        # written before each round, so that nothing is read from the L2 cache
        self._other = torch.empty(FLUSHED if self.cuda else 0, dtype=torch.uint8, device=device)

    def __call__(self, run: Callable[[], object], *, eager: bool = False) -> float:
        if not self.cuda:
            began = time.perf_counter()
            run()
            return time.perf_counter() - began
        for _ in range(3):
            run()
        torch.cuda.synchronize()
        replay = run if eager else _graph(run)
        times = []
        for _ in range(ROUNDS):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            self._other.zero_()
            begin.record()
            replay()
            end.record()
            torch.cuda.synchronize()
            times.append(begin.elapsed_time(end) / 1e3)
        return statistics.median(times)


def _graph(run: Callable[[], object]) -> Callable[[], object]:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def random_packed(shape: tuple[int, ...], format: Format, device: torch.device) -> Packed:
    """A stack of matrices whose products have about unit gain, made where it will lie."""
    *stack, Y, X = shape
    gain = X**-0.5
    if format == "plain":
        return Packed(format, torch.empty(shape, dtype=torch.bfloat16, device=device).normal_(std=gain))
    if format == "fp8":
        # every byte up to 0x77 is a number below 256; of random bits the mean square is about 40**2
        bits = torch.empty(shape, dtype=torch.uint8, device=device).random_(0, 0x78)
        scale = torch.full((*stack, -(-Y // FP8_BLOCK), -(-X // FP8_BLOCK)), gain / 40, device=device)
        return Packed(format, bits.view(FP8), scale)
    steps = 37 if format == "int8" else 4.6
    scale = torch.full((*stack, Y, X // GROUP), gain / steps, dtype=torch.bfloat16, device=device)
    if format == "int8":
        return Packed(format, torch.empty(shape, dtype=torch.int8, device=device).random_(-64, 64), scale)
    words = torch.empty((*stack, Y, X // 8), dtype=torch.int32, device=device).random_(-(2**31), 2**31 - 1)
    return Packed(format, words, scale)


def random_routing(tokens: int, experts: int, each: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Weights and ids of `each` different experts of every token, all equally likely."""
    ids = torch.rand(tokens, experts, device=device).topk(each, dim=-1).indices
    return torch.full((tokens, each), 1 / each, device=device), ids


def matrix_bytes(packed: Packed) -> int:
    """Of one matrix of a stack."""
    scale = 0 if packed.scale is None else packed.scale[0].nbytes
    return packed.values[0].nbytes + scale
