"""Which experts a token goes to, and with which weights.

Shapes: T tokens, D model, E experts, K experts of a token.
"""

import torch
from torch import Tensor, nn

from engine.kernels import reference


class Router(nn.Module):
    """DeepSeek-V3's sigmoid router with correction bias and group-limited choice. Both parameters are fp32 whatever
    the model's dtype, and so is the arithmetic: rounding here changes which experts run."""

    def __init__(
        self,
        hidden: int,
        experts: int,
        *,
        experts_per_token: int,
        groups: int,
        groups_kept: int,
        normalize: bool,
        scale: float,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(experts, hidden, dtype=torch.float32), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(experts, dtype=torch.float32), requires_grad=False)
        self.experts_per_token = experts_per_token
        self.groups = groups
        self.groups_kept = groups_kept
        self.normalize = normalize
        self.scale = scale

    def forward(self, hidden_TD: Tensor) -> tuple[Tensor, Tensor]:
        """Returns weights_TK (fp32) and expert ids_TK."""
        return reference.route(
            hidden_TD,
            self.weight,
            self.bias,
            experts_per_token=self.experts_per_token,
            groups=self.groups,
            groups_kept=self.groups_kept,
            normalize=self.normalize,
            scale=self.scale,
        )
