"""Loading: strict about everything that can be wrong with a checkpoint folder, one line that says what and where."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.errors import CheckpointError
from engine.models.config import load_model_config
from engine.weights.loader import LoadedModel, load_model
from tests.support.deepseek_checkpoints import Sequencer, random_tokens, write_checkpoint

Tensors = dict[str, Tensor]
EXPERT = "model.layers.1.mlp.experts.3.up_proj.weight"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    write_checkpoint(folder, num_hidden_layers=2)
    return folder


def make(source: Path, folder: Path, change: Callable[[Tensors], object], **config: Any) -> Path:
    """A copy of the checkpoint in one file, changed."""
    tensors = load_file(source / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    raw = json.loads((source / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**raw, **config}))
    return folder


def make_sharded(source: Path, folder: Path) -> dict[str, str]:
    """A copy of the checkpoint in three shards. Returns its weight_map."""
    tensors = load_file(source / "model.safetensors")
    weight_map = {}
    for number in range(3):
        file = f"model-{number + 1:05d}-of-00003.safetensors"
        part = {name: tensors[name] for name in sorted(tensors)[number::3]}
        save_file(part, folder / file)
        weight_map |= dict.fromkeys(part, file)
    write_index(folder, weight_map)
    (folder / "config.json").write_bytes((source / "config.json").read_bytes())
    return weight_map


def write_index(folder: Path, weight_map: dict[str, str]) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def load(folder: Path, dtype: torch.dtype = torch.float32) -> LoadedModel:
    return load_model(folder, load_model_config(folder), dtype, torch.device("cpu"), lambda done: None)


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as refused:
        load(folder)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_sharded_and_single_file_are_the_same(source: Path, tmp_path: Path) -> None:
    make_sharded(source, tmp_path)
    tokens = random_tokens(9)
    whole, sharded = Sequencer.load(source).step({"a": tokens})["a"], Sequencer.load(tmp_path).step({"a": tokens})["a"]
    assert torch.equal(whole, sharded)


def test_router_stays_in_fp32_and_progress_reaches_one(source: Path) -> None:
    seen: list[float] = []
    config = load_model_config(source)
    model = load_model(source, config, torch.bfloat16, torch.device("cpu"), seen.append).model
    for name, parameter in model.named_parameters():
        assert parameter.dtype == (torch.float32 if ".router." in name else torch.bfloat16), name
        assert not parameter.is_meta
        assert not parameter.requires_grad
    original = load_file(source / "model.safetensors")["model.layers.1.mlp.gate.e_score_correction_bias"]
    assert torch.equal(model.get_parameter("layers.1.ffn.router.bias"), original)
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0.0, 1.0)


def test_half_precision_checkpoints_load(source: Path, tmp_path: Path) -> None:
    def halve(tensors: Tensors) -> None:
        for name in tensors:
            tensors[name] = tensors[name].half()

    model = load(make(source, tmp_path, halve), torch.bfloat16).model
    expected = load_file(source / "model.safetensors")["lm_head.weight"].half().bfloat16()
    assert torch.equal(model.get_parameter("head.weight"), expected)


def test_known_extras_are_skipped_and_said(source: Path, tmp_path: Path) -> None:
    def add(tensors: Tensors) -> None:
        tensors["model.layers.2.eh_proj.weight"] = torch.zeros(4, 8)
        tensors["model.layers.2.mlp.experts.0.up_proj.weight"] = torch.zeros(4, 8)
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(4)

    folder = make(source, tmp_path, add, num_nextn_predict_layers=1, tie_word_embeddings=True)
    notes = load(folder).notes
    assert len(notes) == 3
    assert any("2 tensors" in note and "layer 2" in note and "MTP" in note for note in notes)
    assert any("1 tensor:" in note and "rotary" in note for note in notes)
    assert any("lm_head" in note for note in notes)
    assert load(source).notes == []


def test_missing_weights_are_named(source: Path, tmp_path: Path) -> None:
    text = refusal(make(source, tmp_path, lambda tensors: tensors.pop(EXPERT)))
    assert f"{EXPERT} is missing" in text
    assert str(tmp_path) in text
    several = refusal(make(source, tmp_path, lambda tensors: [tensors.pop(EXPERT), tensors.pop("lm_head.weight")]))
    assert "and 1 more" in several


@pytest.mark.parametrize("name", ["model.layers.2.input_layernorm.weight", "model.layers.1.mlp.gate.weight_scale_inv"])
def test_unexpected_weights_are_named(name: str, source: Path, tmp_path: Path) -> None:
    text = refusal(make(source, tmp_path, lambda tensors: tensors.update({name: torch.zeros(48)})))
    assert f"{name} is unexpected" in text
    assert "model.safetensors" in text


def test_wrong_shapes_are_named(source: Path, tmp_path: Path) -> None:
    text = refusal(make(source, tmp_path, lambda tensors: tensors.update({EXPERT: torch.zeros(23, 48)})))
    assert EXPERT in text
    assert "[23, 48]" in text
    assert "[24, 48]" in text


def test_quantised_weights_are_named(source: Path, tmp_path: Path) -> None:
    fp8 = torch.zeros(24, 48, dtype=torch.float8_e4m3fn)
    text = refusal(make(source, tmp_path, lambda tensors: tensors.update({EXPERT: fp8})))
    assert EXPERT in text
    assert "float8_e4m3fn" in text


def test_missing_shard(source: Path, tmp_path: Path) -> None:
    make_sharded(source, tmp_path)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    assert "model-00002-of-00003.safetensors does not exist" in refusal(tmp_path)


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_truncated_shard(keep: int, source: Path, tmp_path: Path) -> None:
    make_sharded(source, tmp_path)
    shard = tmp_path / "model-00003-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:keep])
    text = refusal(tmp_path)
    assert "model-00003-of-00003.safetensors is damaged or truncated" in text


def test_index_that_names_a_file_without_the_tensor(source: Path, tmp_path: Path) -> None:
    weight_map = make_sharded(source, tmp_path)
    other = next(file for file in weight_map.values() if file != weight_map[EXPERT])
    write_index(tmp_path, {**weight_map, EXPERT: other})
    text = refusal(tmp_path)
    assert EXPERT in text
    assert "model-0000" in text


def test_shard_with_a_tensor_that_the_index_lacks(source: Path, tmp_path: Path) -> None:
    weight_map = make_sharded(source, tmp_path)
    file = weight_map.pop(EXPERT)
    write_index(tmp_path, weight_map)
    text = refusal(tmp_path)
    assert EXPERT in text
    assert file in text


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"weight_map": 3}'])
def test_damaged_index(content: str, source: Path, tmp_path: Path) -> None:
    make_sharded(source, tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(content)
    assert "model.safetensors.index.json" in refusal(tmp_path)


def test_no_weights_and_twice_the_weights(source: Path, tmp_path: Path) -> None:
    make_sharded(source, tmp_path)
    (tmp_path / "model.safetensors").write_bytes((source / "model.safetensors").read_bytes())
    assert "both" in refusal(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors.index.json").unlink()
    assert "neither" in refusal(tmp_path)
