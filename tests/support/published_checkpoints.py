"""Small random checkpoints of the published models: their own config.json but for the sizes, their tensors' names and
their formats; and transformers' model with the same weights, the oracle."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    ApertusConfig,
    ApertusForCausalLM,
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from tests.support.configs import FAMILIES
from tests.support.quantized_checkpoints import EXPERT, LINEAR, pack, round_trip

PREFIX = "language_model."
CLASSES: dict[str, tuple[type[PreTrainedConfig], type[PreTrainedModel]]] = {
    "DeepseekV3ForCausalLM": (DeepseekV3Config, DeepseekV3ForCausalLM),
    "Qwen3MoeForCausalLM": (Qwen3MoeConfig, Qwen3MoeForCausalLM),
    "ApertusForCausalLM": (ApertusConfig, ApertusForCausalLM),
}
# Of blocks of 128 and groups of 32; matrices that are joined have whole blocks.
COMMON: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4, "vocab_size": 211}
MIXTURE: dict[str, Any] = {"moe_intermediate_size": 128, "num_hidden_layers": 2}
MLA: dict[str, Any] = {
    "num_key_value_heads": 4,
    "q_lora_rank": 128,
    "kv_lora_rank": 128,
    "qk_nope_head_dim": 64,
    "qk_rope_head_dim": 32,
    "v_head_dim": 64,
    "n_routed_experts": 16,
}
SMALL: dict[str, dict[str, Any]] = {
    "DeepseekV3ForCausalLM": {**COMMON, **MIXTURE, **MLA},
    "Qwen3MoeForCausalLM": {**COMMON, **MIXTURE, "num_experts": 16, "num_key_value_heads": 2, "head_dim": 64},
    "ApertusForCausalLM": {**COMMON, "num_key_value_heads": 2, "num_hidden_layers": 2},
}


def small_published(name: str, **changes: Any) -> dict[str, Any]:
    """The published config.json of `name`, its language model made small and changed as said, in float32."""
    raw: dict[str, Any] = json.loads((FAMILIES / f"{name}.json").read_text())
    inner = language_model(raw)
    inner |= {**SMALL[inner["architectures"][0]], **changes}
    if "first_k_dense_replace" in inner:
        inner["num_hidden_layers"] = inner["first_k_dense_replace"] + 1
    for key in ("dtype", "torch_dtype"):
        if key in inner:
            inner[key] = "float32"
    return raw


def language_model(raw: dict[str, Any]) -> dict[str, Any]:
    """The part of a config.json that describes the language model."""
    inner: dict[str, Any] = raw.get("text_config", raw)
    return inner


def write_published(folder: Path, raw: dict[str, Any]) -> PreTrainedModel:
    """Writes a random checkpoint of `raw` to `folder` as it would be published, and returns the oracle, whose weights
    are those that the formats can hold."""
    inner = language_model(raw)
    plain = folder / "plain"
    oracle = _random_oracle(inner)
    oracle.save_pretrained(plain)
    rounded, published = {}, {}
    for name, tensor in load_file(plain / "model.safetensors").items():
        format = _format(name, inner.get("quantization_config"))
        rounded[name] = tensor if format is None else round_trip(tensor, format)
        packed = {name: tensor} if format is None else pack(name, tensor, format)
        published |= {(PREFIX if inner is not raw else "") + key: value for key, value in packed.items()}
    save_file(rounded, plain / "model.safetensors")
    published |= dict(_unused(raw))
    save_file(published, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(raw))
    return type(oracle).from_pretrained(plain, attn_implementation="eager").eval()


def _random_oracle(inner: dict[str, Any]) -> PreTrainedModel:
    config, model = CLASSES[inner["architectures"][0]]
    settings = {key: value for key, value in inner.items() if key not in ("quantization_config", "model_type")}
    torch.manual_seed(17)
    oracle = model(config(**settings, attn_implementation="eager")).eval()
    with torch.no_grad():
        for name, tensor in [*oracle.named_parameters(), *oracle.named_buffers()]:
            if "norm" in name:
                tensor.copy_(1 + 0.2 * torch.randn_like(tensor))
            elif tensor.dim() > 1:
                tensor.copy_(torch.randn_like(tensor) * 1.5 / tensor.shape[-1] ** 0.5)
            elif name.endswith(("alpha_p", "alpha_n", "e_score_correction_bias")):
                tensor.copy_(0.3 * torch.randn_like(tensor))
    return oracle


def _format(name: str, quantization: dict[str, Any] | None) -> Any:
    """What a tensor is packed in, by how the checkpoint says that it was."""
    if quantization is None:
        return None
    if quantization["quant_method"] == "fp8":
        return "fp8" if LINEAR.fullmatch(name) else None
    return "int4" if EXPERT.fullmatch(name) else None


def _unused(raw: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Tensors that the published checkpoint holds and that are not served: what sees, and what predicts further
    tokens."""
    inner = language_model(raw)
    if inner is not raw:
        yield "vision_tower.encoder.blocks.0.norm0.weight", torch.zeros(4)
        yield "mm_projector.proj.0.weight", torch.zeros(4, 4)
    first = inner["num_hidden_layers"]
    for layer in range(first, first + inner.get("num_nextn_predict_layers", 0)):
        yield f"model.layers.{layer}.eh_proj.weight", torch.zeros(4, 8)
        yield f"model.layers.{layer}.self_attn.o_proj.weight_scale_inv", torch.zeros(1, 1)
        yield f"model.layers.{layer}.shared_head.head.weight", torch.zeros(4, 4)
