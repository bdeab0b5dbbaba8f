"""NativeKernels: the CPU backend, in C++ (source/). Computes in bfloat16 with float32 sums.

A wrapper here turns tensors into addresses. Inputs in other dtypes go to plain torch, whose signatures these are (see
reference.py), so that a model in float32 can be compared layer by layer.
"""

import os
from ctypes import byref

import torch
from torch import Tensor

from engine.errors import ConfigError
from engine.kernels import reference, reference_attention
from engine.kernels.backend import Kernels
from engine.kernels.cpu.library import FORMATS, Cache, Decode, Library, Matrix, Router, find_library
from engine.kernels.packed import Packed

BF16 = torch.bfloat16
# From this many tokens on, torch multiplies plain matrices faster (benchmarks/cpu_kernels.py).
TORCH_TOKENS = 32


class NativeKernels(Kernels):
    """One library with its threads; one caller at a time."""

    name = "native"
    waits_cost = False
    gathers_context = False

    def __init__(self, library: Library) -> None:
        self.library = library

    def set_threads(self, threads: int | None) -> None:
        super().set_threads(threads)
        self.library.set_threads(threads or _cores())

    def describe(self) -> str:
        threads = self.library.threads
        return f"native ({self.library.instruction_set}, {threads} thread{'s' * (threads > 1)})"

    def rms_norm(self, x_TX: Tensor, weight_X: Tensor, eps: float) -> Tensor:
        if x_TX.dtype != BF16 or x_TX.dim() != 2:
            return reference.rms_norm(x_TX, weight_X, eps)
        x_TX, (tokens, width) = _rows(x_TX), x_TX.shape
        out_TX = torch.empty((tokens, width), dtype=BF16)
        stride, weight = x_TX.stride(0), weight_X.data_ptr()
        self.library.rms_norm(x_TX.data_ptr(), stride, tokens, width, weight, eps, out_TX.data_ptr())
        return out_TX

    def add_rms_norm(self, x_TX: Tensor, delta_TX: Tensor, weight_X: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        if x_TX.dtype != BF16:
            return reference.add_rms_norm(x_TX, delta_TX, weight_X, eps)
        x_TX, delta_TX, (tokens, width) = x_TX.contiguous(), delta_TX.contiguous(), x_TX.shape
        sum_TX, out_TX = torch.empty_like(x_TX), torch.empty_like(x_TX)
        self.library.add_rms_norm(
            x_TX.data_ptr(),
            delta_TX.data_ptr(),
            tokens,
            width,
            weight_X.data_ptr(),
            eps,
            sum_TX.data_ptr(),
            out_TX.data_ptr(),
        )
        return sum_TX, out_TX

    def linear(self, x_TX: Tensor, weight: Packed) -> Tensor:
        if x_TX.dtype != BF16 or (weight.format == "plain" and len(x_TX) >= TORCH_TOKENS):
            return reference.linear(x_TX, weight)
        x_TX, matrix = _rows(x_TX), _matrix(weight)
        tokens = x_TX.shape[0]
        out_TX = torch.empty((tokens, matrix.rows), dtype=BF16)
        self.library.linear(byref(matrix), x_TX.data_ptr(), x_TX.stride(0), tokens, out_TX.data_ptr())
        return out_TX

    def mlp(self, x_TD: Tensor, gate_up: Packed, down: Packed) -> Tensor:
        if x_TD.dtype != BF16:
            return reference.mlp(x_TD, gate_up, down)
        ids_TK = torch.zeros((x_TD.shape[0], 1), dtype=torch.int64)
        return self._experts(x_TD, torch.ones((x_TD.shape[0], 1)), ids_TK, _matrix(gate_up), _matrix(down), 1)

    def moe_experts(
        self, hidden_TD: Tensor, weights_TK: Tensor, ids_TK: Tensor, gate_up: Packed, down: Packed
    ) -> Tensor:
        if hidden_TD.dtype != BF16:
            return reference.moe_experts(hidden_TD, weights_TK, ids_TK, gate_up, down)
        weights_TK, ids_TK = weights_TK.contiguous(), ids_TK.contiguous()
        return self._experts(hidden_TD, weights_TK, ids_TK, _matrix(gate_up), _matrix(down), gate_up.values.shape[0])

    def _experts(
        self, x_TD: Tensor, weights_TK: Tensor, ids_TK: Tensor, gate_up: Matrix, down: Matrix, experts: int
    ) -> Tensor:
        x_TD = _rows(x_TD)
        out_TD = torch.empty((x_TD.shape[0], down.rows), dtype=BF16)
        self.library.experts(
            byref(gate_up),
            byref(down),
            experts,
            x_TD.data_ptr(),
            x_TD.stride(0),
            x_TD.shape[0],
            ids_TK.shape[1],
            weights_TK.data_ptr(),
            ids_TK.data_ptr(),
            out_TD.data_ptr(),
        )
        return out_TD

    def route(
        self,
        hidden_TD: Tensor,
        gate_ED: Tensor,
        bias_E: Tensor,
        *,
        experts_per_token: int,
        groups: int,
        groups_kept: int,
        normalize: bool,
        scale: float,
    ) -> tuple[Tensor, Tensor]:
        if hidden_TD.dtype != BF16:
            return reference.route(
                hidden_TD,
                gate_ED,
                bias_E,
                experts_per_token=experts_per_token,
                groups=groups,
                groups_kept=groups_kept,
                normalize=normalize,
                scale=scale,
            )
        bias = bias_E.data_ptr()
        experts, hidden = gate_ED.shape
        router = Router(
            gate_ED.data_ptr(), bias, experts, hidden, experts_per_token, groups, groups_kept, normalize, scale
        )
        return self._route(hidden_TD, router)

    def route_softmax(
        self, hidden_TD: Tensor, gate_ED: Tensor, *, experts_per_token: int, normalize: bool
    ) -> tuple[Tensor, Tensor]:
        if hidden_TD.dtype != BF16:
            return reference.route_softmax(hidden_TD, gate_ED, experts_per_token=experts_per_token, normalize=normalize)
        experts, hidden = gate_ED.shape
        router = Router(gate_ED.data_ptr(), None, experts, hidden, experts_per_token, 1, 1, normalize, 1.0)
        return self._route(hidden_TD, router)

    def _route(self, hidden_TD: Tensor, router: Router) -> tuple[Tensor, Tensor]:
        hidden_TD, shape = _rows(hidden_TD), (hidden_TD.shape[0], router.per_token)
        weights_TK, ids_TK = torch.empty(shape), torch.empty(shape, dtype=torch.int64)
        where = hidden_TD.data_ptr(), hidden_TD.stride(0), shape[0], weights_TK.data_ptr(), ids_TK.data_ptr()
        self.library.route(byref(router), *where)
        return weights_TK, ids_TK

    def mla_store(
        self,
        query_THQ: Tensor,
        latent_TL: Tensor,
        key_TR: Tensor,
        norm_L: Tensor,
        eps: float,
        turns_T: Tensor,
        interleaved: bool,
        cache_BPC: Tensor,
        slots_T: Tensor,
    ) -> Tensor:
        if query_THQ.dtype != BF16:
            return reference_attention.mla_store(
                query_THQ, latent_TL, key_TR, norm_L, eps, turns_T, interleaved, cache_BPC, slots_T
            )
        query_THQ, latent_TL, key_TR = _heads(query_THQ), _rows(latent_TL), _rows(key_TR)
        tokens, heads, width = query_THQ.shape
        rotary = key_TR.shape[1]
        out_THQ = torch.empty((tokens, heads, width), dtype=BF16)
        self.library.mla_store(
            query_THQ.data_ptr(),
            query_THQ.stride(0),
            latent_TL.data_ptr(),
            latent_TL.stride(0),
            key_TR.data_ptr(),
            key_TR.stride(0),
            tokens,
            heads,
            width - rotary,
            rotary,
            norm_L.data_ptr(),
            eps,
            turns_T.data_ptr(),
            interleaved,
            byref(_cache(cache_BPC)),
            slots_T.data_ptr(),
            out_THQ.data_ptr(),
        )
        return out_THQ

    def gqa_store(
        self,
        query_THW: Tensor,
        key_TGW: Tensor,
        value_TGW: Tensor,
        q_norm_W: Tensor,
        k_norm_W: Tensor,
        eps: float,
        turns_T: Tensor,
        interleaved: bool,
        cache_BPC: Tensor,
        slots_T: Tensor,
    ) -> Tensor:
        if query_THW.dtype != BF16:
            return reference_attention.gqa_store(
                query_THW,
                key_TGW,
                value_TGW,
                q_norm_W,
                k_norm_W,
                eps,
                turns_T,
                interleaved,
                cache_BPC,
                slots_T,
            )
        query_THW, key_TGW, value_TGW = _heads(query_THW), _heads(key_TGW), _heads(value_TGW)
        tokens, heads, width = query_THW.shape
        out_THW = torch.empty((tokens, heads, width), dtype=BF16)
        self.library.gqa_store(
            query_THW.data_ptr(),
            query_THW.stride(0),
            key_TGW.data_ptr(),
            key_TGW.stride(0),
            value_TGW.data_ptr(),
            value_TGW.stride(0),
            tokens,
            heads,
            key_TGW.shape[1],
            width,
            q_norm_W.data_ptr(),
            k_norm_W.data_ptr(),
            eps,
            turns_T.data_ptr(),
            interleaved,
            byref(_cache(cache_BPC)),
            slots_T.data_ptr(),
            out_THW.data_ptr(),
        )
        return out_THW

    def mla_decode(
        self,
        query_AHQ: Tensor,
        cache_BPC: Tensor,
        block_table_AB: Tensor,
        context_lens_A: Tensor,
        up_k_HNL: Tensor,
        up_v_HVL: Tensor,
        scale: float,
    ) -> Tensor:
        if query_AHQ.dtype != BF16:
            return reference_attention.mla_decode(
                query_AHQ, cache_BPC, block_table_AB, context_lens_A, up_k_HNL, up_v_HVL, scale
            )
        query_AHQ = _heads(query_AHQ)
        requests, heads, width = query_AHQ.shape
        nope, value = up_k_HNL.shape[1], up_v_HVL.shape[1]
        out_AHV = torch.empty((requests, heads, value), dtype=BF16)
        self.library.mla_decode(
            byref(_decode(heads, block_table_AB, context_lens_A, scale)),
            byref(_cache(cache_BPC)),
            query_AHQ.data_ptr(),
            query_AHQ.stride(0),
            up_k_HNL.data_ptr(),
            up_v_HVL.data_ptr(),
            nope,
            width - nope,
            value,
            out_AHV.data_ptr(),
        )
        return out_AHV

    def gqa_decode(
        self,
        query_AHW: Tensor,
        cache_BPC: Tensor,
        block_table_AB: Tensor,
        context_lens_A: Tensor,
        kv_heads: int,
        scale: float,
    ) -> Tensor:
        if query_AHW.dtype != BF16:
            return reference_attention.gqa_decode(query_AHW, cache_BPC, block_table_AB, context_lens_A, kv_heads, scale)
        query_AHW = _heads(query_AHW)
        out_AHW = torch.empty(query_AHW.shape, dtype=BF16)
        self.library.gqa_decode(
            byref(_decode(query_AHW.shape[1], block_table_AB, context_lens_A, scale)),
            byref(_cache(cache_BPC)),
            query_AHW.data_ptr(),
            query_AHW.stride(0),
            kv_heads,
            out_AHW.data_ptr(),
        )
        return out_AHW

    def mla_prefill(
        self,
        query_THQ: Tensor,
        cache_BPC: Tensor,
        blocks_B: Tensor,
        start: int,
        up_k_HNL: Tensor,
        up_v_HVL: Tensor,
        scale: float,
        query_block: int,
        key_block: int,
    ) -> Tensor:
        if query_THQ.dtype != BF16:
            return reference_attention.mla_prefill(
                query_THQ, cache_BPC, blocks_B, start, up_k_HNL, up_v_HVL, scale, query_block, key_block
            )
        query_THQ = _heads(query_THQ)
        tokens, heads, width = query_THQ.shape
        nope, value = up_k_HNL.shape[1], up_v_HVL.shape[1]
        out_THV = torch.empty((tokens, heads, value), dtype=BF16)
        self.library.mla_prefill(
            query_THQ.data_ptr(),
            query_THQ.stride(0),
            tokens,
            heads,
            byref(_cache(cache_BPC)),
            blocks_B.data_ptr(),
            start,
            up_k_HNL.data_ptr(),
            up_v_HVL.data_ptr(),
            nope,
            width - nope,
            value,
            scale,
            out_THV.data_ptr(),
        )
        return out_THV

    def gqa_prefill(
        self,
        query_THW: Tensor,
        cache_BPC: Tensor,
        blocks_B: Tensor,
        start: int,
        kv_heads: int,
        scale: float,
        query_block: int,
        key_block: int,
    ) -> Tensor:
        if query_THW.dtype != BF16:
            return reference_attention.gqa_prefill(
                query_THW, cache_BPC, blocks_B, start, kv_heads, scale, query_block, key_block
            )
        query_THW = _heads(query_THW)
        out_THW = torch.empty(query_THW.shape, dtype=BF16)
        self.library.gqa_prefill(
            query_THW.data_ptr(),
            query_THW.stride(0),
            query_THW.shape[0],
            query_THW.shape[1],
            byref(_cache(cache_BPC)),
            blocks_B.data_ptr(),
            start,
            kv_heads,
            scale,
            out_THW.data_ptr(),
        )
        return out_THW


def make_native(device: str, dtype: torch.dtype) -> NativeKernels:
    """The backend for a device's type and a model's dtype. Raises ConfigError where it cannot be used."""
    if device != "cpu":
        raise ConfigError(f"--kernels native: they are for the CPU, not for {device}")
    if dtype != BF16:
        raise ConfigError(f"--kernels native: they compute in bfloat16, not in {str(dtype).removeprefix('torch.')}")
    path = find_library()
    if path is None:
        raise ConfigError("--kernels native: they were not built; install with a C++ compiler (g++) at hand")
    try:
        return NativeKernels(Library(path))
    except (OSError, AttributeError) as error:  # of another system, or of another version
        raise ConfigError(f"--kernels native: {path} cannot be used ({error}); install again") from None


def _cores() -> int:
    """Of the machine that this process may use, where the system says."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _rows(x_TX: Tensor) -> Tensor:
    """Rows whose values lie side by side; the rows themselves may be apart."""
    return x_TX if x_TX.stride(-1) == 1 else x_TX.contiguous()


def _heads(x_THX: Tensor) -> Tensor:
    """The same for tokens of several heads: a token's heads lie side by side."""
    return x_THX if x_THX.stride(-1) == 1 and x_THX.stride(-2) == x_THX.shape[-1] else x_THX.contiguous()


def _matrix(weight: Packed) -> Matrix:
    """A matrix or stack of matrices for the library."""
    values, scale = weight.values, weight.scale
    columns = values.shape[-1] * (8 if weight.format == "int4" else 1)
    if scale is None:
        return Matrix(values.data_ptr(), None, values.shape[-2], columns, FORMATS[weight.format], 0)
    is_float = scale.dtype == torch.float32
    return Matrix(values.data_ptr(), scale.data_ptr(), values.shape[-2], columns, FORMATS[weight.format], is_float)


def _cache(cache_BPC: Tensor) -> Cache:
    return Cache(cache_BPC.data_ptr(), cache_BPC.shape[1], cache_BPC.shape[2])


def _decode(heads: int, block_table_AB: Tensor, context_lens_A: Tensor, scale: float) -> Decode:
    assert len(block_table_AB) > 0
    assert block_table_AB.stride(1) == 1 or block_table_AB.shape[1] == 1
    stride = block_table_AB.stride(0)
    return Decode(len(block_table_AB), heads, block_table_AB.data_ptr(), stride, context_lens_A.data_ptr(), scale)
