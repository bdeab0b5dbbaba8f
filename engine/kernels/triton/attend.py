"""Causal attention of many queries of one request over a run of its keys, with or without what earlier runs left.

                     keys first ............ first + S
        query start    x  x  x  x
        query ...      x  x  x  x  x  x                    x: seen. A program has BM queries of one head
        query start+T  x  x  x  x  x  x  x  x

Shapes: T queries, H heads, N head without rotary, R rotary, V value, S keys of the run, P block size.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.kernels.triton.common import LOG2E, ceil_div, power, product


@dataclass(slots=True)
class Running:
    """Attention over the runs so far: out, until the last run unnormalised in `sums`, relative to 2^peak."""

    out_THV: Tensor
    peak_HT: Tensor
    total_HT: Tensor
    sums_THV: Tensor

    @staticmethod
    def start(T: int, H: int, V: int, like: Tensor) -> "Running":
        def wide(*shape: int) -> Tensor:
            return torch.empty(shape, dtype=torch.float32, device=like.device)

        return Running(like.new_empty(T, H, V), wide(H, T), wide(H, T), wide(T, H, V))


@dataclass(slots=True)
class Keys:
    """A run of `count` keys from position `first` on: [S, G, N] and values [S, G, V] of tensors whose rows are keys in
    order, or, with `blocks`, of a cache whose row of key s is blocks[s // P] * P + s % P. `rotary_SR` is a part of the
    key that all heads share."""

    key: Tensor
    value: Tensor
    first: int
    count: int
    rotary_SR: Tensor | None = None
    blocks: Tensor | None = None
    block_size: int = 1


@triton.jit(do_not_specialize=["T", "start", "first_key", "count"])
def _attend(
    query, key, value, rotary, blocks, out, peaks, totals, sums_at,
    T, start, first_key, count, key_row, value_row, rotary_row, scale,
    H: tl.constexpr, SHARED: tl.constexpr, N: tl.constexpr, R: tl.constexpr, V: tl.constexpr, P: tl.constexpr,
    FIRST: tl.constexpr, LAST: tl.constexpr,
    BM: tl.constexpr, BK: tl.constexpr, BN: tl.constexpr, BR: tl.constexpr, BV: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(1)
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    row_held = row < T
    wide = row.to(tl.int64)
    n, r, v = tl.arange(0, BN), tl.arange(0, BR), tl.arange(0, BV)
    source = query + (wide[:, None] * H + head) * (N + R)
    query_N = tl.load(source + n[None, :], mask=row_held[:, None] & (n < N)[None, :], other=0.0)
    if R > 0:
        query_R = tl.load(source + N + r[None, :], mask=row_held[:, None] & (r < R)[None, :], other=0.0)
    state = (wide[:, None] * H + head) * V + v[None, :]
    state_held = row_held[:, None] & (v < V)[None, :]
    if FIRST:
        peak = tl.full((BM,), float("-inf"), tl.float32)
        total = tl.zeros((BM,), tl.float32)
        sums = tl.zeros((BM, BV), tl.float32)
    else:
        peak = tl.load(peaks + head * T + row, mask=row_held, other=0.0)
        total = tl.load(totals + head * T + row, mask=row_held, other=1.0)
        sums = tl.load(sums_at + state, mask=state_held, other=0.0)
    key += head // SHARED * N
    value += head // SHARED * V
    # keys at or before the tile's last query
    seen = tl.minimum(count, start + tl.minimum(tl.program_id(0) * BM + BM, T) - first_key)
    for key0 in range(0, seen, BK):
        at = key0 + tl.arange(0, BK)
        held = at < seen
        if blocks is not None:
            place = tl.load(blocks + at // P, mask=held, other=0).to(tl.int64) * P + at % P
        else:
            place = at.to(tl.int64)
        key_N = tl.load(
            key + place[:, None] * key_row + n[None, :], mask=held[:, None] & (n < N)[None, :], other=0.0
        ).to(query_N.dtype)
        scores = product(query_N, tl.trans(key_N), tl.zeros((BM, BK), tl.float32))
        if R > 0:
            key_R = tl.load(
                rotary + place[:, None] * rotary_row + r[None, :], mask=held[:, None] & (r < R)[None, :], other=0.0
            )
            scores = product(query_R, tl.trans(key_R), scores)
        visible = held[None, :] & (first_key + at[None, :] <= start + row[:, None])
        scores = tl.where(visible, scores * (scale * LOG2E), float("-inf"))
        new_peak = tl.maximum(peak, tl.max(scores, axis=1))
        # a query that has seen no key yet: nothing to scale, and no -inf to take from itself
        level = tl.where(new_peak == float("-inf"), 0.0, new_peak)
        kept = tl.exp2(peak - level)
        weight = tl.exp2(scores - level[:, None])
        total = total * kept + tl.sum(weight, axis=1)
        value_V = tl.load(
            value + place[:, None] * value_row + v[None, :], mask=held[:, None] & (v < V)[None, :], other=0.0
        ).to(query_N.dtype)
        sums = product(weight.to(query_N.dtype), value_V, sums * kept[:, None])
        peak = new_peak
    if LAST:
        tl.store(out + state, (sums / total[:, None]).to(out.dtype.element_ty), mask=state_held)
    else:
        tl.store(peaks + head * T + row, peak, mask=row_held)
        tl.store(totals + head * T + row, total, mask=row_held)
        tl.store(sums_at + state, sums, mask=state_held)


def attend(query_THQ: Tensor, keys: Keys, running: Running, start: int, scale: float, *, last: bool) -> None:
    """Takes a run of keys into `running`; queries are the tokens start..start+T. Runs come in order, the first at 0;
    with the `last`, `running.out_THV` is complete."""
    T, H, Q = query_THQ.shape
    G, N, V = keys.key.shape[1], keys.key.shape[2], keys.value.shape[2]
    R = Q - N
    tile = min(power(T, 16), 128)
    rotary = keys.rotary_SR
    _attend[(ceil_div(T, tile), H)](
        query_THQ, keys.key, keys.value, rotary, keys.blocks,
        running.out_THV, running.peak_HT, running.total_HT, running.sums_THV,
        T, start, keys.first, keys.count, keys.key.stride(0), keys.value.stride(0),
        0 if rotary is None else rotary.stride(0), scale,
        H=H, SHARED=H // G, N=N, R=R, V=V, P=keys.block_size, FIRST=keys.first == 0, LAST=last,
        BM=tile, BK=64 if T > 16 else 32, BN=power(N, 16), BR=power(R, 16), BV=power(V, 16),
        num_warps=8 if tile == 128 else 4, num_stages=2,
    )  # fmt: skip
