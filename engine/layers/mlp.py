"""The gated feed-forward block: dense layers and shared experts.

Shapes: T tokens, D model, F width; gate and up lie in one matrix [2F, D], gate first.
"""

import torch
from torch import Tensor, nn

from engine.kernels import reference
from engine.layers.linear import Linear


class MLP(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    def __init__(self, hidden: int, width: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.gate_up_proj = Linear(hidden, 2 * width, dtype)
        self.down_proj = Linear(width, hidden, dtype)

    def forward(self, x_TD: Tensor) -> Tensor:
        out_TD: Tensor = self.down_proj(reference.swiglu(self.gate_up_proj(x_TD)))
        return out_TD
