"""DeepSeek-V3 (arXiv 2412.19437), the architecture of Kimi K2 too: latent attention, then a dense feed-forward block in
the first layers and a mixture of experts in the others.

Owns how the parts are put together. Knows no checkpoint format, no devices and no parallelism.
Shapes: T tokens of the step, D model, N rows of logits, V vocabulary, B blocks, P block size, C cached per token.
"""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.layers.experts import Experts
from engine.layers.linear import Linear
from engine.layers.mla import MLA
from engine.layers.mlp import MLP
from engine.layers.norm import RMSNorm
from engine.layers.rope import RotaryEmbedding, softmax_scale
from engine.layers.router import Router
from engine.models.batch import ForwardBatch
from engine.models.config import ModelConfig


class LayerCaches(Protocol):
    """Where a layer's cached tokens lie: what the model needs to know of the KV store."""

    def layer(self, index: int) -> Tensor: ...  # [B, P, C]


class DeepseekV3(nn.Module):
    """Token ids in, logits out. Parameters are uninitialised until loaded."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype) -> None:
        super().__init__()
        self.embedding = nn.Parameter(
            torch.empty(config.vocab_size, config.hidden_size, dtype=dtype), requires_grad=False
        )
        self.rope = RotaryEmbedding(config.qk_rope_head_dim, config.rope)
        self.layers = nn.ModuleList(DecoderLayer(config, index, dtype) for index in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps, dtype)
        # None: the embedding serves as the head.
        self.head = None if config.tie_word_embeddings else Linear(config.hidden_size, config.vocab_size, dtype)

    def forward(self, batch: ForwardBatch, kv: LayerCaches) -> Tensor:
        """One step. Writes the tokens' latents to `kv` and returns logits_NV (fp32) of batch.logit_tokens_N."""
        hidden_TD = functional.embedding(batch.token_ids_T, self.embedding)
        turns_T = self.rope(batch.positions_T)
        for index, layer in enumerate(self.layers):
            hidden_TD = layer(hidden_TD, turns_T, kv.layer(index), batch)
        hidden_ND = self.norm(hidden_TD.index_select(0, batch.logit_tokens_N))
        head_VD = self.embedding if self.head is None else self.head.weight
        return functional.linear(hidden_ND, head_VD).float()


class DecoderLayer(nn.Module):
    """Attention and feed-forward, each on a normalised copy of the residual stream."""

    def __init__(self, config: ModelConfig, index: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.hidden_size, config.rms_norm_eps, dtype)
        self.attention = _attention(config, dtype)
        self.ffn_norm = RMSNorm(config.hidden_size, config.rms_norm_eps, dtype)
        self.ffn: nn.Module
        if index < config.first_k_dense_replace:
            self.ffn = MLP(config.hidden_size, config.intermediate_size, dtype)
        else:
            self.ffn = MixtureOfExperts(config, dtype)

    def forward(self, hidden_TD: Tensor, turns_T: Tensor, cache_BPC: Tensor, batch: ForwardBatch) -> Tensor:
        hidden_TD = hidden_TD + self.attention(self.attention_norm(hidden_TD), turns_T, cache_BPC, batch)
        out_TD: Tensor = hidden_TD + self.ffn(self.ffn_norm(hidden_TD))
        return out_TD


class MixtureOfExperts(nn.Module):
    """Each token's routed experts, plus the shared experts that every token visits."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype) -> None:
        super().__init__()
        self.router = Router(
            config.hidden_size,
            config.n_routed_experts,
            experts_per_token=config.num_experts_per_tok,
            groups=config.n_group,
            groups_kept=config.topk_group,
            normalize=config.norm_topk_prob,
            scale=config.routed_scaling_factor,
        )
        self.experts = Experts(config.n_routed_experts, config.hidden_size, config.moe_intermediate_size, dtype)
        # Published as one block of n times the width.
        self.shared = MLP(config.hidden_size, config.n_shared_experts * config.moe_intermediate_size, dtype)

    def forward(self, hidden_TD: Tensor) -> Tensor:
        weights_TK, ids_TK = self.router(hidden_TD)
        out_TD: Tensor = self.experts(hidden_TD, weights_TK, ids_TK)
        return out_TD.add_(self.shared(hidden_TD))


def _attention(config: ModelConfig, dtype: torch.dtype) -> MLA:
    return MLA(
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        query_rank=config.q_lora_rank,
        latent=config.kv_lora_rank,
        nope=config.qk_nope_head_dim,
        rotary=config.qk_rope_head_dim,
        value=config.v_head_dim,
        softmax_scale=softmax_scale(config.qk_nope_head_dim + config.qk_rope_head_dim, config.rope.yarn),
        rope_interleaved=config.rope.interleaved,
        dtype=dtype,
    )
