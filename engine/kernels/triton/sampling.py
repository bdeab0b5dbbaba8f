"""Drawing tokens on the device: one program a row, no sorting; the host gets token ids and nothing else.

What the filters keep is a prefix of the falling order, so it is given by its last logit, which is found by bisection
over the 2^32 floats: `top_k` by counting, `top_p` by summing. Of equal logits at the end the lower ids are kept. The
token is then drawn in order of ids by the row's uniform number. The plain sampler draws among filtered tokens in
falling order: the distribution is the same, the token for a seed is not.

Floor: the logits are read once for the peak and once to draw, 64 times more with both filters; a row of Kimi K2's
vocabulary (640 KB) stays in the L2 cache meanwhile.
Shapes: N rows, V vocabulary.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.kernels.triton.common import power

WIDEST = 4096  # of a piece of a row
BITS = tl.constexpr(32)
LEAST_KEY, MOST_KEY = tl.constexpr(-(2**31)), tl.constexpr(2**31 - 1)
COLUMNS = 5  # temperature, top_k, top_p, min_p, noise


@triton.jit
def _key(x):
    """An int32 in the order of floats."""
    bits = x.to(tl.int32, bitcast=True)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def _piece(row, start, V: tl.constexpr, BV: tl.constexpr):
    at = start + tl.arange(0, BV)
    return tl.load(row + at, mask=at < V, other=float("-inf")), at


@triton.jit
def _weight(x, peak, temperature):
    return tl.exp((x - peak) / temperature)


@triton.jit
def _count(row, least, V: tl.constexpr, BV: tl.constexpr):
    """Tokens whose key is at least `least`."""
    found = 0
    for start in range(0, V, BV):
        x, at = _piece(row, start, V, BV)
        found += tl.sum(((_key(x) >= least) & (at < V)).to(tl.int32), axis=0)
    return found


@triton.jit
def _mass(row, above, peak, temperature, min_p, V: tl.constexpr, BV: tl.constexpr):
    """Weight of the tokens whose key is above `above`, of those that min_p keeps."""
    found = tl.zeros((1,), tl.float64)
    for start in range(0, V, BV):
        x, at = _piece(row, start, V, BV)
        weight = _weight(x, peak, temperature)
        kept = (_key(x) > above) & (weight >= min_p) & (at < V)
        found += tl.sum(tl.where(kept, weight, 0.0).to(tl.float64), axis=0)
    return tl.sum(found, axis=0)


@triton.jit
def _float(key):
    return (key ^ ((key >> 31) & 0x7FFFFFFF)).to(tl.float32, bitcast=True)


@triton.jit
def _draw(logits, how, out, V: tl.constexpr, BV: tl.constexpr):
    n = tl.program_id(0).to(tl.int64)
    row = logits + n * V
    temperature = tl.load(how + n * 5).to(tl.float32)
    top_k = tl.load(how + n * 5 + 1).to(tl.int32)
    top_p = tl.load(how + n * 5 + 2)
    min_p = tl.load(how + n * 5 + 3).to(tl.float32)
    noise = tl.load(how + n * 5 + 4)
    peak = float("-inf")
    strange = 0
    for start in range(0, V, BV):
        x, at = _piece(row, start, V, BV)
        strange += tl.sum((x != x).to(tl.int32), axis=0)
        peak = tl.maximum(peak, tl.max(x, axis=0))
    if (strange > 0) | (peak == float("-inf")) | (peak == float("inf")):
        tl.store(out + n, tl.full((), -1, tl.int64))
        return
    last, room = tl.full((), LEAST_KEY, tl.int32), tl.full((), V, tl.int32)  # the last key kept, how many of it
    if temperature <= 1e-5:
        temperature, noise, min_p = 1.0, tl.full((), 0.0, tl.float64), 0.0
        last, room = _key(peak), tl.full((), 1, tl.int32)
    else:
        high = _key(peak).to(tl.int64)
        if (top_k > 0) & (top_k < V):
            low = tl.full((), LEAST_KEY, tl.int64)
            high_k = high
            for _ in range(BITS):  # the largest key that at least top_k tokens have or exceed
                middle = low + (high_k - low + 1) // 2
                enough = _count(row, middle, V, BV) >= top_k
                low = tl.where(enough, middle, low)
                high_k = tl.where(enough, high_k, middle - 1)
            last = low.to(tl.int32)
            room = top_k - _count(row, last.to(tl.int64) + 1, V, BV)
        if top_p < 1:
            held = tl.where(_weight(_float(last), peak, temperature) >= min_p, 1.0, 0.0)
            of_last = held * _weight(_float(last), peak, temperature).to(tl.float64)
            if last == LEAST_KEY:
                of_last = tl.full((), 0.0, tl.float64)
            wanted = top_p * (_mass(row, last, peak, temperature, min_p, V, BV) + room * of_last)
            low = last.to(tl.int64)
            high_p = high
            for _ in range(BITS):  # the largest key down to which the mass is enough; `last` if none above it is
                middle = low + (high_p - low + 1) // 2
                enough = _mass(row, middle - 1, peak, temperature, min_p, V, BV) >= wanted
                low = tl.where(enough, middle, low)
                high_p = tl.where(enough, high_p, middle - 1)
            most = tl.where(low == last, room, V)
            last = low.to(tl.int32)
            missing = wanted - _mass(row, last, peak, temperature, min_p, V, BV)
            each = tl.maximum(_weight(_float(last), peak, temperature).to(tl.float64), 1e-300)
            needed = tl.minimum(tl.ceil(missing / each), 2147483647.0).to(tl.int32)
            room = tl.minimum(tl.maximum(needed, 1), most)
    total = tl.full((), 0.0, tl.float64)
    for start in range(0, V, BV):
        x, at = _piece(row, start, V, BV)
        weight = _weight(x, peak, temperature)
        kept = (_key(x) > last) & (weight >= min_p) & (at < V)
        total += tl.sum(tl.where(kept, weight, 0.0).to(tl.float64), axis=0)
    if last > LEAST_KEY:
        end = _weight(_float(last), peak, temperature)
        total += tl.where(end >= min_p, end, 0.0).to(tl.float64) * room
    target = noise * total
    running = tl.full((), 0.0, tl.float64)
    seen = tl.full((), 0, tl.int32)
    token = tl.full((), V, tl.int32)
    final = tl.full((), 0, tl.int32)  # where rounding leaves the sum short of the target
    for start in range(0, V, BV):
        x, at = _piece(row, start, V, BV)
        weight = _weight(x, peak, temperature)
        equal = ((_key(x) == last) & (at < V)).to(tl.int32)
        rank = tl.cumsum(equal, axis=0) + seen
        kept = ((_key(x) > last) | ((equal == 1) & (rank <= room))) & (weight >= min_p) & (at < V)
        share = tl.where(kept, weight, 0.0).to(tl.float64)
        sums = tl.cumsum(share, axis=0) + running
        found = tl.min(tl.where(kept & (sums > target), at, V), axis=0)
        token = tl.minimum(token, found)
        final = tl.maximum(final, tl.max(tl.where(kept & (weight > 0), at, 0), axis=0))
        running += tl.sum(share, axis=0)
        seen += tl.sum(equal, axis=0)
    tl.store(out + n, tl.where(token < V, token, final).to(tl.int64))


def draw(logits_NV: Tensor, how_N5: Tensor) -> Tensor:
    """A token of each row (int64), -1 where the logits are not numbers. `how_N5` (float64) has for each row its
    temperature, where up to 1e-5 means the most likely token, top_k (0: all), top_p, min_p and a uniform number."""
    N, V = logits_NV.shape
    out_N = torch.empty(N, dtype=torch.int64, device=logits_NV.device)
    _draw[(N,)](logits_NV.contiguous(), how_N5, out_N, V=V, BV=min(power(V), WIDEST), num_warps=8)
    return out_N
