"""What all families share: an embedding, layers on a residual stream, a norm and a head.

Owns no layer. Shapes: T tokens of the step, D model, N rows of logits, V vocabulary, B blocks, P block size, C cached
per token.
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from engine.kernels.packed import Packed
from engine.layers.norm import RMSNorm
from engine.layers.rope import RotaryEmbedding
from engine.layers.weight import Forms, Weight
from engine.models.batch import ForwardBatch
from engine.models.config import MLAConfig, ModelConfig


class LayerCaches(Protocol):
    """Where a layer's cached tokens lie: what the model needs to know of the KV store."""

    def layer(self, index: int) -> Tensor: ...  # [B, P, C]


class Layer(Protocol):
    """What a family brings: one layer, from hidden state to hidden state. It writes the tokens' keys to the cache."""

    def __call__(self, hidden_TD: Tensor, turns_T: Tensor, cache_BPC: Tensor, batch: ForwardBatch) -> Tensor: ...


class LayerMaker(Protocol):
    """A layer's class, called with the layer's number."""

    def __call__(self, config: ModelConfig, index: int, forms: Forms) -> nn.Module: ...


class CausalModel(nn.Module):
    """Token ids in, logits out. Parameters are uninitialised until loaded."""

    def __init__(self, config: ModelConfig, layer: LayerMaker, forms: Forms) -> None:
        super().__init__()
        self.kernels = forms.kernels
        V, D, attention = config.vocab_size, config.hidden_size, config.attention
        self.embedding = _plain(V, D, forms)
        self.rope = RotaryEmbedding(
            attention.rotary if isinstance(attention, MLAConfig) else attention.head, config.rope, forms.kernels
        )
        self.layers = nn.ModuleList(layer(config, index, forms) for index in range(config.num_hidden_layers))
        self.norm = RMSNorm(D, config.rms_norm_eps, forms)
        # None: the embedding serves as the head.
        self.head = None if config.tie_word_embeddings else Weight((V, D), forms.formats.head, forms.dtype)

    def forward(self, batch: ForwardBatch, kv: LayerCaches) -> Tensor:
        """One step. Writes the tokens to `kv` and returns logits_NV (fp32) of batch.logit_tokens_N."""
        return self.logits(self.hidden(batch, kv).index_select(0, batch.logit_tokens_N))

    def hidden(self, batch: ForwardBatch, kv: LayerCaches) -> Tensor:
        """One step up to the head. Writes the tokens to `kv` and returns hidden_TD, of which `logits` makes logits."""
        hidden_TD = self.kernels.embedding(batch.token_ids_T, self.embedding)
        turns_T = self.rope(batch.positions_T)
        for index, layer in enumerate(self.layers):
            hidden_TD = layer(hidden_TD, turns_T, kv.layer(index), batch)
        return hidden_TD

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """logits_NV (fp32) of rows of what `hidden` returned."""
        head_VD = Packed("plain", self.embedding) if self.head is None else self.head.packed
        return self.kernels.linear(self.norm(hidden_ND), head_VD).float()


def _plain(rows: int, columns: int, forms: Forms) -> nn.Parameter:
    return nn.Parameter(torch.empty(rows, columns, dtype=forms.dtype), requires_grad=False)
