"""Qwen3 and Apertus against transformers in fp32, on checkpoints that transformers wrote."""

from pathlib import Path
from typing import Any

import pytest
import torch

from engine.layers.attention import Attention
from tests.support.deepseek_checkpoints import Sequencer, oracle_logits, random_tokens, relative_error
from tests.support.family_checkpoints import DEFAULT_ROPE, YARN, write_family

TOLERANCE = 1e-4
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3 moe": ("qwen3_moe", {}),
    "every other layer dense": ("qwen3_moe", {"decoder_sparse_step": 2}),
    "some layers dense": ("qwen3_moe", {"mlp_only_layers": [0, 2]}),
    "no layer sparse": ("qwen3_moe", {"mlp_only_layers": [0, 1, 2]}),
    "weights not normalised": ("qwen3_moe", {"norm_topk_prob": False}),
    "one expert a token": ("qwen3_moe", {"num_experts_per_tok": 1}),
    "yarn": ("qwen3_moe", {"rope_parameters": YARN}),
    "yarn, unequal mscales": ("qwen3_moe", {"rope_parameters": {**YARN, "mscale": 0.7, "mscale_all_dim": 1.3}}),
    "one key head": ("qwen3_moe", {"num_key_value_heads": 1}),
    "a key for each head": ("qwen3_moe", {"num_key_value_heads": 6}),
    "qwen3 dense": ("qwen3", {}),
    "qwen3 dense, tied": ("qwen3", {"tie_word_embeddings": True}),
    "apertus": ("apertus", {}),
    "apertus, plain rope": ("apertus", {"rope_parameters": DEFAULT_ROPE}),
    "apertus, large norm epsilon": ("apertus", {"rms_norm_eps": 0.1}),
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize(("family", "changes"), VARIANTS.values(), ids=VARIANTS.keys())
def test_equals_transformers_in_every_way_of_computing(family: str, changes: dict[str, Any], tmp_path: Path) -> None:
    oracle = write_family(tmp_path, family, **changes)
    tokens = random_tokens(90)
    expected = oracle_logits(oracle, tokens)

    whole = Sequencer.load(tmp_path).step({"a": tokens})["a"]
    assert relative_error(whole, expected) <= TOLERANCE

    sequencer = Sequencer.load(tmp_path)
    for module in sequencer.model.modules():  # small blocks, so that tiny contexts cross many of them
        if isinstance(module, Attention):
            module.query_block, module.key_block = 5, 8
    parts, first = [], 0
    for count in (1, 3, 17, 2, 31, 8, 6):  # awkward: borders on, before and after those of blocks; decode in between
        parts.append(sequencer.step({"a": tokens[first : first + count]})["a"])
        first += count
    parts += [sequencer.step({"a": [token]})["a"] for token in tokens[first:]]
    assert relative_error(torch.cat(parts), expected) <= TOLERANCE


@pytest.mark.parametrize("family", ["qwen3_moe", "apertus"])
def test_mixed_batches_with_scattered_blocks(family: str, tmp_path: Path) -> None:
    """Requests that prefill, continue a prefill and decode in one step do not see each other."""
    oracle = write_family(tmp_path, family)
    tokens = {name: random_tokens(length, length) for name, length in {"a": 37, "b": 5, "c": 23}.items()}
    sequencer = Sequencer.load(tmp_path)
    logits: dict[str, list[torch.Tensor]] = {name: [] for name in tokens}
    done = dict.fromkeys(tokens, 0)
    for step in ({"a": 9, "b": 4}, {"a": 1, "c": 11, "b": 1}, {"a": 26, "c": 1}, {"a": 1, "c": 11}):
        work = {name: tokens[name][done[name] : done[name] + count] for name, count in step.items()}
        for name, part in sequencer.step(work).items():
            logits[name].append(part)
            done[name] += step[name]
    assert done == {name: len(ids) for name, ids in tokens.items()}
    for name, parts in logits.items():
        assert relative_error(torch.cat(parts), oracle_logits(oracle, tokens[name])) <= TOLERANCE, name
