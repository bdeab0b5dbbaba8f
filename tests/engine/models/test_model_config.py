"""config.json: what is read, and what is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import CheckpointError
from engine.models.config import RopeConfig, YarnConfig
from engine.models.configs.read import load_model_config, parse_model_config
from tests.support.configs import FAMILIES, published

REMOVED = object()
YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096}


def changed(**changes: Any) -> dict[str, Any]:
    raw = {**published("kimi-k2-instruct"), **changes}
    return {key: value for key, value in raw.items() if value is not REMOVED}


def test_kimi_k2_as_published() -> None:
    config = parse_model_config(published("kimi-k2-instruct"))
    assert config.model_type == "kimi_k2"
    assert config.dtype == "bfloat16"
    assert (config.num_hidden_layers, config.dense_layers, config.extra_layers) == (61, 1, 0)
    assert config.moe is not None
    assert (config.moe.groups, config.moe.groups_kept, config.moe.scale) == (1, 1, 2.827)
    assert config.moe_layers == frozenset(range(1, 61))
    yarn = YarnConfig(
        factor=32, original_max_position_embeddings=4096, beta_fast=1, beta_slow=1, mscale=1, mscale_all_dim=1
    )
    assert config.rope == RopeConfig(theta=50000, interleaved=True, scaling=yarn)
    assert config.kv_groups[0].width == 576


def test_both_ways_of_writing_rope_mean_the_same() -> None:
    old = parse_model_config(changed())
    scaling = {**published("kimi-k2-instruct")["rope_scaling"]}
    del scaling["type"]
    new = {"rope_type": "yarn", "rope_theta": 50000.0, **scaling}
    assert parse_model_config(changed(rope_scaling=REMOVED, rope_theta=REMOVED, rope_parameters=new)) == old
    plain = parse_model_config(changed(rope_scaling=None))
    default = {"rope_type": "default", "rope_theta": 50000.0}
    assert parse_model_config(changed(rope_scaling=None, rope_theta=REMOVED, rope_parameters=default)) == plain
    assert plain.rope.scaling is None


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
        ({"num_experts_per_tok": 385}, ["num_experts_per_tok", "385", "384"]),
        ({"n_group": 64, "num_experts_per_tok": 8}, ["num_experts_per_tok", "8", "6"]),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, ["linear", "yarn"]),
        ({"rope_scaling": {**YARN, "mscale": 0.7}}, ["mscale 0.7", "mscale_all_dim None"]),
        ({"rope_scaling": {**YARN, "mscale": 0.0, "mscale_all_dim": 1.0}}, ["mscale 0.0", "mscale_all_dim 1.0"]),
        ({"partial_rotary_factor": 0.5}, ["partial_rotary_factor", "0.5"]),
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


@pytest.mark.parametrize("content", [None, b"{", b"\xff\xfe", b"[1]", json.dumps({}).encode(), b"[" * 100_000])
def test_damaged_files_are_named(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_model_config(tmp_path)


def test_unknown_models_with_code_of_their_own_say_what_is_needed_instead() -> None:
    code = {"AutoModelForCausalLM": "modeling_new.NewForCausalLM"}
    with pytest.raises(CheckpointError, match=r"'NewForCausalLM'.*auto_map.*never run.*adding-a-model") as refused:
        parse_model_config({"architectures": ["NewForCausalLM"], "auto_map": code})
    assert "\n" not in str(refused.value)
    parse_model_config(changed(auto_map=code))  # a known architecture needs none of it


QWEN3 = "Qwen3-30B-A3B"
APERTUS = "Apertus-8B-Instruct"
GROUPED: list[tuple[str, dict[str, Any], list[str]]] = [
    (QWEN3, {"model_type": "qwen3"}, ["model_type", "'qwen3'", "qwen3_moe"]),
    (QWEN3, {"architectures": ["Qwen3ForCausalLM"]}, ["model_type", "'qwen3_moe'"]),
    (QWEN3, {"hidden_act": "gelu"}, ["hidden_act", "gelu"]),
    (QWEN3, {"hidden_act": REMOVED}, ["hidden_act", "None"]),
    (QWEN3, {"attention_bias": True}, ["attention_bias"]),
    (QWEN3, {"use_sliding_window": True, "sliding_window": 4096}, ["use_sliding_window", "True"]),
    (QWEN3, {"layer_types": ["full_attention", "sliding_attention"]}, ["layer_types", "sliding_attention"]),
    (QWEN3, {"layer_types": "full"}, ["layer_types", "'full'"]),
    (QWEN3, {"num_attention_heads": 30}, ["num_key_value_heads 4", "30"]),
    (QWEN3, {"head_dim": 127}, ["head_dim", "127"]),
    (QWEN3, {"head_dim": REMOVED, "hidden_size": 2050}, ["hidden_size 2050", "32", "head_dim"]),
    (QWEN3, {"num_experts_per_tok": 129}, ["num_experts_per_tok", "129", "128"]),
    (QWEN3, {"num_experts_per_tok": 0}, ["num_experts_per_tok", "0"]),
    (QWEN3, {"num_experts": REMOVED}, ["num_experts", "missing"]),
    (QWEN3, {"num_local_experts": 64}, ["num_experts 128", "num_local_experts"]),
    (QWEN3, {"mlp_only_layers": [48]}, ["mlp_only_layers", "48"]),
    (QWEN3, {"mlp_only_layers": 3}, ["mlp_only_layers", "3"]),
    (QWEN3, {"decoder_sparse_step": 0}, ["decoder_sparse_step", "0"]),
    (QWEN3, {"moe_intermediate_size": None}, ["moe_intermediate_size", "missing"]),
    (QWEN3, {"norm_topk_prob": "yes"}, ["norm_topk_prob", "'yes'"]),
    (QWEN3, {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, ["llama3", "yarn"]),
    (QWEN3, {"rope_scaling": {**YARN, "truncate": False}}, ["truncate"]),
    (QWEN3, {"partial_rotary_factor": 0.5}, ["partial_rotary_factor", "0.5"]),
    (QWEN3, {"quantization_config": {"quant_method": "gptq"}}, ["quant_method", "'gptq'"]),
    (APERTUS, {"model_type": "llama"}, ["model_type", "'llama'"]),
    (APERTUS, {"hidden_act": "silu"}, ["hidden_act", "silu", "xielu"]),
    (APERTUS, {"qk_norm": False}, ["qk_norm", "False"]),
    (APERTUS, {"post_norm": True}, ["post_norm", "True"]),
    (APERTUS, {"mlp_bias": True}, ["mlp_bias", "True"]),
    (APERTUS, {"attention_bias": True}, ["attention_bias", "True"]),
    (APERTUS, {"layer_types": ["sliding_attention"] * 32}, ["layer_types", "sliding_attention"]),
    (APERTUS, {"num_key_value_heads": 5}, ["num_key_value_heads 5", "32"]),
    (APERTUS, {"rope_scaling": YARN}, ["yarn", "llama3"]),
    (APERTUS, {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, ["original_max_position_embeddings"]),
]


def family(name: str, **changes: Any) -> dict[str, Any]:
    raw = {**json.loads((FAMILIES / f"{name}.json").read_text()), **changes}
    return {key: value for key, value in raw.items() if value is not REMOVED}


@pytest.mark.parametrize(("name", "changes", "words"), GROUPED, ids=str)
def test_other_families_refuse_by_key_and_value(name: str, changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(CheckpointError) as refused:
        parse_model_config(family(name, **changes), "folder/config.json")
    assert [word for word in ["folder/config.json", *words] if word not in str(refused.value)] == []
    assert "\n" not in str(refused.value)


def test_a_window_that_is_not_used_and_layers_that_all_see_everything_change_nothing() -> None:
    same = family(QWEN3, use_sliding_window=False, sliding_window=4096, layer_types=["full_attention"] * 48)
    assert parse_model_config(same) == parse_model_config(family(QWEN3))


def test_a_config_that_cannot_be_reached(tmp_path: Path) -> None:
    (tmp_path / "config.json").symlink_to(tmp_path / "config.json")
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read: .*symbolic links"):
        load_model_config(tmp_path)
