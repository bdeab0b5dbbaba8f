"""NativeKernels: the CPU backend, in C++ (source/). Computes in bfloat16 with float32 sums.

A wrapper here turns tensors into addresses. Inputs in other dtypes go to plain torch, whose signatures these are (see
reference.py), so that a model in float32 can be compared layer by layer.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import byref

import torch
from torch import Tensor

from engine.errors import ConfigError
from engine.kernels import reference
from engine.kernels.cpu.attention import Empty, NativeAttention, fresh
from engine.kernels.cpu.library import Functions, Library, Matrix, Router, find_library
from engine.kernels.cpu.recorder import NativeRecorder
from engine.kernels.cpu.tensors import BF16, matrix_of, rows_of
from engine.kernels.packed import Packed

# From this many tokens and values on, torch multiplies plain matrices faster (benchmarks/cpu_kernels.py).
TORCH_TOKENS = 128
TORCH_VALUES = 1 << 20


class NativeKernels(NativeAttention):
    """One library with its threads; one caller at a time."""

    name = "native"
    waits_cost = False
    gathers_context = False

    def __init__(self, library: Library) -> None:
        self.library: Functions = library
        self.empty: Empty = fresh
        self._loaded = library

    def set_threads(self, threads: int | None) -> None:
        super().set_threads(threads)
        self._loaded.set_threads(threads or _cores())

    def describe(self) -> str:
        threads = self._loaded.threads
        return f"native ({self._loaded.instruction_set}, {threads} thread{'s' * (threads > 1)})"

    def recorder(self) -> NativeRecorder:
        return NativeRecorder(self._loaded, self.redirected)

    @contextmanager
    def redirected(self, library: Functions, empty: Empty) -> Iterator[None]:
        """Calls go to `library` and results lie where `empty` says, for as long as this lasts."""
        before = self.library, self.empty
        self.library, self.empty = library, empty
        try:
            yield
        finally:
            self.library, self.empty = before

    def embedding(self, ids_T: Tensor, table_VD: Tensor) -> Tensor:
        if table_VD.dtype != BF16:
            return reference.embedding(ids_T, table_VD)
        tokens, width = ids_T.shape[0], table_VD.shape[1]
        out_TD = self.empty((tokens, width), BF16)
        self.library.embedding(ids_T.data_ptr(), tokens, table_VD.data_ptr(), width, out_TD.data_ptr())
        return out_TD

    def turns(self, positions_T: Tensor, frequencies: Tensor, magnitude: float) -> Tensor:
        tokens, pairs = positions_T.shape[0], frequencies.shape[0]
        out_TR = self.empty((tokens, pairs), torch.complex64)
        self.library.turns(positions_T.data_ptr(), tokens, frequencies.data_ptr(), pairs, magnitude, out_TR.data_ptr())
        return out_TR

    def add(self, x_TD: Tensor, delta_TD: Tensor) -> Tensor:
        if x_TD.dtype != BF16:
            return reference.add(x_TD, delta_TD)
        x_TD, delta_TD, (tokens, width) = x_TD.contiguous(), delta_TD.contiguous(), x_TD.shape
        out_TD = self.empty((tokens, width), BF16)
        self.library.add(x_TD.data_ptr(), delta_TD.data_ptr(), tokens, width, out_TD.data_ptr())
        return out_TD

    def xielu(self, x_TX: Tensor, alpha_p: Tensor, alpha_n: Tensor) -> Tensor:
        if x_TX.dtype != BF16:
            return reference.xielu(x_TX, alpha_p, alpha_n)
        x_TX, (tokens, width) = rows_of(x_TX), x_TX.shape
        out_TX = self.empty((tokens, width), BF16)
        alphas = alpha_p.data_ptr(), alpha_n.data_ptr()
        self.library.xielu(x_TX.data_ptr(), x_TX.stride(0), tokens, width, *alphas, out_TX.data_ptr())
        return out_TX

    def rms_norm(self, x_TX: Tensor, weight_X: Tensor, eps: float) -> Tensor:
        if x_TX.dtype != BF16 or x_TX.dim() != 2:
            return reference.rms_norm(x_TX, weight_X, eps)
        x_TX, (tokens, width) = rows_of(x_TX), x_TX.shape
        out_TX = self.empty((tokens, width), BF16)
        stride, weight = x_TX.stride(0), weight_X.data_ptr()
        self.library.rms_norm(x_TX.data_ptr(), stride, tokens, width, weight, eps, out_TX.data_ptr())
        return out_TX

    def add_rms_norm(self, x_TX: Tensor, delta_TX: Tensor, weight_X: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        if x_TX.dtype != BF16:
            return reference.add_rms_norm(x_TX, delta_TX, weight_X, eps)
        x_TX, delta_TX, (tokens, width) = x_TX.contiguous(), delta_TX.contiguous(), x_TX.shape
        sum_TX, out_TX = self.empty(x_TX.shape, BF16), self.empty(x_TX.shape, BF16)
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
        large = len(x_TX) >= TORCH_TOKENS and weight.values.numel() >= TORCH_VALUES
        if x_TX.dtype != BF16 or (weight.format == "plain" and large):
            return reference.linear(x_TX, weight)
        x_TX, matrix = rows_of(x_TX), matrix_of(weight)
        tokens = x_TX.shape[0]
        out_TX = self.empty((tokens, matrix.rows), BF16)
        self.library.linear(byref(matrix), x_TX.data_ptr(), x_TX.stride(0), tokens, out_TX.data_ptr())
        return out_TX

    def mlp(self, x_TD: Tensor, gate_up: Packed, down: Packed) -> Tensor:
        if x_TD.dtype != BF16:
            return reference.mlp(x_TD, gate_up, down)
        return self._experts(x_TD, None, None, matrix_of(gate_up), matrix_of(down), 1)

    def moe_experts(
        self, hidden_TD: Tensor, weights_TK: Tensor, ids_TK: Tensor, gate_up: Packed, down: Packed
    ) -> Tensor:
        if hidden_TD.dtype != BF16:
            return reference.moe_experts(hidden_TD, weights_TK, ids_TK, gate_up, down)
        weights_TK, ids_TK = weights_TK.contiguous(), ids_TK.contiguous()
        return self._experts(
            hidden_TD, weights_TK, ids_TK, matrix_of(gate_up), matrix_of(down), gate_up.values.shape[0]
        )

    def _experts(
        self,
        x_TD: Tensor,
        weights_TK: Tensor | None,
        ids_TK: Tensor | None,
        gate_up: Matrix,
        down: Matrix,
        experts: int,
    ) -> Tensor:
        """Without weights and ids every token goes to the one expert there is."""
        x_TD = rows_of(x_TD)
        out_TD = self.empty((x_TD.shape[0], down.rows), BF16)
        self.library.experts(
            byref(gate_up),
            byref(down),
            experts,
            x_TD.data_ptr(),
            x_TD.stride(0),
            x_TD.shape[0],
            1 if ids_TK is None else ids_TK.shape[1],
            None if weights_TK is None else weights_TK.data_ptr(),
            None if ids_TK is None else ids_TK.data_ptr(),
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
        hidden_TD, shape = rows_of(hidden_TD), (hidden_TD.shape[0], router.per_token)
        weights_TK, ids_TK = self.empty(shape, torch.float32), self.empty(shape, torch.int64)
        where = hidden_TD.data_ptr(), hidden_TD.stride(0), shape[0], weights_TK.data_ptr(), ids_TK.data_ptr()
        self.library.route(byref(router), *where)
        return weights_TK, ids_TK


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
