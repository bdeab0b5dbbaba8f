"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1) over a paged cache of latents.

Dimensions, Kimi K2's in brackets:
    T tokens of the step      D model [7168]              H heads [64]
    W query rank [1536]       N head without rotary [128]  R rotary part [64]   Q = N + R query head
    L latent rank [512]       C = L + R, cached per token  V value head [128]
    A requests of a decode group, B blocks, P block size, S keys

What a token leaves in the cache is its latent c and one rotary key k_R shared by all heads, C values in all. A head's
key and value are linear in the latent: k = [up_k c, k_R], v = up_v c. Hence two ways to the same result:

    expanded (prefill)  make k and v of every cached token, then ordinary attention: Q + V multiplications per
                        query, key and head, and the expansion is shared by all queries
    absorbed (decode)   q . up_k c = (up_k^T q) . c, and sum_s p_s up_v c_s = up_v (sum_s p_s c_s): attention right on
                        the latents, C + L multiplications, and nothing is expanded for the single query

up_k and up_v are the two parts of the checkpoint's kv_b_proj, stored apart: batched products with a strided view of
the whole would copy it in every step.
"""

import torch
from torch import Tensor, nn

from engine.kernels.limits import PREFILL_QUERY_BLOCK
from engine.layers.linear import Linear
from engine.layers.norm import RMSNorm
from engine.layers.weight import Forms
from engine.models.batch import DecodeGroup, ForwardBatch, PrefillChunk
from engine.models.config import MLAConfig

# The published model leaves the norms of its low-rank projections at this value, whatever rms_norm_eps says.
LOW_RANK_NORM_EPS = 1e-6


class MLA(nn.Module):
    """One attention layer."""

    def __init__(self, hidden: int, attention: MLAConfig, *, scale: float, interleaved: bool, forms: Forms) -> None:
        super().__init__()
        heads, query_rank, latent = attention.heads, attention.query_rank, attention.latent
        nope, rotary, value = attention.nope, attention.rotary, attention.value
        self.heads, self.kernels = heads, forms.kernels
        self.scale, self.interleaved = scale, interleaved
        self.query_block, self.key_block = PREFILL_QUERY_BLOCK, forms.kernels.prefill_key_block
        query_width = heads * (nope + rotary)
        # First stage, one matrix: the query's (or its low-rank form's) rows, then the latent's, then the rotary key's.
        self.first_stage = [query_rank or query_width, latent, rotary]
        self.qkv_a_proj = Linear(hidden, sum(self.first_stage), forms)
        self.q_a_norm = RMSNorm(query_rank, LOW_RANK_NORM_EPS, forms) if query_rank else None
        self.q_b_proj = Linear(query_rank, query_width, forms) if query_rank else None
        self.kv_a_norm = RMSNorm(latent, LOW_RANK_NORM_EPS, forms)
        self.up_k = nn.Parameter(torch.empty(heads, nope, latent, dtype=forms.dtype), requires_grad=False)
        self.up_v = nn.Parameter(torch.empty(heads, value, latent, dtype=forms.dtype), requires_grad=False)
        self.o_proj = Linear(heads * value, hidden, forms)

    def forward(self, hidden_TD: Tensor, turns_T: Tensor, cache_BPC: Tensor, batch: ForwardBatch) -> Tensor:
        """Writes the tokens' latents to the cache, then attends to it. Returns [T, D]."""
        query_THQ = self._store(hidden_TD, turns_T, cache_BPC, batch)
        out_TD: Tensor = self.o_proj(self._attend(query_THQ, cache_BPC, batch).flatten(1))
        return out_TD

    def _attend(self, query_THQ: Tensor, cache_BPC: Tensor, batch: ForwardBatch) -> Tensor:
        """Returns [T, H, V]."""
        if len(batch.decode) == 1 and batch.decode[0].tokens_R is None:
            return self._decode(query_THQ, cache_BPC, batch.decode[0])
        out_THV = query_THQ.new_empty(query_THQ.shape[0], self.heads, self.up_v.shape[1])
        for group in batch.decode:
            assert group.tokens_R is not None
            out_AHV = self._decode(query_THQ.index_select(0, group.tokens_R), cache_BPC, group)
            out_THV.index_copy_(0, group.tokens_R, out_AHV)
        for chunk in batch.prefill:
            tokens = slice(chunk.first, chunk.first + chunk.count)
            out_THV[tokens] = self._prefill(query_THQ[tokens], cache_BPC, chunk)
        return out_THV

    def _store(self, hidden_TD: Tensor, turns_T: Tensor, cache_BPC: Tensor, batch: ForwardBatch) -> Tensor:
        """Writes what the cache holds of the tokens. Returns their queries [T, H, Q]."""
        query_TW, latent_TL, key_TR = torch.split(self.qkv_a_proj(hidden_TD), self.first_stage, dim=-1)
        if self.q_a_norm is not None and self.q_b_proj is not None:
            query_TW = self.q_b_proj(self.q_a_norm(query_TW))
        return self.kernels.mla_store(
            torch.unflatten(query_TW, -1, (self.heads, -1)),
            latent_TL,
            key_TR,
            self.kv_a_norm.weight,
            self.kv_a_norm.eps,
            turns_T,
            self.interleaved,
            cache_BPC,
            batch.slots_T,
        )

    def _decode(self, query_AHQ: Tensor, cache_BPC: Tensor, group: DecodeGroup) -> Tensor:
        """Absorbed form. Returns [A, H, V]."""
        return self.kernels.mla_decode(
            query_AHQ, cache_BPC, group.block_table_RB, group.context_lens_R, self.up_k, self.up_v, self.scale
        )

    def _prefill(self, query_THQ: Tensor, cache_BPC: Tensor, chunk: PrefillChunk) -> Tensor:
        """Expanded form. Returns [T, H, V]."""
        return self.kernels.mla_prefill(
            query_THQ,
            cache_BPC,
            chunk.blocks_B,
            chunk.start,
            self.up_k,
            self.up_v,
            self.scale,
            self.query_block,
            self.key_block,
        )
