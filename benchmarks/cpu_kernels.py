"""The CPU kernels one by one: python -m benchmarks.cpu_kernels

Each kernel at the widths of a small K2 (hidden 1,024, 64 experts of width 512, 16 heads over latents of 512 + 64), over
many copies of the weights, so that no cache holds them. GB/s counts each weight once a call, however many tokens; the
first line is what the memory gives. `ratio`: plain torch's time over the native kernel's, in one run.
"""

import argparse
import time
from collections.abc import Callable
from itertools import cycle
from typing import Any

import torch

from engine.doctor import read_bandwidth
from engine.kernels.backend import TORCH, Kernels
from engine.kernels.packed import Packed, quantize
from engine.kernels.registry import choose_kernels

D, F, E, K = 1024, 512, 64, 6
HEADS, NOPE, ROTARY, LATENT, VALUE = 16, 128, 64, 512, 128
BF16 = torch.bfloat16
SECONDS = 0.25


def seconds(call: Callable[[], object]) -> float:
    """Mean time of a call, in seconds."""
    call()
    calls, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < SECONDS:
        call()
        calls += 1
    return passed / calls


def bytes_of(packed: Packed) -> int:
    return packed.values.nbytes + (packed.scale.nbytes if packed.scale is not None else 0)


def matrices(format: Any, *shape: int, copies: int) -> list[Packed]:
    dense = torch.randn(shape, dtype=BF16) / shape[-1] ** 0.5
    one = quantize(dense, format, BF16)
    return [Packed(format, one.values.clone(), None if one.scale is None else one.scale.clone()) for _ in range(copies)]


def row(
    name: str, tokens: int, moved: float, call: Callable[[Kernels], object], native: Kernels, compare: bool
) -> None:
    ours = seconds(lambda: call(native))
    line = f"| {name} | {tokens} | {ours * 1e6:,.0f} | {moved / ours / 1e9:.1f} |"
    print(line + (f" {seconds(lambda: call(TORCH)) / ours:.2f} |" if compare else " – |"), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cpu_kernels", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--formats", default="plain,int8,int4")
    parser.add_argument("--tokens", default="1,2,4,8,16,64,512")
    parser.add_argument("--only", default="", help="kernels whose names hold this")
    options = parser.parse_args()
    tokens = [int(count) for count in options.tokens.split(",")]
    native = choose_kernels("native", "cpu", BF16)
    native.set_threads(options.threads)
    print(f"{native.describe()}; memory {read_bandwidth() / 1e9:.1f} GB/s\n")
    print("| kernel | tokens | µs | GB/s | ratio |\n|---|---:|---:|---:|---:|")
    with torch.inference_mode():
        for format in options.formats.split(","):
            if options.only in "linear":
                linears(native, format, tokens)
            if options.only in "experts":
                experts(native, format, tokens)
        if options.only in "decode":
            decode(native)
        if options.only in "prefill":
            prefill(native)


def linears(native: Kernels, format: str, counts: list[int]) -> None:
    weights = matrices(format, 2048, 2048, copies=24 if format == "plain" else 40)
    for tokens in counts:
        x, turn = torch.randn(tokens, 2048, dtype=BF16), cycle(weights)
        call = lambda kernels, x=x, turn=turn: kernels.linear(x, next(turn))  # noqa: E731
        row(
            f"linear 2048 x 2048, {format}", tokens, bytes_of(weights[0]), call, native, format == "plain" or tokens < 4
        )


def experts(native: Kernels, format: str, counts: list[int]) -> None:
    stacks = list(zip(matrices(format, E, 2 * F, D, copies=4), matrices(format, E, D, F, copies=4), strict=True))
    for tokens in counts:
        x, weights = torch.randn(tokens, D, dtype=BF16), torch.rand(tokens, K)
        choices = [torch.stack([torch.randperm(E)[:K] for _ in range(tokens)]) for _ in range(16)]
        touched = sum(len(ids.unique()) for ids in choices) / len(choices)
        turn, ids = cycle(stacks), cycle(choices)
        call = lambda kernels, x=x, w=weights, i=ids, t=turn: kernels.moe_experts(x, w, next(i), *next(t))  # noqa: E731
        moved = touched / E * (bytes_of(stacks[0][0]) + bytes_of(stacks[0][1]))
        row(f"experts, {format}, {touched:.1f} distinct", tokens, moved, call, native, format == "plain")


def decode(native: Kernels) -> None:
    up_k, up_v = torch.randn(HEADS, NOPE, LATENT, dtype=BF16), torch.randn(HEADS, VALUE, LATENT, dtype=BF16)
    for requests, context in ((1, 256), (16, 256), (1, 4096), (16, 4096)):
        blocks = context // 16
        cache = torch.randn(requests * blocks, 16, LATENT + ROTARY, dtype=BF16)
        table = torch.randperm(requests * blocks).view(requests, blocks)
        query, lens = torch.randn(requests, HEADS, NOPE + ROTARY, dtype=BF16), torch.full((requests,), context)
        arguments = (query, cache, table, lens, up_k, up_v, 0.1)
        call = lambda kernels, a=arguments: kernels.mla_decode(*a)  # noqa: E731
        row(f"latent decode, context {context}", requests, cache.nbytes + up_k.nbytes + up_v.nbytes, call, native, True)


def prefill(native: Kernels) -> None:
    up_k, up_v = torch.randn(HEADS, NOPE, LATENT, dtype=BF16) / 11, torch.randn(HEADS, VALUE, LATENT, dtype=BF16) / 22
    for tokens, start in ((512, 0), (2048, 0), (512, 4096)):
        blocks = (start + tokens) // 16
        cache = torch.randn(blocks, 16, LATENT + ROTARY, dtype=BF16)
        query, table = torch.randn(tokens, HEADS, NOPE + ROTARY, dtype=BF16), torch.randperm(blocks)
        call = lambda kernels, q=query, c=cache, t=table, s=start: kernels.mla_prefill(  # noqa: E731
            q, c, t, s, up_k, up_v, 0.1, 256, 256
        )
        row(f"latent prefill after {start}", tokens, cache.nbytes, call, native, True)


if __name__ == "__main__":
    main()
