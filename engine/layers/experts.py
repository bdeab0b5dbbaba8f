"""The routed experts' weights, stacked.

Shapes: T tokens, D model, E experts, K experts of a token, F width.
"""

import torch
from torch import Tensor, nn

from engine.kernels import reference


class Experts(nn.Module):
    """E gated feed-forward blocks of which each token visits K."""

    def __init__(self, experts: int, hidden: int, width: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.gate_up_proj = nn.Parameter(torch.empty(experts, 2 * width, hidden, dtype=dtype), requires_grad=False)
        self.down_proj = nn.Parameter(torch.empty(experts, hidden, width, dtype=dtype), requires_grad=False)

    def forward(self, hidden_TD: Tensor, weights_TK: Tensor, ids_TK: Tensor) -> Tensor:
        return reference.moe_experts(hidden_TD, weights_TK, ids_TK, self.gate_up_proj, self.down_proj)
