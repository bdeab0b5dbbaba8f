"""PromptScorer: the log-probabilities of a prompt's own tokens, from the hidden states of the step that computes them.

N rows of logits, V vocabulary, D model, T tokens of the step, K most likely tokens.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engine.messages import TokenLogprobs
from engine.scheduling.plan import PlannedRequest, PromptScoring, StepPlan


class PromptScorer:
    """Logits of all prompt tokens at once would be too large: they are made `rows` at a time, which is what the memory
    plan reserves for sampling and what sampling has not taken yet."""

    def __init__(self, logits: Callable[[Tensor], Tensor], rows: int) -> None:
        """`logits` makes float32 logits_NV of hidden_ND."""
        self._logits = logits
        self._rows = rows

    def score(self, plan: StepPlan, hidden_TD: Tensor) -> dict[int, list[TokenLogprobs] | None]:
        """By row, what the plan's requests with `scoring` ask for; None where the logits are not numbers."""
        scores: dict[int, list[TokenLogprobs] | None] = {}
        begin = 0
        for planned in plan.requests:
            if planned.scoring is not None:
                scores[planned.row] = self._score(planned, planned.scoring, hidden_TD[begin:])
            begin += len(planned.token_ids)
        return scores

    def _score(self, planned: PlannedRequest, scoring: PromptScoring, hidden_TD: Tensor) -> list[TokenLogprobs] | None:
        """`hidden_TD` begins with the planned request's."""
        found: list[TokenLogprobs] = []
        for start in range(0, len(scoring.targets), self._rows):
            targets = scoring.targets[start : start + self._rows]
            first = scoring.first + start
            some = _report(self._logits(hidden_TD[first : first + len(targets)]), targets, scoring.top)
            if some is None:
                return None
            found += some
        return found


def _report(logits_NV: Tensor, targets: Sequence[int], top: int) -> list[TokenLogprobs] | None:
    logprobs_NV = torch.log_softmax(logits_NV, dim=-1)
    ids_N1 = torch.tensor(targets, dtype=torch.int64, device=logits_NV.device)[:, None]
    chosen = logprobs_NV.gather(1, ids_N1)[:, 0]
    if chosen.isnan().any():
        return None
    values_NK, ids_NK = logprobs_NV.topk(top, dim=-1)
    rows = zip(chosen.tolist(), ids_NK.tolist(), values_NK.tolist(), strict=True)
    return [TokenLogprobs(logprob, list(zip(ids, values, strict=True))) for logprob, ids, values in rows]
