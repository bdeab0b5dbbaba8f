"""The sampler against a plain-Python reading of the definitions, and its promises about batches."""

import math
from collections import Counter
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.messages import SamplingParams
from engine.runner import sampler as sampler_module
from engine.runner.noise import uniform
from engine.runner.sampler import Sampler
from engine.scheduling.plan import NO_TOKEN, NewRow

CPU = torch.device("cpu")
VOCABULARY = 40


def make_sampler(*params: SamplingParams, prompt: tuple[int, ...] = (1, 2, 3)) -> Sampler:
    sampler = Sampler(len(params), VOCABULARY, CPU)
    for row, sampling in enumerate(params):
        sampler.add_row(NewRow(row, sampling, prompt, len(prompt)))
    return sampler


def random_logits(rows: int, seed: int = 0, scale: float = 2.0) -> torch.Tensor:
    return torch.randn(rows, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * scale


def allowed_tokens(logits: list[float], params: SamplingParams) -> dict[int, float]:
    """Token -> probability after temperature, min_p, top_k and top_p, written from their definitions."""
    peak = max(logits)
    weights = [math.exp((value - peak) / params.temperature) for value in logits]
    probs = {token: weight / sum(weights) for token, weight in enumerate(weights)}
    ranked = sorted(probs, key=lambda token: -probs[token])
    ranked = [token for token in ranked if probs[token] >= params.min_p * probs[ranked[0]]]
    ranked = ranked[: params.top_k or len(ranked)]
    total = sum(probs[token] for token in ranked)
    kept, mass = [], 0.0
    for token in ranked:
        if mass >= params.top_p * total:
            break
        kept.append(token)
        mass += probs[token]
    total = sum(probs[token] for token in kept)
    return {token: probs[token] / total for token in kept}


filters = st.builds(
    SamplingParams,
    max_tokens=st.just(1),
    temperature=st.floats(0.2, 2.0),
    top_p=st.sampled_from([1.0, 0.95, 0.6, 0.05]),
    top_k=st.sampled_from([0, 1, 5, 30, 1000]),
    min_p=st.sampled_from([0.0, 0.01, 0.3]),
    seed=st.integers(-(2**63), 2**63 - 1),
)


@pytest.mark.parametrize("candidates", [3, 512])
def test_filters_keep_what_their_definitions_say(candidates: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler_module, "CANDIDATES", candidates)

    @settings(max_examples=150, deadline=None)
    @given(params=st.lists(filters, min_size=1, max_size=4), seed=st.integers(0, 10**6))
    def check(params: list[SamplingParams], seed: int) -> None:
        logits = random_logits(len(params), seed)
        tokens = make_sampler(*params).sample(logits.clone(), range(len(params))).token_ids
        for row, token in enumerate(tokens):
            assert token in allowed_tokens(logits[row].tolist(), params[row])

    check()


@pytest.mark.parametrize("changes", [{}, {"top_p": 0.8}, {"top_k": 6, "min_p": 0.02}, {"temperature": 0.5}])
def test_tokens_come_as_often_as_they_should(changes: dict[str, float]) -> None:
    draws = 4000
    params = [SamplingParams(max_tokens=1, seed=seed, **changes) for seed in range(draws)]  # type: ignore[arg-type]
    logits = random_logits(1, seed=5)
    tokens = make_sampler(*params).sample(logits.expand(draws, -1).clone(), range(draws)).token_ids
    counts, expected = Counter(tokens), allowed_tokens(logits[0].tolist(), params[0])
    assert set(counts) <= set(expected)
    chi_square = sum((counts[token] - draws * p) ** 2 / (draws * p) for token, p in expected.items())
    freedom = len(expected) - 1
    assert chi_square < freedom + 5 * math.sqrt(2 * freedom)


def test_temperature_zero_is_the_most_likely_token() -> None:
    logits = random_logits(3)
    params = [SamplingParams(max_tokens=1, temperature=0.0, top_p=0.5, seed=seed) for seed in range(3)]
    assert make_sampler(*params).sample(logits.clone(), range(3)).token_ids == logits.argmax(-1).tolist()


@settings(max_examples=60, deadline=None)
@given(params=st.lists(filters, min_size=2, max_size=6))
def test_a_row_draws_the_same_alone_and_among_others(params: list[SamplingParams]) -> None:
    logits = random_logits(len(params), seed=len(params))
    together = make_sampler(*params).sample(logits.clone(), range(len(params))).token_ids
    for row, sampling in enumerate(params):
        assert make_sampler(sampling).sample(logits[row : row + 1].clone(), [0]).token_ids == [together[row]]


def test_a_preempted_row_goes_on_with_the_same_noise_and_penalties() -> None:
    params = SamplingParams(max_tokens=50, seed=11, frequency_penalty=0.7, repetition_penalty=1.3)
    sampler, tokens = make_sampler(params), []
    for step in range(20):
        tokens += sampler.sample(random_logits(1, step), [0]).token_ids
    resumed = Sampler(1, VOCABULARY, CPU)
    resumed.add_row(NewRow(0, params, (1, 2, 3, *tokens[:10]), 3))
    assert [resumed.sample(random_logits(1, step), [0]).token_ids[0] for step in range(10, 20)] == tokens[10:]


def test_penalties_follow_their_formulas() -> None:
    params = SamplingParams(
        max_tokens=9, temperature=0.0, repetition_penalty=2.0, frequency_penalty=0.5, presence_penalty=0.25
    )
    row = NewRow(0, params, (1, 2, 7, 7), 2)  # prompt 1 2, output 7 7
    sampler = Sampler(1, VOCABULARY, CPU)
    sampler.add_row(row)
    logits = torch.full((1, VOCABULARY), -10.0)
    logits[0, [1, 7, 9]] = torch.tensor([8.0, 9.0, 3.0])
    # 1: 8 / 2 = 4; 7: 9 / 2 - 2 * 0.5 - 0.25 = 3.25; 9 is new: 3; negative ones are multiplied
    used = logits.clone()
    assert sampler.sample(used, [0]).token_ids == [1]
    assert used[0, [1, 7, 9, 2, 3]].tolist() == [4.0, 3.25, 3.0, -20.0, -10.0]


def test_logit_bias_moves_tokens_in_and_out() -> None:
    ban = SamplingParams(max_tokens=1, temperature=0.0, logit_bias={int(random_logits(1).argmax()): -100.0})
    force = SamplingParams(max_tokens=1, seed=4, logit_bias={17: 100.0})
    logits = random_logits(1).expand(2, -1).clone()
    expected = int(logits[0].topk(2).indices[1])
    assert make_sampler(ban, force).sample(logits, [0, 1]).token_ids == [expected, 17]


def test_no_stop_token_before_min_tokens() -> None:
    params = SamplingParams(max_tokens=9, temperature=0.0, min_tokens=2, stop_token_ids=(5, 6))
    sampler = make_sampler(params)
    logits = torch.zeros(1, VOCABULARY)
    logits[0, [5, 6, 9]] = torch.tensor([9.0, 8.0, 1.0])
    assert [sampler.sample(logits.clone(), [0]).token_ids[0] for _ in range(3)] == [9, 9, 5]


def test_logprobs_are_the_models_own_and_sorted() -> None:
    params = SamplingParams(max_tokens=1, seed=3, temperature=0.3, logit_bias={2: 50.0}, logprobs=4)
    logits = random_logits(2, seed=8)
    expected = torch.log_softmax(logits[0], -1)
    result = make_sampler(params, SamplingParams(max_tokens=1)).sample(logits.clone(), [0, 1])
    reported = result.logprobs[0]
    assert reported is not None
    assert result.logprobs[1] is None
    assert reported.logprob == pytest.approx(expected[2].item())
    assert [token for token, _ in reported.top] == expected.topk(4).indices.tolist()
    assert [value for _, value in reported.top] == pytest.approx(expected.topk(4).values.tolist())


def test_logits_that_are_not_numbers_fail_their_row_only() -> None:
    params = [SamplingParams(max_tokens=1, temperature=t, seed=1, top_p=p) for t, p in [(0, 1), (1, 1), (1, 0.5)]]
    logits = random_logits(6)
    logits[3:, 7] = torch.nan
    tokens = make_sampler(*params, *params).sample(logits.clone(), range(6)).token_ids
    assert tokens[3:] == [NO_TOKEN] * 3
    assert tokens[:3] == make_sampler(*params).sample(logits[:3].clone(), range(3)).token_ids


def test_noise_is_even_and_independent() -> None:
    values = [uniform(seed, position) for seed in range(-50, 50) for position in range(100)]
    assert all(0 <= value < 1 for value in values)
    assert len(set(values)) == len(values)
    histogram = Counter(int(value * 20) for value in values)
    chi_square = sum((histogram[bin_] - 500) ** 2 / 500 for bin_ in range(20))
    assert chi_square < 19 + 5 * math.sqrt(38)
    neighbours = [(a - 0.5) * (b - 0.5) for a, b in pairwise(values)]
    assert abs(sum(neighbours) / len(neighbours)) < 0.004  # standard error 0.0008
