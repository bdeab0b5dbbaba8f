"""Two steps of small models of each family, by any backend of kernels."""

from dataclasses import replace

import torch
from support.configs import small_config, small_family

from engine.kernels.backend import Kernels
from engine.kernels.formats import PLAIN
from engine.layers.weight import Forms
from engine.models.batch import DecodeGroup, ForwardBatch, PrefillChunk
from engine.models.config import ModelConfig
from engine.models.registry import build_model
from engine.runner.kv_store import KVStore

BLOCK = 4


def two_layers(name: str) -> ModelConfig:
    """A published model's family with two small layers."""
    tiny = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 64}
    if name == "kimi":
        more = {"q_lora_rank": 32, "kv_lora_rank": 32, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16}
        more |= {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "intermediate_size": 64}
        config = small_config(**tiny, **more)
    else:
        config = replace(small_family(name), num_hidden_layers=2)
        config = replace(config, moe_layers=config.moe_layers & {0, 1}, vocab_size=64)
        if config.moe is not None:
            config = replace(config, moe=replace(config.moe, experts=4, per_token=2))
    return config


def two_steps(
    config: ModelConfig,
    kernels: Kernels,
    dtype: torch.dtype = torch.float32,
    device: torch.device = torch.device("cpu"),  # noqa: B008
) -> list[torch.Tensor]:
    """Logits of a prompt's chunk, then of a decode step beside another chunk. The weights are the same in every dtype:
    random, rounded to bfloat16."""
    generator = torch.Generator().manual_seed(5)
    model = build_model(config, Forms(dtype, PLAIN, kernels))
    for parameter in model.parameters():
        parameter.data.copy_((torch.randn(parameter.shape, generator=generator) * 0.1).bfloat16())
    model.to(device)
    kv = KVStore(config, 8, BLOCK, dtype, device)

    def tensor(*values: int) -> torch.Tensor:
        return torch.tensor(values, device=device)

    first = ForwardBatch(
        tensor(*range(5)), tensor(*range(5)), tensor(*range(8, 13)), (), (PrefillChunk(0, 5, 0, tensor(2, 3)),),
        tensor(4),
    )  # fmt: skip
    group = DecodeGroup(tensor(0), tensor(2, 3)[None], tensor(6))
    second = ForwardBatch(
        tensor(9, 1, 2), tensor(5, 0, 1), tensor(13, 20, 21), (group,), (PrefillChunk(1, 2, 0, tensor(5)),),
        tensor(0, 2),
    )  # fmt: skip
    with torch.inference_mode():
        return [model(first, kv), model(second, kv)]
