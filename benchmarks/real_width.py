"""A slice of Kimi K2 at its real width, served: python -m benchmarks.real_width FOLDER --tokenizer KIMI_FOLDER

Writes a checkpoint with Kimi K2's real dimensions, tensor names, tokenizer and published format, but few layers and
experts and random weights, into FOLDER (kept: the next run finds it); serves it as a user would; sends prompts; prints
load time and speed, memory beside the plan, and tokens a second beside what memory bandwidth allows.

KIMI_FOLDER holds tiktoken.model, tokenizer_config.json and a chat template as published.
"""

import argparse
import functools
import json
import math
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import torch

from engine.capacity import Hardware, speed
from engine.doctor import read_bandwidth
from engine.kernels.packed import FP8
from engine.models.configs.read import load_model_config
from engine.weights.names import expected_tensors
from engine.weights.safetensors_folder import DTYPES
from engine.weights.stored import Part, parts

SHARD_BYTES = 2 << 30
POOL = 1 << 24  # random values, used again and again
PUBLISHED = Path(__file__).parent.parent / "engine" / "models" / "published"
TOKENIZER = ("tiktoken.model", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")
PROMPTS = (
    "Explain in two sentences why the sky is blue.",
    "Write a function that returns the n-th Fibonacci number, and say what it costs.",
    "List five cities in Italy and what each is known for.",
    "A train leaves at 9:40 and arrives at 13:05. How long does it take?",
)


def write_checkpoint(folder: Path, tokenizer: Path, format: str, layers: int, experts: int) -> None:
    """In the layout of Kimi-K2-Instruct (fp8, or bf16 in its place) or of Kimi-K2.5 (int4), without what sees."""
    name = "Kimi-K2.5" if format == "int4" else "Kimi-K2-Instruct"
    raw: dict[str, Any] = json.loads((PUBLISHED / f"{name}.json").read_text())
    language_model = raw.get("text_config", raw)
    language_model |= {"num_hidden_layers": layers, "n_routed_experts": experts}
    if format == "bf16":
        del language_model["quantization_config"]
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(raw, indent=1))
    for file in TOKENIZER:
        if (tokenizer / file).exists():
            shutil.copy(tokenizer / file, folder)
    weight_map: dict[str, str] = {}
    for number, held in enumerate(_shards(folder)):
        file = f"model-{number + 1:05d}.safetensors"
        _write_shard(folder / file, held)
        weight_map |= {part.name: file for part, _ in held}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def _shards(folder: Path) -> Iterator[list[tuple[Part, tuple[int, ...]]]]:
    """Each file's tensors, with the shape of the matrix that they belong to."""
    held: list[tuple[Part, tuple[int, ...]]] = []
    for tensor in expected_tensors(load_model_config(folder)):
        held += [(part, tensor.shape) for part in parts(tensor)]
        if sum(_bytes(part) for part, _ in held) > SHARD_BYTES:
            yield held
            held = []
    if held:
        yield held


def _dtype(part: Part) -> torch.dtype:
    """As published: scales of fp8 are float32, all that could be bfloat16 is."""
    return torch.float32 if part.name.endswith("weight_scale_inv") else part.dtypes[0]


def _bytes(part: Part) -> int:
    return math.prod(part.shape) * _dtype(part).itemsize


def _write_shard(file: Path, held: list[tuple[Part, tuple[int, ...]]]) -> None:
    """Writes the format by hand, since a tensor of it may be larger than the memory that there is."""
    header, end = {}, 0
    for part, _ in held:
        kind = next(word for word, dtype in DTYPES.items() if dtype == _dtype(part))
        header[part.name] = {"dtype": kind, "shape": part.shape, "data_offsets": [end, end + _bytes(part)]}
        end += _bytes(part)
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with file.open("wb") as out:
        out.write(len(encoded).to_bytes(8, "little") + encoded)
        for part, shape in held:
            piece, left = _values(part, shape).view(torch.uint8).numpy().data, _bytes(part)
            while left:
                left -= out.write(piece[:left])


