"""Decode attention by FlashInfer (Ye et al. 2025, arXiv 2501.01005); everything else is Triton's.

Its wrappers plan a step on the host before its first layer, for which they read the contexts back from the device:
steps cannot be recorded, and the host waits for the device once a step.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from engine.kernels.limits import FLASHINFER_WORKSPACE
from engine.kernels.triton.backend import TritonKernels


class FlashInferKernels(TritonKernels):
    """`library` is the module flashinfer. Shapes as in engine/kernels/reference_attention.py; a page is a block."""

    name = "flashinfer"

    def __init__(self, library: Any) -> None:
        self._library = library
        self._wrapper: Any = None
        self._planned: tuple[Tensor, Tensor] | None = None  # the block table and contexts of the step that is planned

    def recorder(self) -> Any:
        raise RuntimeError("steps with FlashInfer's attention are planned on the host and cannot be recorded")

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
        """See reference_attention.mla_decode."""
        H, nope, latent = up_k_HNL.shape
        query_HAN, query_HAR = torch.split(query_AHQ.transpose(0, 1), [nope, query_AHQ.shape[-1] - nope], dim=-1)
        absorbed_AHL = torch.bmm(query_HAN, up_k_HNL).transpose(0, 1).contiguous()

        def plan(wrapper: Any, indptr: Tensor, pages: Tensor) -> None:
            one_each = torch.arange(len(context_lens_A) + 1, dtype=torch.int32, device=indptr.device)
            metadata = self._library.mla.MLAPlanMetadata.csr(one_each, indptr, pages, context_lens_A.int())
            wrapper.plan(
                metadata=metadata, num_heads=H, head_dim_ckv=latent, head_dim_kpe=query_HAR.shape[-1],
                page_size=cache_BPC.shape[1], causal=False, sm_scale=scale, q_data_type=query_AHQ.dtype,
                kv_data_type=cache_BPC.dtype, query_layout="split", kv_cache_layout="split",
            )  # fmt: skip

        wrapper_of = self._library.mla.BatchMLAPagedAttentionWrapper
        wrapper = self._for_step(wrapper_of, block_table_AB, context_lens_A, cache_BPC.shape[1], plan)
        out_AHL = wrapper.run(
            query=(absorbed_AHL, query_HAR.transpose(0, 1).contiguous()),
            kv_cache=(cache_BPC[..., :latent], cache_BPC[..., latent:]),
        )
        return torch.bmm(out_AHL.transpose(0, 1), up_v_HVL.transpose(1, 2)).transpose(0, 1)

    def gqa_decode(
        self,
        query_AHW: Tensor,
        cache_BPC: Tensor,
        block_table_AB: Tensor,
        context_lens_A: Tensor,
        kv_heads: int,
        scale: float,
    ) -> Tensor:
        """See reference_attention.gqa_decode."""
        _, H, W = query_AHW.shape
        page = cache_BPC.shape[1]

        def plan(wrapper: Any, indptr: Tensor, pages: Tensor) -> None:
            wrapper.plan(
                indptr, pages, ((context_lens_A - 1) % page + 1).int(), H, kv_heads, W, page,
                q_data_type=query_AHW.dtype, kv_data_type=cache_BPC.dtype, sm_scale=scale,
            )  # fmt: skip

        wrapper_of = self._library.BatchDecodeWithPagedKVCacheWrapper
        wrapper = self._for_step(wrapper_of, block_table_AB, context_lens_A, page, plan)
        both_BPGW = torch.unflatten(cache_BPC, -1, (2 * kv_heads, W))
        out: Tensor = wrapper.run(query_AHW.contiguous(), (both_BPGW[:, :, :kv_heads], both_BPGW[:, :, kv_heads:]))
        return out

    def describe(self) -> str:
        return f"{super().describe()}, decode attention by FlashInfer {self._library.__version__}"

    def _for_step(
        self,
        wrapper_of: Callable[[Tensor], Any],
        block_table_AB: Tensor,
        context_lens_A: Tensor,
        page: int,
        plan: Callable[[Any, Tensor, Tensor], None],
    ) -> Any:
        """The wrapper, planned for these requests. All layers of a step pass the same two tensors. `plan` is given the
        requests' pages, one request's behind another's, and where each begins:

            block table   [7 2 .]    contexts 20, 5      pages   7 2 | 4
                          [4 . .]    (pages of 16)       indptr  0     2   3
        """
        if self._wrapper is None:
            device = context_lens_A.device
            self._wrapper = wrapper_of(torch.zeros(FLASHINFER_WORKSPACE, dtype=torch.uint8, device=device))
        if self._planned is None or self._planned[0] is not block_table_AB or self._planned[1] is not context_lens_A:
            pages_A = (context_lens_A + page - 1) // page
            held_AB = torch.arange(block_table_AB.shape[1], device=pages_A.device) < pages_A[:, None]
            indptr = torch.zeros(len(pages_A) + 1, dtype=torch.int32, device=pages_A.device)
            indptr[1:] = pages_A.cumsum(0)
            plan(self._wrapper, indptr, block_table_AB[held_AB].int())
            self._planned = block_table_AB, context_lens_A
        return self._wrapper
