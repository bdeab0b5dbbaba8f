"""The reference kernels against definitions written out the slow way."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from engine.kernels import reference, reference_attention
from engine.kernels.packed import Packed

ROUTE = {"experts_per_token": 2, "groups": 2, "groups_kept": 1, "normalize": True, "scale": 1.0}


def route_slowly(
    hidden: Tensor, gate: Tensor, bias: Tensor, *, top_k: int, groups: int, kept: int, dropped: float
) -> list[set[int]]:
    """Experts of each token, by the published recipe; `dropped` stands in for the experts of dropped groups."""
    chosen = []
    for scores in (hidden @ gate.T).sigmoid() + bias:
        by_group = scores.view(groups, -1)
        strength = by_group.sort(descending=True).values[:, :2].sum(-1)
        keep = set(strength.argsort(descending=True)[:kept].tolist())
        masked = [
            score if index // by_group.shape[1] in keep else dropped for index, score in enumerate(scores.tolist())
        ]
        chosen.append(set(sorted(range(len(masked)), key=lambda index: -masked[index])[:top_k]))
    return chosen


def test_dropped_groups_stay_out_even_when_the_kept_scores_are_negative() -> None:
    """The case in which filling with 0, as some implementations did, gives other experts than the published -inf."""
    hidden, gate = torch.ones(1, 1), torch.zeros(4, 1)  # every raw score is 0.5
    bias = torch.tensor([0.4, -0.9, -1.0, -1.0])  # groups {0, 1} and {2, 3}; biased 0.9 -0.4 | -0.5 -0.5
    weights, ids = reference.route(hidden, gate, bias, **ROUTE)
    assert set(ids[0].tolist()) == {0, 1}
    assert weights[0].tolist() == [0.5, 0.5]
    slow = {"top_k": 2, "groups": 2, "kept": 1}
    assert route_slowly(hidden, gate, bias, **slow, dropped=-math.inf) == [{0, 1}]
    assert route_slowly(hidden, gate, bias, **slow, dropped=0.0) == [{0, 2}]


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 2**31),
    shape=st.sampled_from([(1, 1, 3), (4, 2, 3), (4, 1, 2), (2, 2, 5), (8, 4, 8)]),
    normalize=st.booleans(),
)
def test_route_is_the_published_recipe(seed: int, shape: tuple[int, int, int], normalize: bool) -> None:
    groups, kept, top_k = shape
    generator = torch.Generator().manual_seed(seed)
    hidden, gate = torch.randn(6, 8, generator=generator), torch.randn(24, 8, generator=generator)
    bias = torch.randn(24, generator=generator)
    weights, ids = reference.route(
        hidden, gate, bias, experts_per_token=top_k, groups=groups, groups_kept=kept, normalize=normalize, scale=2.5
    )
    expected = route_slowly(hidden, gate, bias, top_k=top_k, groups=groups, kept=kept, dropped=-math.inf)
    assert [set(row) for row in ids.tolist()] == expected
    raw = (hidden @ gate.T).sigmoid().gather(1, ids)  # the bias is in the choice, not in the weights
    torch.testing.assert_close(weights, 2.5 * (raw / raw.sum(-1, keepdim=True) if normalize else raw))


def test_route_is_fp32_whatever_the_hidden_state_is() -> None:
    hidden, gate, bias = torch.randn(5, 16).bfloat16(), torch.randn(8, 16), torch.randn(8)
    weights, ids = reference.route(hidden, gate, bias, **ROUTE)
    exact_weights, exact_ids = reference.route(hidden.float(), gate, bias, **ROUTE)
    assert weights.dtype == torch.float32
    assert torch.equal(ids, exact_ids)
    assert torch.equal(weights, exact_weights)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**31), tokens=st.integers(1, 9), experts=st.integers(2, 6), data=st.data())
def test_experts_are_a_weighted_sum(seed: int, tokens: int, experts: int, data: st.DataObject) -> None:
    top_k = data.draw(st.integers(1, experts))
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(tokens, 8, generator=generator)
    gate_up, down = torch.randn(experts, 10, 8, generator=generator), torch.randn(experts, 8, 5, generator=generator)
    weights = torch.rand(tokens, top_k, generator=generator)
    ids = torch.stack([torch.randperm(experts, generator=generator)[:top_k] for _ in range(tokens)])
    expected = torch.zeros(tokens, 8)
    for token in range(tokens):
        for expert, weight in zip(ids[token].tolist(), weights[token], strict=True):
            gate, up = (gate_up[expert] @ hidden[token]).split(5)
            expected[token] += weight * (down[expert] @ (functional.silu(gate) * up))
    torch.testing.assert_close(
        reference.moe_experts(hidden, weights, ids, Packed("plain", gate_up), Packed("plain", down)),
        expected,
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("interleaved", [True, False])
def test_rotary_turns_each_pair_by_its_angle(interleaved: bool) -> None:
    x, angles = torch.randn(3, 2, 6), torch.randn(3, 3)
    out = reference.rotary(x, torch.polar(torch.ones_like(angles), angles), interleaved)
    for pair in range(3):
        first, second = (2 * pair, 2 * pair + 1) if interleaved else (pair, pair + 3)
        cos, sin = angles[:, None, pair].cos(), angles[:, None, pair].sin()
        torch.testing.assert_close(out[..., 2 * pair], x[..., first] * cos - x[..., second] * sin)
        torch.testing.assert_close(out[..., 2 * pair + 1], x[..., second] * cos + x[..., first] * sin)


def test_rms_norm_computes_in_fp32() -> None:
    x, weight = (torch.randn(4, 64) * 100).bfloat16(), torch.rand(64).bfloat16()
    exact = x.double() / (x.double().square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight.double()
    torch.testing.assert_close(reference.rms_norm(x, weight, 1e-5).double(), exact, rtol=2**-7, atol=1e-6)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    start=st.integers(0, 30),
    tokens=st.integers(1, 20),
    block_size=st.integers(1, 7),
    query_block=st.integers(1, 24),
    key_block=st.integers(1, 24),
)
def test_both_forms_of_attention_are_one(
    seed: int, start: int, tokens: int, block_size: int, query_block: int, key_block: int
) -> None:
    """Expanded prefill in blocks, and absorbed decode of each token, against softmax over expanded keys at once."""
    H, N, R, L, V, S = 3, 4, 2, 5, 6, start + tokens
    generator = torch.Generator().manual_seed(seed)
    blocks = -(-S // block_size)
    cache = torch.randn(blocks + 4, block_size, L + R, generator=generator)
    table = torch.randperm(blocks + 4, generator=generator)[:blocks]
    query = 2 * torch.randn(tokens, H, N + R, generator=generator)
    up_k, up_v = torch.randn(H, N, L, generator=generator), torch.randn(H, V, L, generator=generator)

    cached = cache[table].flatten(0, 1)[:S]
    keys = torch.cat([torch.einsum("hnl,sl->shn", up_k, cached[:, :L]), cached[:, None, L:].expand(S, H, R)], dim=-1)
    scores = torch.einsum("thq,shq->hts", query, keys) * 0.3
    scores = scores.masked_fill(torch.arange(S) > torch.arange(start, S)[:, None], -math.inf)
    expected = torch.einsum("hts,shv->thv", scores.softmax(-1), torch.einsum("hvl,sl->shv", up_v, cached[:, :L]))

    prefill = reference_attention.mla_prefill(query, cache, table, start, up_k, up_v, 0.3, query_block, key_block)
    torch.testing.assert_close(prefill, expected, rtol=1e-4, atol=1e-4)

    tables, lens = table.expand(tokens, -1), torch.arange(start, S) + 1
    decode = reference_attention.mla_decode(query, cache, tables, lens, up_k, up_v, 0.3)
    torch.testing.assert_close(decode, expected, rtol=1e-4, atol=1e-4)
