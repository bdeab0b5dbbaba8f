"""The engine's loop with reports and messages beside the computation: the same reports, in order, none forgotten."""

from pathlib import Path

import msgspec
import pytest
import zmq

from engine.config import EngineConfig
from engine.load import Loaded, load
from engine.messages import Cancel, FromEngine, GenerateRequest, SamplingParams, StepReport, ToEngine
from engine.process import EngineLoop

ENCODER, DECODER = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(FromEngine)


@pytest.fixture(scope="module")
def loaded(tiny_checkpoint: Path) -> Loaded:
    config = EngineConfig(
        model_path=str(tiny_checkpoint), dtype="float32", max_model_len=64, max_running=4, kv_cache_memory=4 << 20,
        threads=1,
    )  # fmt: skip
    return load(config, lambda message: None)


class Pipes:
    """Both ends of the loop's sockets."""

    def __init__(self, loaded: Loaded, overlap: bool) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        inbox, outbox = self.context.socket(zmq.PULL), self.context.socket(zmq.PUSH)
        self.to, self.of = self.context.socket(zmq.PUSH), self.context.socket(zmq.PULL)
        for name, bound, other in (("in", inbox, self.to), ("out", self.of, outbox)):
            bound.bind(f"inproc://{name}")
            other.connect(f"inproc://{name}")
        self.core = loaded.new_core(ahead=overlap)
        self.loop = EngineLoop(self.core, inbox, outbox)

    def send(self, message: ToEngine) -> None:
        self.to.send(ENCODER.encode(message))

    def reports(self) -> list[StepReport]:
        """All that have come."""
        found = []
        while self.of.poll(20):
            report = DECODER.decode(self.of.recv())
            assert isinstance(report, StepReport)
            found.append(report)
        return found


def answers(loaded: Loaded, overlap: bool) -> dict[str, list[int]]:
    """Two requests, a second of which comes while the first is computed."""
    pipes = Pipes(loaded, overlap)
    requests = [GenerateRequest(f"r{n}", [5, 7 + n], SamplingParams(max_tokens=6, seed=n), 0.0) for n in range(2)]
    pipes.send(requests[0])
    pipes.loop.turn()
    pipes.send(requests[1])
    while pipes.core.has_work:
        pipes.loop.turn()
    tokens: dict[str, list[int]] = {"r0": [], "r1": []}
    steps = []
    for report in pipes.reports():
        steps.append(report.stats.steps)
        for output in report.outputs:
            tokens[output.id] += output.token_ids
    assert steps == sorted(steps)
    pipes.context.destroy(linger=0)
    return tokens


def test_answers_are_the_same(loaded: Loaded) -> None:
    together = answers(loaded, overlap=True)
    assert [len(tokens) for tokens in together.values()] == [6, 6]
    assert together == answers(loaded, overlap=False)


@pytest.mark.parametrize("scored", [None, 0])  # with these the next step cannot start ahead
def test_a_report_goes_out_during_the_next_step_or_when_there_is_none(loaded: Loaded, scored: int | None) -> None:
    pipes = Pipes(loaded, overlap=True)
    pipes.send(GenerateRequest("r", [1, 2, 3], SamplingParams(max_tokens=2, seed=1, prompt_logprobs=scored), 0.0))
    pipes.loop.turn()
    first = pipes.reports()
    assert len(first) == (1 if scored is None else 0)  # or it waits for the next step, which is certain to come
    pipes.loop.turn()
    assert [len(report.outputs[0].token_ids) for report in first + pipes.reports()] == [1, 1]
    pipes.context.destroy(linger=0)


def test_a_message_read_during_the_last_step_is_not_forgotten(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    pipes = Pipes(loaded, overlap=True)
    start, late = pipes.core._runner.start, [GenerateRequest("late", [4], SamplingParams(max_tokens=1, seed=1), 0.0)]

    def send_and_start(*arguments: object) -> object:
        if late:
            pipes.send(late.pop())
        return start(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pipes.core._runner, "start", send_and_start)
    pipes.send(GenerateRequest("r", [1, 2, 3], SamplingParams(max_tokens=1, seed=1), 0.0))
    pipes.loop.turn()
    assert not pipes.core.has_work
    pipes.loop.turn()  # would wait for ever
    assert [[output.id for output in report.outputs] for report in pipes.reports()] == [["r"], ["late"]]
    pipes.context.destroy(linger=0)


def test_a_cancel_that_came_during_a_step_holds_from_the_next_on(loaded: Loaded) -> None:
    pipes = Pipes(loaded, overlap=True)
    pipes.send(GenerateRequest("r", [1, 2, 3], SamplingParams(max_tokens=40, seed=1), 0.0))
    pipes.loop.turn()
    pipes.send(Cancel("r"))
    pipes.loop.turn()
    assert not pipes.core.has_work
    assert pipes.core.scheduler.pool.held == 0
    assert [len(report.outputs) for report in pipes.reports()] == [1, 0]
    pipes.context.destroy(linger=0)
