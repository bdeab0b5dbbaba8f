"""Experts in Triton against the specification in float64."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from support.triton_kernels import DEVICE, Random, as_quantised, assert_near, exact

from engine.kernels import reference
from engine.kernels.formats import Format
from engine.kernels.packed import Packed
from engine.kernels.triton import choice, moe
from engine.kernels.triton.grouped_mm import moe_by_grouped_mm
from engine.kernels.triton.permute import most_tiles, permute

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the interpreter's numpy, on masked lanes


def routed(random: Random, tokens: int, experts: int, each: int) -> tuple[torch.Tensor, torch.Tensor]:
    return random.normal(tokens, each).softmax(-1), torch.stack([random.some(experts, each) for _ in range(tokens)])


@pytest.mark.parametrize(
    ("format", "dtype"),
    [
        ("plain", torch.float32),
        ("plain", torch.bfloat16),
        ("fp8", torch.float32),
        ("fp8", torch.bfloat16),
        ("int8", torch.float32),
        ("int4", torch.float32),
        ("int4", torch.bfloat16),
    ],
    ids=str,
)
def test_experts_are_the_specifications(format: Format, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Widths that are no multiple of a tile; an expert that nobody visits; sums in pieces of a row."""
    monkeypatch.setattr(moe, "SUMMED", 64)
    random, D, F, E, T, K = Random(1), 160, 96, 5, 6, 2
    gate_up = random.packed(E, 2 * F, D, format=format, dtype=dtype)
    down = random.packed(E, D, F, format=format, dtype=dtype)
    weights, ids = routed(random, T, E - 1, K)
    hidden = random.normal(T, D, dtype=dtype)
    expected = reference.moe_experts(hidden.double(), weights.double(), ids, exact(gate_up), exact(down))
    assert_near(moe.moe_by_tiles(hidden, weights, ids, gate_up, down), expected, dtype)


@pytest.mark.parametrize("tokens", [1, 40, 75, 150])
def test_experts_in_tiles_of_all_sizes(tokens: int) -> None:
    """One row; tiles of 32, 64 and 128, several of them for an expert."""
    random, D, F, E, K = Random(tokens), 96, 64, 3, 2
    gate_up = random.packed(E, 2 * F, D, format="int4", dtype=torch.float32)
    down = random.packed(E, D, F, format="int4", dtype=torch.float32)
    weights, ids = routed(random, tokens, E, K)
    ids[: tokens // 2] = ids[0]  # the first experts have more than a tile
    hidden = random.normal(tokens, D)
    expected = reference.moe_experts(hidden.double(), weights.double(), ids, exact(gate_up), exact(down))
    assert_near(moe.moe_by_tiles(hidden, weights, ids, gate_up, down), expected, torch.float32)


def test_both_ways_agree() -> None:
    random, D, F, E, T, K = Random(2), 64, 32, 4, 9, 2
    gate_up = random.packed(E, 2 * F, D, format="plain", dtype=torch.bfloat16)
    down = random.packed(E, D, F, format="plain", dtype=torch.bfloat16)
    weights, ids = routed(random, T, E, K)
    hidden = random.normal(T, D, dtype=torch.bfloat16)
    expected = reference.moe_experts(hidden.double(), weights.double(), ids, exact(gate_up), exact(down))
    assert_near(moe_by_grouped_mm(hidden, weights, ids, gate_up, down), expected, torch.bfloat16)


def test_products_in_fp8_are_those_of_the_quantised_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of devices that multiply e4m3: rows of x have a scale for each 128 values."""
    monkeypatch.setattr(moe, "multiplies_fp8", lambda index: True)
    monkeypatch.setattr(moe, "MANY", 1)
    random, D, F, E, T, K = Random(3), 256, 256, 2, 40, 1
    gate_up, down = random.uneven_fp8(E, 2 * F, D), random.uneven_fp8(E, D, F)
    weights, ids = routed(random, T, E, K)
    hidden = random.normal(T, D) * random.normal(T, 2).repeat_interleave(128, 1)
    exactly = reference.moe_experts(hidden.double(), weights.double(), ids, exact(gate_up), exact(down))
    assert_near(moe.moe_by_tiles(hidden, weights, ids, gate_up, down), exactly, torch.float8_e4m3fn)
    # each product by itself, exactly as the quantised rows have it
    tiles = permute(ids, E, 32)
    inner = moe._launch_gate_up(hidden, tiles, gate_up, K, T, True)
    both = torch.einsum("td,tfd->tf", as_quantised(hidden), exact(gate_up).values[ids[:, 0]])
    assert_near(inner, reference.swiglu(both), torch.float32)
    out = moe._launch_down(inner, tiles, down, weights, D, True)
    expected = torch.einsum("tf,tdf->td", as_quantised(inner), exact(down).values[ids[:, 0]]) * weights.double()
    assert_near(out, expected, torch.float32)


@pytest.mark.parametrize("size", [16, 64])
def test_every_assignment_is_in_a_tile_of_its_expert(size: int) -> None:
    random, E = Random(4), 37
    ids = torch.stack([random.some(E, 3) for _ in range(70)])
    tiles = permute(ids, E, size)
    assert len(tiles.experts) == most_tiles(ids.numel(), E, size)
    assignments, flat = tiles.assignments.view(-1, size).tolist(), ids.flatten().tolist()
    placed = []
    for expert, held in zip(tiles.experts.tolist(), assignments, strict=True):
        real = [assignment for assignment in held if assignment < len(flat)]
        assert expert >= 0 or not real
        assert all(flat[assignment] == expert for assignment in real)
        placed += real
    assert sorted(placed) == list(range(len(flat)))


def test_the_table_is_read_and_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Packed("plain", torch.empty(1, 2, 2, dtype=torch.bfloat16, device=DEVICE))
    monkeypatch.setattr(choice, "grouped_mm_from_tokens", lambda: 64)
    assert [choice.takes_grouped_mm(stack, tokens) for tokens in (63, 64)] == [False, True]
    assert not choice.takes_grouped_mm(Packed("fp8", stack.values), 64)
    monkeypatch.undo()
    assert choice.grouped_mm_from_tokens() is None, "measured: then docs/gpu.md should say so"
