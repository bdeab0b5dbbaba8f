"""Gradients written out are those that autograd makes of the plain arithmetic."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from demo.training.gradients import attend, mean_loss
from demo.training.model import hidden_keys


def close(found: Tensor, wanted: Tensor) -> None:
    """Both are bf16 arithmetic in another order."""
    error = (found.float() - wanted.float()).norm() / wanted.float().norm()
    assert error < 0.02, error


@pytest.mark.parametrize("length", [40, 300])  # attended in one piece, and in blocks
def test_attention(length: int) -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(2, 3, length, width).bfloat16().requires_grad_() for width in (24, 24, 16)]
    ways = torch.zeros(2, length, dtype=torch.long)
    ways[:, 20:30], ways[:, 30:] = 1, 2
    places = torch.arange(length)
    hidden = (places[:, None] < places) | ((ways[:, None] != ways[:, :, None]) & (ways[:, None] != 0))
    scores = inputs[0].float() @ inputs[1].float().mT / math.sqrt(24)
    wanted = scores.masked_fill(hidden[:, None], -torch.inf).softmax(-1) @ inputs[2].float()
    upstream = torch.randn_like(wanted)
    gradients = torch.autograd.grad(wanted, inputs, upstream)
    found = attend(*inputs, hidden_keys(ways))
    close(found, wanted)
    for one, other in zip(torch.autograd.grad(found, inputs, upstream.bfloat16()), gradients, strict=True):
        close(one, other)


def test_mean_loss() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(70, 32).bfloat16().requires_grad_()
    head = torch.randn(90, 32).requires_grad_()
    targets = torch.randint(90, (70,))
    wanted = functional.cross_entropy(hidden.float() @ head.mT, targets)
    found = mean_loss(hidden, head, targets)
    assert abs(found - wanted) < 0.02
    for one, other in zip(
        torch.autograd.grad(3 * found, (hidden, head)), torch.autograd.grad(3 * wanted, (hidden, head)), strict=True
    ):
        close(one, other)
