"""A matrix without bias. Every projection of these models is one.

Shapes: T tokens, X in, Y out.
"""

from torch import Tensor, nn

from engine.layers.weight import Forms, Weight


class Linear(nn.Module):
    """x_TX @ weight_YX.T."""

    def __init__(self, inputs: int, outputs: int, forms: Forms) -> None:
        super().__init__()
        self.kernels = forms.kernels
        self.weight = Weight((outputs, inputs), forms.formats.linear, forms.dtype)

    def forward(self, x_TX: Tensor) -> Tensor:
        return self.kernels.linear(x_TX, self.weight.packed)
