"""Grouped-query attention over the paged cache.

Decode. Floor: reading each request's keys and values once; the query heads that share a key are one tile. Prompts.
Floor: the matrix rate; keys and values are read from the cache where they lie, without a copy.

Shapes: see engine/kernels/reference_attention.py; X query heads that share a key, S parts.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.kernels.triton.attend import Keys, Running, attend
from engine.kernels.triton.common import LOG2E, power, product
from engine.kernels.triton.merge import count_parts, merge


@triton.jit
def _decode(
    query, cache, table, lens, parts, lse, table_row, scale,
    G: tl.constexpr, X: tl.constexpr, W: tl.constexpr, P: tl.constexpr, S: tl.constexpr,
    BX: tl.constexpr, BK: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    request = tl.program_id(0).to(tl.int64)
    group = tl.program_id(1)
    shared = tl.arange(0, BX)
    head = group * X + shared
    length = tl.load(lens + request)
    span = tl.cdiv(tl.cdiv(length, S), BK) * BK
    first = tl.program_id(2) * span
    last = tl.minimum(first + span, length)
    place = (request * G * X + head) * S + tl.program_id(2)
    if first >= last:
        tl.store(lse + place, tl.full((BX,), float("-inf"), tl.float32), mask=shared < X)
        return
    at = tl.arange(0, BW)
    held_W = (shared < X)[:, None] & (at < W)[None, :]
    query_W = tl.load(query + (request * G * X + head)[:, None] * W + at[None, :], mask=held_W, other=0.0)
    peak = tl.full((BX,), float("-inf"), tl.float32)
    total = tl.zeros((BX,), tl.float32)
    sums = tl.zeros((BX, BW), tl.float32)
    for key0 in range(first, last, BK):
        key = key0 + tl.arange(0, BK)
        held = key < last
        block = tl.load(table + request * table_row + key // P, mask=held, other=0).to(tl.int64)
        row = cache + (block * P + key % P)[:, None] * (2 * G * W) + group * W + at[None, :]
        both_held = held[:, None] & (at < W)[None, :]
        key_W = tl.load(row, mask=both_held, other=0.0).to(query_W.dtype)
        value_W = tl.load(row + G * W, mask=both_held, other=0.0).to(query_W.dtype)
        scores = product(query_W, tl.trans(key_W), tl.zeros((BX, BK), tl.float32))
        scores = tl.where(held[None, :], scores * (scale * LOG2E), float("-inf"))
        new_peak = tl.maximum(peak, tl.max(scores, axis=1))
        kept = tl.exp2(peak - new_peak)
        weight = tl.exp2(scores - new_peak[:, None])
        total = total * kept + tl.sum(weight, axis=1)
        sums = product(weight.to(query_W.dtype), value_W, sums * kept[:, None])
        peak = new_peak
    tl.store(lse + place, peak + tl.log2(total), mask=shared < X)
    tl.store(parts + place[:, None] * W + at[None, :], sums / total[:, None], mask=held_W)


def gqa_decode(
    query_AHW: Tensor,
    cache_BPC: Tensor,
    block_table_AB: Tensor,
    context_lens_A: Tensor,
    kv_heads: int,
    scale: float,
) -> Tensor:
    """See reference_attention.gqa_decode. A request without keys, which is padding, comes out as 0."""
    A, H, W = query_AHW.shape
    P, X = cache_BPC.shape[1], H // kv_heads
    S = count_parts(A * kv_heads, block_table_AB.shape[1] * P, cache_BPC.device.index)
    parts_AHSW = torch.empty(A, H, S, W, dtype=torch.float32, device=cache_BPC.device)
    lse_AHS = torch.empty(A, H, S, dtype=torch.float32, device=cache_BPC.device)
    assert block_table_AB.stride(1) == 1
    _decode[(A, kv_heads, S)](
        query_AHW.contiguous(), cache_BPC, block_table_AB, context_lens_A, parts_AHSW, lse_AHS,
        block_table_AB.stride(0), scale,
        G=kv_heads, X=X, W=W, P=P, S=S, BX=power(X, 16), BK=64, BW=power(W, 16), num_warps=4, num_stages=3,
    )  # fmt: skip
    return merge(parts_AHSW, lse_AHS, query_AHW.dtype)


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
    """See reference_attention.gqa_prefill. Queries and keys go in tiles of the kernel's own size, whatever the two
    blocks are: nothing is copied, so there is no workspace for them to bound."""
    T, H, W = query_THW.shape
    rows = torch.unflatten(cache_BPC.flatten(0, 1), -1, (2 * kv_heads, W))
    running = Running.start(T, H, W, query_THW)
    keys = Keys(rows[:, :kv_heads], rows[:, kv_heads:], 0, start + T, blocks=blocks_B, block_size=cache_BPC.shape[1])
    attend(query_THW.contiguous(), keys, running, start, scale, last=True)
    return running.out_THV
