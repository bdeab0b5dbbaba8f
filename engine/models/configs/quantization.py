"""quantization_config of a config.json: in which formats the checkpoint's matrices are.

Two kinds are published for these models: FP8 in blocks of 128 x 128 (DeepSeek, Kimi K2, Qwen3) and compressed-tensors'
INT4 in groups of 32 (K2-Thinking, K2.5). What differs from them is refused by name.
"""

import re

from engine.kernels.formats import FP8_BLOCK, GROUP, Format, Formats
from engine.models.config import ModelConfig
from engine.models.configs.fields import Fields

# One name of each part of a model; all of a part are stored alike.
LINEAR = ("self_attn.o_proj", "mlp.down_proj", "mlp.shared_experts.down_proj")
EXPERTS = "mlp.experts.0.down_proj"
INT4 = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": GROUP, "symmetric": True}
# What is never quantised, whether a file says so or not.
UNTOUCHED = re.compile(r".*(layernorm|norm|mlp\.gate|e_score_correction_bias)|lm_head|model\.embed_tokens|model\.norm")


def read_formats(fields: Fields, model: ModelConfig) -> Formats:
    """Raises CheckpointError."""
    raw = fields.get("quantization_config")
    if raw is None:
        return Formats()
    if not isinstance(raw, dict):
        raise fields.refuse(f"quantization_config is {raw!r}, expected an object")
    inner = Fields(raw, f"{fields.where}: quantization_config")
    method = inner.get("quant_method")
    if method == "fp8":
        return _fp8(inner)
    if method == "compressed-tensors":
        return _compressed(inner, model)
    raise inner.refuse(f"quant_method {method!r} is not supported, only 'fp8' and 'compressed-tensors'")


def _fp8(inner: Fields) -> Formats:
    inner.only("fmt", "e4m3")
    inner.only("activation_scheme", "dynamic")
    inner.only("weight_block_size", [FP8_BLOCK, FP8_BLOCK], absent=False)
    left_out = inner.get("modules_to_not_convert") or []
    strange = [name for name in left_out if UNTOUCHED.fullmatch(str(name)) is None]
    if strange:
        raise inner.refuse(
            f"modules_to_not_convert names {strange[0]!r}: linear layers that are not fp8 are not supported"
        )
    return Formats(linear="fp8", experts="fp8")


def _compressed(inner: Fields, model: ModelConfig) -> Formats:
    inner.only("format", "pack-quantized", absent=False)
    for key in ("kv_cache_scheme", "sparsity_config", "transform_config"):
        if inner.get(key):
            raise inner.refuse(f"{key} {inner.get(key)!r:.200} is not supported, only null")
    groups = inner.get("config_groups")
    if not isinstance(groups, dict) or len(groups) != 1:
        raise inner.refuse(
            f"config_groups has {len(groups) if isinstance(groups, dict) else 'no'} groups, expected one"
        )
    ((name, group),) = groups.items()
    described = Fields(group if isinstance(group, dict) else {}, f"{inner.where}: {name}")
    described.only("targets", ["Linear"], absent=False)
    described.only("input_activations", None)
    described.only("output_activations", None)
    weights = Fields(described.get("weights") or {}, f"{described.where}: weights")
    for key, value in INT4.items():
        weights.only(key, value, absent=False)
    weights.only("actorder", None)
    return _by_ignored(inner, model)


def _by_ignored(inner: Fields, model: ModelConfig) -> Formats:
    """Which parts `ignore` leaves as they are: each wholly or not at all."""
    ignored = [str(one) for one in inner.get("ignore") or []]
    first_sparse, first_dense = min(model.moe_layers, default=None), min(_dense(model), default=None)
    layers = {"mlp.down_proj": first_dense, "mlp.shared_experts.down_proj": first_sparse}
    parts: dict[str, Format] = {}
    for part in (*LINEAR, EXPERTS):
        layer = layers.get(part, 0) if part != EXPERTS else first_sparse
        if layer is not None:
            parts[part] = "plain" if _is_ignored(f"model.layers.{layer}.{part}", ignored) else "int4"
    if not _is_ignored("lm_head", ignored):
        raise inner.refuse("ignore does not name lm_head: a quantised head is not supported")
    linear = {format for part, format in parts.items() if part != EXPERTS}
    if len(linear) > 1:
        which = ", ".join(part for part, format in parts.items() if format == "plain")
        raise inner.refuse(f"ignore leaves out {which} but not all linear layers: that is not supported")
    return Formats(linear=linear.pop(), experts=parts.get(EXPERTS, "plain"))


def _dense(model: ModelConfig) -> set[int]:
    return set(range(model.num_hidden_layers)) - model.moe_layers


def _is_ignored(name: str, ignored: list[str]) -> bool:
    return any(re.match(one[3:], name) is not None if one.startswith("re:") else one == name for one in ignored)
