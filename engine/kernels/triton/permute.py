"""Assignments in order of their experts, each expert's beginning at a tile of its own. All on the device: the number of
tiles is bounded by what the host knows, and tiles beyond the last are marked, so that a CUDA graph can hold it.

    ids_TK [[2, 0], [0, 1]], tiles of 2   ->   experts of tiles  0    1    2    -
                                               assignments       1 2  3 _  0 _

The order within an expert depends on who comes first and changes nothing: each row is computed by itself and found
again by its assignment.
Shapes: M assignments, E experts, J tiles.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.kernels.triton.common import ceil_div, power

COUNTED = 256  # assignments of a program
FILLED = 16  # tiles of a program


@dataclass(frozen=True, slots=True)
class Tiles:
    """`assignments` [J * size]: which assignment a row is of, M for none; `experts` [J]: whose a tile is, -1 for
    none."""

    assignments: Tensor
    experts: Tensor
    size: int


@triton.jit(do_not_specialize=["M"])
def _count(ids, counts, M, BM: tl.constexpr):
    at = tl.program_id(0) * BM + tl.arange(0, BM)
    held = at < M
    tl.atomic_add(counts + tl.load(ids + at, mask=held, other=0), 1, mask=held)


@triton.jit(do_not_specialize=["J"])
def _lay_out(counts, places, experts, J, E: tl.constexpr, BE: tl.constexpr, BJ: tl.constexpr, SIZE: tl.constexpr):
    expert = tl.arange(0, BE)
    count = tl.load(counts + expert, mask=expert < E, other=0)
    tiles = (count + SIZE - 1) // SIZE
    end = tl.cumsum(tiles, axis=0)
    if tl.program_id(0) == 0:
        tl.store(places + expert, (end - tiles) * SIZE, mask=expert < E)
    tile = tl.program_id(0) * BJ + tl.arange(0, BJ)
    before = tl.sum((end[None, :] <= tile[:, None]).to(tl.int32), axis=1)  # experts whose tiles are all before
    tl.store(experts + tile, tl.where(before < E, before, -1), mask=tile < J)


@triton.jit(do_not_specialize=["M"])
def _scatter(ids, places, assignments, M, BM: tl.constexpr):
    at = tl.program_id(0) * BM + tl.arange(0, BM)
    held = at < M
    place = tl.atomic_add(places + tl.load(ids + at, mask=held, other=0), 1, mask=held)
    tl.store(assignments + place, at, mask=held)


def permute(ids_TK: Tensor, experts: int, size: int) -> Tiles:
    """Tiles of `size` rows."""
    ids, M, device = ids_TK.reshape(-1), ids_TK.numel(), ids_TK.device
    J = most_tiles(M, experts, size)
    counts = torch.zeros(experts, dtype=torch.int32, device=device)
    places = torch.empty(experts, dtype=torch.int32, device=device)
    found = Tiles(
        torch.full((J * size,), M, dtype=torch.int32, device=device),
        torch.empty(J, dtype=torch.int32, device=device),
        size,
    )
    pieces = ceil_div(M, COUNTED)
    _count[(pieces,)](ids, counts, M, BM=COUNTED, num_warps=4)
    _lay_out[(ceil_div(J, FILLED),)](
        counts, places, found.experts, J, E=experts, BE=power(experts), BJ=FILLED, SIZE=size, num_warps=4
    )
    _scatter[(pieces,)](ids, places, found.assignments, M, BM=COUNTED, num_warps=4)
    return found


def most_tiles(M: int, experts: int, size: int) -> int:
    """Each expert that was hit wastes less than a tile."""
    return min(M, M // size + min(M, experts))
