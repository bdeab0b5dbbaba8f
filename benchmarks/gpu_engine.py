"""Whole steps of the engine with random weights: tokens a second, what the CPU adds, a timeline. Called by
benchmarks/gpu.py."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import torch

from engine.config import EngineConfig
from engine.core import EngineCore
from engine.kernels.backend import Kernels
from engine.kernels.formats import Formats
from engine.kernels.packed import FP8
from engine.layers.weight import Forms, Weight
from engine.load import Loaded, most_blocks
from engine.messages import GenerateRequest, SamplingParams
from engine.models.config import ModelConfig
from engine.models.published import model_config
from engine.models.registry import build_model
from engine.runner.kv_store import KVStore
from engine.runner.memory_plan import plan_memory
from engine.runner.recorded_sizes import recorded_sizes
from engine.runner.recorded_steps import RecordedSteps
from engine.weights.loader import allocate

PROMPT, ANSWER = 64, 128
TINY = {"hidden_size": 64, "num_hidden_layers": 1, "vocab_size": 256, "max_position_embeddings": 256}


def kimi(layers: int) -> ModelConfig:
    """Kimi K2 with few layers, the first of them dense, its matrices in FP8."""
    return dataclasses.replace(
        model_config("Kimi-K2-Instruct"),
        num_hidden_layers=layers,
        moe_layers=frozenset(range(1, layers)),
        extra_layers=0,
    )


def tiny() -> ModelConfig:
    """A Qwen3 mixture for dry runs."""
    whole = model_config("Qwen3-30B-A3B")
    assert whole.moe is not None
    moe = dataclasses.replace(whole.moe, experts=4, per_token=2, width=32)
    attention = dataclasses.replace(whole.attention, heads=2, kv_heads=1, head=16)  # type: ignore[call-arg]
    return dataclasses.replace(whole, moe=moe, attention=attention, moe_layers=frozenset({0}), **TINY)  # type: ignore[arg-type]


def random_engine(config: ModelConfig, kernels: Kernels, device: torch.device, running: int, context: int) -> Loaded:
    """An engine with random weights in the model's own formats."""
    with torch.device("meta"):
        model = build_model(config, Forms(torch.bfloat16, config.formats, kernels))
    allocate(model, device)
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            _fill(
                parameter.data, isinstance(module, Weight) and name == "scale", "norm" in type(module).__name__.lower()
            )
    engine = EngineConfig(
        model_path="random", device=device.type, kernels=kernels.name, max_running=running, max_model_len=context,
        max_batch_tokens=8192, kv_cache_memory=None, prefix_caching=False,
    )  # fmt: skip
    plan = plan_memory(engine, config, 1 << 40)
    blocks = running * -(-context // engine.block_size)
    plan = dataclasses.replace(plan, kv_blocks=blocks, kv_tokens=blocks * engine.block_size)
    kv = KVStore(config, blocks, engine.block_size, torch.bfloat16, device)
    recorded = None
    if sizes := recorded_sizes(engine):
        recorded = RecordedSteps(model, kv, sizes, most_blocks(engine, plan), device, kernels.recorder())
    return Loaded(engine, config, plan, device, model.eval(), kv, [], "no vocabulary", kernels, recorded)


def _fill(values: torch.Tensor, scale: bool, norm: bool) -> None:
    if values.dtype == FP8:
        values.view(torch.uint8).random_(0, 0x78)
    elif not values.dtype.is_floating_point:
        values.random_(-100, 100)
    elif scale:
        values.fill_(1e-4)
    elif norm:
        values.fill_(1.0)
    else:
        values.normal_(std=0.02)


def requests(count: int, vocabulary: int, prompt: int, answer: int) -> list[GenerateRequest]:
    sampling = SamplingParams(max_tokens=answer, temperature=1.0, seed=1)
    return [
        GenerateRequest(f"r{n}", [(n * 7919 + place * 31) % vocabulary for place in range(prompt)], sampling, 0.0)
        for n in range(count)
    ]


def tokens_a_second(loaded: Loaded, concurrency: int, prompt: int, answer: int) -> dict[str, float]:
    """Of a second run: in the first one kernels are compiled."""
    vocabulary = loaded.model_config.vocab_size
    _tokens_a_second(loaded.new_core(), concurrency, vocabulary, prompt, answer)
    return _tokens_a_second(loaded.new_core(), concurrency, vocabulary, prompt, answer)


def _tokens_a_second(core: EngineCore, concurrency: int, vocabulary: int, prompt: int, answer: int) -> dict[str, float]:
    """Of decode, once all prompts are computed; and of the whole."""
    for request in requests(concurrency, vocabulary, prompt, answer):
        core.add(request)
    began, tokens, decode_began, decoded = time.perf_counter(), 0, 0.0, 0
    while core.has_work:
        report = core.step()
        for output in report.outputs:
            if output.error is not None:
                raise RuntimeError(output.error[1])
            tokens += len(output.token_ids)
        if decode_began:
            decoded += sum(len(output.token_ids) for output in report.outputs)
        elif report.stats.batch_tokens == concurrency:
            decode_began = time.perf_counter()
    ended = time.perf_counter()
    return {
        "tokens/s": tokens / (ended - began),
        "decode tokens/s": decoded / (ended - decode_began) if decode_began and ended > decode_began else 0.0,
    }


def busy_share(
    core: EngineCore, concurrency: int, vocabulary: int, prompt: int, answer: int, picture: Path
) -> dict[str, Any]:
    """Share of a run of decode steps in which the GPU computes, from the profiler's kernel times; and a picture."""
    from torch.profiler import ProfilerActivity, profile

    for request in requests(concurrency, vocabulary, prompt, answer):
        core.add(request)
    for _ in range(answer // 4):
        core.step()
    marks = []
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        for step in range(min(20, answer // 4)):
            with torch.profiler.record_function(f"step {step}"):
                core.step()
            marks.append(step)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    while core.has_work:
        core.step()
    events = profiled.events()
    steps = [(e.time_range.start, e.time_range.end) for e in events if e.name.startswith("step ")]
    kernels = sorted(
        (e.time_range.start, e.time_range.end)
        for e in events
        if str(e.device_type).endswith("CUDA") and not e.name.startswith("step ")
    )
    first, last = min(start for start, _ in steps), max(end for _, end in steps)
    busy, reached = 0.0, first
    for start, end in kernels:
        busy += max(0.0, min(end, last) - max(start, reached))
        reached = max(reached, end)
    draw_timeline(picture, steps[:4], kernels)
    return {"steps": len(marks), "ms a step": (last - first) / len(marks) / 1e3, "GPU busy": busy / (last - first)}


def draw_timeline(picture: Path, steps: list[tuple[float, float]], kernels: list[tuple[float, float]]) -> None:
    """An SVG: steps on the CPU above, kernels below."""
    first, last = steps[0][0], steps[-1][1]
    wide = 1000 / (last - first)
    boxes = [_box((start - first) * wide, 20, (end - start) * wide, "#4477aa") for start, end in steps]
    boxes += [
        _box((start - first) * wide, 60, (end - start) * wide, "#228833")
        for start, end in kernels
        if first <= start <= last
    ]
    text = '<text x="0" y="14" font-size="12">steps on the CPU</text><text x="0" y="54" font-size="12">kernels</text>'
    picture.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 90">{text}{"".join(boxes)}</svg>\n')


def _box(x: float, y: float, width: float, colour: str) -> str:
    return f'<rect x="{x:.2f}" y="{y}" width="{max(width, 0.2):.2f}" height="22" fill="{colour}"/>'


def in_plain(config: ModelConfig) -> ModelConfig:
    """Its matrices in bf16."""
    return dataclasses.replace(config, formats=Formats())
