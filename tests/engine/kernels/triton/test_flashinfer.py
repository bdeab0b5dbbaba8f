"""Decode attention by FlashInfer: what its wrappers are told. The library needs a GPU; here a stand-in takes its place
that computes in plain torch what the documentation of version 0.7.2 says."""

import math
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton", reason="Triton is not installed")

import itertools

from support.triton_kernels import DEVICE
from support.two_steps import two_layers, two_steps

from engine.config import EngineConfig
from engine.errors import ConfigError
from engine.kernels.backend import TORCH
from engine.kernels.registry import with_flashinfer
from engine.kernels.triton.backend import TritonKernels
from engine.kernels.triton.flashinfer import FlashInferKernels
from engine.runner.recorded_sizes import recorded_sizes

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def paged(cache: Tensor, indptr: Tensor, pages: Tensor, lengths: list[int]) -> list[Tensor]:
    """The cached values of each request, in order."""
    assert indptr.dtype == pages.dtype == torch.int32
    found = [cache[pages[first:last].long()].flatten(0, 1) for first, last in itertools.pairwise(indptr)]
    assert all(0 <= len(one) - length < cache.shape[1] for one, length in zip(found, lengths, strict=True))
    return [one[:length] for one, length in zip(found, lengths, strict=True)]


class LatentWrapper:
    plans = 0

    def __init__(self, workspace: Tensor) -> None:
        assert workspace.dtype == torch.uint8

    def plan(self, *, metadata: Any, causal: bool, query_layout: str, kv_cache_layout: str, **told: Any) -> None:
        assert query_layout == kv_cache_layout == "split"
        assert metadata.qo_indptr.tolist() == list(range(len(metadata.kv_len_arr) + 1))
        self.metadata, self.told = metadata, told
        LatentWrapper.plans += 1

    def run(self, *, query: tuple[Tensor, Tensor], kv_cache: tuple[Tensor, Tensor]) -> Tensor:
        told, out = self.told, []
        assert (query[0].shape[1:], query[1].shape[-1]) == (
            (told["num_heads"], told["head_dim_ckv"]),
            told["head_dim_kpe"],
        )
        assert kv_cache[0].shape[1:] == (told["page_size"], told["head_dim_ckv"])
        assert {query[0].dtype, kv_cache[0].dtype} == {told["q_data_type"], told["kv_data_type"]}
        meta = self.metadata
        keys = paged(torch.cat(kv_cache, -1), meta.kv_indptr, meta.kv_indices, meta.kv_len_arr.tolist())
        for one, key in zip(torch.cat(query, -1), keys, strict=True):
            shares = (one.float() @ key.float().mT * told["sm_scale"]).softmax(-1)
            out.append(shares @ key[:, : told["head_dim_ckv"]].float())
        return torch.stack(out).to(query[0].dtype)


class GroupedWrapper:
    plans = 0

    def __init__(self, workspace: Tensor, kv_layout: str = "NHD") -> None:
        assert kv_layout == "NHD"

    def plan(
        self, indptr: Tensor, indices: Tensor, last_page_len: Tensor, heads: int, kv_heads: int, width: int, page: int,
        *, q_data_type: torch.dtype, kv_data_type: torch.dtype, sm_scale: float,
    ) -> None:  # fmt: skip
        assert last_page_len.dtype == torch.int32
        assert ((last_page_len >= 1) & (last_page_len <= page)).all()
        self.indptr, self.indices, self.scale = indptr, indices, sm_scale
        self.lengths = ((indptr.diff() - 1) * page + last_page_len).tolist()
        self.heads, self.kv_heads, self.width = heads, kv_heads, width
        GroupedWrapper.plans += 1

    def run(self, query: Tensor, caches: tuple[Tensor, Tensor]) -> Tensor:
        assert query.shape[1:] == (self.heads, self.width)
        out = []
        keys, values = (paged(cache, self.indptr, self.indices, self.lengths) for cache in caches)
        for one, key, value in zip(query, keys, values, strict=True):
            assert key.shape[1:] == (self.kv_heads, self.width)
            each = one.float().view(self.kv_heads, -1, self.width)
            shares = (each @ key.float().permute(1, 2, 0) * self.scale).softmax(-1)
            out.append((shares @ value.float().transpose(0, 1)).flatten(0, 1))
        return torch.stack(out).to(query.dtype)


