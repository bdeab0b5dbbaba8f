"""Runner: StepPlan -> tensors -> model -> prompt scorer, sampler -> StepResult. Owns their order; decides nothing."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from engine.errors import DeviceMemoryExhausted
from engine.models.batch import ForwardBatch
from engine.runner.inputs import InputBuilder
from engine.runner.kv_store import KVStore
from engine.runner.prompt_scorer import PromptScorer
from engine.runner.sampler import Sampler
from engine.scheduling.plan import StepPlan, StepResult


class Model(Protocol):
    """What engine/models provides. D model, N rows of logits, T tokens of the step, V vocabulary."""

    def hidden(self, batch: ForwardBatch, kv: KVStore) -> Tensor:
        """One forward pass: hidden_TD of all its tokens."""

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """float32 logits_NV of some of them."""


class Runner:
    """Keeps per-request state in rows for as long as the scheduler says (see engine/scheduling/plan.py)."""

    def __init__(self, model: Model, kv: KVStore, inputs: InputBuilder, sampler: Sampler, scorer: PromptScorer) -> None:
        self._model = model
        self._scorer = scorer
        self._kv = kv
        self._inputs = inputs
        self._sampler = sampler

    def run(self, plan: StepPlan, meanwhile: Callable[[], None] | None = None) -> StepResult:
        """Computes the plan's tokens, writes their KV, draws the next token where asked. `meanwhile` is called while
        the device computes, unless something fails before. Raises DeviceMemoryExhausted; then the plan's requests can
        be planned again, with its rows, as if nothing had been."""
        try:
            return self._run(plan, meanwhile)
        except torch.OutOfMemoryError as error:
            reason = str(error).partition("\n")[0]
        # Here the failed step's tensors are gone: what they took can go back to the device.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise DeviceMemoryExhausted(reason)

    @torch.inference_mode()
    def _run(self, plan: StepPlan, meanwhile: Callable[[], None] | None) -> StepResult:
        for row in plan.freed_rows:
            self._inputs.free_row(row)
            self._sampler.free_row(row)
        for new in plan.new_rows:
            self._sampler.add_row(new)
        sampled = [planned.row for planned in plan.requests if planned.sample]
        self._sampler.start_masks(sampled)  # in parallel with the model
        batch = self._inputs.build(plan)
        hidden_TD = self._model.hidden(batch, self._kv)
        scores = self._scorer.score(plan, hidden_TD)
        result = StepResult([], [])
        if sampled:
            logits_NV = self._model.logits(hidden_TD.index_select(0, batch.logit_tokens_N))
            result = self._sampler.sample(logits_NV, sampled, meanwhile)
        elif meanwhile is not None:
            meanwhile()
        result.prompt_logprobs = scores
        return result
