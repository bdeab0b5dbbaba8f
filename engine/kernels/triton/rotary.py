"""Norm, rotation and the write to the cache in one launch, for both kinds of attention.

Floor: memory. Queries, keys and values are read once and written once; nothing lies between.
Shapes: T tokens, H heads, N head without rotary, R rotary, L latent, G heads of keys, W head, C cached per token.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.kernels.triton.common import ceil_div, power, to_fp8

HEADS = 8  # of a program


@triton.jit
def _rounded(x, like):
    """To the type behind a pointer."""
    if like.dtype.element_ty == tl.float8e4nv:
        return to_fp8(x)
    return x.to(like.dtype.element_ty)


@triton.jit
def _turned(first, second, turns, token, pair, held, HALF: tl.constexpr):
    """Pairs times the token's complex numbers."""
    cos = tl.load(turns + (token * HALF + pair) * 2, mask=held, other=0.0)
    sin = tl.load(turns + (token * HALF + pair) * 2 + 1, mask=held, other=0.0)
    return first * cos - second * sin, second * cos + first * sin


@triton.jit
def _copy_heads(source, target, held, N: tl.constexpr, BN: tl.constexpr):
    """The first N values of a tile of heads."""
    at = tl.arange(0, BN)[None, :]
    tl.store(target + at, tl.load(source + at, mask=held & (at < N), other=0.0), mask=held & (at < N))


