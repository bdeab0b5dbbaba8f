"""EngineConfig: all that the engine process is told at start. It reads no argv, environment or file
besides the checkpoint."""

from typing import Literal

import msgspec

from engine.errors import ConfigError


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What to load and within which bounds. Sizes in bytes, lengths in tokens; None means: decide from
    the checkpoint and the machine (the memory plan shows what was decided)."""

    model_path: str
    dtype: str = "auto"  # auto | bfloat16 | float32
    quantize: Literal["int8", "int4"] | None = None
    device: str = "auto"  # auto | cpu | cuda
    kernels: str = "auto"  # auto | one of engine/kernels/registry.py
    attention_backend: Literal["auto", "flashinfer"] = "auto"  # auto: that of the kernels
    record_steps: Literal["auto", "on", "off"] = "auto"  # auto: where the kernels can
    kv_cache_dtype: Literal["auto", "fp8"] = "auto"
    max_model_len: int | None = None
    kv_cache_memory: int | None = None
    max_batch_tokens: int = 2048
    max_running: int = 64
    block_size: int = 16
    prefix_caching: bool = True
    threads: int | None = None
    log_level: str = "info"

    def __post_init__(self) -> None:
        for name, least in (("max_batch_tokens", 2), ("max_running", 1), ("block_size", 1), ("max_model_len", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"--{name.replace('_', '-')} {value}: must be at least {least}")
