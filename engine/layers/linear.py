"""A matrix without bias. Every projection of these models is one.

Shapes: T tokens, X in, Y out.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Linear(nn.Module):
    """x_TX @ weight_YX.T. The weight is left uninitialised: the loader fills it."""

    def __init__(self, inputs: int, outputs: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, dtype=dtype), requires_grad=False)

    def forward(self, x_TX: Tensor) -> Tensor:
        return functional.linear(x_TX, self.weight)
