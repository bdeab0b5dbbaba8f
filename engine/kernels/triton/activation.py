"""The curves of feed-forward blocks. One pass; floor: memory, each value read once and written once.

xIELU stays in plain torch (engine/kernels/reference.py).
"""

import triton
import triton.language as tl
from torch import Tensor

from engine.kernels.triton.common import ceil_div, power, rows_of

WIDEST = 1024  # of a program's piece of a row


@triton.jit
def silu_product(gate, up):
    """silu(gate) * up, in fp32."""
    return gate / (1.0 + tl.exp(-gate)) * up


@triton.jit
def _swiglu(both, out, both_row, F: tl.constexpr, BF: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BF + tl.arange(0, BF)
    held = at < F
    gate = tl.load(both + row * both_row + at, mask=held, other=0.0).to(tl.float32)
    up = tl.load(both + row * both_row + F + at, mask=held, other=0.0).to(tl.float32)
    tl.store(out + row * F + at, silu_product(gate, up).to(out.dtype.element_ty), mask=held)


def swiglu(gate_up_TX: Tensor) -> Tensor:
    """See reference.swiglu."""
    both, width = rows_of(gate_up_TX), gate_up_TX.shape[-1] // 2
    out = gate_up_TX.new_empty((*gate_up_TX.shape[:-1], width))
    piece = min(power(width), WIDEST)
    _swiglu[(both.shape[0], ceil_div(width, piece))](both, out, both.stride(0), F=width, BF=piece, num_warps=4)
    return out
