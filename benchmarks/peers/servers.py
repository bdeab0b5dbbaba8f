"""The servers that are compared: how each is started, and which cases it is given.

A folder holds what they need, in the layout that docs/performance.md builds:

    ckpt/NAME             checkpoints as on Hugging Face     gguf/NAME.gguf    the same for llama.cpp
    build-llama/bin/      llama-server                       venv-vllm/, venv-hf/
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

PORT = 8190
URL = f"http://127.0.0.1:{PORT}"
FULL = ("prefill 512", "prefill 2048", "1 stream", "4 streams", "16 streams")
SOME = ("1 stream", "16 streams")
TINY = ("one token, 16 at once", "1 stream", "16 streams")
PREFIX = ("prefix, 1 user", "prefix, 16 users")


@dataclass(frozen=True)
class Server:
    """`group`: what it is compared within; `engine`: whose it is."""

    group: str
    engine: str
    model: str  # the name to ask for
    command: tuple[str, ...]
    cases: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=lambda: {"temperature": 0.0, "ignore_eos": True})  # of a request

    @property
    def name(self) -> str:
        return f"{self.engine}, {self.group}"

    @property
    def missing(self) -> str | None:
        """Which file is not there, of those it cannot do without."""
        files = (word for word in self.command if word.startswith("/"))
        return next((file for file in files if not Path(file).exists()), None)


def all_servers(peers: Path) -> list[Server]:
    """Ours first in each group, its peers beside it."""
    found = []
    for checkpoint, cases in (("k2-small", (*FULL, *PREFIX)), ("qwen3moe-small", FULL), ("k2-tiny", TINY)):
        found += [
            _ours(peers, checkpoint, cases),
            _llama(peers, checkpoint, "bf16", cases),
            _vllm(peers, checkpoint, tuple(case for case in cases if case not in PREFIX)),
        ]
    found.append(_transformers(peers, "k2-small", ("1 stream",)))
    for packed, gguf in (("int8", "Q8_0"), ("int4", "Q4_K_M")):
        found += [_ours(peers, "k2-small", SOME, packed), _llama(peers, "k2-small", gguf, SOME, packed)]
    return found


def _ours(peers: Path, checkpoint: str, cases: tuple[str, ...], packed: str | None = None) -> Server:
    program, folder = str(Path(sys.executable).parent / "abruzzi"), f"{peers}/ckpt/{checkpoint}"
    flags = ("--port", str(PORT), "--max-running", "16", "--max-model-len", "4096", "--store", "none")
    more = ("--quantize", packed) if packed else ()
    group = f"{checkpoint} {packed or 'bf16'}"
    return Server(group, "abruzzi", checkpoint, (program, "serve", folder, *flags, *more), cases)


def _llama(peers: Path, checkpoint: str, kind: str, cases: tuple[str, ...], packed: str | None = None) -> Server:
    program, file = f"{peers}/build-llama/bin/llama-server", f"{peers}/gguf/{checkpoint}-{kind}.gguf"
    flags = ("--host", "127.0.0.1", "--port", str(PORT), "-t", "2", "-np", "16", "-c", "65536", "--no-webui")
    group = f"{checkpoint} {packed or 'bf16'}"
    return Server(group, "llama.cpp", checkpoint, (program, "-m", file, *flags), cases)


def _vllm(peers: Path, checkpoint: str, cases: tuple[str, ...]) -> Server:
    program, folder = f"{peers}/venv-vllm/bin/python", f"{peers}/ckpt/{checkpoint}"
    start = (program, "-m", "vllm.entrypoints.openai.api_server", "--model", folder)
    flags = ("--host", "127.0.0.1", "--port", str(PORT), "--max-model-len", "4096", "--max-num-seqs", "16")
    more = ("--no-enable-prefix-caching", "--dtype", "bfloat16")
    environment = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_CPU_OMP_THREADS_BIND": "0-1", "VLLM_NO_USAGE_STATS": "1"}
    return Server(f"{checkpoint} bf16", "vLLM", folder, (*start, *flags, *more), cases, environment)


def _transformers(peers: Path, checkpoint: str, cases: tuple[str, ...]) -> Server:
    program, folder = f"{peers}/venv-hf/bin/transformers", f"{peers}/ckpt/{checkpoint}"
    flags = ("--host", "127.0.0.1", "--port", str(PORT), "--device", "cpu", "--dtype", "bfloat16")
    command = (program, "serve", folder, *flags)  # refuses fields that it does not know
    return Server(f"{checkpoint} bf16", "transformers", folder, command, cases, fields={"temperature": 0.0})


class Running:
    """A server's processes, from its start until it is ready, and their end."""

    def __init__(self, server: Server, log: Path, patience: float) -> None:
        """Raises TimeoutError if it is not ready after `patience` seconds or ends before, and OSError if something else
        answers at its port."""
        if any(self._healthy(path) for path in ("/ready", "/health")):
            raise OSError(f"something answers at {URL} already: end it first")
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", **server.environment}
        with log.open("w") as out:
            self._process = subprocess.Popen(
                server.command, env=environment, stdout=out, stderr=out, start_new_session=True
            )
        began = time.monotonic()
        while not self._healthy("/ready" if server.engine == "abruzzi" else "/health"):
            if self._process.poll() is not None or time.monotonic() - began > patience:
                self.stop()
                raise TimeoutError(f"{server.name} did not become ready; see {log}")
            time.sleep(0.3)
        self.seconds = time.monotonic() - began

    @property
    def session(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    @staticmethod
    def _healthy(path: str) -> bool:
        try:
            return httpx.get(URL + path, timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False
