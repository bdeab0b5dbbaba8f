"""Recorded decode steps, with a recorder that records nothing but calls: what is padded and replayed must be what the
model computes by itself."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from engine.config import EngineConfig
from engine.errors import ConfigError
from engine.kernels.formats import PLAIN
from engine.layers.weight import Forms
from engine.models.batch import DecodeGroup, ForwardBatch, PrefillChunk
from engine.models.registry import build_model
from engine.runner.kv_store import KVStore
from engine.runner.memory_plan import plan_memory
from engine.runner.recorded_sizes import padded_sizes, recorded_sizes
from engine.runner.recorded_steps import RecordedSteps
from tests.support.configs import small_config

BLOCK, BLOCKS, MAX_BLOCKS = 4, 24, 6
CPU = torch.device("cpu")
TINY = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 64}


class FakeRecorder:
    """Replays by computing anew, into the tensor that was returned first: addresses are fixed, as in a real graph."""

    ahead = True

    def __init__(self) -> None:
        self.recorded: list[int] = []
        self.replayed: list[int] = []

    def record(self, run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        out = run()
        self.recorded.append(len(out))

        def replay() -> None:
            self.replayed.append(len(out))
            out.copy_(run())

        return replay, out


class Setup:
    def __init__(self) -> None:
        config = small_config(**TINY)
        self.model = build_model(config, Forms(torch.float32, PLAIN))
        generator = torch.Generator().manual_seed(3)
        for parameter in self.model.parameters():
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
        self.kv = KVStore(config, BLOCKS, BLOCK, torch.float32, CPU)
        self.recorder = FakeRecorder()
        self.graphs = RecordedSteps(self.model, self.kv, [1, 2, 4, 8], MAX_BLOCKS, CPU, self.recorder)
        for index in range(config.num_hidden_layers):
            self.kv.layer(index).normal_(generator=generator)

    def compare(self, batch: ForwardBatch) -> None:
        """The same hidden states, and the same cache behind them."""
        cache = [self.kv.layer(index) for index in range(2)]
        before = [layer.clone() for layer in cache]
        with torch.inference_mode():
            expected = self.model.hidden(batch, self.kv)
            after = [layer.clone() for layer in cache]
            for layer, old in zip(cache, before, strict=True):
                layer.copy_(old)
            found = self.graphs.hidden(batch, self.kv)
        torch.testing.assert_close(found, expected)
        for layer, new in zip(cache, after, strict=True):
            torch.testing.assert_close(layer, new)


def decode(lengths: list[int], order: list[int], seed: int = 0) -> ForwardBatch:
    """One token of each request; the group is in `order`."""
    generator = torch.Generator().manual_seed(seed)
    blocks = -(-max(lengths) // BLOCK)
    table = torch.randperm(BLOCKS, generator=generator)[: len(lengths) * blocks].view(len(lengths), blocks)
    positions = torch.tensor(lengths) - 1
    slots = table.gather(1, positions[:, None] // BLOCK)[:, 0] * BLOCK + positions % BLOCK
    tokens = torch.randint(0, 64, (len(lengths),), generator=generator)
    places = torch.tensor(order)
    group = DecodeGroup(places, table[places], torch.tensor(lengths)[places])
    return ForwardBatch(tokens, positions, slots, (group,), (), torch.arange(len(lengths)))


def test_steps_are_padded_and_replayed() -> None:
    setup = Setup()
    assert setup.recorder.recorded == [8, 4, 2, 1]
    setup.compare(decode([9, 3, 14], [1, 0, 2]))
    setup.compare(decode([7], [0], seed=1))
    setup.compare(decode([5, 5, 2, 8, 11, 3, 6, 1], [7, 2, 5, 0, 1, 6, 3, 4], seed=2))
    setup.compare(decode([2, 12], [0, 1], seed=3))  # after wider tables and longer steps
    assert setup.recorder.replayed == [4, 1, 8, 2]


def test_what_was_not_recorded_is_computed() -> None:
    setup = Setup()
    many = decode([2] * 9, list(range(9)))
    one = decode([6], [0], seed=4)
    blocks = torch.tensor([3, 4])
    prompt = ForwardBatch(
        torch.cat([one.token_ids_T, torch.tensor([1, 2])]), torch.cat([one.positions_T, torch.tensor([0, 1])]),
        torch.cat([one.slots_T, torch.tensor([12, 13])]), one.decode, (PrefillChunk(1, 2, 0, blocks),),
        torch.tensor([0, 2]),
    )  # fmt: skip
    group = one.decode[0]
    split = ForwardBatch(
        many.token_ids_T[:2], many.positions_T[:2], many.slots_T[:2], (group, group), (), group.tokens_R
    )
    for batch in (many, prompt):
        setup.compare(batch)
    with torch.inference_mode():
        setup.graphs.hidden(split, setup.kv)
    assert setup.recorder.replayed == []


@pytest.mark.parametrize("most", [1, 2, 3, 7, 8, 64, 100, 300])
def test_sizes_rise_to_the_most_and_waste_less_than_half(most: int) -> None:
    sizes = padded_sizes(most)
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == most
    for requests in range(1, most + 1):
        size = next(size for size in sizes if size >= requests)
        assert size < 2 * requests or size == 8


def test_it_is_honoured_or_refused_and_has_a_line_in_the_plan() -> None:
    on_gpu = EngineConfig(model_path="m", device="cuda", kernels="triton")
    assert recorded_sizes(on_gpu)
    assert not recorded_sizes(EngineConfig(model_path="m", device="cuda", kernels="torch"))
    assert not recorded_sizes(EngineConfig(model_path="m", device="cuda", kernels="triton", record_steps="off"))
    native = EngineConfig(model_path="m", device="cpu", kernels="native", max_running=4)
    assert recorded_sizes(native) == [1, 2, 3, 4]
    with pytest.raises(ConfigError, match="--record-steps on: the torch kernels on cpu cannot be recorded"):
        recorded_sizes(EngineConfig(model_path="m", device="cpu", kernels="torch", record_steps="on"))
    for engine, least in ((on_gpu, 64 << 20), (native, 4 << 20)):
        lines = {line.name: line.bytes for line in plan_memory(engine, small_config(), 64 << 30).lines}
        assert lines["recorded steps"] > least
    off = plan_memory(EngineConfig(model_path="m", device="cpu", kernels="torch"), small_config(), 64 << 30)
    assert "recorded steps" not in {line.name for line in off.lines}