def csr(qo_indptr: Tensor, kv_indptr: Tensor, kv_indices: Tensor, kv_len_arr: Tensor) -> SimpleNamespace:
    return SimpleNamespace(qo_indptr=qo_indptr, kv_indptr=kv_indptr, kv_indices=kv_indices, kv_len_arr=kv_len_arr)


LIBRARY = SimpleNamespace(
    __version__="0.7.2",
    BatchDecodeWithPagedKVCacheWrapper=GroupedWrapper,
    mla=SimpleNamespace(BatchMLAPagedAttentionWrapper=LatentWrapper, MLAPlanMetadata=SimpleNamespace(csr=csr)),
)


@pytest.mark.parametrize(
    ("name", "wrapper"),
    [("kimi", LatentWrapper), ("Qwen3-30B-A3B", GroupedWrapper), ("Apertus-8B-Instruct", GroupedWrapper)],
)
def test_models_are_the_same_with_it(name: str, wrapper: Any) -> None:
    config, before = two_layers(name), wrapper.plans
    kernels = FlashInferKernels(LIBRARY)
    for found, expected in zip(
        two_steps(config, kernels, device=DEVICE), two_steps(config, TORCH, device=DEVICE), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=2e-4, atol=2e-4 * float(expected.abs().max()))
    assert wrapper.plans == before + 1  # once for all layers of the step that decodes


@pytest.mark.parametrize("lengths", [[20, 5, 16], [1], [33, 32]])
def test_contexts_of_all_lengths(lengths: list[int]) -> None:
    torch.manual_seed(0)
    page, heads, groups, width = 16, 4, 2, 8
    blocks = [-(-length // page) for length in lengths]
    table = torch.zeros(len(lengths), max(blocks) + 1, dtype=torch.int64)
    order = iter(torch.randperm(sum(blocks)).tolist())
    for row, count in enumerate(blocks):
        table[row, :count] = torch.tensor([next(order) for _ in range(count)])
    cache = torch.randn(sum(blocks), page, 2 * groups * width)
    query, contexts = torch.randn(len(lengths), heads, width), torch.tensor(lengths)
    arguments = query, cache, table, contexts, groups, 1 / math.sqrt(width)
    torch.testing.assert_close(FlashInferKernels(LIBRARY).gqa_decode(*arguments), TORCH.gqa_decode(*arguments))


def test_it_is_honoured_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="goes with the Triton kernels on an NVIDIA GPU, and not with plain torch"):
        with_flashinfer(TORCH)
    with pytest.raises(ConfigError, match="leave out --kv-cache-dtype fp8"):
        with_flashinfer(TritonKernels(), fp8_cache=True)
    monkeypatch.setitem(sys.modules, "flashinfer", None)
    with pytest.raises(ConfigError, match="pip install 'flashinfer-python"):
        with_flashinfer(TritonKernels())
    monkeypatch.setitem(sys.modules, "flashinfer", LIBRARY)
    assert "decode attention by FlashInfer 0.7.2" in with_flashinfer(TritonKernels()).describe()


def test_its_steps_are_not_recorded() -> None:
    config = EngineConfig(model_path="m", device="cuda", kernels="flashinfer")
    assert recorded_sizes(config) == []
    with pytest.raises(ConfigError, match="--record-steps on: the flashinfer kernels"):
        recorded_sizes(EngineConfig(model_path="m", device="cuda", kernels="flashinfer", record_steps="on"))
