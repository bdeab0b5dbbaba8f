"""Steps recorded and replayed are the steps computed, to the bit."""

import pytest
import torch
from support.two_steps import two_layers

from engine.config import EngineConfig
from engine.kernels.cpu.kernels import NativeKernels
from engine.kernels.cpu.library import Library, find_library
from engine.kernels.formats import PLAIN
from engine.layers.weight import Forms
from engine.models.batch import DecodeGroup, ForwardBatch
from engine.models.causal import CausalModel
from engine.models.config import ModelConfig
from engine.models.registry import build_model
from engine.runner.kv_store import KVStore
from engine.runner.memory_plan import plan_memory
from engine.runner.recorded_steps import RecordedSteps

PATH = find_library()
pytestmark = pytest.mark.skipif(PATH is None, reason="the native kernels were not built: no C++ compiler")

BLOCK, BLOCKS, MOST = 4, 64, 7
CPU = torch.device("cpu")


def random_model(config: ModelConfig, kernels: NativeKernels) -> CausalModel:
    generator = torch.Generator().manual_seed(5)
    model = build_model(config, Forms(torch.bfloat16, PLAIN, kernels))
    for parameter in model.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def step(lengths: list[int], seed: int) -> ForwardBatch:
    """One token of each request, in the step's order."""
    generator = torch.Generator().manual_seed(seed)
    blocks = -(-max(lengths) // BLOCK)
    table = torch.randperm(BLOCKS, generator=generator)[: len(lengths) * blocks].view(len(lengths), blocks)
    positions = torch.tensor(lengths) - 1
    slots = table.gather(1, positions[:, None] // BLOCK)[:, 0] * BLOCK + positions % BLOCK
    tokens = torch.randint(0, 64, (len(lengths),), generator=generator)
    group = DecodeGroup(None, table, torch.tensor(lengths))
    return ForwardBatch(tokens, positions, slots, (group,), (), torch.arange(len(lengths)))


@pytest.mark.parametrize("name", ["kimi", "Qwen3-30B-A3B", "Apertus-8B-Instruct"])
def test_replayed_steps_are_computed_steps(name: str) -> None:
    assert PATH is not None
    config, kernels = two_layers(name), NativeKernels(Library(PATH))
    model, kv = random_model(config, kernels), KVStore(config, BLOCKS, BLOCK, torch.bfloat16, CPU)
    recorded = RecordedSteps(model, kv, range(1, MOST + 1), 8, CPU, kernels.recorder())
    caches = [kv.layer(index) for index in range(2)]
    for cache in caches:
        cache.normal_()
    batches = [step(lengths, seed) for seed, lengths in enumerate(([3], [30], [9, 2, 17], [1] * 7, [5, 5, 6], [31]))]
    with torch.inference_mode():
        for batch in batches * 2:
            before = [cache.clone() for cache in caches]
            expected = model.hidden(batch, kv)
            after = [cache.clone() for cache in caches]
            for cache, old in zip(caches, before, strict=True):
                cache.copy_(old)
            assert torch.equal(recorded.hidden(batch, kv), expected)
            assert all(torch.equal(cache, new) for cache, new in zip(caches, after, strict=True))


def test_what_torch_would_compute_is_refused() -> None:
    assert PATH is not None
    kernels = NativeKernels(Library(PATH))
    x, weight = torch.ones(2, 32, dtype=torch.bfloat16), torch.ones(32, dtype=torch.bfloat16)
    turned = torch.ones(32, 2, dtype=torch.bfloat16).T
    with pytest.raises(RuntimeError, match=r"a step that computes aten.mul.Tensor cannot be recorded"):
        kernels.recorder().record(lambda: kernels.rms_norm(x, weight, 1e-6) * 2)
    with pytest.raises(RuntimeError, match=r"aten.clone"):  # it lies in another order, and would be copied
        kernels.recorder().record(lambda: kernels.rms_norm(turned, weight, 1e-6))
    assert torch.equal(kernels.rms_norm(x, weight, 1e-6), x)  # and nothing is left behind


@pytest.mark.parametrize("name", ["kimi", "Qwen3-30B-A3B", "Apertus-8B-Instruct"])
def test_its_memory_is_in_the_plan(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With small chunks, and no room for structs, which are not counted."""
    assert PATH is not None
    chunk = 1 << 21
    for place in ("engine.kernels.cpu.recorder.CHUNK", "engine.runner.memory_plan.TAPE_CHUNK"):
        monkeypatch.setattr(place, chunk)
    monkeypatch.setattr("engine.runner.memory_plan.TAPE_LAYER_BYTES", 1024)
    config, kernels = two_layers(name), NativeKernels(Library(PATH))
    model, kv = random_model(config, kernels), KVStore(config, BLOCKS, BLOCK, torch.bfloat16, CPU)
    recorder = kernels.recorder()
    recorded = RecordedSteps(model, kv, range(1, 32), 8, CPU, recorder)
    with torch.inference_mode():
        for requests in range(1, 32):
            recorded.hidden(step([2] * requests, requests), kv)
    plan = plan_memory(EngineConfig(model_path="m", device="cpu", kernels="native", max_running=31), config, 8 << 30)
    line = next(line for line in plan.lines if line.name == "recorded steps")
    assert chunk <= recorder.bytes <= line.bytes
