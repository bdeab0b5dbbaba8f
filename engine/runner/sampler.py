"""Sampler: from logits to tokens, for all rows of a step at once. Plain torch; the specification of sampling here.

The order of things, as the field has it:

    logits ─▶ log-probabilities reported to the user
           ─▶ penalties ─▶ logit bias ─▶ stop tokens masked until min_tokens ─▶ forbidden tokens, grammar
           ─▶ temperature ─▶ min_p ─▶ top_k ─▶ top_p ─▶ draw ─▶ the grammar's forced tokens

N rows of logits, V vocabulary, K candidates that survive the filters at most, F rows that are filtered.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.grammar.compiler import CompiledGrammar
from engine.grammar.state import GrammarState
from engine.messages import SamplingParams, TokenLogprobs
from engine.runner.grammar_masks import GrammarMasks
from engine.runner.host_copy import HostCopy, on_device
from engine.runner.noise import uniform
from engine.runner.reported import Reported
from engine.scheduling.plan import NO_TOKEN, Constrained, NewRow, StepResult

# The filters look at this many most likely tokens first, and sort the whole vocabulary only where that is too few.
CANDIDATES = 512
# Temperatures up to here mean the most likely token: dividing by less would leave the range of float32.
LEAST_TEMPERATURE = 1e-5


class SamplerRow:
    """One running request's sampling parameters, what its penalties have to know, and where it is in its grammar."""

    def __init__(self, new: NewRow, vocab_size: int, device: torch.device) -> None:
        self.params = new.sampling
        self.length = len(new.token_ids)  # what is being drawn included
        self.prompt_length = new.prompt_length
        params = new.sampling
        self.penalised = (params.repetition_penalty, params.frequency_penalty, params.presence_penalty) != (1, 0, 0)
        self.filtered = params.top_p < 1 or params.min_p > 0 or 0 < params.top_k < vocab_size
        self.bias: tuple[Tensor, Tensor] | None = None
        if params.logit_bias:
            biases = on_device(list(params.logit_bias.values()), device, torch.float32)
            self.bias = on_device(list(params.logit_bias), device), biases
        stop = [token for token in params.stop_token_ids if token < vocab_size]
        self.stop = on_device(stop, device)
        self.grammar = _grammar_state(new)
        self.forbidden: Tensor | None = None
        if self.grammar is not None and self.grammar.forbidden:
            self.forbidden = on_device(self.grammar.forbidden, device)
        if self.penalised:
            self.seen_V = torch.zeros(vocab_size, dtype=torch.bool, device=device)
            self.counts_V = torch.zeros(vocab_size, device=device)
            self._count(on_device(new.token_ids, device), self.prompt_length)

    def count(self, tokens_N: Tensor, index: int) -> None:
        """The request goes on with a token that may be known on the device only, or ends if that is NO_TOKEN. `length`
        is the caller's."""
        if self.penalised:
            self._count(tokens_N[index : index + 1].clamp(min=0), 0)

    def extend(self, tokens: Sequence[int]) -> None:
        """The request goes on with tokens that were not sampled."""
        if self.penalised and tokens:
            self._count(on_device(tokens, self.seen_V.device), 0)
        self.length += len(tokens)

    def _count(self, tokens_T: Tensor, prompt_length: int) -> None:
        self.seen_V.index_fill_(0, tokens_T, True)
        output = tokens_T[prompt_length:]
        self.counts_V.scatter_add_(0, output, torch.ones_like(output, dtype=self.counts_V.dtype))

    def adjust(self, logits_V: Tensor) -> None:
        """Penalties, bias, the min_tokens mask and forbidden tokens, in place. An active grammar's mask says itself
        where a stop token may come."""
        params = self.params
        if self.penalised:
            penalty = params.repetition_penalty
            penalised_V = torch.where(logits_V > 0, logits_V / penalty, logits_V * penalty)
            torch.where(self.seen_V, penalised_V, logits_V, out=logits_V)
            logits_V -= params.frequency_penalty * self.counts_V + params.presence_penalty * (self.counts_V > 0)
        if self.bias is not None:
            logits_V.index_add_(0, *self.bias)
        active = self.grammar is not None and self.grammar.matcher is not None
        if self.length - self.prompt_length < params.min_tokens and len(self.stop) and not active:
            logits_V.index_fill_(0, self.stop, -torch.inf)
        if self.forbidden is not None and not active:
            logits_V.index_fill_(0, self.forbidden, -torch.inf)

    @property
    def adjusts(self) -> bool:
        """Whether `adjust` would change anything now."""
        below = self.length - self.prompt_length < self.params.min_tokens
        return self.penalised or self.bias is not None or below or self.forbidden is not None


