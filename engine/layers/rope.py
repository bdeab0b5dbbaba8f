"""Rotary position embedding and its extensions: the angles, and what YaRN does to the softmax scale.

Applying the angles is the kernel `rotary`. Nothing here knows heads or caches.
Shapes: T tokens, R rotary dimensions (R/2 pairs).
"""

import math

import torch
from torch import Tensor, nn

from engine.kernels.backend import TORCH, Kernels
from engine.models.config import Llama3Config, RopeConfig, YarnConfig


class RotaryEmbedding(nn.Module):
    """Turns positions into unit complex numbers, one per pair, times YaRN's magnitude. Once a step for all layers."""

    def __init__(self, width: int, rope: RopeConfig, kernels: Kernels = TORCH) -> None:
        super().__init__()
        self.kernels = kernels
        # On the CPU even where the model is being built without memory: there is nothing to load here.
        frequencies = torch.tensor(inverse_frequencies(width, rope), dtype=torch.float32, device="cpu")
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.magnitude = rotary_magnitude(rope)

    def forward(self, positions_T: Tensor) -> Tensor:
        """positions_T int64 -> complex64 [T, R/2]."""
        return self.kernels.turns(positions_T, self.get_buffer("frequencies"), self.magnitude)


def inverse_frequencies(width: int, rope: RopeConfig) -> list[float]:
    """Radians per position of each of the width/2 pairs, `theta ** (-2i / width)`, changed by what extends the
    context."""
    plain = [rope.theta ** (-2 * pair / width) for pair in range(width // 2)]
    if isinstance(rope.scaling, YarnConfig):
        ramp = _yarn_ramp(width, rope.theta, rope.scaling)
    elif isinstance(rope.scaling, Llama3Config):
        ramp = [_llama3_share(frequency, rope.scaling) for frequency in plain]
    else:
        return plain
    factor = rope.scaling.factor
    return [frequency / factor * share + frequency * (1 - share) for frequency, share in zip(plain, ramp, strict=True)]


def _llama3_share(frequency: float, llama3: Llama3Config) -> float:
    """How far a pair is interpolated: 0 for those that turn more than high_freq_factor times over the original
    context, 1 for those that turn less than low_freq_factor times, linear in the number of turns between."""
    turns = llama3.original_max_position_embeddings * frequency / (2 * math.pi)
    share = (llama3.high_freq_factor - turns) / (llama3.high_freq_factor - llama3.low_freq_factor)
    return min(max(share, 0.0), 1.0)


def _yarn_ramp(width: int, theta: float, yarn: YarnConfig) -> list[float]:
    """How far each pair is interpolated: 0 for pairs that turn more than beta_fast times over the original context,
    1 for those that turn less than beta_slow times, linear in the pair's index between (YaRN, section 3.2)."""

    def pair_that_turns(times: float) -> float:
        return width * math.log(yarn.original_max_position_embeddings / (times * 2 * math.pi)) / (2 * math.log(theta))

    low = max(math.floor(pair_that_turns(yarn.beta_fast)), 0)
    high: float = min(math.ceil(pair_that_turns(yarn.beta_slow)), width - 1)
    if low == high:
        high += 0.001  # as published: a step in place of a ramp
    return [min(max((pair - low) / (high - low), 0.0), 1.0) for pair in range(width // 2)]


def _magnitude_scale(factor: float, mscale: float) -> float:
    return 0.1 * mscale * math.log(factor) + 1.0 if factor > 1 else 1.0


def rotary_magnitude(rope: RopeConfig) -> float:
    """What multiplies the rotated values: 1 without YaRN, and for the published models whose two mscales are equal."""
    yarn = rope.scaling
    if not isinstance(yarn, YarnConfig):
        return 1.0
    return _magnitude_scale(yarn.factor, yarn.mscale) / _magnitude_scale(yarn.factor, yarn.mscale_all_dim)


def softmax_scale(query_width: int, rope: RopeConfig) -> float:
    """1 / sqrt(query_width), times the square of YaRN's mscale_all_dim magnitude: the part of YaRN that is easily
    forgotten."""
    scale = 1 / math.sqrt(query_width)
    if isinstance(rope.scaling, YarnConfig):
        scale *= _magnitude_scale(rope.scaling.factor, rope.scaling.mscale_all_dim) ** 2
    return scale
