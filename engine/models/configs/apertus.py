"""config.json of Apertus (8B, 70B): dense, xIELU, normalised queries and keys, Llama 3's rotary embedding."""

from engine.models.config import MLPConfig, ModelConfig
from engine.models.configs.fields import Fields
from engine.models.configs.grouped import read_grouped_attention
from engine.models.configs.rope import read_rope

ARCHITECTURE = "ApertusForCausalLM"


def read_apertus(fields: Fields) -> ModelConfig:
    """Raises CheckpointError for what would change the arithmetic and is not understood."""
    fields.only("model_type", "apertus", absent=False)
    fields.only("hidden_act", "xielu", absent=False)
    fields.only("attention_bias", False)
    fields.only("mlp_bias", False)
    fields.only("qk_norm", True)
    fields.only("post_norm", False)
    return ModelConfig(
        architecture=ARCHITECTURE,
        model_type="apertus",
        dtype=fields.dtype(),
        vocab_size=fields.count("vocab_size"),
        max_position_embeddings=fields.count("max_position_embeddings"),
        hidden_size=fields.count("hidden_size"),
        num_hidden_layers=fields.count("num_hidden_layers"),
        extra_layers=0,
        rms_norm_eps=fields.number("rms_norm_eps"),
        tie_word_embeddings=fields.flag("tie_word_embeddings", default=False),
        rope=read_rope(fields, ("llama3",), interleaved=False),
        attention=read_grouped_attention(fields),
        mlp=MLPConfig(width=fields.count("intermediate_size"), activation="xielu"),
        moe=None,
        moe_layers=frozenset(),
    )
