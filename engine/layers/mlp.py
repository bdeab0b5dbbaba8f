"""Dense feed-forward blocks: gated (dense layers, shared experts), and Apertus' without a gate.

Shapes: T tokens, D model, F width; gate and up lie in one matrix [2F, D], gate first.
"""

import torch
from torch import Tensor, nn

from engine.layers.linear import Linear
from engine.layers.weight import Forms


class MLP(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    def __init__(self, hidden: int, width: int, forms: Forms) -> None:
        super().__init__()
        self.kernels = forms.kernels
        self.gate_up_proj = Linear(hidden, 2 * width, forms)
        self.down_proj = Linear(width, hidden, forms)

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.kernels.mlp(x_TD, self.gate_up_proj.weight.packed, self.down_proj.weight.packed)


class XieluMLP(nn.Module):
    """down(xielu(up(x))); xIELU's two coefficients are learnt, one pair a layer."""

    def __init__(self, hidden: int, width: int, forms: Forms) -> None:
        super().__init__()
        self.kernels = forms.kernels
        self.up_proj = Linear(hidden, width, forms)
        self.down_proj = Linear(width, hidden, forms)
        self.alpha_p = nn.Parameter(torch.empty(1, dtype=forms.dtype), requires_grad=False)
        self.alpha_n = nn.Parameter(torch.empty(1, dtype=forms.dtype), requires_grad=False)

    def forward(self, x_TD: Tensor) -> Tensor:
        out_TD: Tensor = self.down_proj(self.kernels.xielu(self.up_proj(x_TD), self.alpha_p, self.alpha_n))
        return out_TD
