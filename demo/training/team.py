"""Processes that train one model together, for CPUs: each takes a batch of its own and a share of the parameters to
update. One thread a process wastes less than several threads in one process, the more so on a busy machine.

    every process    gradients of its batch | mean of all gradients of its share | update of its share |
                                         together                            together               together
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.multiprocessing import get_context


class Team:
    """What the processes share: the model, the gradients of each, and a few numbers. A team of one shares nothing."""

    def __init__(self, model: nn.Module, size: int) -> None:
        self.model, self.size = model, size
        self._numbers = torch.zeros(size, 2, dtype=torch.float64)
        self._gradients: list[list[torch.Tensor]] = []
        self._barrier: Any = None
        if size > 1:
            model.share_memory()
            _shared(self._numbers)
            parameters = list(model.parameters())
            self._gradients = [[_shared(torch.zeros_like(one)) for one in parameters] for _ in range(size)]
            self._barrier = get_context("spawn").Barrier(size)

    def start(self, work: Any, *arguments: Any) -> None:
        """Starts the other processes: `work(team, rank, *arguments)`."""
        for rank in range(1, self.size):
            get_context("spawn").Process(target=work, args=(self, rank, *arguments), daemon=True).start()

    def share(self, rank: int) -> list[str]:
        """Names of the parameters that this process updates: about equal work for all."""
        loads = [0.0] * self.size
        owned: list[list[str]] = [[] for _ in range(self.size)]
        for name, parameter in sorted(self.model.named_parameters(), key=lambda one: -_work(one[1])):
            least = loads.index(min(loads))
            loads[least] += _work(parameter)
            owned[least].append(name)
        return owned[rank]

    def join(self, rank: int) -> None:
        """Gives this process' parameters their gradients: zeros that stay where they are."""
        if self.size > 1:
            for parameter, gradient in zip(self.model.parameters(), self._gradients[rank], strict=True):
                parameter.grad = gradient.requires_grad_(False)

    def together(self) -> None:
        """Waits for the others."""
        if self._barrier is not None:
            self._barrier.wait()

    def total(self, rank: int, place: int, value: float) -> float:
        """The sum of every process' value; waits for the others. Uses of one place need another wait between them."""
        self._numbers[rank, place] = value
        self.together()
        return float(self._numbers[:, place].sum())

    def average(self, owned: Sequence[nn.Parameter]) -> None:
        """Sets the gradients of `owned` to the mean over the processes."""
        if self.size == 1:
            return
        places = {id(parameter): place for place, parameter in enumerate(self.model.parameters())}
        for parameter in owned:
            place = places[id(parameter)]
            mean = torch.stack([gradients[place] for gradients in self._gradients]).mean(0)
            assert parameter.grad is not None
            parameter.grad.copy_(mean)

    def forget_gradients(self) -> None:
        for parameter in self.model.parameters():
            if self.size > 1 and parameter.grad is not None:
                parameter.grad.zero_()
            else:
                parameter.grad = None


def _shared(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, moved to memory that other processes see."""
    moved: torch.Tensor = tensor.share_memory_()  # type: ignore[no-untyped-call]
    return moved


def _work(parameter: nn.Parameter) -> float:
    """Of an update, roughly: orthogonalising a matrix costs its size times its smaller side."""
    return parameter.numel() * (min(parameter.shape[-2:]) if parameter.dim() > 1 else 1)
