"""RMS norm with its weight.

Shapes: T tokens, X width.
"""

import torch
from torch import Tensor, nn

from engine.layers.weight import Forms


class RMSNorm(nn.Module):
    """x / rms(x) * weight, in fp32 inside."""

    def __init__(self, width: int, eps: float, forms: Forms) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, dtype=forms.dtype), requires_grad=False)
        self.eps, self.kernels = eps, forms.kernels

    def forward(self, x_TX: Tensor) -> Tensor:
        return self.kernels.rms_norm(x_TX, self.weight, self.eps)

    def after(self, x_TX: Tensor, delta_TX: Tensor) -> tuple[Tensor, Tensor]:
        """The residual stream x + delta, and its norm."""
        return self.kernels.add_rms_norm(x_TX, delta_TX, self.weight, self.eps)
