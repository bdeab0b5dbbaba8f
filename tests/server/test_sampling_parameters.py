"""Defaults, overrides and bounds of sampling parameters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Ready
from server.errors import InvalidRequest
from server.sampling import SamplingDefaults, SamplingOverrides, allowed_tokens, resolve, sequence_seed


def ready(max_model_len: int, kv_tokens: int) -> Ready:
    return Ready("X", 1, "float32", "cpu", 10, max_model_len, kv_tokens, [])


@given(st.integers(0, 300), st.none() | st.integers(1, 300), st.integers(1, 200), st.integers(1, 200))
def test_what_is_allowed_fits_and_what_fits_is_allowed(
    prompt: int, wanted: int | None, max_model_len: int, kv_tokens: int
) -> None:
    limit = min(max_model_len, kv_tokens)
    if prompt + (wanted or 1) > limit:
        with pytest.raises(InvalidRequest) as caught:
            allowed_tokens(prompt, wanted, ready(max_model_len, kv_tokens))
        assert caught.value.code == "context_length_exceeded"
        assert str(limit) in caught.value.message
        assert str(prompt) in caught.value.message
    else:
        allowed = allowed_tokens(prompt, wanted, ready(max_model_len, kv_tokens))
        assert allowed == (limit - prompt if wanted is None else wanted)


def test_the_client_overrides_the_checkpoint_even_with_zero() -> None:
    defaults = SamplingDefaults(temperature=0.6, top_p=0.9, top_k=20, min_p=0.1, repetition_penalty=1.2)
    sampling = resolve(SamplingOverrides(), defaults, frozenset({1, 2}), 10, 3)
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.6, 0.9, 20)
    assert (sampling.min_p, sampling.repetition_penalty) == (0.1, 1.2)
    zeros = SamplingOverrides(temperature=0, top_p=1, top_k=0, min_p=0, repetition_penalty=1)
    sampling = resolve(zeros, defaults, frozenset({1, 2}), 10, 3)
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0, 1, 0)
    assert (sampling.min_p, sampling.repetition_penalty) == (0, 1)
    assert sampling.seed == 3


def test_stop_tokens() -> None:
    eos = frozenset({1, 2})
    own = SamplingOverrides(stop_token_ids=(2, 5))
    assert resolve(own, SamplingDefaults(), eos, 9, 0).stop_token_ids == (1, 2, 5)
    own = SamplingOverrides(stop_token_ids=(5,), ignore_eos=True)
    assert resolve(own, SamplingDefaults(), eos, 9, 0).stop_token_ids == (5,)


@given(st.integers(-(2**63), 2**63 - 1))
def test_seeds_of_sequences_differ_and_fit_the_wire(seed: int) -> None:
    seeds = [sequence_seed(seed, index) for index in range(16)]
    assert len(set(seeds)) == 16
    assert all(0 <= one < 2**63 for one in seeds)
    if seed >= 0:
        assert seeds[0] == seed
