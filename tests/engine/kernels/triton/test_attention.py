"""Attention in Triton against the specification in float64, over caches of all kinds."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from support.triton_kernels import DEVICE, Random, assert_near

from engine.kernels import reference_attention as reference
from engine.kernels.packed import FP8
from engine.kernels.triton import gqa, merge, mla, rotary

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

KINDS = pytest.mark.parametrize(
    ("dtype", "cache_dtype"),
    [(torch.float32, torch.float32), (torch.bfloat16, torch.bfloat16), (torch.bfloat16, FP8)],
    ids=str,
)
N, R, L, V, P = 8, 4, 24, 12, 4  # of the latent kind
SCALE, BLOCKS = 0.3, 20
MANY_BLOCKS = 230  # for contexts whose parts have several tiles of keys


def table_and_lengths(random: Random, lengths: list[int], blocks: int = BLOCKS) -> tuple[torch.Tensor, torch.Tensor]:
    table = torch.stack([random.some(blocks, -(-max(lengths) // P)) for _ in lengths])
    return table, torch.tensor(lengths, device=DEVICE)


@KINDS
@pytest.mark.parametrize("heads", [1, 20])
def test_mla_decode(dtype: torch.dtype, cache_dtype: torch.dtype, heads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "LEAST_KEYS", 16)  # so that contexts are really split
    random = Random(heads)
    table, lengths = table_and_lengths(random, [1, 40, 77])
    cache = random.normal(BLOCKS, P, L + R).to(cache_dtype)
    cache.view(torch.uint8 if cache_dtype == FP8 else cache_dtype)[table[0, 1:]] = 0
    query = random.normal(3, heads, N + R, dtype=dtype)
    up_k, up_v = random.normal(heads, N, L, dtype=dtype, size=0.2), random.normal(heads, V, L, dtype=dtype, size=0.2)
    exact = (cache.double(), table, lengths, up_k.double(), up_v.double(), SCALE)
    expected = reference.mla_decode(query.double(), *exact)
    assert_near(mla.mla_decode(query, cache, table, lengths, up_k, up_v, SCALE), expected, dtype)


@pytest.mark.parametrize(("heads", "latent", "rotary"), [(3, L, R), (64, L, R), (128, L, R), (3, 512, 64)])
def test_mla_decode_at_real_sizes(heads: int, latent: int, rotary: int) -> None:
    """Long contexts, all of the heads, or the published widths; parts as they are cut when serving."""
    random = Random(heads)
    lengths = [1, 900, 300] if heads == 3 else [1, 150]
    table, lens = table_and_lengths(random, lengths, MANY_BLOCKS)
    cache = random.normal(MANY_BLOCKS, P, latent + rotary)
    query = random.normal(len(lengths), heads, N + rotary)
    up_k, up_v = random.normal(heads, N, latent, size=0.2), random.normal(heads, V, latent, size=0.2)
    exact = (cache.double(), table, lens, up_k.double(), up_v.double(), SCALE)
    expected = reference.mla_decode(query.double(), *exact)
    assert_near(mla.mla_decode(query, cache, table, lens, up_k, up_v, SCALE), expected, torch.float32, sums=latent)


@pytest.mark.parametrize("key_block", [48, 2048])
def test_mla_prefill_of_several_tiles(key_block: int) -> None:
    random, heads, start, T = Random(13), 2, 100, 150
    blocks, cache = random.some(MANY_BLOCKS, -(-(start + T) // P)), random.normal(MANY_BLOCKS, P, L + R)
    query = random.normal(T, heads, N + R)
    up_k, up_v = random.normal(heads, N, L, size=0.2), random.normal(heads, V, L, size=0.2)
    exact = (cache.double(), blocks, start, up_k.double(), up_v.double(), SCALE)
    expected = reference.mla_prefill(query.double(), *exact, 64, 64)
    found = mla.mla_prefill(query, cache, blocks, start, up_k, up_v, SCALE, 64, key_block)
    assert_near(found, expected, torch.float32)


def test_gqa_of_several_tiles() -> None:
    random, W, start, T, kv_heads = Random(17), 24, 100, 150, 2
    table, lens = table_and_lengths(random, [1, 900, 300], MANY_BLOCKS)
    cache = random.normal(MANY_BLOCKS, P, 2 * kv_heads * W)
    query = random.normal(3, kv_heads * 3, W)
    expected = reference.gqa_decode(query.double(), cache.double(), table, lens, kv_heads, SCALE)
    assert_near(gqa.gqa_decode(query, cache, table, lens, kv_heads, SCALE), expected, torch.float32)
    query = random.normal(T, kv_heads * 3, W)
    expected = reference.gqa_prefill(query.double(), cache.double(), table[1], start, kv_heads, SCALE, 64, 64)
    assert_near(gqa.gqa_prefill(query, cache, table[1], start, kv_heads, SCALE, 64, 64), expected, torch.float32)


def test_padding_may_hold_anything_and_a_request_without_keys_is_zero() -> None:
    random = Random(3)
    table, lengths = table_and_lengths(random, [5, 16])
    cache = random.normal(BLOCKS, P, L + R)
    query, up = random.normal(2, 2, N + R), random.normal(2, N, L)
    up_v = random.normal(2, V, L)
    expected = mla.mla_decode(query, cache, table, lengths, up, up_v, SCALE)
    cache[table[0, 1], 1:] = torch.nan
    found = mla.mla_decode(query[:1], cache, table[:1], lengths[:1], up, up_v, SCALE)
    torch.testing.assert_close(found, expected[:1])  # cut into other parts
    none = torch.zeros(1, dtype=torch.int64, device=DEVICE)
    assert not mla.mla_decode(query[:1], cache, table[:1], none, up, up_v, SCALE).any()


@KINDS
def test_mla_prefill_in_runs(dtype: torch.dtype, cache_dtype: torch.dtype) -> None:
    random, heads, start, T = Random(5), 2, 10, 21
    blocks = random.some(BLOCKS, 8)
    cache = random.normal(BLOCKS, P, L + R).to(cache_dtype)
    query = random.normal(T, heads, N + R, dtype=dtype)
    up_k, up_v = random.normal(heads, N, L, dtype=dtype, size=0.2), random.normal(heads, V, L, dtype=dtype, size=0.2)
    exact = (cache.double(), blocks, start, up_k.double(), up_v.double(), SCALE)
    expected = reference.mla_prefill(query.double(), *exact, 8, 8)
    for key_block in (8, 64):
        found = mla.mla_prefill(query, cache, blocks, start, up_k, up_v, SCALE, 8, key_block)
        assert_near(found, expected, dtype)


@KINDS
@pytest.mark.parametrize(("kv_heads", "shared"), [(2, 3), (1, 1)])
def test_gqa(
    dtype: torch.dtype, cache_dtype: torch.dtype, kv_heads: int, shared: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "LEAST_KEYS", 16)
    random, W, start, T = Random(7), 24, 6, 18
    table, lengths = table_and_lengths(random, [1, 40, 77])
    cache = random.normal(BLOCKS, P, 2 * kv_heads * W).to(cache_dtype)
    query = random.normal(3, kv_heads * shared, W, dtype=dtype)
    expected = reference.gqa_decode(query.double(), cache.double(), table, lengths, kv_heads, SCALE)
    assert_near(gqa.gqa_decode(query, cache, table, lengths, kv_heads, SCALE), expected, dtype)
    query = random.normal(T, kv_heads * shared, W, dtype=dtype)
    expected = reference.gqa_prefill(query.double(), cache.double(), table[2], start, kv_heads, SCALE, 8, 8)
    assert_near(gqa.gqa_prefill(query, cache, table[2], start, kv_heads, SCALE, 8, 8), expected, dtype)


@KINDS
@pytest.mark.parametrize("interleaved", [True, False])
def test_stores(dtype: torch.dtype, cache_dtype: torch.dtype, interleaved: bool) -> None:
    """Queries and what is written to the cache, from views of wider projections as the layers have them."""
    random, T, heads, W, kv_heads = Random(11), 5, 10, 24, 3
    turns = torch.polar(torch.full((T, R // 2), 1.1), random.normal(T, R // 2).cpu()).to(DEVICE)
    slots = random.some(BLOCKS * P, T)
    wide = random.normal(T, heads * (N + R) + L + R, dtype=dtype)
    query, latent, key = wide.split([heads * (N + R), L, R], dim=-1)
    query, norm = query.unflatten(-1, (heads, -1)), random.normal(L, dtype=dtype)
    caches = [torch.zeros(BLOCKS, P, L + R, dtype=cache_dtype, device=DEVICE) for _ in range(2)]
    found = rotary.mla_store(query, latent, key, norm, 1e-6, turns, interleaved, caches[0], slots)
    expected = reference.mla_store(query, latent, key, norm, 1e-6, turns, interleaved, caches[1], slots)
    assert_near(found, expected, dtype)
    assert_near(caches[0].float(), caches[1].float(), cache_dtype)

    turns = torch.polar(torch.ones(T, W // 2), random.normal(T, W // 2).cpu()).to(DEVICE)
    all_heads = random.normal(T, heads + 2 * kv_heads, W, dtype=dtype).split([heads, kv_heads, kv_heads], dim=1)
    norms = random.normal(W, dtype=dtype), random.normal(W, dtype=dtype)
    caches = [torch.zeros(BLOCKS, P, 2 * kv_heads * W, dtype=cache_dtype, device=DEVICE) for _ in range(2)]
    found = rotary.gqa_store(*all_heads, *norms, 1e-6, turns, interleaved, caches[0], slots)
    expected = reference.gqa_store(*all_heads, *norms, 1e-6, turns, interleaved, caches[1], slots)
    assert_near(found, expected, dtype)
    assert_near(caches[0].float(), caches[1].float(), cache_dtype)


def test_fp8_caches_saturate() -> None:
    """448 is the most of e4m3: beyond it comes NaN, which would spread."""
    cache = torch.zeros(1, P, 2 * 4, dtype=FP8, device=DEVICE)
    heads = torch.full((1, 1, 4), 1e6, device=DEVICE)
    ones, turns = torch.full((4,), 1e4, device=DEVICE), torch.ones(1, 2, dtype=torch.complex64, device=DEVICE)
    slot = torch.zeros(1, dtype=torch.int64, device=DEVICE)
    rotary.gqa_store(heads, heads, heads, ones, ones, 1e-6, turns, True, cache, slot)
    assert cache[0, 0].float().tolist() == [448.0] * 8
    reference.gqa_store(heads, heads, -heads, ones, ones, 1e-6, turns, True, cache, slot)
    assert cache[0, 0].float().tolist() == [448.0] * 4 + [-448.0] * 4
