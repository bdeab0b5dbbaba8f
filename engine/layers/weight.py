"""Weight: the memory of a matrix, or of a stack of matrices, in the format that was chosen for it.

Shapes: Y rows, X columns.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.errors import CheckpointError
from engine.kernels.backend import TORCH, Kernels
from engine.kernels.formats import FP8_BLOCK, GROUP, Format, Formats
from engine.kernels.packed import FP8, Packed, dequantize, quantize

Index = tuple[int | slice, ...]


@dataclass(frozen=True, slots=True)
class Forms:
    """What a model is built in: the dtype of all that is computed, its matrices' formats, who computes."""

    dtype: torch.dtype
    formats: Formats
    kernels: Kernels = TORCH


class Weight(nn.Module):
    """A matrix [Y, X] or a stack [E, Y, X]. Uninitialised: the loader puts what a checkpoint holds."""

    def __init__(self, shape: tuple[int, ...], format: Format, dtype: torch.dtype) -> None:
        super().__init__()
        self.format, self.dtype = format, dtype
        rows, columns, stack = shape[-2], shape[-1], shape[:-2]
        scale: Tensor | None = None
        if format == "plain":
            values = torch.empty(shape, dtype=dtype)
        elif format == "fp8":
            values = torch.empty(shape, dtype=FP8)
            scale = torch.empty((*stack, -(-rows // FP8_BLOCK), -(-columns // FP8_BLOCK)), dtype=torch.float32)
        else:
            if columns % GROUP:
                raise CheckpointError(
                    f"a matrix of {rows} x {columns} cannot be {format}: {GROUP} must divide its width"
                )
            width, kind = (columns, torch.int8) if format == "int8" else (columns // 8, torch.int32)
            values = torch.empty((*stack, rows, width), dtype=kind)
            scale = torch.empty((*stack, rows, columns // GROUP), dtype=dtype)
        self.values = nn.Parameter(values, requires_grad=False)
        self.scale = None if scale is None else nn.Parameter(scale, requires_grad=False)

    @property
    def packed(self) -> Packed:
        """For kernels."""
        return Packed(self.format, self.values, self.scale)

    def put(self, target: Index, given: Packed) -> None:
        """Fills a part: `target` is empty for the whole, else rows, or a matrix of the stack and rows of it. What comes
        in another format is converted. Raises CheckpointError if the part cuts a block of fp8."""
        if given.format != self.format:
            given = quantize(dequantize(given, torch.float32), self.format, self.dtype)
        self.values.data[target].copy_(given.values)
        if self.scale is not None and given.scale is not None:
            places = _block_rows(target, self.values.shape[-2]) if self.format == "fp8" else target
            self.scale.data[places].copy_(given.scale)


def _block_rows(target: Index, rows: int) -> Index:
    """The rows of scales that belong to rows of values."""
    *stack, part = target if target else (slice(None),)
    if isinstance(part, int):
        return target
    first, last = part.start or 0, rows if part.stop is None else part.stop
    if first % FP8_BLOCK or (last % FP8_BLOCK and last != rows):
        raise CheckpointError(
            f"rows {first} to {last} cut a block of {FP8_BLOCK}: fp8 matrices of such sizes cannot be joined"
        )
    return (*stack, slice(first // FP8_BLOCK, -(-last // FP8_BLOCK)))
