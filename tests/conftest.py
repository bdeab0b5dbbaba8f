"""Fixtures for all tests."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest

# As the engine process runs (engine/supervisor.py); must be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Without an NVIDIA GPU, Triton's kernels run in its interpreter; must be set before Triton is imported.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# What servers keep if they are not told where. It goes when the tests are over.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="abruzzi-state-")
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint of Kimi K2's architecture, as published: config, tokenizer, template, weights."""
    from demo.random_checkpoint import write_checkpoint

    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    write_checkpoint(folder, "tiny")
    return folder