@triton.jit
def _turn_heads(source, target, turns, token, first_at, second_at, pair, paired, held, R: tl.constexpr):
    """Rotates a tile of heads."""
    first = tl.load(source + first_at[None, :], mask=held, other=0.0).to(tl.float32)
    second = tl.load(source + second_at[None, :], mask=held, other=0.0).to(tl.float32)
    real, imaginary = _turned(first, second, turns, token, pair[None, :], paired[None, :], R // 2)
    tl.store(target + 2 * pair[None, :], real.to(source.dtype.element_ty), mask=held)
    tl.store(target + 2 * pair[None, :] + 1, imaginary.to(source.dtype.element_ty), mask=held)


@triton.jit
def _mla_store(
    query, latent, key, norm, turns, slots, cache, out, query_row, latent_row, key_row, eps,
    H: tl.constexpr, N: tl.constexpr, R: tl.constexpr, L: tl.constexpr,
    INTERLEAVED: tl.constexpr, BH: tl.constexpr, BN: tl.constexpr, BP: tl.constexpr, BL: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    tile = tl.program_id(1)
    pair = tl.arange(0, BP)
    paired = pair < R // 2
    if INTERLEAVED:
        first_at, second_at = 2 * pair, 2 * pair + 1
    else:
        first_at, second_at = pair, pair + R // 2
    if tile * BH < H:
        head = tile * BH + tl.arange(0, BH)[:, None]
        source = query + token * query_row + head * (N + R)
        target = out + (token * H + head) * (N + R)
        _copy_heads(source, target, head < H, N, BN)
        _turn_heads(
            source + N, target + N, turns, token, first_at, second_at, pair, paired, (head < H) & paired[None, :], R
        )
    else:
        slot = tl.load(slots + token)
        at = tl.arange(0, BL)
        held = at < L
        value = tl.load(latent + token * latent_row + at, mask=held, other=0.0).to(tl.float32)
        size = tl.rsqrt(tl.sum(value * value, axis=0) / L + eps)
        value = value * size * tl.load(norm + at, mask=held, other=0.0).to(tl.float32)
        value = value.to(out.dtype.element_ty).to(tl.float32)
        tl.store(cache + slot * (L + R) + at, _rounded(value, cache), mask=held)
        first = tl.load(key + token * key_row + first_at, mask=paired, other=0.0).to(tl.float32)
        second = tl.load(key + token * key_row + second_at, mask=paired, other=0.0).to(tl.float32)
        real, imaginary = _turned(first, second, turns, token, pair, paired, R // 2)
        real = real.to(out.dtype.element_ty).to(tl.float32)
        imaginary = imaginary.to(out.dtype.element_ty).to(tl.float32)
        tl.store(cache + slot * (L + R) + L + 2 * pair, _rounded(real, cache), mask=paired)
        tl.store(cache + slot * (L + R) + L + 2 * pair + 1, _rounded(imaginary, cache), mask=paired)


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
    """See reference_attention.mla_store."""
    T, H, width = query_THQ.shape
    L, R = latent_TL.shape[1], key_TR.shape[1]
    out = query_THQ.new_empty(T, H, width)
    assert query_THQ.stride()[1:] == (width, 1), query_THQ.stride()
    _mla_store[(T, ceil_div(H, HEADS) + 1)](
        query_THQ, latent_TL, key_TR, norm_L, torch.view_as_real(turns_T), slots_T, cache_BPC, out,
        query_THQ.stride(0), latent_TL.stride(0), key_TR.stride(0), eps,
        H=H, N=width - R, R=R, L=L, INTERLEAVED=interleaved,
        BH=HEADS, BN=power(width - R), BP=power(R // 2), BL=power(L), num_warps=4,
    )  # fmt: skip
    return out


@triton.jit
def _normed_and_turned(
    source, weight, turns, token, held, first_at, second_at, pair, paired, eps, like, W: tl.constexpr
):
    """A tile of heads: norm over W, rounded as the specification does, then rotation."""
    first = tl.load(source + first_at[None, :], mask=held, other=0.0).to(tl.float32)
    second = tl.load(source + second_at[None, :], mask=held, other=0.0).to(tl.float32)
    size = tl.rsqrt((tl.sum(first * first, axis=1) + tl.sum(second * second, axis=1)) / W + eps)[:, None]
    first = first * size * tl.load(weight + first_at, mask=paired, other=0.0).to(tl.float32)[None, :]
    second = second * size * tl.load(weight + second_at, mask=paired, other=0.0).to(tl.float32)[None, :]
    first = first.to(like.dtype.element_ty).to(tl.float32)
    second = second.to(like.dtype.element_ty).to(tl.float32)
    real, imaginary = _turned(first, second, turns, token, pair[None, :], paired[None, :], W // 2)
    return real.to(like.dtype.element_ty).to(tl.float32), imaginary.to(like.dtype.element_ty).to(tl.float32)


@triton.jit
def _gqa_store(
    query, key, value, q_norm, k_norm, turns, slots, cache, out, query_row, key_row, value_row, eps,
    H: tl.constexpr, G: tl.constexpr, W: tl.constexpr,
    INTERLEAVED: tl.constexpr, BH: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    tile = tl.program_id(1)
    pair = tl.arange(0, BP)
    paired = pair < W // 2
    if INTERLEAVED:
        first_at, second_at = 2 * pair, 2 * pair + 1
    else:
        first_at, second_at = pair, pair + W // 2
    tiles = (H + BH - 1) // BH
    if tile < tiles:
        head = tile * BH + tl.arange(0, BH)[:, None]
        held = (head < H) & paired[None, :]
        source = query + token * query_row + head * W
        real, imaginary = _normed_and_turned(
            source, q_norm, turns, token, held, first_at, second_at, pair, paired, eps, out, W
        )
        target = out + (token * H + head) * W + 2 * pair[None, :]
        tl.store(target, _rounded(real, out), mask=held)
        tl.store(target + 1, _rounded(imaginary, out), mask=held)
    else:
        head = (tile - tiles) * BH + tl.arange(0, BH)[:, None]
        held = (head < G) & paired[None, :]
        source = key + token * key_row + head * W
        real, imaginary = _normed_and_turned(
            source, k_norm, turns, token, held, first_at, second_at, pair, paired, eps, out, W
        )
        cached = cache + tl.load(slots + token) * (2 * G * W) + head * W + 2 * pair[None, :]
        tl.store(cached, _rounded(real, cache), mask=held)
        tl.store(cached + 1, _rounded(imaginary, cache), mask=held)
        taken = value + token * value_row + head * W + 2 * pair[None, :]
        cached += G * W
        tl.store(cached, _rounded(tl.load(taken, mask=held, other=0.0).to(tl.float32), cache), mask=held)
        tl.store(cached + 1, _rounded(tl.load(taken + 1, mask=held, other=0.0).to(tl.float32), cache), mask=held)


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
    """See reference_attention.gqa_store."""
    T, H, W = query_THW.shape
    G = key_TGW.shape[1]
    out = query_THW.new_empty(T, H, W)
    assert query_THW.stride()[1:] == key_TGW.stride()[1:] == value_TGW.stride()[1:] == (W, 1)
    _gqa_store[(T, ceil_div(H, HEADS) + ceil_div(G, HEADS))](
        query_THW, key_TGW, value_TGW, q_norm_W, k_norm_W, torch.view_as_real(turns_T), slots_T, cache_BPC, out,
        query_THW.stride(0), key_TGW.stride(0), value_TGW.stride(0), eps,
        H=H, G=G, W=W, INTERLEAVED=interleaved, BH=HEADS, BP=power(W // 2), num_warps=4,
    )  # fmt: skip
    return out
