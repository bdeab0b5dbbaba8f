"""Whole models on the native kernels, beside plain torch in float32."""

import pytest
import torch
from support.two_steps import two_layers, two_steps

from engine.kernels.backend import TORCH
from engine.kernels.cpu.kernels import NativeKernels
from engine.kernels.cpu.library import Library, find_library

PATH = find_library()
pytestmark = pytest.mark.skipif(PATH is None, reason="the native kernels were not built: no C++ compiler")


@pytest.mark.parametrize("name", ["kimi", "Qwen3-30B-A3B", "Apertus-8B-Instruct"])
def test_models_are_the_same_with_them(name: str) -> None:
    assert PATH is not None
    config = two_layers(name)
    native = two_steps(config, NativeKernels(Library(PATH)), torch.bfloat16)
    rounded = two_steps(config, TORCH, torch.bfloat16)
    for found, torch_found, expected in zip(native, rounded, two_steps(config, TORCH), strict=True):
        largest = float(expected.abs().max())
        # bfloat16 costs plain torch about as much
        assert float((torch_found - expected).abs().max()) < 0.04 * largest
        assert float((found - expected).abs().max()) < 0.04 * largest
