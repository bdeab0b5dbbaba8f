"""Qwen3 (arXiv 2505.09388): grouped-query attention with normalised queries and keys, then a mixture of experts without
a shared one. Its dense brothers are the same with a gated feed-forward block in every layer.

Owns how a layer is put together. Shapes: T tokens of the step, D model, B blocks, P block size, C cached per token.
"""

from torch import Tensor, nn

from engine.layers.attention import Attention
from engine.layers.experts import Experts
from engine.layers.mlp import MLP
from engine.layers.norm import RMSNorm
from engine.layers.router import Router
from engine.layers.weight import Forms
from engine.models.batch import ForwardBatch
from engine.models.config import GQAConfig, ModelConfig, MoEConfig


class Qwen3Layer(nn.Module):
    """Attention and feed-forward, each on a normalised copy of the residual stream."""

    def __init__(self, config: ModelConfig, index: int, forms: Forms) -> None:
        super().__init__()
        assert isinstance(config.attention, GQAConfig)
        self.kernels = forms.kernels
        D, eps, rope = config.hidden_size, config.rms_norm_eps, config.rope
        self.attention_norm = RMSNorm(D, eps, forms)
        self.attention = Attention(D, config.attention, eps=eps, interleaved=rope.interleaved, forms=forms)
        self.ffn_norm = RMSNorm(D, eps, forms)
        self.ffn: nn.Module
        if index in config.moe_layers:
            assert config.moe is not None
            self.ffn = RoutedExperts(D, config.moe, forms)
        else:
            assert config.mlp is not None
            self.ffn = MLP(D, config.mlp.width, forms)

    def forward(self, hidden_TD: Tensor, turns_T: Tensor, cache_BPC: Tensor, batch: ForwardBatch) -> Tensor:
        attended_TD = self.attention(self.attention_norm(hidden_TD), turns_T, cache_BPC, batch)
        hidden_TD, normed_TD = self.ffn_norm.after(hidden_TD, attended_TD)
        return self.kernels.add(hidden_TD, self.ffn(normed_TD))


class RoutedExperts(nn.Module):
    """Each token's experts."""

    def __init__(self, hidden: int, moe: MoEConfig, forms: Forms) -> None:
        super().__init__()
        self.router = Router(hidden, moe, forms)
        self.experts = Experts(moe.experts, hidden, moe.width, forms)

    def forward(self, hidden_TD: Tensor) -> Tensor:
        weights_TK, ids_TK = self.router(hidden_TD)
        out_TD: Tensor = self.experts(hidden_TD, weights_TK, ids_TK)
        return out_TD
