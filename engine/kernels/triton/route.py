"""The choice of experts in one launch behind the router's product. One program a token.

The product with the router's matrix stays with cuBLAS, in fp32: its rounding decides which experts run. Floor: reading
that matrix, 4 E D bytes; the rest is a few microseconds of launches.
Shapes: T tokens, E experts in groups of S, K experts of a token.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from engine.kernels.triton.common import power

# Below every score and above what is out of the choice: what a NaN counts as.
LEAST = tl.constexpr(-3.0e38)


@triton.jit
def _largest(tile):
    return tl.max(tl.max(tile, axis=1), axis=0)


@triton.jit
def _first_at(tile, ids, value, NONE: tl.constexpr):
    """The lowest id at which `tile` is `value`."""
    return tl.min(tl.min(tl.where(tile == value, ids, NONE), axis=1), axis=0)


@triton.jit
def _without_dropped_groups(choice, group, G: tl.constexpr, GROUPS_KEPT: tl.constexpr, BG: tl.constexpr):
    """-inf for the experts of all groups but those whose two best sum to the most."""
    best = tl.max(choice, axis=1)
    where = tl.argmax(choice, axis=1)
    at = tl.arange(0, choice.shape[1])
    second = tl.max(tl.where(at[None, :] == where[:, None], float("-inf"), choice), axis=1)
    strength = tl.where(group < G, tl.maximum(best + second, LEAST), float("-inf"))
    kept = tl.zeros((BG,), tl.int32)
    for _ in tl.static_range(GROUPS_KEPT):
        top = tl.max(strength, axis=0)
        chosen = tl.min(tl.where(strength == top, group, BG), axis=0)
        kept = tl.where(group == chosen, 1, kept)
        strength = tl.where(group == chosen, float("-inf"), strength)
    return tl.where(kept[:, None] == 1, choice, float("-inf"))


@triton.jit
def _choose(
    logits, bias, weights, ids, scale,
    E: tl.constexpr, K: tl.constexpr, G: tl.constexpr, GROUPS_KEPT: tl.constexpr,
    SIGMOID: tl.constexpr, NORMALIZE: tl.constexpr, BG: tl.constexpr, BS: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    group = tl.arange(0, BG)
    at = tl.arange(0, BS)
    id = group[:, None] * (E // G) + at[None, :]
    held = (group < G)[:, None] & (at < E // G)[None, :]
    logit = tl.load(logits + token * E + id, mask=held, other=float("-inf"))
    if SIGMOID:
        score = 1.0 / (1.0 + tl.exp(-logit))
        choice = score + tl.load(bias + id, mask=held, other=0.0)
    else:
        spread = tl.exp(logit - _largest(logit))
        score = spread / tl.sum(tl.sum(spread, axis=1), axis=0)
        choice = score
    choice = tl.where(choice >= LEAST, choice, LEAST)  # NaN is never the larger
    choice = tl.where(held, choice, float("-inf"))
    if G > 1:
        choice = _without_dropped_groups(choice, group, G, GROUPS_KEPT, BG)
    place = tl.arange(0, BK)
    chosen = tl.zeros((BK,), tl.int64)
    weight = tl.zeros((BK,), tl.float32)
    for k in tl.static_range(K):
        best = _first_at(choice, id, _largest(choice), E - 1)
        chosen = tl.where(place == k, best.to(tl.int64), chosen)
        taken = tl.sum(tl.sum(tl.where(id == best, score, 0.0), axis=1), axis=0)
        weight = tl.where(place == k, taken, weight)
        choice = tl.where(id == best, float("-inf"), choice)
    if NORMALIZE:
        weight = weight / (tl.sum(weight, axis=0) + 1e-20)
    tl.store(weights + token * K + place, weight * scale, mask=place < K)
    tl.store(ids + token * K + place, chosen, mask=place < K)


def _launch(
    logits_TE: Tensor, bias_E: Tensor | None, K: int, groups: int, kept: int, normalize: bool, scale: float
) -> tuple[Tensor, Tensor]:
    T, E = logits_TE.shape
    weights_TK = torch.empty(T, K, dtype=torch.float32, device=logits_TE.device)
    ids_TK = torch.empty(T, K, dtype=torch.int64, device=logits_TE.device)
    _choose[(T,)](
        logits_TE, bias_E, weights_TK, ids_TK, scale,
        E=E, K=K, G=groups, GROUPS_KEPT=kept, SIGMOID=bias_E is not None, NORMALIZE=normalize,
        BG=power(groups), BS=power(E // groups), BK=power(K), num_warps=4,
    )  # fmt: skip
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
    """See reference.route. Of equal scores the lower expert is taken."""
    logits_TE = functional.linear(hidden_TD.float(), gate_ED)
    return _launch(logits_TE, bias_E, experts_per_token, groups, groups_kept, normalize, scale)


def route_softmax(
    hidden_TD: Tensor, gate_ED: Tensor, *, experts_per_token: int, normalize: bool
) -> tuple[Tensor, Tensor]:
    """See reference.route_softmax. Of equal scores the lower expert is taken."""
    logits_TE = functional.linear(hidden_TD.float(), gate_ED)
    return _launch(logits_TE, None, experts_per_token, 1, 1, normalize, 1.0)
