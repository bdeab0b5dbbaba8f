"""Runner: StepPlan -> tensors -> model -> prompt scorer, sampler -> StepResult. Owns their order; decides nothing."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from engine.errors import DeviceMemoryExhausted
from engine.messages import TokenLogprobs
from engine.models.batch import ForwardBatch
from engine.runner.inputs import InputBuilder
from engine.runner.kv_store import KVStore
from engine.runner.prompt_scorer import PromptScorer
from engine.runner.sampler import Drawn, Sampler
from engine.scheduling.plan import StepPlan, StepResult


class Model(Protocol):
    """What engine/models provides. D model, N rows of logits, T tokens of the step, V vocabulary."""

    def hidden(self, batch: ForwardBatch, kv: KVStore) -> Tensor:
        """One forward pass: hidden_TD of all its tokens."""

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """float32 logits_NV of some of them."""


@dataclass(frozen=True)
class Started:
    """A step that is being computed: what was drawn, and the prompts' log-probabilities by row."""

    drawn: Drawn | None
    scores: dict[int, list[TokenLogprobs] | None]


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
        try:
            return self._start(plan, before)
        except torch.OutOfMemoryError as error:
            reason = str(error).partition("\n")[0]
        # Here the failed step's tensors are gone: what they took can go back to the device.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise DeviceMemoryExhausted(reason)

    @torch.inference_mode()
    def finish(self, started: Started) -> StepResult:
        """Waits for what `start` began."""
        result = StepResult([], []) if started.drawn is None else self._sampler.finish(started.drawn)
        result.prompt_logprobs = started.scores
        return result

    @torch.inference_mode()
    def _start(self, plan: StepPlan, before: Started | None) -> Started:
        for row in plan.freed_rows:
            self._inputs.free_row(row)
            self._sampler.free_row(row)
        for new in plan.new_rows:
            self._sampler.add_row(new)
        sampled = [planned.row for planned in plan.requests if planned.sample]
        self._sampler.start_masks(sampled)  # in parallel with the model
        batch = self._inputs.build(plan, None if before is None else before.drawn)
        hidden_TD = self._model.hidden(batch, self._kv)
        scores = self._scorer.score(plan, hidden_TD)
        if not sampled:
            return Started(None, scores)
        logits_NV = self._model.logits(hidden_TD.index_select(0, batch.logit_tokens_N))
        return Started(self._sampler.start(logits_NV, sampled), scores)
