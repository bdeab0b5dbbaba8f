"""The backend as a whole: small models compute the same with it, and it is honoured or refused."""

import sys
from dataclasses import replace

import pytest
import torch

triton = pytest.importorskip("triton", reason="Triton is not installed")

from engine.errors import ConfigError
from engine.kernels.backend import TORCH, Kernels
from engine.kernels.formats import PLAIN
from engine.kernels.registry import choose_kernels, why_unusable
from engine.kernels.triton.backend import TritonKernels
from engine.layers.weight import Forms
from engine.models.batch import DecodeGroup, ForwardBatch, PrefillChunk
from engine.models.config import ModelConfig
from engine.models.registry import build_model
from engine.runner.kv_store import KVStore
from tests.support.configs import small_config, small_family
from tests.support.triton_kernels import DEVICE

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
BLOCK = 4


def two_steps(config: ModelConfig, kernels: Kernels) -> list[torch.Tensor]:
    """Logits of a prompt's chunk, then of a decode step beside another chunk."""
    generator = torch.Generator().manual_seed(5)
    model = build_model(config, Forms(torch.float32, PLAIN, kernels))
    for parameter in model.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    model.to(DEVICE)
    kv = KVStore(config, 8, BLOCK, torch.float32, DEVICE)

    def tensor(*values: int) -> torch.Tensor:
        return torch.tensor(values, device=DEVICE)

    first = ForwardBatch(
        tensor(*range(5)), tensor(*range(5)), tensor(*range(8, 13)), (), (PrefillChunk(0, 5, 0, tensor(2, 3)),),
        tensor(4),
    )  # fmt: skip
    group = DecodeGroup(tensor(0), tensor(2, 3)[None], tensor(6))
    second = ForwardBatch(
        tensor(9, 1, 2), tensor(5, 0, 1), tensor(13, 20, 21), (group,), (PrefillChunk(1, 2, 0, tensor(5)),),
        tensor(0, 2),
    )  # fmt: skip
    with torch.inference_mode():
        return [model(first, kv), model(second, kv)]


@pytest.mark.parametrize("name", ["kimi", "Qwen3-30B-A3B", "Apertus-8B-Instruct"])
def test_models_are_the_same_with_it(name: str) -> None:
    tiny = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 64}
    if name == "kimi":
        more = {"q_lora_rank": 32, "kv_lora_rank": 32, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16}
        more |= {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "intermediate_size": 64}
        config = small_config(**tiny, **more)
    else:
        config = replace(small_family(name), num_hidden_layers=2)
        config = replace(config, moe_layers=config.moe_layers & {0, 1}, vocab_size=64)
        if config.moe is not None:
            config = replace(config, moe=replace(config.moe, experts=4, per_token=2))
    for found, expected in zip(two_steps(config, TritonKernels()), two_steps(config, TORCH), strict=True):
        torch.testing.assert_close(found, expected, rtol=2e-4, atol=2e-4 * float(expected.abs().max()))


def test_it_is_refused_without_a_gpu() -> None:
    with pytest.raises(ConfigError, match=r"--kernels triton: needs an NVIDIA GPU, and the device is cpu"):
        choose_kernels("triton", "cpu", torch.bfloat16)
    assert choose_kernels("auto", "cpu", torch.bfloat16).name != "triton"


def test_it_is_refused_for_other_dtypes() -> None:
    with pytest.raises(ConfigError, match=r"computes in bfloat16, not in torch.float32; use --dtype bfloat16"):
        choose_kernels("triton", "cuda", torch.float32)
    assert choose_kernels("auto", "cuda", torch.float32).name == "torch"


def test_it_is_refused_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "engine.kernels.triton.backend", None)
    reason = why_unusable("triton", "cuda", torch.bfloat16)
    assert reason is not None
    assert "Triton cannot be imported" in reason
    assert "pip install" in reason


def test_it_is_what_auto_takes_on_a_gpu() -> None:
    assert why_unusable("triton", "cuda", torch.bfloat16) is None
    assert choose_kernels("auto", "cuda", torch.bfloat16).name == "triton"
