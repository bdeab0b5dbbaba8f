"""Runner: StepPlan -> tensors -> model -> sampler -> StepResult. Owns the order of these; decides nothing."""

from typing import Protocol

import torch
from torch import Tensor

from engine.models.batch import ForwardBatch
from engine.runner.inputs import InputBuilder
from engine.runner.kv_store import KVStore
from engine.runner.sampler import Sampler
from engine.scheduling.plan import StepPlan, StepResult


class Model(Protocol):
    """What every file of engine/models provides: one forward pass, float32 logits of `batch.logit_tokens_N`."""

    def __call__(self, batch: ForwardBatch, kv: KVStore) -> Tensor: ...


class Runner:
    """Keeps per-request state in rows for as long as the scheduler says (see engine/scheduling/plan.py)."""

    def __init__(self, model: Model, kv: KVStore, inputs: InputBuilder, sampler: Sampler) -> None:
        self._model = model
        self._kv = kv
        self._inputs = inputs
        self._sampler = sampler

    @torch.inference_mode()
    def run(self, plan: StepPlan) -> StepResult:
        """Computes the plan's tokens, writes their KV, draws the next token where asked."""
        for row in plan.freed_rows:
            self._inputs.free_row(row)
            self._sampler.free_row(row)
        for new in plan.new_rows:
            self._sampler.add_row(new)
        sampled = [planned.row for planned in plan.requests if planned.sample]
        self._sampler.start_masks(sampled)  # in parallel with the model
        logits_NV = self._model(self._inputs.build(plan), self._kv)
        if not sampled:
            return StepResult([], [])
        return self._sampler.sample(logits_NV, sampled)
