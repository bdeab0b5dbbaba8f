"""Sizes of the random checkpoints, and their config.json. Knows no tensor."""

from dataclasses import dataclass, fields
from typing import Any

from demo.tokenizer import BOS, PAD, VOCAB_SIZE


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What differs between the presets; field names as in config.json."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    q_lora_rank: int
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    intermediate_size: int
    moe_intermediate_size: int
    n_routed_experts: int
    num_experts_per_tok: int
    max_position_embeddings: int
    n_shared_experts: int = 1
    first_k_dense_replace: int = 1


PRESETS = {
    "tiny": Shape(
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        q_lora_rank=96,
        kv_lora_rank=64,
        qk_nope_head_dim=32,
        qk_rope_head_dim=16,
        v_head_dim=32,
        intermediate_size=768,
        moe_intermediate_size=128,
        n_routed_experts=16,
        num_experts_per_tok=4,
        max_position_embeddings=32768,
    ),
    "30m": Shape(
        hidden_size=512,
        num_hidden_layers=5,
        num_attention_heads=8,
        q_lora_rank=256,
        kv_lora_rank=128,
        qk_nope_head_dim=64,
        qk_rope_head_dim=32,
        v_head_dim=64,
        intermediate_size=1024,
        moe_intermediate_size=128,
        n_routed_experts=24,
        num_experts_per_tok=4,
        max_position_embeddings=16384,
    ),
    "1b": Shape(
        hidden_size=1024,
        num_hidden_layers=12,
        num_attention_heads=16,
        q_lora_rank=512,
        kv_lora_rank=512,
        qk_nope_head_dim=128,
        qk_rope_head_dim=64,
        v_head_dim=128,
        intermediate_size=4096,
        moe_intermediate_size=512,
        n_routed_experts=64,
        num_experts_per_tok=6,
        max_position_embeddings=16384,
    ),
}


def model_config(shape: Shape) -> dict[str, Any]:
    """config.json, with the fields of Kimi K2's."""
    return {
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "kimi_k2",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": BOS,
        "eos_token_id": BOS + 1,
        "pad_token_id": PAD,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "moe_layer_freq": 1,
        "n_group": 1,
        "topk_group": 1,
        "norm_topk_prob": True,
        "num_key_value_heads": shape.num_attention_heads,
        "num_nextn_predict_layers": 0,
        "rms_norm_eps": 1e-6,
        "rope_theta": 50000.0,
        "rope_scaling": {
            "type": "yarn",
            "factor": shape.max_position_embeddings / 4096,
            "original_max_position_embeddings": 4096,
            "beta_fast": 1.0,
            "beta_slow": 1.0,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
        },
        "routed_scaling_factor": 2.827,
        "scoring_func": "sigmoid",
        "tie_word_embeddings": False,
        "topk_method": "noaux_tc",
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": VOCAB_SIZE,
    } | {field.name: getattr(shape, field.name) for field in fields(shape)}
