"""config.json of Qwen3: the mixtures of experts (235B-A22B, 30B-A3B, Coder) and their dense brothers."""

from engine.models.config import MLPConfig, ModelConfig, MoEConfig
from engine.models.configs.fields import Fields
from engine.models.configs.grouped import read_grouped_attention
from engine.models.configs.rope import read_rope

MIXTURE, DENSE = "Qwen3MoeForCausalLM", "Qwen3ForCausalLM"
MODEL_TYPES = {MIXTURE: "qwen3_moe", DENSE: "qwen3"}


def read_qwen3(fields: Fields) -> ModelConfig:
    """Raises CheckpointError for what would change the arithmetic and is not understood."""
    architecture = str(fields.get("architectures")[0])
    fields.only("model_type", MODEL_TYPES[architecture], absent=False)
    fields.only("hidden_act", "silu", absent=False)
    fields.only("attention_bias", False)
    fields.only("use_sliding_window", False)
    layers = fields.count("num_hidden_layers")
    moe_layers = _moe_layers(fields, layers) if architecture == MIXTURE else frozenset()
    mlp = MLPConfig(width=fields.count("intermediate_size"), activation="silu")
    return ModelConfig(
        architecture=architecture,
        model_type=MODEL_TYPES[architecture],
        dtype=fields.dtype(),
        vocab_size=fields.count("vocab_size"),
        max_position_embeddings=fields.count("max_position_embeddings"),
        hidden_size=fields.count("hidden_size"),
        num_hidden_layers=layers,
        extra_layers=0,
        rms_norm_eps=fields.number("rms_norm_eps"),
        tie_word_embeddings=fields.flag("tie_word_embeddings", default=False),
        rope=read_rope(fields, ("yarn",), interleaved=False),
        attention=read_grouped_attention(fields),
        mlp=mlp if len(moe_layers) < layers else None,
        moe=_mixture(fields) if moe_layers else None,
        moe_layers=moe_layers,
    )


def _moe_layers(fields: Fields, layers: int) -> frozenset[int]:
    """Every `decoder_sparse_step`-th layer, but for those in `mlp_only_layers`."""
    step = fields.count("decoder_sparse_step", default=1)
    dense = fields.get("mlp_only_layers") or []
    if not isinstance(dense, list) or not all(isinstance(one, int) and 0 <= one < layers for one in dense):
        raise fields.refuse(f"mlp_only_layers is {dense!r}, expected a list of layers below {layers}")
    return frozenset(layer for layer in range(layers) if (layer + 1) % step == 0 and layer not in dense)


def _mixture(fields: Fields) -> MoEConfig:
    # transformers 5 writes num_local_experts where the published files have num_experts
    name = "num_experts" if fields.get("num_local_experts") is None else "num_local_experts"
    if fields.get("num_experts") not in (None, fields.get(name)):
        raise fields.refuse(f"num_experts {fields.get('num_experts')!r} and num_local_experts differ: remove one")
    read = MoEConfig(
        experts=fields.count(name),
        per_token=fields.count("num_experts_per_tok"),
        width=fields.count("moe_intermediate_size"),
        shared=0,
        scoring="softmax",
        groups=1,
        groups_kept=1,
        normalize=fields.flag("norm_topk_prob", default=False),
        scale=1.0,
    )
    if read.per_token > read.experts:
        raise fields.refuse(f"num_experts_per_tok {read.per_token} exceeds the {read.experts} experts")
    return read
