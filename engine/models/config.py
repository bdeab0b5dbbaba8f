"""ModelConfig: a checkpoint's config.json, read strictly, as plain data.

Owns which published settings the models here understand; whatever would change the arithmetic and is not understood
is refused by name. Knows no tensors and no weights; never imports torch. Field names are Hugging Face's own.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import CheckpointError

ARCHITECTURE = "DeepseekV3ForCausalLM"
MODEL_TYPES = ("kimi_k2", "deepseek_v3")
DTYPES = ("bfloat16", "float32", "float16")


@dataclass(frozen=True, kw_only=True, slots=True)
class YarnConfig:
    """YaRN context extension (Peng et al. 2023, arXiv 2309.00071), with DeepSeek's two magnitude scales."""

    factor: float
    original_max_position_embeddings: int
    beta_fast: float
    beta_slow: float
    mscale: float
    mscale_all_dim: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RopeConfig:
    """Rotary embedding. `interleaved`: the checkpoint stores the two halves of each rotated pair side by side."""

    theta: float
    interleaved: bool
    yarn: YarnConfig | None


@dataclass(frozen=True, kw_only=True, slots=True)
class KVGroup:
    """Layers that cache the same number of values per token and share one block table."""

    layers: tuple[int, ...]
    width: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """One model of the DeepSeek-V3 architecture. `dtype` is the checkpoint's own."""

    architecture: str
    model_type: str
    dtype: str
    vocab_size: int
    max_position_embeddings: int
    hidden_size: int
    num_hidden_layers: int
    num_nextn_predict_layers: int
    rms_norm_eps: float
    tie_word_embeddings: bool
    # attention
    num_attention_heads: int
    q_lora_rank: int | None
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    rope: RopeConfig
    # feed-forward
    first_k_dense_replace: int
    intermediate_size: int
    moe_intermediate_size: int
    n_shared_experts: int
    n_routed_experts: int
    num_experts_per_tok: int
    n_group: int
    topk_group: int
    norm_topk_prob: bool
    routed_scaling_factor: float

    @property
    def kv_groups(self) -> tuple[KVGroup, ...]:
        """What the KV cache holds: here one latent and one rotary key per token in every layer."""
        width = self.kv_lora_rank + self.qk_rope_head_dim
        return (KVGroup(layers=tuple(range(self.num_hidden_layers)), width=width),)


def load_model_config(folder: Path) -> ModelConfig:
    """Reads folder/config.json. Raises CheckpointError if it is absent, malformed or asks for what is unknown here."""
    path = folder / "config.json"
    try:
        raw = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist: {folder} is not a checkpoint folder") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path} holds no JSON object")
    return parse_model_config(raw, str(path))


def parse_model_config(raw: Mapping[str, Any], where: str = "config.json") -> ModelConfig:
    """Validates the content of a config.json; `where` names it in errors."""
    fields = _Fields(raw, where)
    _check_supported(fields)
    config = ModelConfig(
        architecture=ARCHITECTURE,
        model_type=raw["model_type"],
        dtype=_dtype(fields),
        vocab_size=fields.count("vocab_size"),
        max_position_embeddings=fields.count("max_position_embeddings"),
        hidden_size=fields.count("hidden_size"),
        num_hidden_layers=fields.count("num_hidden_layers"),
        num_nextn_predict_layers=fields.count("num_nextn_predict_layers", default=0, least=0),
        rms_norm_eps=fields.number("rms_norm_eps"),
        tie_word_embeddings=fields.flag("tie_word_embeddings", default=False),
        num_attention_heads=fields.count("num_attention_heads"),
        q_lora_rank=None if fields.get("q_lora_rank") is None else fields.count("q_lora_rank"),
        kv_lora_rank=fields.count("kv_lora_rank"),
        qk_nope_head_dim=fields.count("qk_nope_head_dim"),
        qk_rope_head_dim=fields.count("qk_rope_head_dim"),
        v_head_dim=fields.count("v_head_dim"),
        rope=_rope(fields),
        first_k_dense_replace=fields.count("first_k_dense_replace", least=0),
        intermediate_size=fields.count("intermediate_size"),
        moe_intermediate_size=fields.count("moe_intermediate_size"),
        n_shared_experts=fields.count("n_shared_experts"),
        n_routed_experts=fields.count("n_routed_experts"),
        num_experts_per_tok=fields.count("num_experts_per_tok"),
        n_group=fields.count("n_group", default=1),
        topk_group=fields.count("topk_group", default=1),
        norm_topk_prob=fields.flag("norm_topk_prob"),
        routed_scaling_factor=fields.number("routed_scaling_factor"),
    )
    _check_consistent(config, fields)
    return config


