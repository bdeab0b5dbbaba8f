"""EngineCore: one step of the engine. What the engine process loops over and what tests drive.

grammars that are compiled -> schedule -> start -> finish -> commit

With `ahead`, for devices that compute by themselves, the next step is planned and started before this one is finished;
what its requests' grammars admit is computed when this one's tokens are known:

    device    | step 1           | step 2                    | step 3
    host      plan 1, plan 2     | commit 1, masks 2, plan 3 | commit 2, masks 3, plan 4 | ...
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from engine.errors import DeviceBroken, DeviceMemoryExhausted, RequestRefused
from engine.grammar.compiler import GrammarCompiler
from engine.grammar.waiting import WaitingForGrammar
from engine.messages import GenerateRequest, StepOutput, StepReport
from engine.scheduling.plan import StepPlan, StepResult
from engine.scheduling.scheduler import Scheduler

logger = logging.getLogger(__name__)

NO_MEMORY = (
    "the device has too little memory for this request beside the others; the server's operator can lower "
    "--max-batch-tokens, --max-running or --kv-cache-memory"
)


class StepRunner(Protocol):
    """Runs plans on a device; see engine.runner.runner. What `start` returns is its own affair."""

    def start(self, plan: StepPlan, before: Any = None) -> Any: ...

    def waits(self, started: Any) -> bool: ...

    def draw(self, plan: StepPlan, started: Any) -> None: ...

    def finish(self, started: Any) -> StepResult: ...


@dataclass(frozen=True)
class Step:
    """A plan and what `start` made of it, or why it failed."""

    plan: StepPlan
    started: Any = None
    error: Exception | None = None


class EngineCore:
    """Scheduler and runner together. `clock` must be that of `GenerateRequest.arrival`. `compiler` takes the requests'
    grammars. `ahead`: see above."""

    def __init__(
        self,
        scheduler: Scheduler,
        runner: StepRunner,
        compiler: GrammarCompiler,
        clock: Callable[[], float] = time.monotonic,
        ahead: bool = False,
    ) -> None:
        self.scheduler = scheduler
        self._compiler = compiler
        self._waiting = WaitingForGrammar(compiler)
        self._runner = runner
        self._clock = clock
        self.ahead = ahead
        self._next: Step | None = None  # started ahead

    @property
    def has_work(self) -> bool:
        """Whether `step` has something to do now."""
        return self._next is not None or self.scheduler.has_work or self._waiting.any_ready()

    @property
    def computing(self) -> bool:
        """Whether a step that was started ahead is under way."""
        return self._next is not None

    @property
    def compiling(self) -> int:
        """Requests that wait for their grammar. `on_compiled` is called when that may have changed."""
        return len(self._waiting)

    def on_compiled(self, callback: Callable[[], None]) -> None:
        """Sets what is called, in another thread, whenever a grammar is compiled or refused."""
        self._compiler.on_done = callback

    def add(self, request: GenerateRequest) -> None:
        """Queues a request; one with a grammar waits for that first. Raises RequestRefused if it could never run. What
        is wrong with a grammar may only show later, in the error of an output."""
        if request.grammar is None:
            self.scheduler.add(request)
        else:
            self.scheduler.check(request)
            self._waiting.add(request)

    def cancel(self, request_id: str) -> bool:
        """Drops a request and frees its blocks at once. False if it is not here."""
        return self._waiting.cancel(request_id) or self.scheduler.cancel(request_id)

    def report(self, outputs: list[StepOutput]) -> StepReport:
        """The engine's state between two steps, with outputs that no step made."""
        return StepReport(outputs, self.scheduler.stats(StepPlan([], [], [], 0), 0.0))

    def step(self, meanwhile: Callable[[], None] | None = None) -> StepReport:
        """One step. A failure of the forward pass (a broken kernel) ends the step's requests with an error; those that
        were not part of it go on. A lack of device memory ends the largest of them; the others are planned again.
        Raises DeviceBroken where no later step could be computed either. `meanwhile` is called while the device
        computes, at most once and not if there is nothing to compute; it must leave this core alone."""
        began = self._clock()
        outputs = self._let_in()
        step, self._next = self._next, None
        following: Step | None = None
        if step is None:
            step = self._start(self.scheduler.schedule(began))
        if step.started is not None:
            if self.ahead and self.scheduler.foresee(step.plan):
                following = self._start(self.scheduler.schedule(self._clock()), step.started)
            if meanwhile is not None:
                meanwhile()
        outputs += self._finish(step)
        if following is not None and following.plan.requests:
            following = self._draw(following)
            if following.error is None:
                self._next = following
            else:  # not to be planned behind
                outputs += self._finish(following)
        stats = self.scheduler.stats(step.plan, self._clock() - began)
        if self.compiling:
            stats = msgspec.structs.replace(stats, waiting=stats.waiting + self.compiling)
        return StepReport(outputs, stats)

    def _let_in(self) -> list[StepOutput]:
        """Queues the requests whose grammar is compiled. Returns an output for each whose grammar is refused."""
        outputs = []
        for request, compiled in self._waiting.take():
            if isinstance(compiled, RequestRefused):
                outputs.append(StepOutput(request.id, [], error=(compiled.code, str(compiled))))
            else:
                self.scheduler.add(request, compiled)
        return outputs

    def _start(self, plan: StepPlan, before: Any = None) -> Step:
        if not plan.requests:
            return Step(plan)
        try:
            return Step(plan, self._runner.start(plan, before))
        except DeviceBroken:
            raise
        except Exception as error:
            return Step(plan, error=error)

    def _draw(self, step: Step) -> Step:
        """What the step ahead could not draw before the one before it was committed."""
        if step.error is not None or not self._runner.waits(step.started):
            return step
        self.scheduler.settle(step.plan)
        try:
            self._runner.draw(step.plan, step.started)
        except DeviceBroken:
            raise
        except Exception as error:
            return Step(step.plan, error=error)
        return step

    def _finish(self, step: Step) -> list[StepOutput]:
        if step.error is not None:
            return self._fail(step.plan, step.error)
        if step.started is None:
            return []
        try:
            result = self._runner.finish(step.started)
        except DeviceBroken:
            raise
        except Exception as error:  # a foreseen token may be missing: none of the requests can be planned again
            return self._fail_all(step.plan, error)
        return self.scheduler.commit(step.plan, result)

    def _fail(self, plan: StepPlan, error: Exception) -> list[StepOutput]:
        if not isinstance(error, DeviceMemoryExhausted):
            return self._fail_all(plan, error)
        logger.error("a step of %d tokens found no memory on the device: %s", plan.total_tokens, error)
        return self.scheduler.fail_largest(plan, "engine_error", f"{NO_MEMORY}: {error}")

    def _fail_all(self, plan: StepPlan, error: Exception) -> list[StepOutput]:
        logger.error("a step of %d tokens failed", plan.total_tokens, exc_info=error)
        return self.scheduler.fail(plan, "engine_error", f"the model could not compute this step: {error}")
