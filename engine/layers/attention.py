"""Grouped-query attention (Ainslie et al. 2023, arXiv 2305.13245) with normalised queries and keys over a paged cache.

Shapes: T tokens of the step, D model, H query heads, G heads of keys and values, W head, B blocks, P block size,
C = 2 G W cached per token: its keys, then its values. A requests of a decode group.

    cached token   | k of head 0 ... k of head G-1 | v of head 0 ... v of head G-1 |
"""

import math

import torch
from torch import Tensor, nn

from engine.kernels.limits import PREFILL_QUERY_BLOCK
from engine.layers.linear import Linear
from engine.layers.norm import RMSNorm
from engine.layers.weight import Forms
from engine.models.batch import DecodeGroup, ForwardBatch, PrefillChunk
from engine.models.config import GQAConfig


class Attention(nn.Module):
    """One attention layer."""

    def __init__(self, hidden: int, attention: GQAConfig, *, eps: float, interleaved: bool, forms: Forms) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head = attention.heads, attention.kv_heads, attention.head
        # YaRN's magnitude is all in the rotated values: only MLA changes the scale too.
        self.scale, self.interleaved = 1 / math.sqrt(attention.head), interleaved
        self.kernels = forms.kernels
        self.query_block, self.key_block = PREFILL_QUERY_BLOCK, forms.kernels.prefill_key_block
        # One matrix: the rows of the queries, of the keys, of the values.
        self.qkv_proj = Linear(hidden, (self.heads + 2 * self.kv_heads) * self.head, forms)
        self.q_norm = RMSNorm(self.head, eps, forms)
        self.k_norm = RMSNorm(self.head, eps, forms)
        self.o_proj = Linear(self.heads * self.head, hidden, forms)

    def forward(self, hidden_TD: Tensor, turns_T: Tensor, cache_BPC: Tensor, batch: ForwardBatch) -> Tensor:
        """Writes the tokens' keys and values to the cache, then attends to it. Returns [T, D]."""
        query_THW = self._store(hidden_TD, turns_T, cache_BPC, batch)
        out_TD: Tensor = self.o_proj(self._attend(query_THW, cache_BPC, batch).flatten(1))
        return out_TD

    def _attend(self, query_THW: Tensor, cache_BPC: Tensor, batch: ForwardBatch) -> Tensor:
        """Returns [T, H, W]."""
        if len(batch.decode) == 1 and batch.decode[0].tokens_R is None:
            return self._decode(query_THW, cache_BPC, batch.decode[0])
        out_THW = torch.empty_like(query_THW)
        for group in batch.decode:
            assert group.tokens_R is not None
            out_AHW = self._decode(query_THW.index_select(0, group.tokens_R), cache_BPC, group)
            out_THW.index_copy_(0, group.tokens_R, out_AHW)
        for chunk in batch.prefill:
            tokens = slice(chunk.first, chunk.first + chunk.count)
            out_THW[tokens] = self._prefill(query_THW[tokens], cache_BPC, chunk)
        return out_THW

    def _store(self, hidden_TD: Tensor, turns_T: Tensor, cache_BPC: Tensor, batch: ForwardBatch) -> Tensor:
        """Writes the tokens' keys and values to the cache. Returns their queries [T, H, W]."""
        all_THW = torch.unflatten(self.qkv_proj(hidden_TD), -1, (-1, self.head))
        query_THW, key_TGW, value_TGW = torch.split(all_THW, [self.heads, self.kv_heads, self.kv_heads], dim=1)
        return self.kernels.gqa_store(
            query_THW,
            key_TGW,
            value_TGW,
            self.q_norm.weight,
            self.k_norm.weight,
            self.q_norm.eps,
            turns_T,
            self.interleaved,
            cache_BPC,
            batch.slots_T,
        )

    def _decode(self, query_AHW: Tensor, cache_BPC: Tensor, group: DecodeGroup) -> Tensor:
        """Returns [A, H, W]."""
        return self.kernels.gqa_decode(
            query_AHW, cache_BPC, group.block_table_RB, group.context_lens_R, self.kv_heads, self.scale
        )

    def _prefill(self, query_THW: Tensor, cache_BPC: Tensor, chunk: PrefillChunk) -> Tensor:
        """Returns [T, H, W]."""
        return self.kernels.gqa_prefill(
            query_THW,
            cache_BPC,
            chunk.blocks_B,
            chunk.start,
            self.kv_heads,
            self.scale,
            self.query_block,
            self.key_block,
        )
