"""Split attention: how many parts a context is cut into, and how their results become one.

Each part leaves its unnormalised-by-others output and the log-sum-exp (base 2) of its scores:

    out = sum_s 2^(lse_s - peak) out_s / sum_s 2^(lse_s - peak)          (Milakov and Gimelshein 2018)

Shapes: A requests, H heads, S parts, V value width.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.kernels.triton.common import ceil_div, multiprocessors, power

MOST_PARTS = 32
LEAST_KEYS = 128  # of a part, at least


@triton.jit
def _merge(parts, lse, out, S: tl.constexpr, V: tl.constexpr, BS: tl.constexpr, BV: tl.constexpr):
    head = tl.program_id(0).to(tl.int64)
    part = tl.arange(0, BS)
    at = tl.arange(0, BV)
    size = tl.load(lse + head * S + part, mask=part < S, other=float("-inf"))
    peak = tl.max(size, axis=0)
    peak = tl.where(peak == float("-inf"), 0.0, peak)  # a request without keys: padding
    weight = tl.exp2(size - peak)
    total = tl.sum(weight, axis=0)
    sums = tl.zeros((BV,), tl.float32)
    for s in range(S):
        share = tl.exp2(tl.load(lse + head * S + s) - peak)
        value = tl.load(parts + (head * S + s) * V + at, mask=at < V, other=0.0)
        sums += tl.where(share > 0.0, share * value, 0.0)  # a part without keys has written nothing
    sums /= tl.where(total == 0, 1.0, total)
    tl.store(out + head * V + at, sums.to(out.dtype.element_ty), mask=at < V)


def merge(parts_AHSV: Tensor, lse_AHS: Tensor, dtype: torch.dtype) -> Tensor:
    """[A, H, V]. A request without keys comes out as 0."""
    A, H, S, V = parts_AHSV.shape
    out_AHV = torch.empty(A, H, V, dtype=dtype, device=parts_AHSV.device)
    _merge[(A * H,)](parts_AHSV, lse_AHS, out_AHV, S=S, V=V, BS=power(S), BV=power(V), num_warps=4)
    return out_AHV


def count_parts(programs: int, keys: int, device: int | None) -> int:
    """Parts of a context of up to `keys` tokens, so that two programs fall to a multiprocessor. The host knows a bound
    of the keys, not their number: which keys a part has is computed on the device. A power of two, so that few
    versions are compiled."""
    wanted = min(ceil_div(2 * multiprocessors(device), programs), ceil_div(keys, LEAST_KEYS), MOST_PARTS)
    return power(wanted)
