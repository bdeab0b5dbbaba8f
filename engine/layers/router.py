"""Which experts a token goes to, and with which weights.

Shapes: T tokens, D model, E experts, K experts of a token.
"""

import torch
from torch import Tensor, nn

from engine.layers.weight import Forms
from engine.models.config import MoEConfig


class Router(nn.Module):
    """Parameters and arithmetic are fp32 whatever the model's dtype: rounding here changes which experts run.

    `sigmoid` scoring is DeepSeek-V3's, with a correction bias and group-limited choice; `softmax` is Qwen3's."""

    def __init__(self, hidden: int, moe: MoEConfig, forms: Forms) -> None:
        super().__init__()
        self.moe, self.kernels = moe, forms.kernels
        self.weight = nn.Parameter(torch.empty(moe.experts, hidden, dtype=torch.float32), requires_grad=False)
        biased = moe.scoring == "sigmoid"
        bias = nn.Parameter(torch.empty(moe.experts, dtype=torch.float32), requires_grad=False) if biased else None
        self.bias = bias

    def forward(self, hidden_TD: Tensor) -> tuple[Tensor, Tensor]:
        """Returns weights_TK (fp32) and expert ids_TK."""
        moe = self.moe
        if self.bias is None:
            return self.kernels.route_softmax(
                hidden_TD, self.weight, experts_per_token=moe.per_token, normalize=moe.normalize
            )
        return self.kernels.route(
            hidden_TD,
            self.weight,
            self.bias,
            experts_per_token=moe.per_token,
            groups=moe.groups,
            groups_kept=moe.groups_kept,
            normalize=moe.normalize,
            scale=moe.scale,
        )
