"""What packing does to a model, as measured."""

import math
from pathlib import Path

import pytest
import torch

from engine.errors import ConfigError
from engine.quantization_error import quantization_error
from tests.support.deepseek_checkpoints import oracle_logits, random_tokens, write_checkpoint

WIDE = {"hidden_size": 64, "intermediate_size": 96, "moe_intermediate_size": 32, "num_hidden_layers": 2}
MLA = {"q_lora_rank": 32, "kv_lora_rank": 32, "v_head_dim": 16}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_fewer_bits_change_more_and_the_perplexity_is_the_model_s_own(tmp_path: Path) -> None:
    oracle = write_checkpoint(tmp_path, **WIDE, **MLA)
    tokens = random_tokens(70)
    in_int8 = quantization_error(tmp_path, "int8", tokens, window=30)
    in_int4 = quantization_error(tmp_path, "int4", tokens, window=30)
    assert in_int8.tokens == in_int4.tokens == 29 + 29 + 9
    assert 0 < in_int8.divergence < in_int4.divergence
    assert in_int8.divergence <= in_int8.worst
    loss = 0.0
    for first in range(0, 70, 30):
        window = tokens[first : first + 30]
        found = oracle_logits(oracle, window)[:-1].log_softmax(-1)
        loss -= found.gather(1, torch.tensor(window[1:])[:, None]).sum().item()
    assert in_int8.perplexity == pytest.approx(math.exp(loss / in_int8.tokens), rel=1e-4)


def test_nothing_changes_where_nothing_is_packed(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, **WIDE, **MLA)
    found = quantization_error(tmp_path, None, random_tokens(20), window=512)
    assert (found.divergence, found.agreement) == (pytest.approx(0, abs=1e-9), 1.0)
    assert found.perplexity == found.packed_perplexity


def test_a_cache_in_fp8_has_its_error_too(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, **WIDE, **MLA)
    found = quantization_error(tmp_path, None, random_tokens(40), 40, "fp8")
    assert 0 < found.divergence < 0.1
    both = quantization_error(tmp_path, "int4", random_tokens(40), 40, "fp8")
    assert both.divergence > found.divergence


def test_a_text_of_one_token_predicts_nothing(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    with pytest.raises(ConfigError, match="has 1 tokens"):
        quantization_error(tmp_path, "int8", [5], window=512)
