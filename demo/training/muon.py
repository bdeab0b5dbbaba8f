"""Muon with Moonshot's scaling (Liu et al. 2025, arXiv 2502.16982): momentum, made orthogonal, for matrices; AdamW for
the rest. Kimi K2 was trained with it."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

# Newton-Schulz coefficients of Jordan et al. 2024.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_STEPS = 5
_RMS = 0.2  # root mean square of AdamW's usual update, so that both take the same learning rate


class Muon(torch.optim.Optimizer):
    """For matrices, and stacks of them: the last two dimensions are the matrix."""

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(list(groups), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                mean = state.setdefault("momentum", torch.zeros_like(parameter))
                mean.lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(mean, group["momentum"])  # Nesterov's look ahead
                scale = _RMS * max(parameter.shape[-2:]) ** 0.5
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(orthogonal(update), alpha=-group["lr"] * scale)


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest orthogonal matrix, roughly: singular values become about 1."""
    x = matrix.bfloat16()
    wide = x.shape[-2] <= x.shape[-1]
    if not wide:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_STEPS):
        square = x @ x.mT
        x = _A * x + (_B * square + _C * square @ square) @ x
    result: Tensor = (x if wide else x.mT).to(matrix.dtype)
    return result
