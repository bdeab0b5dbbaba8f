"""Packed: a matrix in one of the formats of engine/kernels/formats.py, and the way there and back in plain torch.

Shapes: Y rows, X columns; any dimensions before them are a stack of matrices.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engine.kernels.formats import FP8_BLOCK, GROUP, Format

FP8 = torch.float8_e4m3fn
_NIBBLES = 8  # in an int32


@dataclass(frozen=True, slots=True)
class Packed:
    """values [..., Y, X], of int4 [..., Y, X/8]: the first of eight columns in the lowest four bits, 8 meaning 0.
    scale [..., Y/128, X/128] (rounded up) of fp8, [..., Y, X/32] of the int formats, None of plain."""

    format: Format
    values: Tensor
    scale: Tensor | None = None

    def __getitem__(self, index: int | slice) -> "Packed":
        """One matrix of a stack, or rows of a matrix that is not fp8."""
        return Packed(self.format, self.values[index], None if self.scale is None else self.scale[index])


def dequantize(packed: Packed, dtype: torch.dtype) -> Tensor:
    """The matrix in `dtype`, [..., Y, X]. Products with the scale are made in fp32 and rounded once."""
    values, scale = packed.values, packed.scale
    if scale is None:
        return values.to(dtype)
    if packed.format == "fp8":
        return (values.float() * _spread_blocks(scale, values.shape[-2], values.shape[-1])).to(dtype)
    if packed.format == "int4":
        shifts = torch.arange(0, 32, 4, dtype=torch.int32, device=values.device)
        values = ((values[..., None] >> shifts) & 15).flatten(-2) - 8
    groups = torch.unflatten(values, -1, (-1, GROUP)).float() * scale.float()[..., None]
    return groups.flatten(-2).to(dtype)


def quantize(dense: Tensor, format: Format, scale_dtype: torch.dtype) -> Packed:
    """The nearest values of `format` to a matrix [..., Y, X] with X a multiple of 32 (int formats)."""
    if format == "plain":
        return Packed(format, dense)
    if format == "fp8":
        return _quantize_fp8(dense.float())
    groups = torch.unflatten(dense.float(), -1, (-1, GROUP))
    most = 127 if format == "int8" else 7
    scale = (groups.abs().amax(-1) / most).to(scale_dtype)
    steps = scale.float().clamp(min=torch.finfo(torch.float32).tiny)[..., None]
    whole = (groups / steps).round().clamp(-most - 1, most).flatten(-2)
    if format == "int8":
        return Packed(format, whole.to(torch.int8), scale)
    nibbles = torch.unflatten((whole + 8).to(torch.int64), -1, (-1, _NIBBLES))
    shifts = torch.arange(0, 32, 4, device=dense.device)
    joined = (nibbles << shifts).sum(-1)  # below 2**32: its upper half is what int32 has as negative
    return Packed(format, torch.where(joined >= 2**31, joined - 2**32, joined).to(torch.int32), scale)


def _quantize_fp8(dense: Tensor) -> Packed:
    rows, columns = dense.shape[-2:]
    padded = functional.pad(dense, (0, -columns % FP8_BLOCK, 0, -rows % FP8_BLOCK))
    blocks = torch.unflatten(torch.unflatten(padded, -1, (-1, FP8_BLOCK)), -3, (-1, FP8_BLOCK))
    scale = (blocks.abs().amax((-3, -1)) / torch.finfo(FP8).max).clamp(min=torch.finfo(torch.float32).tiny)
    return Packed("fp8", (dense / _spread_blocks(scale, rows, columns)).to(FP8), scale)


def _spread_blocks(scale: Tensor, rows: int, columns: int) -> Tensor:
    """Each block's scale at each of its places."""
    spread = scale.repeat_interleave(FP8_BLOCK, -2)[..., :rows, :]
    return spread.repeat_interleave(FP8_BLOCK, -1)[..., :columns]
