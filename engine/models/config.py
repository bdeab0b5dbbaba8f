"""ModelConfig: what a checkpoint's config.json says of the model, as plain data in the words of this project.

One shape for all families: they differ in what their layers are made of. Reading a family's config.json, strictly, is
its file in engine/models/configs. Knows no tensors and no weights; never imports torch.
"""

from dataclasses import dataclass
from typing import Literal

from engine.kernels.formats import PLAIN, Formats


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
class Llama3Config:
    """Llama 3.1's context extension: slow rotations are slowed down further, fast ones are kept."""

    factor: float
    original_max_position_embeddings: int
    low_freq_factor: float
    high_freq_factor: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RopeConfig:
    """Rotary embedding. `interleaved`: the checkpoint stores the two halves of each rotated pair side by side."""

    theta: float
    interleaved: bool
    scaling: YarnConfig | Llama3Config | None


@dataclass(frozen=True, kw_only=True, slots=True)
class MLAConfig:
    """Latent attention (engine/layers/mla.py). Widths of one head; `query_rank` None: queries come straight from the
    hidden state."""

    heads: int
    query_rank: int | None
    latent: int
    nope: int
    rotary: int
    value: int

    @property
    def cached(self) -> int:
        """Values that a token leaves in the cache, a layer."""
        return self.latent + self.rotary


@dataclass(frozen=True, kw_only=True, slots=True)
class GQAConfig:
    """Grouped-query attention (engine/layers/attention.py) with normalised queries and keys: `heads` query heads share
    `kv_heads` keys and values of width `head`."""

    heads: int
    kv_heads: int
    head: int

    @property
    def cached(self) -> int:
        """Values that a token leaves in the cache, a layer: keys, then values."""
        return 2 * self.kv_heads * self.head


@dataclass(frozen=True, kw_only=True, slots=True)
class MLPConfig:
    """A dense feed-forward block: silu has a gate, xielu has none."""

    width: int
    activation: Literal["silu", "xielu"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MoEConfig:
    """A mixture of experts. `shared`: width of the block that every token visits, 0 for none; `scoring` sigmoid has a
    correction bias and may choose among groups, softmax has neither."""

    experts: int
    per_token: int
    width: int
    shared: int
    scoring: Literal["sigmoid", "softmax"]
    groups: int
    groups_kept: int
    normalize: bool
    scale: float


@dataclass(frozen=True, kw_only=True, slots=True)
class KVGroup:
    """Layers that cache the same number of values per token and share one block table."""

    layers: tuple[int, ...]
    width: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """One model. `dtype` is the checkpoint's own. `moe_layers` have experts, the others a dense block; `mlp` or `moe`
    is None where no layer is of that kind. `extra_layers`: published behind the last and not used here (MTP).
    `formats`: of the checkpoint's matrices; `prefix`: what its tensors' names begin with."""

    architecture: str
    model_type: str
    dtype: str
    vocab_size: int
    max_position_embeddings: int
    hidden_size: int
    num_hidden_layers: int
    extra_layers: int
    rms_norm_eps: float
    tie_word_embeddings: bool
    rope: RopeConfig
    attention: MLAConfig | GQAConfig
    mlp: MLPConfig | None
    moe: MoEConfig | None
    moe_layers: frozenset[int]
    formats: Formats = PLAIN
    prefix: str = ""

    @property
    def dense_layers(self) -> int:
        """How many layers have a dense feed-forward block."""
        return self.num_hidden_layers - len(self.moe_layers)

    @property
    def kv_groups(self) -> tuple[KVGroup, ...]:
        """What the KV cache holds: here the same for every layer."""
        return (KVGroup(layers=tuple(range(self.num_hidden_layers)), width=self.attention.cached),)
