"""How a matrix of each format lies in a published checkpoint: under which names, in which shapes and dtypes.

plain   X.weight                  [Y, X]          bf16, fp16 or fp32
fp8     X.weight                  [Y, X]          float8_e4m3fn
        X.weight_scale_inv        [Y/128, X/128]  fp32 or bf16, rounded up; what values are multiplied with
int4    X.weight_packed           [Y, X/8]        int32
        X.weight_scale            [Y, X/32]       bf16, fp16 or fp32
        X.weight_shape            [2]             Y and X
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from engine.errors import CheckpointError
from engine.kernels.formats import FP8_BLOCK, GROUP
from engine.kernels.packed import FP8, Packed
from engine.weights.names import Expected

FLOATS = (torch.bfloat16, torch.float32, torch.float16)


@dataclass(frozen=True, slots=True)
class Part:
    """One tensor of those that make a matrix. `block`: how many rows of the matrix one row of it belongs to; 0: all."""

    name: str
    shape: tuple[int, ...]
    dtypes: tuple[torch.dtype, ...]
    block: int = 1


class Reader(Protocol):
    """Reads tensors, or rows of them, by name."""

    def shape(self, name: str) -> tuple[int, ...]: ...

    def read(self, name: str, rows: slice | None = None) -> Tensor: ...


def parts(expected: Expected) -> Iterator[Part]:
    """The tensors that hold it: values, scale, others."""
    name, shape = expected.name, expected.shape
    if expected.format == "plain":
        yield Part(name, shape, FLOATS)
        return
    rows, columns = shape
    if expected.format == "fp8":
        yield Part(name, shape, (FP8,))
        yield Part(f"{name}_scale_inv", (-(-rows // FP8_BLOCK), -(-columns // FP8_BLOCK)), FLOATS, FP8_BLOCK)
        return
    yield Part(f"{name}_packed", (rows, columns // 8), (torch.int32,))
    yield Part(f"{name}_scale", (rows, columns // GROUP), FLOATS)
    yield Part(f"{name}_shape", (2,), (torch.int64, torch.int32), 0)


def read(expected: Expected, reader: Reader, where: Callable[[str], object], rows: slice | None = None) -> Packed:
    """Reads a matrix or vector, or some rows of a matrix: whole blocks of 128, but for its last. `where` names the file
    of a tensor. Raises CheckpointError."""
    values, *others = [_read(part, reader, where(part.name), rows) for part in parts(expected)]
    if not others:
        return Packed("plain", values)
    scale = others[0]
    if not torch.isfinite(scale).all():
        name = f"{expected.name}_scale{'_inv' if expected.format == 'fp8' else ''}"
        raise CheckpointError(f"{where(name)}: {name} holds values that are not finite")
    if expected.format == "int4" and others[1].tolist() != list(expected.shape):
        name = f"{expected.name}_shape"
        raise CheckpointError(
            f"{where(name)}: {name} is {others[1].tolist()}, but config.json makes it {[*expected.shape]}"
        )
    return Packed(expected.format, values, scale.float() if expected.format == "fp8" else scale)


def _read(part: Part, reader: Reader, file: object, rows: slice | None) -> Tensor:
    shape = reader.shape(part.name)
    if shape != part.shape:
        raise CheckpointError(
            f"{file}: weight {part.name} has shape {list(shape)}, but config.json makes it {list(part.shape)}"
        )
    if rows is not None and part.block:
        tensor = reader.read(part.name, slice(rows.start // part.block, -(-rows.stop // part.block)))
    else:
        tensor = reader.read(part.name)
    if tensor.dtype not in part.dtypes:
        known = " or ".join(str(dtype).removeprefix("torch.") for dtype in part.dtypes)
        raise CheckpointError(f"{file}: weight {part.name} has dtype {tensor.dtype}, expected {known}")
    return tensor
