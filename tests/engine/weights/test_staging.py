"""Weights for a GPU go through page-locked memory. There is no GPU here: that it is asked for is what can be seen."""

import pytest
import torch

from engine.kernels.packed import Packed
from engine.weights.loader import staged


def test_values_and_scales_are_copied_to_page_locked_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.Size] = []

    def pin(self: torch.Tensor) -> torch.Tensor:
        asked.append(self.shape)
        return self.clone()

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    given = Packed("int8", torch.ones(4, 64, dtype=torch.int8), torch.ones(4, 2))
    copy = staged(given)
    assert asked == [given.values.shape, torch.Size([4, 2])]
    assert copy.format == "int8"
    assert torch.equal(copy.values, given.values)
    assert staged(Packed("plain", torch.ones(2))).scale is None
