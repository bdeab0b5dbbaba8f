"""A small real engine whose requests obey grammars."""

from pathlib import Path

import pytest

from engine.config import EngineConfig
from engine.load import Loaded, load


@pytest.fixture(scope="session")
def constrained_engine(tiny_checkpoint: Path) -> Loaded:
    config = EngineConfig(
        model_path=str(tiny_checkpoint),
        dtype="float32",
        max_model_len=512,
        max_running=64,
        block_size=4,
        kv_cache_memory=32 * 2**20,
        threads=1,
    )
    return load(config, lambda message: None)
