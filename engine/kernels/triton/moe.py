"""The routed experts: permute, two grouped products with SwiGLU between, weighted sum. No word goes to the host.

Floor at few tokens: reading each expert that was hit once. A tile has rows of one expert only, so each expert's weights
are read once for every `size` of its rows. Floor at many tokens: the matrix rate, of e4m3 where the device multiplies
it and the weights are fp8, else of bf16.

Shapes: T tokens, D model, E experts, K experts of a token, F expert width, M assignments (T x K), J tiles.
"""

import triton
import triton.language as tl
from torch import Tensor

from engine.kernels.packed import Packed
from engine.kernels.triton.activation import silu_product
from engine.kernels.triton.choice import takes_grouped_mm
from engine.kernels.triton.common import ceil_div, multiplies_fp8, power
from engine.kernels.triton.gemm import KINDS, accumulate, quantize_rows
from engine.kernels.triton.grouped_mm import moe_by_grouped_mm
from engine.kernels.triton.permute import Tiles, permute

BK = 128
SUMMED = 1024  # columns of a program that sums up a token's experts
# Rows of an expert on average from which activations are quantised for products in e4m3.
MANY = 32


@triton.jit(do_not_specialize=["M"])
def _gate_up(
    x, x_scale, assignments, experts, values, scale, out, M, x_row,
    D: tl.constexpr, F: tl.constexpr, K: tl.constexpr, VALUES: tl.constexpr, SCALES: tl.constexpr,
    KIND: tl.constexpr, EIGHT: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """silu(x @ gate.T) * (x @ up.T), a tile of BN/2 columns. Its weights are BN rows, half of the gate's, half of the
    up's, so that x is read once for both."""
    expert = tl.load(experts + tl.program_id(1)).to(tl.int64)
    if expert < 0:
        return
    HALF: tl.constexpr = BN // 2
    assignment = tl.load(assignments + tl.program_id(1) * BM + tl.arange(0, BM))
    row_held = assignment < M
    at = tl.arange(0, BN)
    column = tl.program_id(0) * HALF + at % HALF
    n = column + at // HALF * F
    values += expert * VALUES
    if scale is not None:
        scale += expert * SCALES
    sums = accumulate(
        x, x_scale, assignment // K, row_held, x_row, values, scale, n, column < F, 0, D, D, KIND, EIGHT, BM, BN, BK
    )
    gate, up = tl.split(tl.permute(tl.reshape(sums, (BM, 2, HALF)), (0, 2, 1)))
    inner = silu_product(gate, up)
    column = tl.program_id(0) * HALF + tl.arange(0, HALF)
    target = out + assignment.to(tl.int64)[:, None] * F + column[None, :]
    tl.store(target, inner.to(out.dtype.element_ty), mask=row_held[:, None] & (column < F)[None, :])


@triton.jit(do_not_specialize=["M"])
def _down(
    x, x_scale, assignments, experts, values, scale, weights, out, M,
    D: tl.constexpr, F: tl.constexpr, VALUES: tl.constexpr, SCALES: tl.constexpr,
    KIND: tl.constexpr, EIGHT: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """inner @ down.T times the assignment's weight."""
    expert = tl.load(experts + tl.program_id(1)).to(tl.int64)
    if expert < 0:
        return
    assignment = tl.load(assignments + tl.program_id(1) * BM + tl.arange(0, BM))
    row_held = assignment < M
    n = tl.program_id(0) * BN + tl.arange(0, BN)
    values += expert * VALUES
    if scale is not None:
        scale += expert * SCALES
    sums = accumulate(x, x_scale, assignment, row_held, F, values, scale, n, n < D, 0, F, F, KIND, EIGHT, BM, BN, BK)
    sums *= tl.load(weights + assignment, mask=row_held, other=0.0)[:, None]
    target = out + assignment.to(tl.int64)[:, None] * D + n[None, :]
    tl.store(target, sums.to(out.dtype.element_ty), mask=row_held[:, None] & (n < D)[None, :])


@triton.jit
def _sum_experts(parts, out, D: tl.constexpr, K: tl.constexpr, BD: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BD + tl.arange(0, BD)
    total = tl.zeros((BD,), tl.float32)
    for k in tl.static_range(K):
        total += tl.load(parts + (token * K + k) * D + at, mask=at < D, other=0.0).to(tl.float32)
    tl.store(out + token * D + at, total.to(out.dtype.element_ty), mask=at < D)


def moe_experts(hidden_TD: Tensor, weights_TK: Tensor, ids_TK: Tensor, gate_up: Packed, down: Packed) -> Tensor:
    """See reference.moe_experts. Weights take part in fp32, behind the last product."""
    if takes_grouped_mm(gate_up, ids_TK.shape[0]):
        return moe_by_grouped_mm(hidden_TD, weights_TK, ids_TK, gate_up, down)
    return moe_by_tiles(hidden_TD, weights_TK, ids_TK, gate_up, down)


def moe_by_tiles(hidden_TD: Tensor, weights_TK: Tensor, ids_TK: Tensor, gate_up: Packed, down: Packed) -> Tensor:
    """The Triton way."""
    M, E = ids_TK.numel(), gate_up.values.shape[0]
    each = ceil_div(M, E)  # rows of an expert, if all were hit
    tiles = permute(ids_TK, E, min(power(each, 16), 128))
    eight = gate_up.format == "fp8" and each >= MANY and multiplies_fp8(hidden_TD.device.index)
    inner_MF = _launch_gate_up(hidden_TD, tiles, gate_up, ids_TK.shape[1], M, eight)
    parts_MD = _launch_down(inner_MF, tiles, down, weights_TK, hidden_TD.shape[1], eight)
    return sum_experts(parts_MD, ids_TK.shape[1])


def sum_experts(parts_MD: Tensor, K: int) -> Tensor:
    """[T, D]: the sum of each token's K rows, in fp32."""
    D = parts_MD.shape[1]
    out_TD = parts_MD.new_empty(parts_MD.shape[0] // K, D)
    piece = min(power(D), SUMMED)
    _sum_experts[(out_TD.shape[0], ceil_div(D, piece))](parts_MD, out_TD, D=D, K=K, BD=piece, num_warps=4)
    return out_TD


def _launch_gate_up(hidden_TD: Tensor, tiles: Tiles, gate_up: Packed, K: int, M: int, eight: bool) -> Tensor:
    D, F = hidden_TD.shape[1], gate_up.values.shape[1] // 2
    inner_MF = hidden_TD.new_empty(M, F)
    x, x_scale = quantize_rows(hidden_TD) if eight else (hidden_TD, None)
    columns, warps, stages = _shape(tiles.size)
    # Programs of one tile's expert follow each other, so that rows of x stay in the cache.
    _gate_up[(ceil_div(F, columns // 2), len(tiles.experts))](
        x, x_scale, tiles.assignments, tiles.experts, gate_up.values, gate_up.scale, inner_MF, M, x.stride(0),
        D=D, F=F, K=K, VALUES=gate_up.values.stride(0), SCALES=_scales(gate_up), KIND=KINDS[gate_up.format],
        EIGHT=eight, BM=tiles.size, BN=columns, BK=BK, num_warps=warps, num_stages=stages,
    )  # fmt: skip
    return inner_MF


def _launch_down(inner_MF: Tensor, tiles: Tiles, down: Packed, weights_TK: Tensor, D: int, eight: bool) -> Tensor:
    M, F = inner_MF.shape
    parts_MD = inner_MF.new_empty(M, D)
    x, x_scale = quantize_rows(inner_MF) if eight else (inner_MF, None)
    columns, warps, stages = _shape(tiles.size)
    _down[(ceil_div(D, columns), len(tiles.experts))](
        x, x_scale, tiles.assignments, tiles.experts, down.values, down.scale, weights_TK, parts_MD, M,
        D=D, F=F, VALUES=down.values.stride(0), SCALES=_scales(down), KIND=KINDS[down.format], EIGHT=eight,
        BM=tiles.size, BN=columns, BK=BK, num_warps=warps, num_stages=stages,
    )  # fmt: skip
    return parts_MD


def _scales(packed: Packed) -> int:
    """Scales of one expert."""
    return 0 if packed.scale is None else packed.scale.stride(0)


def _shape(size: int) -> tuple[int, int, int]:
    """Columns, warps and stages of a tile of `size` rows. Chosen by reasoning, not yet by measurement."""
    if size <= 32:
        return 128, 4, 3
    return 128, 8, 3
