"""NativeAttention: the attention kernels of the CPU backend. Owns how results and calls reach the library.

Shapes: see engine/layers/mla.py and engine/layers/attention.py.
"""

from collections.abc import Callable
from ctypes import byref

import torch
from torch import Tensor

from engine.kernels import reference_attention
from engine.kernels.backend import Kernels
from engine.kernels.cpu.library import Functions
from engine.kernels.cpu.tensors import BF16, cache_of, decode_of, heads_of, rows_of

# A tensor of a shape and dtype, uninitialised.
Empty = Callable[[tuple[int, ...], torch.dtype], Tensor]


def fresh(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A tensor of its own."""
    return torch.empty(shape, dtype=dtype)


# How much slower a multiplication is in decode attention than in prefill, which works on more queries at a time.
DECODE_COST = 1.5


def absorbed_is_cheaper(tokens: int, start: int, query: int, expanded: int, cached: int, latent: int) -> bool:
    """Whether a chunk of few tokens after many is better computed as decoding is (engine/layers/mla.py): the expanded
    form has to expand every cached token. In multiplications of a head; `query`, `expanded` (a key without its rotary
    part, and a value), `cached` and `latent` are widths."""
    keys, value = start + tokens, expanded - (query - (cached - latent))
    expanding = keys * expanded * latent + tokens * keys * (query + value)
    absorbing = tokens * expanded * latent + tokens * keys * (cached + latent)
    return start > 0 and DECODE_COST * absorbing < expanding


class NativeAttention(Kernels):
    """`library` is what is called, `empty` where results lie: both are exchanged while a step is recorded."""

    library: Functions
    empty: Empty

    def mla_store(
        self,
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
        if query_THQ.dtype != BF16:
            return reference_attention.mla_store(
                query_THQ, latent_TL, key_TR, norm_L, eps, turns_T, interleaved, cache_BPC, slots_T
            )
        query_THQ, latent_TL, key_TR = heads_of(query_THQ), rows_of(latent_TL), rows_of(key_TR)
        tokens, heads, width = query_THQ.shape
        rotary = key_TR.shape[1]
        out_THQ = self.empty((tokens, heads, width), BF16)
        self.library.mla_store(
            query_THQ.data_ptr(),
            query_THQ.stride(0),
            latent_TL.data_ptr(),
            latent_TL.stride(0),
            key_TR.data_ptr(),
            key_TR.stride(0),
            tokens,
            heads,
            width - rotary,
            rotary,
            norm_L.data_ptr(),
            eps,
            turns_T.data_ptr(),
            interleaved,
            byref(cache_of(cache_BPC)),
            slots_T.data_ptr(),
            out_THQ.data_ptr(),
        )
        return out_THQ

    def gqa_store(
        self,
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
        if query_THW.dtype != BF16:
            return reference_attention.gqa_store(
                query_THW,
                key_TGW,
                value_TGW,
                q_norm_W,
                k_norm_W,
                eps,
                turns_T,
                interleaved,
                cache_BPC,
                slots_T,
            )
        query_THW, key_TGW, value_TGW = heads_of(query_THW), heads_of(key_TGW), heads_of(value_TGW)
        tokens, heads, width = query_THW.shape
        out_THW = self.empty((tokens, heads, width), BF16)
        self.library.gqa_store(
            query_THW.data_ptr(),
            query_THW.stride(0),
            key_TGW.data_ptr(),
            key_TGW.stride(0),
            value_TGW.data_ptr(),
            value_TGW.stride(0),
            tokens,
            heads,
            key_TGW.shape[1],
            width,
            q_norm_W.data_ptr(),
            k_norm_W.data_ptr(),
            eps,
            turns_T.data_ptr(),
            interleaved,
            byref(cache_of(cache_BPC)),
            slots_T.data_ptr(),
            out_THW.data_ptr(),
        )
        return out_THW

    def mla_decode(
        self,
        query_AHQ: Tensor,
        cache_BPC: Tensor,
        block_table_AB: Tensor,
        context_lens_A: Tensor,
        up_k_HNL: Tensor,
        up_v_HVL: Tensor,
        scale: float,
    ) -> Tensor:
        if query_AHQ.dtype != BF16:
            return reference_attention.mla_decode(
                query_AHQ, cache_BPC, block_table_AB, context_lens_A, up_k_HNL, up_v_HVL, scale
            )
        query_AHQ = heads_of(query_AHQ)
        requests, heads, width = query_AHQ.shape
        nope, value = up_k_HNL.shape[1], up_v_HVL.shape[1]
        out_AHV = self.empty((requests, heads, value), BF16)
        self.library.mla_decode(
            byref(decode_of(heads, block_table_AB, context_lens_A, scale)),
            byref(cache_of(cache_BPC)),
            query_AHQ.data_ptr(),
            query_AHQ.stride(0),
            up_k_HNL.data_ptr(),
            up_v_HVL.data_ptr(),
            nope,
            width - nope,
            value,
            out_AHV.data_ptr(),
        )
        return out_AHV

    def gqa_decode(
        self,
        query_AHW: Tensor,
        cache_BPC: Tensor,
        block_table_AB: Tensor,
        context_lens_A: Tensor,
        kv_heads: int,
        scale: float,
    ) -> Tensor:
        if query_AHW.dtype != BF16:
            return reference_attention.gqa_decode(query_AHW, cache_BPC, block_table_AB, context_lens_A, kv_heads, scale)
        query_AHW = heads_of(query_AHW)
        out_AHW = self.empty(query_AHW.shape, BF16)
        self.library.gqa_decode(
            byref(decode_of(query_AHW.shape[1], block_table_AB, context_lens_A, scale)),
            byref(cache_of(cache_BPC)),
            query_AHW.data_ptr(),
            query_AHW.stride(0),
            kv_heads,
            out_AHW.data_ptr(),
        )
        return out_AHW

    def mla_prefill(
        self,
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
        if query_THQ.dtype != BF16:
            return reference_attention.mla_prefill(
                query_THQ, cache_BPC, blocks_B, start, up_k_HNL, up_v_HVL, scale, query_block, key_block
            )
        query_THQ = heads_of(query_THQ)
        tokens, heads, width = query_THQ.shape
        nope, value = up_k_HNL.shape[1], up_v_HVL.shape[1]
        if absorbed_is_cheaper(tokens, start, width, nope + value, cache_BPC.shape[2], up_k_HNL.shape[2]):
            # each token as a request of its own over the same blocks
            table_TB = blocks_B[None].expand(tokens, -1)
            lengths_T = torch.arange(start + 1, start + tokens + 1)
            return self.mla_decode(query_THQ, cache_BPC, table_TB, lengths_T, up_k_HNL, up_v_HVL, scale)
        out_THV = self.empty((tokens, heads, value), BF16)
        self.library.mla_prefill(
            query_THQ.data_ptr(),
            query_THQ.stride(0),
            tokens,
            heads,
            byref(cache_of(cache_BPC)),
            blocks_B.data_ptr(),
            start,
            up_k_HNL.data_ptr(),
            up_v_HVL.data_ptr(),
            nope,
            width - nope,
            value,
            scale,
            out_THV.data_ptr(),
        )
        return out_THV

    def gqa_prefill(
        self,
        query_THW: Tensor,
        cache_BPC: Tensor,
        blocks_B: Tensor,
        start: int,
        kv_heads: int,
        scale: float,
        query_block: int,
        key_block: int,
    ) -> Tensor:
        if query_THW.dtype != BF16:
            return reference_attention.gqa_prefill(
                query_THW, cache_BPC, blocks_B, start, kv_heads, scale, query_block, key_block
            )
        query_THW = heads_of(query_THW)
        out_THW = self.empty(query_THW.shape, BF16)
        self.library.gqa_prefill(
            query_THW.data_ptr(),
            query_THW.stride(0),
            query_THW.shape[0],
            query_THW.shape[1],
            byref(cache_of(cache_BPC)),
            blocks_B.data_ptr(),
            start,
            kv_heads,
            scale,
            out_THW.data_ptr(),
        )
        return out_THW
