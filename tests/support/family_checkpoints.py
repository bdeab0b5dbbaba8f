"""Tiny random checkpoints of the families with grouped-query attention, written by transformers: the oracles."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    ApertusConfig,
    ApertusForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
DEFAULT_ROPE = {"rope_type": "default", "rope_theta": 10000.0}
COMMON: dict[str, Any] = {
    "vocab_size": 211,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "rope_parameters": DEFAULT_ROPE,
}
MIXTURE = {"num_experts": 12, "num_experts_per_tok": 3, "moe_intermediate_size": 24, "norm_topk_prob": True}
FAMILIES: dict[str, tuple[type[PreTrainedConfig], type[PreTrainedModel], dict[str, Any]]] = {
    "qwen3_moe": (Qwen3MoeConfig, Qwen3MoeForCausalLM, {**COMMON, **MIXTURE, "head_dim": 16}),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {**COMMON, "head_dim": 16}),
    "apertus": (ApertusConfig, ApertusForCausalLM, {**COMMON, "rope_parameters": LLAMA3}),
}


def write_family(folder: Path, family: str, **changes: Any) -> PreTrainedModel:
    """Saves a random model of `family`, its settings changed as said, and returns it: the oracle."""
    torch.manual_seed(17)
    config, model, settings = FAMILIES[family]
    oracle = model(config(**{**settings, **changes}, attn_implementation="eager")).eval()
    with torch.no_grad():
        for name, parameter in oracle.named_parameters():
            if name.endswith("norm.weight"):
                parameter.uniform_(0.5, 1.5)
            elif parameter.dim() > 1:
                parameter.normal_(std=0.2)
            else:
                parameter.normal_(std=0.5)
    oracle.save_pretrained(folder)
    return oracle
