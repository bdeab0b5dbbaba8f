"""How cost grows: python -m benchmarks.scaling [--out docs/pictures] [--only batch ...]

Decode steps of random models with the widths of the `1b` preset on this machine's CPU: against the batch, the context,
the number of experts (of which each token visits as many as ever) and the waiting requests; and the engine's memory
against its plan. Prints tables and writes pictures. Beside each time is what memory allows: the bytes that a
step must read over the measured bandwidth (engine/capacity.py). Nothing should grow faster than its work.
"""

import argparse
import asyncio
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from benchmarks.chart import line_chart
from benchmarks.gpu_engine import random_engine
from benchmarks.real_width import Server
from benchmarks.scheduler import decode_steps
from demo.presets import PRESETS, model_config
from engine.capacity import Hardware, speed
from engine.doctor import read_bandwidth
from engine.kernels.registry import choose_kernels
from engine.load import Loaded
from engine.models.batch import DecodeGroup, ForwardBatch
from engine.models.config import ModelConfig
from engine.models.configs.read import load_model_config
from server.commands.load import LoadClient, run_level

BATCHES = (1, 2, 4, 8, 16, 32, 64)
CONTEXTS = (128, 512, 2048, 8192, 32768)
EXPERTS = (16, 32, 64, 128, 256, 384)
WAITING = (1, 10, 100, 1000, 10_000)
MEMORY = (("30m", ()), ("1b", ()), ("1b", ("--quantize", "int8")), ("1b", ("--quantize", "int4")))
SECONDS = 1.5


def small(**changes: int) -> ModelConfig:
    """The `1b` preset with changes, as the engine reads it."""
    shape = dataclasses.replace(PRESETS["1b"], max_position_embeddings=65536, **changes)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(model_config(shape)))
        return load_model_config(Path(folder))


def loaded(config: ModelConfig, running: int, context: int) -> Loaded:
    kernels = choose_kernels("auto", "cpu", torch.bfloat16)
    kernels.set_threads(None)
    return random_engine(config, kernels, torch.device("cpu"), running, context)