@dataclass(frozen=True)
class Drawn:
    """One draw of the rows `row_ids`: tokens on the device, and on their way to the host."""

    row_ids: list[int]
    rows: list[SamplerRow]
    tokens_N: Tensor
    on_host: HostCopy
    logprobs: Reported | None
    constrained: dict[int, Constrained]


class Sampler:
    """Holds the rows of the running requests. A row's tokens depend on its logits, its parameters and its seed only."""

    def __init__(
        self,
        max_running: int,
        vocab_size: int,
        device: torch.device,
        draw: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        """`draw`: see Kernels.draw."""
        self._draw_on_device = draw
        self._rows: list[SamplerRow | None] = [None] * max_running
        self._vocab_size = vocab_size
        self._device = device
        self._masks = GrammarMasks(vocab_size, device)

    def free_row(self, row: int) -> None:
        self._rows[row] = None

    def add_row(self, new: NewRow) -> None:
        self._rows[new.row] = SamplerRow(new, self._vocab_size, self._device)

    def start_masks(self, row_ids: Sequence[int]) -> None:
        """Begins to compute what the grammars of `row_ids` admit; `sample` of the same rows waits for it."""
        rows = (self._rows[row_id] for row_id in row_ids)
        self._masks.start({i: row.grammar for i, row in enumerate(rows) if row is not None and row.grammar is not None})

    def has_grammar(self, row_ids: Sequence[int]) -> bool:
        """Whether what may be drawn for one of `row_ids` depends on the token before, by a grammar."""
        rows = (self._rows[row_id] for row_id in row_ids)
        return any(row is not None and row.grammar is not None and row.grammar.constrains for row in rows)

    def sample(self, logits_NV: Tensor, row_ids: Sequence[int]) -> StepResult:
        """`start`, then `finish`."""
        return self.finish(self.start(logits_NV, row_ids))

    def start(self, logits_NV: Tensor, row_ids: Sequence[int]) -> Drawn:
        """Draws the next token of each of `row_ids` from its row of float32 logits, which are used up, without waiting
        for the device where there is a kernel that draws. `start_masks` of the same rows went before."""
        rows = [row for row in (self._rows[row_id] for row_id in row_ids) if row is not None]
        assert len(rows) == len(row_ids) == len(logits_NV), (row_ids, logits_NV.shape)
        reports = self._wanted_reports(logits_NV, rows)
        for index, row in enumerate(rows):
            if row.adjusts:
                row.adjust(logits_NV[index])
        constrained = self._masks.apply(logits_NV)
        tokens_N = self._choose(logits_NV, rows)
        on_host = HostCopy(tokens_N)
        reported = None if reports is None else Reported(*reports, tokens_N)
        for index, row in enumerate(rows):
            row.count(tokens_N, index)
        for row in rows:  # last: if memory runs out before, the step is run again
            row.length += 1
        return Drawn(list(row_ids), rows, tokens_N, on_host, reported, constrained)

    @staticmethod
    def finish(drawn: Drawn) -> StepResult:
        """What was drawn, and what the rows' grammars make of it."""
        rows, constrained = drawn.rows, drawn.constrained
        tokens = drawn.on_host.tolist()
        for index, token in enumerate(tokens):
            if token == NO_TOKEN:
                constrained.pop(index, None)
        for index in constrained:
            tokens[index] = NO_TOKEN
        logprobs: list[TokenLogprobs | None] = [None] * len(rows)
        for index, logprob in drawn.logprobs.read() if drawn.logprobs is not None else ():
            if tokens[index] != NO_TOKEN:
                logprobs[index] = logprob
        for index, (row, token) in enumerate(zip(rows, tokens, strict=True)):
            if token == NO_TOKEN:
                continue
            follows = row.grammar.advance(token) if row.grammar is not None else None
            if follows is not None:
                constrained[index] = follows
                row.extend(follows.forced)
        return StepResult(tokens, logprobs, constrained)

    def _wanted_reports(
        self, logits_NV: Tensor, rows: list[SamplerRow]
    ) -> tuple[dict[int, int], Tensor, Tensor] | None:
        """For Reported: how many tokens each row wants to see, by index; these indices; their log-probabilities."""
        counts = {index: row.params.logprobs for index, row in enumerate(rows) if row.params.logprobs is not None}
        if not counts:
            return None
        rows_W = on_device(list(counts), self._device)
        return counts, rows_W, torch.log_softmax(logits_NV.index_select(0, rows_W), dim=-1)

    def _choose(self, logits_NV: Tensor, rows: list[SamplerRow]) -> Tensor:
        """A token of each row, NO_TOKEN where the logits are not numbers."""
        if self._draw_on_device is not None:
            return self._draw_on_device(logits_NV, on_device([_how(row) for row in rows], self._device, torch.float64))
        peaks_N = logits_NV.amax(dim=-1)
        tokens = self._draw(logits_NV, peaks_N, rows)
        for index in (~peaks_N.isfinite()).nonzero()[:, 0].tolist():
            tokens[index] = NO_TOKEN
        return torch.tensor(tokens, dtype=torch.int64, device=self._device)

    def _draw(self, logits_NV: Tensor, peaks_N: Tensor, rows: list[SamplerRow]) -> list[int]:
        """The most likely token where temperature is 0, one by chance elsewhere."""
        drawn = [index for index, row in enumerate(rows) if row.params.temperature > LEAST_TEMPERATURE]
        tokens: list[int] = logits_NV.argmax(dim=-1).tolist() if len(drawn) < len(rows) else [0] * len(rows)
        if not drawn:
            return tokens
        for filtered, choose in ((False, _choose_from_all), (True, _choose_filtered)):
            chosen = [index for index in drawn if rows[index].filtered is filtered]
            if chosen:
                noise = [uniform(rows[index].params.seed, rows[index].length) for index in chosen]
                noise_N = torch.tensor(noise, dtype=torch.float64, device=self._device)
                params = [rows[index].params for index in chosen]
                temperature_N1 = _column(params, "temperature", logits_NV)
                every = len(chosen) == len(rows)
                # the largest logit is taken off first, so that a tiny temperature cannot overflow
                scaled_NV = logits_NV - peaks_N[:, None] if every else logits_NV[chosen] - peaks_N[chosen, None]
                scaled_NV /= temperature_N1
                for index, token in zip(chosen, choose(scaled_NV, params, noise_N), strict=True):
                    tokens[index] = token
        return tokens


def _grammar_state(new: NewRow) -> GrammarState | None:
    """Where the request is in its grammar after the tokens it has. Tokens whose log-probabilities are wanted are
    sampled one by one."""
    if new.grammar is None:
        return None
    assert isinstance(new.grammar, CompiledGrammar), new.grammar
    params = new.sampling
    output = new.token_ids[new.prompt_length :]
    return GrammarState(new.grammar, output, params.stop_token_ids, params.min_tokens, forcing=params.logprobs is None)


def _how(row: SamplerRow) -> tuple[float, float, float, float, float]:
    """What a kernel that draws has to know of a row."""
    params = row.params
    noise = uniform(params.seed, row.length) if params.temperature > LEAST_TEMPERATURE else 0.0
    return params.temperature, max(params.top_k, 0), params.top_p, params.min_p, noise


def _column(params: Sequence[SamplingParams], name: str, like: Tensor) -> Tensor:
    """One parameter of all rows as [N, 1]."""
    return torch.tensor([[getattr(p, name)] for p in params], dtype=torch.float32, device=like.device)


def _choose_from_all(scaled_NV: Tensor, params: Sequence[SamplingParams], noise_N: Tensor) -> list[int]:
    """Draws from the whole vocabulary by inverting the cumulative distribution, in order of token id."""
    return _invert(torch.softmax(scaled_NV, dim=-1), noise_N).tolist()


def _choose_filtered(scaled_FV: Tensor, params: Sequence[SamplingParams], noise_F: Tensor) -> list[int]:
    """Draws among what min_p, top_k and top_p leave. Every filter keeps a prefix of the falling order, so the
    CANDIDATES most likely tokens are enough unless a prefix reaches past them."""
    probs_FV = torch.softmax(scaled_FV, dim=-1)
    size = min(CANDIDATES, probs_FV.shape[1])
    kept_FK, ids_FK, complete_F = _filter(probs_FV, params, size)
    tokens_F = ids_FK.gather(1, _invert(kept_FK, noise_F)[:, None])[:, 0]
    again = (~complete_F).nonzero()[:, 0].tolist() if size < probs_FV.shape[1] else []
    if again:
        some = [params[index] for index in again]
        kept_FK, ids_FK, _ = _filter(probs_FV[again], some, probs_FV.shape[1])
        tokens_F[again] = ids_FK.gather(1, _invert(kept_FK, noise_F[again])[:, None])[:, 0]
    return tokens_F.tolist()


def _filter(probs_FV: Tensor, params: Sequence[SamplingParams], size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `size` most likely tokens in falling order, with the filtered ones at probability 0; their ids; and for each
    row whether the filters end within them."""
    probs_FK, ids_FK = probs_FV.topk(size, dim=-1)
    top_k = torch.tensor([[p.top_k or probs_FV.shape[1]] for p in params], device=probs_FV.device)
    in_top_k_FK = torch.arange(size, device=probs_FV.device) < top_k
    above_FK = probs_FK >= _column(params, "min_p", probs_FV) * probs_FK[:, :1]
    kept_FK = probs_FK * (in_top_k_FK & above_FK)
    # what min_p and top_k leave sums to 1 again before top_p: exact if they end within the candidates, otherwise
    # only min_p = 0 and no top_k is known to leave everything
    ended_F = ~(in_top_k_FK & above_FK)[:, -1]
    unlimited_F = (top_k[:, 0] >= probs_FV.shape[1]) & (_column(params, "min_p", probs_FV)[:, 0] == 0)
    mass_F1 = torch.where(ended_F, kept_FK.sum(-1), probs_FV.sum(-1))[:, None]
    top_p_F1 = _column(params, "top_p", probs_FV) * mass_F1
    before_FK = kept_FK.cumsum(-1) - kept_FK
    in_top_p_FK = (before_FK < top_p_F1) | (_column(params, "top_p", probs_FV) >= 1)
    in_top_p_FK[:, 0] = True  # the most likely token always stays, however small top_p
    kept_FK = kept_FK * in_top_p_FK
    complete_F = ended_F | (unlimited_F & ~in_top_p_FK[:, -1])
    return kept_FK, ids_FK, complete_F


def _invert(weights_NK: Tensor, noise_N: Tensor) -> Tensor:
    """For each row the index at which the running sum of its weights first exceeds noise x total. Summed in float64,
    so that a long tail is not rounded away."""
    sums_NK = weights_NK.cumsum(dim=-1, dtype=torch.float64)
    target_N1 = (noise_N * sums_NK[:, -1])[:, None]
    index_N = torch.searchsorted(sums_NK, target_N1, right=True)[:, 0]
    return index_N.clamp_(max=weights_NK.shape[1] - 1)
