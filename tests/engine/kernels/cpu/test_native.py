"""The native kernels against plain torch, which computes the same bfloat16 inputs in float32."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.kernels import reference, reference_attention
from engine.kernels.cpu.kernels import NativeKernels
from engine.kernels.cpu.library import Library, find_library
from engine.kernels.packed import Packed, dequantize, quantize

PATH = find_library()
SETS = Library(PATH).instruction_sets() if PATH is not None else []
pytestmark = pytest.mark.skipif(PATH is None, reason="the native kernels were not built: no C++ compiler")

BF16 = torch.bfloat16
FORMATS = ("plain", "fp8", "int8", "int4")
TOKENS = (1, 2, 3, 5, 6, 13, 40)


@pytest.fixture(scope="module", params=[(name, threads) for name in SETS for threads in (1, 3)], ids=str)
def native(request: pytest.FixtureRequest) -> Iterator[NativeKernels]:
    assert PATH is not None
    name, threads = request.param
    kernels = NativeKernels(Library(PATH))
    kernels.library.use(name)
    kernels.library.set_threads(threads)
    yield kernels
    kernels.library.set_threads(1)
    kernels.library.use(SETS[0])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(BF16)


def close(found: Tensor, exact: Tensor, steps: float = 4.0) -> None:
    """Within some rounding steps of bfloat16 (2**-8), relative to the largest value."""
    assert found.dtype == BF16
    assert found.shape == exact.shape
    bound = steps * 2**-8 * exact.float().abs().max().item()
    torch.testing.assert_close(found.float(), exact.float(), rtol=0, atol=bound)


def exact(packed: Packed) -> Packed:
    """The values of a packed matrix, as a plain one in float32."""
    return Packed("plain", dequantize(packed, torch.float32))


def matrix(format: Any, *shape: int, seed: int = 1) -> Packed:
    return quantize(normal(*shape, seed=seed) / shape[-1] ** 0.5, format, BF16)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("rows", "columns"), [(70, 128), (33, 288), (1, 32), (256, 96)])
def test_linear(native: NativeKernels, format: Any, rows: int, columns: int) -> None:
    weight = matrix(format, rows, columns)
    for tokens in TOKENS:
        x = normal(tokens, columns)
        close(native.linear(x, weight), reference.linear(x.float(), exact(weight)))


@pytest.mark.parametrize("columns", [1, 31, 50, 129])
def test_linear_of_odd_widths(native: NativeKernels, columns: int) -> None:
    for format in ("plain", "fp8"):
        weight = matrix(format, 37, columns)
        for tokens in (1, 7):
            x = normal(tokens, columns + 5)[:, 2 : 2 + columns]  # rows that lie apart
            close(native.linear(x, weight), reference.linear(x.float(), exact(weight)))


def test_int4_of_published_scales_in_float(native: NativeKernels) -> None:
    weight = quantize(normal(48, 64), "int4", torch.float32)
    x = normal(3, 64)
    close(native.linear(x, weight), reference.linear(x.float(), exact(weight)))


def test_fp8_below_the_normal_range_and_nan(native: NativeKernels) -> None:
    every = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn)
    values = torch.zeros(256, 32, dtype=torch.float8_e4m3fn)
    values[:, 3] = every
    found = native.linear(torch.ones(1, 32, dtype=BF16), Packed("fp8", values, torch.ones(2, 1)))
    torch.testing.assert_close(found[0].float(), every.float(), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("tokens", [1, 4, 17, 90])
def test_experts(native: NativeKernels, format: Any, tokens: int) -> None:
    E, K, D, F = 5, 2, 96, 64
    gate_up, down = matrix(format, E, 2 * F, D), matrix(format, E, D, F, seed=2)
    x, weights = normal(tokens, D), torch.rand(tokens, K)
    ids = torch.stack([torch.randperm(E, generator=torch.Generator().manual_seed(t))[:K] for t in range(tokens)])
    expected = reference.moe_experts(x.float(), weights, ids, exact(gate_up), exact(down))
    close(native.moe_experts(x, weights, ids, gate_up, down), expected)


@pytest.mark.parametrize("tokens", [1, 30])
@pytest.mark.parametrize("width", [64, 40, 7])
def test_mlp(native: NativeKernels, tokens: int, width: int) -> None:
    gate_up, down = matrix("plain", 2 * width, 72), matrix("plain", 72, width)
    x = normal(tokens, 72)
    close(native.mlp(x, gate_up, down), reference.mlp(x.float(), exact(gate_up), exact(down)))


@pytest.mark.parametrize("width", [64, 100, 3])
def test_add_and_embedding(native: NativeKernels, width: int) -> None:
    x, delta = normal(9, width), normal(9, width, seed=1)
    torch.testing.assert_close(native.add(x, delta), reference.add(x, delta), rtol=0, atol=0)
    ids = torch.tensor([3, 0, 8, 3])
    torch.testing.assert_close(native.embedding(ids, x), reference.embedding(ids, x), rtol=0, atol=0)


@pytest.mark.parametrize("width", [64, 100, 3])
def test_xielu(native: NativeKernels, width: int) -> None:
    x = normal(9, width + 3)[:, :width] * 8
    x[0, :3] = torch.tensor([0.0, -1e-5, -0.4])
    for alphas in ((0.8, 0.3), (25.0, -4.0)):
        p, n = (torch.tensor([alpha], dtype=BF16) for alpha in alphas)
        torch.testing.assert_close(
            native.xielu(x, p, n).float(), reference.xielu(x.float(), p, n), rtol=2**-8, atol=4e-6
        )


def test_turns(native: NativeKernels) -> None:
    positions, frequencies = torch.tensor([0, 1, 77, 4095, 131071]), torch.tensor([1.0, 0.1, 3e-3])
    found, expected = native.turns(positions, frequencies, 1.2), reference.turns(positions, frequencies, 1.2)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("width", [64, 100, 3])
def test_norms(native: NativeKernels, width: int) -> None:
    x, delta, weight = normal(9, width + 3)[:, :width], normal(9, width, seed=1), normal(width, seed=2)
    close(native.rms_norm(x, weight, 1e-6), reference.rms_norm(x.float(), weight.float(), 1e-6), steps=1)
    total, normed = native.add_rms_norm(x, delta, weight, 1e-6)
    close(total, x.float() + delta.float(), steps=1)
    close(normed, reference.rms_norm(total.float(), weight.float(), 1e-6), steps=1)


@pytest.mark.parametrize(("groups", "kept"), [(1, 1), (4, 2)])
@pytest.mark.parametrize("normalize", [True, False])
def test_route(native: NativeKernels, groups: int, kept: int, normalize: bool) -> None:
    gate, bias = normal(16, 80).float(), normal(16, seed=3).float()
    options: dict[str, Any] = {"experts_per_token": 3, "groups": groups, "groups_kept": kept, "normalize": normalize}
    for tokens in (1, 33):
        x = normal(tokens, 80, seed=4) / 4
        same_choice(
            native.route(x, gate, bias, **options, scale=2.5), reference.route(x, gate, bias, **options, scale=2.5)
        )
        soft: dict[str, Any] = {"experts_per_token": 3, "normalize": normalize}
        same_choice(native.route_softmax(x, gate, **soft), reference.route_softmax(x, gate, **soft))


def same_choice(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    """The same experts with the same weights, in any order."""
    dense = [torch.zeros(len(ids), 16).scatter_(1, ids, weights) for weights, ids in (found, expected)]
    torch.testing.assert_close(dense[0], dense[1], rtol=1e-4, atol=1e-5)


def test_a_token_that_is_not_a_number_visits_valid_experts(native: NativeKernels) -> None:
    x = torch.full((2, 80), float("nan"), dtype=BF16)
    _, ids = native.route(
        x,
        normal(16, 80).float(),
        torch.zeros(16),
        experts_per_token=3,
        groups=4,
        groups_kept=2,
        normalize=True,
        scale=1.0,
    )
    assert all(len(set(row)) == 3 and set(row) <= set(range(16)) for row in ids.tolist())


def turns(tokens: int, width: int) -> Tensor:
    angles = torch.rand(tokens, width // 2, generator=torch.Generator().manual_seed(5)) * 6
    return torch.polar(torch.ones_like(angles), angles)


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("tokens", [1, 6])
def test_mla_store(native: NativeKernels, interleaved: bool, tokens: int) -> None:
    H, N, R, L, P = 3, 16, 8, 40, 4
    first = normal(tokens, H * (N + R) + L + R)
    query, latent, key = torch.split(first, [H * (N + R), L, R], dim=-1)
    arguments = (normal(L, seed=1), 1e-6, turns(tokens, R), interleaved)
    slots = torch.randperm(5 * P, generator=torch.Generator().manual_seed(1))[:tokens]
    caches = [torch.zeros(5, P, L + R, dtype=dtype) for dtype in (BF16, torch.float32)]
    found = native.mla_store(torch.unflatten(query, -1, (H, -1)), latent, key, *arguments, caches[0], slots)
    query, latent, key = query.float(), latent.float(), key.float()
    arguments = (arguments[0].float(), *arguments[1:])
    expected = reference_attention.mla_store(
        torch.unflatten(query, -1, (H, -1)), latent, key, *arguments, caches[1], slots
    )
    close(found, expected, steps=1)
    close(caches[0], caches[1], steps=1)


@pytest.mark.parametrize("interleaved", [True, False])
def test_gqa_store(native: NativeKernels, interleaved: bool) -> None:
    T, H, G, W, P = 5, 6, 2, 24, 4
    query, key, value = torch.split(normal(T, H + 2 * G, W), [H, G, G], dim=1)
    norms, where = (normal(W, seed=1), normal(W, seed=2)), torch.tensor([3, 9, 0, 17, 4])
    caches = [torch.zeros(5, P, 2 * G * W, dtype=dtype) for dtype in (BF16, torch.float32)]
    found = native.gqa_store(query, key, value, *norms, 1e-6, turns(T, W), interleaved, caches[0], where)
    expected = reference_attention.gqa_store(
        query.float(),
        key.float(),
        value.float(),
        norms[0].float(),
        norms[1].float(),
        1e-6,
        turns(T, W),
        interleaved,
        caches[1],
        where,
    )
    close(found, expected, steps=2)
    close(caches[0], caches[1], steps=2)


LENGTHS = ([1], [5, 130], [64, 65, 700], [40] * 9)


def paged(lengths: list[int], width: int, block_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """A cache, block tables padded with block 0, and lengths; what is beyond them is not a number."""
    blocks = [-(-length // block_size) for length in lengths]
    cache = normal(sum(blocks) + 1, block_size, width)
    order = torch.randperm(sum(blocks), generator=torch.Generator().manual_seed(2)) + 1
    table = torch.zeros(len(lengths), max(blocks), dtype=torch.int64)
    cache[0] = float("nan")
    for row, (count, held) in enumerate(zip(blocks, order.split(blocks), strict=True)):
        table[row, :count] = held
        cache[held[-1], lengths[row] - (count - 1) * block_size :] = float("nan")
    return cache, table, torch.tensor(lengths)


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_mla_decode(native: NativeKernels, lengths: list[int]) -> None:
    for H, N, R, L, V in ((3, 16, 8, 40, 12), (9, 32, 64, 128, 32)):
        cache, table, lens = paged(lengths, L + R, 16)
        query, up_k, up_v = normal(len(lengths), H, N + R), normal(H, N, L) / N**0.5, normal(H, V, L) / L**0.5
        found = native.mla_decode(query, cache, table, lens, up_k, up_v, 0.1)
        expected = reference_attention.mla_decode(
            query.float(), cache.float(), table, lens, up_k.float(), up_v.float(), 0.1
        )
        close(found, expected)


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_gqa_decode(native: NativeKernels, lengths: list[int]) -> None:
    for H, G, W in ((6, 2, 24), (8, 8, 64), (16, 1, 128)):
        cache, table, lens = paged(lengths, 2 * G * W, 16)
        query = normal(len(lengths), H, W)
        found = native.gqa_decode(query, cache, table, lens, G, 0.2)
        close(found, reference_attention.gqa_decode(query.float(), cache.float(), table, lens, G, 0.2))


@pytest.mark.parametrize(("start", "tokens"), [(0, 2), (0, 70), (37, 9), (300, 3), (250, 300)])
def test_prefill(native: NativeKernels, start: int, tokens: int) -> None:
    cache, table, _ = paged([start + tokens], 40 + 8, 16)
    query, up_k, up_v = normal(tokens, 3, 24), normal(3, 16, 40) / 4, normal(3, 12, 40) / 6
    found = native.mla_prefill(query, cache, table[0], start, up_k, up_v, 0.2, 256, 256)
    given = query.float(), cache.float(), table[0], start
    close(found, reference_attention.mla_prefill(*given, up_k.float(), up_v.float(), 0.2, 64, 64))

    cache, table, _ = paged([start + tokens], 2 * 2 * 24, 16)
    query = normal(tokens, 6, 24)
    found = native.gqa_prefill(query, cache, table[0], start, 2, 0.2, 256, 256)
    close(found, reference_attention.gqa_prefill(query.float(), cache.float(), table[0], start, 2, 0.2, 64, 64))


def test_answers_do_not_depend_on_threads_or_company() -> None:
    assert PATH is not None
    kernels = NativeKernels(Library(PATH))
    weight, x = matrix("plain", 512, 512), normal(5, 512)
    answers = []
    for threads in (1, 4):
        kernels.library.set_threads(threads)
        answers += [kernels.linear(x, weight), torch.cat([kernels.linear(row, weight) for row in x.split(1)])]
    kernels.library.set_threads(1)
    assert all(torch.equal(answer, answers[0]) for answer in answers)


def test_float32_is_computed_by_plain_torch() -> None:
    assert PATH is not None
    kernels, x = NativeKernels(Library(PATH)), normal(3, 32).float()
    weight = Packed("plain", normal(8, 32).float())
    assert torch.equal(kernels.linear(x, weight), reference.linear(x, weight))
