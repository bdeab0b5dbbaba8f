"""Latent attention: decode in the absorbed form right on the cache, prompts in the expanded form.

Decode. Floor: reading each request's latents once, C values a key; at 64 heads the products come close to it (H (C + L)
multiplications a key), so a program takes 64 heads at once where there are as many, which read a key together.
Prompts. Floor: the matrix rate. A run of cached latents is expanded by cuBLAS, then attended to; partial results are
carried from run to run, so that the workspace is that of one run.

Shapes: see engine/kernels/reference_attention.py; S parts.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from engine.kernels.reference_attention import read_cache
from engine.kernels.triton.attend import Keys, Running, attend
from engine.kernels.triton.common import LOG2E, ceil_div, power, product
from engine.kernels.triton.merge import count_parts, merge

MOST_HEADS = 64  # that a program computes; 32 read the cache twice, the second time from L2, and fit in registers


@triton.jit
def _decode(
    query, cache, table, lens, parts, lse, table_row, scale,
    H: tl.constexpr, L: tl.constexpr, R: tl.constexpr, P: tl.constexpr, S: tl.constexpr,
    BH: tl.constexpr, BK: tl.constexpr, BL: tl.constexpr, BR: tl.constexpr,
):  # fmt: skip
    request = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * BH + tl.arange(0, BH)
    length = tl.load(lens + request)
    span = tl.cdiv(tl.cdiv(length, S), BK) * BK
    first = tl.program_id(2) * span
    last = tl.minimum(first + span, length)
    if first >= last:
        nothing = tl.full((BH,), float("-inf"), tl.float32)
        tl.store(lse + (request * H + head) * S + tl.program_id(2), nothing, mask=head < H)
        return
    at = tl.arange(0, BL)
    turned = tl.arange(0, BR)
    source = query + (request * H + head[:, None]) * (L + R)
    query_L = tl.load(source + at[None, :], mask=(head < H)[:, None] & (at < L)[None, :], other=0.0)
    query_R = tl.load(source + L + turned[None, :], mask=(head < H)[:, None] & (turned < R)[None, :], other=0.0)
    peak = tl.full((BH,), float("-inf"), tl.float32)
    total = tl.zeros((BH,), tl.float32)
    sums = tl.zeros((BH, BL), tl.float32)
    for key0 in range(first, last, BK):
        key = key0 + tl.arange(0, BK)
        held = key < last
        block = tl.load(table + request * table_row + key // P, mask=held, other=0).to(tl.int64)
        row = cache + (block * P + key % P)[:, None] * (L + R)
        latent = tl.load(row + at[None, :], mask=held[:, None] & (at < L)[None, :], other=0.0)
        rotary = tl.load(row + L + turned[None, :], mask=held[:, None] & (turned < R)[None, :], other=0.0)
        latent = latent.to(query_L.dtype)
        rotary = rotary.to(query_L.dtype)
        scores = product(query_R, tl.trans(rotary), tl.zeros((BH, BK), tl.float32))
        scores = product(query_L, tl.trans(latent), scores)
        scores = tl.where(held[None, :], scores * (scale * LOG2E), float("-inf"))
        new_peak = tl.maximum(peak, tl.max(scores, axis=1))
        kept = tl.exp2(peak - new_peak)
        weight = tl.exp2(scores - new_peak[:, None])
        total = total * kept + tl.sum(weight, axis=1)
        sums = product(weight.to(query_L.dtype), latent, sums * kept[:, None])
        peak = new_peak
    place = (request * H + head) * S + tl.program_id(2)
    tl.store(lse + place, peak + tl.log2(total), mask=head < H)
    target = parts + place[:, None] * L + at[None, :]
    tl.store(target, sums / total[:, None], mask=(head < H)[:, None] & (at < L)[None, :])


def mla_decode(
    query_AHQ: Tensor,
    cache_BPC: Tensor,
    block_table_AB: Tensor,
    context_lens_A: Tensor,
    up_k_HNL: Tensor,
    up_v_HVL: Tensor,
    scale: float,
) -> Tensor:
    """See reference_attention.mla_decode. A request without keys, which is padding, comes out as 0."""
    A, H, Q = query_AHQ.shape
    nope, L = up_k_HNL.shape[1:]
    R = Q - nope
    absorbed_AHL = torch.bmm(query_AHQ[..., :nope].transpose(0, 1), up_k_HNL).transpose(0, 1)
    query_AHC = torch.cat([absorbed_AHL, query_AHQ[..., nope:]], dim=-1)
    P = cache_BPC.shape[1]
    heads = min(power(H, 16), MOST_HEADS)
    S = count_parts(A * ceil_div(H, heads), block_table_AB.shape[1] * P, cache_BPC.device.index)
    parts_AHSL = torch.empty(A, H, S, L, dtype=torch.float32, device=cache_BPC.device)
    lse_AHS = torch.empty(A, H, S, dtype=torch.float32, device=cache_BPC.device)
    assert block_table_AB.stride(1) == 1
    _decode[(A, ceil_div(H, heads), S)](
        query_AHC, cache_BPC, block_table_AB, context_lens_A, parts_AHSL, lse_AHS, block_table_AB.stride(0), scale,
        H=H, L=L, R=R, P=P, S=S, BH=heads, BK=32, BL=power(L, 16), BR=power(R, 16),
        num_warps=8 if heads >= 32 else 4, num_stages=2,
    )  # fmt: skip
    out_AHL = merge(parts_AHSL, lse_AHS, query_AHQ.dtype)
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
    """See reference_attention.mla_prefill. `key_block` keys are expanded at a time; queries go in tiles of the kernel's
    own size, whatever `query_block` is, which takes no workspace."""
    T, H, _ = query_THQ.shape
    N, L = up_k_HNL.shape[1:]
    V, P = up_v_HVL.shape[1], cache_BPC.shape[1]
    query_THQ = query_THQ.contiguous()
    running = Running.start(T, H, V, query_THQ)
    step = max(key_block // P, 1) * P
    for first in range(0, start + T, step):
        count = min(step, start + T - first)
        held_B = blocks_B[first // P : ceil_div(first + count, P)]
        cached_SC = read_cache(cache_BPC, held_B, query_THQ.dtype).flatten(0, 1)[:count]
        key_SHN = functional.linear(cached_SC[:, :L], up_k_HNL.flatten(0, 1)).view(count, H, N)
        value_SHV = functional.linear(cached_SC[:, :L], up_v_HVL.flatten(0, 1)).view(count, H, V)
        keys = Keys(key_SHN, value_SHV, first, count, rotary_SR=cached_SC[:, L:])
        attend(query_THQ, keys, running, start, scale, last=first + count == start + T)
    return running.out_THV
