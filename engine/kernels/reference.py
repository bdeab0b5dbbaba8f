"""The kernels in plain torch: the specification of each.

A faster kernel has the same signature, a test against the function here and a benchmark. Kernels own no parameters,
read no configuration and keep no state.

Shapes: T tokens, D model, H heads, E experts, K experts of a token, F expert width, M assignments (T x K),
A attending requests of a decode group, B blocks, P block size, L latent, N head without rotary, R rotary,
Q = N + R query head, C = L + R cached width, V value head, S keys, X any width.
"""

import torch
from torch import Tensor
from torch.nn import functional


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


def swiglu(gate_up_TX: Tensor) -> Tensor:
    """silu(gate) * up, where gate and up are the halves of the last dimension (Shazeer 2020)."""
    gate, up = gate_up_TX.chunk(2, dim=-1)
    return functional.silu(gate).mul_(up)


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


def moe_experts(
    hidden_TD: Tensor, weights_TK: Tensor, ids_TK: Tensor, gate_up_E2FD: Tensor, down_EDF: Tensor
) -> Tensor:
    """Sum over each token's K experts of weight * down(swiglu(gate_up(hidden))). Returns [T, D].

    Assignments are sorted by expert, so that each expert that was hit is read once:

        ids_TK [[2, 0], [0, 1]]  ->  experts 0 0 1 2  ->  rows of tokens 0 1 1 0
    """
    K = ids_TK.shape[1]
    expert_M, order_M = ids_TK.flatten().sort(stable=True)
    hit, counts = torch.unique_consecutive(expert_M, return_counts=True)
    groups = list(zip(hit.tolist(), counts.tolist(), strict=True))

    rows_MD = hidden_TD.index_select(0, order_M // K)
    inner_MF = swiglu(_grouped_linear(rows_MD, gate_up_E2FD, groups))
    inner_MF *= weights_TK.flatten()[order_M, None]
    out_MD = torch.empty_like(rows_MD)
    out_MD.index_copy_(0, order_M, _grouped_linear(inner_MF, down_EDF, groups))
    return torch.unflatten(out_MD, 0, (-1, K)).sum(1)


def _grouped_linear(x_MX: Tensor, weight_EYX: Tensor, groups: list[tuple[int, int]]) -> Tensor:
    """x @ weight[expert].T for consecutive runs of rows: groups are (expert, number of rows)."""
    out, first = [], 0
    for expert, count in groups:
        out.append(functional.linear(x_MX[first : first + count], weight_EYX[expert]))
        first += count
    return torch.cat(out)


def mla_decode(
    query_AHC: Tensor,
    cache_BPC: Tensor,
    block_table_AB: Tensor,
    context_lens_A: Tensor,
    latent: int,
    scale: float,
) -> Tensor:
    """Attention of one token per request over cached latents, in the absorbed form. Returns [A, H, L].

    Every head attends to the same C values per key, of which the first `latent` are also its value. Keys at or
    beyond context_lens_A are padding; they may be anything, another request's NaN too, so they are cleared: a weight
    of 0 would not hide a NaN.
    """
    A = block_table_AB.shape[0]
    cached_ASC = cache_BPC.index_select(0, block_table_AB.flatten()).view(A, -1, cache_BPC.shape[-1])
    padding_AS = torch.arange(cached_ASC.shape[1], device=cached_ASC.device) >= context_lens_A[:, None]
    cached_ASC.masked_fill_(padding_AS[..., None], 0)
    scores_AHS = torch.matmul(query_AHC, cached_ASC.transpose(1, 2)).float()
    scores_AHS.mul_(scale).masked_fill_(padding_AS[:, None], float("-inf"))
    return torch.matmul(scores_AHS.softmax(-1).to(cached_ASC.dtype), cached_ASC[..., :latent])


def mla_prefill(
    query_THQ: Tensor,
    cache_BPC: Tensor,
    blocks_B: Tensor,
    start: int,
    up_k_HNL: Tensor,
    up_v_HVL: Tensor,
    scale: float,
    query_block: int,
    key_block: int,
) -> Tensor:
    """Causal attention of one request's tokens start..start+T over its cached latents, in the expanded form.
    Returns [T, H, V]. The cache already holds the tokens' own latents.

    Keys are expanded a block at a time, each once, and the partial softmaxes are merged by their log-sum-exp
    (Milakov and Gimelshein 2018), so that the workspace does not grow with the context:

                     keys 0 ........ key_block ......... 2 key_block ...
        query start    x  x  x  x
        query ...      x  x  x  x  |  x  x                   x: seen
        query start+T  x  x  x  x  |  x  x  x  x  |  x
    """
    T, H, _ = query_THQ.shape
    query_HTQ = query_THQ.transpose(0, 1).contiguous()
    peak_HT = query_HTQ.new_full((H, T), float("-inf"), dtype=torch.float32)
    total_HT = torch.zeros_like(peak_HT)
    out_HTV = query_HTQ.new_zeros((H, T, up_v_HVL.shape[1]), dtype=torch.float32)
    block_size = cache_BPC.shape[1]
    key_block = max(key_block // block_size, 1) * block_size

    for first_key in range(0, start + T, key_block):
        last_key = min(first_key + key_block, start + T)
        held_B = blocks_B[first_key // block_size : -(-last_key // block_size)]
        cached_SC = cache_BPC.index_select(0, held_B).flatten(0, 1)[: last_key - first_key]
        key_HQS, value_HVS = _expand(cached_SC, up_k_HNL, up_v_HVL)
        for first in range(max(first_key - start, 0), T, query_block):
            last = min(first + query_block, T)
            seen = min(last_key, start + last) - first_key
            scores_HTS = torch.bmm(query_HTQ[:, first:last], key_HQS[..., :seen]).float().mul_(scale)
            _hide_future(scores_HTS, start + first - first_key)
            running = (peak_HT[:, first:last], total_HT[:, first:last], out_HTV[:, first:last])
            _merge(scores_HTS, value_HVS[..., :seen], *running)
    out_HTV /= total_HT[..., None]
    return out_HTV.to(query_THQ.dtype).transpose(0, 1)


def _expand(cached_SC: Tensor, up_k_HNL: Tensor, up_v_HVL: Tensor) -> tuple[Tensor, Tensor]:
    """Keys [H, Q, S] and values [H, V, S] of cached tokens; the rotary part of a key is the same for all heads."""
    H, _, L = up_k_HNL.shape
    latent_LS, rotary_RS = torch.split(cached_SC.t().contiguous(), [L, cached_SC.shape[1] - L])
    key_HNS = torch.mm(up_k_HNL.flatten(0, 1), latent_LS).view(H, -1, latent_LS.shape[1])
    key_HQS = torch.cat([key_HNS, rotary_RS.expand(H, -1, -1)], dim=1)
    value_HVS = torch.mm(up_v_HVL.flatten(0, 1), latent_LS).view(H, -1, latent_LS.shape[1])
    return key_HQS, value_HVS


def _hide_future(scores_HTS: Tensor, first_query: int) -> None:
    """Hides keys later than their query. Positions count from the block's first key; query t is at first_query + t,
    so the columns up to first_query are seen by all."""
    future_HTS = scores_HTS[..., first_query + 1 :]
    if future_HTS.shape[2] > 0:
        hidden_TS = torch.ones(future_HTS.shape[1:], dtype=torch.bool, device=scores_HTS.device).triu_()
        future_HTS.masked_fill_(hidden_TS, float("-inf"))


def _merge(scores_HTS: Tensor, value_HVS: Tensor, peak_HT: Tensor, total_HT: Tensor, out_HTV: Tensor) -> None:
    """Adds a block of keys to a running softmax, in place: out / total is the attention over the keys so far, both
    relative to exp(peak). Every query sees a key of its first block, so peak is finite from then on."""
    new_peak_HT = torch.maximum(peak_HT, scores_HTS.amax(-1))
    kept_HT = (peak_HT - new_peak_HT).exp_()
    weights_HTS = scores_HTS.sub_(new_peak_HT[..., None]).exp_()
    total_HT.mul_(kept_HT).add_(weights_HTS.sum(-1))
    out_HTV.mul_(kept_HT[..., None]).add_(torch.bmm(weights_HTS.to(value_HVS.dtype), value_HVS.transpose(1, 2)))
    peak_HT.copy_(new_peak_HT)
