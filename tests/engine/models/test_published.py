"""Every published config, made small, in its published format and names: what the model computes is what transformers
computes with the same weights, fp32, and what is left out is said."""

from pathlib import Path
from typing import Any

import pytest
import torch

from engine.kernels.formats import Formats
from engine.layers.weight import Forms, Weight
from engine.models.configs.read import load_model_config
from engine.models.published import published_names
from engine.weights.loader import load_model
from tests.support.deepseek_checkpoints import Sequencer, oracle_logits, random_tokens, relative_error
from tests.support.published_checkpoints import language_model, small_published, write_published

TOLERANCE = 1e-4
FP8 = Formats(linear="fp8", experts="fp8")
INT4 = Formats(experts="int4")
FORMATS = {
    **dict.fromkeys(("Kimi-K2-Instruct", "DeepSeek-V3", "DeepSeek-R1", "Qwen3-30B-A3B-FP8"), FP8),
    **dict.fromkeys(("Qwen3-30B-A3B", "Qwen3-235B-A22B", "Apertus-8B-Instruct"), Formats()),
    "Kimi-K2.5": INT4,
}
MTP = "skipped 3 tensors: layer 4, which predicts further tokens (MTP) and is not used"
SEES = "skipped 2 tensors: weights of the part that sees, which is not served"
XIELU = "skipped 4 tensors: xIELU's constants, which are the published ones"
NOTES = {
    "DeepSeek-V3": [MTP],
    "DeepSeek-R1": [MTP],
    "Kimi-K2.5": [SEES],
    "Apertus-8B-Instruct": [XIELU],
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def computes_what_transformers_does(folder: Path, raw: dict[str, Any]) -> None:
    oracle = write_published(folder, raw)
    tokens = random_tokens(40)
    sequencer = Sequencer.load(folder)
    parts = [sequencer.step({"a": tokens[:17]})["a"], sequencer.step({"a": tokens[17:38]})["a"]]
    parts += [sequencer.step({"a": [token]})["a"] for token in tokens[38:]]
    assert relative_error(torch.cat(parts), oracle_logits(oracle, tokens)) <= TOLERANCE


@pytest.mark.parametrize("name", published_names())
def test_every_published_config_in_its_format(name: str, tmp_path: Path) -> None:
    computes_what_transformers_does(tmp_path, small_published(name))
    config = load_model_config(tmp_path)
    assert config.formats == FORMATS[name]
    loaded = load_model(tmp_path, config, Forms(torch.bfloat16, config.formats), torch.device("cpu"), lambda done: None)
    assert loaded.notes == NOTES.get(name, [])
    for path, module in loaded.model.named_modules():
        if isinstance(module, Weight):
            expected = "plain" if path == "head" else config.formats.linear
            assert module.format == (config.formats.experts if ".experts." in path else expected)


def test_k2_thinking(tmp_path: Path) -> None:
    """K2.5's language model with nothing around it: its names have no prefix."""
    computes_what_transformers_does(tmp_path, language_model(small_published("Kimi-K2.5")))
    assert load_model_config(tmp_path).formats == INT4


def test_k26(tmp_path: Path) -> None:
    """Taken to be as K2.5: its own files were not to be had."""
    computes_what_transformers_does(tmp_path, {**small_published("Kimi-K2.5"), "model_type": "kimi_k26"})


def test_deepseek_v31(tmp_path: Path) -> None:
    """Its scales are powers of two, which its config says."""
    raw = small_published("DeepSeek-V3")
    raw["quantization_config"]["scale_fmt"] = "ue8m0"
    computes_what_transformers_does(tmp_path, raw)


def test_coders_of_qwen3(tmp_path: Path) -> None:
    """Keys of Qwen3-Coder's files that say what is so anyway, and a rotary base of its own."""
    said = {"qkv_bias": False, "use_qk_norm": True, "shared_expert_intermediate_size": 0, "rope_theta": 10_000_000}
    computes_what_transformers_does(tmp_path, small_published("Qwen3-30B-A3B", **said, mlp_only_layers=[]))
