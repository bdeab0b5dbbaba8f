"""The name map: it covers the model exactly, and speaks the published language."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.kernels.formats import PLAIN
from engine.layers.weight import Forms
from engine.models.config import ModelConfig
from engine.models.configs.read import parse_model_config
from engine.models.registry import build_model
from engine.weights.names import expected_tensors, known_extra
from tests.support.configs import SMALL_FAMILIES, published, small_config, small_family

TENSOR_NAMES = Path(__file__).parents[4] / "shared/data/models/kimi-k2-instruct/tensor_names.tsv"


@pytest.mark.parametrize("name", SMALL_FAMILIES)
def test_every_element_of_every_parameter_of_other_families_is_written_once(name: str) -> None:
    _check_written_once(small_family(name))


@pytest.mark.parametrize(
    "changes",
    [{}, {"q_lora_rank": None}, {"tie_word_embeddings": True}, {"first_k_dense_replace": 3}, {"n_shared_experts": 2}],
    ids=str,
)
def test_every_element_of_every_parameter_is_written_once(changes: dict[str, Any]) -> None:
    _check_written_once(small_config(**changes))


def _check_written_once(config: ModelConfig) -> None:
    with torch.device("meta"):
        model = build_model(config, Forms(torch.bfloat16, PLAIN))
    shapes = {name.removesuffix(".values"): parameter.shape for name, parameter in model.named_parameters()}
    written = {name: torch.zeros(shape, dtype=torch.int8) for name, shape in shapes.items()}
    names: Counter[str] = Counter()
    for tensor in expected_tensors(config):
        names[tensor.name] += 1
        source = torch.zeros(tensor.shape, dtype=torch.int8).view(tensor.view or tensor.shape)
        for copy in tensor.copies:
            part = written[copy.parameter][copy.target]
            assert part.shape == source[copy.source].shape, tensor.name
            part += 1
            source[copy.source] += 1
        assert (source == 1).all(), f"{tensor.name} is not used exactly once"
    assert names.most_common(1)[0][1] == 1
    for name, counts in written.items():
        assert (counts == 1).all(), name


@pytest.mark.skipif(not TENSOR_NAMES.exists(), reason=f"{TENSOR_NAMES} is not there")
def test_names_and_shapes_are_those_of_the_published_checkpoint() -> None:
    config = parse_model_config(published("kimi-k2-instruct"))
    ours = {tensor.name: list(tensor.shape) for tensor in expected_tensors(config)}
    listed = {}
    for line in TENSOR_NAMES.read_text().splitlines():
        if not line.startswith("#") and "weight_scale_inv" not in line:
            name, shape = line.split("\t")
            listed[name] = [int(size) for size in shape.strip("[]").split(",")]
    for name, shape in listed.items():
        if known_extra(name, config) is None:
            assert ours[name] == shape
    # layer 0 stands for itself, layer 1 for all the others, expert 0 for all experts
    first_two = {
        name for name in ours if ".layers." not in name or name.startswith(("model.layers.0.", "model.layers.1."))
    }
    first_expert = {name for name in first_two if ".experts." not in name or ".experts.0." in name}
    assert first_expert == {name for name in listed if known_extra(name, config) is None}


def test_extras_are_known_only_where_they_belong() -> None:
    config = small_config(num_nextn_predict_layers=1)  # layers 0..2, then the MTP layer 3
    assert "layer 3" in str(known_extra("model.layers.3.eh_proj.weight", config))
    assert known_extra("model.layers.4.eh_proj.weight", config) is None
    assert known_extra("model.layers.2.eh_proj.weight", config) is None
    assert known_extra("model.layers.3.eh_proj.weight", small_config()) is None
    assert "rotary" in str(known_extra("model.layers.0.self_attn.rotary_emb.inv_freq", config))
    assert known_extra("lm_head.weight", config) is None
    assert "lm_head" in str(known_extra("lm_head.weight", small_config(tie_word_embeddings=True)))
