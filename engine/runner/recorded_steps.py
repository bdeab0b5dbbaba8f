"""Decode steps recorded once and replayed: hundreds of calls become one, so that the Python around them costs nothing.

A recorded step has fixed addresses and a fixed number of requests. A step is copied into its inputs and filled up by
repeating the last request: the same token at the same place of the cache, so that what the copies write is what is
there, and no expert is visited that would not be visited anyway.

    step of 5, recorded 8     requests 0 1 2 3 4 4 4 4

Shapes: R requests of a step, S of a recorded one, B blocks of the longest request, D model.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from engine.kernels.backend import Recorder
from engine.models.batch import DecodeGroup, ForwardBatch
from engine.runner.kv_store import KVStore
from engine.runner.runner import Model


class RecordedSteps:
    """A model whose decode steps are replayed where they can be; everything else goes to the model itself."""

    def __init__(
        self, model: Model, kv: KVStore, sizes: Sequence[int], max_blocks: int, device: torch.device, recorder: Recorder
    ) -> None:
        """`sizes` rise; `max_blocks` is the most that one request can have."""
        self._model, self._kv, self._recorder = model, kv, recorder
        self._sizes = list(sizes)
        most = self._sizes[-1]
        self._token_ids = torch.zeros(most, dtype=torch.int64, device=device)
        self._positions = torch.zeros_like(self._token_ids)
        self._slots = torch.zeros_like(self._token_ids)
        self._lens = torch.ones_like(self._token_ids)
        self._table = torch.zeros(most, max_blocks, dtype=torch.int64, device=device)
        self._every = torch.arange(most, device=device)
        self._recorded: dict[int, tuple[Callable[[], None], Tensor]] = {}
        # All, the largest first: the others fit into its memory. Or one, to know that the model can be recorded.
        for size in reversed(self._sizes) if recorder.ahead else self._sizes[:1]:
            self._record(size)

    def hidden(self, batch: ForwardBatch, kv: KVStore) -> Tensor:
        """See Model."""
        if batch.prefill or len(batch.decode) != 1 or len(batch.token_ids_T) > self._sizes[-1]:
            return self._model.hidden(batch, kv)
        group, requests = batch.decode[0], len(batch.token_ids_T)
        size = self._sizes[bisect_left(self._sizes, requests)]
        self._fill(batch, group, requests, size)
        if size in self._recorded:
            replay, out_SD = self._recorded[size]
            replay()
        else:
            out_SD = self._record(size)
        # the recorded step has its requests in the group's order
        if group.tokens_R is None:
            return out_SD[:requests].clone()
        hidden_RD = torch.empty_like(out_SD[:requests])
        return hidden_RD.index_copy_(0, group.tokens_R, out_SD[:requests])

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """See Model."""
        return self._model.logits(hidden_ND)

    @torch.inference_mode()
    def _record(self, size: int) -> Tensor:
        self._recorded[size] = self._recorder.record(partial(self._model.hidden, self._batch(size), self._kv))
        return self._recorded[size][1]

    def _fill(self, batch: ForwardBatch, group: DecodeGroup, requests: int, size: int) -> None:
        inputs = (
            (self._token_ids, batch.token_ids_T),
            (self._positions, batch.positions_T),
            (self._slots, batch.slots_T),
        )
        blocks = group.block_table_RB.shape[1]
        if group.tokens_R is None and requests == size:
            for target, source in inputs:
                target[:size].copy_(source)
            self._lens[:size].copy_(group.context_lens_R)
            self._table[:size, :blocks].copy_(group.block_table_RB)
            return
        picked_S = self._every[:size].clamp(max=requests - 1)
        tokens_S = picked_S if group.tokens_R is None else group.tokens_R[picked_S]
        for target, source in inputs:
            target[:size].copy_(source[tokens_S])
        self._lens[:size].copy_(group.context_lens_R[picked_S])
        self._table[:size, :blocks].copy_(group.block_table_RB[picked_S])

    def _batch(self, size: int) -> ForwardBatch:
        """The recorded step's inputs: views of what `_fill` fills."""
        group = DecodeGroup(None, self._table[:size], self._lens[:size])
        inputs = self._token_ids[:size], self._positions[:size], self._slots[:size]
        return ForwardBatch(*inputs, (group,), (), self._every[:size])
