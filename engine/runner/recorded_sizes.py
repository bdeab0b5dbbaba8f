"""How many requests the recorded decode steps have, and who records any. Never imports torch: the memory plan asks."""

from engine.config import EngineConfig
from engine.errors import ConfigError

# Kernels that can be recorded, by device.
RECORDING = {"cuda": "triton", "cpu": "native"}
MOST_EXACT = 64


def recorded_sizes(engine: EngineConfig) -> list[int]:
    """Rising; empty: nothing is recorded. `engine`'s device and kernels must be resolved. Raises ConfigError where
    recording was asked for in vain."""
    if engine.kernels != RECORDING.get(engine.device):
        if engine.record_steps == "on":
            raise ConfigError(
                f"--record-steps on: the {engine.kernels} kernels on {engine.device} cannot be recorded; triton on "
                "cuda and native on cpu can"
            )
        return []
    if engine.record_steps == "off":
        return []
    most = min(engine.max_running, engine.max_batch_tokens)
    return padded_sizes(most) if engine.device == "cuda" else exact_sizes(most)


def padded_sizes(most: int) -> list[int]:
    """1, 2, 4, then every 8th up to 64, every 16th up to 256, every 32nd beyond, and `most`: less than half of
    a step is padding."""
    steps = [1, 2, 4, *range(8, 64, 8), *range(64, 256, 16), *range(256, most + 1, 32)]
    return [size for size in steps if size < most] + [most]


def exact_sizes(most: int) -> list[int]:
    """Every size: on a CPU padding costs what a request costs. In larger steps the Python is nothing to the work."""
    return list(range(1, min(most, MOST_EXACT) + 1))
