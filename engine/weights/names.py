"""Where each tensor of a published checkpoint goes: Hugging Face names on one side, our parameters on the other.

Owns all knowledge of both namings. Reads no file and imports no torch.

    model.layers.1.mlp.experts.7.up_proj.weight [F, D]  ->  layers.1.ffn.experts.gate_up_proj [7, F:2F]
    model.layers.1.self_attn.kv_b_proj.weight           ->  layers.1.attention.up_k [H, N, L]
        seen as [H, N+V, L], rows by head                   layers.1.attention.up_v [H, V, L]
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from engine.kernels.formats import Format, Formats
from engine.models.config import GQAConfig, MLAConfig, ModelConfig, MoEConfig

Index = tuple[int | slice, ...]
# architecture -> what it calls the norms before attention and before the feed-forward block; "": all others.
NORMS = {
    "": ("input_layernorm", "post_attention_layernorm"),
    "ApertusForCausalLM": ("attention_layernorm", "feedforward_layernorm"),
}
# What xIELU is computed with here, and some checkpoints hold: other values are refused.
CONSTANTS = {".act_fn.beta": 0.5, ".act_fn.eps": -1e-6}
# Parts of models that see.
VISION = ("vision_tower.", "mm_projector.")


@dataclass(frozen=True, slots=True)
class Copy:
    """`parameter[target] = tensor[source]`; an empty index is the whole."""

    parameter: str
    target: Index = ()
    source: Index = ()


@dataclass(frozen=True, slots=True)
class Expected:
    """A matrix or vector that the checkpoint must hold: its name, shape and format, how to look at it and where its
    parts go."""

    name: str
    shape: tuple[int, ...]
    copies: tuple[Copy, ...]
    format: Format = "plain"
    view: tuple[int, ...] | None = None


def expected_tensors(config: ModelConfig) -> Iterator[Expected]:
    """Every matrix and vector that a checkpoint of this config must hold, in the model's order."""
    for tensor in _tensors(config):
        yield replace(tensor, name=config.prefix + tensor.name, format=_format(tensor.name, config.formats))


def _format(name: str, formats: Formats) -> Format:
    """The linear layers have names of their own; all else is plain."""
    if not name.endswith(("proj.weight", "proj_with_mqa.weight")):
        return "plain"
    return formats.experts if ".mlp.experts." in name else formats.linear


def _tensors(config: ModelConfig) -> Iterator[Expected]:
    D, V = config.hidden_size, config.vocab_size
    yield _whole("model.embed_tokens.weight", (V, D), "embedding")
    for layer in range(config.num_hidden_layers):
        yield from _layer(config, layer, f"model.layers.{layer}", f"layers.{layer}")
    yield _whole("model.norm.weight", (D,), "norm.weight")
    if not config.tie_word_embeddings:
        yield _whole("lm_head.weight", (V, D), "head")


def _layer(config: ModelConfig, layer: int, theirs: str, ours: str) -> Iterator[Expected]:
    D = config.hidden_size
    before_attention, before_ffn = NORMS.get(config.architecture, NORMS[""])
    yield _whole(f"{theirs}.{before_attention}.weight", (D,), f"{ours}.attention_norm.weight")
    if isinstance(config.attention, MLAConfig):
        yield from _mla(config.attention, D, f"{theirs}.self_attn", f"{ours}.attention")
    else:
        yield from _gqa(config.attention, D, f"{theirs}.self_attn", f"{ours}.attention")
    yield _whole(f"{theirs}.{before_ffn}.weight", (D,), f"{ours}.ffn_norm.weight")
    if layer in config.moe_layers:
        assert config.moe is not None
        yield from _mixture(config.moe, D, f"{theirs}.mlp", f"{ours}.ffn")
    else:
        assert config.mlp is not None
        kind = _mlp if config.mlp.activation == "silu" else _xielu
        yield from kind(D, config.mlp.width, f"{theirs}.mlp", f"{ours}.ffn")


