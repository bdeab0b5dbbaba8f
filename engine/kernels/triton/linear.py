"""Products with packed matrices; plain ones are cuBLAS'.

Floor at few tokens: reading the matrix in its format. A matrix has too few rows to keep all multiprocessors loading, so
its columns are split among programs too; the parts are added up in a fixed order. Floor at many tokens: the matrix
rate, of e4m3 where the device multiplies it (activations then get a scale for each 1 x 128 values), else of bf16.
Shapes: M tokens, Y rows and X columns of the matrix, S parts.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from engine.kernels.formats import FP8_BLOCK
from engine.kernels.packed import Packed
from engine.kernels.triton.common import ceil_div, multiplies_fp8, multiprocessors, power, rows_of
from engine.kernels.triton.gemm import KINDS, accumulate, quantize_rows

# From this many tokens on, arithmetic is what counts, and activations are quantised for it where the device can.
MANY = 64
REDUCED = 1024  # columns of a program that adds parts


@triton.jit(do_not_specialize=["M"])
def _linear(
    x, x_scale, values, scale, out, M, x_row,
    X: tl.constexpr, Y: tl.constexpr, PART: tl.constexpr, KIND: tl.constexpr, EIGHT: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    part = tl.program_id(2)
    first = part * PART
    last = tl.minimum(first + PART, X)
    sums = accumulate(x, x_scale, row, row < M, x_row, values, scale, n, n < Y, first, last, X, KIND, EIGHT, BM, BN, BK)
    at = (part.to(tl.int64) * M + row)[:, None] * Y + n[None, :]
    tl.store(out + at, sums.to(out.dtype.element_ty), mask=(row < M)[:, None] & (n < Y)[None, :])


@triton.jit(do_not_specialize=["M"])
def _add_parts(parts, out, M, Y: tl.constexpr, S: tl.constexpr, BY: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * BY + tl.arange(0, BY)
    total = tl.zeros((BY,), tl.float32)
    for part in range(S):
        total += tl.load(parts + (part * M + row) * Y + n, mask=n < Y, other=0.0)
    tl.store(out + row * Y + n, total.to(out.dtype.element_ty), mask=n < Y)


def linear(x_TX: Tensor, weight: Packed) -> Tensor:
    """See reference.linear."""
    if weight.format == "plain":
        return functional.linear(x_TX, weight.values)
    x, Y = rows_of(x_TX), weight.values.shape[0]
    M, X = x.shape
    out = x_TX.new_empty(*x_TX.shape[:-1], Y)
    eight = weight.format == "fp8" and M >= MANY and multiplies_fp8(x.device.index)
    x_scale = None
    if eight:
        x, x_scale = quantize_rows(x)
    BM, BN, BK = min(power(M, 16), 128 if eight else 64), 128, 128
    parts = _parts(ceil_div(M, BM) * ceil_div(Y, BN), X, x.device.index)
    width = ceil_div(ceil_div(X, parts), FP8_BLOCK) * FP8_BLOCK
    parts = ceil_div(X, width)
    target = out if parts == 1 else torch.empty(parts, M, Y, dtype=torch.float32, device=x.device)
    _linear[(ceil_div(M, BM), ceil_div(Y, BN), parts)](
        x, x_scale, weight.values, weight.scale, target, M, x.stride(0),
        X=X, Y=Y, PART=width, KIND=KINDS[weight.format], EIGHT=eight, BM=BM, BN=BN, BK=BK,
        num_warps=8 if BM >= 64 else 4, num_stages=3,
    )  # fmt: skip
    if parts > 1:
        piece = min(power(Y), REDUCED)
        _add_parts[(M, ceil_div(Y, piece))](target, out, M, Y=Y, S=parts, BY=piece, num_warps=4)
    return out


def _parts(tiles: int, X: int, device: int | None) -> int:
    """Into how many parts to cut the columns so that two programs fall to a multiprocessor, each with at least two
    blocks of columns."""
    return max(1, min(2 * multiprocessors(device) // tiles, X // (2 * FP8_BLOCK)))
