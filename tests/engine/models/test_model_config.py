"""config.json: what is read, and what is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import CheckpointError
from engine.models.config import RopeConfig, YarnConfig, load_model_config, parse_model_config
from tests.support.configs import PUBLISHED, published

REMOVED = object()
YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096}


def changed(**changes: Any) -> dict[str, Any]:
    raw = {**published("kimi-k2-instruct"), **changes}
    return {key: value for key, value in raw.items() if value is not REMOVED}


def test_kimi_k2_as_published() -> None:
    config = parse_model_config(published("kimi-k2-instruct"))
    assert config.model_type == "kimi_k2"
    assert config.dtype == "bfloat16"
    assert (config.num_hidden_layers, config.first_k_dense_replace, config.num_nextn_predict_layers) == (61, 1, 0)
    assert (config.n_group, config.topk_group, config.routed_scaling_factor) == (1, 1, 2.827)
    yarn = YarnConfig(
        factor=32, original_max_position_embeddings=4096, beta_fast=1, beta_slow=1, mscale=1, mscale_all_dim=1
    )
    assert config.rope == RopeConfig(theta=50000, interleaved=True, yarn=yarn)
    assert config.kv_groups[0].width == 576


def test_published_checkpoints_are_quantised_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((PUBLISHED / "deepseek-v3.json").read_bytes())
    with pytest.raises(CheckpointError, match=r"quantised checkpoints are not supported yet: fp8"):
        load_model_config(tmp_path)


def test_both_ways_of_writing_rope_mean_the_same() -> None:
    old = parse_model_config(changed())
    scaling = {**published("kimi-k2-instruct")["rope_scaling"]}
    del scaling["type"]
    new = {"rope_type": "yarn", "rope_theta": 50000.0, **scaling}
    assert parse_model_config(changed(rope_scaling=REMOVED, rope_theta=REMOVED, rope_parameters=new)) == old
    plain = parse_model_config(changed(rope_scaling=None))
    default = {"rope_type": "default", "rope_theta": 50000.0}
    assert parse_model_config(changed(rope_scaling=None, rope_theta=REMOVED, rope_parameters=default)) == plain
    assert plain.rope.yarn is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "kimi_k25"}, ["model_type", "kimi_k25", "kimi_k2"]),
        ({"model_type": REMOVED}, ["model_type", "None"]),
        ({"architectures": ["LlamaForCausalLM"]}, ["architectures", "LlamaForCausalLM"]),
        ({"architectures": REMOVED}, ["architectures"]),
        ({"hidden_act": "gelu"}, ["hidden_act", "gelu", "silu"]),
        ({"scoring_func": "softmax"}, ["scoring_func", "softmax"]),
        ({"topk_method": "greedy"}, ["topk_method", "greedy"]),
        ({"moe_layer_freq": 2}, ["moe_layer_freq", "2"]),
        ({"attention_bias": True}, ["attention_bias"]),
        ({"num_key_value_heads": 8}, ["num_key_value_heads", "8"]),
        ({"rms_norm_eps": REMOVED}, ["rms_norm_eps", "missing"]),
        ({"rope_theta": REMOVED}, ["rope_theta", "missing"]),
        ({"norm_topk_prob": REMOVED}, ["norm_topk_prob", "missing"]),
        ({"norm_topk_prob": 1}, ["norm_topk_prob", "1"]),
        ({"hidden_size": "7168"}, ["hidden_size", "'7168'"]),
        ({"hidden_size": True}, ["hidden_size", "True"]),
        ({"vocab_size": 0}, ["vocab_size", "0"]),
        ({"rms_norm_eps": float("nan")}, ["rms_norm_eps", "nan"]),
        ({"routed_scaling_factor": -1}, ["routed_scaling_factor", "-1"]),
        ({"n_shared_experts": None}, ["n_shared_experts"]),
        ({"torch_dtype": "float8_e4m3fn"}, ["torch_dtype", "float8_e4m3fn"]),
        ({"qk_rope_head_dim": 63}, ["qk_rope_head_dim", "63"]),
        ({"first_k_dense_replace": 62}, ["first_k_dense_replace", "62", "61"]),
        ({"n_group": 7}, ["n_group", "7", "384"]),
        ({"n_group": 384, "topk_group": 8}, ["n_group", "384"]),
        ({"topk_group": 2}, ["topk_group", "2", "1"]),
        ({"n_group": 64, "num_experts_per_tok": 8}, ["num_experts_per_tok", "8", "6"]),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, ["linear", "yarn"]),
        ({"rope_scaling": {**YARN, "attention_factor": 1.5}}, ["attention_factor", "1.5"]),
        ({"rope_scaling": {**YARN, "rope_type": "default"}}, ["rope_type", "default", "yarn"]),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, ["original_max_position_embeddings"]),
        ({"rope_scaling": {"factor": 4.0}}, ["factor", "4.0", "default"]),
        ({"rope_scaling": "yarn"}, ["rope_scaling", "'yarn'"]),
        ({"rope_parameters": {"rope_type": "default"}}, ["rope_parameters", "rope_scaling"]),
    ],
    ids=str,
)
def test_refusals_name_the_key_and_the_value(changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(CheckpointError) as refused:
        parse_model_config(changed(**changes), "folder/config.json")
    assert [word for word in ["folder/config.json", *words] if word not in str(refused.value)] == []
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [None, b"{", b"\xff\xfe", b"[1]", json.dumps({}).encode()])
def test_damaged_files_are_named(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_model_config(tmp_path)
