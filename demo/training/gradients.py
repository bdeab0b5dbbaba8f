"""Attention and the loss with their gradients written out. What autograd would make of slices and of a wide softmax
takes a fifth of a step on a CPU: whole tensors of zeros to add to, and four passes over the logits."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

SHORT, BLOCK = 256, 128  # a text up to SHORT is attended in one piece, a longer one by BLOCK queries
ROWS = 32  # of logits at a time: they stay in the cache


def blocks(length: int) -> list[tuple[int, int]]:
    """Pieces of a text, (first query, end), that are attended together. Long texts are cut, so that there are no scores
    of later keys."""
    block = length if length <= SHORT else BLOCK
    return [(first, min(first + block, length)) for first in range(0, length, block)]


def attend(query_BHSQ: Tensor, key_BHSQ: Tensor, value_BHSV: Tensor, masks: list[Tensor]) -> Tensor:
    """Attention with scores written out: on a CPU this takes half the time of the fused kernel. `masks`: for each of
    the blocks, what is added to its scores, [B, 1, queries, keys]."""
    out: Tensor = Attend.apply(query_BHSQ, key_BHSQ, value_BHSV, masks)  # type: ignore[no-untyped-call]
    return out


class Attend(torch.autograd.Function):
    """Gradients of softmax(Q K' / sqrt(Q)) V, by blocks of queries; N = B x H.

    P = softmax(S)    dV += P' dO    dP = dO V'    dS = P * (dP - sum(P * dP))    dQ = dS K    dK += dS' Q
    """

    @staticmethod
    def forward(  # type: ignore[no-untyped-def]
        ctx, query_BHSQ: Tensor, key_BHSQ: Tensor, value_BHSV: Tensor, masks: list[Tensor]
    ) -> Tensor:
        B, H, S, Q = query_BHSQ.shape
        query, key, value = (x.flatten(0, 1) for x in (query_BHSQ / math.sqrt(Q), key_BHSQ, value_BHSV))
        out = torch.empty(B * H, S, value.shape[-1], dtype=value.dtype, device=value.device)
        shares = []
        for (first, end), mask in zip(blocks(S), masks, strict=True):
            scores = query[:, first:end] @ key[:, :end].mT
            scores = torch.unflatten(scores, 0, (B, H)).add_(mask).flatten(0, 1)
            shares.append(scores.softmax(-1))
            out[:, first:end] = shares[-1] @ value[:, :end]
        ctx.save_for_backward(query, key, value, *shares)
        return torch.unflatten(out, 0, (B, H))

    @staticmethod
    def backward(ctx, grad_BHSV: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # type: ignore[no-untyped-def]
        query, key, value, *shares = ctx.saved_tensors
        B, H, S, _ = grad_BHSV.shape
        grad = grad_BHSV.flatten(0, 1)
        grad_query, grad_key, grad_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        for (first, end), share in zip(blocks(S), shares, strict=True):
            out = grad[:, first:end]
            grad_value[:, :end].baddbmm_(share.mT, out)
            scores = torch._softmax_backward_data(out @ value[:, :end].mT, share, -1, share.dtype)
            grad_query[:, first:end] = scores @ key[:, :end]
            grad_key[:, :end].baddbmm_(scores.mT, query[:, first:end])
        grad_query /= math.sqrt(query.shape[-1])
        unflat = [torch.unflatten(one, 0, (B, H)) for one in (grad_query, grad_key, grad_value)]
        return unflat[0], unflat[1], unflat[2], None


def mean_loss(hidden_PD: Tensor, head_GD: Tensor, targets_P: Tensor) -> Tensor:
    """Mean cross-entropy of hidden @ head' against the targets."""
    loss: Tensor = MeanLoss.apply(hidden_PD, head_GD.bfloat16(), targets_P)  # type: ignore[no-untyped-call]
    return loss


class MeanLoss(torch.autograd.Function):
    """The logits' gradient, (softmax - one hot) / P, is made with the loss, and overwrites the logits."""

    @staticmethod
    def forward(ctx: Any, hidden_PD: Tensor, head_GD: Tensor, targets_P: Tensor) -> Tensor:
        logits_PG = functional.linear(hidden_PD, head_GD)
        count, sum_ = len(targets_P), torch.zeros((), device=hidden_PD.device)
        for first in range(0, count, ROWS):
            rows, targets = logits_PG[first : first + ROWS], targets_P[first : first + ROWS, None]
            logs = rows.float().log_softmax(-1)
            sum_ -= logs.gather(1, targets).sum()
            shares = logs.exp_().div_(count)
            rows.copy_(shares.scatter_add_(1, targets, shares.new_full(targets.shape, -1 / count)))
        ctx.save_for_backward(logits_PG, hidden_PD, head_GD)
        return sum_ / count

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        gradient_PG, hidden_PD, head_GD = ctx.saved_tensors
        gradient_PG = gradient_PG * grad.to(gradient_PG.dtype)
        return gradient_PG @ head_GD, gradient_PG.mT @ hidden_PD, None
