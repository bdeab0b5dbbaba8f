"""EngineCore: one step of the engine, synchronous. What the engine process loops over and what tests drive.

grammars that are compiled -> schedule -> run -> commit
"""

import logging
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from engine.errors import DeviceMemoryExhausted, RequestRefused
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
    """Runs a plan on a device, and calls `meanwhile` while that computes."""

    def run(self, plan: StepPlan, meanwhile: Callable[[], None] | None = None) -> StepResult: ...


class EngineCore:
    """Scheduler and runner together. `clock` must be that of `GenerateRequest.arrival`. `compiler` takes the requests'
    grammars."""

    def __init__(
        self,
        scheduler: Scheduler,
        runner: StepRunner,
        compiler: GrammarCompiler,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.scheduler = scheduler
        self._compiler = compiler
        self._waiting = WaitingForGrammar(compiler)
        self._runner = runner
        self._clock = clock

    @property
    def has_work(self) -> bool:
        """Whether `step` has something to do now."""
        return self.scheduler.has_work or self._waiting.any_ready()

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
        `meanwhile` is called while the device computes, at most once and not if there is nothing to compute; it must
        leave this core alone."""
        started = self._clock()
        refused = self._let_in()
        plan = self.scheduler.schedule(started)
        outputs = refused + self._run(plan, meanwhile) if plan.requests else refused
        stats = self.scheduler.stats(plan, self._clock() - started)
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

    def _run(self, plan: StepPlan, meanwhile: Callable[[], None] | None) -> list[StepOutput]:
        try:
            result = self._runner.run(plan) if meanwhile is None else self._runner.run(plan, meanwhile)
        except DeviceMemoryExhausted as error:
            logger.error("a step of %d tokens found no memory on the device: %s", plan.total_tokens, error)
            return self.scheduler.fail_largest(plan, "engine_error", f"{NO_MEMORY}: {error}")
        except Exception as error:
            logger.exception("a step of %d tokens failed", plan.total_tokens)
            return self.scheduler.fail(plan, "engine_error", f"the model could not compute this step: {error}")
        return self.scheduler.commit(plan, result)
