"""How a config.json says what rotary embedding a model has."""

from dataclasses import fields as fields_of

from engine.models.config import Llama3Config, RopeConfig, YarnConfig
from engine.models.configs.fields import Fields

# kind -> the names that belong to it
SCALINGS = {"yarn": fields_of(YarnConfig), "llama3": fields_of(Llama3Config)}


def read_rope(fields: Fields, kinds: tuple[str, ...], *, interleaved: bool) -> RopeConfig:
    """Reads rope_theta and rope_scaling, or the rope_parameters with which transformers 5 replaced both. `kinds`: the
    kinds of scaling that this family has beside "default". Raises CheckpointError."""
    fields.only("partial_rotary_factor", 1)
    new, old = fields.get("rope_parameters"), fields.get("rope_scaling")
    if new is not None and old is not None and new != old:
        raise fields.refuse("rope_parameters and rope_scaling are both given and differ: remove one")
    key = "rope_scaling" if new is None else "rope_parameters"
    raw = {} if fields.get(key) is None else fields.get(key)
    if not isinstance(raw, dict):
        raise fields.refuse(f"{key} is {raw!r}, expected an object")
    scaling = Fields(raw, f"{fields.where}: {key}")
    theta = (scaling if "rope_theta" in raw else fields).number("rope_theta")
    return RopeConfig(theta=theta, interleaved=interleaved, scaling=_scaling(scaling, kinds))


def _scaling(scaling: Fields, kinds: tuple[str, ...]) -> YarnConfig | Llama3Config | None:
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    if scaling.get("type") not in (None, kind):
        raise scaling.refuse(f"rope_type {kind!r} and type {scaling.get('type')!r} differ: remove one")
    understood = {"rope_type", "type", "rope_theta"}
    if kind in kinds:
        understood |= {field.name for field in SCALINGS[kind]}
    elif kind != "default":
        known = " and ".join(repr(one) for one in (*kinds, "default"))
        raise scaling.refuse(f"rope type {kind!r} is not supported, only {known}")
    strange = sorted(key for key in scaling.raw if key not in understood and scaling.get(key) is not None)
    if strange:
        raise scaling.refuse(f"{strange[0]} {scaling.get(strange[0])!r} is not supported with rope type {kind!r}")
    if kind == "default":
        return None
    return _yarn(scaling) if kind == "yarn" else _llama3(scaling)


def _yarn(scaling: Fields) -> YarnConfig:
    read = YarnConfig(
        factor=scaling.number("factor"),
        original_max_position_embeddings=scaling.count("original_max_position_embeddings"),
        # Defaults of the published implementation.
        beta_fast=scaling.number("beta_fast", default=32.0),
        beta_slow=scaling.number("beta_slow", default=1.0),
        mscale=scaling.number("mscale", default=1.0, zero=True),
        mscale_all_dim=scaling.number("mscale_all_dim", default=0.0, zero=True),
    )
    alone = not (read.mscale and read.mscale_all_dim)
    if alone and (read.mscale, read.mscale_all_dim) != (1.0, 0.0):
        raise scaling.refuse(
            f"mscale {scaling.get('mscale')!r} with mscale_all_dim {scaling.get('mscale_all_dim')!r} is not supported: "
            "implementations differ on one without the other"
        )
    return read


def _llama3(scaling: Fields) -> Llama3Config:
    read = Llama3Config(
        factor=scaling.number("factor"),
        original_max_position_embeddings=scaling.count("original_max_position_embeddings"),
        low_freq_factor=scaling.number("low_freq_factor"),
        high_freq_factor=scaling.number("high_freq_factor"),
    )
    if read.high_freq_factor <= read.low_freq_factor:
        raise scaling.refuse(
            f"high_freq_factor {read.high_freq_factor:g} is not above low_freq_factor {read.low_freq_factor:g}"
        )
    return read
