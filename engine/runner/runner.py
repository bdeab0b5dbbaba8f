"""Runner: StepPlan -> tensors -> model -> prompt scorer, sampler -> StepResult. Owns their order; decides nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from engine.errors import DeviceBroken, DeviceMemoryExhausted
from engine.messages import TokenLogprobs
from engine.models.batch import ForwardBatch
from engine.runner.host_copy import on_device
from engine.runner.inputs import InputBuilder
from engine.runner.kv_store import KVStore
from engine.runner.prompt_scorer import PromptScorer
from engine.runner.sampler import Drawn, Sampler
from engine.scheduling.plan import StepPlan, StepResult

T = TypeVar("T")


class Model(Protocol):
    """What engine/models provides. D model, N rows of logits, T tokens of the step, V vocabulary."""

    def hidden(self, batch: ForwardBatch, kv: KVStore) -> Tensor:
        """One forward pass: hidden_TD of all its tokens."""

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """float32 logits_NV of some of them."""


@dataclass
class Started:
    """A step that is being computed: the prompts' log-probabilities by row, the rows whose next token is wanted with
    their logits, and what was drawn from those."""

    scores: dict[int, list[TokenLogprobs] | None]
    row_ids: list[int]
    logits_NV: Tensor | None = None  # until they are drawn from
    drawn: Drawn | None = None


class Runner:
    """Keeps per-request state in rows for as long as the scheduler says (see engine/scheduling/plan.py)."""

    def __init__(self, model: Model, kv: KVStore, inputs: InputBuilder, sampler: Sampler, scorer: PromptScorer) -> None:
        self._model = model
        self._scorer = scorer
        self._kv = kv
        self._inputs = inputs
        self._sampler = sampler

    def start(self, plan: StepPlan, before: Started | None = None) -> Started:
        """Begins to compute the plan's tokens, to write their KV and to draw the next token where asked. `before` is
        the step before, where the plan has tokens that this one draws. A device that computes by itself may be given
        the next step before `finish` of this one. Raises DeviceMemoryExhausted; then the plan's requests can be planned
        again, with its rows, as if nothing had been (but where not even counting the drawn tokens for penalties finds
        memory: then some are counted twice)."""
        return _told(lambda: self._start(plan, before))

    @staticmethod
    def waits(started: Started) -> bool:
        """Whether the step's draw is still to be begun, by `draw`."""
        return started.logits_NV is not None

    def draw(self, plan: StepPlan, started: Started) -> None:
        """To be called where the step `waits`, once the one before is finished and the plan is settled: a grammar says
        what may be drawn only when it knows all tokens before. Raises as `start` does."""
        wanted = {planned.row for planned in plan.requests if planned.sample}
        kept = [index for index, row in enumerate(started.row_ids) if row in wanted]
        _told(lambda: self._draw(started, kept))

    def finish(self, started: Started) -> StepResult:
        """Waits for what `start` and `draw` began."""
        drawn = started.drawn
        result = StepResult([], []) if drawn is None else _told(lambda: self._sampler.finish(drawn))
        result.prompt_logprobs = started.scores
        return result

    def _start(self, plan: StepPlan, before: Started | None) -> Started:
        for row in plan.freed_rows:
            self._inputs.free_row(row)
            self._sampler.free_row(row)
        for new in plan.new_rows:
            self._sampler.add_row(new)
        sampled = [planned.row for planned in plan.requests if planned.sample]
        if before is None:
            self._sampler.start_masks(sampled)  # in parallel with the model
        batch = self._inputs.build(plan, None if before is None else before.drawn)
        hidden_TD = self._model.hidden(batch, self._kv)
        scores = self._scorer.score(plan, hidden_TD)
        if not sampled:
            return Started(scores, sampled)
        logits_NV = self._model.logits(hidden_TD.index_select(0, batch.logit_tokens_N))
        if before is not None and self._sampler.has_grammar(sampled):
            return Started(scores, sampled, logits_NV)
        return Started(scores, sampled, drawn=self._sampler.start(logits_NV, sampled))

    def _draw(self, started: Started, kept: list[int]) -> None:
        """From those of the rows and their logits that have an index in `kept`."""
        logits_NV, started.logits_NV = started.logits_NV, None
        assert logits_NV is not None
        rows = [started.row_ids[index] for index in kept]
        if rows:
            self._sampler.start_masks(rows)  # in parallel with the model, which still computes
            if len(rows) < len(logits_NV):
                logits_NV = logits_NV.index_select(0, on_device(kept, logits_NV.device))
            started.drawn = self._sampler.start(logits_NV, rows)


@torch.inference_mode()
def _told(compute: Callable[[], T]) -> T:
    """What `compute` returns. Raises DeviceMemoryExhausted where the device has too little memory for it, DeviceBroken
    where it fails for good, as after an access that is not allowed."""
    try:
        return compute()
    except torch.AcceleratorError as error:
        raise DeviceBroken(str(error).partition("\n")[0]) from error
    except torch.OutOfMemoryError as error:
        reason = str(error).partition("\n")[0]
    # Here the failed step's tensors are gone: what they took can go back to the device.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    raise DeviceMemoryExhausted(reason)
