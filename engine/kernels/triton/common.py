"""What the Triton kernels share.

With TRITON_INTERPRET=1 in the environment before Triton is first imported, kernels run in Triton's interpreter on the
CPU: slow, and the proof of what they compute. It knows no bf16 products, so there operands are widened first, which
changes nothing: products of bf16 values are exact in fp32, where tensor cores add them up too.
"""

import os
from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
WIDENED = tl.constexpr(INTERPRETED)
LOG2E = tl.constexpr(1.4426950408889634)
FP8_MAX = tl.constexpr(448.0)
# Of a GPU nobody asked about: an H200's.
MULTIPROCESSORS = 132


@triton.jit
def product(a, b, sums):
    """sums + a @ b, in fp32."""
    if WIDENED:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, sums, input_precision="ieee")


@triton.jit
def to_fp8(x):
    """Nearest e4m3, saturating."""
    return tl.minimum(tl.maximum(x, -FP8_MAX), FP8_MAX).to(tl.float8e4nv)


def power(value: int, least: int = 1) -> int:
    """The next power of two, at least `least`: what a tile's side must be."""
    return max(least, 1 << max(value - 1, 0).bit_length())


def ceil_div(value: int, by: int) -> int:
    return -(-value // by)


def rows_of(x: Tensor) -> Tensor:
    """x as [rows, X] with neighbours side by side; a view wherever that is possible."""
    flat = x.reshape(-1, x.shape[-1])
    return flat if flat.stride(-1) == 1 else flat.contiguous()


@lru_cache
def multiprocessors(index: int | None) -> int:
    """Of CUDA device `index`."""
    if not torch.cuda.is_available():
        return MULTIPROCESSORS
    return int(torch.cuda.get_device_properties(index or 0).multi_processor_count)


@lru_cache
def multiplies_fp8(index: int | None) -> bool:
    """Whether the device's tensor cores take e4m3 (Ada, Hopper and later)."""
    return torch.cuda.is_available() and torch.cuda.get_device_capability(index or 0) >= (8, 9)
