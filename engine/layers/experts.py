"""The routed experts' weights, stacked.

Shapes: T tokens, D model, E experts, K experts of a token, F width.
"""

from torch import Tensor, nn

from engine.layers.weight import Forms, Weight


class Experts(nn.Module):
    """E gated feed-forward blocks of which each token visits K."""

    def __init__(self, experts: int, hidden: int, width: int, forms: Forms) -> None:
        super().__init__()
        self.kernels, format = forms.kernels, forms.formats.experts
        self.gate_up_proj = Weight((experts, 2 * width, hidden), format, forms.dtype)
        self.down_proj = Weight((experts, hidden, width), format, forms.dtype)

    def forward(self, hidden_TD: Tensor, weights_TK: Tensor, ids_TK: Tensor) -> Tensor:
        return self.kernels.moe_experts(hidden_TD, weights_TK, ids_TK, self.gate_up_proj.packed, self.down_proj.packed)