@functools.cache
def _random(dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    if dtype == torch.int32:
        return torch.randint(-(2**31), 2**31 - 1, (POOL,), dtype=dtype, generator=generator)
    drawn = torch.randn(POOL, generator=generator)
    return (drawn * 100).clamp(-400, 400).to(FP8) if dtype == FP8 else drawn.to(dtype)


def _values(part: Part, shape: tuple[int, ...]) -> torch.Tensor:
    """Values of a size that keeps activations near 1, flat; to be repeated until the tensor is full."""
    unit, dtype = 1 / math.sqrt(shape[-1]), _dtype(part)
    if part.name.endswith("weight_shape"):
        return torch.tensor(shape, dtype=dtype)
    if part.name.endswith("weight_scale_inv"):
        return torch.full((POOL,), unit / 100, dtype=dtype)
    if part.name.endswith("weight_scale"):
        return torch.full((POOL,), unit / 4.6, dtype=dtype)  # a nibble's values spread by 4.6
    if len(part.shape) == 1:
        return torch.full((POOL,), 0.0 if "bias" in part.name else 1.0, dtype=dtype)
    values = _random(dtype)
    return values * unit if dtype == torch.bfloat16 else values


class Server:
    """`abruzzi serve` of a folder, until stopped."""

    def __init__(self, folder: Path, flags: list[str]) -> None:
        command = [sys.executable, "-m", "server.cli", "serve", str(folder), "--port", "0", "--store", "none", *flags]
        self.began = time.monotonic()
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.output: list[str] = []
        self.url = self._wait()
        self.seconds = time.monotonic() - self.began

    def _wait(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.output.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                return found[0]
        raise SystemExit("".join(self.output))

    def engine_memory(self) -> int:
        """Resident bytes of the engine: the largest of the server's children."""
        found = subprocess.run(["ps", "-eo", "ppid=,rss="], capture_output=True, text=True, check=True).stdout
        rows = [tuple(map(int, line.split())) for line in found.splitlines()]
        return max(rss * 1024 for parent, rss in rows if parent == self._process.pid)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(60)


def answer(client: httpx.Client, prompt: str, max_tokens: int) -> tuple[float, float, int]:
    """Seconds to the first token, tokens a second after it, tokens of the prompt."""
    body = {
        "model": client.get("/v1/models").json()["data"][0]["id"],
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": max_tokens,
        "ignore_eos": True,
        "temperature": 1.0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    began, first, usage = time.monotonic(), 0.0, {}
    with client.stream("POST", "/v1/chat/completions", json=body, timeout=600) as response:
        for line in response.iter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line[6:])
            usage = chunk.get("usage") or usage
            delta = chunk["choices"][0]["delta"] if chunk["choices"] else {}
            if not first and (delta.get("content") or delta.get("reasoning_content")):
                first = time.monotonic()
    rate = (usage["completion_tokens"] - 1) / (time.monotonic() - first)
    return first - began, rate, usage["prompt_tokens"]


def main() -> None:
    options = _options()
    if not (options.folder / "model.safetensors.index.json").exists():
        write_checkpoint(options.folder, options.tokenizer, options.format, options.layers, options.experts)
    size = sum(file.stat().st_size for file in options.folder.glob("*.safetensors"))
    bandwidth = read_bandwidth()
    server = Server(options.folder, ["--max-model-len", "4096", "--max-running", "4", *options.flags])
    try:
        plan = "".join(server.output)
        with httpx.Client(base_url=server.url) as client:
            runs = [answer(client, prompt, options.tokens) for prompt in PROMPTS[: options.prompts]]
        memory = server.engine_memory()
    finally:
        server.stop()
    print(plan)
    model = load_model_config(options.folder)
    roofline = speed(model, model.formats, Hardware(1, 1, bandwidth), 1, 64).tokens_a_second
    mean = sum(rate for _, rate, _ in runs) / len(runs)
    print(f"checkpoint: {size / 1e9:.2f} GB in {options.format}, {options.layers} layers, {options.experts} experts")
    print(f"start to ready: {server.seconds:.1f} s ({size / server.seconds / 1e9:.2f} GB/s, all included)")
    planned = next(line.split()[1:3] for line in server.output if line.startswith("total"))
    print(f"engine memory: {memory / 2**30:.2f} GiB resident of {' '.join(planned)} planned")
    for first, rate, prompt in runs:
        print(f"  prompt of {prompt} tokens: first token after {first:.2f} s, then {rate:.2f} tokens/s")
    print(f"memory bandwidth: {bandwidth / 1e9:.1f} GB/s, which allows {roofline:.2f} tokens/s")
    print(f"mean: {mean:.2f} tokens/s, {mean / roofline:.1%} of that")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.real_width", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with Kimi's tokenizer and template")
    parser.add_argument("--format", choices=("fp8", "int4", "bf16"), default="fp8")
    parser.add_argument("--layers", type=int, default=2, help="the first is dense")
    parser.add_argument("--experts", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=32, help="of each answer")
    parser.add_argument("--prompts", type=int, default=len(PROMPTS), help=f"how many of the {len(PROMPTS)}")
    parser.add_argument("flags", nargs="*", help="more flags for `abruzzi serve`, behind --")
    return parser.parse_args()


if __name__ == "__main__":
    main()
