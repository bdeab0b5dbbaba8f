"""Starts the real server, as a user does, and stops it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest


@dataclass
class Server:
    """A running `abruzzi serve`."""

    process: "subprocess.Popen[str]"
    url: str
    log: Path
    headers: dict[str, str] = field(default_factory=dict)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, headers=self.headers, timeout=30)

    def post(self, path: str, body: object) -> httpx.Response:
        return httpx.post(self.url + path, json=body, headers=self.headers, timeout=60)

    def metric(self, name: str) -> float:
        """The sum over all labels of a metric."""
        lines = [line for line in self.get("/metrics").text.splitlines() if not line.startswith("#")]
        values = [float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name]
        assert values, f"no metric {name}"
        return sum(values)

    def engine_pid(self) -> int:
        """The child that runs the engine."""
        pids = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=True)
        for pid in pids.stdout.split():
            if b"engine.process" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
        raise AssertionError("no engine process")


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Waits for a condition; fails if it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def serving(checkpoint: Path, log: Path, *flags: str, ready: bool = True) -> Iterator[Server]:
    """Runs `abruzzi serve` on a free port until the block ends, then sends SIGTERM and expects a clean exit."""
    port = free_port()
    command = [sys.executable, "-m", "server.cli", "serve", "--model", str(checkpoint), "--port", str(port), *flags]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ABRUZZI_")}
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, text=True, env=environment)
    server = Server(process, f"http://127.0.0.1:{port}", log)
    try:
        if ready:
            until(lambda: is_ready(server), 90.0)  # on a busy machine
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail("the server did not stop on SIGTERM")


def is_ready(server: Server) -> bool:
    assert server.process.poll() is None, server.log.read_text()
    with contextlib.suppress(httpx.TransportError):
        return server.get("/ready").status_code == 200
    return False
