"""Tensors as the library takes them: addresses, strides and structs. Copies only what lies in another order."""

import torch
from torch import Tensor

from engine.kernels.cpu.library import FORMATS, Cache, Decode, Matrix
from engine.kernels.packed import Packed

BF16 = torch.bfloat16


def rows_of(x_TX: Tensor) -> Tensor:
    """Rows whose values lie side by side; the rows themselves may be apart."""
    return x_TX if x_TX.stride(-1) == 1 else x_TX.contiguous()


def heads_of(x_THX: Tensor) -> Tensor:
    """The same for tokens of several heads: a token's heads lie side by side."""
    return x_THX if x_THX.stride(-1) == 1 and x_THX.stride(-2) == x_THX.shape[-1] else x_THX.contiguous()


def matrix_of(weight: Packed) -> Matrix:
    """A matrix or stack of matrices for the library."""
    values, scale = weight.values, weight.scale
    columns = values.shape[-1] * (8 if weight.format == "int4" else 1)
    if scale is None:
        return Matrix(values.data_ptr(), None, values.shape[-2], columns, FORMATS[weight.format], 0)
    is_float = scale.dtype == torch.float32
    return Matrix(values.data_ptr(), scale.data_ptr(), values.shape[-2], columns, FORMATS[weight.format], is_float)


def cache_of(cache_BPC: Tensor) -> Cache:
    return Cache(cache_BPC.data_ptr(), cache_BPC.shape[1], cache_BPC.shape[2])


def decode_of(heads: int, block_table_AB: Tensor, context_lens_A: Tensor, scale: float) -> Decode:
    assert len(block_table_AB) > 0
    assert block_table_AB.stride(1) == 1 or block_table_AB.shape[1] == 1
    stride = block_table_AB.stride(0)
    return Decode(len(block_table_AB), heads, block_table_AB.data_ptr(), stride, context_lens_A.data_ptr(), scale)
