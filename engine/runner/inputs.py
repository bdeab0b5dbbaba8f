"""Builds a ForwardBatch from a StepPlan. Owns the block table of the running rows; knows no model and no sampling.

T tokens of the step, N rows of logits, R requests of a decode group, B blocks, P block size.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.models.batch import DECODE_WORKSPACE_TOKENS, DecodeGroup, ForwardBatch, PrefillChunk
from engine.runner.host_copy import on_device
from engine.runner.sampler import Drawn
from engine.scheduling.plan import NO_TOKEN, PlannedRequest, StepPlan


class InputBuilder:
    """Keeps each row's block table on the device across steps, so that a step copies only the blocks added since.

    `max_blocks` is the most that one request can have; `workspace` the padded context tokens of a decode group.
    """

    def __init__(
        self,
        max_running: int,
        max_blocks: int,
        block_size: int,
        device: torch.device,
        workspace: int = DECODE_WORKSPACE_TOKENS,
    ) -> None:
        self._table_RB = torch.zeros(max_running, max_blocks, dtype=torch.int64, device=device)
        self._filled = [0] * max_running
        self._block_size = block_size
        self._device = device
        self._workspace = workspace

    def free_row(self, row: int) -> None:
        """The row's next request begins with an empty block table."""
        self._filled[row] = 0

    def build(self, plan: StepPlan, before: Drawn | None = None) -> ForwardBatch:
        """All tokens of the plan in one row, in the plan's order. Where a token is NO_TOKEN it is what `before` drew
        for that row; it is taken from there, on the device."""
        tokens: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        logit_tokens: list[int] = []
        decoding: list[tuple[int, int, int]] = []  # context length, token, row
        unknown: dict[int, int] = {}  # token: its row
        prefill: list[PrefillChunk] = []
        size = self._block_size
        for planned in plan.requests:
            first, start, count = len(tokens), planned.start, len(planned.token_ids)
            blocks = planned.block_ids
            self._fill(planned)
            tokens += planned.token_ids
            # token at position p lives in block p // P, at offset p % P
            if count == 1:
                positions.append(start)
                slots.append(blocks[start // size] * size + start % size)
                decoding.append((start + 1, first, planned.row))
            else:
                positions += range(start, start + count)
                slots += [blocks[p // size] * size + p % size for p in range(start, start + count)]
                used = -(-(start + count) // size)
                prefill.append(PrefillChunk(first, count, start, self._table_RB[planned.row, :used]))
            if planned.token_ids[-1] == NO_TOKEN:
                unknown[first + count - 1] = planned.row
            if planned.sample:
                logit_tokens.append(first + count - 1)
        token_ids_T = self._tensor(tokens)
        if unknown:
            assert before is not None, unknown
            places = {row: place for place, row in enumerate(before.row_ids)}
            drawn_N = before.tokens_N[self._tensor([places[row] for row in unknown.values()])]
            # a row without usable logits has no token; its request ends, and this step is not used for it
            token_ids_T[self._tensor(list(unknown))] = drawn_N.clamp(min=0)
        return ForwardBatch(
            token_ids_T=token_ids_T,
            positions_T=self._tensor(positions),
            slots_T=self._tensor(slots),
            decode=tuple(self._groups(decoding, len(tokens))),
            prefill=tuple(prefill),
            logit_tokens_N=self._tensor(logit_tokens),
        )

    def _fill(self, planned: PlannedRequest) -> None:
        """Copies the blocks that the request got since its last step into its row of the table."""
        filled, blocks = self._filled[planned.row], planned.block_ids
        if filled == len(blocks):
            return
        self._table_RB[planned.row, filled : len(blocks)] = self._tensor(blocks[filled:])
        self._filled[planned.row] = len(blocks)

    def _groups(self, decoding: list[tuple[int, int, int]], tokens: int) -> list[DecodeGroup]:
        """One group in the step's order, if padding all to the longest stays within the workspace; else the decoding
        requests, sorted by context length, are cut where it would not. A request longer than the workspace is a group
        of its own. `tokens`: of the step."""
        longest = max((context for context, _, _ in decoding), default=0)
        if 0 < len(decoding) * longest <= self._workspace:
            return [self._group(decoding, longest, whole=len(decoding) == tokens)]
        decoding.sort()
        groups: list[DecodeGroup] = []
        first = 0
        for end in range(1, len(decoding) + 1):
            if end == len(decoding) or (end + 1 - first) * decoding[end][0] > self._workspace:
                groups.append(self._group(decoding[first:end], decoding[end - 1][0], whole=False))
                first = end
        return groups

    def _group(self, members: list[tuple[int, int, int]], longest: int, whole: bool) -> DecodeGroup:
        """`whole`: the members are the step, in its order."""
        blocks = -(-longest // self._block_size)
        rows_R = self._tensor([row for _, _, row in members])
        return DecodeGroup(
            tokens_R=None if whole else self._tensor([token for _, token, _ in members]),
            block_table_RB=self._table_RB[rows_R, :blocks],
            context_lens_R=self._tensor([context for context, _, _ in members]),
        )

    def _tensor(self, values: Sequence[int]) -> Tensor:
        return on_device(values, self._device)
