"""Which layer serves which architecture. A new model family adds its line here and its file beside this one."""

from engine.errors import CheckpointError
from engine.layers.weight import Forms
from engine.models.apertus import ApertusLayer
from engine.models.causal import CausalModel, LayerMaker
from engine.models.config import ModelConfig
from engine.models.deepseek_v3 import DeepseekV3Layer
from engine.models.qwen3_moe import Qwen3Layer

LAYERS: dict[str, LayerMaker] = {
    "DeepseekV3ForCausalLM": DeepseekV3Layer,
    "Qwen3MoeForCausalLM": Qwen3Layer,
    "Qwen3ForCausalLM": Qwen3Layer,
    "ApertusForCausalLM": ApertusLayer,
}


def build_model(config: ModelConfig, forms: Forms) -> CausalModel:
    """Builds the model with uninitialised parameters on torch's current default device (the loader's is `meta`)."""
    if config.architecture not in LAYERS:
        raise CheckpointError(f"architecture {config.architecture!r} is not supported, only {', '.join(LAYERS)}")
    return CausalModel(config, LAYERS[config.architecture], forms)
