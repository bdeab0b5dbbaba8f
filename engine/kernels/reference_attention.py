"""Attention over the paged cache in plain torch: the specification (see reference.py).

Shapes: T tokens, H heads, A attending requests of a decode group, B blocks, P block size, L latent, N head without
rotary, R rotary, Q = N + R query head, V value head, G heads of keys, W head, S keys, C cached width (L + R of the
latent kind, 2 G W of the grouped-query kind).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from engine.kernels.packed import FP8
from engine.kernels.reference import rms_norm, rotary


def write_cache(cache_BPC: Tensor, slots_T: Tensor, cached_TC: Tensor) -> None:
    """Puts tokens where they belong. A cache in fp8 (e4m3, no scale) takes the nearest value, at most +-448."""
    rows = cache_BPC.flatten(0, 1)
    if cache_BPC.dtype == FP8:
        most = torch.finfo(FP8).max
        rows, cached_TC = rows.view(torch.uint8), cached_TC.float().clamp(-most, most).to(FP8).view(torch.uint8)
    rows.index_copy_(0, slots_T, cached_TC)


def read_cache(cache_BPC: Tensor, blocks_B: Tensor, dtype: torch.dtype) -> Tensor:
    """Copies of some blocks, in `dtype`."""
    if cache_BPC.dtype == FP8:
        return cache_BPC.view(torch.uint8).index_select(0, blocks_B).view(FP8).to(dtype)
    return cache_BPC.index_select(0, blocks_B)


def mla_store(
    query_THQ: Tensor,
    latent_TL: Tensor,
    key_TR: Tensor,
    norm_L: Tensor,
    eps: float,
    turns_T: Tensor,
    interleaved: bool,
    cache_BPC: Tensor,
    slots_T: Tensor,
) -> Tensor:
    """Normalises the tokens' latents, rotates their keys and the last R of their queries, and writes latents and keys
    to the cache. Returns the queries [T, H, Q]."""
    nope, width = query_THQ.shape[-1] - key_TR.shape[-1], key_TR.shape[-1]
    query_THN, query_THR = torch.split(query_THQ, [nope, width], dim=-1)
    # All are rotated together, the key as one more head.
    rotated = rotary(torch.cat([query_THR, key_TR[:, None]], dim=1), turns_T, interleaved)
    cached_TC = torch.cat([rms_norm(latent_TL, norm_L, eps), rotated[:, -1]], dim=-1)
    write_cache(cache_BPC, slots_T, cached_TC)
    return torch.cat([query_THN, rotated[:, :-1]], dim=-1)


def gqa_store(
    query_THW: Tensor,
    key_TGW: Tensor,
    value_TGW: Tensor,
    q_norm_W: Tensor,
    k_norm_W: Tensor,
    eps: float,
    turns_T: Tensor,
    interleaved: bool,
    cache_BPC: Tensor,
    slots_T: Tensor,
) -> Tensor:
    """Normalises the tokens' queries and keys by head, rotates both, and writes keys, then values, to the cache.
    Returns the queries [T, H, W]."""
    heads, kv_heads = query_THW.shape[1], key_TGW.shape[1]
    both = torch.cat([rms_norm(query_THW, q_norm_W, eps), rms_norm(key_TGW, k_norm_W, eps)], dim=1)
    query_THW, key_TGW = torch.split(rotary(both, turns_T, interleaved), [heads, kv_heads], dim=1)
    cached_TC = torch.cat([key_TGW, value_TGW], dim=1).flatten(1)
    write_cache(cache_BPC, slots_T, cached_TC)
    return query_THW


def mla_decode(
    query_AHQ: Tensor,
    cache_BPC: Tensor,
    block_table_AB: Tensor,
    context_lens_A: Tensor,
    up_k_HNL: Tensor,
    up_v_HVL: Tensor,
    scale: float,
) -> Tensor:
    """Attention of one token per request over cached latents, in the absorbed form. Returns [A, H, V].

    Every head attends to the same C values per key, of which the first L are also its value. Keys at or beyond
    context_lens_A are padding; they may be anything, another request's NaN too, so they are cleared: a weight of 0
    would not hide a NaN.
    """
    A, nope, latent = block_table_AB.shape[0], up_k_HNL.shape[1], up_k_HNL.shape[2]
    query_HAN, query_HAR = torch.split(query_AHQ.transpose(0, 1), [nope, query_AHQ.shape[-1] - nope], dim=-1)
    query_AHC = torch.cat([torch.bmm(query_HAN, up_k_HNL), query_HAR], dim=-1).transpose(0, 1)
    cached_ASC = read_cache(cache_BPC, block_table_AB.flatten(), query_AHQ.dtype).view(A, -1, cache_BPC.shape[-1])
    padding_AS = torch.arange(cached_ASC.shape[1], device=cached_ASC.device) >= context_lens_A[:, None]
    cached_ASC.masked_fill_(padding_AS[..., None], 0)
    scores_AHS = torch.matmul(query_AHC, cached_ASC.transpose(1, 2)).float()
    scores_AHS.mul_(scale).masked_fill_(padding_AS[:, None], float("-inf"))
    out_AHL = torch.matmul(scores_AHS.softmax(-1).to(cached_ASC.dtype), cached_ASC[..., :latent])
    return torch.bmm(out_AHL.transpose(0, 1), up_v_HVL.transpose(1, 2)).transpose(0, 1)


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

    def expand(held_B: Tensor, keys: int) -> tuple[Tensor, Tensor]:
        return _expand(read_cache(cache_BPC, held_B, query_THQ.dtype).flatten(0, 1)[:keys], up_k_HNL, up_v_HVL)

    value = up_v_HVL.shape[1]
    return _causal(query_THQ, value, expand, blocks_B, start, cache_BPC.shape[1], scale, query_block, key_block)


def gqa_prefill(
    query_THW: Tensor,
    cache_BPC: Tensor,
    blocks_B: Tensor,
    start: int,
    kv_heads: int,
    scale: float,
    query_block: int,
    key_block: int,
) -> Tensor:
    """Causal attention of one request's tokens start..start+T over its cached keys and values, block by block as in
    `mla_prefill`. Returns [T, H, W]. The cache already holds the tokens' own."""
    shared = query_THW.shape[1] // kv_heads  # query heads that share a key

    def expand(held_B: Tensor, keys: int) -> tuple[Tensor, Tensor]:
        cached_SC = read_cache(cache_BPC, held_B, query_THW.dtype).flatten(0, 1)[:keys]
        both_GWS = torch.unflatten(cached_SC, -1, (2 * kv_heads, -1)).permute(1, 2, 0)
        key_GWS, value_GWS = both_GWS.chunk(2)
        return key_GWS.repeat_interleave(shared, 0), value_GWS.repeat_interleave(shared, 0)

    value = query_THW.shape[2]
    return _causal(query_THW, value, expand, blocks_B, start, cache_BPC.shape[1], scale, query_block, key_block)


