"""The kernels in plain torch: the specification of each.

A faster kernel has the same signature, a test against the function here and a benchmark. Kernels own no parameters,
read no configuration and keep no state.

Shapes: T tokens, D model, H heads, E experts, K experts of a token, F expert width, M assignments (T x K),
R rotary, X any width. Attention has a file of its own: reference_attention.py.
"""

import torch
from torch import Tensor
from torch.nn import functional

from engine.kernels.formats import FP8_BLOCK
from engine.kernels.limits import UNPACKED_VALUES
from engine.kernels.packed import Packed, dequantize


def embedding(ids_T: Tensor, table_VD: Tensor) -> Tensor:
    """The tokens' rows of the table."""
    return functional.embedding(ids_T, table_VD)


def add(x_TD: Tensor, delta_TD: Tensor) -> Tensor:
    """The residual stream."""
    return x_TD + delta_TD


def turns(positions_T: Tensor, frequencies: Tensor, magnitude: float) -> Tensor:
    """Complex numbers of size `magnitude` at the angles position x frequency: complex64 [T, R/2]."""
    angles = positions_T[:, None] * frequencies
    return torch.polar(torch.full_like(angles, magnitude), angles)


def rms_norm(x_TX: Tensor, weight_X: Tensor, eps: float) -> Tensor:
    """Root-mean-square norm over the last dimension, in fp32 inside (Zhang and Sennrich 2019)."""
    return functional.rms_norm(x_TX, weight_X.shape, weight_X, eps)


def rotary(x_THR: Tensor, turns_T: Tensor, interleaved: bool) -> Tensor:
    """Rotates the pairs of x by the complex numbers `turns_T` [T, R/2]: RoPE (Su et al. 2021).

        interleaved      x0 x1 | x2 x3 | ...            a pair lies side by side
        otherwise        x0 x1 ... | xh xh+1 ...        a pair lies half of R apart

    The result has its pairs side by side in both cases: queries and keys are only ever compared with each other.
    """
    if interleaved:
        pairs = torch.unflatten(x_THR, -1, (-1, 2))
    else:
        pairs = torch.unflatten(x_THR, -1, (2, -1)).transpose(-1, -2)
    turned = torch.view_as_complex(pairs.float().contiguous()) * turns_T[:, None]
    return torch.view_as_real(turned).flatten(-2).to(x_THR.dtype)


