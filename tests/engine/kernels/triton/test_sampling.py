"""Drawing in Triton against the definitions, written out in plain Python with the same order of ids."""

import math
import random as python_random

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from support.triton_kernels import DEVICE, Random

from engine.kernels.triton import sampling
from engine.messages import SamplingParams
from engine.runner.sampler import Sampler
from engine.scheduling.plan import NO_TOKEN, NewRow

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def drawn(logits: list[float], temperature: float, top_k: int, top_p: float, min_p: float, noise: float) -> int:
    """By the definitions."""
    ranked = sorted(range(len(logits)), key=lambda token: (-logits[token], token))
    if temperature <= 1e-5:
        return ranked[0]
    peak = logits[ranked[0]]
    weights = [math.exp((value - peak) / temperature) for value in logits]
    ranked = [token for token in ranked[: top_k or len(ranked)] if weights[token] >= min_p]
    mass, kept, before = sum(weights[token] for token in ranked), [], 0.0
    for token in ranked:
        if top_p < 1 and kept and before >= top_p * mass:
            break
        kept.append(token)
        before += weights[token]
    target, running = noise * sum(weights[token] for token in kept), 0.0
    for token in sorted(kept):
        running += weights[token]
        if running > target:
            return token
    return max(kept)


def test_tokens_are_those_of_the_definitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coarse logits, so that many are equal where a filter ends; rows in several pieces."""
    monkeypatch.setattr(sampling, "WIDEST", 64)
    rows, V, rng = 14, 100, python_random.Random(1)
    logits = (Random(1).normal(rows, V) * 3).round() / 2
    logits[3, 10:90] = -torch.inf
    how = [
        [
            rng.choice([0.0, 0.5, 1.0, 1.7]),
            rng.choice([0, 0, 1, 7, 40, 1000]),
            rng.choice([1.0, 1.0, 0.9, 0.3]),
            rng.choice([0.0, 0.0, 0.05, 0.4]),
            rng.random(),
        ]
        for _ in range(rows)
    ]
    found = sampling.draw(logits, torch.tensor(how, dtype=torch.float64, device=DEVICE)).tolist()
    expected = [drawn(row, *settings) for row, settings in zip(logits.tolist(), how, strict=True)]  # type: ignore[arg-type]
    assert found == expected


def test_logits_that_are_not_numbers_give_no_token() -> None:
    logits = Random(2).normal(4, 20)
    logits[0, 3], logits[1], logits[2, 5] = torch.nan, -torch.inf, torch.inf
    how = torch.tensor([[1.0, 0, 1.0, 0.0, 0.5]] * 4, dtype=torch.float64, device=DEVICE)
    found = sampling.draw(logits, how).tolist()
    assert found[:3] == [-1, -1, -1]
    assert 0 <= found[3] < 20


def test_the_sampler_draws_by_it() -> None:
    """One copy of token ids back, and the same tokens as in plain torch where no filter is set."""
    rows = [
        SamplingParams(max_tokens=1, seed=5),
        SamplingParams(max_tokens=1, temperature=0.0),
        SamplingParams(max_tokens=1, seed=9, temperature=0.7, frequency_penalty=0.5),
    ]
    logits = Random(4).normal(3, 60)
    found = []
    for draw in (None, sampling.draw):
        sampler = Sampler(3, 60, DEVICE, draw)
        for row, params in enumerate(rows):
            sampler.add_row(NewRow(row, params, (1, 2, 3), 2))
        found.append(sampler.sample(logits.clone(), range(3)).token_ids)
    assert found[0] == found[1]
    sampler = Sampler(1, 60, DEVICE, sampling.draw)
    sampler.add_row(NewRow(0, rows[0], (1, 2, 3), 2))
    assert sampler.sample(logits[:1] * torch.nan, [0]).token_ids == [NO_TOKEN]
