"""EngineCore: one step of the engine, synchronous. What the engine process loops over and what tests drive.

schedule -> run -> commit
"""

import logging
import time
from collections.abc import Callable
from typing import Protocol

from engine.messages import GenerateRequest, StepOutput, StepReport
from engine.scheduling.plan import StepPlan, StepResult
from engine.scheduling.scheduler import Scheduler

logger = logging.getLogger(__name__)


class StepRunner(Protocol):
    """Runs a plan on a device."""

    def run(self, plan: StepPlan) -> StepResult: ...


class EngineCore:
    """Scheduler and runner together. `clock` must be that of `GenerateRequest.arrival`."""

    def __init__(self, scheduler: Scheduler, runner: StepRunner, clock: Callable[[], float] = time.monotonic) -> None:
        self.scheduler = scheduler
        self._runner = runner
        self._clock = clock

    @property
    def has_work(self) -> bool:
        return self.scheduler.has_work

    def add(self, request: GenerateRequest) -> None:
        """Queues a request. Raises RequestRefused if it could never run."""
        self.scheduler.add(request)

    def cancel(self, request_id: str) -> bool:
        """Drops a request and frees its blocks at once. False if it is not here."""
        return self.scheduler.cancel(request_id)

    def report(self, outputs: list[StepOutput]) -> StepReport:
        """The engine's state between two steps, with outputs that no step made."""
        return StepReport(outputs, self.scheduler.stats(StepPlan([], [], [], 0), 0.0))

    def step(self) -> StepReport:
        """One step. A failure of the forward pass (out of memory, a broken kernel) ends the step's requests with an
        error; those that were not part of it go on."""
        started = self._clock()
        plan = self.scheduler.schedule(started)
        try:
            result = self._runner.run(plan)
        except Exception as error:
            logger.exception("a step of %d tokens failed", plan.total_tokens)
            outputs = self.scheduler.fail(plan, "engine_error", f"the model could not compute this step: {error}")
        else:
            outputs = self.scheduler.commit(plan, result)
        return StepReport(outputs, self.scheduler.stats(plan, self._clock() - started))
