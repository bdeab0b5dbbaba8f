"""How many requests the recorded decode steps have, and who records any. Never imports torch: the memory plan asks."""

from engine.config import EngineConfig
from engine.errors import ConfigError


def records_graphs(engine: EngineConfig) -> bool:
    """`engine`'s device and kernels must be resolved. Raises ConfigError where graphs were asked for in vain."""
    possible = engine.device == "cuda" and engine.kernels == "triton"
    if engine.cuda_graphs == "on" and not possible:
        raise ConfigError(
            f"--cuda-graphs on: needs --device cuda and --kernels triton, not {engine.device} and {engine.kernels}"
        )
    return possible and engine.cuda_graphs != "off"


def padded_sizes(most: int) -> list[int]:
    """1, 2, 4, then every 8th up to 64, every 16th up to 256, every 32nd beyond, and `most`: less than half of
    a step is padding."""
    steps = [1, 2, 4, *range(8, 64, 8), *range(64, 256, 16), *range(256, most + 1, 32)]
    return [size for size in steps if size < most] + [most]
