"""EngineConfig: all that the engine process is told at start. It reads no argv, environment or file
besides the checkpoint."""

import msgspec


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What to load and within which bounds. Sizes in bytes, lengths in tokens; None means: decide from
    the checkpoint and the machine (the memory plan shows what was decided)."""

    model_path: str
    dtype: str = "auto"  # auto | bfloat16 | float32
    device: str = "auto"  # auto | cpu | cuda
    max_model_len: int | None = None
    kv_cache_memory: int | None = None
    max_batch_tokens: int = 2048
    max_running: int = 64
    block_size: int = 16
    prefix_caching: bool = True
    threads: int | None = None
