"""The engine on a real GPU: what no stand-in shows. Never run without one."""

from pathlib import Path

import pytest
import torch

from engine.config import EngineConfig
from engine.load import Loaded, load
from engine.messages import GenerateRequest, SamplingParams

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def loaded_with(folder: Path, **changes: object) -> Loaded:
    config = EngineConfig(
        model_path=str(folder), dtype="bfloat16", max_model_len=256, max_running=8, kv_cache_memory=64 << 20, **changes
    )  # type: ignore[arg-type]
    return load(config, lambda message: None)


def greedy(loaded: Loaded, count: int = 3) -> list[list[int]]:
    core = loaded.new_core()
    for n in range(count):
        sampling = SamplingParams(max_tokens=12, temperature=0.0)
        core.add(GenerateRequest(f"r{n}", [n * 50 + place for place in range(20 + n)], sampling, 0.0))
    tokens: dict[str, list[int]] = {f"r{n}": [] for n in range(count)}
    while core.has_work:
        for output in core.step().outputs:
            assert output.error is None
            tokens[output.id] += output.token_ids
    return list(tokens.values())


def test_the_gpu_and_its_kernels_are_what_auto_takes(tiny_checkpoint: Path) -> None:
    loaded = loaded_with(tiny_checkpoint)
    assert (loaded.device.type, loaded.kernels.name) == ("cuda", "triton")
    assert loaded.recorded is not None


def test_recorded_steps_give_the_tokens_of_steps_that_are_not(tiny_checkpoint: Path) -> None:
    recorded = greedy(loaded_with(tiny_checkpoint, record_steps="on"))
    assert recorded == greedy(loaded_with(tiny_checkpoint, record_steps="off"))


def test_graphs_take_no_more_than_planned(tiny_checkpoint: Path) -> None:
    greedy(loaded_with(tiny_checkpoint, record_steps="on"))  # what libraries and compiled kernels take is not theirs
    taken = []
    for graphs in ("off", "on"):
        torch.cuda.empty_cache()
        before = torch.cuda.mem_get_info()[0]
        loaded = loaded_with(tiny_checkpoint, record_steps=graphs)
        taken.append(before - torch.cuda.mem_get_info()[0])
        planned = sum(line.bytes for line in loaded.plan.lines if line.name == "recorded steps")
        del loaded
    assert taken[1] - taken[0] <= planned


def test_weights_are_what_was_stored(tiny_checkpoint: Path) -> None:
    """Through page-locked memory."""
    on_gpu = loaded_with(tiny_checkpoint).model.state_dict()
    on_cpu = loaded_with(tiny_checkpoint, device="cpu", kernels="torch").model.state_dict()
    for name, tensor in on_cpu.items():
        assert torch.equal(on_gpu[name].cpu(), tensor), name