class _Fields:
    """Typed access to a JSON object; every error names the key, the value and the file."""

    def __init__(self, raw: Mapping[str, Any], where: str) -> None:
        self.raw = raw
        self.where = where

    def get(self, key: str) -> Any:
        return self.raw.get(key)

    def refuse(self, text: str) -> CheckpointError:
        return CheckpointError(f"{self.where}: {text}")

    def _require(self, key: str, default: Any) -> Any:
        value = self.raw.get(key)
        if value is None:
            if default is None:
                raise self.refuse(f"{key} is missing")
            value = default
        return value

    def count(self, key: str, *, default: int | None = None, least: int = 1) -> int:
        value = self._require(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.refuse(f"{key} is {value!r}, expected an integer of at least {least}")
        return value

    def number(self, key: str, *, default: float | None = None, zero: bool = False) -> float:
        value = self._require(key, default)
        fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not fits or value < 0 or (value == 0 and not zero):
            raise self.refuse(f"{key} is {value!r}, expected a positive number")
        return float(value)

    def flag(self, key: str, *, default: bool | None = None) -> bool:
        value = self._require(key, default)
        if not isinstance(value, bool):
            raise self.refuse(f"{key} is {value!r}, expected true or false")
        return value

    def only(self, key: str, supported: object, *, absent: bool = True) -> None:
        """Refuses any value of `key` but `supported` (and, where `absent`, none at all)."""
        value = self.raw.get(key)
        if not (value == supported or (absent and value is None)):
            raise self.refuse(f"{key} {value!r} is not supported, only {supported!r}")


def _check_supported(fields: _Fields) -> None:
    if fields.get("model_type") not in MODEL_TYPES:
        known = " and ".join(MODEL_TYPES)
        raise fields.refuse(f"model_type {fields.get('model_type')!r} is not supported, only {known}")
    architectures = fields.get("architectures")
    if architectures != [ARCHITECTURE]:
        raise fields.refuse(f"architectures {architectures!r} is not supported, only {[ARCHITECTURE]!r}")
    if fields.get("quantization_config") is not None:
        quantization = fields.get("quantization_config")
        method = quantization.get("quant_method") if isinstance(quantization, dict) else quantization
        raise fields.refuse(f"quantised checkpoints are not supported yet: {method}")
    fields.only("hidden_act", "silu", absent=False)
    fields.only("scoring_func", "sigmoid")
    fields.only("topk_method", "noaux_tc")
    fields.only("moe_layer_freq", 1)
    fields.only("attention_bias", False)
    # None of these projections has one head per key: the latent is shared, so grouped-query settings mean nothing.
    heads = fields.get("num_key_value_heads")
    if heads is not None and heads != fields.get("num_attention_heads"):
        raise fields.refuse(f"num_key_value_heads {heads!r} differs from num_attention_heads: not supported with MLA")


def _dtype(fields: _Fields) -> str:
    """transformers 5 writes `dtype` where older versions wrote `torch_dtype`."""
    dtype = fields.get("dtype") if fields.get("dtype") is not None else fields.get("torch_dtype")
    if dtype not in DTYPES:
        raise fields.refuse(f"torch_dtype is {dtype!r}, expected one of {', '.join(DTYPES)}")
    return str(dtype)


def _rope(fields: _Fields) -> RopeConfig:
    """Reads rope_theta and rope_scaling, or the rope_parameters with which transformers 5 replaced both."""
    new, old = fields.get("rope_parameters"), fields.get("rope_scaling")
    if new is not None and old is not None and new != old:
        raise fields.refuse("rope_parameters and rope_scaling are both given and differ: remove one")
    key = "rope_scaling" if new is None else "rope_parameters"
    raw = {} if fields.get(key) is None else fields.get(key)
    if not isinstance(raw, dict):
        raise fields.refuse(f"{key} is {raw!r}, expected an object")
    scaling = _Fields(raw, f"{fields.where}: {key}")
    theta = (scaling if "rope_theta" in raw else fields).number("rope_theta")
    interleaved = fields.flag("rope_interleave", default=True)
    return RopeConfig(theta=theta, interleaved=interleaved, yarn=_yarn(scaling))


def _yarn(scaling: _Fields) -> YarnConfig | None:
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    if scaling.get("type") not in (None, kind):
        raise scaling.refuse(f"rope_type {kind!r} and type {scaling.get('type')!r} differ: remove one")
    understood = {"rope_type", "type", "rope_theta"}
    if kind == "yarn":
        understood |= set(YarnConfig.__dataclass_fields__)
    elif kind != "default":
        raise scaling.refuse(f"rope type {kind!r} is not supported, only 'yarn' and 'default'")
    strange = sorted(key for key in scaling.raw if key not in understood and scaling.get(key) is not None)
    if strange:
        raise scaling.refuse(f"{strange[0]} {scaling.get(strange[0])!r} is not supported with rope type {kind!r}")
    if kind == "default":
        return None
    return YarnConfig(
        factor=scaling.number("factor"),
        original_max_position_embeddings=scaling.count("original_max_position_embeddings"),
        # Defaults of the published implementation.
        beta_fast=scaling.number("beta_fast", default=32.0),
        beta_slow=scaling.number("beta_slow", default=1.0),
        mscale=scaling.number("mscale", default=1.0, zero=True),
        mscale_all_dim=scaling.number("mscale_all_dim", default=0.0, zero=True),
    )


def _check_consistent(config: ModelConfig, fields: _Fields) -> None:
    experts, groups, kept = config.n_routed_experts, config.n_group, config.topk_group
    if config.qk_rope_head_dim % 2:
        raise fields.refuse(f"qk_rope_head_dim {config.qk_rope_head_dim} is odd: rotary dimensions come in pairs")
    if config.first_k_dense_replace > config.num_hidden_layers:
        raise fields.refuse(
            f"first_k_dense_replace {config.first_k_dense_replace} exceeds num_hidden_layers {config.num_hidden_layers}"
        )
    if experts % groups:
        raise fields.refuse(f"n_group {groups} does not divide n_routed_experts {experts}")
    if groups > 1 and experts // groups < 2:
        raise fields.refuse(f"n_group {groups} leaves fewer than two of {experts} n_routed_experts to a group")
    if kept > groups:
        raise fields.refuse(f"topk_group {kept} exceeds n_group {groups}")
    if config.num_experts_per_tok > kept * (experts // groups):
        raise fields.refuse(
            f"num_experts_per_tok {config.num_experts_per_tok} exceeds the {kept * (experts // groups)} experts "
            f"of the {kept} groups that topk_group keeps"
        )
