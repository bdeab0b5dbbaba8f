"""DeepSeek-V3 (arXiv 2412.19437), the architecture of Kimi K2 too: latent attention, then a dense feed-forward block in
the first layers and a mixture of experts in the others.

Owns how a layer is put together. Knows no checkpoint format, no devices and no parallelism.
Shapes: T tokens of the step, D model, B blocks, P block size, C cached per token.
"""

from torch import Tensor, nn

from engine.layers.experts import Experts
from engine.layers.mla import MLA
from engine.layers.mlp import MLP
from engine.layers.norm import RMSNorm
from engine.layers.rope import softmax_scale
from engine.layers.router import Router
from engine.layers.weight import Forms
from engine.models.batch import ForwardBatch
from engine.models.config import MLAConfig, ModelConfig, MoEConfig


class DeepseekV3Layer(nn.Module):
    """Attention and feed-forward, each on a normalised copy of the residual stream."""

    def __init__(self, config: ModelConfig, index: int, forms: Forms) -> None:
        super().__init__()
        assert isinstance(config.attention, MLAConfig)
        self.kernels = forms.kernels
        D, eps, rope = config.hidden_size, config.rms_norm_eps, config.rope
        scale = softmax_scale(config.attention.nope + config.attention.rotary, rope)
        self.attention_norm = RMSNorm(D, eps, forms)
        self.attention = MLA(D, config.attention, scale=scale, interleaved=rope.interleaved, forms=forms)
        self.ffn_norm = RMSNorm(D, eps, forms)
        self.ffn: nn.Module
        if index in config.moe_layers:
            assert config.moe is not None
            self.ffn = MixtureOfExperts(D, config.moe, forms)
        else:
            assert config.mlp is not None
            self.ffn = MLP(D, config.mlp.width, forms)

    def forward(self, hidden_TD: Tensor, turns_T: Tensor, cache_BPC: Tensor, batch: ForwardBatch) -> Tensor:
        attended_TD = self.attention(self.attention_norm(hidden_TD), turns_T, cache_BPC, batch)
        hidden_TD, normed_TD = self.ffn_norm.after(hidden_TD, attended_TD)
        return self.kernels.add(hidden_TD, self.ffn(normed_TD))


class MixtureOfExperts(nn.Module):
    """Each token's routed experts, plus the shared experts that every token visits."""

    def __init__(self, hidden: int, moe: MoEConfig, forms: Forms) -> None:
        super().__init__()
        self.kernels = forms.kernels
        self.router = Router(hidden, moe, forms)
        self.experts = Experts(moe.experts, hidden, moe.width, forms)
        self.shared = MLP(hidden, moe.shared, forms)

    def forward(self, hidden_TD: Tensor) -> Tensor:
        weights_TK, ids_TK = self.router(hidden_TD)
        return self.kernels.add(self.experts(hidden_TD, weights_TK, ids_TK), self.shared(hidden_TD))