def add_rms_norm(x_TX: Tensor, delta_TX: Tensor, weight_X: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The residual stream after a block, x + delta, and its normalised copy for the next one."""
    sum_TX = x_TX + delta_TX
    return sum_TX, rms_norm(sum_TX, weight_X, eps)


def swiglu(gate_up_TX: Tensor) -> Tensor:
    """silu(gate) * up, where gate and up are the halves of the last dimension (Shazeer 2020)."""
    gate, up = gate_up_TX.chunk(2, dim=-1)
    return functional.silu(gate).mul_(up)


def xielu(x_TX: Tensor, alpha_p: Tensor, alpha_n: Tensor) -> Tensor:
    """xIELU (Huang and Schlag 2024, arXiv 2411.13010) with beta 0.5; the coefficients are stored before softplus. In
    fp32 inside: x**2 of the published widths leaves float16."""
    x, beta = x_TX.float(), 0.5
    positive, negative = functional.softplus(alpha_p.float()), beta + functional.softplus(alpha_n.float())
    curve = torch.where(x > 0, positive * x * x, (torch.expm1(x.clamp(max=-1e-6)) - x) * negative)
    return curve.add_(x, alpha=beta).to(x_TX.dtype)


def route_softmax(
    hidden_TD: Tensor, gate_ED: Tensor, *, experts_per_token: int, normalize: bool
) -> tuple[Tensor, Tensor]:
    """Qwen3's router (arXiv 2505.09388): the most likely experts of a softmax over all, their weights made to sum to 1
    if `normalize`. Returns weights_TK (fp32) and expert ids_TK."""
    scores_TE = functional.linear(hidden_TD.float(), gate_ED).softmax(-1)
    weights_TK, ids_TK = scores_TE.topk(experts_per_token, dim=-1, sorted=False)
    if normalize:
        weights_TK = weights_TK / weights_TK.sum(-1, keepdim=True)
    return weights_TK, ids_TK


def route(
    hidden_TD: Tensor,
    gate_ED: Tensor,
    bias_E: Tensor,
    *,
    experts_per_token: int,
    groups: int,
    groups_kept: int,
    normalize: bool,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """DeepSeek-V3's router (arXiv 2412.19437, section 2.1.2). Returns weights_TK (fp32) and expert ids_TK.

    The bias takes part in the choice and never in the weights. Experts of dropped groups are out of the choice
    (-inf, as DeepSeek published it): a 0 in their place would win against experts whose biased score is negative.
    """
    scores_TE = functional.linear(hidden_TD.float(), gate_ED).sigmoid_()
    choice_TE = scores_TE + bias_E
    if groups > 1:
        choice_TGE = torch.unflatten(choice_TE, -1, (groups, -1))
        group_scores_TG = choice_TGE.topk(2, dim=-1).values.sum(-1)
        kept = group_scores_TG.topk(groups_kept, dim=-1, sorted=False).indices
        dropped_TG = torch.ones_like(group_scores_TG, dtype=torch.bool).scatter_(1, kept, False)
        choice_TE = choice_TGE.masked_fill(dropped_TG[..., None], float("-inf")).flatten(1)
    ids_TK = choice_TE.topk(experts_per_token, dim=-1, sorted=False).indices
    weights_TK = scores_TE.gather(1, ids_TK)
    if normalize:
        weights_TK /= weights_TK.sum(-1, keepdim=True) + 1e-20  # the published guard against a sum of 0
    return weights_TK * scale, ids_TK


def linear(x_TX: Tensor, weight: Packed) -> Tensor:
    """x @ weight.T for a matrix [Y, X] in any format. A packed one is unpacked some rows at a time, so that the
    workspace does not grow with the matrix."""
    if weight.format == "plain":
        return functional.linear(x_TX, weight.values)
    rows, columns = weight.values.shape[0], x_TX.shape[-1]
    step = max(UNPACKED_VALUES // columns // FP8_BLOCK, 1) * FP8_BLOCK
    parts = [
        functional.linear(x_TX, dequantize(_some_rows(weight, first, min(first + step, rows)), x_TX.dtype))
        for first in range(0, rows, step)
    ]
    return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]


def _some_rows(weight: Packed, first: int, last: int) -> Packed:
    """Rows [first, last) of a matrix; `first` is a multiple of 128."""
    if weight.format != "fp8":
        return weight[first:last]
    assert weight.scale is not None
    return Packed("fp8", weight.values[first:last], weight.scale[first // FP8_BLOCK : -(-last // FP8_BLOCK)])


def mlp(x_TD: Tensor, gate_up: Packed, down: Packed) -> Tensor:
    """down(swiglu(gate_up(x))): a gated feed-forward block. `gate_up` is [2F, D], gate first, `down` [D, F]."""
    return linear(swiglu(linear(x_TD, gate_up)), down)


def moe_experts(hidden_TD: Tensor, weights_TK: Tensor, ids_TK: Tensor, gate_up: Packed, down: Packed) -> Tensor:
    """Sum over each token's K experts of weight * down(swiglu(gate_up(hidden))). Returns [T, D]. `gate_up` is a stack
    [E, 2F, D], `down` one of [E, D, F], both in any format.

    Assignments are sorted by expert, so that each expert that was hit is read once:

        ids_TK [[2, 0], [0, 1]]  ->  experts 0 0 1 2  ->  rows of tokens 0 1 1 0
    """
    K = ids_TK.shape[1]
    expert_M, order_M = ids_TK.flatten().sort(stable=True)
    hit, counts = torch.unique_consecutive(expert_M, return_counts=True)
    groups = list(zip(hit.tolist(), counts.tolist(), strict=True))

    rows_MD = hidden_TD.index_select(0, order_M // K)
    inner_MF = swiglu(_grouped_linear(rows_MD, gate_up, groups))
    inner_MF *= weights_TK.flatten()[order_M, None]
    out_MD = torch.empty_like(rows_MD)
    out_MD.index_copy_(0, order_M, _grouped_linear(inner_MF, down, groups))
    return torch.unflatten(out_MD, 0, (-1, K)).sum(1)


def _grouped_linear(x_MX: Tensor, weights: Packed, groups: list[tuple[int, int]]) -> Tensor:
    """x @ weight[expert].T for consecutive runs of rows: groups are (expert, number of rows)."""
    out, first = [], 0
    for expert, count in groups:
        out.append(linear(x_MX[first : first + count], weights[expert]))
        first += count
    return torch.cat(out)
