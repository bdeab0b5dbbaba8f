"""Published config.json files, and small ones made from them."""

import json
from pathlib import Path
from typing import Any

from engine.models.config import ModelConfig
from engine.models.configs.read import parse_model_config

PUBLISHED = Path(__file__).parent.parent / "data" / "configs"
FAMILIES = Path(__file__).parents[2] / "engine" / "models" / "published"


def published(name: str) -> dict[str, Any]:
    """The published config.json, less the quantisation, which is not supported yet."""
    raw: dict[str, Any] = json.loads((PUBLISHED / f"{name}.json").read_text())
    del raw["quantization_config"]
    return raw


def small_config(**changes: Any) -> ModelConfig:
    """Kimi K2's config at about 22M parameters."""
    small = {
        "hidden_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "q_lora_rank": 128,
        "kv_lora_rank": 64,
        "qk_rope_head_dim": 32,
        "qk_nope_head_dim": 64,
        "v_head_dim": 48,
        "intermediate_size": 512,
        "moe_intermediate_size": 128,
        "n_routed_experts": 16,
        "num_experts_per_tok": 4,
        "vocab_size": 32768,
        "max_position_embeddings": 2048,
    }
    if "num_attention_heads" in changes:
        changes.setdefault("num_key_value_heads", changes["num_attention_heads"])
    return parse_model_config({**published("kimi-k2-instruct"), **small, **changes})


SMALL = {
    "hidden_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "intermediate_size": 512,
    "vocab_size": 32768,
    "max_position_embeddings": 2048,
}


# What else to change of a published config beside SMALL.
SMALL_FAMILIES: dict[str, dict[str, Any]] = {
    "Qwen3-30B-A3B": {
        "num_key_value_heads": 2,
        "head_dim": 64,
        "moe_intermediate_size": 128,
        "num_experts": 16,
        "mlp_only_layers": [1],
    },
    "Apertus-8B-Instruct": {"num_key_value_heads": 4},
}


def small_family(name: str) -> ModelConfig:
    """A published model of another family, made small."""
    raw = json.loads((FAMILIES / f"{name}.json").read_text())
    return parse_model_config({**raw, **SMALL, **SMALL_FAMILIES[name]})