def step_seconds(engine: Loaded, requests: int, context: int) -> float:
    """Median time of a decode step up to the logits, in which each request has `context` tokens."""
    size = engine.config.block_size
    blocks = -(-context // size)
    table = torch.randperm(requests * blocks).view(requests, blocks)
    slots = table[:, -1] * size + (context - 1) % size
    group = DecodeGroup(None, table, torch.full((requests,), context))
    positions, every = torch.full((requests,), context - 1), torch.arange(requests)
    model, times = engine.recorded or engine.model, []
    began = time.perf_counter()
    with torch.inference_mode():
        while len(times) < 6 or time.perf_counter() - began < SECONDS:
            tokens = torch.randint(0, engine.model_config.vocab_size, (requests,))
            batch = ForwardBatch(tokens, positions, slots, (group,), (), every)
            started = time.perf_counter()
            model.logits(model.hidden(batch, engine.kv))
            times.append(time.perf_counter() - started)
    return statistics.median(times[2:])


def limit(config: ModelConfig, bandwidth: float, requests: int, context: int) -> float:
    """Seconds that a step takes at least, by the bytes that it reads."""
    return requests / speed(config, config.formats, Hardware(1, 1, bandwidth), requests, context).tokens_a_second


Rows = list[tuple[float, dict[str, float]]]  # what varies, and the figures by name


def batch(bandwidth: float) -> Iterator[tuple[str, str, str, Rows]]:
    config = small()
    engine = loaded(config, max(BATCHES), 256)
    rows = [
        (n, {"step": step_seconds(engine, n, 256) * 1e3, "limit": limit(config, bandwidth, n, 256) * 1e3})
        for n in BATCHES
    ]
    yield "A decode step against the batch", "requests of 256 tokens", "ms a step", rows


def context(bandwidth: float) -> Iterator[tuple[str, str, str, Rows]]:
    config = small()
    rows: Rows = []
    for tokens in CONTEXTS:
        engine, figures = loaded(config, 4, tokens), {}
        for requests in (1, 4):
            figures[f"{requests} requests"] = step_seconds(engine, requests, tokens) * 1e3
            figures[f"limit for {requests}"] = limit(config, bandwidth, requests, tokens) * 1e3
        rows.append((tokens, figures))
    yield "A decode step against the context", "tokens of each request", "ms a step", rows


def experts(bandwidth: float) -> Iterator[tuple[str, str, str, Rows]]:
    rows: Rows = []
    for count in EXPERTS:
        config = small(n_routed_experts=count, num_hidden_layers=4)
        engine, figures = loaded(config, 16, 256), {}
        for requests in (1, 16):
            figures[f"{requests} requests"] = step_seconds(engine, requests, 256) * 1e3
            figures[f"limit for {requests}"] = limit(config, bandwidth, requests, 256) * 1e3
        rows.append((count, figures))
    yield "A decode step of 4 layers against the experts, of which a token visits 6", "experts", "ms a step", rows


def waiting(bandwidth: float) -> Iterator[tuple[str, str, str, Rows]]:
    rows = [(n, {"step": statistics.median(decode_steps(256, n)) * 1e6}) for n in WAITING]
    yield "Scheduling 256 running requests", "waiting requests", "µs a step", rows


def memory(bandwidth: float) -> Iterator[tuple[str, str, str, Rows]]:
    rows: Rows = []
    with tempfile.TemporaryDirectory() as folder:
        for preset, flags in MEMORY:
            path = Path(folder) / preset
            if not path.exists():
                make = [sys.executable, "-m", "demo.random_checkpoint", "--preset", preset, str(path)]
                subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
            planned, resident = _memory_of(path, list(flags))
            rows.append((len(rows) + 1, {"planned": planned, "resident": resident}))
            print(f"{preset} {' '.join(flags)}: {resident:.2f} GiB resident of {planned:.2f} planned", flush=True)
    yield "The engine's memory and its plan: 30m, 1b, 1b in int8, 1b in int4", "model", "GiB", rows


def _memory_of(folder: Path, flags: Sequence[str]) -> tuple[float, float]:
    """GiB planned and resident after 16 requests at once."""
    cache = ("--max-model-len", "4096", "--max-running", "16", "--kv-cache-memory", "512MiB")
    server = Server(folder, [*cache, *flags])
    try:
        asyncio.run(_load(server.url))
        resident = server.engine_memory() / 2**30
    finally:
        server.stop()
    line = next(line for line in server.output if line.startswith("total"))
    amount, unit = line.split()[1:3]
    return float(amount) * {"GiB": 1.0, "MiB": 1 / 1024}[unit], resident


async def _load(url: str) -> None:
    body = {"model": "model", "prompt": list(range(300, 1300)), "max_tokens": 16, "ignore_eos": True}
    client = LoadClient(url, None, "completions")
    outcomes, _ = await run_level(client, [body | {"model": _model(url)} for _ in range(16)], 16, 300, lambda: None)
    assert all(one.error is None for one in outcomes), outcomes


def _model(url: str) -> str:
    import httpx

    return str(httpx.get(f"{url}/v1/models", trust_env=False).json()["data"][0]["id"])


CURVES = {"batch": batch, "context": context, "experts": experts, "waiting": waiting, "memory": memory}


def table(rows: Rows, first: str) -> str:
    names = list(rows[0][1])
    lines = [f"| {first} | {' | '.join(names)} |", f"|---:|{'---:|' * len(names)}"]
    lines += [f"| {value:,.0f} | {' | '.join(f'{found[name]:,.2f}' for name in names)} |" for value, found in rows]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"), help="where the pictures go")
    parser.add_argument("--only", nargs="*", choices=CURVES, default=list(CURVES))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    bandwidth = read_bandwidth()
    print(f"memory: {bandwidth / 1e9:.1f} GB/s\n")
    for name in options.only:
        for title, across, up, rows in CURVES[name](bandwidth):
            print(f"{title} ({up})\n\n{table(rows, across)}\n", flush=True)
            if name == "memory":  # models, not a scale
                continue
            lines = {key: [(x, found[key]) for x, found in rows] for key in rows[0][1]}
            (options.out / f"scaling-{name}.svg").write_text(line_chart(title, across, up, lines), "utf-8")


if __name__ == "__main__":
    main()
