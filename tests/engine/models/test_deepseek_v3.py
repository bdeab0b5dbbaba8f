"""The model against transformers' DeepseekV3ForCausalLM in fp32, on checkpoints that transformers wrote."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.layers.mla import MLA
from tests.support.deepseek_checkpoints import (
    TINY,
    YARN,
    Sequencer,
    oracle_logits,
    random_tokens,
    relative_error,
    write_checkpoint,
)

TOLERANCE = 1e-4
KIMI_YARN = {**YARN, "beta_fast": 1.0, "beta_slow": 1.0, "factor": 32.0, "rope_theta": 50000.0}
VARIANTS: dict[str, dict[str, Any]] = {
    "kimi": {"rope_parameters": KIMI_YARN, "routed_scaling_factor": 2.827},
    "deepseek": {
        "rope_parameters": {**YARN, "factor": 40.0},
        "n_group": 4,
        "topk_group": 2,
        "routed_scaling_factor": 2.5,
    },
    "no query rank": {"q_lora_rank": None},
    "no query rank, yarn": {"q_lora_rank": None, "rope_parameters": YARN},
    "one group of three": {"n_group": 3, "topk_group": 1},
    "unequal mscales": {"rope_parameters": {**YARN, "mscale": 0.7, "mscale_all_dim": 1.3}},
    "no mscales": {"rope_parameters": {k: v for k, v in YARN.items() if not k.startswith("mscale")}},
    "halves, not pairs": {"rope_interleave": False, "rope_parameters": YARN},
    "tied": {"tie_word_embeddings": True},
    "no dense layers": {"first_k_dense_replace": 0},
    "all dense layers": {"first_k_dense_replace": 3},
    "weights not normalised": {"norm_topk_prob": False, "routed_scaling_factor": 1.0},
    "two shared experts": {"n_shared_experts": 2},
    "large norm epsilon": {"rms_norm_eps": 0.1},
    "one expert a token": {"num_experts_per_tok": 1},
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _small_blocks(sequencer: Sequencer, query_block: int = 5, key_block: int = 8) -> Sequencer:
    """Makes prefill attention work in small blocks, so that tiny contexts cross many of them."""
    for module in sequencer.model.modules():
        if isinstance(module, MLA):
            module.query_block, module.key_block = query_block, key_block
    return sequencer


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
def test_equals_transformers_in_every_way_of_computing(variant: dict[str, Any], tmp_path: Path) -> None:
    oracle = write_checkpoint(tmp_path, **variant)
    tokens = random_tokens(90)
    expected = oracle_logits(oracle, tokens)

    whole = Sequencer.load(tmp_path).step({"a": tokens})["a"]
    assert relative_error(whole, expected) <= TOLERANCE

    sequencer = _small_blocks(Sequencer.load(tmp_path))
    parts, first = [], 0
    for count in (1, 3, 17, 2, 31, 8, 6):  # awkward: borders on, before and after those of blocks; decode in between
        parts.append(sequencer.step({"a": tokens[first : first + count]})["a"])
        first += count
    parts += [sequencer.step({"a": [token]})["a"] for token in tokens[first:]]
    assert relative_error(torch.cat(parts), expected) <= TOLERANCE


@pytest.mark.parametrize(("query_block", "key_block"), [(1, 4), (7, 4), (4, 12), (64, 3), (1000, 1000)])
@pytest.mark.parametrize("chunk", [2, 13, 40])
def test_chunks_and_blocks_of_any_size(query_block: int, key_block: int, chunk: int, tmp_path: Path) -> None:
    oracle = write_checkpoint(tmp_path, num_hidden_layers=2, rope_parameters=YARN)
    tokens = random_tokens(40, seed=1)
    sequencer = _small_blocks(Sequencer.load(tmp_path), query_block, key_block)
    parts = [sequencer.step({"a": tokens[first : first + chunk]})["a"] for first in range(0, len(tokens), chunk)]
    assert relative_error(torch.cat(parts), oracle_logits(oracle, tokens)) <= TOLERANCE


def test_mixed_batches_with_scattered_blocks(tmp_path: Path) -> None:
    """Requests that prefill, continue a prefill and decode in one step do not see each other."""
    oracle = write_checkpoint(tmp_path, rope_parameters=YARN, n_group=4, topk_group=2)
    lengths = {"a": 37, "b": 5, "c": 23, "d": 1, "e": 18}
    tokens = {name: random_tokens(length, seed) for seed, (name, length) in enumerate(lengths.items())}
    schedule = [
        {"a": 9, "b": 4},
        {"a": 1, "c": 11, "b": 1},
        {"d": 1, "a": 1, "e": 17, "c": 1},
        {"a": 20, "e": 1, "c": 7},
    ]
    schedule += [{"c": 1, "a": 1}] * 3 + [{"c": 1, "a": 3}]
    sequencer = _small_blocks(Sequencer.load(tmp_path))
    logits: dict[str, list[torch.Tensor]] = {name: [] for name in tokens}
    done = dict.fromkeys(tokens, 0)
    for step in schedule:
        work = {name: tokens[name][done[name] : done[name] + count] for name, count in step.items()}
        for name, part in sequencer.step(work).items():
            logits[name].append(part)
            done[name] += step[name]
    assert done == lengths
    for name, parts in logits.items():
        assert relative_error(torch.cat(parts), oracle_logits(oracle, tokens[name])) <= TOLERANCE, name


def test_only_the_wanted_logits_come_and_in_that_order(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    sequencer = Sequencer.load(tmp_path)
    batch = sequencer.batch({"a": random_tokens(6), "b": random_tokens(3)})
    with torch.inference_mode():
        every = sequencer.model(batch, sequencer.kv)
        some = sequencer.model(replace(batch, logit_tokens_N=torch.tensor([8, 5])), sequencer.kv)
        none = sequencer.model(replace(batch, logit_tokens_N=torch.tensor([], dtype=torch.int64)), sequencer.kv)
    torch.testing.assert_close(some, every[[8, 5]])
    assert none.shape == (0, TINY["vocab_size"])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-5), ("bfloat16", 2e-2)])
def test_what_shares_the_batch_changes_little(dtype: str, tolerance: float, tmp_path: Path) -> None:
    """Matrix products of other sizes may sum in another order: the documented tolerance of batch invariance."""
    write_checkpoint(tmp_path).to(getattr(torch, dtype)).save_pretrained(tmp_path)
    prompts = {name: random_tokens(20 + seed, seed) for seed, name in enumerate("abcdef")}
    together = Sequencer.load(tmp_path)
    together.step({name: prompt[:-1] for name, prompt in prompts.items()})
    shared = together.step({name: prompt[-1:] for name, prompt in prompts.items()})
    for name, prompt in prompts.items():
        alone = Sequencer.load(tmp_path)
        alone.step({name: prompt[:-1]})
        assert relative_error(shared[name], alone.step({name: prompt[-1:]})[name]) <= tolerance
