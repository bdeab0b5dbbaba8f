"""The server that a module's tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.serving import Server, serving


@pytest.fixture(scope="module")
def server(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for a module's tests, in fp32 so that answers do not depend on company."""
    log = tmp_path_factory.mktemp("log") / "server.log"
    flags = ["--served-model-name", "tiny", "--dtype", "float32", "--max-model-len", "4096", "--max-running", "32"]
    with serving(tiny_checkpoint, log, *flags, "--stall-seconds", "6", "--log-level", "info") as server:
        yield server