def _causal(
    query_THQ: Tensor,
    value: int,
    expand: Callable[[Tensor, int], tuple[Tensor, Tensor]],
    blocks_B: Tensor,
    start: int,
    block_size: int,
    scale: float,
    query_block: int,
    key_block: int,
) -> Tensor:
    """Attention of queries start..start+T over the keys [H, Q, S] and values [H, V, S] that `expand` makes of a run of
    blocks. Returns [T, H, V]; V is `value`."""
    T, H, _ = query_THQ.shape
    query_HTQ = query_THQ.transpose(0, 1).contiguous()
    peak_HT = query_HTQ.new_full((H, T), float("-inf"), dtype=torch.float32)
    total_HT = torch.zeros_like(peak_HT)
    out_HTV = query_HTQ.new_zeros((H, T, value), dtype=torch.float32)
    key_block = max(key_block // block_size, 1) * block_size
    for first_key in range(0, start + T, key_block):
        last_key = min(first_key + key_block, start + T)
        held_B = blocks_B[first_key // block_size : -(-last_key // block_size)]
        key_HQS, value_HVS = expand(held_B, last_key - first_key)
        for first in range(max(first_key - start, 0), T, query_block):
            last = min(first + query_block, T)
            seen = min(last_key, start + last) - first_key
            scores_HTS = torch.bmm(query_HTQ[:, first:last], key_HQS[..., :seen]).float().mul_(scale)
            _hide_future(scores_HTS, start + first - first_key)
            running = (peak_HT[:, first:last], total_HT[:, first:last], out_HTV[:, first:last])
            _merge(scores_HTS, value_HVS[..., :seen], *running)
    out_HTV /= total_HT[..., None]
    return out_HTV.to(query_THQ.dtype).transpose(0, 1)


def gqa_decode(
    query_AHW: Tensor,
    cache_BPC: Tensor,
    block_table_AB: Tensor,
    context_lens_A: Tensor,
    kv_heads: int,
    scale: float,
) -> Tensor:
    """Attention of one token per request over cached keys and values. Returns [A, H, W]. Keys at or beyond
    context_lens_A are padding and are cleared, as in `mla_decode`."""
    A, H, W = query_AHW.shape
    cached_ASC = read_cache(cache_BPC, block_table_AB.flatten(), query_AHW.dtype).view(A, -1, cache_BPC.shape[-1])
    padding_AS = torch.arange(cached_ASC.shape[1], device=cached_ASC.device) >= context_lens_A[:, None]
    cached_ASC.masked_fill_(padding_AS[..., None], 0)
    key_AGSW, value_AGSW = torch.unflatten(cached_ASC, -1, (2 * kv_heads, W)).transpose(1, 2).chunk(2, dim=1)
    query_AGXW = query_AHW.view(A, kv_heads, H // kv_heads, W)
    scores_AGXS = torch.matmul(query_AGXW, key_AGSW.transpose(2, 3)).float()
    scores_AGXS.mul_(scale).masked_fill_(padding_AS[:, None, None], float("-inf"))
    return torch.matmul(scores_AGXS.softmax(-1).to(cached_ASC.dtype), value_AGSW).view(A, H, W)


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
