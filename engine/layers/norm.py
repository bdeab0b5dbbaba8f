"""RMS norm with its weight.

Shapes: T tokens, X width.
"""

import torch
from torch import Tensor, nn

from engine.kernels import reference


class RMSNorm(nn.Module):
    """x / rms(x) * weight, in fp32 inside."""

    def __init__(self, width: int, eps: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, dtype=dtype), requires_grad=False)
        self.eps = eps

    def forward(self, x_TX: Tensor) -> Tensor:
        return reference.rms_norm(x_TX, self.weight, self.eps)
