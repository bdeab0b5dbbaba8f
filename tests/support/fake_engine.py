"""An engine without a model: it says what a script tells it to. Has `server.engine_port.Engine`'s protocol."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass

from engine import (
    EngineStats,
    EngineUnavailable,
    GenerateRequest,
    Ready,
    RequestCancelled,
    StepOutput,
    StepReport,
    TokenLogprobs,
)

# What happens next to a request: an output, a pause in seconds, something to wait for, a failure.
ScriptStep = StepOutput | float | asyncio.Event | Exception
Script = Callable[[GenerateRequest], Iterable[ScriptStep]]


@dataclass
class FakeStatus:
    state: str = "ready"
    detail: str = "ready"
    progress: float = 1.0


class FakeEngine:
    """Remembers what it was asked (`requests`) and what was closed before its end (`cancelled`)."""

    def __init__(self, script: Script, *, vocab_size: int, max_model_len: int = 4096, kv_tokens: int = 65536) -> None:
        self.script = script
        self.status = FakeStatus()
        self.ready: Ready | None = Ready(
            "FakeForCausalLM", 1, "float32", "cpu", vocab_size, max_model_len, kv_tokens, []
        )
        self.stats = EngineStats()
        self.restarts = 0
        self.requests: list[GenerateRequest] = []
        self.running: dict[str, asyncio.Event] = {}  # set: cancelled by its id
        self.cancelled: list[str] = []
        self.observers: list[Callable[[StepReport], None]] = []

    def observe(self, callback: Callable[[StepReport], None]) -> None:
        self.observers.append(callback)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[StepOutput, None]:
        if self.status.state != "ready":
            raise EngineUnavailable(f"the engine is {self.status.state}")
        assert request.id not in self.running
        self.requests.append(request)
        stop = self.running[request.id] = asyncio.Event()
        ended = False
        try:
            for step in self.script(request):
                if isinstance(step, Exception):
                    ended = True
                    raise step
                if isinstance(step, asyncio.Event | float):
                    await _pause(step, stop)
                else:
                    ended = step.finish_reason is not None
                    yield step
        finally:
            del self.running[request.id]
            if not ended:
                self.cancelled.append(request.id)

    def cancel(self, request_id: str) -> None:
        if request_id in self.running:
            self.running[request_id].set()

    def report(self, report: StepReport) -> None:
        """As if the engine had reported a step."""
        self.stats = report.stats
        for observer in self.observers:
            observer(report)


async def _pause(step: asyncio.Event | float, stop: asyncio.Event) -> None:
    """Waits for the step, or raises as soon as `stop` is set."""
    waits = [asyncio.ensure_future(stop.wait())]
    waits.append(asyncio.ensure_future(step.wait() if isinstance(step, asyncio.Event) else asyncio.sleep(step, True)))
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    if stop.is_set():
        raise RequestCancelled


def outputs(
    request: GenerateRequest,
    token_ids: list[int],
    reason: str = "stop",
    *,
    at_once: int = 1,
    cached_tokens: int = 0,
) -> Iterable[StepOutput]:
    """`token_ids`, `at_once` of them in an output, cut at the request's max_tokens. A "stop" needs the stop token in
    `token_ids`, as from the real engine."""
    if len(token_ids) >= request.sampling.max_tokens and not (
        reason == "stop" and len(token_ids) == request.sampling.max_tokens
    ):
        token_ids, reason = token_ids[: request.sampling.max_tokens], "length"
    for start in range(0, max(1, len(token_ids)), at_once):
        part = token_ids[start : start + at_once]
        last = start + at_once >= len(token_ids)
        output = StepOutput(request.id, part, reason if last else None)  # type: ignore[arg-type]
        if request.sampling.logprobs is not None:
            count = request.sampling.logprobs
            output.logprobs = [
                TokenLogprobs(-0.5 * (token % 7), [(token, -0.25), *((other, -3.0) for other in range(count))][:count])
                for token in part
            ]
        if start == 0 and (top := request.sampling.prompt_logprobs) is not None:
            output.prompt_logprobs = [
                TokenLogprobs(-0.25 * (token % 5), [(other, -0.125) for other in range(top)])
                for token in request.prompt[1:]
            ]
        if start == 0:
            output.cached_tokens, output.queue_seconds = cached_tokens, 0.001
        yield output
