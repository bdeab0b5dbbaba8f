"""The server that other people's clients talk to: `abruzzi serve` with the default model, in the environment that it is
installed in, which is not the clients' own. Needs nothing but pytest."""

import contextlib
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
START_SECONDS = 90


@contextlib.contextmanager
def serving(folder: Path, *flags: str) -> Iterator[str]:
    """The address of a running server, without a path. Its log is in `folder` and must tell of no fault."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    store = f"sqlite:///{folder / 'store.db'}"
    command = [SERVER_PYTHON, "-m", "server.cli", "serve", "--port", str(port), "--store", store, *flags]
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
