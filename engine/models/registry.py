"""Which class serves which architecture. A new model family adds its line here and its file beside this one."""

import torch
from torch import nn

from engine.errors import CheckpointError
from engine.models.config import ModelConfig
from engine.models.deepseek_v3 import DeepseekV3

ARCHITECTURES: dict[str, type[DeepseekV3]] = {"DeepseekV3ForCausalLM": DeepseekV3}


def build_model(config: ModelConfig, dtype: torch.dtype) -> nn.Module:
    """Builds the model with uninitialised parameters on torch's current default device (the loader's is `meta`)."""
    try:
        architecture = ARCHITECTURES[config.architecture]
    except KeyError:
        raise CheckpointError(
            f"architecture {config.architecture!r} is not supported, only {', '.join(ARCHITECTURES)}"
        ) from None
    return architecture(config, dtype)
