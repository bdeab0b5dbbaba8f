"""Loads an engine: config.json -> memory plan -> weights -> KV cache -> EngineCore. In this order, so that what does
not fit is refused before anything is allocated."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch

from engine.config import EngineConfig
from engine.core import EngineCore
from engine.errors import ConfigError, DoesNotFit
from engine.grammar.compiler import GrammarCompiler
from engine.grammar.tokens import GrammarTokens, load_grammar_tokens
from engine.kernels.backend import Kernels
from engine.kernels.packed import FP8
from engine.kernels.registry import choose_kernels, describe, with_flashinfer
from engine.layers.weight import Forms
from engine.messages import GenerateRequest, Loading, Planned, Ready, SamplingParams
from engine.models.batch import DECODE_WORKSPACE_TOKENS
from engine.models.causal import CausalModel
from engine.models.config import ModelConfig
from engine.models.configs.read import load_model_config
from engine.runner.inputs import InputBuilder
from engine.runner.kv_store import KVStore
from engine.runner.machine import choose_device, choose_threads, free_memory
from engine.runner.memory_plan import MemoryPlan, formats_of, plan_memory, resolve_dtype
from engine.runner.prompt_scorer import PromptScorer
from engine.runner.recorded_sizes import recorded_sizes
from engine.runner.recorded_steps import RecordedSteps
from engine.runner.runner import Runner
from engine.runner.sampler import Sampler
from engine.scheduling.scheduler import Scheduler, SchedulerConfig
from engine.weights.loader import load_model

Report = Callable[[Planned | Loading], None]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model with its memory, of which runners and cores can be made."""

    config: EngineConfig
    model_config: ModelConfig
    plan: MemoryPlan
    device: torch.device
    model: CausalModel
    kv: KVStore
    notes: list[str]
    grammar_tokens: GrammarTokens | str  # or why there are none
    kernels: Kernels
    recorded: RecordedSteps | None = None

    def new_runner(self) -> Runner:
        """A runner with no requests. One at a time: runners of one Loaded share its KV cache."""
        rows, kernels = self.config.max_running, self.kernels
        blocks = most_blocks(self.config, self.plan)
        workspace = DECODE_WORKSPACE_TOKENS if kernels.gathers_context else rows * blocks * self.config.block_size
        inputs = InputBuilder(rows, blocks, self.config.block_size, self.device, workspace)
        sampler = Sampler(rows, self.model_config.vocab_size, self.device, kernels.draw)
        scorer = PromptScorer(self.model.logits, min(rows, self.config.max_batch_tokens))
        return Runner(self.recorded or self.model, self.kv, inputs, sampler, scorer)

    @property
    def warm_up_tokens(self) -> int:
        """Of the warm-up's prompt: on a GPU as large a step as there can be, so that its memory is found or not."""
        if self.device.type != "cuda":
            return 1
        return min(self.config.max_batch_tokens, self.plan.max_model_len - 1)

    def new_core(self, ahead: bool | None = None) -> EngineCore:
        """An engine with the configured bounds. `ahead`: see EngineCore; by itself on a GPU."""
        config = SchedulerConfig(
            blocks=self.plan.kv_blocks,
            block_size=self.config.block_size,
            max_running=self.config.max_running,
            max_batch_tokens=self.config.max_batch_tokens,
            max_model_len=self.plan.max_model_len,
            vocab_size=self.model_config.vocab_size,
            prefix_caching=self.config.prefix_caching,
        )
        if ahead is None:  # where drawing does not wait for the device, nor does attention
            ahead = self.device.type == "cuda" and self.kernels.draw is not None and self.kernels.name != "flashinfer"
        return EngineCore(Scheduler(config), self.new_runner(), self.new_compiler(), ahead=ahead)

    def new_compiler(self) -> GrammarCompiler:
        """A compiler of grammars over the checkpoint's vocabulary, with nothing in its cache."""
        return GrammarCompiler(self.grammar_tokens, self.model_config.vocab_size, self.plan.grammar_bytes)

    def ready(self) -> Ready:
        """What the server is told."""
        return Ready(
            architecture=self.model_config.architecture,
            parameters=self.plan.parameters,
            dtype=self.plan.dtype,
            device=str(self.device),
            vocab_size=self.model_config.vocab_size,
            max_model_len=self.plan.max_model_len,
            kv_tokens=self.plan.kv_blocks * self.config.block_size,
            notes=self.notes,
        )


