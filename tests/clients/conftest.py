"""The server that the clients talk to: `abruzzi serve` with the default model, in the environment that it is installed
in, which is not the clients' own."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVER_PYTHON = os.environ.get("ABRUZZI_PYTHON", str(ROOT / ".venv" / "bin" / "python"))
# Strings are bounded so that no answer in JSON can fill the whole context.
FLAGS = ["--max-json-string", "24", "--max-model-len", "16384", "--model-alias", "claude-*", "--model-alias", "gpt-*"]
START_SECONDS = 90
# Clients that would call home. They are told not to before they are imported.
os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LANGSMITH_TRACING": "false"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.clients)


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running server, without a path."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    folder = tmp_path_factory.mktemp("clients")
    store = f"sqlite:///{folder / 'store.db'}"
    command = [SERVER_PYTHON, "-m", "server.cli", "serve", "--port", str(port), "--store", store, *FLAGS]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(process, address, folder / "server.log")
        yield address
        assert "Traceback" not in (folder / "server.log").read_text("utf-8")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)


def _wait(process: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text("utf-8")
        try:
            urllib.request.urlopen(f"{address}/ready", timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"the server was not ready after {START_SECONDS} s\n{log.read_text('utf-8')}")


@pytest.fixture(scope="session")
def name() -> str:
    """The name of the default model."""
    return "abruzzi-demo"
