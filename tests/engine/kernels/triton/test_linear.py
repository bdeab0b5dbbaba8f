"""Products, norms and SwiGLU in Triton against the specification in float64."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from support.triton_kernels import Random, as_quantised, assert_near, exact

from engine.kernels import reference
from engine.kernels.formats import Format
from engine.kernels.triton import activation, linear, norm

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@pytest.mark.parametrize("format", ["plain", "fp8", "int8", "int4"])
@pytest.mark.parametrize("tokens", [1, 20, 150])
def test_linear(format: Format, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The columns are split into parts, the last of them short, and added in pieces; 150 tokens are several tiles."""
    monkeypatch.setattr(linear, "REDUCED", 64)
    random = Random(tokens)
    weight, x = random.packed(200, 544, format=format, dtype=torch.float32), random.normal(tokens, 544)
    assert_near(linear.linear(x, weight), reference.linear(x.double(), exact(weight)), torch.float32)


def test_linear_in_fp8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "multiplies_fp8", lambda index: True)
    monkeypatch.setattr(linear, "MANY", 1)
    random = Random(2)
    weight, x = random.uneven_fp8(260, 384), random.normal(150, 384) * random.normal(150, 3).repeat_interleave(128, 1)
    assert_near(linear.linear(x, weight), reference.linear(x.double(), exact(weight)), torch.float8_e4m3fn)
    quantised = as_quantised(x)
    assert_near(linear.linear(x, weight), reference.linear(quantised, exact(weight)), torch.float32)
    assert_near(quantised, x, torch.float8_e4m3fn)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_norms_and_swiglu(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activation, "WIDEST", 32)
    random = Random(3)
    wide, delta = random.normal(4, 120, dtype=dtype, size=50), random.normal(4, 100, dtype=dtype)
    x, weight = wide[:, 10:110], random.normal(100, dtype=dtype)  # rows that do not follow each other
    expected = reference.rms_norm(x.double(), weight.double(), 1e-5)
    assert_near(norm.rms_norm(x, weight, 1e-5), expected, dtype)
    total, normed = norm.add_rms_norm(x, delta, weight, 1e-5)
    assert_near(total, x.double() + delta.double(), dtype)
    assert_near(normed, reference.rms_norm(total.double(), weight.double(), 1e-5), dtype)
    both = random.normal(3, 2, 70, dtype=dtype)
    assert_near(activation.swiglu(both), reference.swiglu(both.double()), dtype)
