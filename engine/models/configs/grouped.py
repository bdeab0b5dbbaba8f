"""How a config.json says what grouped-query attention a model has."""

from engine.models.config import GQAConfig
from engine.models.configs.fields import Fields


def read_grouped_attention(fields: Fields) -> GQAConfig:
    """num_attention_heads, num_key_value_heads and head_dim. Raises CheckpointError."""
    kinds = fields.get("layer_types")
    if kinds is not None and (not isinstance(kinds, list) or any(kind != "full_attention" for kind in kinds)):
        raise fields.refuse(f"layer_types {kinds!r:.200} is not supported, only 'full_attention' in every layer")
    heads = fields.count("num_attention_heads")
    kv_heads = fields.count("num_key_value_heads", default=heads)
    hidden = fields.count("hidden_size")
    if heads % kv_heads:
        raise fields.refuse(f"num_key_value_heads {kv_heads} does not divide num_attention_heads {heads}")
    if fields.get("head_dim") is None and hidden % heads:
        raise fields.refuse(
            f"num_attention_heads {heads} does not divide hidden_size {hidden}, and there is no head_dim"
        )
    head = fields.count("head_dim", default=max(hidden // heads, 1))
    if head % 2:
        raise fields.refuse(f"head_dim {head} is odd: rotary dimensions come in pairs")
    return GQAConfig(heads=heads, kv_heads=kv_heads, head=head)