def known_extra(name: str, config: ModelConfig) -> str | None:
    """Why a tensor that the model has no use for may be there all the same; None if it may not."""
    if config.prefix and name.startswith(VISION):
        return "weights of the part that sees, which is not served"
    name = name.removeprefix(config.prefix)
    if name.endswith(tuple(CONSTANTS)):
        return "xIELU's constants, which are the published ones"
    if name.endswith(".rotary_emb.inv_freq"):
        return "rotary frequencies, computed from config.json instead"
    if name == "lm_head.weight" and config.tie_word_embeddings:
        return "lm_head.weight, as config.json ties it to the embedding"
    layer = re.match(r"model\.layers\.(\d+)\.", name)
    first = config.num_hidden_layers
    if layer and first <= int(layer[1]) < first + config.extra_layers:
        return f"layer {int(layer[1])}, which predicts further tokens (MTP) and is not used"
    return None


def _whole(name: str, shape: tuple[int, ...], parameter: str) -> Expected:
    return Expected(name, shape, (Copy(parameter),))


def _rows(name: str, shape: tuple[int, ...], parameter: str, first: int) -> Expected:
    """The tensor becomes the parameter's rows from `first` on."""
    return Expected(name, shape, (Copy(parameter, (slice(first, first + shape[0]),)),))


def _mla(attention: MLAConfig, D: int, theirs: str, ours: str) -> Iterator[Expected]:
    H, L, V = attention.heads, attention.latent, attention.value
    N, R, rank = attention.nope, attention.rotary, attention.query_rank
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


def _gqa(attention: GQAConfig, D: int, theirs: str, ours: str) -> Iterator[Expected]:
    query, keys, W = attention.heads * attention.head, attention.kv_heads * attention.head, attention.head
    qkv = f"{ours}.qkv_proj.weight"
    yield _rows(f"{theirs}.q_proj.weight", (query, D), qkv, 0)
    yield _rows(f"{theirs}.k_proj.weight", (keys, D), qkv, query)
    yield _rows(f"{theirs}.v_proj.weight", (keys, D), qkv, query + keys)
    yield _whole(f"{theirs}.q_norm.weight", (W,), f"{ours}.q_norm.weight")
    yield _whole(f"{theirs}.k_norm.weight", (W,), f"{ours}.k_norm.weight")
    yield _whole(f"{theirs}.o_proj.weight", (D, query), f"{ours}.o_proj.weight")


def _mlp(D: int, F: int, theirs: str, ours: str) -> Iterator[Expected]:
    yield _rows(f"{theirs}.gate_proj.weight", (F, D), f"{ours}.gate_up_proj.weight", 0)
    yield _rows(f"{theirs}.up_proj.weight", (F, D), f"{ours}.gate_up_proj.weight", F)
    yield _whole(f"{theirs}.down_proj.weight", (D, F), f"{ours}.down_proj.weight")


def _xielu(D: int, F: int, theirs: str, ours: str) -> Iterator[Expected]:
    yield _whole(f"{theirs}.up_proj.weight", (F, D), f"{ours}.up_proj.weight")
    yield _whole(f"{theirs}.down_proj.weight", (D, F), f"{ours}.down_proj.weight")
    yield _whole(f"{theirs}.act_fn.alpha_p", (1,), f"{ours}.alpha_p")
    yield _whole(f"{theirs}.act_fn.alpha_n", (1,), f"{ours}.alpha_n")


def _mixture(moe: MoEConfig, D: int, theirs: str, ours: str) -> Iterator[Expected]:
    E, F = moe.experts, moe.width
    yield _whole(f"{theirs}.gate.weight", (E, D), f"{ours}.router.weight")
    if moe.scoring == "sigmoid":
        yield _whole(f"{theirs}.gate.e_score_correction_bias", (E,), f"{ours}.router.bias")
    for expert in range(E):
        name, gate_up = f"{theirs}.experts.{expert}", f"{ours}.experts.gate_up_proj"
        yield Expected(f"{name}.gate_proj.weight", (F, D), (Copy(gate_up, (expert, slice(0, F))),))
        yield Expected(f"{name}.up_proj.weight", (F, D), (Copy(gate_up, (expert, slice(F, 2 * F))),))
        yield Expected(f"{name}.down_proj.weight", (D, F), (Copy(f"{ours}.experts.down_proj", (expert,)),))
    if moe.shared:
        yield from _mlp(D, moe.shared, f"{theirs}.shared_experts", f"{ours}.shared")
