"""The size of the demonstration model, its config.json, and how its residual stream is divided at the start."""

from typing import Any

from demo.presets import Shape, model_config
from demo.tokenizer import VOCAB_SIZE

SHAPE = Shape(
    hidden_size=256,
    num_hidden_layers=5,
    num_attention_heads=6,
    q_lora_rank=128,
    kv_lora_rank=160,
    qk_nope_head_dim=64,
    qk_rope_head_dim=32,
    v_head_dim=64,
    intermediate_size=512,
    moe_intermediate_size=192,
    n_routed_experts=8,
    num_experts_per_tok=2,
    max_position_embeddings=32768,
)
ROPE_THETA = 10000.0
EPS = 1e-6
VOCABULARY = VOCAB_SIZE


def demo_config(shape: Shape = SHAPE) -> dict[str, Any]:
    """config.json. Plain rotary positions: only relative ones matter, so longer prompts than those trained on work
    as far as the fast rotations carry."""
    config = model_config(shape)
    config |= {"rope_theta": ROPE_THETA, "rope_scaling": None, "routed_scaling_factor": 1.0, "rms_norm_eps": EPS}
    return config


class Layout:
    """Which residual dimensions hold what when training begins (see demo.training.circuits).

    0        64        96       128       192  193      224       255
    | token  | one     | two    | answer  | 1  | words  | words   | is a |
    | code   | before  | before | code    |    | near   | around  | word |
    """

    token = slice(0, 64)
    before = (slice(64, 96), slice(96, 128))
    answer = slice(128, 192)
    constant = 192
    near = slice(193, 224)
    around = slice(224, 255)
    word = 255
