"""The routed experts by torch's grouped product (CUTLASS), for plain weights. Sorted on the device, no word to the
host.

Shapes: T tokens, D model, E experts, K experts of a token, F expert width, M assignments (T x K).
"""

import torch
from torch import Tensor
from torch.nn import functional

from engine.kernels.packed import Packed
from engine.kernels.triton.activation import swiglu


def moe_by_grouped_mm(hidden_TD: Tensor, weights_TK: Tensor, ids_TK: Tensor, gate_up: Packed, down: Packed) -> Tensor:
    """See reference.moe_experts, for bf16 weights."""
    K, E = ids_TK.shape[1], gate_up.values.shape[0]
    expert_M, order_M = ids_TK.flatten().sort(stable=True)
    experts = torch.arange(E, device=ids_TK.device)
    ends_E = torch.searchsorted(expert_M, experts, right=True).to(torch.int32)
    rows_MD = hidden_TD.index_select(0, order_M // K)
    inner_MF = swiglu(functional.grouped_mm(rows_MD, gate_up.values.transpose(1, 2), offs=ends_E))
    parts_MD = functional.grouped_mm(inner_MF, down.values.transpose(1, 2), offs=ends_E)
    parts_MD = parts_MD * weights_TK.flatten()[order_M, None].to(parts_MD.dtype)
    out_MD = torch.empty_like(parts_MD)
    out_MD.index_copy_(0, order_M, parts_MD)
    return torch.unflatten(out_MD, 0, (-1, K)).sum(1)
