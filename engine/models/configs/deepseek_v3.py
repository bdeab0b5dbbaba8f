"""config.json of DeepSeek-V3's architecture: DeepSeek V3, V3.1 and R1, Kimi K2 and its kin."""

from engine.models.config import MLAConfig, MLPConfig, ModelConfig, MoEConfig
from engine.models.configs.fields import Fields
from engine.models.configs.rope import read_rope

ARCHITECTURE = "DeepseekV3ForCausalLM"
MODEL_TYPES = ("kimi_k2", "deepseek_v3")


def read_deepseek_v3(fields: Fields) -> ModelConfig:
    """Raises CheckpointError for what would change the arithmetic and is not understood."""
    _check_supported(fields)
    layers, dense = fields.count("num_hidden_layers"), fields.count("first_k_dense_replace", least=0)
    if dense > layers:
        raise fields.refuse(f"first_k_dense_replace {dense} exceeds num_hidden_layers {layers}")
    mlp = MLPConfig(width=fields.count("intermediate_size"), activation="silu")
    return ModelConfig(
        architecture=ARCHITECTURE,
        model_type=str(fields.get("model_type")),
        dtype=fields.dtype(),
        vocab_size=fields.count("vocab_size"),
        max_position_embeddings=fields.count("max_position_embeddings"),
        hidden_size=fields.count("hidden_size"),
        num_hidden_layers=layers,
        extra_layers=fields.count("num_nextn_predict_layers", default=0, least=0),
        rms_norm_eps=fields.number("rms_norm_eps"),
        tie_word_embeddings=fields.flag("tie_word_embeddings", default=False),
        rope=read_rope(fields, ("yarn",), interleaved=fields.flag("rope_interleave", default=True)),
        attention=_attention(fields),
        mlp=mlp if dense else None,
        moe=_mixture(fields) if dense < layers else None,
        moe_layers=frozenset(range(dense, layers)),
    )


def _check_supported(fields: Fields) -> None:
    if fields.get("model_type") not in MODEL_TYPES:
        known = " and ".join(MODEL_TYPES)
        raise fields.refuse(f"model_type {fields.get('model_type')!r} is not supported, only {known}")
    fields.only("hidden_act", "silu", absent=False)
    fields.only("scoring_func", "sigmoid")
    fields.only("topk_method", "noaux_tc")
    fields.only("moe_layer_freq", 1)
    fields.only("attention_bias", False)
    # None of these projections has one head per key: the latent is shared, so grouped-query settings mean nothing.
    heads = fields.get("num_key_value_heads")
    if heads is not None and heads != fields.get("num_attention_heads"):
        raise fields.refuse(f"num_key_value_heads {heads!r} differs from num_attention_heads: not supported with MLA")


def _attention(fields: Fields) -> MLAConfig:
    read = MLAConfig(
        heads=fields.count("num_attention_heads"),
        query_rank=None if fields.get("q_lora_rank") is None else fields.count("q_lora_rank"),
        latent=fields.count("kv_lora_rank"),
        nope=fields.count("qk_nope_head_dim"),
        rotary=fields.count("qk_rope_head_dim"),
        value=fields.count("v_head_dim"),
    )
    if read.rotary % 2:
        raise fields.refuse(f"qk_rope_head_dim {read.rotary} is odd: rotary dimensions come in pairs")
    return read


def _mixture(fields: Fields) -> MoEConfig:
    width = fields.count("moe_intermediate_size")
    read = MoEConfig(
        experts=fields.count("n_routed_experts"),
        per_token=fields.count("num_experts_per_tok"),
        width=width,
        shared=width * fields.count("n_shared_experts"),  # published as one block of n times the width
        scoring="sigmoid",
        groups=fields.count("n_group", default=1),
        groups_kept=fields.count("topk_group", default=1),
        normalize=fields.flag("norm_topk_prob"),
        scale=fields.number("routed_scaling_factor"),
    )
    _check_groups(read, fields)
    return read


def _check_groups(moe: MoEConfig, fields: Fields) -> None:
    experts, groups, kept = moe.experts, moe.groups, moe.groups_kept
    if experts % groups:
        raise fields.refuse(f"n_group {groups} does not divide n_routed_experts {experts}")
    if groups > 1 and experts // groups < 2:
        raise fields.refuse(f"n_group {groups} leaves fewer than two of {experts} n_routed_experts to a group")
    if kept > groups:
        raise fields.refuse(f"topk_group {kept} exceeds n_group {groups}")
    if moe.per_token > kept * (experts // groups):
        raise fields.refuse(
            f"num_experts_per_tok {moe.per_token} exceeds the {kept * (experts // groups)} experts "
            f"of the {kept} groups that topk_group keeps"
        )
