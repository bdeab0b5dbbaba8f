"""The arithmetic of capacity against published figures, and against the engine's own plan."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.capacity import Hardware, changes_that_fit, plan_capacity, rank_kv_bytes, rank_weights, speed, touched
from engine.errors import ConfigError
from engine.kernels.formats import Formats
from engine.models.config import MLAConfig
from engine.models.published import model_config, published_names
from engine.models.sizes import count_parameters

H200 = Hardware(8, 141 * 10**9, 4.8e12)


def k25_experts(formats: Formats | None = None) -> int:
    """Bytes of all routed experts of Kimi K2, in INT4 unless said otherwise."""
    k25 = model_config("Kimi-K2.5")
    return rank_weights(k25, formats or k25.formats, 1)["experts"]


def test_experts_of_kimi() -> None:
    """One expert has 44.04 million parameters; all of them, 1.0147 trillion."""
    k2 = model_config("moonshotai/Kimi-K2-Instruct")
    assert k2.formats == Formats(linear="fp8", experts="fp8")
    assert count_parameters(k2)["experts"] == 60 * 384 * 44_040_192
    assert count_parameters(k2)["experts"] == pytest.approx(1.0147e12, rel=1e-4)
    assert count_parameters(k2)["experts"] * 8 / 384 == pytest.approx(21.1e9, rel=2e-3)
    one = 60 * 384
    assert k25_experts(Formats()) / one == pytest.approx(88e6, rel=2e-3)
    assert rank_weights(k2, k2.formats, 1)["experts"] / one == pytest.approx(44e6, rel=2e-3)
    assert k25_experts() / one == pytest.approx(24.8e6, rel=2e-3)
    assert k25_experts() / 60 == pytest.approx(9.51e9, rel=1e-3)
    assert k25_experts() == pytest.approx(571e9, rel=1e-3)


def test_a_checkpoint_in_int4_is_as_large_as_the_published_one() -> None:
    """594 to 595 GB, as reported, with what sees."""
    k25 = model_config("Kimi-K2.5")
    assert sum(rank_weights(k25, k25.formats, 1).values()) == pytest.approx(594e9, rel=5e-3)


def test_cache_of_one_token() -> None:
    k25 = model_config("Kimi-K2.5")
    assert rank_kv_bytes(k25, k25.formats, 8) == rank_kv_bytes(k25, k25.formats, 1) == 576 * 61 * 2 == 70_272
    assert rank_kv_bytes(k25, k25.formats, 1) * 131_072 == pytest.approx(9.2e9, rel=2e-3)
    assert rank_kv_bytes(k25, k25.formats, 1) * 262_144 == pytest.approx(18.4e9, rel=2e-3)
    attention = k25.attention
    assert isinstance(attention, MLAConfig)
    expanded = attention.heads * (attention.nope + attention.rotary + attention.value) * 61 * 2
    assert expanded == pytest.approx(2.5e6, rel=2e-3)
    assert expanded / rank_kv_bytes(k25, k25.formats, 1) == pytest.approx(35.6, abs=0.05)
    assert rank_kv_bytes(k25, replace(k25.formats, kv="fp8"), 1) == 70_272 // 2
    assert rank_kv_bytes(model_config("qwen3-30b-a3b"), Formats(), 1) == 98_304


@pytest.mark.parametrize(
    ("batch", "kimi", "qwen"),
    [
        *((1, 8, 8), (4, 31, 29), (8, 60, 52), (16, 110, 82)),
        *((32, 188, 112), (64, 284, 126), (128, 358, 128), (256, 382, 128)),
    ],
)
def test_distinct_experts_of_a_batch(batch: int, kimi: int, qwen: int) -> None:
    assert round(touched(384, 8, batch)) == kimi
    assert round(touched(128, 8, batch)) == qwen


def test_bytes_of_one_token_of_kimi_in_int4() -> None:
    """11.9 GB of experts a token, which at 400 GB/s caps decoding at 34 tokens/s."""
    k25 = model_config("Kimi-K2.5")
    experts = k25_experts() * 8 / 384
    assert experts == pytest.approx(11.9e9, rel=2e-3)
    host = Hardware(1, 10**13, 400e9)
    assert 400e9 / experts == pytest.approx(34, abs=0.5)
    # what is read besides: all but the routed experts and the embedding
    weights = rank_weights(k25, k25.formats, 1)
    embedding = k25.vocab_size * k25.hidden_size * 2
    rest = sum(weights.values()) - weights["experts"] - embedding
    assert speed(k25, k25.formats, host, 1, 0).bytes_a_step == pytest.approx(experts + rest, rel=1e-9)


@given(st.sampled_from(published_names()), st.integers(1, 64), st.integers(1, 10**6), st.integers(1, 512))
def test_more_gpus_never_hold_less(name: str, gpus: int, context: int, batch: int) -> None:
    model = model_config(name)
    few = plan_capacity(model, model.formats, Hardware(gpus, H200.memory, H200.bandwidth))
    more = plan_capacity(model, model.formats, Hardware(gpus + 1, H200.memory, H200.bandwidth))
    assert more.kv_tokens >= few.kv_tokens
    one = speed(model, model.formats, H200, batch, context)
    assert speed(model, model.formats, H200, batch + 1, context).tokens_a_second >= one.tokens_a_second * 0.999
    assert one.tokens_a_second <= batch * H200.bandwidth / one.bytes_a_step * 1.001


def test_each_proposed_change_makes_it_fit_and_no_smaller_one_does() -> None:
    model = model_config("Qwen3-235B-A22B")
    small = Hardware(2, 141 * 10**9, 4.8e12)
    changes = dict(change.split() for change in changes_that_fit(model, model.formats, small, 8192, 64))
    gpus = int(changes["--gpus"])

    def tokens(count: int) -> int:
        return plan_capacity(model, model.formats, Hardware(count, small.memory, small.bandwidth)).kv_tokens

    assert tokens(gpus) >= 8192 * 64 > tokens(gpus - 1)
    assert changes["--quantize"] == "int4"


PUBLISHED_SIZES = {
    "Kimi-K2-Instruct": 1.026e12,
    "Kimi-K2.5": 1.026e12,
    "DeepSeek-V3": 671.026e9,
    "DeepSeek-R1": 671.026e9,
    "Qwen3-235B-A22B": 235.09e9,
    "Qwen3-30B-A3B": 30.53e9,
    "Qwen3-30B-A3B-FP8": 30.53e9,
    "Apertus-8B-Instruct": 8.05e9,
}


def test_published_models_have_their_published_sizes() -> None:
    assert set(PUBLISHED_SIZES) == set(published_names())
    for name, size in PUBLISHED_SIZES.items():
        assert sum(count_parameters(model_config(name)).values()) == pytest.approx(size, rel=1e-3), name


def test_unknown_models_are_told_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match="Kimi-K2-Instruct"):
        model_config("Kimi-K9")
