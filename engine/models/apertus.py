"""Apertus (arXiv 2509.14233): grouped-query attention with normalised queries and keys, and a feed-forward block
without a gate whose curve, xIELU, is learnt.

Owns how a layer is put together. Shapes: T tokens of the step, D model, B blocks, P block size, C cached per token.
"""

from torch import Tensor, nn

from engine.layers.attention import Attention
from engine.layers.mlp import XieluMLP
from engine.layers.norm import RMSNorm
from engine.layers.weight import Forms
from engine.models.batch import ForwardBatch
from engine.models.config import GQAConfig, ModelConfig


class ApertusLayer(nn.Module):
    """Attention and feed-forward, each on a normalised copy of the residual stream."""

    def __init__(self, config: ModelConfig, index: int, forms: Forms) -> None:
        super().__init__()
        assert isinstance(config.attention, GQAConfig)
        assert config.mlp is not None
        self.kernels = forms.kernels
        D, eps, rope = config.hidden_size, config.rms_norm_eps, config.rope
        self.attention_norm = RMSNorm(D, eps, forms)
        self.attention = Attention(D, config.attention, eps=eps, interleaved=rope.interleaved, forms=forms)
        self.ffn_norm = RMSNorm(D, eps, forms)
        self.ffn = XieluMLP(D, config.mlp.width, forms)

    def forward(self, hidden_TD: Tensor, turns_T: Tensor, cache_BPC: Tensor, batch: ForwardBatch) -> Tensor:
        attended_TD = self.attention(self.attention_norm(hidden_TD), turns_T, cache_BPC, batch)
        hidden_TD, normed_TD = self.ffn_norm.after(hidden_TD, attended_TD)
        return self.kernels.add(hidden_TD, self.ffn(normed_TD))