def load(config: EngineConfig, report: Report) -> Loaded:
    """Plans, then allocates and loads. Raises ConfigError."""
    folder, device = Path(config.model_path), choose_device(config.device)
    model_config, asked = load_model_config(folder), config
    dtype: torch.dtype = getattr(torch, resolve_dtype(asked.dtype, model_config)[0])
    kernels = choose_kernels(asked.kernels, device.type, dtype, fp8_cache=asked.kv_cache_dtype == "fp8")
    if asked.attention_backend == "flashinfer":
        kernels = with_flashinfer(kernels, fp8_cache=asked.kv_cache_dtype == "fp8")
    config = msgspec.structs.replace(asked, device=device.type, kernels=kernels.name)
    plan = plan_memory(config, model_config, free_memory(device))
    report(Planned(list(plan.lines)))
    grammar_tokens = _grammar_tokens(folder, model_config)  # before the first step, which it would hold up
    kernels.set_threads(choose_threads(config.threads, plan.weight_bytes, kernels.waits_cost))
    forms = Forms(dtype, formats_of(config, model_config), kernels)
    loaded = load_model(folder, model_config, forms, device, _in_percent("loading weights", plan.weight_bytes, report))
    cached = FP8 if config.kv_cache_dtype == "fp8" else dtype
    kv = KVStore(model_config, plan.kv_blocks, config.block_size, cached, device)
    notes = [describe(kernels, asked.kernels, device.type, dtype), *plan.notes, *loaded.notes]
    recorded = None
    if sizes := recorded_sizes(config):
        report(Loading("recording steps", 1.0))
        recorded = RecordedSteps(loaded.model, kv, sizes, most_blocks(config, plan), device, kernels.recorder())
    return Loaded(config, model_config, plan, device, loaded.model, kv, notes, grammar_tokens, kernels, recorded)


def most_blocks(config: EngineConfig, plan: MemoryPlan) -> int:
    """Of one request."""
    return -(-plan.max_model_len // config.block_size)


def _grammar_tokens(folder: Path, model_config: ModelConfig) -> GrammarTokens | str:
    """The vocabulary for grammars, or why there is none: that fails the requests that need it, and no others."""
    try:
        return load_grammar_tokens(folder, model_config.vocab_size)
    except Exception as error:  # the library raises ValueError, and what its Rust side panics with
        return str(error)


def load_core(config: EngineConfig, report: Report) -> tuple[EngineCore, Ready]:
    """A warm engine and its announcement. Raises ConfigError."""
    try:
        loaded = load(config, report)
        report(Loading("warming up", 1.0))
        for tokens, answer in _warm_ups(loaded):
            warm_up(loaded.new_core(), tokens, answer)
    except torch.OutOfMemoryError as error:
        raise DoesNotFit(
            "the device ran out of memory while loading: lower --kv-cache-memory, --max-batch-tokens from "
            f"{config.max_batch_tokens} or --max-running from {config.max_running} "
            f"({str(error).partition(chr(10))[0]})"
        ) from None
    return loaded.new_core(), loaded.ready()


def _warm_ups(loaded: Loaded) -> list[tuple[int, int]]:
    """Lengths of prompts and answers. On a GPU many, since kernels are compiled for tiles of several sizes."""
    if loaded.device.type != "cuda":
        return [(loaded.warm_up_tokens, 1)]
    sizes = [2**power for power in range(loaded.warm_up_tokens.bit_length() - 1)]
    return [(tokens, 3) for tokens in (*sizes, loaded.warm_up_tokens)]


def warm_up(core: EngineCore, tokens: int = 1, answer: int = 1) -> None:
    """A prompt through the whole path, and the first tokens of an answer: the first request of a user should not be the
    one that finds out."""
    sampling = SamplingParams(max_tokens=answer, temperature=0.0)
    request = GenerateRequest("warm-up", [0] * tokens, sampling, arrival=0.0)
    core.add(request)
    while core.has_work:
        for output in core.step().outputs:
            if output.error is not None:
                raise ConfigError(f"the warm-up failed: {output.error[1]}")


def _in_percent(phase: str, size: int, report: Report) -> Callable[[float], None]:
    """Reports no more often than each hundredth, with the speed and how long the rest will take. `size` in bytes."""
    last, began = -1, time.monotonic()

    def progress(done: float) -> None:
        nonlocal last
        if int(done * 100) == last:
            return
        last = int(done * 100)
        passed = time.monotonic() - began
        speed = f", {size * done / passed / 1e9:.2f} GB/s, {passed * (1 - done) / done:.0f} s left" if done > 0 else ""
        report(Loading(f"{phase} ({size / 1e9:.1f} GB{speed})", done))

    return progress
