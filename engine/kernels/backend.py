"""Kernels: the arithmetic of a model, by backend. This one is plain torch, the specification of all.

A backend is a class below this one that brings faster versions of some kernels under the same signatures; what it does
not bring is done in plain torch, and its `describe` says so. Layers are handed their backend and never choose.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from engine.kernels import reference, reference_attention
from engine.kernels.limits import PREFILL_KEY_BLOCK


class Recorder(Protocol):
    """Records what `run` does on a device. Returns what replays it, into the tensor that `run` returned. That is filled
    by then, unless all sizes are recorded ahead."""

    ahead: bool  # whether all sizes are recorded at start; else each when it is first met

    def record(self, run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]: ...


class Kernels:
    """Plain torch on any device. See reference.py and reference_attention.py for what each kernel does."""

    name = "torch"
    prefill_key_block = PREFILL_KEY_BLOCK  # keys of a prompt that attention takes at a time

    embedding = staticmethod(reference.embedding)
    turns = staticmethod(reference.turns)
    add = staticmethod(reference.add)
    rms_norm = staticmethod(reference.rms_norm)
    add_rms_norm = staticmethod(reference.add_rms_norm)
    linear = staticmethod(reference.linear)
    mlp = staticmethod(reference.mlp)
    xielu = staticmethod(reference.xielu)
    route = staticmethod(reference.route)
    route_softmax = staticmethod(reference.route_softmax)
    moe_experts = staticmethod(reference.moe_experts)
    mla_store = staticmethod(reference_attention.mla_store)
    mla_decode = staticmethod(reference_attention.mla_decode)
    mla_prefill = staticmethod(reference_attention.mla_prefill)
    gqa_store = staticmethod(reference_attention.gqa_store)
    gqa_decode = staticmethod(reference_attention.gqa_decode)
    gqa_prefill = staticmethod(reference_attention.gqa_prefill)

    # Draws a token for each row of logits [N, V] by what [N, 5] says of it (engine/kernels/triton/sampling.py).
    # None: the sampler does it in plain torch.
    draw: Callable[[Tensor, Tensor], Tensor] | None = None
    # Whether small models are faster on one CPU thread, since the threads' waits cost more than they save.
    waits_cost = True
    # Whether decode attention copies the cached tokens of a group, so that groups must be bounded.
    gathers_context = True

    def set_threads(self, threads: int | None) -> None:
        """How many CPU threads compute; None: one a core."""
        if threads is not None:
            torch.set_num_threads(threads)

    def recorder(self) -> Recorder:
        """Of steps that compute with these kernels. Raises RuntimeError where they cannot be recorded."""
        raise RuntimeError(f"the {self.name} kernels cannot be recorded")

    def describe(self) -> str:
        """What an operator should know of this choice, in a few words."""
        return "plain torch"


TORCH = Kernels()
