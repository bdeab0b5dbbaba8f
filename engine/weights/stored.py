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

import torch
from torch import Tensor

from engine.errors import CheckpointError
from engine.kernels.formats import FP8_BLOCK, GROUP
from engine.kernels.packed import FP8, Packed
from engine.weights.names import Expected

FLOATS = (torch.bfloat16, torch.float32, torch.float16)


@dataclass(frozen=True, slots=True)
class Part:
    """One tensor of those that make a matrix."""

    name: str
    shape: tuple[int, ...]
    dtypes: tuple[torch.dtype, ...]


def parts(expected: Expected) -> Iterator[Part]:
    """The tensors that hold it: values, scale, others."""
    name, shape = expected.name, expected.shape
    if expected.format == "plain":
        yield Part(name, shape, FLOATS)
        return
    rows, columns = shape
    if expected.format == "fp8":
        yield Part(name, shape, (FP8,))
        yield Part(f"{name}_scale_inv", (-(-rows // FP8_BLOCK), -(-columns // FP8_BLOCK)), FLOATS)
        return
    yield Part(f"{name}_packed", (rows, columns // 8), (torch.int32,))
    yield Part(f"{name}_scale", (rows, columns // GROUP), FLOATS)
    yield Part(f"{name}_shape", (2,), (torch.int64, torch.int32))


def read(expected: Expected, tensor: Callable[[str], Tensor], where: Callable[[str], object]) -> Packed:
    """Reads a matrix or vector. `tensor` reads by name and `where` names the file. Raises CheckpointError."""
    values, *others = [_checked(part, tensor(part.name), where(part.name)) for part in parts(expected)]
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


def _checked(part: Part, tensor: Tensor, file: object) -> Tensor:
    if tensor.dtype not in part.dtypes:
        known = " or ".join(str(dtype).removeprefix("torch.") for dtype in part.dtypes)
        raise CheckpointError(f"{file}: weight {part.name} has dtype {tensor.dtype}, expected {known}")
    if tuple(tensor.shape) != part.shape:
        raise CheckpointError(
            f"{file}: weight {part.name} has shape {list(tensor.shape)}, but config.json makes it {list(part.shape)}"
        )
    return tensor
