"""For tests of the Triton kernels: in the interpreter on the CPU, or compiled where there is an NVIDIA GPU."""

import torch
from torch import Tensor

from engine.kernels.formats import Format
from engine.kernels.packed import Packed, dequantize, quantize
from engine.kernels.triton.gemm import quantize_rows

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# Largest error relative to the largest value, beside the exact result. The interpreter rounds towards zero.
ROUNDING = {torch.float32: 2e-6, torch.bfloat16: 2**-5, torch.float8_e4m3fn: 2**-2}


class Random:
    """Tensors on the tests' device, the same in every run."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32, size: float = 1.0) -> Tensor:
        return (torch.randn(shape, generator=self._generator) * size).to(dtype).to(DEVICE)

    def packed(self, *shape: int, format: Format, dtype: torch.dtype) -> Packed:
        """Of about unit gain."""
        dense = torch.randn(shape, generator=self._generator) / shape[-1] ** 0.5
        made = quantize(dense.to(dtype), format, dtype)
        return Packed(format, made.values.to(DEVICE), None if made.scale is None else made.scale.to(DEVICE))

    def uneven_fp8(self, *shape: int) -> Packed:
        """Blocks of very different magnitudes, so that a scale in the wrong place shows."""
        made = self.packed(*shape, format="fp8", dtype=torch.float32)
        assert made.scale is not None
        return Packed("fp8", made.values, made.scale * torch.exp(self.normal(*made.scale.shape)))

    def some(self, most: int, count: int) -> Tensor:
        """Different numbers below `most`."""
        return torch.randperm(most, generator=self._generator)[:count].to(DEVICE)


def exact(packed: Packed) -> Packed:
    """In float64."""
    return Packed("plain", dequantize(packed, torch.float64))


def as_quantised(x_TX: Tensor) -> Tensor:
    """The rows in float64 as products in e4m3 take them."""
    (T, X), (values, scale) = x_TX.shape, quantize_rows(x_TX)
    return dequantize(Packed("fp8", values.view(T, 1, X), scale.view(T, 1, -1)), torch.float64)[:, 0]


def assert_near(found: Tensor, expected: Tensor, dtype: torch.dtype, sums: int = 256) -> None:
    """Within the rounding of `dtype`, relative to the largest expected value; of longer sums than 256 a little more."""
    assert found.shape == expected.shape
    worst = (found.double() - expected.double()).abs().max()
    most = ROUNDING[dtype] * max(1, sums / 256)
    assert worst <= most * expected.abs().max(), (worst, expected.abs().max())
