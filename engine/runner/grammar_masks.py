"""GrammarMasks: which tokens the grammars of a step's rows admit, computed while the model computes the logits.

    start(states) ── in another thread: one bit a token from each matcher, unpacked ──▶ apply(logits)

N rows of logits, G of them under a grammar, V vocabulary.
"""

import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from llguidance import LLExecutor, LLMatcher
from llguidance.numpy import fill_next_token_bitmask_par
from numpy.typing import NDArray
from torch import Tensor

from engine.grammar.source import error_text
from engine.grammar.state import GrammarState
from engine.scheduling.plan import Constrained

WORD = 32  # the library's masks are rows of 32-bit words


class GrammarMasks:
    """One step at a time: `start`, then `apply`."""

    def __init__(self, vocab_size: int, device: torch.device) -> None:
        self._vocab_size = vocab_size
        self._device = device
        self._thread = ThreadPoolExecutor(1, "grammar-masks")
        # made at the first mask, so that an engine without grammars has no threads for them
        self._executor: LLExecutor | None = None
        self._indices: list[int] = []
        self._forbidden: Future[tuple[Tensor, dict[int, Constrained]]] | None = None

    def start(self, states: Mapping[int, GrammarState]) -> None:
        """Begins to compute the masks of those of `states` (by index of their row in the logits) that are active."""
        for state in states.values():
            state.refresh()
        active = {index: state for index, state in states.items() if state.matcher is not None or state.error}
        self._indices = list(active)
        self._forbidden = self._thread.submit(self._compute, active) if active else None

    def apply(self, logits_NV: Tensor) -> dict[int, Constrained]:
        """Sets the logits of what is not admitted to -inf, by adding that: on a CPU this takes a tenth of the time of
        filling them in. Returns the rows that have nothing to sample, and why: their grammar is done, or failed."""
        if self._forbidden is None:
            return {}
        pending, self._forbidden = self._forbidden, None  # before it can fail
        forbidden_GV, verdicts = pending.result()
        if len(self._indices) == len(logits_NV):
            logits_NV += forbidden_GV
        else:
            for index, forbidden_V in zip(self._indices, forbidden_GV, strict=True):
                logits_NV[index] += forbidden_V
        return verdicts

    def _compute(self, states: dict[int, GrammarState]) -> tuple[Tensor, dict[int, Constrained]]:
        """-inf for the tokens that are not admitted, else 0, as [G, V], and the verdicts of `apply`."""
        verdicts: dict[int, Constrained] = {}
        on_cpu = self._device.type == "cpu"
        # pinned, else the copy would wait for what the device has to do before
        shared = torch.ones(len(states), self._vocab_size, dtype=torch.bool, pin_memory=not on_cpu)
        forbidden_GV = shared.numpy()
        bits_GW = self._bits(states)
        for row, (index, state) in enumerate(states.items()):
            verdict = self._judge(state, bits_GW[row], forbidden_GV[row])
            if verdict is not None:
                verdicts[index] = verdict
                forbidden_GV[row] = False  # what is drawn there is not used
        if on_cpu:
            return torch.from_numpy(_as_logits(forbidden_GV)), verdicts
        forbidden = shared.to(self._device, non_blocking=True)  # a quarter of the bytes
        return torch.zeros(forbidden.shape, device=self._device).masked_fill_(forbidden, -torch.inf), verdicts

    def _bits(self, states: dict[int, GrammarState]) -> NDArray[np.int32]:
        """One bit a token for each state, END's bit included. A failed matcher's are undefined."""
        matchers: list[tuple[LLMatcher, int]] = []
        words = 0
        for row, state in enumerate(states.values()):
            if state.matcher is not None:
                words = state.tokens.end // WORD + 1
                if state.error is None:
                    matchers.append((state.matcher, row))
        bits_GW = np.zeros((len(states), words), dtype=np.int32)
        if matchers:
            if self._executor is None:
                self._executor = LLExecutor(num_threads=max(1, min(8, (os.cpu_count() or 1) // 2)))
            fill_next_token_bitmask_par(self._executor, matchers, bits_GW)
        return bits_GW

    @staticmethod
    def _judge(state: GrammarState, bits_W: NDArray[np.int32], forbidden_V: NDArray[np.bool_]) -> Constrained | None:
        """Unpacks a row of bits, and admits the stop tokens where they may come. None: there is something to sample."""
        if state.error is not None:
            return Constrained(error=state.error)
        matcher, size = state.matcher, state.tokens.size
        assert matcher is not None
        state.count_mask()
        if matcher.is_error():
            return state.fail(error_text(matcher))
        forbidden_V[:size] = np.unpackbits(np.invert(bits_W).view(np.uint8), bitorder="little", count=size)
        if forbidden_V.all():
            return Constrained(done=True) if matcher.is_accepting() else state.fail("no token is left")
        if state.has_digits_enough:
            fewer_V = forbidden_V[:size] | state.tokens.digits_V
            if not fewer_V.all() or (state.may_stop and state.stop):
                forbidden_V[:size] = fewer_V
        if state.has_string_enough:
            fewer_V = forbidden_V[:size] | ~state.tokens.quotes_V
            if not fewer_V.all():
                forbidden_V[:size] = fewer_V
        if state.may_stop:
            forbidden_V[list(state.stop)] = False
        else:
            _hide_stops(state, forbidden_V)
        return None


def _as_logits(forbidden_GV: NDArray[np.bool_]) -> NDArray[np.float32]:
    """-inf where it is true, 0 elsewhere: 0 x -inf would be no number, and choosing takes ten times as long."""
    logits_GV = np.multiply(forbidden_GV, np.float32(-3e38), dtype=np.float32)
    with np.errstate(over="ignore"):
        return np.multiply(logits_GV, np.float32(2), out=logits_GV)


def _hide_stops(state: GrammarState, forbidden_V: NDArray[np.bool_]) -> None:
    """Tokens that the user wants to stop at do not come as a part of the text, unless there is no other."""
    stops = [token for token in state.stop if token < len(forbidden_V) and not forbidden_V[token]]
    if stops:
        forbidden_V[stops] = True
        if forbidden_V.all():
            forbidden_V[stops] = False
