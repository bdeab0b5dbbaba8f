"""Frequencies and scales against transformers' implementation and the published cases."""

import math
from typing import Any

import pytest
import torch
from transformers import ApertusConfig, DeepseekV3Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from engine.layers.rope import RotaryEmbedding, inverse_frequencies, rotary_magnitude, softmax_scale
from engine.models.config import Llama3Config, RopeConfig, YarnConfig

KIMI = {"theta": 50000.0, "factor": 32.0, "beta_fast": 1.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0}
DEEPSEEK = {"theta": 10000.0, "factor": 40.0, "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0}


def rope(theta: float, **yarn: Any) -> RopeConfig:
    return RopeConfig(theta=theta, interleaved=True, scaling=YarnConfig(original_max_position_embeddings=4096, **yarn))


@pytest.mark.parametrize("settings", [KIMI, DEEPSEEK, {**DEEPSEEK, "mscale": 0.7}], ids=["kimi", "deepseek", "mscales"])
@pytest.mark.parametrize("width", [16, 64])
def test_yarn_equals_transformers(settings: dict[str, Any], width: int) -> None:
    yarn = {"rope_type": "yarn", "original_max_position_embeddings": 4096, "rope_theta": settings["theta"]}
    yarn |= {key: value for key, value in settings.items() if key != "theta"}
    config = DeepseekV3Config(qk_rope_head_dim=width, max_position_embeddings=131072, rope_parameters=yarn)
    frequencies, magnitude = ROPE_INIT_FUNCTIONS["yarn"](config)
    ours = rope(**settings)
    torch.testing.assert_close(torch.tensor(inverse_frequencies(width, ours)), frequencies, rtol=1e-6, atol=0)
    assert rotary_magnitude(ours) == pytest.approx(magnitude)


def test_softmax_scale_includes_the_square_of_mscale() -> None:
    assert softmax_scale(192, RopeConfig(theta=1e4, interleaved=True, scaling=None)) == pytest.approx(192**-0.5)
    assert softmax_scale(192, rope(**DEEPSEEK)) == pytest.approx(192**-0.5 * (0.1 * math.log(40) + 1) ** 2)
    assert softmax_scale(192, rope(**{**DEEPSEEK, "mscale_all_dim": 0.0})) == pytest.approx(192**-0.5)
    assert softmax_scale(192, rope(**{**DEEPSEEK, "factor": 1.0})) == pytest.approx(192**-0.5)


def test_mscale_counts_where_mscale_all_dim_is_absent() -> None:
    """As published; with mscale alone, transformers leaves it out."""
    yarn = rope(**{**DEEPSEEK, "mscale": 0.7, "mscale_all_dim": 0.0})
    assert rotary_magnitude(yarn) == pytest.approx(0.07 * math.log(40) + 1)


@pytest.mark.parametrize("width", [32, 128])
def test_llama3_equals_transformers(width: int) -> None:
    """The values published with Apertus."""
    llama3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    parameters = {"rope_type": "llama3", "rope_theta": 12e6, **llama3}
    config = ApertusConfig(head_dim=width, hidden_size=4 * width, num_attention_heads=4, rope_parameters=parameters)
    frequencies, magnitude = ROPE_INIT_FUNCTIONS["llama3"](config)
    ours = RopeConfig(theta=12e6, interleaved=False, scaling=Llama3Config(**llama3))  # type: ignore[arg-type]
    torch.testing.assert_close(torch.tensor(inverse_frequencies(width, ours)), frequencies, rtol=1e-6, atol=0)
    assert rotary_magnitude(ours) == magnitude == 1.0
    assert softmax_scale(width, ours) == pytest.approx(width**-0.5)


def test_far_positions_and_the_meta_device() -> None:
    with torch.device("meta"):
        embedding = RotaryEmbedding(8, RopeConfig(theta=10000.0, interleaved=True, scaling=None))
    turns = embedding(torch.tensor([0, 1, 131071]))
    assert turns.shape == (3, 4)
    torch.testing.assert_close(turns[0], torch.ones(4, dtype=torch.complex64))
    torch.testing.assert_close(
        turns[2].angle()[3], torch.tensor(131.071 % (2 * math.pi)) - 2 * math.pi, rtol=0, atol=1e-4
    )
