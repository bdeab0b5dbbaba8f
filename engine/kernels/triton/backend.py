"""The Triton backend: which kernels it brings. What it does not bring (xIELU) is plain torch's."""

import torch
from torch import Tensor

from engine.kernels.backend import Kernels
from engine.kernels.limits import PREFILL_KEY_BLOCK_TRITON
from engine.kernels.packed import Packed
from engine.kernels.triton import activation, gqa, linear, mla, moe, norm, rotary, sampling
from engine.kernels.triton import route as routing
from engine.kernels.triton.recorder import CudaRecorder


class TritonKernels(Kernels):
    """For NVIDIA GPUs; under Triton's interpreter, for tests."""

    name = "triton"
    prefill_key_block = PREFILL_KEY_BLOCK_TRITON

    def recorder(self) -> CudaRecorder:
        return CudaRecorder()

    rms_norm = staticmethod(norm.rms_norm)
    add_rms_norm = staticmethod(norm.add_rms_norm)
    linear = staticmethod(linear.linear)
    route = staticmethod(routing.route)
    route_softmax = staticmethod(routing.route_softmax)
    moe_experts = staticmethod(moe.moe_experts)
    mla_store = staticmethod(rotary.mla_store)
    mla_decode = staticmethod(mla.mla_decode)
    mla_prefill = staticmethod(mla.mla_prefill)
    gqa_store = staticmethod(rotary.gqa_store)
    gqa_decode = staticmethod(gqa.gqa_decode)
    gqa_prefill = staticmethod(gqa.gqa_prefill)

    draw = staticmethod(sampling.draw)
    gathers_context = False

    @staticmethod
    def mlp(x_TD: Tensor, gate_up: Packed, down: Packed) -> Tensor:
        """See reference.mlp."""
        return linear.linear(activation.swiglu(linear.linear(x_TD, gate_up)), down)

    def describe(self) -> str:
        where = torch.cuda.get_device_name() if torch.cuda.is_available() else "its interpreter"
        return f"Triton on {where}"
