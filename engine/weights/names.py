"""Where each tensor of a published checkpoint goes: Hugging Face names on one side, our parameters on the other.

Owns all knowledge of both namings. Reads no file and imports no torch.

    model.layers.1.mlp.experts.7.up_proj.weight [F, D]  ->  layers.1.ffn.experts.gate_up_proj [7, F:2F]
    model.layers.1.self_attn.kv_b_proj.weight           ->  layers.1.attention.up_k [H, N, L]
        seen as [H, N+V, L], rows by head                   layers.1.attention.up_v [H, V, L]
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from engine.models.config import ModelConfig

Index = tuple[int | slice, ...]


@dataclass(frozen=True, slots=True)
class Copy:
    """`parameter[target] = tensor[source]`; an empty index is the whole."""

    parameter: str
    target: Index = ()
    source: Index = ()


@dataclass(frozen=True, slots=True)
class Expected:
    """A tensor that the checkpoint must hold: its name and shape, how to look at it and where its parts go."""

    name: str
    shape: tuple[int, ...]
    copies: tuple[Copy, ...]
    view: tuple[int, ...] | None = None


def expected_tensors(config: ModelConfig) -> Iterator[Expected]:
    """Every tensor that a checkpoint of this config must hold, in the model's order."""
    D, V = config.hidden_size, config.vocab_size
    yield _whole("model.embed_tokens.weight", (V, D), "embedding")
    for layer in range(config.num_hidden_layers):
        theirs, ours = f"model.layers.{layer}", f"layers.{layer}"
        yield _whole(f"{theirs}.input_layernorm.weight", (D,), f"{ours}.attention_norm.weight")
        yield from _attention(config, f"{theirs}.self_attn", f"{ours}.attention")
        yield _whole(f"{theirs}.post_attention_layernorm.weight", (D,), f"{ours}.ffn_norm.weight")
        if layer < config.first_k_dense_replace:
            yield from _mlp(D, config.intermediate_size, f"{theirs}.mlp", f"{ours}.ffn")
        else:
            yield from _mixture(config, f"{theirs}.mlp", f"{ours}.ffn")
    yield _whole("model.norm.weight", (D,), "norm.weight")
    if not config.tie_word_embeddings:
        yield _whole("lm_head.weight", (V, D), "head.weight")


def known_extra(name: str, config: ModelConfig) -> str | None:
    """Why a tensor that the model has no use for may be there all the same; None if it may not."""
    if name.endswith(".rotary_emb.inv_freq"):
        return "rotary frequencies, computed from config.json instead"
    if name == "lm_head.weight" and config.tie_word_embeddings:
        return "lm_head.weight, as config.json ties it to the embedding"
    layer = re.match(r"model\.layers\.(\d+)\.", name)
    first = config.num_hidden_layers
    if layer and first <= int(layer[1]) < first + config.num_nextn_predict_layers:
        return f"layer {int(layer[1])}, which predicts further tokens (MTP) and is not used"
    return None


def _whole(name: str, shape: tuple[int, ...], parameter: str) -> Expected:
    return Expected(name, shape, (Copy(parameter),))


def _rows(name: str, shape: tuple[int, ...], parameter: str, first: int) -> Expected:
    """The tensor becomes the parameter's rows from `first` on."""
    return Expected(name, shape, (Copy(parameter, (slice(first, first + shape[0]),)),))


def _attention(config: ModelConfig, theirs: str, ours: str) -> Iterator[Expected]:
    D, H, L, V = config.hidden_size, config.num_attention_heads, config.kv_lora_rank, config.v_head_dim
    N, R, rank = config.qk_nope_head_dim, config.qk_rope_head_dim, config.q_lora_rank
    query_rows = H * (N + R) if rank is None else rank
    query = "q_proj" if rank is None else "q_a_proj"
    yield _rows(f"{theirs}.{query}.weight", (query_rows, D), f"{ours}.qkv_a_proj.weight", 0)
    if rank is not None:
        yield _whole(f"{theirs}.q_a_layernorm.weight", (rank,), f"{ours}.q_a_norm.weight")
        yield _whole(f"{theirs}.q_b_proj.weight", (H * (N + R), rank), f"{ours}.q_b_proj.weight")
    yield _rows(f"{theirs}.kv_a_proj_with_mqa.weight", (L + R, D), f"{ours}.qkv_a_proj.weight", query_rows)
    yield _whole(f"{theirs}.kv_a_layernorm.weight", (L,), f"{ours}.kv_a_norm.weight")
    up_k = Copy(f"{ours}.up_k", source=(slice(None), slice(0, N)))
    up_v = Copy(f"{ours}.up_v", source=(slice(None), slice(N, N + V)))
    yield Expected(f"{theirs}.kv_b_proj.weight", (H * (N + V), L), (up_k, up_v), view=(H, N + V, L))
    yield _whole(f"{theirs}.o_proj.weight", (D, H * V), f"{ours}.o_proj.weight")


def _mlp(D: int, F: int, theirs: str, ours: str) -> Iterator[Expected]:
    yield _rows(f"{theirs}.gate_proj.weight", (F, D), f"{ours}.gate_up_proj.weight", 0)
    yield _rows(f"{theirs}.up_proj.weight", (F, D), f"{ours}.gate_up_proj.weight", F)
    yield _whole(f"{theirs}.down_proj.weight", (D, F), f"{ours}.down_proj.weight")


def _mixture(config: ModelConfig, theirs: str, ours: str) -> Iterator[Expected]:
    D, E, F = config.hidden_size, config.n_routed_experts, config.moe_intermediate_size
    yield _whole(f"{theirs}.gate.weight", (E, D), f"{ours}.router.weight")
    yield _whole(f"{theirs}.gate.e_score_correction_bias", (E,), f"{ours}.router.bias")
    for expert in range(E):
        name, gate_up = f"{theirs}.experts.{expert}", f"{ours}.experts.gate_up_proj"
        yield Expected(f"{name}.gate_proj.weight", (F, D), (Copy(gate_up, (expert, slice(0, F))),))
        yield Expected(f"{name}.up_proj.weight", (F, D), (Copy(gate_up, (expert, slice(F, 2 * F))),))
        yield Expected(f"{name}.down_proj.weight", (D, F), (Copy(f"{ours}.experts.down_proj", (expert,)),))
    yield from _mlp(D, config.n_shared_experts * F, f"{theirs}.shared_experts", f"{ours}.shared")
