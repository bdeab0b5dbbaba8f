"""The inner loop of every product with a matrix of weights, in any format: a tile of x @ weight.T.

Packed weights are unpacked in registers, in fp32 with one rounding, as packed.dequantize does. Of fp8 there is a second
way for devices whose tensor cores take it: both operands in e4m3, x with a scale for each 1 x 128 values
(DeepSeek-V3, section 3.3), sums in fp32 for each block.

Shapes: BM rows of x, BN rows of the matrix, BK columns at a time, X columns in all.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.kernels.formats import FP8_BLOCK, GROUP, Format
from engine.kernels.packed import FP8, Packed
from engine.kernels.triton.common import ceil_div, product, rows_of

KINDS: dict[Format, int] = {"plain": 0, "fp8": 1, "int8": 2, "int4": 3}
PLAIN, IN_FP8, IN_INT8 = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)
BLOCK, GROUPED, NIBBLES = tl.constexpr(FP8_BLOCK), tl.constexpr(GROUP), tl.constexpr(8)


@triton.jit
def _scaled_groups(values, scale, n, n_held, k, X: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """values [BN, BK] times the scale of each group of 32."""
    group = k // GROUPED + tl.arange(0, BK // GROUPED)
    held = n_held[:, None] & (group < X // GROUPED)[None, :]
    scales = tl.load(scale + n[:, None] * (X // GROUPED) + group[None, :], mask=held, other=0.0).to(tl.float32)
    wide = tl.reshape(values.to(tl.float32), (BN, BK // GROUPED, GROUPED)) * scales[:, :, None]
    return tl.reshape(wide, (BN, BK))


@triton.jit
def _weights(
    values, scale, n, n_held, k, like, X: tl.constexpr, KIND: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr
):
    """Rows n, columns [k, k + BK) of the matrix, in x's type."""
    if KIND <= IN_INT8:
        column = k + tl.arange(0, BK)
        at = values + n[:, None] * X + column[None, :]
        held = n_held[:, None] & (column < X)[None, :]
        if KIND == PLAIN:
            tile = tl.load(at, mask=held, other=0.0)
        elif KIND == IN_FP8:
            block = n // BLOCK * ((X + BLOCK - 1) // BLOCK) + k // BLOCK
            scales = tl.load(scale + block, mask=n_held, other=0.0)
            tile = tl.load(at, mask=held, other=0.0).to(tl.float32) * scales[:, None]
        else:
            tile = _scaled_groups(tl.load(at, mask=held, other=0), scale, n, n_held, k, X, BN, BK)
    else:
        word = k // NIBBLES + tl.arange(0, BK // NIBBLES)
        at = values + n[:, None] * (X // NIBBLES) + word[None, :]
        words = tl.load(at, mask=n_held[:, None] & (word < X // NIBBLES)[None, :], other=0)
        shift = tl.arange(0, 8) * 4
        nibbles = tl.reshape(((words[:, :, None] >> shift[None, None, :]) & 15) - 8, (BN, BK))
        tile = _scaled_groups(nibbles, scale, n, n_held, k, X, BN, BK)
    return tile.to(like)


@triton.jit
def accumulate(
    x, x_scale, row, row_held, x_row, values, scale, n, n_held, first, last,
    X: tl.constexpr, KIND: tl.constexpr, EIGHT: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """fp32 [BM, BN]: rows of x times rows n of the matrix, columns [first, last)."""
    sums = tl.zeros((BM, BN), tl.float32)
    row = row.to(tl.int64)
    n = n.to(tl.int64)
    for k in range(first, last, BK):
        column = k + tl.arange(0, BK)
        held = row_held[:, None] & (column < X)[None, :]
        tile = tl.load(x + row[:, None] * x_row + column[None, :], mask=held, other=0.0)
        if EIGHT:
            at = values + n[:, None] * X + column[None, :]
            weights = tl.load(at, mask=n_held[:, None] & (column < X)[None, :], other=0.0)
            blocks: tl.constexpr = (X + BLOCK - 1) // BLOCK
            row_scale = tl.load(x_scale + row * blocks + k // BLOCK, mask=row_held, other=0.0)
            n_scale = tl.load(scale + n // BLOCK * blocks + k // BLOCK, mask=n_held, other=0.0)
            part = product(tile, tl.trans(weights), tl.zeros((BM, BN), tl.float32))
            sums += part * row_scale[:, None] * n_scale[None, :]
        else:
            weights = _weights(values, scale, n, n_held, k, tile.dtype, X, KIND, BN, BK)
            sums = product(tile, tl.trans(weights), sums)
    return sums


@triton.jit
def _quantize(x, out, scale, x_row, X: tl.constexpr, BX: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BX + tl.arange(0, BX)
    value = tl.load(x + row * x_row + column, mask=column < X, other=0.0).to(tl.float32)
    step = tl.maximum(tl.max(tl.abs(value), axis=0) / 448.0, 1e-30)
    tl.store(out + row * X + column, (value / step).to(out.dtype.element_ty), mask=column < X)
    tl.store(scale + row * ((X + BX - 1) // BX) + tl.program_id(1), step)


def quantize_rows(x_TX: Tensor) -> tuple[Tensor, Tensor]:
    """x in e4m3 and fp32 scales [T, X/128, rounded up]: each 128 values of a row share one."""
    rows = rows_of(x_TX)
    T, X = rows.shape
    out = torch.empty(T, X, dtype=FP8, device=x_TX.device)
    scale = torch.empty(T, ceil_div(X, FP8_BLOCK), dtype=torch.float32, device=x_TX.device)
    _quantize[(T, scale.shape[1])](rows, out, scale, rows.stride(0), X=X, BX=FP8_BLOCK, num_warps=1)
    return out, scale


def column_step(packed: Packed) -> int:
    """Columns that a loop takes at a time: within a block of fp8, and whole groups and words of the int formats."""
    return 64 if packed.format == "plain" else 128
