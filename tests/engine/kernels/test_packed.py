"""The formats: what packing loses, that unpacking is exact, and that products do not care in which form a matrix is."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import engine.kernels.reference as reference
from engine.kernels.formats import Format, matrix_bytes
from engine.kernels.packed import FP8, Packed, dequantize, quantize

DATA = Path(__file__).parents[2] / "data"
# Largest error relative to the largest value that shares a scale: half a step of the format.
STEP: dict[Format, float] = {"fp8": 2**-4, "int8": 0.5 / 127 * 1.02, "int4": 0.5 / 7 * 1.02}


def random_matrix(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(["fp8", "int8", "int4"]), st.integers(1, 300), st.integers(1, 9), st.floats(1e-3, 1e3))
def test_what_packing_loses_is_bounded(format: Format, rows: int, groups: int, size: float) -> None:
    dense = random_matrix(rows, 32 * groups, seed=rows) * size
    again = dequantize(quantize(dense, format, torch.float32), torch.float32)
    assert again.shape == dense.shape
    error = (again - dense).abs()
    if format == "fp8":
        assert (error <= STEP[format] * dense.abs() + 1e-3 * size).all()
    else:
        largest = dense.view(rows, groups, 32).abs().amax(-1, keepdim=True)
        assert (error.view(rows, groups, 32) <= STEP[format] * largest).all()


@pytest.mark.parametrize("format", ["fp8", "int8", "int4"])
def test_packing_what_was_unpacked_changes_nothing(format: Format) -> None:
    once = quantize(random_matrix(200, 96), format, torch.float32)
    twice = quantize(dequantize(once, torch.float32), format, torch.float32)
    torch.testing.assert_close(dequantize(twice, torch.float32), dequantize(once, torch.float32), rtol=1e-6, atol=1e-6)


def test_int4_lies_as_published() -> None:
    """Eight values in an int32, the first in the lowest bits, 8 for 0 (compressed-tensors, pack_to_int32)."""
    values = torch.tensor([[-8, -7, -1, 0, 1, 2, 6, 7] * 4])
    word = sum((value + 8) << (4 * place) for place, value in enumerate(values[0, :8].tolist()))
    word -= 2**32 if word >= 2**31 else 0
    packed = Packed("int4", torch.full((1, 4), word, dtype=torch.int32), torch.tensor([[0.5]]))
    torch.testing.assert_close(dequantize(packed, torch.float32), values * 0.5)


def test_fp8_has_a_scale_for_each_block() -> None:
    dense = random_matrix(300, 200)
    packed = quantize(dense, "fp8", torch.float32)
    assert packed.values.dtype == FP8
    assert packed.scale is not None
    assert packed.scale.shape == (3, 2)
    block = packed.values[256:, 128:].float() * packed.scale[2, 1]
    torch.testing.assert_close(dequantize(packed, torch.float32)[256:, 128:], block)


@pytest.mark.parametrize("format", ["plain", "fp8", "int8", "int4"])
def test_the_size_is_as_planned(format: Format) -> None:
    packed = quantize(random_matrix(300, 192).bfloat16(), format, torch.bfloat16)
    held = packed.values.nbytes + (0 if packed.scale is None else packed.scale.nbytes)
    assert held == matrix_bytes(300, 192, format, 2)


@pytest.mark.parametrize("format", ["fp8", "int8", "int4"])
def test_products_are_those_of_the_unpacked_matrix(format: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    """In pieces of 128 rows, the last of them short."""
    monkeypatch.setattr(reference, "UNPACKED_VALUES", 1)
    weight = quantize(random_matrix(300, 96), format, torch.float32)
    x = random_matrix(5, 96, seed=1)
    torch.testing.assert_close(reference.linear(x, weight), x @ dequantize(weight, torch.float32).T)


@pytest.mark.parametrize("format", ["fp8", "int8", "int4"])
def test_experts_are_those_of_the_unpacked_stack(format: Format) -> None:
    D, F, E, T, K = 64, 32, 5, 7, 2
    gate_up = quantize(random_matrix(E, 2 * F, D), format, torch.float32)
    down = quantize(random_matrix(E, D, F, seed=2), format, torch.float32)
    weights = random_matrix(T, K).softmax(-1)
    ids = torch.stack([torch.randperm(E, generator=torch.Generator().manual_seed(n))[:K] for n in range(T)])
    plain: Callable[[Packed], Packed] = lambda packed: Packed("plain", dequantize(packed, torch.float32))  # noqa: E731
    hidden = random_matrix(T, D, seed=3)
    torch.testing.assert_close(
        reference.moe_experts(hidden, weights, ids, gate_up, down),
        reference.moe_experts(hidden, weights, ids, plain(gate_up), plain(down)),
    )


def test_int4_is_what_compressed_tensors_writes_and_reads() -> None:
    """Of a random matrix, as its own library packed it and unpacked it again (tests/data/SOURCES.md)."""
    given = json.loads((DATA / "formats" / "int4_pack_quantized.json").read_text())
    scale = torch.tensor(given["weight_scale"]).bfloat16()
    theirs = Packed("int4", torch.tensor(given["weight_packed"], dtype=torch.int32), scale)
    dense = torch.tensor(given["weight"])
    assert list(dense.shape) == given["weight_shape"]
    assert torch.equal(dequantize(theirs, torch.bfloat16), dense.bfloat16())
