"""The backend as a whole: small models compute the same with it, and it is honoured or refused."""

import sys

import pytest
import torch

triton = pytest.importorskip("triton", reason="Triton is not installed")

from support.triton_kernels import DEVICE
from support.two_steps import two_layers, two_steps

from engine.errors import ConfigError
from engine.kernels.backend import TORCH
from engine.kernels.registry import choose_kernels, why_unusable
from engine.kernels.triton.backend import TritonKernels

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@pytest.mark.parametrize("name", ["kimi", "Qwen3-30B-A3B", "Apertus-8B-Instruct"])
def test_models_are_the_same_with_it(name: str) -> None:
    config = two_layers(name)
    for found, expected in zip(
        two_steps(config, TritonKernels(), device=DEVICE), two_steps(config, TORCH, device=DEVICE), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=2e-4, atol=2e-4 * float(expected.abs().max()))


def test_it_is_refused_without_a_gpu() -> None:
    with pytest.raises(ConfigError, match=r"--kernels triton: needs an NVIDIA GPU, and the device is cpu"):
        choose_kernels("triton", "cpu", torch.bfloat16)
    assert choose_kernels("auto", "cpu", torch.bfloat16).name != "triton"


def test_it_is_refused_for_other_dtypes() -> None:
    with pytest.raises(ConfigError, match=r"computes in bfloat16, not in torch.float32; use --dtype bfloat16"):
        choose_kernels("triton", "cuda", torch.float32)
    assert choose_kernels("auto", "cuda", torch.float32).name == "torch"


def test_it_is_refused_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "engine.kernels.triton.backend", None)
    reason = why_unusable("triton", "cuda", torch.bfloat16)
    assert reason is not None
    assert "Triton cannot be imported" in reason
    assert "pip install" in reason


def test_it_is_what_auto_takes_on_a_gpu() -> None:
    assert why_unusable("triton", "cuda", torch.bfloat16) is None
    assert choose_kernels("auto", "cuda", torch.bfloat16).name == "triton"
