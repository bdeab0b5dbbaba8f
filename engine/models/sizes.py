"""How large a model is, from its config alone. Exact; never imports torch.

Letters: D model, H heads, E experts, F expert width, L latent, N head without rotary, R rotary, V value head.
"""

from engine.models.config import ModelConfig


def kv_bytes_per_token(model: ModelConfig, dtype_bytes: int) -> int:
    """What one token takes in the KV cache, all layers together."""
    return sum(len(group.layers) * group.width for group in model.kv_groups) * dtype_bytes


def count_parameters(model: ModelConfig) -> dict[str, int]:
    """Parameters by part of the model; their sum is the model's size. `router` is always fp32."""
    D, H, L, R, V = (
        model.hidden_size,
        model.num_attention_heads,
        model.kv_lora_rank,
        model.qk_rope_head_dim,
        model.v_head_dim,
    )
    N, E, F = model.qk_nope_head_dim, model.n_routed_experts, model.moe_intermediate_size
    layers, dense = model.num_hidden_layers, model.first_k_dense_replace
    sparse = layers - dense
    rank = model.q_lora_rank
    query = D * H * (N + R) if rank is None else D * rank + rank + rank * H * (N + R)
    attention = query + D * (L + R) + L + H * (N + V) * L + H * V * D
    embedding = model.vocab_size * D
    return {
        "embedding and head": embedding * (1 if model.tie_word_embeddings else 2),
        "attention": layers * attention,
        "norms": (2 * layers + 1) * D,
        "dense MLP": dense * 3 * D * model.intermediate_size,
        "shared experts": sparse * 3 * D * F * model.n_shared_experts,
        "router": sparse * (E * D + E),
        "experts": sparse * E * 3 * D * F,
    }
