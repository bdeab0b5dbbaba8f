"""RMS norm, with and without the residual sum before it. One program a row, all of it in registers.

Floor: memory. Each value is read once and written once (twice with the sum).
"""

import triton
import triton.language as tl
from torch import Tensor

from engine.kernels.triton.common import power, rows_of


@triton.jit
def _rms_norm(x, delta, weight, out, total, x_row, delta_row, eps, X: tl.constexpr, BX: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BX)
    held = at < X
    value = tl.load(x + row * x_row + at, mask=held, other=0.0)
    if delta is not None:
        more = tl.load(delta + row * delta_row + at, mask=held, other=0.0)
        value = (value.to(tl.float32) + more.to(tl.float32)).to(out.dtype.element_ty)
        tl.store(total + row * X + at, value, mask=held)
    wide = value.to(tl.float32)
    size = tl.rsqrt(tl.sum(wide * wide, axis=0) / X + eps)
    scale = tl.load(weight + at, mask=held, other=0.0).to(tl.float32)
    tl.store(out + row * X + at, (wide * size * scale).to(out.dtype.element_ty), mask=held)


def rms_norm(x_TX: Tensor, weight_X: Tensor, eps: float) -> Tensor:
    """See reference.rms_norm."""
    out_TX = x_TX.new_empty(x_TX.shape)
    rows, width = rows_of(x_TX), x_TX.shape[-1]
    _rms_norm[(rows.shape[0],)](
        rows, None, weight_X, out_TX, None, rows.stride(0), 0, eps, X=width, BX=power(width), num_warps=_warps(width)
    )
    return out_TX


def add_rms_norm(x_TX: Tensor, delta_TX: Tensor, weight_X: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """See reference.add_rms_norm."""
    sum_TX, out_TX = x_TX.new_empty(x_TX.shape), x_TX.new_empty(x_TX.shape)
    x, delta, width = rows_of(x_TX), rows_of(delta_TX), x_TX.shape[-1]
    strides = x.stride(0), delta.stride(0)
    _rms_norm[(x.shape[0],)](
        x, delta, weight_X, out_TX, sum_TX, *strides, eps, X=width, BX=power(width), num_warps=_warps(width)
    )
    return sum_TX, out_TX


def _warps(width: int) -> int:
    return min(max(power(width) // 512, 1), 16)
