"""ForwardBatch: every tensor that one forward pass needs, passed as an argument.

Shapes: T tokens of the step, N rows of logits, R requests of a decode group, B blocks of the longest of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the memory plan reads the bound below without torch
    from torch import Tensor

# Padded context tokens (R x B x block size) of one decode group at most; a single request may exceed it.
DECODE_WORKSPACE_TOKENS = 65536


@dataclass(frozen=True, slots=True)
class DecodeGroup:
    """Requests that compute one token each, their block tables padded to the longest. Groups are made, of similar
    context length where there are several, so that R x B x block size stays within the attention workspace."""

    tokens_R: Tensor | None  # int64: which of the step's T tokens; None: all of them, in order
    block_table_RB: Tensor  # int64; padding points at block 0 and lies beyond context_lens_R
    context_lens_R: Tensor  # int64: tokens in the KV cache, that of this step included


@dataclass(frozen=True, slots=True)
class PrefillChunk:
    """One request that computes several tokens: the step's tokens [first, first+count), which follow `start` tokens
    that the KV cache already holds."""

    first: int
    count: int
    start: int
    blocks_B: Tensor  # int64: blocks that hold tokens [0, start+count)


@dataclass(frozen=True, slots=True)
class ForwardBatch:
    """Tokens of all requests in one row. Every token is in exactly one decode group or prefill chunk."""

    token_ids_T: Tensor  # int64
    positions_T: Tensor  # int64
    slots_T: Tensor  # int64: where each token's KV goes: block id * block size + offset
    decode: tuple[DecodeGroup, ...]
    prefill: tuple[PrefillChunk, ...]
    logit_tokens_N: Tensor  # int64: which tokens' logits are wanted
